/* SPDX-License-Identifier: MIT */
/* login/config.c - the defaults of a login's configuration, and the checks of it. */
#include "login/config.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "wire/iser_options.h"
#include "wire/offload_options.h"
#include "wire/params.h"
#include "wire/text.h"

void
login_config_init(struct login_config *cfg)
{
    *cfg = (struct login_config){
        .expected_tpgt = -1,
        .portal = {.port = ISCSI_PORT, .tpgt = -1},
        .sock = {.nodelay = true, .keepalive = true},
        /* tgt and other descendants of IET take 7 (SHA-256) for SHA1 and fail: MD5 stands before it
         */
        .chap_algs = {CHAP_SHA3_256, CHAP_MD5, CHAP_SHA256, CHAP_SHA1},
        .header_digest = "None",
        .data_digest = "None",
        .task_reporting = "",
        .connect_timeout_ms = 15000,
        .login_timeout_ms = 30000,
        .teardown_timeout_ms = 5000,
        .max_redirects = 8,
        .max_retries = 2,
        .retry_delay_ms = 1000,
        .ping_interval_ms = 5000,
        .ping_timeout_ms = 5000,
        .abort_timeout_ms = 15000,
        .lu_reset_timeout_ms = 30000,
        .tgt_reset_timeout_ms = 30000,
        .replacement_timeout_s = 120,
    };
    params_init(&cfg->offer);
    cfg->offer.initial_r2t = false;
    cfg->offer.max_recv_dseg = 262144;
    cfg->offer.max_burst = 16776192;
    cfg->offer.first_burst = 262144;
    cfg->offer.time2wait = 2;
    cfg->offer.protocol_level = 2; /* where it is offered at all */
    cfg->offer.time2retain = 0;    /* at recovery level 0 a target has nothing to keep for us */
}

void
login_config_wipe(struct login_config *cfg)
{
    chap_wipe(cfg->chap.secret, sizeof(cfg->chap.secret));
    chap_wipe(cfg->mutual.secret, sizeof(cfg->mutual.secret));
    cfg->chap.secret_len = cfg->mutual.secret_len = 0;
}

static int
config_fault(struct lunette_error *err, const char *what)
{
    return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "%s", what);
}

/* Names are sent as they are, even those that no grammar allows: peers have them. */
static int
check_name(const char name[ISCSI_NAME_MAX + 1], const char *whose, struct lunette_error *err)
{
    char taken[ISCSI_NAME_MAX + 1];
    int r = iscsi_name_take(name, strnlen(name, ISCSI_NAME_MAX + 1), taken, err);

    return r < 0 ? lunette_fail_prefix(err, r, "%s name", whose) : 0;
}

static int
check_account(const struct login_account *a, bool allow_short, const char *whose,
              struct lunette_error *err)
{
    size_t name_len = strnlen(a->name, sizeof(a->name));

    if (name_len > CHAP_NAME_MAX || a->secret_len > CHAP_SECRET_MAX)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "the %s CHAP name or secret is longer than 255 bytes", whose);
    if (name_len == 0 && a->secret_len == 0)
        return 0;
    if (name_len == 0)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "the %s CHAP secret has no name beside it: give both", whose);
    if (a->secret_len == 0)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "the %s CHAP name has no secret beside it: give both", whose);
    /* RFC 7143 9.2.1 */
    if (a->secret_len < CHAP_SECRET_MIN && !allow_short)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "the %s CHAP secret has fewer than %d bytes, which RFC 7143 forbids: "
                            "use a longer one, or say allow_short_secret=yes in the URL",
                            whose, CHAP_SECRET_MIN);
    return 0;
}

static int
check_auth(const struct login_config *cfg, struct lunette_error *err)
{
    int r = check_account(&cfg->chap, cfg->allow_short_secret, "initiator's", err);

    if (r == 0)
        r = check_account(&cfg->mutual, cfg->allow_short_secret, "target's", err);
    if (r < 0)
        return r;
    if (cfg->mutual.name[0] != '\0' && cfg->chap.name[0] == '\0')
        return config_fault(err, "mutual CHAP needs the initiator's own CHAP name and secret too");
    if (cfg->auth_required && cfg->chap.name[0] == '\0')
        return config_fault(err,
                            "authentication is required, but there is no CHAP name and secret");
    /* RFC 7143 9.2.1: one secret must not serve both directions. */
    if (cfg->mutual.secret_len > 0 && chap_equal(cfg->chap.secret, cfg->chap.secret_len,
                                                 cfg->mutual.secret, cfg->mutual.secret_len))
        return config_fault(
            err, "the CHAP secrets of initiator and target are equal: RFC 7143 forbids it, "
                 "since one side could then answer with the other's words");
    if (cfg->chap.name[0] != '\0' && cfg->chap_algs[0] == 0)
        return config_fault(err, "the list of CHAP algorithms is empty");
    for (size_t i = 0; i < sizeof(cfg->chap_algs); i++) {
        if (cfg->chap_algs[i] != 0 && chap_response_len(cfg->chap_algs[i]) == 0)
            return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                                "CHAP algorithm %u is unknown: 5 (MD5), 6 (SHA1), 7 (SHA-256) "
                                "and 8 (SHA3-256) can be used",
                                cfg->chap_algs[i]);
    }
    return 0;
}

/* Checks that a list that is to be offered has only words of the key, and none twice. */
static int
config_check_list(enum key_id id, const char *list, struct lunette_error *err)
{
    const struct key *k = key_get(id);
    struct text_list l;
    const char *item;
    size_t len;

    if (list[0] == '\0' || strnlen(list, LOGIN_LIST_MAX + 1) > LOGIN_LIST_MAX)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "%s: the list to offer is %s",
                            k->name, list[0] == '\0' ? "empty" : "too long");
    text_list_init(&l, list, strlen(list));
    while (text_list_next(&l, &item, &len)) {
        if (len == 0 || !text_list_has(k->values, strlen(k->values), item, len))
            return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "%s: \"%.*s\" is not one of %s",
                                k->name, len > 60 ? 60 : (int)len, item, k->values);
    }
    return 0;
}

/* Each number of the offer must be in its key's range; the table knows it. */
static int
check_offer(const struct login_config *cfg, struct lunette_error *err)
{
    for (unsigned id = 0; id < KEY_COUNT; id++) {
        const struct key *k = key_get((enum key_id)id);
        struct key_value v;
        char text[32];
        int n;

        if (k->type != KEY_TYPE_NUM || k->field < 0)
            continue;
        n = params_format(&cfg->offer, k, text, sizeof(text));
        if (n < 0)
            continue;
        if (key_check_offer(k, text, (size_t)n, &v, NULL) < 0)
            return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "%s=%s: want %llu..%llu",
                                k->name, text, (unsigned long long)k->min,
                                (unsigned long long)k->max);
    }
    /* Out of order is never offered, since the data path does not take it. */
    if (!cfg->offer.data_pdu_in_order || !cfg->offer.data_sequence_in_order)
        return config_fault(err, "DataPDUInOrder and DataSequenceInOrder can only be Yes");
    if (cfg->offer.first_burst > cfg->offer.max_burst)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "FirstBurstLength %u is larger than MaxBurstLength %u",
                            cfg->offer.first_burst, cfg->offer.max_burst);
    return 0;
}

static int
check_lists(const struct login_config *cfg, struct lunette_error *err)
{
    int r = config_check_list(KEY_HEADER_DIGEST, cfg->header_digest, err);

    if (r == 0)
        r = config_check_list(KEY_DATA_DIGEST, cfg->data_digest, err);
    if (r < 0 || cfg->task_reporting[0] == '\0')
        return r;
    r = config_check_list(KEY_TASK_REPORTING, cfg->task_reporting, err);
    if (r < 0)
        return r;
    /* RFC 7143 13.23 */
    if (strstr(cfg->task_reporting, "RFC3720") == NULL ||
        strstr(cfg->task_reporting, "ResponseFence") == NULL)
        return config_fault(err,
                            "TaskReporting: an offer holds at least RFC3720 and ResponseFence");
    return 0;
}

/* What does not name its transport was meant for another one, or is misspelled. */
static int
check_options(const struct login_config *cfg, struct lunette_error *err)
{
    const char *at = cfg->transport_options;
    size_t own = strlen(cfg->transport);
    struct offload_options ignored;

    if (strnlen(at, LOGIN_OPTIONS_MAX + 1) > LOGIN_OPTIONS_MAX)
        return config_fault(err, "the transport's options are longer than 255 bytes");
    if (offload_options_are_of(cfg->transport))
        return offload_options_parse(at, &ignored, err);
    while (*at != '\0') {
        size_t len = strcspn(at, "&"), name = strcspn(at, "=&");

        if (name == len || name <= own + 1 || strncmp(at, cfg->transport, own) != 0 ||
            at[own] != '_')
            return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                                "transport option \"%.*s\": want NAME=VALUE, where NAME begins "
                                "with %s_, as the transport is %s",
                                len > 60 ? 60 : (int)len, at, cfg->transport, cfg->transport);
        at += len + (at[len] == '&');
    }
    return login_options_check(cfg->transport_options, err);
}

/* One option, of whatever transport: those that are known here are judged. */
static int
check_option(const char *at, size_t len, struct lunette_error *err)
{
    size_t name = strcspn(at, "=&"), prefix = strcspn(at, "_");
    struct offload_options offload;
    struct iser_options iser;
    char one[LOGIN_OPTIONS_MAX + 1];

    if (name == len || ((prefix == 0 || prefix + 1 >= name) && !offload_option_known(at, name)))
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "transport option \"%.*s\": want NAME=VALUE, where NAME begins with "
                            "the name of a transport and an underscore, as iser_stag=pool, and "
                            "a & before the next",
                            len > 60 ? 60 : (int)len, at);
    if (len > LOGIN_OPTIONS_MAX)
        return config_fault(err, "the transport's options are longer than 255 bytes");
    memcpy(one, at, len);
    one[len] = '\0';
    if (strncmp(one, "iser_", 5) == 0)
        return iser_options_parse(one, &iser, err);
    return offload_option_known(at, name) || strncmp(one, "offload_", 8) == 0
               ? offload_options_read(one, &offload, err)
               : 0;
}

int
login_options_check(const char *text, struct lunette_error *err)
{
    for (const char *at = text; *at != '\0';) {
        size_t len = strcspn(at, "&");
        int r = check_option(at, len, err);

        if (r < 0)
            return r;
        at += len + (at[len] == '&');
    }
    return 0;
}

int
login_config_check(const struct login_config *cfg, struct lunette_error *err)
{
    int r = check_name(cfg->initiator_name, "initiator", err);

    if (r == 0 && cfg->target_name[0] != '\0')
        r = check_name(cfg->target_name, "target", err);
    if (r < 0)
        return r;
    if (cfg->target_name[0] == '\0' && !cfg->discovery)
        return config_fault(err, "the target's name is missing");
    if (strnlen(cfg->initiator_alias, sizeof(cfg->initiator_alias)) > LOGIN_ALIAS_MAX)
        return config_fault(err, "the initiator's alias is longer than 255 bytes");
    if ((cfg->isid[0] & 0xc0) == 0xc0) /* RFC 7143 11.12.5: T=11b */
        return config_fault(err, "the ISID's type (its two upper bits) is the reserved one");
    if (cfg->portal.host[0] == '\0' || cfg->portal.port == 0)
        return config_fault(err, "the portal to connect to is missing");
    if (cfg->ngroup > LOGIN_GROUP_MAX)
        return config_fault(err, "a session has at most 8 portals");
    for (uint32_t i = 0; i < cfg->ngroup; i++) {
        if (cfg->group[i].host[0] == '\0' || cfg->group[i].port == 0)
            return config_fault(err, "one of the further portals has no host or no port");
    }
    if (cfg->transport[0] == '\0' || strnlen(cfg->transport, IPC_NAME_MAX) == IPC_NAME_MAX)
        return config_fault(err, "the transport's name is missing or too long");
    if (cfg->nr_connections > LOGIN_CONNS_MAX)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "%u connections of a session: at most %d", cfg->nr_connections,
                            LOGIN_CONNS_MAX);
    if (cfg->kind == LOGIN_ADD_CONN && cfg->tsih == 0)
        return config_fault(err, "adding a connection needs the session's TSIH");
    if (cfg->connect_timeout_ms == 0 || cfg->login_timeout_ms == 0 || cfg->teardown_timeout_ms == 0)
        return config_fault(err, "time limits of a login must not be 0");
    if (cfg->replacement_timeout_s < ISCSI_RECOVERY_TMO_NEVER ||
        cfg->replacement_timeout_s > ISCSI_RECOVERY_TMO_MAX)
        return config_fault(err, "the replacement timeout is neither -1 nor 0 to 31536000 s");
    if (cfg->max_redirects > LOGIN_REDIRECTS_MAX)
        return config_fault(err, "more than 16 redirections are not followed");
    r = check_options(cfg, err);
    if (r == 0)
        r = check_auth(cfg, err);
    if (r == 0)
        r = check_lists(cfg, err);
    return r < 0 ? r : check_offer(cfg, err);
}

static bool
config_allows_none(const char *list)
{
    return text_list_has(list, strlen(list), TEXT_NONE, strlen(TEXT_NONE));
}

/* What an adapter is told of a portal is a value of the data plane. */
static bool
config_portal_fits(const struct portal *p)
{
    char text[PORTAL_TEXT_MAX];

    return strlen(portal_format(p, text, sizeof(text))) < IPC_VALUE_MAX;
}

/* What is asked of an adapter that logs in by itself. */
static int
check_adapter(const struct login_config *cfg, struct lunette_error *err)
{
    bool fits = config_portal_fits(&cfg->portal);

    if (cfg->discovery)
        return config_fault(err, "this transport logs in by itself, and only to targets: discover "
                                 "them over another one");
    if (cfg->kind == LOGIN_ADD_CONN)
        return config_fault(err, "this transport logs in by itself, with one connection");
    if (cfg->chap.name[0] != '\0')
        return config_fault(err, "this transport logs in by itself, with the secrets of its own "
                                 "table: it takes none from a login");
    for (uint32_t i = 0; i < cfg->ngroup; i++)
        fits = fits && config_portal_fits(&cfg->group[i]);
    if (!fits)
        return config_fault(err, "this transport logs in by itself, and the name of the portal is "
                                 "too long to be told to it: use the portal's address");
    return 0;
}

/* A transport without digests is refused only when cfg demands a digest: with CRC32C beside None
 * the login offers None alone. */
int
login_config_check_caps(const struct login_config *cfg, uint32_t caps, struct lunette_error *err)
{
    if ((caps & CAP_LOGIN_OFFLOAD) && check_adapter(cfg, err) < 0)
        return -EINVAL;
    if (!(caps & CAP_HDRDGST) && !config_allows_none(cfg->header_digest))
        return config_fault(err, "HeaderDigest: this transport cannot do CRC32C, so None must be "
                                 "allowed");
    if (!(caps & CAP_DATADGST) && !config_allows_none(cfg->data_digest))
        return config_fault(err, "DataDigest: this transport cannot do CRC32C, so None must be "
                                 "allowed");
    if (!(caps & CAP_BIND_DESCRIPTOR) && cfg->sock.device[0] != '\0')
        return config_fault(err, "this transport makes its connections by itself: they cannot be "
                                 "bound to a network device, only to an address");
    return 0;
}

void
login_isid_random(struct loop *loop, uint8_t isid[LOGIN_ISID_LEN])
{
    uint64_t r = loop_random(loop);

    for (size_t i = 0; i < LOGIN_ISID_LEN; i++)
        isid[i] = (uint8_t)(r >> (8 * i));
    isid[0] = 0x80; /* T=10b: the 24 bits after it and the qualifier are random */
}
