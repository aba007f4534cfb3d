/* SPDX-License-Identifier: MIT */
/* cmd/lunette/json.c - what scripts read.  Names and units are part of the interface: see
 * lunette(1). */
#include "cmd/lunette/cli.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/hex.h"

#define JSON_LAYOUT (JSON_ENSURE_ASCII | JSON_REAL_PRECISION(9))

static int
json_put(json_t *j, size_t layout)
{
    if (j == NULL) {
        fputs("lunette: out of memory\n", stderr);
        return EXIT_OTHER;
    }
    int r = json_dumpf(j, stdout, layout | JSON_LAYOUT);
    json_decref(j);
    if (r == 0 && putchar('\n') == '\n' && fflush(stdout) == 0)
        return EXIT_DONE;
    return fail_errno(-errno, "writing the output");
}

int
json_print(json_t *j)
{
    return json_put(j, JSON_INDENT(2));
}

char *
json_text(json_t *j)
{
    char *dumped = j != NULL ? json_dumps(j, JSON_INDENT(2) | JSON_LAYOUT) : NULL;

    json_decref(j);
    if (dumped == NULL)
        return xstrdup("");
    size_t n = strlen(dumped);
    char *with_end = xmalloc(n + 2);
    memcpy(with_end, dumped, n);
    with_end[n] = '\n';
    free(dumped);
    return with_end;
}

int
json_print_line(json_t *j)
{
    return json_put(j, JSON_COMPACT);
}

/* Text of a device need not be UTF-8; jansson refuses what is not. */
static json_t *
text(const char *s)
{
    char clean[260];
    size_t n = 0;

    for (; *s != '\0' && n < sizeof(clean) - 1; s++)
        clean[n++] = (char)(*s >= 0x20 && *s < 0x7f ? *s : '?');
    clean[n] = '\0';
    return json_string(clean);
}

json_t *
json_of_info(const struct lunette_info *i)
{
    json_t *j = json_pack("{s:I, s:s, s:i, s:o, s:o, s:o, s:o, s:o}", "lun", (json_int_t)i->lun,
                          "type", device_type_name(i->type), "type_code", i->type, "vendor",
                          text(i->vendor), "product", text(i->product), "revision",
                          text(i->revision), "serial", text(i->serial), "name", text(i->name));

    if (i->error != 0)
        json_object_set_new(j, "error", json_string(unit_error_text(i->error)));
    if (i->type != 0)
        return j;
    json_t *disk = json_pack(
        "{s:I, s:i, s:i, s:I, s:I, s:I, s:I, s:i, s:b, s:b, s:b, s:b, s:b}", "size",
        (json_int_t)i->size, "block_size", (int)i->block_size, "physical_block_size",
        (int)i->physical_block_size, "max_transfer", (json_int_t)i->max_transfer,
        "optimal_transfer", (json_int_t)i->optimal_transfer, "max_discard",
        (json_int_t)i->max_discard, "max_write_zeroes", (json_int_t)i->max_write_zeroes,
        "max_compare_write", (int)i->max_compare_write, "read_only", i->read_only, "write_cache",
        i->write_cache, "fua", i->fua, "rotational", i->rotational, "thin", i->thin);
    json_object_update_missing(j, disk);
    json_decref(disk);
    return j;
}

static json_t *
json_of_bends(uint32_t bends)
{
    json_t *list = json_array();
    const char *words;

    for (unsigned i = 0; (words = lunette_bend_text(i)) != NULL; i++) {
        if (bends >> i & 1)
            json_array_append_new(list, json_string(words));
    }
    return list;
}

const char *
session_state_name(enum lunette_session_state state)
{
    switch (state) {
    case LUNETTE_SESSION_LOGGED_IN:
        return "logged_in";
    case LUNETTE_SESSION_BLOCKED:
        return "blocked";
    case LUNETTE_SESSION_FAILED:
        return "failed";
    case LUNETTE_SESSION_GONE:
        return "gone";
    }
    return "unknown";
}

const char *
conn_state_name(enum lunette_conn_state state)
{
    switch (state) {
    case LUNETTE_CONN_LOGGED_IN:
        return "logged_in";
    case LUNETTE_CONN_LOST:
        return "lost";
    case LUNETTE_CONN_LOGIN:
        return "login";
    case LUNETTE_CONN_LEAVING:
        return "leaving";
    }
    return "unknown";
}

static json_t *
json_of_conns(const struct lunette_session *session)
{
    struct lunette_conn_info c = LUNETTE_INIT(c);
    json_t *list = json_array();

    for (size_t i = 0; lunette_session_get_conn(session, i, &c) == 0; i++) {
        json_t *j = json_pack("{s:i, s:o, s:o, s:s}", "cid", (int)c.cid, "portal", text(c.portal),
                              "local", text(c.local), "state", conn_state_name(c.state));
        if (c.carrier[0] != '\0')
            json_object_set_new(j, "carrier", text(c.carrier));
        if (c.error != 0)
            json_object_set_new(j, "error", text(c.error_text));
        json_array_append_new(list, j);
    }
    return list;
}

json_t *
json_of_state(const struct lunette_session *session, const struct lunette_session_info *s)
{
    json_t *j = json_pack("{s:s, s:i, s:o}", "state", session_state_name(s->state), "reopens",
                          (int)s->reopens, "connections", json_of_conns(session));

    if (s->state != LUNETTE_SESSION_LOGGED_IN && j != NULL) {
        json_object_set_new(j, "attempt", json_integer(s->attempt));
        json_object_set_new(j, "down_ms", json_integer(s->down_ms));
        json_object_set_new(j, "next_try_ms", json_integer(s->next_try_ms));
        json_object_set_new(j, "give_up_ms", json_integer(s->give_up_ms));
    }
    if (s->error != 0 && j != NULL)
        json_object_set_new(j, "error", text(s->error_text));
    return j;
}

json_t *
json_of_session(const struct lunette_session *session, const struct lunette_session_info *s)
{
    char isid[2 * sizeof(s->isid) + 1];

    *hex_put(isid, s->isid, sizeof(s->isid)) = '\0';
    json_t *j =
        json_pack("{s:o, s:o, s:o, s:o, s:s, s:i, s:i, s:s}", "target_name",
                  json_of_name(s->target_name), "target_alias", text(s->target_alias),
                  "initiator_name", json_of_name(s->initiator_name), "portal", text(s->portal),
                  "isid", isid, "tsih", s->tsih, "tpgt", s->tpgt, "auth_method", s->auth_method);
    json_t *keys = json_pack(
        "{s:s, s:s, s:b, s:b, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i}", "header_digest",
        s->header_digest ? "CRC32C" : "None", "data_digest", s->data_digest ? "CRC32C" : "None",
        "initial_r2t", s->initial_r2t, "immediate_data", s->immediate_data,
        "max_recv_data_segment_length", (int)s->max_recv_data_segment_length,
        "max_xmit_data_segment_length", (int)s->max_xmit_data_segment_length, "max_burst_length",
        (int)s->max_burst_length, "first_burst_length", (int)s->first_burst_length,
        "max_outstanding_r2t", (int)s->max_outstanding_r2t, "max_connections",
        (int)s->max_connections, "error_recovery_level", (int)s->error_recovery_level,
        "default_time2wait", (int)s->time2wait, "default_time2retain", (int)s->time2retain);

    if (j == NULL || keys == NULL)
        return NULL;
    json_object_update_missing(j, keys);
    json_decref(keys);
    json_object_set_new(j, "transport", text(s->transport));
    json_object_set_new(j, "connections_wanted", json_integer(s->nconnections_wanted));
    json_object_set_new(j, "error_recovery_level_wanted",
                        json_integer(s->error_recovery_level_wanted));
    json_t *state = json_of_state(session, s);
    json_object_update_missing(j, state);
    json_decref(state);
    json_object_set_new(j, "bends", json_of_bends(s->bends));
    return j;
}
