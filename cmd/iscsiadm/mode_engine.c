/* SPDX-License-Identifier: MIT */
/* iscsiadm -m host -H WHICH -C flashnode|chap|ping|stats: the tables of an engine, which is to
 * iscsiadm what the flash of an adapter is to open-iscsi's. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cmd/iscsiadm/engine_text.h"
#include "loop/loop.h"

#define ENGINE_CHAPS_MAX 256

/* ---- names and secrets ---------------------------------------------------------------------- */

static int
engine_chap_names(struct adm_engine *e, struct adm_engine_answer *answer,
                  char *name[ENGINE_CHAPS_MAX], struct lunette_error *err)
{
    uint32_t from = 0, last;
    int r;

    do {
        char *at = answer->text, *line, *rest;

        last = from;
        r = adm_engine_ask(e, 0, ISCSI_UEVENT_LIST_CHAP, from, "", answer, err);
        while (r == 0 && (line = adm_engine_line(&at)) != NULL) {
            unsigned long i = strtoul(line, &rest, 10);

            if (*rest != ' ' || i >= ENGINE_CHAPS_MAX)
                continue;
            from = (uint32_t)i + 1;
            free(name[i]);
            name[i] = strdup(rest + 1);
        }
    } while (r == 0 && answer->more && from > last);
    return r;
}

static int
engine_show_chap(struct adm *adm, char *name[ENGINE_CHAPS_MAX])
{
    json_t *all = adm_made(json_array()), *result;
    int r = 0;

    for (int i = 0; i < ENGINE_CHAPS_MAX; i++) {
        if (name[i] == NULL || (adm->args.index >= 0 && adm->args.index != i))
            continue;
        if (!adm->args.json)
            (void)printf("# BEGIN RECORD " LUNETTE_VERSION "\nhost.auth.tbl_idx = %d\n"
                         "host.auth.username = %s\nhost.auth.password = ********\n# END RECORD\n",
                         i, name[i]);
        adm_append(all, adm_made(json_pack("{s:i, s:s}", "index", i, "username", name[i])));
    }
    if (json_array_size(all) == 0) {
        adm_error("No CHAP entries found");
        r = MANAGE_NOT_FOUND;
    }
    result = adm_made(json_pack("{s:o}", "chap", all));
    if (adm->args.json && r == 0)
        r = adm_print_json(result);
    json_decref(result);
    return r;
}

/* The value of a pair, the last one where there are several; NULL: none. */
static const char *
engine_value(const struct adm_args *a, const char *key, const char *other)
{
    const char *found = NULL;

    for (size_t i = 0; i < json_array_size(a->values); i++) {
        const json_t *pair = json_array_get(a->values, i);
        const char *name = json_string_value(json_array_get(pair, 0));

        if (strcmp(name, key) == 0 || strcmp(name, other) == 0)
            found = json_string_value(json_array_get(pair, 1));
    }
    return found;
}

/* Each loop is told, since each has a table of its own where the engine keeps no files; where it
 * does, they write the same twice. */
static int
engine_set_chap(struct adm *adm, struct adm_engine *e, struct adm_engine_answer *answer,
                uint32_t index)
{
    const char *user = engine_value(&adm->args, "host.auth.username", "host.auth.username_in");
    const char *secret = engine_value(&adm->args, "host.auth.password", "host.auth.password_in");
    static char text[1024];
    struct lunette_error err;
    int r = 0;

    if (user == NULL || secret == NULL || json_array_size(adm->args.values) != 2)
        return adm_engine_usage("a CHAP entry is set with --name host.auth.username and "
                                "--name host.auth.password, each with its --value");
    if (strlen(user) + strlen(secret) + 3 > sizeof(text) || strchr(user, '\n') != NULL ||
        strchr(secret, '\n') != NULL)
        return adm_engine_usage("a CHAP name and its secret are a line of at most 255 bytes each");
    (void)snprintf(text, sizeof(text), "%s\n%s\n", user, secret);
    for (uint32_t i = 0; r == 0 && i < adm_engine_loops(e); i++)
        r = adm_engine_ask(e, i, ISCSI_UEVENT_SET_CHAP, index, text, answer, &err);
    explicit_bzero(text, sizeof(text));
    return r < 0 ? adm_engine_told(&err) : 0;
}

static int
engine_new_chap(struct adm *adm, struct adm_engine *e, struct adm_engine_answer *answer,
                char *name[ENGINE_CHAPS_MAX])
{
    int64_t index = adm->args.index;
    int r;

    if (index >= 0 && index < ENGINE_CHAPS_MAX && name[index] != NULL)
        return adm_engine_usage("there is a CHAP entry of that index: --op update changes it");
    for (index = index < 0 ? 0 : index; index < ENGINE_CHAPS_MAX && name[index] != NULL;)
        index++;
    if (index >= ENGINE_CHAPS_MAX)
        return adm_engine_usage("CHAP entries are 0 to 255, or all of them are in use");
    r = engine_set_chap(adm, e, answer, (uint32_t)index);
    if (r == 0)
        (void)printf("New CHAP entry [%" PRId64 "] added\n", index);
    return r;
}

static int
engine_delete_chap(struct adm *adm, struct adm_engine *e, struct adm_engine_answer *answer)
{
    struct lunette_error err;
    bool done = false;
    int r = 0;

    for (uint32_t i = 0; r == 0 && i < adm_engine_loops(e); i++) {
        r = adm_engine_ask(e, i, ISCSI_UEVENT_DELETE_CHAP, (uint32_t)adm->args.index, "", answer,
                           &err);
        if (r == -ENOENT && done) /* the file is one for all loops */
            r = 0;
        done |= r == 0;
    }
    return r < 0 ? adm_engine_told(&err) : 0;
}

static int
engine_chap_op(struct adm *adm, struct adm_engine *e, struct adm_engine_answer *answer,
               char *name[ENGINE_CHAPS_MAX])
{
    const struct adm_args *a = &adm->args;
    bool is_there = a->index >= 0 && a->index < ENGINE_CHAPS_MAX && name[a->index] != NULL;

    if (a->ops == 0 || a->ops == ADM_SHOW)
        return engine_show_chap(adm, name);
    if (a->ops == ADM_NEW)
        return engine_new_chap(adm, e, answer, name);
    if (a->ops != ADM_UPDATE && a->ops != ADM_DELETE)
        return adm_engine_usage(
            "chap has the operations show, new, update and delete, one at a time");
    if (a->index < 0)
        return adm_engine_usage("which entry is meant? --index is missing");
    if (!is_there) {
        adm_error("there is no CHAP entry %" PRId64, a->index);
        return MANAGE_NOT_FOUND;
    }
    return a->ops == ADM_DELETE ? engine_delete_chap(adm, e, answer)
                                : engine_set_chap(adm, e, answer, (uint32_t)a->index);
}

static int
engine_chap(struct adm *adm, struct adm_engine *e, struct adm_engine_answer *answer)
{
    static char *name[ENGINE_CHAPS_MAX];
    struct lunette_error err;
    int r = engine_chap_names(e, answer, name, &err);

    r = r < 0 ? adm_engine_told(&err) : engine_chap_op(adm, e, answer, name);
    for (int i = 0; i < ENGINE_CHAPS_MAX; i++) {
        free(name[i]);
        name[i] = NULL;
    }
    return r;
}

/* ---- ping and statistics -------------------------------------------------------------------- */

static int
engine_ping(struct adm *adm, struct adm_engine *e, struct adm_engine_answer *answer)
{
    const struct adm_args *a = &adm->args;
    int64_t count = a->count > 0 ? a->count : 1;
    struct lunette_error err, first = {.code = 0};

    if (a->ip == NULL)
        return adm_engine_usage("what is to be pinged? --ip is missing");
    for (int64_t i = 1; i <= count; i++) {
        const struct timespec gap = {.tv_sec = a->interval};

        if (adm_engine_ask(e, 0, ISCSI_UEVENT_SEND_PING, 0, a->ip, answer, &err) == 0) {
            (void)printf("Ping %" PRId64 " completed\n", i);
            adm_advice(a, "a connection was made and closed within %d us", answer->value);
        } else {
            (void)printf("Ping %" PRId64 " failed: %s\n", i, err.msg);
            first = first.code == 0 ? err : first;
        }
        if (i < count && a->interval > 0)
            (void)nanosleep(&gap, NULL);
    }
    return first.code < 0 ? adm_engine_told(&first) : 0;
}

static int
engine_stats(struct adm *adm, struct adm_engine *e, struct adm_engine_answer *answer)
{
    json_t *sums = adm_made(json_object()), *result, *number;
    const char *name, *value;
    struct lunette_error err;
    int r = 0;

    for (uint32_t i = 0; r == 0 && i < adm_engine_loops(e); i++) {
        char *at = answer->text, *line;

        r = adm_engine_ask(e, i, ISCSI_UEVENT_GET_HOST_STATS, 0, "", answer, &err);
        while (r == 0 && (line = adm_engine_line(&at)) != NULL)
            if (adm_engine_cut(line, &name, &value))
                adm_put(sums, name,
                        json_integer(adm_number(sums, name) + strtoll(value, NULL, 10)));
    }
    if (r < 0) {
        json_decref(sums);
        return adm_engine_told(&err);
    }
    if (!adm->args.json)
        (void)puts("Host Statistics:");
    json_object_foreach(sums, name, number) if (!adm->args.json)(void)
        printf("\t%s: %" PRId64 "\n", name, (int64_t)json_integer_value(number));
    result = adm_made(json_pack("{s:o}", "stats", sums));
    if (adm->args.json)
        r = adm_print_json(result);
    json_decref(result);
    return r;
}

/* ---- which one ------------------------------------------------------------------------------ */

/* The path that --host means: itself, or the one of that number; NULL: there is none. */
static const char *
engine_path(const struct adm_args *a, const struct adm_engines *engines)
{
    unsigned long n;
    char *end;

    if (strchr(a->host, '/') != NULL)
        return a->host;
    n = strtoul(a->host, &end, 10);
    return *end == '\0' && a->host[0] != '\0' && n < engines->n ? engines->path[n] : NULL;
}

static int
engine_served(struct adm *adm, const char *path)
{
    static const struct {
        const char *name;
        int (*serve)(struct adm *adm, struct adm_engine *e, struct adm_engine_answer *answer);
    } modes[] = {
        {"flashnode", adm_engine_flashnode},
        {"chap", engine_chap},
        {"ping", engine_ping},
        {"stats", engine_stats},
    };
    static struct adm_engine_answer answer;
    struct adm_engine *e = NULL;
    struct lunette_error err;
    int r = MANAGE_INVALID;

    if (adm->loop == NULL && loop_new(NULL, &adm->loop, &err) < 0)
        return adm_engine_told(&err);
    if (adm_engine_open(adm->loop, path, &e, &err) < 0)
        return adm_engine_told(&err);
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (strcmp(adm->args.submode, modes[i].name) == 0)
            r = modes[i].serve(adm, e, &answer);
    }
    adm_engine_close(e);
    return r;
}

int
adm_mode_engine(struct adm *adm)
{
    const struct adm_args *a = &adm->args;
    struct adm_engines engines;
    const char *path;
    int r;

    if (strcmp(a->submode, "flashnode") != 0 && strcmp(a->submode, "chap") != 0 &&
        strcmp(a->submode, "ping") != 0 && strcmp(a->submode, "stats") != 0)
        return adm_engine_usage("--submode is one of flashnode, chap, ping and stats");
    adm_engines_find(&adm->at, &engines);
    path = a->host != NULL ? engine_path(a, &engines) : NULL;
    if (path != NULL) {
        r = engine_served(adm, path);
    } else if (engines.n == 0) {
        adm_error("%s is something that offload adapters and engines have, and there is none",
                  a->submode);
        r = MANAGE_NOT_SUPPORTED;
    } else if (a->host == NULL) {
        r = adm_engine_usage(
            "which engine is meant? --host is missing; `iscsiadm -m host' lists them");
    } else {
        adm_error("there is no engine %s; `iscsiadm -m host' lists them", a->host);
        r = MANAGE_HOST_NOT_FOUND;
    }
    adm_engines_free(&engines);
    return r;
}

unsigned
adm_list_engines(struct adm *adm, json_t *result)
{
    struct adm_engines engines;
    json_t *list = adm_made(json_array());
    unsigned n;

    adm_engines_find(&adm->at, &engines);
    for (unsigned i = 0; i < engines.n; i++) {
        if (adm->args.host != NULL && engine_path(&adm->args, &engines) != engines.path[i])
            continue;
        adm_append(list,
                   adm_made(json_pack("{s:i, s:s}", "number", (int)i, "socket", engines.path[i])));
        if (!adm->args.json && adm->args.level < 1)
            (void)printf(ADM_ENGINE_NAME ": [%u] [<empty>],[<empty>],%s <empty>\n", i,
                         engines.path[i]);
        else if (!adm->args.json)
            (void)printf("Engine Number: %u\n\tSocket: %s\n", i, engines.path[i]);
    }
    n = (unsigned)json_array_size(list);
    if (n > 0)
        adm_put(result, "engines", json_incref(list));
    json_decref(list);
    adm_engines_free(&engines);
    return n;
}
