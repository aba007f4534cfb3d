/* SPDX-License-Identifier: MIT */
/* gate/peer_scsi.c - the peer's answers: login without authentication, the commands that bring a
 * disk up, reads with the status in the last Data-In, writes with R2Ts for what was not sent
 * unasked.  RFC 7143 sections 11 and 13. */
#include "peer_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/pdu.h"
#include "wire/scsi.h"

#define BLOCK       512u
#define WINDOW      1024u /* commands */
#define MAX_RECV    (1u << 20)
#define MAX_BURST   (1u << 20)
#define FIRST_BURST (256u << 10)
#define KEYS_LEN    2048

#define KEY_ILLEGAL   5
#define ASC_OPCODE    0x20
#define ASC_CDB_FIELD 0x24

void
peer_session_begin(struct peer *p)
{
    p->ffp = p->hdigest = p->ddigest = false;
    p->stat_sn = 1;
    p->max_xmit = ISCSI_LOGIN_DSEG_MAX;
    p->max_burst = 256u << 10; /* 13.13 */
    memset(p->writes, 0, sizeof(p->writes));
}

/* Where all answers have them: bytes 24, 28, 32. */
static void
put_sns(struct peer *p, union bhs_any *r, bool status)
{
    r->scsi_rsp.stat_sn = put32(status ? p->stat_sn++ : p->stat_sn);
    r->scsi_rsp.exp_cmd_sn = put32(p->exp_cmd_sn);
    r->scsi_rsp.max_cmd_sn = put32(p->exp_cmd_sn + WINDOW - 1);
}

/* ---- login ---------------------------------------------------------------------------------- */

struct text {
    char s[KEYS_LEN];
    size_t len;
};

static void
say(struct text *t, const char *key, const char *val)
{
    int n = snprintf(t->s + t->len, sizeof(t->s) - t->len, "%s=%s", key, val);

    if (n < 0 || (size_t)n + 1 > sizeof(t->s) - t->len)
        peer_die("too many keys");
    t->len += (size_t)n + 1;
}

static uint32_t
say_least(struct text *t, const char *key, const char *val, uint32_t ours)
{
    unsigned long theirs = strtoul(val, NULL, 0);
    uint32_t n = theirs < ours ? (uint32_t)theirs : ours;
    char s[16];

    (void)snprintf(s, sizeof(s), "%u", n);
    say(t, key, s);
    return n;
}

static bool
say_digest(struct text *t, const char *key, const char *val)
{
    bool on = strncmp(val, "CRC32C", 6) == 0;

    say(t, key, on ? "CRC32C" : "None");
    return on;
}

static void
negotiate(struct peer *p, struct text *t, const char *key, const char *val)
{
    static const char *const declared[] = {"InitiatorName", "InitiatorAlias", "TargetName",
                                           "SessionType"};
    static const char *const fixed[][2] = {
        {"AuthMethod", "None"},         {"MaxOutstandingR2T", "1"},  {"MaxConnections", "1"},
        {"ErrorRecoveryLevel", "0"},    {"DefaultTime2Retain", "0"}, {"DataPDUInOrder", "Yes"},
        {"DataSequenceInOrder", "Yes"},
    };
    static const char *const echoed[] = {"InitialR2T", "ImmediateData", "DefaultTime2Wait"};

    for (size_t i = 0; i < sizeof(declared) / sizeof(declared[0]); i++)
        if (strcmp(key, declared[i]) == 0)
            return;
    for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
        if (strcmp(key, fixed[i][0]) == 0) {
            say(t, key, fixed[i][1]);
            return;
        }
    for (size_t i = 0; i < sizeof(echoed) / sizeof(echoed[0]); i++)
        if (strcmp(key, echoed[i]) == 0) {
            say(t, key, val);
            return;
        }
    if (strcmp(key, "HeaderDigest") == 0)
        p->hdigest = say_digest(t, key, val);
    else if (strcmp(key, "DataDigest") == 0)
        p->ddigest = say_digest(t, key, val);
    else if (strcmp(key, "MaxBurstLength") == 0)
        p->max_burst = say_least(t, key, val, MAX_BURST);
    else if (strcmp(key, "FirstBurstLength") == 0)
        (void)say_least(t, key, val, FIRST_BURST);
    else if (strcmp(key, "MaxRecvDataSegmentLength") == 0)
        p->max_xmit = (uint32_t)strtoul(val, NULL, 0);
    else
        say(t, key, "NotUnderstood");
}

static void
login(struct peer *p, const struct bhs_login_req *h, const uint8_t *data, uint32_t len)
{
    static const char tpgt[] = "TargetPortalGroupTag";
    unsigned csg = bhs_login_csg(h->flags);
    union bhs_any r;
    struct text t = {.len = 0};
    char keys[ISCSI_LOGIN_DSEG_MAX + 1];

    if (len > ISCSI_LOGIN_DSEG_MAX || (h->flags & ISCSI_LOGIN_CONTINUE) != 0)
        peer_die("a login request of %u bytes, flags 0x%02x", len, h->flags);
    memcpy(keys, data, len);
    keys[len] = '\0';
    for (uint32_t at = 0; at < len;) {
        char *key = keys + at, *val = strchr(key, '=');

        at += (uint32_t)strlen(key) + 1;
        if (val == NULL)
            peer_die("a key without a value: %s", key);
        *val = '\0';
        negotiate(p, &t, key, val + 1);
    }
    if (p->stat_sn == 1)
        say(&t, tpgt, "1");
    if (csg == ISCSI_STAGE_OPERATIONAL)
        (void)say_least(&t, "MaxRecvDataSegmentLength", "16777215", MAX_RECV);
    p->exp_cmd_sn = get32(h->cmd_sn);
    bhs_init(&r, ISCSI_OP_LOGIN_RSP, h->flags);
    memcpy(r.login_rsp.isid, h->isid, sizeof(h->isid));
    r.login_rsp.tsih = put16(1);
    r.login_rsp.itt = h->itt;
    put_sns(p, &r, true);
    peer_put(p, &r.h, t.s, (uint32_t)t.len);
    p->ffp = (h->flags & ISCSI_LOGIN_TRANSIT) != 0 && bhs_login_nsg(h->flags) == ISCSI_STAGE_FFP;
}

/* ---- commands ------------------------------------------------------------------------------- */

static void
status(struct peer *p, struct be32 itt, uint8_t st, const uint8_t *sense, uint32_t len)
{
    union bhs_any r;

    bhs_init(&r, ISCSI_OP_SCSI_RSP, ISCSI_FLAG_FINAL);
    r.scsi_rsp.status = st;
    r.scsi_rsp.itt = itt;
    put_sns(p, &r, true);
    peer_put(p, &r.h, sense, len);
    p->answered++;
}

static void
refuse(struct peer *p, const struct bhs_scsi_cmd *h, uint8_t asc)
{
    uint8_t s[20] = {0, 18, 0x70, 0, KEY_ILLEGAL};

    s[9] = 10; /* additional sense length */
    s[14] = asc;
    status(p, h->itt, SCSI_CHECK_CONDITION, s, sizeof(s));
}

/* The status goes with the last Data-In (11.7.3), the residual too. */
static void
data_in(struct peer *p, const struct bhs_scsi_cmd *h, const uint8_t *data, uint32_t len)
{
    uint32_t want = get32(h->edtl), at = 0, burst = 0;

    len = len < want ? len : want;
    if (len == 0)
        peer_die("a read of nothing");
    for (uint32_t sn = 0; at < len; sn++) {
        uint32_t n = len - at < p->max_xmit ? len - at : p->max_xmit;
        union bhs_any r;
        bool last;

        n = n < p->max_burst - burst ? n : p->max_burst - burst;
        last = at + n == len;
        burst = burst + n == p->max_burst ? 0 : burst + n;
        bhs_init(&r, ISCSI_OP_DATA_IN, last || burst == 0 ? ISCSI_FLAG_FINAL : 0);
        r.data_in.itt = h->itt;
        r.data_in.ttt = put32(ISCSI_TAG_RSVD);
        put_sns(p, &r, last);
        r.data_in.data_sn = put32(sn);
        r.data_in.offset = put32(at);
        if (last) {
            r.data_in.flags |= ISCSI_RSP_UNDERFLOW * (len < want) | ISCSI_DATA_IN_STATUS;
            r.data_in.residual = put32(want - len);
        } else {
            r.data_in.stat_sn = put32(0);
        }
        peer_put(p, &r.h, data + at, n);
        at += n;
    }
    p->answered++;
}

static void
r2t(struct peer *p, struct peer_write *w)
{
    uint32_t n = w->len - w->done < p->max_burst ? w->len - w->done : p->max_burst;
    union bhs_any r;

    bhs_init(&r, ISCSI_OP_R2T, ISCSI_FLAG_FINAL);
    r.r2t.itt = w->itt;
    r.r2t.ttt = put32((uint32_t)(w - p->writes));
    put_sns(p, &r, false);
    r.r2t.r2t_sn = put32(w->r2t_sn++);
    r.r2t.offset = put32(w->done);
    r.r2t.desired_len = put32(n);
    peer_put(p, &r.h, NULL, 0);
}

static struct peer_write *
find_write(struct peer *p, bool used, struct be32 itt)
{
    for (unsigned i = 0; i < WRITES_MAX; i++)
        if (p->writes[i].used == used && (!used || get32(p->writes[i].itt) == get32(itt)))
            return &p->writes[i];
    peer_die("no room, or no such write");
}

/* What has come must be the disk's content; at the end of a sequence there is more to ask for, or
 * the write is done. */
static void
written(struct peer *p, struct peer_write *w, const uint8_t *data, uint32_t len, bool final)
{
    uint64_t at = w->offset + w->done;

    if (len > w->len - w->done || (len > 0 && memcmp(data, peer_content(p, at, len), len) != 0))
        peer_die("the %u bytes for offset %llu are not what was to be written", len,
                 (unsigned long long)at);
    w->done += len;
    if (!final)
        return;
    w->used = w->done < w->len;
    if (w->used)
        r2t(p, w);
    else
        status(p, w->itt, SCSI_GOOD, NULL, 0);
}

static void
data_out(struct peer *p, const struct bhs_data_out *h, const uint8_t *data, uint32_t len)
{
    struct peer_write *w = find_write(p, true, h->itt);

    if (get32(h->offset) != w->done)
        peer_die("Data-Out for %u, want %u", get32(h->offset), w->done);
    written(p, w, data, len, (h->flags & ISCSI_FLAG_FINAL) != 0);
}

static void
io(struct peer *p, const struct bhs_scsi_cmd *h, uint64_t lba, const uint8_t *data, uint32_t len)
{
    uint64_t offset = lba * BLOCK;
    uint32_t n = get32(h->edtl);
    struct peer_write *w;

    if ((h->flags & ISCSI_CMD_READ) != 0) {
        data_in(p, h, peer_content(p, offset, n), n);
        return;
    }
    w = find_write(p, false, h->itt);
    *w = (struct peer_write){.used = true, .itt = h->itt, .offset = offset, .len = n};
    written(p, w, data, len, (h->flags & ISCSI_FLAG_FINAL) != 0);
}

static void
inquiry(struct peer *p, const struct bhs_scsi_cmd *h)
{
    static const uint8_t pages[6] = {0, 0x00, 0, 2, 0x00, 0x83};
    static const uint8_t ids[16] = {0, 0x83, 0, 12, 1, 3, 0, 8, 0x50, 0, 0, 0, 0, 0, 0, 1};
    static const uint8_t standard[36] = "\0\0\6\2\37\0\0\2LUNETTE lockstep        1   ";

    if ((h->cdb[1] & 1) == 0)
        data_in(p, h, standard, sizeof(standard));
    else if (h->cdb[2] == 0x00)
        data_in(p, h, pages, sizeof(pages));
    else if (h->cdb[2] == 0x83)
        data_in(p, h, ids, sizeof(ids));
    else
        refuse(p, h, ASC_CDB_FIELD);
}

static void
capacity(struct peer *p, const struct bhs_scsi_cmd *h)
{
    uint8_t b[32] = {0};

    st_be64(b, PEER_DISK / BLOCK - 1);
    st_be32(b + 8, BLOCK);
    data_in(p, h, b, sizeof(b));
}

static void
command(struct peer *p, const struct bhs_scsi_cmd *h, const uint8_t *data, uint32_t len)
{
    static const uint8_t one_lun[16] = {0, 0, 0, 8};
    static const uint8_t no_pages[8] = {0, 6};

    switch (h->cdb[0]) {
    case SCSI_READ_10:
    case SCSI_WRITE_10:
        io(p, h, ld_be32(h->cdb + 2), data, len);
        break;
    case SCSI_READ_16:
    case SCSI_WRITE_16:
        io(p, h, ld_be64(h->cdb + 2), data, len);
        break;
    case SCSI_TEST_UNIT_READY:
        status(p, h->itt, SCSI_GOOD, NULL, 0);
        break;
    case SCSI_INQUIRY:
        inquiry(p, h);
        break;
    case SCSI_SERVICE_ACTION_IN_16:
        capacity(p, h);
        break;
    case SCSI_REPORT_LUNS:
        data_in(p, h, one_lun, sizeof(one_lun));
        break;
    case SCSI_MODE_SENSE_10:
        data_in(p, h, no_pages, sizeof(no_pages));
        break;
    default:
        refuse(p, h, ASC_OPCODE);
        break;
    }
}

/* ---- dispatch ------------------------------------------------------------------------------- */

static void
logout(struct peer *p, const struct bhs *h)
{
    union bhs_any r;

    bhs_init(&r, ISCSI_OP_LOGOUT_RSP, ISCSI_FLAG_FINAL);
    r.h.itt = h->itt;
    put_sns(p, &r, true);
    peer_put(p, &r.h, NULL, 0);
}

void
peer_serve(struct peer *p, const struct bhs *h, const uint8_t *data, uint32_t len)
{
    const union bhs_any *u = (const union bhs_any *)h;
    uint8_t op = pdu_opcode(h);

    if (p->ffp && op != ISCSI_OP_DATA_OUT && (h->opcode & ISCSI_OP_IMMEDIATE) == 0) {
        if (get32(u->scsi_cmd.cmd_sn) != p->exp_cmd_sn)
            peer_die("CmdSN %u, want %u", get32(u->scsi_cmd.cmd_sn), p->exp_cmd_sn);
        p->exp_cmd_sn++;
    }
    switch (op) {
    case ISCSI_OP_LOGIN_REQ:
        login(p, &u->login_req, data, len);
        break;
    case ISCSI_OP_SCSI_CMD:
        command(p, &u->scsi_cmd, data, len);
        break;
    case ISCSI_OP_DATA_OUT:
        data_out(p, &u->data_out, data, len);
        break;
    case ISCSI_OP_LOGOUT_REQ:
        logout(p, h);
        break;
    default:
        peer_die("opcode 0x%02x was not expected", op);
    }
}
