/* SPDX-License-Identifier: MIT */
/* iscsi/param.c - the values that the control plane hands over, as text.
 *
 * They come from our own negotiation, but perhaps out of another process, so each is checked
 * against RFC 7143 13 before it is kept.
 */
#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "iscsi/internal.h"
#include "wire/text.h"

enum value_type { V_BOOL, V_NUM, V_NUM_OR_NEVER, V_DIGEST, V_IGNORED };
enum owner {
    OF_CONN,
    OF_LOGIN, /* of the connection, agreed at its login */
    OF_SESSION,
    OF_PARAMS, /* of the session, agreed at the login of its leading connection */
};

static const struct param_row {
    const char *name;
    enum value_type type;
    enum owner owner;
    size_t offset;
    uint32_t min, max;
} rows[ISCSI_PARAM_COUNT] = {
#define CONN(p, type, field, min, max)                                                             \
    [ISCSI_PARAM_##p] = {#p, type, OF_CONN, offsetof(struct conn, field), min, max}
#define AGRD(p, type, field, min, max)                                                             \
    [ISCSI_PARAM_##p] = {#p, type, OF_LOGIN, offsetof(struct conn, field), min, max}
#define SESS(p, type, field, min, max)                                                             \
    [ISCSI_PARAM_##p] = {#p, type, OF_SESSION, offsetof(struct session, field), min, max}
#define PARM(p, type, field, min, max)                                                             \
    [ISCSI_PARAM_##                                                                                \
        p] = {#p, type, OF_PARAMS, offsetof(struct iscsi_session_params, field), min, max}
#define NONE(p) [ISCSI_PARAM_##p] = {#p, V_IGNORED, OF_CONN, 0, 0, 0}
    /* clang-format off */
    AGRD(HEADER_DIGEST,    V_DIGEST, want_hdrdgst, 0, 0),
    AGRD(DATA_DIGEST,      V_DIGEST, want_datadgst, 0, 0),
    AGRD(MAX_RECV_DLENGTH, V_NUM, declared_recv_dlength, 512, 0xffffff),
    AGRD(MAX_XMIT_DLENGTH, V_NUM, declared_xmit_dlength, 512, 0xffffff),
    AGRD(MAX_UNEXPECTED_PDUS, V_NUM, max_unexpected, 0, UINT32_MAX),
    PARM(INITIAL_R2T,      V_BOOL, initial_r2t, 0, 1),
    PARM(IMM_DATA,         V_BOOL, imm_data, 0, 1),
    PARM(FIRST_BURST,      V_NUM, first_burst, 512, 0xffffff),
    PARM(MAX_BURST,        V_NUM, max_burst, 512, 0xffffff),
    PARM(MAX_R2T,          V_NUM, max_r2t, 1, 65535),
    PARM(PDU_INORDER,      V_BOOL, pdu_inorder, 1, 1),     /* "No" is never offered */
    PARM(DATASEQ_INORDER,  V_BOOL, dataseq_inorder, 1, 1),
    PARM(ERL,              V_NUM, erl, 0, 2),
    PARM(MAX_CONNECTIONS,  V_NUM, max_connections, 1, 65535),
    PARM(DEF_TIME2WAIT,    V_NUM, time2wait_s, 0, 3600),
    PARM(DEF_TIME2RETAIN,  V_NUM, time2retain_s, 0, 3600),
    PARM(PROTOCOL_LEVEL,   V_NUM, protocol_level, 0, 31),
    CONN(PING_INTERVAL_MS, V_NUM, ping_interval_ms, 0, 86400000),
    CONN(PING_TIMEOUT_MS,  V_NUM, ping_timeout_ms, 1, 86400000),
    SESS(ABORT_TIMEOUT_MS,     V_NUM, abort_timeout_ms, 1, 86400000),
    SESS(LU_RESET_TIMEOUT_MS,  V_NUM, lu_reset_timeout_ms, 1, 86400000),
    SESS(TGT_RESET_TIMEOUT_MS, V_NUM, tgt_reset_timeout_ms, 1, 86400000),
    SESS(RECOVERY_TMO,     V_NUM_OR_NEVER, recovery_tmo_s, 0, ISCSI_RECOVERY_TMO_MAX),
    CONN(ZERO_COPY,        V_BOOL, pub.zero_copy, 0, 1),
    PARM(TASK_REPORTING,   V_IGNORED, fast_abort, 0, 0), /* iscsi_set_param takes it by itself */
    NONE(EXP_STATSN),     /* the session layer counts it, since it sees each response */
    NONE(TARGET_NAME), NONE(INITIATOR_NAME), NONE(TPGT), NONE(TSIH),
    NONE(ISID), NONE(PORTAL), NONE(OPTIONS),
    /* clang-format on */
};

static int
param_parse(const struct param_row *row, const char *value, uint32_t *ret)
{
    uint64_t n;
    bool yes;

    switch (row->type) {
    case V_BOOL:
        if (text_parse_bool(value, strlen(value), &yes) < 0)
            return -EINVAL;
        *ret = yes;
        break;
    case V_DIGEST:
        if (strcmp(value, "CRC32C") != 0 && strcmp(value, "None") != 0)
            return -EINVAL;
        *ret = value[0] == 'C';
        return 0;
    case V_NUM_OR_NEVER:
        if (strcmp(value, "-1") == 0) {
            *ret = (uint32_t)ISCSI_RECOVERY_TMO_NEVER;
            return 0;
        }
        /* fall through */
    case V_NUM:
        if (text_parse_num(value, strlen(value), &n) < 0 || n > UINT32_MAX)
            return -EINVAL;
        *ret = (uint32_t)n;
        break;
    case V_IGNORED:
        return 0;
    }
    return *ret >= row->min && *ret <= row->max ? 0 : -EINVAL;
}

static void *
param_place(struct conn *c, const struct param_row *row)
{
    char *base = row->owner == OF_PARAMS    ? (char *)&c->session->pub.params
                 : row->owner == OF_SESSION ? (char *)c->session
                                            : (char *)c;

    return base + row->offset;
}

/* Is the login over that such a value is agreed at? */
static bool
param_too_late(const struct conn *c, const struct param_row *row)
{
    bool logged_in = !c->down && c->state != CONN_IN_LOGIN;

    switch (row->owner) {
    case OF_LOGIN:
        return logged_in;
    case OF_PARAMS:
        return logged_in || c->session->state == ISCSI_STATE_LOGGED_IN;
    case OF_CONN:
    case OF_SESSION:
        break;
    }
    return false;
}

int
iscsi_set_param(struct iscsi_conn *pub, enum iscsi_param p, const char *value,
                struct lunette_error *err)
{
    struct conn *c = to_conn(pub);
    const struct param_row *row;
    uint32_t v = 0;

    if (p >= ISCSI_PARAM_COUNT)
        return lunette_fail(err, -ENOTSUP, LUNETTE_DOM_USAGE, 0, "parameter %d is not known",
                            (int)p);
    row = &rows[p];
    assert(row->name != NULL);
    TRACE(pub->loop, set_param, pub->cid, p);
    if (param_too_late(c, row))
        return lunette_fail(err, -EBUSY, LUNETTE_DOM_USAGE, 0,
                            "parameter %s is agreed at login and stays", row->name);
    if (param_parse(row, value, &v) < 0)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "parameter %s: \"%.40s\" cannot be",
                            row->name, value);
    if (row->type == V_DIGEST && v != 0 &&
        !(pub->tt->caps & (p == ISCSI_PARAM_HEADER_DIGEST ? CAP_HDRDGST : CAP_DATADGST)))
        return lunette_fail(err, -ENOTSUP, LUNETTE_DOM_USAGE, 0, "transport %s has no digests",
                            pub->tt->name);
    if (p == ISCSI_PARAM_OPTIONS && pub->tt->set_param == NULL)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "transport %s has no options",
                            pub->tt->name);
    if (p == ISCSI_PARAM_TASK_REPORTING)
        c->session->pub.params.fast_abort = strcmp(value, "FastAbort") == 0;
    else if (row->type == V_NUM || row->type == V_NUM_OR_NEVER)
        *(uint32_t *)param_place(c, row) = v;
    else if (row->type != V_IGNORED)
        *(bool *)param_place(c, row) = v != 0;
    if (p == ISCSI_PARAM_RECOVERY_TMO)
        iscsi_recovery_tmo_changed(c->session);
    if ((p == ISCSI_PARAM_PING_INTERVAL_MS || p == ISCSI_PARAM_PING_TIMEOUT_MS) &&
        c->state == CONN_LOGGED_IN && !c->suspended)
        iscsi_ping_start(c);
    return pub->tt->set_param != NULL ? pub->tt->set_param(pub, p, value, err) : 0;
}
