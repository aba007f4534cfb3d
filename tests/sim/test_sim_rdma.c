/* SPDX-License-Identifier: MIT */
/* What a test can do to the simulated RDMA fabric (sim_rdma.h), and what the fabric tells of it. */
#include "tests/test.h"

#include <netinet/in.h>
#include <string.h>

#include "tests/rdma/contract_ends.h"
#include "tests/sim/sim_rdma.h"

#define SEEDS 40
#define AT    65536u

static struct {
    struct sim *sim;
    struct rnic_contract k;
    struct ends e;
    uint64_t seed;
    unsigned judged;
} w;

static bool
run(void *user, bool (*done)(void *arg), void *arg, uint64_t ns)
{
    return sim_run_until(user, done, arg, ns);
}

static struct sock_addr
addr(uint32_t ip, uint16_t port)
{
    struct sockaddr_in in = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(ip), .sin_port = htons(port)};
    struct sock_addr a = {.len = sizeof(in)};

    memcpy(&a.ss, &in, sizeof(in));
    return a;
}

static void
begin(uint64_t seed, const struct sim_rdma_config *cfg)
{
    memset(&w, 0, sizeof(w));
    w.seed = seed;
    w.sim = sim_new(seed, NULL);
    sim_rdma_open(w.sim, cfg);
    w.k = (struct rnic_contract){.run = run,
                                 .user = w.sim,
                                 .patience_ns = 100 * LOOP_NS_PER_S,
                                 .moment_ns = 20 * LOOP_NS_PER_MS,
                                 .exact = true,
                                 .windows = true};
    w.k.at = addr(0x0a000001, 3260);
    w.k.server = sim_loop(w.sim);
    w.k.client = sim_loop(w.sim);
}

static void
end(void)
{
    ends_close(&w.e);
    assert_int_equal(sim_rdma_stats(w.sim)->late_writes, 0);
    assert_int_equal(sim_rdma_stats(w.sim)->regions, 0);
    assert_int_equal(sim_rdma_stats(w.sim)->open, 0);
    sim_free(w.sim);
}

static void
open_with(unsigned recvs)
{
    struct ends_setup setup = {.recvs = recvs};

    ends_open(&w.e, &w.k, &setup);
}

static void
wait_ms(uint64_t ms)
{
    (void)sim_run_until(w.sim, NULL, NULL, ms * LOOP_NS_PER_MS);
}

static void
client_sends(uint64_t id, uint32_t len)
{
    struct rnic_wr wr = end_wr(&w.e.client, RNIC_SEND, id, 0, len);

    end_post(&w.e.client, &wr, 1);
}

static struct rnic_wr
server_wr(enum rnic_op op, uint64_t id, uint32_t len)
{
    struct rnic_wr wr = end_wr(&w.e.server, op, id, 0, len);

    end_name(&wr, &w.e.client, AT, w.e.client.mr->rkey);
    return wr;
}

static bool
client_ended(void *arg)
{
    (void)arg;
    return w.e.client.ends > 0;
}

static bool
client_up(void *arg)
{
    (void)arg;
    return w.e.client.up;
}

static bool
both_up(void *arg)
{
    (void)arg;
    return w.e.client.up && w.e.server.up;
}

/* Fates of those who ask to connect. */

static int
connect_fate(enum sim_rdma_fate fate)
{
    ends_listen(&w.e, &w.k, NULL);
    sim_rdma_set_fate(w.sim, &w.k.at, fate);
    ends_resolve(&w.e);
    if (w.e.client.resolved)
        ends_connect(&w.e);
    assert_true(sim_run_until(w.sim, client_ended, NULL, 100 * LOOP_NS_PER_S));
    assert_int_equal(w.e.requests, 0);
    return w.e.client.end_err;
}

static void
fates(void **state)
{
    static const struct sim_rdma_config cfg = {.connect_timeout_ms = 7000};
    struct {
        enum sim_rdma_fate fate;
        int err;
        uint64_t ms;
    } rows[] = {{SIM_RDMA_REFUSED, -ECONNREFUSED, 0},
                {SIM_RDMA_UNWANTED, -ECONNREFUSED, 0},
                {SIM_RDMA_BLACK_HOLE, -ETIMEDOUT, 7000},
                {SIM_RDMA_NOBODY, 0, 2000}};

    (void)state;
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t from;
        int err;

        begin(i, &cfg);
        from = sim_now_ns(w.sim);
        err = connect_fate(rows[i].fate);
        if (rows[i].err != 0)
            assert_int_equal(err, rows[i].err);
        else
            assert_true(err == -ETIMEDOUT || err == -EHOSTUNREACH);
        assert_true(sim_now_ns(w.sim) - from >= rows[i].ms * LOOP_NS_PER_MS);
        assert_true(sim_now_ns(w.sim) - from < (rows[i].ms + 100) * LOOP_NS_PER_MS);
        end();
    }
}

/* A black hole, a stalled network and a stuck listener let go. */
static void
fates_end(void **state)
{
    (void)state;
    for (unsigned how = 0; how < 3; how++) {
        struct ends_setup setup = {.recvs = 2};

        begin(how, NULL);
        ends_listen(&w.e, &w.k, &setup);
        if (how == 0)
            sim_rdma_stall(w.sim, &w.k.at, true);
        else
            sim_rdma_set_fate(w.sim, &w.k.at, how == 1 ? SIM_RDMA_BLACK_HOLE : SIM_RDMA_STUCK);
        ends_resolve(&w.e);
        ends_connect(&w.e);
        if (how == 2) {
            assert_true(sim_run_until(w.sim, client_up, NULL, LOOP_NS_PER_S));
            client_sends(1, 16);
        }
        wait_ms(20000);
        assert_int_equal(w.e.requests, 0);
        assert_int_equal(w.e.client.nwc + w.e.client.ends, 0);
        if (how == 0)
            sim_rdma_stall(w.sim, &w.k.at, false);
        sim_rdma_set_fate(w.sim, &w.k.at, SIM_RDMA_NORMAL);
        assert_true(sim_run_until(w.sim, both_up, NULL, LOOP_NS_PER_S));
        if (how != 2)
            client_sends(1, 16);
        assert_int_equal(end_wait(&w.e.server, 1000, true)->len, 16);
        assert_int_equal(end_wait(&w.e.client, 1, false)->status, RNIC_OK);
        end();
    }
}

/* A portal leads to the listener of another address, and to its own again. */
static void
leads(void **state)
{
    struct sock_addr portal = addr(0x0a000002, 3260), local, peer;

    (void)state;
    begin(1, NULL);
    ends_listen(&w.e, &w.k, NULL);
    sim_rdma_lead(w.sim, &portal, &w.k.at);
    w.e.at = portal;
    ends_resolve(&w.e);
    ends_connect(&w.e);
    assert_true(sim_run_until(w.sim, both_up, NULL, LOOP_NS_PER_S));
    assert_int_equal(rnic_names(w.e.client.ep, &local, &peer), 0);
    assert_memory_equal(&peer.ss, &portal.ss, sizeof(struct sockaddr_in));
    assert_int_equal(sim_rdma_links(w.sim, &portal), 1);
    assert_int_equal(sim_rdma_links(w.sim, &w.k.at), 0);
    end_close(&w.e.client);
    assert_int_equal(sim_rdma_links(w.sim, NULL), 0);
    assert_int_equal(sim_rdma_orphans(w.sim), 1);
    end_close(&w.e.server);
    assert_int_equal(sim_rdma_orphans(w.sim), 0);
    sim_rdma_lead(w.sim, &portal, NULL);
    w.e.client.resolved = w.e.client.up = false;
    w.e.client.ends = 0;
    ends_resolve(&w.e);
    ends_connect(&w.e);
    assert_true(sim_run_until(w.sim, client_ended, NULL, LOOP_NS_PER_S));
    assert_int_equal(w.e.client.end_err, -ECONNREFUSED);
    end();
}

/* Cuts. */

static void
cuts(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        enum sim_rdma_cut how = (enum sim_rdma_cut)(seed % 4);
        uint64_t from;

        begin(seed, NULL);
        open_with(4);
        assert_int_equal(sim_rdma_links(w.sim, NULL), 1);
        if (seed % 3 == 0)
            sim_rdma_cut_one(w.sim, (unsigned)seed, how);
        else
            assert_int_equal(sim_rdma_cut(w.sim, &w.k.at, how), 1);
        assert_int_equal(sim_rdma_links(w.sim, NULL), 0);
        wait_ms(1000);
        assert_int_equal(w.e.client.ends, how == SIM_RDMA_LEAVE);
        assert_int_equal(w.e.server.ends, how == SIM_RDMA_LEAVE);
        if (how == SIM_RDMA_LEAVE || how == SIM_RDMA_SILENT || how == SIM_RDMA_SERVER_ERROR) {
            assert_int_equal(w.e.client.nwc, 0);
            from = sim_now_ns(w.sim);
            client_sends(1, 16);
            assert_int_equal(end_wait(&w.e.client, 1, false)->status, RNIC_NO_ANSWER);
            assert_true(sim_now_ns(w.sim) - from >= 4 * LOOP_NS_PER_S);
            assert_true(sim_now_ns(w.sim) - from <= 7 * LOOP_NS_PER_S);
        }
        if (how == SIM_RDMA_LEAVE || how == SIM_RDMA_SILENT || how == SIM_RDMA_CLIENT_ERROR)
            assert_int_equal(w.e.server.nwc, 0);
        end_disconnect(&w.e.client);
        end_disconnect(&w.e.server);
        assert_int_equal(end_wait(&w.e.client, 1003, true)->status, RNIC_FLUSHED);
        assert_int_equal(end_wait(&w.e.server, 1003, true)->status, RNIC_FLUSHED);
        end();
    }
}

/* After so many messages, of this connection and of the next one. */
static void
cuts_after(void **state)
{
    (void)state;
    for (uint64_t n = 0; n < 4; n++) {
        begin(n, NULL);
        ends_listen(&w.e, &w.k, NULL);
        sim_rdma_cut_after(w.sim, &w.k.at, SIM_RDMA_SILENT, n, UINT64_MAX);
        ends_resolve(&w.e);
        ends_connect(&w.e);
        assert_true(sim_run_until(w.sim, client_up, NULL, LOOP_NS_PER_S));
        wait_ms(10);
        if (w.e.server.ep != NULL)
            end_recv(&w.e.server, 4, 1, 64);
        for (uint64_t i = 0; i < 4; i++)
            client_sends(i, 16);
        wait_ms(100);
        assert_int_equal(sim_rdma_stats(w.sim)->messages[SIM_RDMA_TO_SERVER], n);
        assert_int_equal(sim_rdma_stats(w.sim)->cuts, 1);
        end();
    }
}

/* Stalls: a short one harms nobody, a long one is no answer. */
static void
stalls(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        begin(seed, NULL);
        open_with(4);
        if (seed % 2 == 0)
            client_sends(1, 16);
        if (seed % 3 == 0)
            wait_ms(0);
        if (seed % 4 < 2)
            sim_rdma_stall(w.sim, &w.k.at, true);
        else
            sim_rdma_stall_one(w.sim, 0);
        if (seed % 2 != 0)
            client_sends(1, 16);
        wait_ms(2000);
        sim_rdma_stall(w.sim, seed % 4 < 2 ? &w.k.at : NULL, false);
        assert_int_equal(end_wait(&w.e.client, 1, false)->status, RNIC_OK);
        assert_int_equal(end_wait(&w.e.server, 1000, true)->status, RNIC_OK);
        sim_rdma_stall(w.sim, NULL, true);
        client_sends(2, 16);
        assert_int_equal(end_wait(&w.e.client, 2, false)->status, RNIC_NO_ANSWER);
        sim_rdma_stall(w.sim, NULL, false);
        end();
    }
}

/* One way takes longer from now on. */
static void
late_ways(void **state)
{
    uint64_t from;

    (void)state;
    begin(3, NULL);
    open_with(4);
    sim_rdma_late(w.sim, &w.k.at, SIM_RDMA_TO_SERVER, 500 * LOOP_NS_PER_MS);
    from = sim_now_ns(w.sim);
    client_sends(1, 16);
    (void)end_wait(&w.e.server, 1000, true);
    assert_true(sim_now_ns(w.sim) - from >= 500 * LOOP_NS_PER_MS);
    assert_true(sim_now_ns(w.sim) - from < 510 * LOOP_NS_PER_MS);
    (void)end_wait(&w.e.client, 1, false);
    assert_true(sim_now_ns(w.sim) - from < 520 * LOOP_NS_PER_MS);
    sim_rdma_late(w.sim, &w.k.at, SIM_RDMA_TO_SERVER, 0);
    from = sim_now_ns(w.sim);
    client_sends(2, 16);
    (void)end_wait(&w.e.server, 1001, true);
    assert_true(sim_now_ns(w.sim) - from < 10 * LOOP_NS_PER_MS);
    end();
}

/* The tap. */

static struct {
    enum sim_rdma_verdict verdict;
    unsigned at, stages[4], kinds[3], asked, bytes;
    uint32_t conn, last;
} seen;

static enum sim_rdma_verdict
watch(void *user, const struct sim_rdma_message *m)
{
    assert_ptr_equal(user, &seen);
    seen.stages[m->stage]++;
    seen.conn = m->conn;
    if (m->stage == SIM_RDMA_POSTED && m->kind == SIM_RDMA_A_SEND)
        assert_int_equal(m->bytes[0], w.e.client.mem[0]);
    if (m->stage != SIM_RDMA_ARRIVES)
        return SIM_RDMA_PASS;
    assert_true(m->kind == SIM_RDMA_A_SEND ? m->bytes != NULL : m->bytes == NULL);
    seen.kinds[m->kind]++;
    seen.asked++;
    seen.bytes += m->len;
    seen.last = m->number;
    if (m->number != seen.at)
        return SIM_RDMA_PASS;
    if (seen.verdict == SIM_RDMA_PASS && m->bytes != NULL)
        m->bytes[1] ^= 0xff;
    return seen.verdict;
}

static void
taps(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        static const struct sim_rdma_config pieces = {.piece_percent = 80, .early_percent = 50};
        const uint8_t *second = NULL;
        bool cut;

        begin(seed, &pieces);
        memset(&seen, 0, sizeof(seen));
        seen.verdict = (enum sim_rdma_verdict)(seed % 6);
        seen.at = 2;
        sim_rdma_tap(w.sim, watch, &seen);
        open_with(6);
        end_fill(&w.e.client, 0, 64, 5);
        memset(w.e.server.mem + ENDS_RECVS_AT, 0x5a, ENDS_DEPTH * ENDS_RECV);
        for (uint64_t i = 1; i <= 3; i++)
            client_sends(i, 64);
        wait_ms(100);
        second = w.e.server.mem + ENDS_RECVS_AT + 1001 % ENDS_DEPTH * ENDS_RECV;
        cut = seen.verdict >= SIM_RDMA_CUT_BEFORE;
        assert_int_equal(seen.stages[SIM_RDMA_MADE], 1);
        assert_int_equal(seen.stages[SIM_RDMA_POSTED], 3);
        assert_int_equal(sim_rdma_stats(w.sim)->cuts, cut);
        assert_int_equal(seen.last,
                         seen.verdict == SIM_RDMA_PASS || seen.verdict == SIM_RDMA_SWALLOW ? 3 : 2);
        switch (seen.verdict) {
        case SIM_RDMA_PASS:
            assert_int_equal(w.e.server.nwc, 3);
            assert_int_equal(second[1], w.e.client.mem[1] ^ 0xff);
            assert_memory_equal(second + 2, w.e.client.mem + 2, 62);
            break;
        case SIM_RDMA_SWALLOW:
            assert_int_equal(w.e.server.nwc, 2);
            assert_int_equal(end_count(&w.e.client, RNIC_OK), 3);
            break;
        case SIM_RDMA_HOLD:
            assert_int_equal(w.e.server.nwc, 1);
            assert_int_equal(sim_rdma_kept(w.sim, SIM_RDMA_TO_SERVER), 128);
            wait_ms(20000);
            assert_int_equal(end_count(&w.e.client, RNIC_OK), 1);
            assert_int_equal(w.e.client.nwc, 1);
            seen.verdict = SIM_RDMA_PASS;
            sim_rdma_hold(w.sim, seed % 12 < 6 ? 0 : seen.conn, SIM_RDMA_TO_SERVER, false);
            assert_int_equal(end_wait(&w.e.client, 3, false)->status, RNIC_OK);
            assert_int_equal(w.e.server.nwc, 3);
            assert_int_equal(sim_rdma_kept(w.sim, SIM_RDMA_TO_SERVER), 0);
            break;
        case SIM_RDMA_CUT_BEFORE:
            assert_int_equal(w.e.server.nwc, 1);
            assert_int_equal(second[0], 0x5a);
            break;
        case SIM_RDMA_CUT_INSIDE:
            assert_int_equal(w.e.server.nwc, 1);
            assert_memory_equal(second, w.e.client.mem, 32);
            assert_int_equal(second[32], 0x5a);
            break;
        case SIM_RDMA_CUT_BEHIND:
            assert_int_equal(w.e.server.nwc, 2);
            assert_memory_equal(second, w.e.client.mem, 64);
            break;
        }
        end_disconnect(&w.e.client);
        assert_int_equal(seen.stages[SIM_RDMA_CLOSED], 1);
        end();
        assert_int_equal(seen.stages[SIM_RDMA_CLOSED], 2);
    }
}

/* Reads and writes pass by it too, and a whole way can be held. */
static void
tap_of_data(void **state)
{
    struct rnic_wr wr;

    (void)state;
    begin(9, NULL);
    memset(&seen, 0, sizeof(seen));
    sim_rdma_tap(w.sim, watch, &seen);
    open_with(2);
    sim_rdma_hold(w.sim, 0, SIM_RDMA_TO_CLIENT, true);
    end_fill(&w.e.server, 0, 4096, 1);
    wr = server_wr(RNIC_WRITE, 1, 4096);
    end_post(&w.e.server, &wr, 1);
    wr = server_wr(RNIC_READ, 2, 512);
    end_post(&w.e.server, &wr, 1);
    wait_ms(20000);
    assert_int_equal(seen.asked + w.e.server.nwc, 0);
    assert_int_equal(sim_rdma_kept(w.sim, SIM_RDMA_TO_CLIENT), 4096);
    assert_int_equal(sim_rdma_owns(w.sim, w.e.client.mem + AT, 512),
                     SIM_RDMA_PEER_WRITES | SIM_RDMA_PEER_READS | SIM_RDMA_REGION);
    assert_int_equal(sim_rdma_owns(w.sim, w.e.client.mem + AT + 512, 1),
                     SIM_RDMA_PEER_WRITES | SIM_RDMA_REGION);
    sim_rdma_hold(w.sim, 0, SIM_RDMA_TO_CLIENT, false);
    assert_int_equal(end_wait(&w.e.server, 2, false)->status, RNIC_OK);
    assert_int_equal(sim_rdma_owns(w.sim, w.e.client.mem + AT, 512), SIM_RDMA_REGION);
    assert_int_equal(seen.kinds[SIM_RDMA_A_WRITE], 1);
    assert_int_equal(seen.kinds[SIM_RDMA_A_READ], 1);
    assert_true(end_holds(&w.e.client, AT, 4096, 1, 0));
    assert_int_equal(sim_rdma_stats(w.sim)->write_bytes[SIM_RDMA_TO_CLIENT], 4096);
    assert_int_equal(sim_rdma_stats(w.sim)->read_bytes[SIM_RDMA_TO_CLIENT], 512);
    end();
}

/* Who may still touch what. */

static void
owns(void **state)
{
    struct rnic_mw *mw;
    struct rnic_wr wr;
    struct rnic_mr *mr;
    uint8_t *apart = calloc(1, 8192);
    uint32_t rkey;

    (void)state;
    assert_non_null(apart);
    begin(4, NULL);
    open_with(0);
    assert_int_equal(sim_rdma_owns(w.sim, apart, 8192), 0);
    assert_int_equal(rnic_reg(w.e.client.ep, apart, 8192, RNIC_WINDOWS, &mr, NULL), 0);
    assert_int_equal(sim_rdma_owns(w.sim, apart, 8192), 0); /* the peer cannot reach it */
    assert_int_equal(
        rnic_post_recv(w.e.client.ep, &(struct rnic_recv){1, {apart, 100, mr->lkey}}, 1), 0);
    assert_int_equal(sim_rdma_owns(w.sim, apart + 99, 1), SIM_RDMA_RECEIVES);
    assert_int_equal(sim_rdma_owns(w.sim, apart + 100, 8092), 0);
    assert_int_equal(sim_rdma_owns(w.sim, apart - 1, 1), 0);
    assert_int_equal(end_do(&w.e.server, end_wr(&w.e.server, RNIC_SEND, 1, 0, 64)), RNIC_OK);
    (void)end_wait(&w.e.client, 1, true);
    assert_int_equal(sim_rdma_owns(w.sim, apart, 8192), 0);
    assert_int_equal(rnic_mw_new(w.e.client.ep, &mw, NULL), 0);
    wr = (struct rnic_wr){.id = 7,
                          .op = RNIC_BIND,
                          .quiet = true,
                          .bind = {mw, mr, apart + 4096, 4096, RNIC_PEER_WRITES}};
    end_post(&w.e.client, &wr, 1);
    assert_int_equal(sim_rdma_owns(w.sim, apart, 8192), SIM_RDMA_WINDOW);
    assert_false(sim_rdma_key_is_open(w.sim, 1, SIM_RDMA_TO_CLIENT, mw->rkey));
    wait_ms(1);
    assert_int_equal(sim_rdma_owns(w.sim, apart + 4096, 1), SIM_RDMA_WINDOW);
    assert_int_equal(sim_rdma_owns(w.sim, apart, 4096), 0);
    assert_true(sim_rdma_key_is_open(w.sim, 1, SIM_RDMA_TO_CLIENT, mw->rkey));
    assert_false(sim_rdma_key_is_open(w.sim, 1, SIM_RDMA_TO_SERVER, mw->rkey));
    rkey = mw->rkey;
    end_disconnect(&w.e.client); /* only rnic_close is the fence */
    wait_ms(1000);
    assert_int_equal(sim_rdma_owns(w.sim, apart + 4096, 1), SIM_RDMA_WINDOW);
    end_close(&w.e.client);
    assert_int_equal(sim_rdma_owns(w.sim, apart, 8192), 0);
    assert_false(sim_rdma_key_is_open(w.sim, 1, SIM_RDMA_TO_CLIENT, rkey));
    end();
    free(apart);
}

/* A buffer that is given back before the fence is written to afterwards, in some seeds; behind the
 * fence in none. */
static void
fence(void **state)
{
    unsigned written[2] = {0, 0};

    (void)state;
    for (uint64_t seed = 0; seed < 200; seed++) {
        bool close = seed % 2 == 1;
        struct rnic_wr wr;
        uint8_t *kept;

        begin(seed, &sim_rdma_rough);
        open_with(0);
        end_fill(&w.e.server, 0, 8192, 1);
        wr = server_wr(RNIC_WRITE, 1, 8192);
        end_post(&w.e.server, &wr, 1);
        (void)sim_run_until(w.sim, NULL, NULL, sim_below(w.sim, 300000));
        kept = malloc(ENDS_MEM);
        assert_non_null(kept);
        memcpy(kept, w.e.client.mem, ENDS_MEM);
        if (close)
            end_close(&w.e.client);
        else
            end_disconnect(&w.e.client);
        wait_ms(1000);
        written[close] += memcmp(kept, w.e.client.mem, ENDS_MEM) != 0;
        free(kept);
        end();
    }
    assert_int_equal(written[1], 0);
    assert_in_range(written[0], 10, 100);
}

/* Memory that is sent is read until its completion, in some seeds as late as that. */
static void
sends_read_late(void **state)
{
    unsigned changed = 0;

    (void)state;
    for (uint64_t seed = 0; seed < 100; seed++) {
        begin(seed, &sim_rdma_rough);
        open_with(2);
        end_fill(&w.e.client, 0, 64, 1);
        client_sends(1, 64);
        (void)sim_run_until(w.sim, NULL, NULL, 30000);
        memset(w.e.client.mem, 0, 64); /* a mistake */
        (void)end_wait(&w.e.server, 1000, true);
        changed += !end_holds(&w.e.server, ENDS_RECVS_AT + 1000 % ENDS_DEPTH * ENDS_RECV, 64, 1, 0);
        end();
    }
    assert_in_range(changed, 30, 99);
}

/* What owners do wrong is said. */

static void
judge(void *user, const char *what)
{
    assert_ptr_equal(user, &w);
    assert_true(strncmp(what, "rnic_", 5) == 0);
    w.judged++;
}

static void
judges(void **state)
{
    struct rnic_mr *mr;
    struct rnic_mw *mw;
    struct rnic_wr wr;

    (void)state;
    begin(5, NULL);
    sim_rdma_judge(w.sim, judge, &w);
    ends_listen(&w.e, &w.k, NULL);
    ends_resolve(&w.e);
    end_register(&w.e.client);
    wr = end_wr(&w.e.client, RNIC_SEND, 1, 0, 8);
    assert_true(rnic_post_send(w.e.client.ep, &wr, 1) < 0 && w.judged == 1);
    ends_close(&w.e);
    open_with(1);
    assert_int_equal(w.judged, 1);
    assert_true(rnic_connect(w.e.client.ep, NULL, 0, NULL) < 0 && w.judged == 2);
    assert_int_equal(rnic_reg(w.e.client.ep, w.e.client.mem, 4096, RNIC_WINDOWS, &mr, NULL), 0);
    assert_int_equal(rnic_mw_new(w.e.client.ep, &mw, NULL), 0);
    wr = (struct rnic_wr){.id = 1, .op = RNIC_BIND, .bind = {mw, mr, w.e.client.mem, 64, 1}};
    assert_int_equal(end_do(&w.e.client, wr), RNIC_OK);
    rnic_dereg(w.e.client.ep, mr); /* a window is bound to it */
    assert_int_equal(w.judged, 3);
    assert_int_equal(rnic_reg(w.e.client.ep, w.e.client.mem, 4096, RNIC_WINDOWS, &mr, NULL), 0);
    wr.bind.mr = mr;
    wr.id = 2;
    assert_int_equal(end_do(&w.e.client, wr), RNIC_OK);
    rnic_mw_free(w.e.client.ep, mw); /* it is bound */
    assert_int_equal(w.judged, 4);
    rnic_dereg(w.e.client.ep, mr);
    assert_int_equal(w.judged, 4);
    rnic_dereg(w.e.client.ep, w.e.client.mr); /* a receive is posted with it */
    assert_int_equal(w.judged, 5);
    end();
}

/* Memory that is deregistered too early is not touched, and each write that would have come to it
 * is counted. */
static void
late_writes(void **state)
{
    struct rnic_mr *mr;
    uint8_t *apart = calloc(1, 4096);
    struct rnic_wr wr;

    (void)state;
    assert_non_null(apart);
    for (unsigned how = 0; how < 2; how++) {
        begin(7, NULL);
        sim_rdma_judge(w.sim, judge, &w);
        open_with(0);
        assert_int_equal(rnic_reg(w.e.client.ep, apart, 4096, 0, &mr, NULL), 0);
        end_fill(&w.e.server, 0, 64, 1);
        if (how == 0) {
            assert_int_equal(
                rnic_post_recv(w.e.client.ep, &(struct rnic_recv){1, {apart, 100, mr->lkey}}, 1),
                0);
        } else {
            wr = end_wr(&w.e.client, RNIC_READ, 1, 0, 64);
            wr.sge[0] = (struct rnic_sge){apart, 64, mr->lkey};
            end_name(&wr, &w.e.server, 0, w.e.server.mr->rkey);
            end_post(&w.e.client, &wr, 1);
            assert_int_equal(sim_rdma_owns(w.sim, apart, 1), SIM_RDMA_READS_IN);
            (void)sim_run_until(w.sim, NULL, NULL, 10000); /* it has left */
        }
        rnic_dereg(w.e.client.ep, mr);
        assert_int_equal(w.judged, 1);
        if (how == 0)
            assert_int_equal(end_do(&w.e.server, end_wr(&w.e.server, RNIC_SEND, 1, 0, 64)),
                             RNIC_REMOTE_ERROR);
        assert_int_equal(end_wait(&w.e.client, 1, how == 0)->status, RNIC_LOCAL_ERROR);
        assert_int_equal(sim_rdma_stats(w.sim)->late_writes, 1);
        for (unsigned i = 0; i < 4096; i++)
            assert_int_equal(apart[i], 0);
        ends_close(&w.e);
        sim_free(w.sim);
    }
    free(apart);
}

/* Devices that have less. */

static void
ignore(void *user)
{
    (void)user;
}

static void
ignore_up(void *user, const void *private_data, size_t len)
{
    (void)user;
    (void)private_data;
    (void)len;
}

static void
ignore_end(void *user, int err, const char *why)
{
    (void)user;
    (void)err;
    (void)why;
}

static void
ignore_completed(void *user, const struct rnic_wc *wc, unsigned n)
{
    (void)user;
    (void)wc;
    (void)n;
}

static const struct rnic_events ignores = {.resolved = ignore,
                                           .established = ignore_up,
                                           .ended = ignore_end,
                                           .completed = ignore_completed};

static void
limits(void **state)
{
    struct sim_rdma_config cfg = {.memlock = ENDS_MEM + 8192, .max_windows = 2};
    struct lunette_error err = {.struct_size = sizeof(err)};
    struct rnic_depth depth = {.send = 4, .recv = 4};
    struct rnic_mr *mr;
    struct rnic_mw *mw;
    struct rnic_ep *ep;

    (void)state;
    begin(6, &cfg);
    open_with(0);
    assert_int_equal(rnic_reg(w.e.client.ep, w.e.client.mem, 8193, 0, &mr, &err), -ENOMEM);
    assert_non_null(strstr(err.msg, "8193 bytes"));
    assert_non_null(strstr(err.msg, "270336 bytes (RLIMIT_MEMLOCK"));
    assert_int_equal(rnic_reg(w.e.client.ep, w.e.client.mem, 8192, 0, &mr, &err), 0);
    rnic_dereg(w.e.client.ep, mr);
    assert_int_equal(rnic_mw_new(w.e.client.ep, &mw, NULL), 0);
    assert_int_equal(rnic_mw_new(w.e.client.ep, &mw, NULL), 0);
    assert_int_equal(rnic_mw_new(w.e.client.ep, &mw, &err), -ENOMEM);
    cfg.no_device = cfg.no_windows = true;
    sim_rdma_configure(w.sim, &cfg);
    assert_int_equal(rnic_mw_new(w.e.client.ep, &mw, &err), -EOPNOTSUPP);
    rnic_get_caps(w.e.client.ep, &w.e.client.caps);
    assert_false(w.e.client.caps.windows);
    assert_int_equal(rnic_resolve(w.k.client, &w.e.at, NULL, &depth, &ignores, NULL, &ep, &err),
                     -ENODEV);
    assert_non_null(strstr(err.msg, "no RDMA device"));
    end();
}

/* Ends of a whole side. */

static void
device_is_removed(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        begin(seed, &sim_rdma_rough);
        open_with(4);
        sim_rdma_remove_device(w.sim, w.k.client, true);
        wait_ms(2000);
        assert_int_equal(w.e.client.end_err, -ENODEV);
        assert_int_equal(w.e.server.ends + w.e.client.nwc + w.e.server.nwc, 0);
        assert_int_equal(end_do(&w.e.server, end_wr(&w.e.server, RNIC_SEND, 1, 0, 8)),
                         RNIC_NO_ANSWER);
        end_disconnect(&w.e.client);
        assert_int_equal(end_wait(&w.e.client, 1003, true)->status, RNIC_FLUSHED);
        end();
    }
}

static void
killed(void **state)
{
    unsigned told = 0;

    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        uint8_t *kept = malloc(ENDS_MEM);
        struct rnic_wr wr;

        assert_non_null(kept);
        begin(seed, &sim_rdma_rough);
        open_with(4);
        end_fill(&w.e.server, 0, 8192, 7);
        wr = server_wr(RNIC_WRITE, 1, 8192);
        end_post(&w.e.server, &wr, 1);
        client_sends(1, 64);
        (void)sim_run_until(w.sim, NULL, NULL, sim_below(w.sim, 300000));
        sim_rdma_kill(w.sim, w.k.client);
        memcpy(kept, w.e.client.mem, ENDS_MEM);
        w.e.client.disconnected = true; /* its owner is not called any more */
        w.e.client.calls = w.e.client.nwc = 0;
        wait_ms(10000);
        assert_memory_equal(kept, w.e.client.mem, ENDS_MEM);
        assert_int_equal(w.e.client.calls, 0);
        assert_int_equal(sim_rdma_owns(w.sim, w.e.client.mem, ENDS_MEM), 0);
        if (w.e.server.nwc == 0 || (end_find(&w.e.server, 1, false) != NULL &&
                                    end_find(&w.e.server, 1, false)->status == RNIC_OK)) {
            wr.id = 2;
            end_post(&w.e.server, &wr, 1);
            assert_int_equal(end_wait(&w.e.server, 2, false)->status, RNIC_NO_ANSWER);
        }
        told += w.e.server.ends;
        if (seed % 2 == 0)
            w.e.client.ep = NULL; /* nobody closes what is dead */
        else
            end_close(&w.e.client);
        ends_close(&w.e);
        sim_free(w.sim);
        free(kept);
    }
    assert_in_range(told, 5, SEEDS - 5);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fates),       cmocka_unit_test(fates_end),
        cmocka_unit_test(leads),       cmocka_unit_test(cuts),
        cmocka_unit_test(cuts_after),  cmocka_unit_test(stalls),
        cmocka_unit_test(late_ways),   cmocka_unit_test(taps),
        cmocka_unit_test(tap_of_data), cmocka_unit_test(owns),
        cmocka_unit_test(fence),       cmocka_unit_test(sends_read_late),
        cmocka_unit_test(judges),      cmocka_unit_test(late_writes),
        cmocka_unit_test(limits),      cmocka_unit_test(device_is_removed),
        cmocka_unit_test(killed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
