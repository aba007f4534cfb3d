/* SPDX-License-Identifier: MIT */
/* tests/rdma/contract_mem.c - regions, windows and keys, as seam/rdma.h promises them.
 *
 * The server plays an iSER target: it reads and writes the client's memory.
 */
#include "tests/rdma/contract_ends.h"
#include "tests/rdma/contract_tests.h"

#define AT  (64u * 1024) /* where the client's memory is that the server is given */
#define LEN 8192u

static enum rnic_status
server_does(struct ends *e, enum rnic_op op, uint64_t id, uint64_t addr, uint32_t len,
            uint32_t rkey)
{
    struct rnic_wr wr = end_wr(&e->server, op, id, 0, len);

    wr.remote_addr = addr;
    wr.rkey = rkey;
    return end_do(&e->server, wr);
}

static uint64_t
client_addr(const struct ends *e, uint32_t off)
{
    return (uint64_t)(uintptr_t)(e->client.mem + off);
}

/* What the server may not do ends its request so, and touches nothing. */
static void
must_be_refused(struct ends *e, enum rnic_op op, uint64_t addr, uint32_t len, uint32_t rkey)
{
    uint8_t *before = malloc(ENDS_MEM);
    enum rnic_status status;

    CHECK(before != NULL);
    end_fill(&e->server, 0, len, 99);
    memcpy(before, e->client.mem, ENDS_MEM);
    status = server_does(e, op, 500, addr, len, rkey);
    CHECK(status != RNIC_OK);
    CHECK(status == RNIC_REMOTE_ACCESS || !e->k->exact);
    CHECK(memcmp(before, e->client.mem, ENDS_MEM) == 0);
    if (op == RNIC_READ)
        CHECK(end_holds(&e->server, 0, len, 99, 0));
    free(before);
}

void
contract_writes_and_reads(const struct rnic_contract *k)
{
    static const uint32_t lens[] = {1, 511, 512, 1024, 4096, 4097, 65536};
    struct ends e;

    ends_open(&e, k, NULL);
    for (unsigned i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        struct rnic_wr wr;

        memset(e.client.mem, 0xee, 3 * AT);
        end_fill(&e.server, 0, lens[i], i);
        CHECK(server_does(&e, RNIC_WRITE, i, client_addr(&e, AT), lens[i], e.client.mr->rkey) ==
              RNIC_OK);
        CHECK(end_holds(&e.client, AT, lens[i], i, 0));
        CHECK(e.client.mem[AT - 1] == 0xee && e.client.mem[AT + lens[i]] == 0xee);
        end_fill(&e.client, AT, lens[i], i + 50);
        memset(e.server.mem, 0xdd, AT + 1);
        wr = end_wr(&e.server, RNIC_READ, 100 + i, 0, lens[i]);
        end_name(&wr, &e.client, AT, e.client.mr->rkey);
        if (lens[i] > 1) { /* into two pieces */
            wr.nsge = 2;
            wr.sge[1] = wr.sge[0];
            wr.sge[0].len = lens[i] / 2;
            wr.sge[1].addr = e.server.mem + 2 * AT;
            wr.sge[1].len = lens[i] - lens[i] / 2;
        }
        CHECK(end_do(&e.server, wr) == RNIC_OK);
        CHECK(end_holds(&e.server, 0, wr.sge[0].len, i + 50, 0));
        if (wr.nsge == 2)
            CHECK(end_holds(&e.server, 2 * AT, wr.sge[1].len, i + 50, wr.sge[0].len));
        CHECK(e.server.mem[wr.sge[0].len] == 0xdd);
    }
    CHECK(e.client.nwc == 0); /* its owner is not told of any of it */
    ends_close(&e);
}

enum wrong {
    WRONG_KEY,
    WRONG_BEFORE,
    WRONG_BEHIND,
    WRONG_WRAP,
    WRONG_FAR,
    WRONG_RIGHT,
    WRONGS,
};

static void
access_wrongly(struct ends *e, enum wrong wrong, enum rnic_op op)
{
    unsigned access = op == RNIC_READ ? RNIC_PEER_WRITES : RNIC_PEER_READS;
    struct rnic_mr *mr;

    CHECK(rnic_reg(e->client.ep, e->client.mem + AT, LEN,
                   wrong == WRONG_RIGHT ? access : RNIC_PEER_READS | RNIC_PEER_WRITES, &mr,
                   NULL) == 0);
    switch (wrong) {
    case WRONG_KEY:
        must_be_refused(e, op, client_addr(e, AT), 512, mr->rkey ^ 0x5a5a00);
        break;
    case WRONG_BEFORE:
        must_be_refused(e, op, client_addr(e, AT - 1), 512, mr->rkey);
        break;
    case WRONG_BEHIND:
        must_be_refused(e, op, client_addr(e, AT + LEN - 511), 512, mr->rkey);
        break;
    case WRONG_WRAP: /* 64 bits are not enough for the sum */
        must_be_refused(e, op, UINT64_MAX - 255, 512, mr->rkey);
        break;
    case WRONG_FAR: /* 32 bits are not enough for the difference */
        must_be_refused(e, op, client_addr(e, AT) + (UINT64_C(1) << 32), 512, mr->rkey);
        break;
    case WRONG_RIGHT: /* the region is open to the other kind only */
        must_be_refused(e, op, client_addr(e, AT), 512, mr->rkey);
        break;
    case WRONGS:
        break;
    }
}

/* Key, bounds and kind of each access are checked; who has asked is told, and its connection is of
 * no more use, as is the other end's. */
void
contract_access(const struct rnic_contract *k)
{
    struct ends_setup setup = {.recvs = 4};

    for (unsigned wrong = 0; wrong < WRONGS; wrong++) {
        for (unsigned op = RNIC_WRITE; op <= RNIC_READ; op++) {
            struct ends e;

            ends_open(&e, k, &setup);
            access_wrongly(&e, (enum wrong)wrong, (enum rnic_op)op);
            end_disconnect(&e.server);
            CHECK(end_wait(&e.server, 1003, true)->status == RNIC_FLUSHED);
            end_disconnect(&e.client);
            CHECK(end_wait(&e.client, 1003, true)->status == RNIC_FLUSHED);
            ends_close(&e);
        }
    }
}

/* Memory is open to the peer of its connection only. */
void
contract_other_keys(const struct rnic_contract *k)
{
    struct ends a, b;

    ends_open(&a, k, NULL);
    ends_open(&b, k, NULL);
    memset(b.client.mem, 0x77, ENDS_MEM);
    must_be_refused(&a, RNIC_WRITE, client_addr(&b, AT), 512, b.client.mr->rkey);
    for (unsigned i = 0; i < 512; i++)
        CHECK(b.client.mem[AT + i] == 0x77);
    CHECK(server_does(&b, RNIC_READ, 1, client_addr(&b, AT), 512, b.client.mr->rkey) == RNIC_OK);
    ends_close(&a);
    ends_close(&b);
}

void
contract_deregistered(const struct rnic_contract *k)
{
    struct rnic_mr *mr;
    struct ends e;
    uint32_t rkey;

    ends_open(&e, k, NULL);
    CHECK(rnic_reg(e.client.ep, e.client.mem + AT, LEN, RNIC_PEER_READS, &mr, NULL) == 0);
    rkey = mr->rkey;
    CHECK(server_does(&e, RNIC_READ, 1, client_addr(&e, AT), LEN, rkey) == RNIC_OK);
    rnic_dereg(e.client.ep, mr);
    must_be_refused(&e, RNIC_READ, client_addr(&e, AT), LEN, rkey);
    ends_close(&e);
}

/* Windows. */

static bool
without_windows(const struct ends *e)
{
    CHECK(e->client.caps.windows || !e->k->windows);
    return !e->client.caps.windows;
}

static struct rnic_wr
bind_wr(const struct ends *e, struct rnic_mw *mw, uint64_t id, unsigned access)
{
    return (struct rnic_wr){
        .id = id,
        .op = RNIC_BIND,
        .bind = {mw, e->client.mr, e->client.mem + AT, LEN, access},
    };
}

/* Opens a connection with a window of the client's that is bound to mem[AT, AT + LEN); false: the
 * device has none. */
static bool
open_bound(struct ends *e, const struct rnic_contract *k, unsigned access, struct rnic_mw **ret)
{
    struct ends_setup setup = {.recvs = 4};
    uint32_t rkey;

    ends_open(e, k, &setup);
    if (without_windows(e)) {
        ends_close(e);
        return false;
    }
    CHECK(e->client.caps.max_windows > 0);
    CHECK(rnic_mw_new(e->client.ep, ret, NULL) == 0);
    rkey = rnic_next_rkey(*ret);
    CHECK(end_do(&e->client, bind_wr(e, *ret, 900, access)) == RNIC_OK);
    CHECK((*ret)->rkey == rkey);
    return true;
}

static enum rnic_status
invalidate(struct ends *e, uint64_t id, uint32_t rkey)
{
    return end_do(&e->client,
                  (struct rnic_wr){.id = id, .op = RNIC_INVALIDATE, .invalidate = rkey});
}

/* A window that is bound is open; each bind has another key, over and over. */
void
contract_windows(const struct rnic_contract *k)
{
    struct rnic_mw *mw;
    struct ends e;

    if (!open_bound(&e, k, RNIC_PEER_READS | RNIC_PEER_WRITES, &mw))
        return;
    for (uint64_t i = 0; i < 260; i++) {
        uint32_t rkey = mw->rkey;

        if (i % 20 == 0 || i > 250) {
            end_fill(&e.server, 0, LEN, (unsigned)i);
            CHECK(server_does(&e, RNIC_WRITE, 2 * i, client_addr(&e, AT), LEN, rkey) == RNIC_OK);
            CHECK(end_holds(&e.client, AT, LEN, (unsigned)i, 0));
            CHECK(server_does(&e, RNIC_READ, 2 * i + 1, client_addr(&e, AT + LEN - 16), 16, rkey) ==
                  RNIC_OK);
        }
        CHECK(invalidate(&e, 10000 + 2 * i, rkey) == RNIC_OK);
        CHECK(end_do(&e.client, bind_wr(&e, mw, 10001 + 2 * i,
                                        RNIC_PEER_READS | RNIC_PEER_WRITES)) == RNIC_OK);
        CHECK(mw->rkey >> 8 == rkey >> 8 && (mw->rkey & 0xff) == ((rkey + 1) & 0xff));
    }
    CHECK(invalidate(&e, 20000, mw->rkey) == RNIC_OK);
    rnic_mw_free(e.client.ep, mw);
    ends_close(&e);
}

/* A bind and the message that tells of it are posted together: who gets the message may use it. */
void
contract_window_and_message(const struct rnic_contract *k)
{
    struct ends_setup setup = {.recvs = 8};
    struct rnic_mw *mw;
    struct ends e;

    ends_open(&e, k, &setup);
    if (without_windows(&e)) {
        ends_close(&e);
        return;
    }
    CHECK(rnic_mw_new(e.client.ep, &mw, NULL) == 0);
    for (unsigned i = 0; i < 6; i++) {
        struct rnic_wr wr[2] = {bind_wr(&e, mw, 10 + i, RNIC_PEER_WRITES),
                                end_wr(&e.client, RNIC_SEND, 20 + i, 0, 4)};
        uint32_t rkey = rnic_next_rkey(mw), told;

        wr[0].quiet = true;
        memcpy(e.client.mem, &rkey, 4);
        end_post(&e.client, wr, 2);
        CHECK(end_wait(&e.server, 1000 + i, true)->len == 4);
        memcpy(&told, e.server.mem + ENDS_RECVS_AT + (1000 + i) % ENDS_DEPTH * ENDS_RECV, 4);
        CHECK(told == mw->rkey);
        end_fill(&e.server, 0, 100, i);
        CHECK(server_does(&e, RNIC_WRITE, i, client_addr(&e, AT), 100, told) == RNIC_OK);
        CHECK(end_holds(&e.client, AT, 100, i, 0));
        CHECK(end_wait(&e.client, 20 + i, false)->status == RNIC_OK);
        CHECK(end_find(&e.client, 10 + i, false) == NULL);
        CHECK(invalidate(&e, 30 + i, rkey) == RNIC_OK);
    }
    ends_close(&e);
}

/* Neither beyond the window, where its region goes on, nor in the way that it is not open. */
void
contract_window_bounds(const struct rnic_contract *k)
{
    static const struct {
        enum rnic_op op;
        uint32_t from;
        unsigned access;
    } rows[] = {{RNIC_WRITE, AT - 1, RNIC_PEER_WRITES},
                {RNIC_WRITE, AT + LEN - 511, RNIC_PEER_WRITES},
                {RNIC_READ, AT + LEN, RNIC_PEER_READS},
                {RNIC_READ, AT, RNIC_PEER_WRITES},
                {RNIC_WRITE, AT, RNIC_PEER_READS}};

    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct rnic_mw *mw;
        struct ends e;

        /* rxe up to Linux 6.12 compares with the bounds of the region, not with those of the
         * window. */
        if (!k->exact && i < 3)
            continue;
        if (!open_bound(&e, k, rows[i].access, &mw))
            return;
        must_be_refused(&e, rows[i].op, client_addr(&e, rows[i].from), 512, mw->rkey);
        ends_close(&e);
    }
}

void
contract_invalidated_here(const struct rnic_contract *k)
{
    struct rnic_mw *mw;
    struct ends e;

    if (!open_bound(&e, k, RNIC_PEER_READS | RNIC_PEER_WRITES, &mw))
        return;
    CHECK(server_does(&e, RNIC_READ, 1, client_addr(&e, AT), LEN, mw->rkey) == RNIC_OK);
    CHECK(invalidate(&e, 2, mw->rkey) == RNIC_OK);
    must_be_refused(&e, RNIC_READ, client_addr(&e, AT), LEN, mw->rkey);
    rnic_mw_free(e.client.ep, mw);
    ends_close(&e);
}

/* By the peer's message, which says so where it is received; the next bind opens it again, and its
 * old key does not. */
void
contract_invalidated_there(const struct rnic_contract *k)
{
    struct rnic_mw *mw;
    struct rnic_wr wr;
    struct ends e;
    uint32_t old;

    if (!open_bound(&e, k, RNIC_PEER_READS | RNIC_PEER_WRITES, &mw))
        return;
    for (unsigned i = 0; i < 3; i++) {
        const struct rnic_wc *wc;

        old = mw->rkey;
        wr = end_wr(&e.server, RNIC_SEND, 10 + i, 0, 48);
        wr.invalidate = old;
        CHECK(end_do(&e.server, wr) == RNIC_OK);
        wc = end_wait(&e.client, 1000 + i, true);
        CHECK(wc->status == RNIC_OK && wc->len == 48 && wc->invalidated == old);
        CHECK(end_do(&e.client, bind_wr(&e, mw, 20 + i, RNIC_PEER_READS)) == RNIC_OK);
        CHECK(mw->rkey != old);
        CHECK(server_does(&e, RNIC_READ, 30 + i, client_addr(&e, AT), LEN, mw->rkey) == RNIC_OK);
    }
    must_be_refused(&e, RNIC_READ, client_addr(&e, AT), LEN, old);
    ends_close(&e);
    CHECK(open_bound(&e, k, RNIC_PEER_WRITES, &mw));
    wr = end_wr(&e.server, RNIC_SEND, 1, 0, 48);
    wr.invalidate = mw->rkey;
    CHECK(end_do(&e.server, wr) == RNIC_OK);
    must_be_refused(&e, RNIC_WRITE, client_addr(&e, AT), LEN, mw->rkey);
    ends_close(&e);
}

/* A message that invalidates a region, or what nobody has, ends the connection of who gets it. */
void
contract_invalidated_wrongly(const struct rnic_contract *k)
{
    struct ends_setup setup = {.recvs = 4};

    for (unsigned what = 0; what < 2; what++) {
        enum rnic_status status;
        struct rnic_wr wr;
        struct ends e;

        ends_open(&e, k, &setup);
        if (without_windows(&e)) {
            ends_close(&e);
            return;
        }
        wr = end_wr(&e.server, RNIC_SEND, 1, 0, 48);
        wr.invalidate = what == 0 ? e.client.mr->rkey : e.client.mr->rkey ^ 0x5a5a00;
        end_post(&e.server, &wr, 1);
        status = end_wait(&e.client, 1000, true)->status;
        CHECK(status != RNIC_OK);
        CHECK(status == RNIC_LOCAL_ERROR || !k->exact);
        end_disconnect(&e.client);
        CHECK(end_wait(&e.client, 1003, true)->status == RNIC_FLUSHED);
        ends_close(&e);
    }
}

/* What cannot be bound is refused when it is posted, or by its completion: a region that is not for
 * windows, more than the region, a window that is bound. */
void
contract_bound_wrongly(const struct rnic_contract *k)
{
    for (unsigned what = 0; what < 3; what++) {
        struct rnic_mr *mr;
        struct rnic_mw *mw;
        struct rnic_wr wr;
        struct ends e;

        if (!open_bound(&e, k, RNIC_PEER_READS, &mw))
            return;
        CHECK(rnic_reg(e.client.ep, e.client.mem, LEN, what == 0 ? RNIC_PEER_READS : RNIC_WINDOWS,
                       &mr, NULL) == 0);
        if (what < 2)
            CHECK(rnic_mw_new(e.client.ep, &mw, NULL) == 0);
        wr = (struct rnic_wr){
            .id = 5,
            .op = RNIC_BIND,
            .bind = {mw, mr, e.client.mem, what == 1 ? LEN + 1 : LEN, RNIC_PEER_READS}};
        if (rnic_post_send(e.client.ep, &wr, 1) == 0) {
            enum rnic_status status = end_wait(&e.client, 5, false)->status;

            CHECK(status != RNIC_OK);
            CHECK(status == RNIC_LOCAL_ERROR || !k->exact);
        }
        end_disconnect(&e.client);
        CHECK(end_wait(&e.client, 1003, true)->status == RNIC_FLUSHED);
        ends_close(&e);
    }
}
