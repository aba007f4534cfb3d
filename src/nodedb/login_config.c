/* SPDX-License-Identifier: MIT */
#include "nodedb/login_config.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nodedb/internal.h"
#include "wire/chap.h"

#define MS_PER_S 1000

/* What open-iscsi writes into each record by itself.  It would switch off the system's own choice
 * of buffers, which nobody has asked for. */
#define WINDOW_UNSET 524288

/* What each record has where nobody has set DefaultTime2Wait. */
#define TIME2WAIT_UNSET 2

/* Where a number or a word's index goes: *type (structure + at), times `scale`. */
struct to_field {
    enum nodedb_key_id id;
    enum { TO_CFG, TO_OPTS } to;
    enum { AS_U32, AS_I32, AS_BOOL } as;
    size_t at;
    uint32_t scale;
};

#define CFG(id, as, field, scale)                                                                  \
    {                                                                                              \
        id, TO_CFG, as, offsetof(struct login_config, field), scale                                \
    }
#define OPT(id, as, field, scale)                                                                  \
    {                                                                                              \
        id, TO_OPTS, as, offsetof(struct nodedb_session_opts, field), scale                        \
    }
#define DOPT(id, as, field, scale)                                                                 \
    {                                                                                              \
        id, TO_OPTS, as, offsetof(struct nodedb_disc_opts, field), scale                           \
    }

static const struct to_field node_fields[] = {
    CFG(NODEDB_CMDS_MAX, AS_U32, cmds_max, 1),
    CFG(NODEDB_REPLACEMENT_TIMEOUT, AS_I32, replacement_timeout_s, 1),
    CFG(NODEDB_ABORT_TIMEOUT, AS_U32, abort_timeout_ms, MS_PER_S),
    CFG(NODEDB_LU_RESET_TIMEOUT, AS_U32, lu_reset_timeout_ms, MS_PER_S),
    CFG(NODEDB_TGT_RESET_TIMEOUT, AS_U32, tgt_reset_timeout_ms, MS_PER_S),
    CFG(NODEDB_INITIAL_R2T, AS_BOOL, offer.initial_r2t, 1),
    CFG(NODEDB_IMMEDIATE_DATA, AS_BOOL, offer.immediate_data, 1),
    CFG(NODEDB_FIRST_BURST, AS_U32, offer.first_burst, 1),
    CFG(NODEDB_MAX_BURST, AS_U32, offer.max_burst, 1),
    CFG(NODEDB_TIME2RETAIN, AS_U32, offer.time2retain, 1),
    CFG(NODEDB_TIME2WAIT, AS_U32, offer.time2wait, 1),
    CFG(NODEDB_MAX_CONNECTIONS, AS_U32, offer.max_connections, 1),
    CFG(NODEDB_NR_CONNECTIONS, AS_U32, nr_connections, 1),
    CFG(NODEDB_MAX_OUTSTANDING_R2T, AS_U32, offer.max_outstanding_r2t, 1),
    CFG(NODEDB_ERROR_RECOVERY_LEVEL, AS_U32, offer.erl, 1),
    CFG(NODEDB_WINDOW_SIZE, AS_U32, sock.rcvbuf, 1),
    CFG(NODEDB_WINDOW_SIZE, AS_U32, sock.sndbuf, 1),
    CFG(NODEDB_LOGIN_TIMEOUT, AS_U32, connect_timeout_ms, MS_PER_S),
    CFG(NODEDB_LOGIN_TIMEOUT, AS_U32, login_timeout_ms, MS_PER_S),
    CFG(NODEDB_NOOP_INTERVAL, AS_U32, ping_interval_ms, MS_PER_S),
    CFG(NODEDB_NOOP_TIMEOUT, AS_U32, ping_timeout_ms, MS_PER_S),
    CFG(NODEDB_MAX_RECV_DSEG, AS_U32, offer.max_recv_dseg, 1),
    OPT(NODEDB_NODE_LEADING_LOGIN, AS_BOOL, leading_login, 1),
    OPT(NODEDB_NR_SESSIONS, AS_U32, nr_sessions, 1),
    OPT(NODEDB_MAX_CONNECTIONS, AS_U32, max_connections, 1),
    OPT(NODEDB_LOGIN_RETRY_MAX, AS_U32, login_retry_max, 1),
    OPT(NODEDB_REOPEN_MAX, AS_U32, reopen_max, 1),
    OPT(NODEDB_REOPEN_LOG_FREQ, AS_U32, reopen_log_freq, 1),
    OPT(NODEDB_QUEUE_DEPTH, AS_U32, queue_depth, 1),
    OPT(NODEDB_LOGOUT_TIMEOUT, AS_U32, logout_timeout_ms, MS_PER_S),
    OPT(NODEDB_SCAN, AS_BOOL, scan, 1),
    OPT(NODEDB_NODE_EXPORT, AS_BOOL, export_nbd, 1),
};

static const struct to_field disc_fields[] = {
    CFG(NODEDB_D_LOGIN_TIMEOUT, AS_U32, connect_timeout_ms, MS_PER_S),
    CFG(NODEDB_D_LOGIN_TIMEOUT, AS_U32, login_timeout_ms, MS_PER_S),
    CFG(NODEDB_D_MAX_RECV_DSEG, AS_U32, offer.max_recv_dseg, 1),
    DOPT(NODEDB_D_USE_DISCOVERYD, AS_BOOL, periodic, 1),
    DOPT(NODEDB_D_POLL_INTERVAL, AS_U32, poll_s, 1),
    DOPT(NODEDB_D_REOPEN_MAX, AS_U32, reopen_max, 1),
    DOPT(NODEDB_D_ACTIVE_TIMEOUT, AS_U32, text_timeout_ms, MS_PER_S),
};

static const struct to_field isns_fields[] = {
    DOPT(NODEDB_ISNS_USE_DISCOVERYD, AS_BOOL, periodic, 1),
    DOPT(NODEDB_ISNS_POLL_INTERVAL, AS_I32, poll_s, 1),
};

/* The keys of the two kinds of records that mean the same. */
struct account_keys {
    enum nodedb_key_id method, user, password, user_in, password_in, algs;
};

static const struct account_keys node_account = {NODEDB_AUTHMETHOD,  NODEDB_USERNAME,
                                                 NODEDB_PASSWORD,    NODEDB_USERNAME_IN,
                                                 NODEDB_PASSWORD_IN, NODEDB_CHAP_ALGS};
static const struct account_keys disc_account = {NODEDB_D_AUTHMETHOD,  NODEDB_D_USERNAME,
                                                 NODEDB_D_PASSWORD,    NODEDB_D_USERNAME_IN,
                                                 NODEDB_D_PASSWORD_IN, NODEDB_D_CHAP_ALGS};

/* Gets a value that is needed: what is malformed is an error, what is out of range is not. */
static int
need(const struct nodedb_record *r, enum nodedb_key_id id, char buf[NODEDB_VALUE_MAX + 1],
     const char **ret, struct lunette_error *err)
{
    struct lunette_error bad;

    *ret = nodedb_record_get(r, id, buf, &bad);
    return bad.code == -EINVAL ? lunette_fail_as(err, &bad) : 0;
}

static int
take_fields(const struct nodedb_record *r, const struct to_field *f, size_t n, void *cfg,
            void *opts, struct lunette_error *err)
{
    for (size_t i = 0; i < n; i++) {
        const struct nodedb_key *k = nodedb_key(f[i].id);
        char *to = (char *)(f[i].to == TO_CFG ? cfg : opts) + f[i].at;
        char buf[NODEDB_VALUE_MAX + 1];
        const char *text;
        long long v;
        int e = need(r, f[i].id, buf, &text, err);

        if (e < 0)
            return e;
        v = k->type == NODEDB_WORD ? nodedb_word_index(k->words, text, strlen(text))
                                   : strtoll(text, NULL, 10);
        if (f[i].as == AS_BOOL)
            *(bool *)(void *)to = v != 0;
        else if (f[i].as == AS_I32)
            *(int32_t *)(void *)to = (int32_t)v;
        else
            *(uint32_t *)(void *)to = (uint32_t)(v * f[i].scale);
    }
    return 0;
}

static int
take_account(const struct nodedb_record *r, enum nodedb_key_id user, enum nodedb_key_id password,
             struct login_account *ret, struct lunette_error *err)
{
    char user_buf[NODEDB_VALUE_MAX + 1], secret_buf[NODEDB_VALUE_MAX + 1];
    const char *name, *secret;
    int e = need(r, user, user_buf, &name, err);

    if (e == 0)
        e = need(r, password, secret_buf, &secret, err);
    if (e == 0) {
        NODEDB_COPY(ret->name, name);
        ret->secret_len = (uint16_t)strlen(secret);
        memcpy(ret->secret, secret, ret->secret_len);
    }
    explicit_bzero(secret_buf, sizeof(secret_buf));
    return e;
}

static int
take_algs(const struct nodedb_record *r, enum nodedb_key_id id, struct login_config *cfg,
          struct lunette_error *err)
{
    static const uint8_t alg[] = {CHAP_MD5, CHAP_SHA1, CHAP_SHA256, CHAP_SHA3_256};
    char buf[NODEDB_VALUE_MAX + 1];
    const char *list;
    size_t n = 0;
    int e = need(r, id, buf, &list, err);

    memset(cfg->chap_algs, 0, sizeof(cfg->chap_algs));
    while (e == 0 && *list != '\0' && n < sizeof(cfg->chap_algs)) {
        size_t len = strcspn(list, ",");
        int i = nodedb_word_index(nodedb_key(id)->words, list, len);

        if (i >= 0)
            cfg->chap_algs[n++] = alg[i];
        list += len + (list[len] == ',');
    }
    return e;
}

/* CHAP is offered where there is a name and a secret, whatever authmethod says, as open-iscsi does
 * it; iscsid.honour_authmethod makes it mean what it says. */
static int
take_auth(const struct nodedb_record *r, const struct account_keys *k,
          const struct nodedb_record *conf, struct login_config *cfg, struct lunette_error *err)
{
    bool honour = conf != NULL && nodedb_record_word(conf, NODEDB_HONOUR_AUTHMETHOD) == 1;
    char buf[NODEDB_VALUE_MAX + 1];
    const char *method;
    int e = need(r, k->method, buf, &method, err);

    if (e < 0 || (honour && strcmp(method, "CHAP") != 0))
        return e;
    cfg->auth_required = honour;
    cfg->allow_short_secret = true; /* open-iscsi takes them, and there are records with them */
    e = take_account(r, k->user, k->password, &cfg->chap, err);
    if (e == 0)
        e = take_account(r, k->user_in, k->password_in, &cfg->mutual, err);
    return e < 0 ? e : take_algs(r, k->algs, cfg, err);
}

/* The name of the transport.  The record of a node may say another one than that of its interface:
 * it is the one key of interfaces that can be changed there, and so have been many to iser. */
static int
take_transport(const struct nodedb_record *iface, const struct nodedb_record *node,
               char buf[NODEDB_VALUE_MAX + 1], const char **ret, struct lunette_error *err)
{
    const char *name = nodedb_record_text(iface, NODEDB_IFACE_NAME);
    int e = node != NULL ? need(node, NODEDB_IFACE_TRANSPORT, buf, ret, err) : 0;

    if (e < 0)
        return e;
    if (node != NULL && (*ret)[0] != '\0' &&
        (nodedb_iface_reserved(name) || strcmp(*ret, "tcp") != 0))
        return 0;
    return need(iface, NODEDB_IFACE_TRANSPORT, buf, ret, err);
}

/* The transport, and whose name goes out: that of the interface, or else of the record of the node
 * (may be NULL), where the firmware's name for this host is. */
static int
take_iface(const struct nodedb_record *r, const struct nodedb_record *node,
           const struct nodedb_initiator *who, struct login_config *cfg, struct lunette_error *err)
{
    static const char adapters[] = "bnx2i|be2iscsi|cxgb3i|cxgb4i|ocs|qedi|qla4xxx";
    char buf[NODEDB_VALUE_MAX + 1];
    const char *text;
    int e = take_transport(r, node, buf, &text, err);

    if (e < 0)
        return e;
    if (nodedb_word_index(adapters, text, strlen(text)) >= 0)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "iface.transport_name is %s, which is a host bus adapter's: sessions "
                            "here go over tcp, iser or offload_session",
                            text);
    NODEDB_COPY(cfg->transport, text[0] != '\0' ? text : "tcp");
    e = need(r, NODEDB_IFACE_INITIATORNAME, buf, &text, err);
    if (e == 0 && text[0] == '\0' && node != NULL)
        e = need(node, NODEDB_IFACE_INITIATORNAME, buf, &text, err);
    NODEDB_COPY(cfg->initiator_name, e == 0 && text[0] != '\0' ? text : who->name);
    NODEDB_COPY(cfg->initiator_alias, who->alias);
    return e;
}

static int
take_binding(const struct nodedb_record *r, struct nodedb_binding *ret, struct lunette_error *err)
{
    char dev_buf[NODEDB_VALUE_MAX + 1], addr_buf[NODEDB_VALUE_MAX + 1],
        hw_buf[NODEDB_VALUE_MAX + 1];
    const char *dev = "", *addr = "", *hw = "";
    int e = need(r, NODEDB_IFACE_NETDEV, dev_buf, &dev, err);

    if (e == 0)
        e = need(r, NODEDB_IFACE_IPADDRESS, addr_buf, &addr, err);
    if (e == 0)
        e = need(r, NODEDB_IFACE_HWADDRESS, hw_buf, &hw, err);
    if (e < 0)
        return e;
    if (strlen(dev) >= sizeof(ret->device))
        return lunette_fail(
            err, -EINVAL, LUNETTE_DOM_USAGE, 0,
            "iface.net_ifacename is %.60s, and no network device has so long a name", dev);
    /* "default" says that it is not bound. */
    if (strcmp(dev, "default") != 0)
        NODEDB_COPY(ret->device, dev);
    if (strcmp(hw, "default") != 0)
        NODEDB_COPY(ret->hwaddress, hw);
    if (strcmp(addr, "default") != 0)
        NODEDB_COPY(ret->address, addr);
    return 0;
}

static int
take_lists(const struct nodedb_record *r, struct login_config *cfg, struct lunette_error *err)
{
    char buf[NODEDB_VALUE_MAX + 1];
    const char *text;
    int e = need(r, NODEDB_HEADER_DIGEST, buf, &text, err);

    if (e < 0)
        return e;
    NODEDB_COPY(cfg->header_digest, text);
    e = need(r, NODEDB_DATA_DIGEST, buf, &text, err);
    if (e < 0)
        return e;
    NODEDB_COPY(cfg->data_digest, text);
    e = need(r, NODEDB_TRANSPORT_OPTIONS, buf, &text, err);
    if (e < 0)
        return e;
    NODEDB_COPY(cfg->transport_options, text);
    e = need(r, NODEDB_TYPE_OF_SERVICE, buf, &text, err);
    cfg->sock.dscp = (uint8_t)(strtol(text, NULL, 10) >> 2); /* RFC 2474: the upper six bits */
    return e;
}

static int
take_startup(const struct nodedb_record *r, struct nodedb_session_opts *opts,
             struct lunette_error *err)
{
    char buf[NODEDB_VALUE_MAX + 1];
    const char *text;
    int e = need(r, NODEDB_NODE_STARTUP, buf, &text, err);

    if (e == 0)
        e = need(r, NODEDB_CONN_STARTUP, buf, &text, err);
    if (e < 0)
        return e;
    opts->startup = (enum nodedb_startup)nodedb_record_word(r, NODEDB_NODE_STARTUP);
    if (opts->startup == NODEDB_STARTUP_MANUAL)
        opts->startup = (enum nodedb_startup)nodedb_record_word(r, NODEDB_CONN_STARTUP);
    return 0;
}

/* The last step of both: what is not possible together. */
static int
check_or_wipe(int e, const struct nodedb_record *r, struct login_config *cfg,
              struct lunette_error *err)
{
    if (e == 0) {
        e = login_config_check(cfg, err);
        if (e < 0 && r->origin != NULL)
            (void)lunette_fail_prefix(err, e, "%.120s", r->origin);
    }
    if (e < 0)
        login_config_wipe(cfg);
    return e;
}

int
nodedb_to_login_config(const struct nodedb_record *node, const struct nodedb_record *iface,
                       const struct nodedb_record *conf, const struct nodedb_initiator *who,
                       struct login_config *cfg, struct nodedb_session_opts *opts,
                       struct lunette_error *err)
{
    struct nodedb_id id;
    struct portal via;
    int e;

    assert(node->kind == NODEDB_NODE);
    login_config_init(cfg);
    *opts = (struct nodedb_session_opts){.startup = NODEDB_STARTUP_MANUAL};
    nodedb_node_id(node, &id);
    NODEDB_COPY(cfg->target_name, id.target);
    cfg->portal = id.portal;
    /* The firmware's tables have no tag: what its records have is made up, as open-iscsi does it.
     */
    if (nodedb_node_source(node, &via) != NODEDB_BY_FW)
        cfg->expected_tpgt = id.portal.tpgt;
    e = take_fields(node, node_fields, sizeof(node_fields) / sizeof(node_fields[0]), cfg, opts,
                    err);
    if (e == 0)
        e = take_lists(node, cfg, err);
    if (e == 0)
        e = take_startup(node, opts, err);
    if (e == 0)
        e = take_iface(iface != NULL ? iface : node, node, who, cfg, err);
    if (e == 0)
        e = take_binding(iface != NULL ? iface : node, &opts->bind, err);
    if (e == 0)
        e = take_auth(node, &node_account, conf, cfg, err);
    if (cfg->replacement_timeout_s < 0)
        cfg->replacement_timeout_s = -1;
    if (cfg->sock.rcvbuf == WINDOW_UNSET)
        cfg->sock.rcvbuf = cfg->sock.sndbuf = 0;
    if (cfg->nr_connections == 0) /* as many as are to be agreed on */
        cfg->nr_connections = cfg->offer.max_connections < LOGIN_CONNS_MAX
                                  ? cfg->offer.max_connections
                                  : LOGIN_CONNS_MAX;
    /* A gap that a lost connection leaves holds the others up until Time2Wait is over. */
    if ((cfg->nr_connections > 1 || cfg->offer.erl >= 2) && cfg->offer.time2wait == TIME2WAIT_UNSET)
        cfg->offer.time2wait = 0;
    /* open-iscsi lets a target answer with less; RFC 7143 13.14 forbids to offer more. */
    if (cfg->offer.first_burst > cfg->offer.max_burst)
        cfg->offer.first_burst = cfg->offer.max_burst;
    return check_or_wipe(e, node, cfg, err);
}

int
nodedb_to_discovery_config(const struct nodedb_record *disc, const struct nodedb_record *iface,
                           const struct nodedb_record *conf, const struct nodedb_initiator *who,
                           struct login_config *cfg, struct nodedb_disc_opts *opts,
                           struct lunette_error *err)
{
    bool isns = disc->kind == NODEDB_ISNS;
    int e;

    assert(disc->kind == NODEDB_SENDTARGETS || disc->kind == NODEDB_ISNS);
    login_config_init(cfg);
    *opts = (struct nodedb_disc_opts){.periodic = false};
    cfg->discovery = true;
    cfg->portal.port = (uint16_t)nodedb_record_num(disc, NODEDB_D_PORT);
    NODEDB_COPY(cfg->portal.host, nodedb_record_text(disc, NODEDB_D_ADDRESS));
    if (isns)
        e = take_fields(disc, isns_fields, sizeof(isns_fields) / sizeof(isns_fields[0]), cfg, opts,
                        err);
    else
        e = take_fields(disc, disc_fields, sizeof(disc_fields) / sizeof(disc_fields[0]), cfg, opts,
                        err);
    if ((int32_t)opts->poll_s < 0)
        opts->poll_s = 0;
    if (e == 0 && iface != NULL)
        e = take_iface(iface, NULL, who, cfg, err);
    if (e == 0 && iface != NULL)
        e = take_binding(iface, &opts->bind, err);
    if (e == 0 && iface == NULL) {
        NODEDB_COPY(cfg->transport, "tcp");
        NODEDB_COPY(cfg->initiator_name, who->name);
        NODEDB_COPY(cfg->initiator_alias, who->alias);
    }
    if (e == 0 && !isns)
        e = take_auth(disc, &disc_account, conf, cfg, err);
    return check_or_wipe(e, disc, cfg, err);
}
