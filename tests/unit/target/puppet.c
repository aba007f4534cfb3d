/* SPDX-License-Identifier: MIT */
#include "tests/unit/target/puppet.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wire/lun.h"

#define TURNS_MAX   2000
#define QUIET_TURNS 30

uint32_t world_login_ms = 5000;

void
world_new(struct world *w, const struct target_node_config *node, uint32_t nodes)
{
    static const struct lu_config luns[] = {
        {.kind = LU_RAM, .size = 1 << 20, .max_size = 2 << 20, .lun = -1, .wce = -1},
        {.kind = LU_RAM, .size = 1 << 20, .block = 4096, .lun = -1, .wce = -1},
    };
    const struct target_node_config plain = {.name = IQN, .luns = luns, .luns_count = 2};
    const struct loop_config lc = {.kind = LOOP_EPOLL};
    struct target_config cfg = {.nodes = node != NULL ? node : &plain,
                                .nodes_count = node != NULL ? nodes : 1,
                                .login_timeout_ms = world_login_ms,
                                .ping_timeout_ms = PING_TIMEOUT_MS,
                                .hole_timeout_ms = HOLE_TIMEOUT_MS,
                                .stop_timeout_ms = 100};
    struct sockaddr_in *in = (struct sockaddr_in *)(void *)&w->addr.ss;
    struct sock_addr at;

    memset(w, 0, sizeof(*w));
    in->sin_family = AF_INET;
    in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    w->addr.len = sizeof(*in);
    at = w->addr;
    assert_int_equal(loop_new(&lc, &w->loop, NULL), 0);
    assert_int_equal(target_new(w->loop, &cfg, &w->target, NULL), 0);
    assert_int_equal(target_listen(w->target, &at, &w->addr, NULL), 0);
}

void
world_free(struct world *w)
{
    target_free(w->target);
    while (loop_run(w->loop, 0) > 0)
        ;
    loop_free(w->loop);
}

int
world_setup(void **state)
{
    static struct world w;

    world_new(&w, NULL, 0);
    *state = &w;
    return 0;
}

int
world_teardown(void **state)
{
    world_free(*state);
    return 0;
}

const uint8_t *
world_memory(const struct world *w)
{
    uint64_t size;

    return target_lun_memory(w->target, IQN, 0, &size);
}

void
world_turn(struct world *w)
{
    (void)loop_run(w->loop, (int64_t)LOOP_NS_PER_MS);
}

struct puppet *
puppet_new(struct world *w, uint8_t isid_last)
{
    struct puppet *p = calloc(1, sizeof(*p));
    const int on = 1;

    assert_non_null(p);
    judge_init(&p->judge);
    p->w = w;
    p->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(p->fd >= 0);
    assert_int_equal(connect(p->fd, (struct sockaddr *)&w->addr.ss, w->addr.len), 0);
    assert_int_equal(setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), 0);
    p->isid[0] = 0x80;
    p->isid[5] = isid_last;
    p->cmd_sn = 1;
    p->itt = 100;
    return p;
}

void
puppet_free(struct puppet *p)
{
    (void)close(p->fd);
    for (int i = 0; i < 5; i++)
        world_turn(p->w);
    free(p);
}

void
puppet_send_raw(struct puppet *p, const void *bytes, size_t len)
{
    const uint8_t *b = bytes;

    while (len > 0) {
        ssize_t n = send(p->fd, b, len, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n < 0 && errno != EAGAIN)
            return; /* it has closed: the test will see */
        if (n > 0) {
            b += n;
            len -= (size_t)n;
        }
        world_turn(p->w);
    }
}

void
puppet_send(struct puppet *p, void *bhs, const void *data, uint32_t len)
{
    static uint8_t out[DATA_MAX + 256];
    struct bhs *h = bhs;
    size_t n = ISCSI_BHS_LEN;

    h->dseg_len = put24(len);
    ((struct bhs_scsi_cmd *)bhs)->exp_stat_sn = put32(p->exp_stat_sn);
    memcpy(out, bhs, ISCSI_BHS_LEN);
    if (p->header_digest) {
        pdu_header_digest(out, n, out + n);
        out[n] ^= p->spoil_header ? 1 : 0;
        n += PDU_DIGEST_LEN;
    }
    judge_sent(&p->judge, bhs, data, len);
    if (len > 0) {
        memcpy(out + n, data, len);
        memset(out + n + len, 0, 4);
        if (p->data_digest)
            pdu_data_digest(data, len, out + n + len + pdu_pad(len));
        out[n + len + pdu_pad(len)] ^= p->data_digest && p->spoil_data ? 1 : 0;
        n += len + pdu_pad(len) + (p->data_digest ? PDU_DIGEST_LEN : 0);
    }
    p->spoil_header = p->spoil_data = false;
    puppet_send_raw(p, out, n);
}

/* Takes one PDU from the front of `in`; false: not whole yet. */
static bool
take(struct puppet *p)
{
    const struct bhs *h = (const struct bhs *)(const void *)p->in;
    uint32_t head = ISCSI_BHS_LEN + (p->header_digest ? PDU_DIGEST_LEN : 0);
    size_t len;

    if (p->have < head)
        return false;
    len = head + pdu_data_trailer(h, p->data_digest);
    if (p->have < len)
        return false;
    if (p->header_digest)
        assert_true(pdu_header_digest_ok(p->in, ISCSI_BHS_LEN, p->in + ISCSI_BHS_LEN));
    memcpy(&p->rx.h, p->in, ISCSI_BHS_LEN);
    p->rx.len = pdu_dseg_len(h);
    assert_true(p->rx.len <= DATA_MAX);
    memcpy(p->rx.data, p->in + head, p->rx.len);
    if (p->data_digest && p->rx.len > 0)
        assert_true(pdu_data_digest_ok(p->in + head, p->rx.len,
                                       p->in + head + p->rx.len + pdu_pad(p->rx.len)));
    judge_got(&p->judge, &p->rx.h, p->rx.data, p->rx.len, p->in + head + p->rx.len);
    memmove(p->in, p->in + len, p->have - len);
    p->have -= len;
    return true;
}

enum got
puppet_recv(struct puppet *p)
{
    int quiet = 0;

    for (int i = 0; i < TURNS_MAX && quiet < QUIET_TURNS; i++) {
        ssize_t n;

        if (take(p))
            return GOT_PDU;
        world_turn(p->w);
        n = recv(p->fd, p->in + p->have, sizeof(p->in) - p->have, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN))
            return GOT_CLOSE;
        if (n > 0)
            p->have += (size_t)n;
        quiet = n > 0 ? 0 : quiet + 1;
    }
    return GOT_NOTHING;
}

struct pdu *
puppet_expect(struct puppet *p, uint8_t opcode)
{
    assert_int_equal(puppet_recv(p), GOT_PDU);
    assert_int_equal(pdu_opcode(&p->rx.h.h), opcode);
    return &p->rx;
}

void
puppet_expect_close(struct puppet *p)
{
    assert_int_equal(puppet_recv(p), GOT_CLOSE);
}

void
puppet_expect_nothing(struct puppet *p)
{
    enum got got = puppet_recv(p);

    if (got == GOT_PDU)
        fail_msg("%s came", pdu_opcode_name(pdu_opcode(&p->rx.h.h)));
    assert_int_equal(got, GOT_NOTHING);
}

void
puppet_expect_reject(struct puppet *p, uint8_t reason)
{
    struct pdu *r = puppet_expect(p, ISCSI_OP_REJECT);

    assert_int_equal(r->h.reject.reason, reason);
    assert_true(r->len >= ISCSI_BHS_LEN);
    assert_int_equal(get32(r->h.reject.itt), ISCSI_TAG_RSVD);
}

void
puppet_login_send(struct puppet *p, uint8_t flags, const char *text, size_t len)
{
    struct bhs_login_req h;

    bhs_init(&h, ISCSI_OP_LOGIN_REQ | ISCSI_OP_IMMEDIATE, flags);
    memcpy(h.isid, p->isid, sizeof(h.isid));
    h.tsih = put16(p->tsih);
    h.cid = put16(p->cid);
    h.itt = put32(7);
    h.cmd_sn = put32(p->cmd_sn);
    puppet_send(p, &h, text, (uint32_t)len);
}

uint16_t
puppet_login_status(struct puppet *p)
{
    struct pdu *r = puppet_expect(p, ISCSI_OP_LOGIN_RSP);

    return (uint16_t)(r->h.login_rsp.status_class << 8 | r->h.login_rsp.status_detail);
}

uint16_t
puppet_login(struct puppet *p, const char *keys, size_t len)
{
    static const char names[] = "InitiatorName=" INITIATOR "\0TargetName=" IQN;
    char text[4096];
    uint16_t status;

    memcpy(text, names, sizeof(names));
    if (len > 1)
        memcpy(text + sizeof(names), keys, len);
    puppet_login_send(p, bhs_login_flags(1, 3, ISCSI_LOGIN_TRANSIT), text,
                      sizeof(names) + (len > 1 ? len : 0));
    status = puppet_login_status(p);
    if (status == ISCSI_LOGIN_OK) {
        assert_int_equal(p->rx.h.login_rsp.flags & ISCSI_LOGIN_TRANSIT, ISCSI_LOGIN_TRANSIT);
        p->tsih = get16(p->rx.h.login_rsp.tsih);
        p->header_digest = puppet_text_has(&p->rx, "HeaderDigest=CRC32C");
        p->data_digest = puppet_text_has(&p->rx, "DataDigest=CRC32C");
    }
    return status;
}

bool
puppet_text_has(const struct pdu *pdu, const char *pair)
{
    size_t want = strlen(pair) + 1;

    for (uint32_t at = 0; at + want <= pdu->len; at++) {
        if ((at == 0 || pdu->data[at - 1] == '\0') && memcmp(pdu->data + at, pair, want) == 0)
            return true;
    }
    return false;
}

uint32_t
puppet_cmd(struct puppet *p, uint64_t lun, uint8_t flags, const uint8_t *cdb, uint32_t edtl,
           const void *data, uint32_t len)
{
    struct bhs_scsi_cmd h;

    bhs_init(&h, ISCSI_OP_SCSI_CMD, flags);
    lun_store(h.lun, lun_from_number(lun));
    h.itt = put32(++p->itt);
    h.cmd_sn = put32(p->cmd_sn++);
    h.edtl = put32(edtl);
    memcpy(h.cdb, cdb, sizeof(h.cdb));
    puppet_send(p, &h, data, len);
    return p->itt;
}

uint8_t
puppet_status(struct puppet *p, void *buf, uint32_t *ret_len, struct scsi_sense *ret_sense)
{
    uint32_t got = 0;

    for (;;) {
        assert_int_equal(puppet_recv(p), GOT_PDU);
        if (pdu_opcode(&p->rx.h.h) == ISCSI_OP_DATA_IN) {
            const struct bhs_data_in *d = &p->rx.h.data_in;

            if (buf != NULL)
                memcpy((uint8_t *)buf + get32(d->offset), p->rx.data, p->rx.len);
            got += p->rx.len;
            if (ret_len != NULL)
                *ret_len = got;
            if (d->flags & ISCSI_DATA_IN_STATUS)
                return d->status;
            continue;
        }
        assert_int_equal(pdu_opcode(&p->rx.h.h), ISCSI_OP_SCSI_RSP);
        if (ret_len != NULL)
            *ret_len = got;
        if (ret_sense != NULL && p->rx.len > 2)
            (void)sense_parse(p->rx.data + 2, p->rx.len - 2, ret_sense);
        assert_int_equal(p->rx.h.scsi_rsp.response, 0);
        return p->rx.h.scsi_rsp.status;
    }
}

uint8_t
puppet_do(struct puppet *p, const uint8_t *cdb, uint8_t flags, uint32_t edtl, void *buf,
          uint32_t buf_len, struct scsi_sense *ret_sense)
{
    bool writes = flags & ISCSI_CMD_WRITE;

    (void)puppet_cmd(p, 0, flags, cdb, edtl, writes ? buf : NULL, writes ? buf_len : 0);
    return puppet_status(p, writes ? NULL : buf, NULL, ret_sense);
}

void
puppet_clear_ua(struct puppet *p)
{
    uint8_t cdb[CDB_MAX];

    (void)cdb_test_unit_ready(cdb);
    for (uint64_t lun = 0; lun < 2; lun++) {
        do {
            (void)puppet_cmd(p, lun, ISCSI_FLAG_FINAL, cdb, 0, NULL, 0);
        } while (puppet_status(p, NULL, NULL, NULL) != SCSI_GOOD);
    }
}

struct puppet *
puppet_session(struct world *w, const char *keys, size_t len)
{
    struct puppet *p = puppet_new(w, 1);

    assert_int_equal(puppet_login(p, keys, len), 0);
    puppet_clear_ua(p);
    return p;
}
