/* SPDX-License-Identifier: MIT */
/* engine/flash_text.c - records of the table as lines with the names that open-iscsi gives the
 * settings of an adapter's flash, as far as an engine has such a thing, and with a few of our own:
 * initiatorname, recovery_tmo, login_tmo and transport_name. */
#include "engine/flash_text.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hex.h"
#include "base/suggest.h"

enum flash_as {
    AS_BOOL,   /* 0 or 1 */
    AS_U32,    /* a number, min..max */
    AS_I32,    /* the same, from -1 */
    AS_OPT,    /* a number from 0, or nothing for -1 */
    AS_MS,     /* seconds of a field in milliseconds */
    AS_PORT,   /* of 16 bits */
    AS_NAME,   /* of a node, or nothing */
    AS_HOST,   /* or nothing */
    AS_WORD,   /* a transport */
    AS_ISID,   /* 12 hexadecimal digits */
    AS_DIGEST, /* 0 or 1, of a list of words */
    AS_TOS,    /* an octet, of which the upper six bits count (RFC 2474) */
};

struct flash_key {
    const char *name;
    enum flash_as as;
    size_t at; /* in struct flash_record */
    uint32_t min, max;
};

#define OF(field)    offsetof(struct flash_record, field)
#define LOGIN(field) offsetof(struct flash_record, login.field)
#define SESSION      "flashnode.session."
#define CONN         "flashnode.conn[0]."
#define MS_PER_S     1000u
#define DSEG_MIN     512u
#define DSEG_MAX     0xffffffu
#define TIME_S_MAX   86400u

static const struct flash_key flash_keys[] = {
    {SESSION "targetname", AS_NAME, LOGIN(target_name), 0, 0},
    {SESSION "tpgt", AS_OPT, LOGIN(expected_tpgt), 0, 0xffff},
    {SESSION "initiatorname", AS_NAME, LOGIN(initiator_name), 0, 0},
    {SESSION "isid", AS_ISID, LOGIN(isid), 0, 0},
    {SESSION "is_boot_target", AS_BOOL, OF(boot), 0, 0},
    {SESSION "chap_out_idx", AS_OPT, OF(chap), 0, ENGINE_CHAPS_MAX - 1},
    {SESSION "chap_in_idx", AS_OPT, OF(chap_in), 0, ENGINE_CHAPS_MAX - 1},
    {SESSION "immediate_data", AS_BOOL, LOGIN(offer.immediate_data), 0, 0},
    {SESSION "initial_r2t", AS_BOOL, LOGIN(offer.initial_r2t), 0, 0},
    {SESSION "data_seq_in_order", AS_BOOL, LOGIN(offer.data_sequence_in_order), 0, 0},
    {SESSION "data_pdu_in_order", AS_BOOL, LOGIN(offer.data_pdu_in_order), 0, 0},
    {SESSION "erl", AS_U32, LOGIN(offer.erl), 0, 2},
    {SESSION "first_burst_len", AS_U32, LOGIN(offer.first_burst), DSEG_MIN, DSEG_MAX},
    {SESSION "max_burst_len", AS_U32, LOGIN(offer.max_burst), DSEG_MIN, DSEG_MAX},
    {SESSION "max_outstanding_r2t", AS_U32, LOGIN(offer.max_outstanding_r2t), 1, 65535},
    {SESSION "def_time2wait", AS_U32, LOGIN(offer.time2wait), 0, 3600},
    {SESSION "def_time2retain", AS_U32, LOGIN(offer.time2retain), 0, 3600},
    {SESSION "def_taskmgmt_tmo", AS_MS, LOGIN(abort_timeout_ms), 1, TIME_S_MAX},
    {SESSION "recovery_tmo", AS_I32, LOGIN(replacement_timeout_s), 0, TIME_S_MAX},
    {CONN "ipaddress", AS_HOST, LOGIN(portal.host), 0, 0},
    {CONN "port", AS_PORT, LOGIN(portal.port), 1, 65535},
    {CONN "transport_name", AS_WORD, LOGIN(transport), 0, 0},
    {CONN "header_digest_en", AS_DIGEST, LOGIN(header_digest), 0, 0},
    {CONN "data_digest_en", AS_DIGEST, LOGIN(data_digest), 0, 0},
    {CONN "max_recv_dlength", AS_U32, LOGIN(offer.max_recv_dseg), DSEG_MIN, DSEG_MAX},
    {CONN "keepalive_tmo", AS_MS, LOGIN(ping_interval_ms), 0, TIME_S_MAX},
    {CONN "login_tmo", AS_MS, LOGIN(login_timeout_ms), 1, TIME_S_MAX},
    {CONN "tcp_nagle_disable", AS_BOOL, LOGIN(sock.nodelay), 0, 0},
    {CONN "ipv4_tos", AS_TOS, LOGIN(sock.dscp), 0, 255},
};

#define FLASH_KEYS (sizeof(flash_keys) / sizeof(flash_keys[0]))

static const char digest_on[] = "CRC32C,None", digest_off[] = "None";

void
engine_flash_record_init(struct flash_record *r)
{
    *r = (struct flash_record){.used = true, .chap = FLASH_NO_CHAP, .chap_in = FLASH_NO_CHAP};
    login_config_init(&r->login);
    (void)snprintf(r->login.transport, sizeof(r->login.transport), "tcp");
}

/* ---- to text ------------------------------------------------------------------------------- */

static void
flash_value(const struct flash_key *k, const void *at, char *out, size_t size)
{
    char hex[2 * LOGIN_ISID_LEN + 1] = "";

    switch (k->as) {
    case AS_BOOL:
        (void)snprintf(out, size, "%d", *(const bool *)at);
        break;
    case AS_U32:
        (void)snprintf(out, size, "%u", *(const uint32_t *)at);
        break;
    case AS_MS:
        (void)snprintf(out, size, "%u", *(const uint32_t *)at / MS_PER_S);
        break;
    case AS_I32:
        (void)snprintf(out, size, "%d", *(const int32_t *)at);
        break;
    case AS_OPT:
        if (*(const int32_t *)at >= 0)
            (void)snprintf(out, size, "%d", *(const int32_t *)at);
        break;
    case AS_PORT:
        (void)snprintf(out, size, "%u", *(const uint16_t *)at);
        break;
    case AS_NAME:
    case AS_HOST:
    case AS_WORD:
        (void)snprintf(out, size, "%s", (const char *)at);
        break;
    case AS_ISID:
        (void)hex_put(hex, at, LOGIN_ISID_LEN);
        (void)snprintf(out, size, "%s", hex);
        break;
    case AS_DIGEST:
        (void)snprintf(out, size, "%d", strcmp(at, digest_off) != 0);
        break;
    case AS_TOS:
        (void)snprintf(out, size, "%u", *(const uint8_t *)at << 2);
        break;
    }
}

size_t
flash_text_format(const struct flash_record *r, char *buf)
{
    size_t n = 0;

    buf[0] = '\0';
    for (size_t i = 0; i < FLASH_KEYS; i++) {
        char value[HOST_MAX + 1] = "";

        flash_value(&flash_keys[i], (const char *)r + flash_keys[i].at, value, sizeof(value));
        n += (size_t)snprintf(buf + n, FLASH_TEXT_MAX - n, "%s = %s\n", flash_keys[i].name, value);
        assert(n < FLASH_TEXT_MAX);
    }
    return n;
}

/* ---- from text ------------------------------------------------------------------------------ */

static int
flash_want(const struct flash_key *k, const char *value, const char *what,
           struct lunette_error *err)
{
    return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "%s = %.80s: %s", k->name, value, what);
}

static int
flash_number(const struct flash_key *k, const char *value, int64_t min, int64_t max, int64_t *ret,
             struct lunette_error *err)
{
    char *end, what[64];
    long long n;

    errno = 0;
    n = strtoll(value, &end, 10);
    if (errno != 0 || end == value || *end != '\0' || n < min || n > max) {
        (void)snprintf(what, sizeof(what), "a number of %lld to %lld is wanted", (long long)min,
                       (long long)max);
        return flash_want(k, value, what, err);
    }
    *ret = n;
    return 0;
}

static int
flash_take_text(const struct flash_key *k, const char *value, void *at, struct lunette_error *err)
{
    char name[ISCSI_NAME_MAX + 1] = "";
    size_t len = strlen(value);
    int r;

    if (k->as == AS_NAME) {
        r = len > 0 ? iscsi_name_take(value, len, name, err) : 0;
        if (r < 0)
            return lunette_fail_prefix(err, r, "%s", k->name);
        memcpy(at, name, sizeof(name));
        return 0;
    }
    for (size_t i = 0; i < len; i++) {
        if (value[i] <= ' ' || value[i] > '~')
            return flash_want(k, value, "it has blanks or bytes that nobody can read", err);
    }
    if (k->as == AS_HOST) {
        if (len > HOST_MAX)
            return flash_want(k, value, "it is longer than 255 bytes", err);
        memcpy(at, value, len + 1);
        return 0;
    }
    if (len == 0 || len >= IPC_NAME_MAX)
        return flash_want(k, value, "the name of a transport is wanted, such as tcp or iser", err);
    memcpy(at, value, len + 1);
    return 0;
}

static int
flash_take_isid(const struct flash_key *k, const char *value, uint8_t *at,
                struct lunette_error *err)
{
    uint8_t isid[LOGIN_ISID_LEN];

    for (size_t i = 0; i < LOGIN_ISID_LEN; i++) {
        int hi = value[2 * i] != '\0' ? hex_digit(value[2 * i]) : -1;
        int lo = hi >= 0 ? hex_digit(value[2 * i + 1]) : -1;

        if (lo < 0)
            return flash_want(k, value, "12 hexadecimal digits are wanted", err);
        isid[i] = (uint8_t)(hi << 4 | lo);
    }
    if (value[2 * LOGIN_ISID_LEN] != '\0')
        return flash_want(k, value, "12 hexadecimal digits are wanted", err);
    memcpy(at, isid, sizeof(isid));
    return 0;
}

static int
flash_take_number(const struct flash_key *k, const char *value, void *at, struct lunette_error *err)
{
    int64_t n = -1;
    int r = 0;

    if (k->as == AS_BOOL || k->as == AS_DIGEST)
        r = flash_number(k, value, 0, 1, &n, err);
    else if (k->as != AS_OPT || value[0] != '\0')
        r = flash_number(k, value, k->as == AS_I32 ? -1 : (int64_t)k->min, k->max, &n, err);
    if (r < 0)
        return r;
    /* What is sent lies in the memory of a client, who may change it between its digest and the
     * wire, and the connection that is lost by that is everybody's. */
    if (k->at == LOGIN(data_digest) && n != 0)
        return flash_want(k, value,
                          "clients could break the session of all with digests of their data: only "
                          "0 is possible",
                          err);
    if (k->as == AS_BOOL)
        *(bool *)at = n != 0;
    else if (k->as == AS_DIGEST)
        memcpy(at, n != 0 ? digest_on : digest_off,
               n != 0 ? sizeof(digest_on) : sizeof(digest_off));
    else if (k->as == AS_U32 || k->as == AS_MS)
        *(uint32_t *)at = (uint32_t)n * (k->as == AS_MS ? MS_PER_S : 1);
    else if (k->as == AS_PORT)
        *(uint16_t *)at = (uint16_t)n;
    else if (k->as == AS_TOS)
        *(uint8_t *)at = (uint8_t)(n >> 2);
    else
        *(int32_t *)at = (int32_t)n;
    return 0;
}

static int
flash_take_value(const struct flash_key *k, const char *value, struct flash_record *r,
                 struct lunette_error *err)
{
    void *at = (char *)r + k->at;

    if (k->as == AS_ISID)
        return flash_take_isid(k, value, at, err);
    if (k->as == AS_NAME || k->as == AS_HOST || k->as == AS_WORD)
        return flash_take_text(k, value, at, err);
    return flash_take_number(k, value, at, err);
}

/* What open-iscsi would show or set there, and why it is not here. */
static int
flash_unknown(const char *name, struct lunette_error *err)
{
    struct suggest s = {.typed = name};

    if (strcmp(name, SESSION "username") == 0 || strcmp(name, SESSION "password") == 0)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "%s: names and secrets are in the table of CHAP entries: set one "
                            "there, and " SESSION "chap_out_idx to its index",
                            name);
    if (strcmp(name, SESSION "username_in") == 0 || strcmp(name, SESSION "password_in") == 0)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "%s: names and secrets are in the table of CHAP entries: set one "
                            "there, and " SESSION "chap_in_idx to its index",
                            name);
    for (size_t i = 0; i < FLASH_KEYS; i++)
        suggest_try(&s, flash_keys[i].name);
    return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                        "%.80s: an engine's records have no such setting%s%s%s", name,
                        s.best != NULL ? "; is " : "", s.best != NULL ? s.best : "",
                        s.best != NULL ? " meant?" : "");
}

static int
flash_take_line(char *line, struct flash_record *r, struct lunette_error *err)
{
    char *eq = strstr(line, " =");
    const char *value;

    if (eq == NULL)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "%.80s: a line \"NAME = VALUE\" is wanted", line);
    *eq = '\0';
    value = eq + 2;
    value += strspn(value, " ");
    for (size_t i = 0; i < FLASH_KEYS; i++) {
        if (strcmp(line, flash_keys[i].name) == 0)
            return flash_take_value(&flash_keys[i], value, r, err);
    }
    return flash_unknown(line, err);
}

int
flash_text_take(const char *text, size_t len, struct flash_record *r, struct lunette_error *err)
{
    struct flash_record with = *r;
    char line[512];
    unsigned number = 0;

    while (len > 0) {
        const char *nl = memchr(text, '\n', len);
        size_t n = nl != NULL ? (size_t)(nl - text) : len;
        int e = 0;

        number++;
        if (n >= sizeof(line) || memchr(text, '\0', n) != NULL)
            e = lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                             "a line is longer than %zu bytes, or has a NUL", sizeof(line) - 1);
        if (e == 0 && n > 0 && text[0] != '#') {
            memcpy(line, text, n);
            line[n] = '\0';
            e = flash_take_line(line, &with, err);
        }
        if (e < 0)
            return lunette_fail_prefix(err, e, "line %u", number);
        text += n + (nl != NULL);
        len -= n + (nl != NULL);
    }
    *r = with;
    return 0;
}
