/* SPDX-License-Identifier: MIT */
#include "classic/form.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

const size_t classic_form_size[CLASSIC_FORMS] = {
    [CLASSIC_FORM_2_1_4] = 16104, [CLASSIC_FORM_2_1_11] = 16112, [CLASSIC_FORM_2_1_12] = 16128};

/* Offsets in a request. */
#define AT_COMMAND 0
#define AT_PAYLOAD 4
#define AT_SID     8
#define AT_RECORD  16

/* Offsets in a record. */
#define AT_NAME    16
#define NAME_SIZE  256
#define AT_TPGT    272
#define AT_SESSION 288

/* Offsets in the part of its connection, and in that of its interface. */
#define AT_ADDRESS    4
#define ADDRESS_SIZE  1025
#define AT_PORT       1032
#define AT_IFACE      16
#define IFACE_SIZE    65
#define AT_FIRSTBURST 1128 /* in the part of the session */
#define AT_MULTIPLE   1172

/* Where the parts of a record are. */
static const struct form_layout {
    size_t conn, iface;
    size_t conn_more; /* the connection's part has so much more before its time limits */
} form_layouts[CLASSIC_FORMS] = {
    [CLASSIC_FORM_2_1_4] = {2232, 3328, 0},
    [CLASSIC_FORM_2_1_11] = {2240, 3336, 0},
    [CLASSIC_FORM_2_1_12] = {2240, 3352, 16},
};

enum form_type { FORM_NUMBER, FORM_WORD, FORM_TEXT };
enum form_part {
    FORM_EARLY,   /* of the session, before anything has ever been added to it */
    FORM_HEAD,    /* of the session, known only of the first form */
    FORM_SESSION, /* of the session, behind its head */
    FORM_TCP,     /* of the connection, where nothing has been added before it */
    FORM_CONN,    /* of the connection, behind that */
};

static const char *const form_yes[] = {"No", "Yes", NULL};
static const char *const form_auth[] = {"None", "CHAP", NULL};
static const char *const form_scan[] = {"manual", "auto", NULL};
static const char *const form_digest[] = {"None", "CRC32C", "CRC32C,None", "None,CRC32C", NULL};

/* Which keys are where. */
static const struct form_key {
    const char *name;
    enum form_part part;
    uint16_t at;
    enum form_type type;
    const char *const *words;
} form_keys[] = {
    {"node.session.reopen_max", FORM_EARLY, 4, FORM_NUMBER, NULL},
    {"node.session.cmds_max", FORM_HEAD, 12, FORM_NUMBER, NULL},
    {"node.session.queue_depth", FORM_HEAD, 16, FORM_NUMBER, NULL},
    {"node.session.initial_login_retry_max", FORM_HEAD, 20, FORM_NUMBER, NULL},
    {"node.session.scan", FORM_HEAD, 28, FORM_WORD, form_scan},
    {"node.session.auth.authmethod", FORM_SESSION, 32, FORM_WORD, form_auth},
    {"node.session.auth.username", FORM_SESSION, 36, FORM_TEXT, NULL},
    {"node.session.auth.password", FORM_SESSION, 292, FORM_TEXT, NULL},
    {"node.session.auth.username_in", FORM_SESSION, 552, FORM_TEXT, NULL},
    {"node.session.auth.password_in", FORM_SESSION, 808, FORM_TEXT, NULL},
    {"node.session.timeo.replacement_timeout", FORM_SESSION, 1088, FORM_NUMBER, NULL},
    {"node.session.err_timeo.abort_timeout", FORM_SESSION, 1092, FORM_NUMBER, NULL},
    {"node.session.err_timeo.lu_reset_timeout", FORM_SESSION, 1100, FORM_NUMBER, NULL},
    {"node.session.err_timeo.tgt_reset_timeout", FORM_SESSION, 1104, FORM_NUMBER, NULL},
    {"node.session.iscsi.InitialR2T", FORM_SESSION, 1120, FORM_WORD, form_yes},
    {"node.session.iscsi.ImmediateData", FORM_SESSION, 1124, FORM_WORD, form_yes},
    {"node.session.iscsi.FirstBurstLength", FORM_SESSION, 1128, FORM_NUMBER, NULL},
    {"node.session.iscsi.MaxBurstLength", FORM_SESSION, 1132, FORM_NUMBER, NULL},
    {"node.session.iscsi.DefaultTime2Wait", FORM_SESSION, 1136, FORM_NUMBER, NULL},
    {"node.session.iscsi.DefaultTime2Retain", FORM_SESSION, 1140, FORM_NUMBER, NULL},
    {"node.session.iscsi.MaxOutstandingR2T", FORM_SESSION, 1148, FORM_NUMBER, NULL},
    {"node.conn[0].tcp.window_size", FORM_TCP, 1036, FORM_NUMBER, NULL},
    {"node.conn[0].timeo.login_timeout", FORM_CONN, 1044, FORM_NUMBER, NULL},
    {"node.conn[0].timeo.logout_timeout", FORM_CONN, 1048, FORM_NUMBER, NULL},
    {"node.conn[0].timeo.noop_out_interval", FORM_CONN, 1060, FORM_NUMBER, NULL},
    {"node.conn[0].timeo.noop_out_timeout", FORM_CONN, 1064, FORM_NUMBER, NULL},
    {"node.conn[0].iscsi.MaxRecvDataSegmentLength", FORM_CONN, 1068, FORM_NUMBER, NULL},
    {"node.conn[0].iscsi.HeaderDigest", FORM_CONN, 1076, FORM_WORD, form_digest},
    {"node.conn[0].iscsi.DataDigest", FORM_CONN, 1080, FORM_WORD, form_digest},
};
_Static_assert(sizeof(form_keys) / sizeof(form_keys[0]) <= CLASSIC_VALUES_MAX, "room for all");

static uint32_t
form_u32(const uint8_t *at)
{
    uint32_t v;

    memcpy(&v, at, sizeof(v));
    return v;
}

static bool
form_has_payload(uint32_t command)
{
    return command >= CLASSIC_NOTIFY_ADD_NODE && command <= CLASSIC_NOTIFY_DEL_PORTAL;
}

/* Bytes of the payload, as far as it may have one; -1: it is too long. */
static int64_t
form_payload(const uint8_t *data)
{
    uint32_t n = form_u32(data + AT_PAYLOAD);

    if (!form_has_payload(form_u32(data + AT_COMMAND)))
        return 0;
    return n <= CLASSIC_PAYLOAD_MAX ? (int64_t)n : -1;
}

int
classic_request_whole(const uint8_t *data, size_t len)
{
    int64_t payload = len >= AT_SID ? form_payload(data) : 0;

    if (payload < 0)
        return -EMSGSIZE;
    for (int i = 0; i < CLASSIC_FORMS; i++)
        if (len == classic_form_size[i] + (size_t)payload)
            return 1;
    return len < CLASSIC_REQUEST_MAX + (size_t)payload ? 0 : -EMSGSIZE;
}

/* Copies a text that ends within size bytes.  Returns 0, or -EINVAL where it does not, or is longer
 * than there is room for. */
static int
form_copy_text(const uint8_t *at, size_t size, char *ret, size_t ret_size)
{
    size_t n = strnlen((const char *)at, size);

    if (n == size || n >= ret_size)
        return -EINVAL;
    memcpy(ret, at, n + 1);
    return 0;
}

/* By how many bytes the part of the session is shifted behind its head, where a later version has
 * put something.  FirstBurstLength tells it, since what is before it is small: a yes or no. */
static int
form_shift(const uint8_t *session)
{
    for (int shift = 0; shift <= 8; shift += 4) {
        uint32_t burst = form_u32(session + AT_FIRSTBURST + shift);

        if (burst >= 512 && burst < 1u << 24)
            return shift;
    }
    return -1;
}

static void
form_take(struct classic_record *r, const struct form_key *k, const uint8_t *at)
{
    struct classic_value *v = &r->values[r->nvalues];
    uint32_t number = form_u32(at), words = 0;

    if (k->type == FORM_TEXT) {
        if (form_copy_text(at, CLASSIC_TEXT_MAX + 1, v->text, sizeof(v->text)) < 0 ||
            v->text[0] == '\0')
            return;
    } else if (k->type == FORM_WORD) {
        while (k->words[words] != NULL)
            words++;
        if (number >= words)
            return;
        (void)snprintf(v->text, sizeof(v->text), "%s", k->words[number]);
    } else {
        (void)snprintf(v->text, sizeof(v->text), "%ld", (long)(int32_t)number);
    }
    v->name = k->name;
    r->nvalues++;
}

static void
form_values(struct classic_record *r, const uint8_t *record, enum classic_form form, int shift)
{
    const struct form_layout *l = &form_layouts[form];
    const uint8_t *session = record + AT_SESSION, *conn = record + l->conn;

    for (size_t i = 0; i < sizeof(form_keys) / sizeof(form_keys[0]); i++) {
        const struct form_key *k = &form_keys[i];

        if (k->part == FORM_EARLY || (k->part == FORM_HEAD && form == CLASSIC_FORM_2_1_4))
            form_take(r, k, session + k->at);
        else if (k->part == FORM_SESSION && shift >= 0)
            form_take(r, k, session + k->at + shift);
        else if (k->part == FORM_TCP)
            form_take(r, k, conn + k->at);
        else if (k->part == FORM_CONN)
            form_take(r, k, conn + k->at + l->conn_more);
    }
}

static int
form_record(const uint8_t *record, enum classic_form form, struct classic_record *ret,
            struct lunette_error *err)
{
    const struct form_layout *l = &form_layouts[form];
    const uint8_t *session = record + AT_SESSION;
    uint32_t port = form_u32(record + l->conn + AT_PORT);
    int shift = form_shift(session);
    /* The pointer before it is aligned to 8 bytes. */
    size_t multiple = AT_MULTIPLE + (shift > 0 ? 8 : 0);

    if (form_copy_text(record + AT_NAME, NAME_SIZE, ret->target, sizeof(ret->target)) < 0 ||
        ret->target[0] == '\0')
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "its target has no valid name");
    if (form_copy_text(record + l->conn + AT_ADDRESS, ADDRESS_SIZE, ret->portal.host,
                       sizeof(ret->portal.host)) < 0 ||
        ret->portal.host[0] == '\0' || port == 0 || port > UINT16_MAX)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "its portal is not valid");
    if (form_copy_text(record + l->iface + AT_IFACE, IFACE_SIZE, ret->iface, sizeof(ret->iface)) <
        0)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "its interface has no valid name");
    ret->portal.port = (uint16_t)port;
    ret->portal.tpgt = (int32_t)form_u32(record + AT_TPGT);
    if (ret->portal.tpgt < -1 || ret->portal.tpgt > UINT16_MAX)
        ret->portal.tpgt = -1;
    ret->more = session[multiple] != 0;
    form_values(ret, record, form, shift);
    return 0;
}

int
classic_request_read(const uint8_t *data, size_t len, struct classic_request *ret,
                     struct lunette_error *err)
{
    int64_t payload;
    int form = CLASSIC_FORMS;

    memset(ret, 0, sizeof(*ret));
    if (len < AT_RECORD || (payload = form_payload(data)) < 0)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "it is too short");
    ret->command = form_u32(data + AT_COMMAND);
    for (int i = 0; i < CLASSIC_FORMS; i++)
        if (len == classic_form_size[i] + (size_t)payload)
            form = i;
    if (form == CLASSIC_FORMS)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "no version has that size");
    ret->form = (enum classic_form)form;
    ret->sid = (int32_t)form_u32(data + AT_SID);
    if (ret->command != CLASSIC_SESSION_LOGIN)
        return 0;
    return form_record(data + AT_RECORD, ret->form, &ret->record, err);
}

void
classic_request_wipe(struct classic_request *rq)
{
    explicit_bzero(rq->record.values, sizeof(rq->record.values));
}

/* ---- replies -------------------------------------------------------------------------------- */

#define AT_ERR    4
#define AT_ANSWER 8
#define AT_STATS  (AT_ANSWER + 56) /* behind a message of the kernel, which is not used */

static void
form_put(struct classic_reply *rep, size_t at, const void *value, size_t len)
{
    memcpy(rep->bytes + at, value, len);
}

void
classic_reply_init(struct classic_reply *rep, uint32_t command, int err)
{
    int32_t code = err;

    memset(rep, 0, sizeof(*rep));
    form_put(rep, AT_COMMAND, &command, sizeof(command));
    form_put(rep, AT_ERR, &code, sizeof(code));
}

void
classic_reply_text(struct classic_reply *rep, const char *text)
{
    (void)snprintf((char *)rep->bytes + AT_ANSWER, CLASSIC_REPLY_SIZE - AT_ANSWER, "%s", text);
}

void
classic_reply_states(struct classic_reply *rep, int session_state, int conn_state)
{
    int32_t states[2] = {session_state, conn_state};

    form_put(rep, AT_ANSWER, states, sizeof(states));
}

void
classic_reply_stats(struct classic_reply *rep, const struct classic_stats *s)
{
    form_put(rep, AT_STATS, &s->txdata_octets, sizeof(s->txdata_octets));
    form_put(rep, AT_STATS + 8, &s->rxdata_octets, sizeof(s->rxdata_octets));
    form_put(rep, AT_STATS + 16, s->pdus, sizeof(s->pdus));
}
