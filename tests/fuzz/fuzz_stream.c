/* SPDX-License-Identifier: MIT */
/* fuzz_stream.c - the bytes of a target, as they come out of the socket.
 *
 * Byte 0: bit 0 header digests, bit 1 data digests, bit 2 place Data-In by
 * iscsi_tcp_map_in, bit 7 the read's memory in one piece; bits 3 to 7: how the
 * stream is cut.  Then the stream.
 * A read of 8 KiB, a write of 8 KiB and a ping are outstanding.  The stream is
 * parsed whole and cut: both must give the same up-calls and the same memory;
 * nothing is written outside of the read's buffer; nothing follows a failure.
 * It is also framed by somebody else and handed over PDU by PDU, the last one perhaps with other
 * data than its header says: where all of it is PDUs without digests, that must give the same, too.
 */
#include "base/crc32c.h"
#include "fuzz.h"
#include "loop/loop.h"
#include "transport/stream/iscsi_tcp.h"
#include "wire/be.h"
#include "wire/pdu.h"

#define SIZE      8192u
#define GUARD     64u
#define ITT_READ  0x11u
#define ITT_WRITE 0x22u
#define ITT_PING  0x33u
#define SLOTS     56u /* of the session's table of tasks: tags are slots */

struct run {
    struct iscsi_session session;
    struct iscsi_conn conn;
    struct flight flight; /* the fast path wants one */
    struct iscsi_tcp_conn tcp;
    struct iscsi_tcp_task dd[3];
    struct iscsi_task table[SLOTS];
    void *chunk[SLOTS / ISCSI_TASK_CHUNK];
    struct scsi_cmd cmds[2];
    struct iovec in[3], out;
    struct loop loop;
    uint8_t *memory; /* guard, data, guard */
    uint32_t calls;  /* a checksum of all up-calls */
    bool failed;
};

static struct run *
run_of(struct iscsi_conn *c)
{
    return (struct run *)((char *)c - offsetof(struct run, conn));
}

static void
note(struct run *r, const void *data, size_t len)
{
    r->calls = crc32c_update(r->calls, data, len);
}

static bool
up_itt_ended(struct iscsi_conn *c, struct be32 itt)
{
    (void)c;
    return get32(itt) % 5 == 4;
}

static int
up_complete_pdu(struct iscsi_conn *c, const struct bhs *hdr, const void *data, uint32_t len)
{
    struct run *r = run_of(c);

    CHECK(!r->failed);
    CHECK(len <= c->max_recv_dlength && (len == 0 || data != NULL));
    note(r, hdr, sizeof(*hdr));
    if (len > 0)
        note(r, data, len);
    if ((hdr->opcode & ISCSI_OP_MASK) == ISCSI_OP_DATA_IN) {
        struct iscsi_task *t = iscsi_task_of(c, hdr->itt);

        CHECK(t != NULL || up_itt_ended(c, hdr->itt));
        if (t != NULL)
            t->state = ISCSI_TASK_COMPLETED;
    }
    return 0;
}

static void
up_complete_data_in(struct iscsi_task *t, const struct bhs_data_in *h)
{
    struct iscsi_conn *c = t->conn;

    CHECK(iscsi_task_of(c, h->itt) == t && t->sc != NULL);
    CHECK(up_complete_pdu(c, (const void *)h, NULL, 0) == 0);
}

static void
up_complete_scsi_rsp(struct iscsi_conn *c, const struct bhs_scsi_rsp *h)
{
    CHECK(up_complete_pdu(c, (const void *)h, NULL, 0) == 0);
}

static void
up_update_cmdsn(struct iscsi_conn *c, struct be32 exp_cmdsn, struct be32 max_cmdsn)
{
    CHECK(!run_of(c)->failed);
    note(run_of(c), &exp_cmdsn, sizeof(exp_cmdsn));
    note(run_of(c), &max_cmdsn, sizeof(max_cmdsn));
}

static void
up_conn_failure(struct iscsi_conn *c, enum iscsi_err err, const char *why)
{
    struct run *r = run_of(c);

    CHECK(!r->failed);
    fuzz_check_text(why, 1024);
    r->failed = true;
    note(r, &err, sizeof(err));
}

static void
up_requeue_task(struct iscsi_task *t)
{
    struct iscsi_tcp_task *tt = t->dd_data;

    CHECK(!run_of(t->conn)->failed);
    CHECK(tt->r2t_count <= ISCSI_TCP_R2T_MAX);
    for (uint32_t i = 0; i < tt->r2t_count; i++) {
        const struct iscsi_r2t *q = &tt->r2t[(tt->r2t_head + i) % ISCSI_TCP_R2T_MAX];

        CHECK(q->len > 0 && q->offset <= SIZE && q->len <= SIZE - q->offset);
    }
    note(run_of(t->conn), &tt->r2t_count, sizeof(tt->r2t_count));
}

static const struct iscsi_upcalls upcalls = {
    .version = ISCSI_TRANSPORT_VERSION,
    .size = sizeof(struct iscsi_upcalls),
    .itt_ended = up_itt_ended,
    .complete_pdu = up_complete_pdu,
    .complete_data_in = up_complete_data_in,
    .complete_scsi_rsp = up_complete_scsi_rsp,
    .update_cmdsn = up_update_cmdsn,
    .conn_failure = up_conn_failure,
    .requeue_task = up_requeue_task,
};

/* Of bytes, and of an adapter that frames. */
static const struct iscsi_transport bytes = {.caps = 0},
                                    framing = {.caps = CAP_DIGEST_OFFLOAD | CAP_PADDING_OFFLOAD};

static void
run_init(struct run *r, unsigned options, const struct iscsi_transport *tt)
{
    static const uint32_t itts[] = {ITT_READ, ITT_WRITE, ITT_PING};

    memset(r, 0, sizeof(*r));
    r->memory = malloc(SIZE + 2 * GUARD);
    CHECK(r->memory != NULL);
    memset(r->memory, 0xa5, SIZE + 2 * GUARD);
    r->in[0] = (struct iovec){r->memory + GUARD, 1000};
    r->in[1] = (struct iovec){r->memory + GUARD + 1000, 1};
    r->in[2] = (struct iovec){r->memory + GUARD + 1001, SIZE - 1001};
    r->out = r->in[0];
    if (options & 0x80) /* a read that may come whole takes the fast path */
        r->in[0].iov_len = SIZE;
    r->cmds[0].in = sg_from_iov(r->in, options & 0x80 ? 1 : 3, 0, SIZE);
    r->cmds[1].out = (struct sg){.iov = &r->out, .iovcnt = 1, .len = SIZE};
    for (unsigned i = 0; i < SLOTS / ISCSI_TASK_CHUNK; i++)
        r->chunk[i] = &r->table[i * ISCSI_TASK_CHUNK];
    r->session.tasks =
        (struct iscsi_tasks){.chunk = r->chunk, .made = SLOTS, .bytes = sizeof(r->table[0])};
    r->session.params.max_r2t = 4;
    r->session.params.max_burst = SIZE;
    r->conn = (struct iscsi_conn){
        .session = &r->session,
        .tt = tt,
        .up = &upcalls,
        .flight = &r->flight,
        .loop = &r->loop,
        .hdrdgst_en = options & 1,
        .datadgst_en = options & 2,
        .max_recv_dlength = SIZE,
    };
    iscsi_tcp_conn_init(&r->tcp, &r->conn, NULL); /* nothing is sent */
    for (unsigned i = 0; i < 3; i++) {
        r->table[itts[i]] = (struct iscsi_task){.conn = &r->conn,
                                                .sc = i < 2 ? &r->cmds[i] : NULL,
                                                .state = ISCSI_TASK_RUNNING,
                                                .itt = itts[i],
                                                .dd_data = &r->dd[i]};
    }
    sg_cursor_init(&r->dd[0].in, &r->cmds[0].in);
}

static void
run_end(struct run *r)
{
    for (unsigned i = 0; i < GUARD; i++)
        CHECK(r->memory[i] == 0xa5 && r->memory[GUARD + SIZE + i] == 0xa5);
    CHECK(r->table[ITT_READ].in_done <= SIZE);
    iscsi_tcp_conn_reset(&r->tcp);
    free(r->memory);
}

/* Bytes where iscsi_tcp_map_in wants them; how many were used. */
static size_t
place(struct run *r, const uint8_t *p, size_t n)
{
    struct iovec iov[4];
    uint32_t room = 0, done = 0;
    int count = iscsi_tcp_map_in(&r->tcp, iov, 4, &room);

    if (count == 0)
        return 0;
    if (n > room)
        n = room;
    for (int i = 0; i < count && done < n; i++) {
        size_t part = n - done < iov[i].iov_len ? n - done : iov[i].iov_len;

        memcpy(iov[i].iov_base, p + done, part);
        done += (uint32_t)part;
    }
    iscsi_tcp_placed(&r->tcp, iov, done);
    return done;
}

static void
feed(struct run *r, const uint8_t *p, size_t len, unsigned step, bool placing)
{
    while (len > 0) {
        size_t n = step == 0 || step > len ? len : step, used = placing ? place(r, p, n) : 0;

        if (used == 0) {
            uint8_t *piece = fuzz_copy(p, n);

            used = iscsi_tcp_recv(&r->tcp, piece, n);
            free(piece);
        }
        if (used == 0)
            break;
        p += used;
        len -= used;
    }
}

/* Hands over what stands at p as PDUs; at most one of them is not as its header says.  True: all of
 * them are. */
static bool
feed_framed(struct run *r, const uint8_t *p, size_t len)
{
    while (len >= ISCSI_BHS_LEN) {
        uint8_t *hdr = fuzz_copy(p, ISCSI_BHS_LEN), *data;
        uint32_t want = pdu_dseg_len((const struct bhs *)(const void *)hdr), n;
        bool there = len - ISCSI_BHS_LEN >= (size_t)want + pdu_pad(want);

        n = there ? want : (uint32_t)(len - ISCSI_BHS_LEN);
        data = fuzz_copy(p + ISCSI_BHS_LEN, n);
        (void)iscsi_tcp_recv_pdu(&r->tcp, (const void *)hdr, data, n,
                                 there ? 0 : hdr[2] & (ISCSI_TCP_BAD_HEADER | ISCSI_TCP_BAD_DATA));
        free(hdr);
        free(data);
        if (!there)
            return false;
        p += ISCSI_BHS_LEN + want + pdu_pad(want);
        len -= ISCSI_BHS_LEN + want + pdu_pad(want);
    }
    return len == 0;
}

void
fuzz_one(const uint8_t *data, size_t len)
{
    struct run whole, cut, framed;

    if (len == 0)
        return;
    run_init(&whole, data[0], &bytes);
    run_init(&cut, data[0], &bytes);
    run_init(&framed, data[0] & ~3u, &framing);
    feed(&whole, data + 1, len - 1, 0, false);
    feed(&cut, data + 1, len - 1, 1 + (data[0] >> 3) * 7u, data[0] & 4);
    CHECK(whole.failed == cut.failed && whole.calls == cut.calls);
    /* after a failure the memory may hold anything: what lies whole is checked before it is copied
     */
    CHECK(whole.failed || memcmp(whole.memory, cut.memory, SIZE + 2 * GUARD) == 0);
    CHECK(whole.failed || whole.table[ITT_READ].in_done == cut.table[ITT_READ].in_done);
    if (feed_framed(&framed, data + 1, len - 1) && (data[0] & 3) == 0) {
        CHECK(framed.failed == whole.failed && framed.calls == whole.calls);
        CHECK(framed.failed || memcmp(framed.memory, whole.memory, SIZE + 2 * GUARD) == 0);
        CHECK(framed.failed || framed.table[ITT_READ].in_done == whole.table[ITT_READ].in_done);
    }
    run_end(&whole);
    run_end(&cut);
    run_end(&framed);
}
