/* SPDX-License-Identifier: MIT */
/* fuzz_records.c - records, iscsid.conf and names of files, as a disk, a person or a program has
 * left them.  What was read is written, and read again: it must be the same. */
#include "fuzz.h"
#include "nodedb/db.h"
#include "nodedb/login_config.h"

#define SECRET "S3CRet"

static const enum nodedb_kind kinds[] = {NODEDB_NODE, NODEDB_IFACE, NODEDB_SENDTARGETS, NODEDB_ISNS,
                                         NODEDB_CONF};

static void
note(void *user, const struct lunette_error *why)
{
    (void)user;
    fuzz_check_text(why->msg, sizeof(why->msg));
}

static char *
format(const struct nodedb_record *r, enum nodedb_form form, size_t *len)
{
    char *text;

    CHECK(nodedb_record_format(r, form, &text, len) == 0);
    CHECK(strlen(text) == *len);
    return text;
}

/* Each key gives a value in its range, or its default, and says so. */
static void
check_values(const struct nodedb_record *r)
{
    for (int i = 0; i < NODEDB_KEY_COUNT; i++) {
        char buf[NODEDB_VALUE_MAX + 1], again[NODEDB_VALUE_MAX + 1];
        const struct nodedb_key *k = nodedb_key(i);
        struct lunette_error bad;
        const char *v = nodedb_record_get(r, i, buf, &bad);

        CHECK(strcmp(v, k->dflt) == 0 || nodedb_value_check(k, v, again, NULL) == 0);
        if (bad.code != 0)
            fuzz_check_text(bad.msg, sizeof(bad.msg));
        if (k->type == NODEDB_NUM)
            CHECK(nodedb_record_num(r, i) >= k->min && nodedb_record_num(r, i) <= k->max);
        if (k->type == NODEDB_WORD)
            CHECK(nodedb_record_word(r, i) >= 0);
    }
}

static void
check_login(const struct nodedb_record *r)
{
    static const struct nodedb_initiator me = {.name = "iqn.2026-11.example:me"};
    struct nodedb_session_opts opts;
    struct nodedb_disc_opts disc;
    struct login_config cfg;
    struct lunette_error err = {.code = 0};
    struct nodedb_id id;
    int e;

    if (r->kind == NODEDB_NODE) {
        nodedb_node_id(r, &id);
        e = nodedb_to_login_config(r, NULL, NULL, &me, &cfg, &opts, &err);
    } else {
        e = nodedb_to_discovery_config(r, NULL, NULL, &me, &cfg, &disc, &err);
    }
    if (e < 0) {
        fuzz_check_text(err.msg, sizeof(err.msg));
        CHECK(strstr(err.msg, SECRET) == NULL || r->value[NODEDB_PASSWORD] == NULL);
        CHECK(cfg.chap.secret_len == 0);
    }
    login_config_wipe(&cfg);
}

static void
fuzz_kind(enum nodedb_kind kind, const char *text, size_t len, bool has_secret)
{
    size_t len1, len2, shown_len;
    struct nodedb_record r, again;
    char *once, *twice, *shown;

    nodedb_record_init(&r, kind);
    r.note = note;
    CHECK(nodedb_record_parse(&r, text, len, "dir/file") == 0);
    check_values(&r);
    once = format(&r, NODEDB_FORM_FILE, &len1);
    nodedb_record_init(&again, kind);
    CHECK(nodedb_record_parse(&again, once, len1, "dir/file") == 0);
    CHECK(kind == NODEDB_CONF || !again.torn || strstr(once, " = ") == NULL);
    twice = format(&again, NODEDB_FORM_FILE, &len2);
    CHECK(len1 == len2 && memcmp(once, twice, len1) == 0);
    if (kind == NODEDB_NODE || kind == NODEDB_SENDTARGETS)
        check_login(&r);
    if (!has_secret) {
        for (int i = 0; i < NODEDB_KEY_COUNT; i++) {
            if (nodedb_key(i)->flags & NODEDB_SECRET)
                CHECK(nodedb_record_set(&r, i, SECRET) == 0);
        }
        shown = format(&r, NODEDB_FORM_SHOW, &shown_len);
        CHECK(strstr(shown, SECRET) == NULL);
        nodedb_text_free(&shown);
    }
    nodedb_text_free(&twice);
    nodedb_text_free(&once);
    nodedb_record_fini(&again);
    nodedb_record_fini(&r);
}

/* A name that is taken for a portal's or a link's is written back as it was, and leads nowhere. */
static void
fuzz_name(const char *name)
{
    char back[NODEDB_FILE_NAME_MAX + 1];
    struct portal p;
    struct nodedb_id id;
    bool tagged;

    if (nodedb_portal_of_file(name, &p, &tagged) == 0) {
        CHECK(nodedb_portal_file(&p, tagged, back) == 0);
        CHECK(strcmp(name, back) == 0);
        CHECK(strchr(name, '/') == NULL && name[0] != '.');
    }
    if (nodedb_id_of_link(name, &id) == 0) {
        CHECK(nodedb_check_id(&id, NULL) == 0);
        CHECK(nodedb_link_file(&id, back) == 0);
        CHECK(strcmp(name, back) == 0);
        CHECK(strchr(id.target, '/') == NULL && strchr(id.iface, '/') == NULL);
    }
}

void
fuzz_one(const uint8_t *data, size_t len)
{
    char *text = malloc(len + 1), *line_end;
    bool has_secret;

    CHECK(text != NULL);
    memcpy(text, data, len);
    text[len] = '\0';
    has_secret = memmem(data, len, SECRET, strlen(SECRET)) != NULL;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        fuzz_kind(kinds[i], (const char *)data, len, has_secret);
    line_end = strchr(text, '\n');
    if (line_end != NULL)
        *line_end = '\0';
    fuzz_name(text);
    free(text);
}
