/* SPDX-License-Identifier: MIT */
#include "api/url.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/url_text.h"
#include "base/size.h"
#include "base/suggest.h"
#include "login/reopen.h"
#include "wire/iser_options.h"
#include "wire/lun.h"
#include "wire/offload_options.h"
#include "wire/text.h"

/* Nothing of the URL stands in a message: whatever is wrong with it may have put a secret in the
 * place of something else.  lunette_url_mask shows a URL. */
static int
url_fault(struct lunette_error *err, const char *what)
{
    return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "URL: %s", what);
}

#define KEY_BYTES "abcdefghijklmnopqrstuvwxyz0123456789_" /* that keys of options are made of */

/* ---- options -------------------------------------------------------------------------------- */

enum opt_type {
    O_BOOL,
    O_U32,
    O_MS, /* a time that is kept in milliseconds; written without a unit, it is in milliseconds, */
    O_S,  /* or in seconds */
    O_LIMIT, /* a time that is kept in seconds, or -1: never */
    O_SIZE,
    O_DIGEST,
    O_TEXT,
    O_ISID,
    O_TPGT,
    O_PORTALS,
    O_ALGS,
    O_DISCOVERY,
    O_ISER,    /* is for that transport to judge */
    O_OFFLOAD, /* for those of engines */
};

static const struct opt {
    const char *key;
    enum opt_type type;
    size_t offset;
    uint64_t min, max; /* of a time: in the unit that it is kept in */
} opts[] = {
#define AT(f) offsetof(struct api_url, f)
    /* as libiscsi spells them */
    {"header_digest", O_DIGEST, AT(cfg.header_digest), 0, 0},
    {"data_digest", O_DIGEST, AT(cfg.data_digest), 0, 0},
    {"target_user", O_TEXT, AT(cfg.mutual.name), 1, CHAP_NAME_MAX},
    {"tcp_user_timeout", O_MS, AT(cfg.sock.user_timeout_ms), 0, 3600000},
    /* keys of RFC 7143 13 */
    {"initiator_name", O_TEXT, AT(cfg.initiator_name), 1, ISCSI_NAME_MAX},
    {"initiator_alias", O_TEXT, AT(cfg.initiator_alias), 1, LOGIN_ALIAS_MAX},
    {"max_connections", O_U32, AT(cfg.offer.max_connections), 1, 65535},
    {"nr_connections", O_U32, AT(cfg.nr_connections), 1, LOGIN_CONNS_MAX},
    {"max_recv_data_segment_length", O_U32, AT(cfg.offer.max_recv_dseg), 512, 0xffffff},
    {"max_burst_length", O_U32, AT(cfg.offer.max_burst), 512, 0xffffff},
    {"first_burst_length", O_U32, AT(cfg.offer.first_burst), 512, 0xffffff},
    {"default_time2wait", O_U32, AT(cfg.offer.time2wait), 0, 3600},
    {"default_time2retain", O_U32, AT(cfg.offer.time2retain), 0, 3600},
    {"max_outstanding_r2t", O_U32, AT(cfg.offer.max_outstanding_r2t), 1, 16},
    {"error_recovery_level", O_U32, AT(cfg.offer.erl), 0, 2},
    {"initial_r2t", O_BOOL, AT(cfg.offer.initial_r2t), 0, 0},
    {"immediate_data", O_BOOL, AT(cfg.offer.immediate_data), 0, 0},
    {"task_reporting", O_TEXT, AT(cfg.task_reporting), 1, LOGIN_LIST_MAX},
    {"protocol_level", O_BOOL, AT(cfg.offer_protocol_level), 0, 0},
    {"portals", O_PORTALS, AT(cfg.group), 0, 0},
    {"tpgt", O_TPGT, AT(cfg.expected_tpgt), 0, 65535},
    {"isid", O_ISID, AT(cfg.isid), 0, 0},
    /* options of this library's own */
    {"chap_file", O_TEXT, AT(chap_file), 1, 255},
    {"chap_algs", O_ALGS, AT(cfg.chap_algs), 0, 0},
    {"discovery_auth", O_DISCOVERY, AT(discovery_auth), 0, 0},
    {"discovery_chap_file", O_TEXT, AT(discovery_chap_file), 1, 255},
    {"auth_required", O_BOOL, AT(cfg.auth_required), 0, 0},
    {"allow_short_secret", O_BOOL, AT(cfg.allow_short_secret), 0, 0},
    {"connect_timeout", O_MS, AT(cfg.connect_timeout_ms), 1, 3600000},
    {"login_timeout", O_MS, AT(cfg.login_timeout_ms), 1, 3600000},
    {"login_retries", O_U32, AT(cfg.max_retries), 0, 100},
    {"max_redirects", O_U32, AT(cfg.max_redirects), 0, LOGIN_REDIRECTS_MAX},
    {"ping_interval", O_MS, AT(cfg.ping_interval_ms), 0, 86400000},
    {"ping_timeout", O_MS, AT(cfg.ping_timeout_ms), 1, 86400000},
    {"noop_interval", O_S, AT(cfg.ping_interval_ms), 0, 86400000}, /* as open-iscsi has them */
    {"noop_timeout", O_S, AT(cfg.ping_timeout_ms), 1, 86400000},
    {"replacement_timeout", O_LIMIT, AT(cfg.replacement_timeout_s), 0, ISCSI_RECOVERY_TMO_MAX},
    {"reopen_max", O_U32, AT(reopen_max), 0, 1000000},
    {"abort_timeout", O_MS, AT(cfg.abort_timeout_ms), 1, 86400000},
    {"lu_reset_timeout", O_MS, AT(cfg.lu_reset_timeout_ms), 1, 86400000},
    {"target_reset_timeout", O_MS, AT(cfg.tgt_reset_timeout_ms), 1, 86400000},
    {"timeout", O_MS, AT(timeout_ms), 1, 86400000},
    {"cmds_max", O_U32, AT(cfg.cmds_max), 1, 2048},
    {"queue_depth", O_U32, AT(queue_depth), 1, 2048},
    {"max_transfer", O_SIZE, AT(max_transfer), 512, 16u << 20},
    {"nodelay", O_BOOL, AT(cfg.sock.nodelay), 0, 0},
    {"sndbuf", O_U32, AT(cfg.sock.sndbuf), 0, 1u << 30},
    {"rcvbuf", O_U32, AT(cfg.sock.rcvbuf), 0, 1u << 30},
    {"zero_copy", O_BOOL, AT(cfg.zero_copy), 0, 0},
    {"transport", O_TEXT, AT(cfg.transport), 1, IPC_NAME_MAX - 1},
    {"iser_stag", O_ISER, 0, 0, 0},
    {"iser_pool", O_ISER, 0, 0, 0},
    {"iser_poll_us", O_ISER, 0, 0, 0},
    {"engine", O_OFFLOAD, 0, 0, 0},
    {"offload_slots", O_OFFLOAD, 0, 0, 0},
    {"offload_arena", O_OFFLOAD, 0, 0, 0},
#undef AT
};

/* "crc32c", "none", "crc32c,none", "none,crc32c" in any case; libiscsi's "..._none" spellings. */
static int
digest_list(const char *v, char *out, size_t size)
{
    static const struct {
        const char *text, *list;
    } known[] = {
        {"crc32c", "CRC32C"},           {"none", "None"},
        {"crc32c,none", "CRC32C,None"}, {"none,crc32c", "None,CRC32C"},
        {"crc32c_none", "CRC32C,None"}, {"none_crc32c", "None,CRC32C"},
    };

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcasecmp(v, known[i].text) == 0) {
            (void)snprintf(out, size, "%s", known[i].list);
            return 0;
        }
    }
    return -EINVAL;
}

static int
url_number(const char *v, uint64_t min, uint64_t max, uint64_t *ret)
{
    return text_parse_num(v, strlen(v), ret) < 0 || *ret < min || *ret > max ? -EINVAL : 0;
}

/* A time as a number, and perhaps its unit: "s" or "ms".  The number alone is of `unit`
 * milliseconds, and what is returned is of `kept` milliseconds: it must come out even. */
static int
url_time(const char *v, uint64_t unit, uint64_t kept, uint64_t *ret)
{
    size_t len = strlen(v);

    if (len > 0 && v[len - 1] == 's') {
        unit = 1000;
        len--;
        if (len > 0 && v[len - 1] == 'm') {
            unit = 1;
            len--;
        }
    }
    if (text_parse_num(v, len, ret) < 0 || *ret > UINT32_MAX || *ret * unit % kept != 0)
        return -EINVAL;
    *ret = *ret * unit / kept;
    return 0;
}

static int
url_set_time(const struct opt *o, const char *v, void *at)
{
    uint64_t n = 0;
    int r = url_time(v, o->type == O_MS ? 1 : 1000, o->type == O_LIMIT ? 1000 : 1, &n);

    if (o->type == O_LIMIT && strcmp(v, "-1") == 0)
        *(int32_t *)at = -1;
    else if (r < 0 || n < o->min || n > o->max)
        return -EINVAL;
    else if (o->type == O_LIMIT)
        *(int32_t *)at = (int32_t)n;
    else
        *(uint32_t *)at = (uint32_t)n;
    return 0;
}

static int
flag(const char *v, bool *ret)
{
    if (strcasecmp(v, "yes") == 0 || strcmp(v, "1") == 0 || strcasecmp(v, "true") == 0)
        *ret = true;
    else if (strcasecmp(v, "no") == 0 || strcmp(v, "0") == 0 || strcasecmp(v, "false") == 0)
        *ret = false;
    else
        return -EINVAL;
    return 0;
}

static int
isid(const char *v, uint8_t out[6])
{
    if (strlen(v) == 12) {
        char hex[15];

        (void)snprintf(hex, sizeof(hex), "0x%s", v);
        return text_parse_bin(hex, 14, out, 6) == 6 ? 0 : -EINVAL;
    }
    return text_parse_bin(v, strlen(v), out, 6) == 6 ? 0 : -EINVAL;
}

/* "sha3-256,sha256,sha1,md5" in the order of preference. */
static int
chap_algs(const char *v, uint8_t out[4])
{
    static const struct {
        const char *name;
        uint8_t alg;
    } known[] = {{"md5", CHAP_MD5},
                 {"sha1", CHAP_SHA1},
                 {"sha256", CHAP_SHA256},
                 {"sha3-256", CHAP_SHA3_256}};
    uint8_t algs[4] = {0};
    size_t n = 0;

    while (*v != '\0') {
        size_t len = strcspn(v, ","), i = 0;

        while (i < 4 && (strlen(known[i].name) != len || strncasecmp(known[i].name, v, len) != 0))
            i++;
        if (i == 4 || n == 4)
            return -EINVAL;
        algs[n++] = known[i].alg;
        v += len + (v[len] == ',');
    }
    memcpy(out, algs, sizeof(algs));
    return n > 0 ? 0 : -EINVAL;
}

/* "host[:port],host[:port]": further portals of the portal's group. */
static int
url_portals(const char *v, struct login_config *cfg)
{
    cfg->ngroup = 0;
    do {
        size_t len = strcspn(v, ",");
        struct portal *p = &cfg->group[cfg->ngroup];

        if (cfg->ngroup == LOGIN_GROUP_MAX || portal_read(v, len, p) != NULL ||
            portal_lacks_scope(p))
            return -EINVAL;
        p->tpgt = -1;
        cfg->ngroup++;
        v += len;
    } while (*v++ == ',');
    return 0;
}

static int
discovery_auth(const char *v, enum url_discovery *ret)
{
    if (strcasecmp(v, "none") == 0)
        *ret = URL_DISCOVERY_NONE;
    else if (strcasecmp(v, "chap") == 0)
        *ret = URL_DISCOVERY_CHAP;
    else
        return -EINVAL;
    return 0;
}

static int
set_option(struct api_url *u, const struct opt *o, const char *v)
{
    char *at = (char *)u + o->offset;
    uint64_t n = 0;
    int r = 0;

    switch (o->type) {
    case O_BOOL:
        return flag(v, (bool *)(void *)at);
    case O_U32:
        r = url_number(v, o->min, o->max, &n);
        if (r == 0)
            *(uint32_t *)(void *)at = (uint32_t)n;
        return r;
    case O_MS:
    case O_S:
    case O_LIMIT:
        return url_set_time(o, v, at);
    case O_SIZE:
        r = size_parse(v, strlen(v), &n);
        if (r == 0 && (n < o->min || n > o->max))
            r = -ERANGE;
        if (r == 0)
            *(uint64_t *)(void *)at = n;
        return r;
    case O_TPGT:
        r = url_number(v, o->min, o->max, &n);
        if (r == 0)
            *(int32_t *)(void *)at = (int32_t)n;
        return r;
    case O_PORTALS:
        return url_portals(v, &u->cfg);
    case O_DIGEST:
        return digest_list(v, at, LOGIN_LIST_MAX + 1);
    case O_TEXT:
        if (strlen(v) < o->min || strlen(v) > o->max)
            return -EINVAL;
        strcpy(at, v); /* NOLINT: o->max is the array's size less the NUL */
        return 0;
    case O_ALGS:
        u->cfg.chap_algs_fixed = true;
        return chap_algs(v, (uint8_t *)at);
    case O_DISCOVERY:
        return discovery_auth(v, &u->discovery_auth);
    case O_ISER:
    case O_OFFLOAD:
        return -EINVAL; /* with another transport */
    case O_ISID:
        u->has_isid = true;
        return isid(v, (uint8_t *)at);
    }
    return -EINVAL;
}

static int
url_set_secret(struct login_account *a, const char *secret, size_t len, struct lunette_error *err)
{
    if (len == 0 || len > CHAP_SECRET_MAX)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "a CHAP secret has 1..%d bytes",
                            CHAP_SECRET_MAX);
    memcpy(a->secret, secret, len);
    a->secret_len = (uint16_t)len;
    return 0;
}

static const struct opt *
opt_of(const char *key)
{
    for (size_t i = 0; i < sizeof(opts) / sizeof(opts[0]); i++) {
        if (strcmp(opts[i].key, key) == 0)
            return &opts[i];
    }
    return NULL;
}

static bool
is_password(const char *key)
{
    return strcmp(key, "target_password") == 0;
}

/* ---- options of transports ------------------------------------------------------------------ */

/* A transport's own options begin with its name and an underscore.  tcp has none. */
static bool
is_of_transport(const struct api_url *u, const char *key)
{
    size_t len = strlen(u->cfg.transport);

    if (offload_options_are_of(u->cfg.transport))
        return offload_option_known(key, strlen(key));
    /* Those of iser are listed, so that others that look like one are told of as unknown. */
    return len > 0 && strcmp(u->cfg.transport, "tcp") != 0 &&
           (strcmp(u->cfg.transport, "iser") != 0 || opt_of(key) != NULL) &&
           key[strspn(key, KEY_BYTES)] == '\0' && strncmp(key, u->cfg.transport, len) == 0 &&
           key[len] == '_' && key[len + 1] != '\0';
}

/* Keeps such an option.  What iser takes is known here; what another transport takes, only there.
 */
static int
add_transport_option(struct api_url *u, const char *key, const char *value,
                     struct lunette_error *err)
{
    char *text = u->cfg.transport_options;
    size_t have = strlen(text), size = sizeof(u->cfg.transport_options);
    struct offload_options offload;
    struct iser_options iser;
    int n;

    for (const char *c = value; *c != '\0'; c++) {
        if (*c <= ' ' || *c > '~' || *c == '&')
            return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                                "URL: option %s: a blank, a & or a byte that is not ASCII cannot "
                                "be in it",
                                key);
    }
    n = snprintf(text + have, size - have, "%s%s=%s", have > 0 ? "&" : "", key, value);
    if (n < 0 || (size_t)n >= size - have)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "URL: the options of transport %s are longer than %d bytes",
                            u->cfg.transport, LOGIN_OPTIONS_MAX);
    if (strcmp(u->cfg.transport, "iser") == 0 && iser_options_parse(text, &iser, err) < 0)
        return lunette_fail_prefix(err, -EINVAL, "URL");
    if (offload_options_are_of(u->cfg.transport) && offload_options_read(text, &offload, err) < 0)
        return lunette_fail_prefix(err, -EINVAL, "URL");
    return 0;
}

/* Options may stand before the one that names the transport, which is looked for first.  A value
 * that is too long for a name is told of later. */
static void
url_look_for_transport(struct api_url *u, const char *options)
{
    static const char key[] = "transport=";
    char name[3 * IPC_NAME_MAX];

    for (const char *at = options, *next; at != NULL; at = next) {
        size_t len = strcspn(at, "&");

        next = at[len] == '&' ? at + len + 1 : NULL;
        if (strncmp(at, key, strlen(key)) != 0 || len - strlen(key) >= sizeof(name))
            continue;
        len -= strlen(key);
        memcpy(name, at + strlen(key), len);
        name[len] = '\0';
        if (url_decode(name, len) >= 0 && strlen(name) < IPC_NAME_MAX)
            (void)snprintf(u->cfg.transport, sizeof(u->cfg.transport), "%s", name);
    }
}

enum url_option_kind
url_option_kind(const char *text, size_t len)
{
    char key[64];

    if (len >= sizeof(key))
        return URL_OPTION_UNKNOWN;
    memcpy(key, text, len);
    key[len] = '\0';
    if (is_password(key))
        return URL_OPTION_SECRET;
    return opt_of(key) != NULL ? URL_OPTION_PLAIN : URL_OPTION_UNKNOWN;
}

/* The key that may have been meant, or NULL. */
static const char *
opt_near(const char *key)
{
    struct suggest s = {.typed = key};

    for (size_t i = 0; i < sizeof(opts) / sizeof(opts[0]); i++)
        suggest_try(&s, opts[i].key);
    suggest_try(&s, "target_password");
    return s.best;
}

/* The key that RFC 7143 or somebody else writes so: it differs only in capitals and hyphens. */
static const char *
opt_spelled(const char *key)
{
    for (size_t i = 0; i < sizeof(opts) / sizeof(opts[0]); i++) {
        const char *a = opts[i].key, *b = key;

        while (*a != '\0') {
            a += *a == '_';
            b += *b == '_' || *b == '-';
            if (*a == '\0' || *b == '\0' || strncasecmp(a, b, 1) != 0)
                break;
            a++;
            b++;
        }
        if (*a == '\0' && *b == '\0')
            return opts[i].key;
    }
    return NULL;
}

/* An option that is unknown.  Behind a secret it may be the rest of one that has a & in it, and
 * without a value it may be anything, so that only its place is told. */
static int
url_unknown_option(const struct api_url *u, const char *key, const char *value, unsigned place,
                   struct lunette_error *err)
{
    if (u->cfg.mutual.secret_len > 0)
        return url_fault(err, "an unknown option stands behind target_password; a & in a secret is "
                              "written %26, or the secret goes into a file (?chap_file=)");
    const char *near = opt_spelled(key);
    if (u->has_secret || value == NULL || key[strspn(key, KEY_BYTES)] != '\0')
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "URL: the %u%s option is none that there is (%s%s%ssee lunette-url(7))",
                            place,
                            place == 1   ? "st"
                            : place == 2 ? "nd"
                            : place == 3 ? "rd"
                                         : "th",
                            near != NULL ? "did you mean " : "", near != NULL ? near : "",
                            near != NULL ? "? " : "");
    near = opt_near(key);
    return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                        "URL: unknown option %.60s (%s%s%ssee lunette-url(7))", key,
                        near != NULL ? "did you mean " : "", near != NULL ? near : "",
                        near != NULL ? "? " : "");
}

static int
opt_time_fault(const struct opt *o, struct lunette_error *err)
{
    uint64_t unit = o->type == O_S ? 1000 : 1, min = o->min;

    if (min > 0)
        min = min < unit ? 1 : min / unit;
    return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "URL: option %s: want %llu..%llu %s",
                        o->key, (unsigned long long)min, (unsigned long long)(o->max / unit),
                        o->type == O_MS  ? "milliseconds, or a time with its unit, as 30s"
                        : o->type == O_S ? "seconds, or a time with its unit, as 500ms"
                                         : "seconds, or -1 for no limit");
}

static int
opt_fault(const struct opt *o, struct lunette_error *err)
{
    if (o->type == O_MS || o->type == O_S || o->type == O_LIMIT)
        return opt_time_fault(o, err);
    if (o->type == O_ISER)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "URL: option %s is for transport=iser", o->key);
    if (o->type == O_OFFLOAD)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "URL: option %s is for transport=offload_session", o->key);
    if (o->max > 0)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "URL: option %s: want %s%llu..%llu",
                            o->key, o->type == O_TEXT ? "text of length " : "",
                            (unsigned long long)o->min, (unsigned long long)o->max);
    return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "URL: option %s: want %s", o->key,
                        o->type == O_DIGEST ? "crc32c, none, or both with a comma between"
                        : o->type == O_ISID ? "12 hex digits"
                        : o->type == O_PORTALS
                            ? "host[:port], at most seven with commas between; a link-local "
                              "address with its scope"
                        : o->type == O_ALGS      ? "a list of sha3-256, sha256, sha1, md5"
                        : o->type == O_DISCOVERY ? "none or chap"
                                                 : "yes or no");
}

static int
parse_option(struct api_url *u, char *key, unsigned place, struct lunette_error *err)
{
    char *v = strchr(key, '=');
    const struct opt *o;
    int len;

    if (v != NULL)
        *v++ = '\0';
    o = opt_of(key);
    if (v == NULL && (o != NULL || is_password(key)))
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "URL: option %s needs a value",
                            key);
    len = v != NULL ? url_decode(v, strlen(v)) : 0;
    if (len < 0)
        return url_fault(err, "an option cannot hold a NUL (%00)");
    if (v != NULL && is_password(key)) {
        u->has_secret = true;
        return url_set_secret(&u->cfg.mutual, v, (size_t)len, err);
    }
    if (v != NULL && (o == NULL || o->type == O_ISER || o->type == O_OFFLOAD) &&
        is_of_transport(u, key))
        return add_transport_option(u, key, v, err);
    if (o == NULL)
        return url_unknown_option(u, key, v, place, err);
    return set_option(u, o, v) == 0 ? 0 : opt_fault(o, err);
}

/* ---- the parts before them ------------------------------------------------------------------ */

/* user[%secret] of len bytes. */
static int
parse_user(struct api_url *u, char *user, size_t len, struct lunette_error *err)
{
    const char *sign = url_secret_sign(user, len);
    size_t user_len = sign != NULL ? (size_t)(sign - user) : len;
    char *secret = user + user_len + 1;
    int n = url_decode(user, user_len), secret_len = 0;

    if (sign != NULL)
        secret_len = url_decode(secret, len - user_len - 1);
    if (n < 0 || secret_len < 0)
        return url_fault(err, "neither user nor secret can hold a NUL (%00)");
    if (n == 0 || n > CHAP_NAME_MAX)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "URL: the user name has 1..%d bytes", CHAP_NAME_MAX);
    memcpy(u->cfg.chap.name, user, (size_t)n);
    u->cfg.chap.name[n] = '\0';
    if (sign == NULL)
        return 0;
    u->has_secret = true;
    return url_set_secret(&u->cfg.chap, secret, (size_t)secret_len, err);
}

/* [user[%secret]@]host[:port] of len bytes. */
static int
parse_authority(struct api_url *u, char *at, size_t len, struct lunette_error *err)
{
    char *sign = memrchr(at, '@', len), *host = sign != NULL ? sign + 1 : at;
    size_t host_len = len - (size_t)(host - at);
    const char *why = portal_read(host, host_len, &u->cfg.portal);

    if (why != NULL && sign == NULL && memchr(at, '%', len) != NULL)
        return url_fault(err, "no host stands behind user%secret@; in a secret, / is written %2F "
                              "and ? is written %3F, or it goes into LUNETTE_CHAP or a file "
                              "(?chap_file=)");
    if (why != NULL)
        return url_fault(err, why);
    u->cfg.portal.tpgt = -1;
    if (portal_lacks_scope(&u->cfg.portal))
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "URL: %s is a link-local address, which there may be on every link: "
                            "add the interface that leads to it (its scope), as in [%s%%eth0]",
                            u->cfg.portal.host, u->cfg.portal.host);
    return sign != NULL ? parse_user(u, at, (size_t)(sign - at), err) : 0;
}

/* Takes target[/lun], from which the options have been cut already. */
static int
parse_path(struct api_url *u, char *path, struct lunette_error *err)
{
    char *slash;
    struct lun lun;
    int len;

    if (*path == '\0')
        return 0;
    slash = strchr(path, '/');
    if (slash != NULL) {
        *slash++ = '\0';
        if (*slash != '\0') {
            if (lun_parse(slash, strlen(slash), &lun) < 0)
                return url_fault(err, "the LUN is a number, or 0x and 16 hex digits");
            lun_store(u->lun, lun);
            u->has_lun = true;
        }
    }
    u->has_target = true;
    len = url_decode(path, strlen(path));
    if (len < 0)
        return url_fault(err, "an iSCSI name cannot hold a NUL (%00)");
    return iscsi_name_take(path, (size_t)len, u->cfg.target_name, err);
}

static int
url_parse_parts(char *at, struct api_url *u, struct lunette_error *err)
{
    size_t len = strcspn(at, "/?");
    const char *user_end = url_user_end(at);
    char *options = strchr(at, '?'), *path = at + len;
    int r;

    if (user_end != NULL && user_end > at + len)
        return url_fault(err, "there is a @ behind the host; in a user or secret, / is written "
                              "%2F, ? is written %3F and @ is written %40, or the secret goes into "
                              "LUNETTE_CHAP or a file (?chap_file=)");
    if (options != NULL)
        *options++ = '\0';
    r = parse_authority(u, at, len, err);
    if (r == 0 && *path == '/')
        r = parse_path(u, path + 1, err);
    if (options != NULL)
        url_look_for_transport(u, options);
    for (unsigned place = 1; r == 0 && options != NULL && *options != '\0'; place++) {
        char *next = strchr(options, '&');

        if (next != NULL)
            *next++ = '\0';
        r = parse_option(u, options, place, err);
        options = next;
    }
    return r;
}

/* The scheme names the transport. */
static int
url_take_iser(struct api_url *u, struct lunette_error *err)
{
    if (u->cfg.transport[0] != '\0' && strcmp(u->cfg.transport, URL_ISER) != 0)
        return url_fault(err, "iser:// is for transport=iser: for another one, write iscsi://");
    (void)snprintf(u->cfg.transport, sizeof(u->cfg.transport), "%s", URL_ISER);
    return 0;
}

int
url_parse(const char *url, struct api_url *ret, struct lunette_error *err)
{
    size_t len = strlen(url), scheme = url_scheme_len(url);
    char *text;
    int r;

    memset(ret, 0, sizeof(*ret));
    if (scheme == 0)
        return url_fault(err, "want iscsi://host[:port]/target[/lun]");
    if (len > 4096)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "URL: longer than 4096 bytes");
    login_config_init(&ret->cfg);
    ret->cfg.offer.max_outstanding_r2t = 8;
    ret->cfg.offer.time2wait = UINT32_MAX; /* it is not given */
    ret->reopen_max = REOPEN_MAX_DEFAULT;
    lun_store(ret->lun, lun_from_number(0));
    text = strdup(url);
    if (text == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    if (scheme == strlen(URL_SCHEME_ISER)) /* so that its options are known as such */
        (void)snprintf(ret->cfg.transport, sizeof(ret->cfg.transport), "%s", URL_ISER);
    r = url_parse_parts(text + scheme, ret, err);
    if (r == 0 && scheme == strlen(URL_SCHEME_ISER))
        r = url_take_iser(ret, err);
    chap_wipe(text, len);
    free(text);
    if (ret->cfg.offer.time2wait == UINT32_MAX) /* others wait for what a connection has lost */
        ret->cfg.offer.time2wait = ret->cfg.nr_connections > 1 || ret->cfg.offer.erl >= 2 ? 0 : 2;
    if (r == 0 && ret->cfg.offer.first_burst > ret->cfg.offer.max_burst)
        ret->cfg.offer.first_burst = ret->cfg.offer.max_burst;
    if (r < 0)
        url_wipe(ret);
    return r;
}

void
url_wipe(struct api_url *u)
{
    login_config_wipe(&u->cfg);
    u->has_secret = false;
}
