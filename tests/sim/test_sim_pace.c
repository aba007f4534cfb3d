/* SPDX-License-Identifier: MIT */
/* The target lets a connection wait only when that costs its initiator nothing, never longer than
 * it may, and sees a connection end meanwhile.  The initiator is a script of raw PDUs. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "target/target.h"
#include "tests/sim/sim_loop.h"
#include "tests/test.h"
#include "wire/bhs.h"
#include "wire/pdu.h"
#include "wire/scsi.h"

#define US        1000ull
#define SEC       LOOP_NS_PER_S
#define IQN       "iqn.2026-11.example:sim"
#define PACE_US   TARGET_PACE_US
#define ONE_WAY   20u /* us */
#define BLOCK     4096u
#define CMDS      2000u
#define HANDLE_US 5u

enum habit {
    HONEST, /* acknowledges what it has read, and has read what has come */
    BUSY,   /* handles a response in HANDLE_US, and then sends one command, header and data apart */
    DEAF,   /* never acknowledges anything */
};

struct client {
    struct sim *sim;
    struct loop *loop, *target_loop;
    struct target *target;
    struct stream *s;
    enum habit habit;
    uint32_t depth;
    uint8_t in[1u << 16];
    size_t have;
    bool logged_in;
    uint32_t cmd_sn, exp_stat_sn, sent, done, unhandled;
    uint64_t sent_ns[CMDS], worst_ns;
    struct loop_timer handle; /* BUSY: the response at hand is dealt with */
};

static void
put_bytes(struct client *c, const void *p, size_t len)
{
    struct iovec iov = {(void *)(uintptr_t)p, len};

    assert_int_equal(stream_sendv(c->s, &iov, 1, len), (ssize_t)len);
}

static void
send_header(struct client *c)
{
    uint8_t cdb[CDB_MAX] = {0};
    struct bhs_scsi_cmd h;

    bhs_init(&h, ISCSI_OP_SCSI_CMD, ISCSI_FLAG_FINAL | ISCSI_CMD_WRITE | ISCSI_ATTR_SIMPLE);
    h.dseg_len = put24(BLOCK);
    h.itt = put32(c->sent);
    h.edtl = put32(BLOCK);
    h.cmd_sn = put32(c->cmd_sn++);
    h.exp_stat_sn = put32(c->exp_stat_sn);
    (void)cdb_write10(cdb, 0, BLOCK / 512, 0);
    memcpy(h.cdb, cdb, sizeof(h.cdb));
    c->sent_ns[c->sent++] = sim_now_ns(c->sim);
    put_bytes(c, &h, sizeof(h));
}

static void
send_command(struct client *c)
{
    static const uint8_t data[BLOCK];

    if (c->sent == CMDS)
        return;
    send_header(c);
    put_bytes(c, data, sizeof(data));
}

static void
login(struct client *c)
{
    static const char text[] = "InitiatorName=iqn.2026-11.example:script\0TargetName=" IQN
                               "\0InitialR2T=No\0ImmediateData=Yes\0\0\0";
    struct bhs_login_req h;

    bhs_init(&h, ISCSI_OP_LOGIN_REQ | ISCSI_OP_IMMEDIATE,
             bhs_login_flags(1, 3, ISCSI_LOGIN_TRANSIT));
    h.isid[0] = 0x80;
    h.itt = put32(7);
    h.cmd_sn = put32(1);
    h.dseg_len = put24(sizeof(text) & ~3u);
    put_bytes(c, &h, sizeof(h));
    put_bytes(c, text, sizeof(text) & ~3u);
}

static void
handle_next(struct client *c)
{
    if (c->unhandled > 0 && !loop_timer_running(&c->handle))
        loop_timer_start(c->loop, &c->handle, HANDLE_US * US);
}

static void
handled(struct loop_timer *t)
{
    struct client *c = container_of(t, struct client, handle);

    c->unhandled--;
    c->exp_stat_sn++;
    send_command(c);
    handle_next(c);
}

static void
response(struct client *c, const struct bhs_scsi_rsp *h)
{
    uint32_t itt = get32(h->itt);
    uint64_t took;

    if (pdu_opcode((const struct bhs *)(const void *)h) == ISCSI_OP_NOP_IN)
        return; /* a ping, which is not answered */
    assert_int_equal(pdu_opcode((const struct bhs *)(const void *)h), ISCSI_OP_SCSI_RSP);
    assert_int_equal(h->response, 0);
    assert_true(itt < c->sent);
    took = sim_now_ns(c->sim) - c->sent_ns[itt];
    c->worst_ns = took > c->worst_ns ? took : c->worst_ns;
    c->done++;
    if (c->habit == BUSY) {
        c->unhandled++;
        handle_next(c);
        return;
    }
    if (c->habit == HONEST)
        c->exp_stat_sn = get32(h->stat_sn) + 1;
    send_command(c);
}

static void
one_pdu(struct client *c)
{
    const struct bhs_login_rsp *l = (const struct bhs_login_rsp *)(const void *)c->in;

    if (c->logged_in) {
        response(c, (const struct bhs_scsi_rsp *)(const void *)c->in);
        return;
    }
    assert_int_equal(l->status_class, 0);
    c->logged_in = true;
    c->cmd_sn = 1;
    c->exp_stat_sn = get32(l->stat_sn) + 1;
    for (uint32_t i = 0; i < c->depth; i++)
        send_command(c);
}

static void
readable(void *user)
{
    struct client *c = user;
    struct iovec iov = {c->in + c->have, sizeof(c->in) - c->have};
    ssize_t n = stream_recvv(c->s, &iov, 1);

    if (n <= 0)
        return; /* nothing, or the end */
    c->have += (size_t)n;
    while (c->have >= ISCSI_BHS_LEN) {
        uint32_t data = pdu_dseg_len((const struct bhs *)(const void *)c->in);
        size_t len = ISCSI_BHS_LEN + data + pdu_pad(data);

        if (c->have < len)
            break;
        one_pdu(c);
        c->have -= len;
        memmove(c->in, c->in + len, c->have);
    }
}

static void
connected(void *user, int err)
{
    struct client *c = user;

    assert_int_equal(err, 0);
    login(c);
}

static void
client_new(struct client *c, enum habit habit, uint32_t depth, uint32_t pace_us)
{
    static const struct stream_events events = {.connected = connected, .readable = readable};
    static const struct lu_config lun = {.kind = LU_NULL, .size = 1 << 30};
    static const struct target_key_value nop = {"NopInterval", "5"};
    const struct sim_config net = {
        .delay_min_us = ONE_WAY, .delay_max_us = ONE_WAY, .buffer = 1u << 20};
    const struct target_node_config node = {
        .name = IQN, .luns = &lun, .luns_count = 1, .set = &nop, .set_count = 1};
    const struct target_config tc = {.nodes = &node, .nodes_count = 1, .pace_us = pace_us};
    struct sock_addr at = {.len = sizeof(struct sockaddr_in)}, bound;
    struct sockaddr_in *in = (struct sockaddr_in *)(void *)&at.ss;

    memset(c, 0, sizeof(*c));
    c->habit = habit;
    c->depth = depth;
    c->sim = sim_new(1, &net);
    c->loop = sim_loop(c->sim);
    c->target_loop = sim_loop(c->sim);
    loop_timer_init(&c->handle, handled);
    in->sin_family = AF_INET;
    in->sin_addr.s_addr = htonl(0x0a000001);
    in->sin_port = htons(3260);
    assert_int_equal(target_new(c->target_loop, &tc, &c->target, NULL), 0);
    assert_int_equal(target_listen(c->target, &at, &bound, NULL), 0);
    assert_int_equal(stream_connect(c->loop, &bound, NULL, &events, c, &c->s), 0);
}

static void
client_free(struct client *c)
{
    loop_timer_stop(c->loop, &c->handle);
    stream_close(c->s);
    target_free(c->target);
    sim_free(c->sim);
}

static bool
all_done(void *user)
{
    return ((struct client *)user)->done == CMDS;
}

static struct client clients[2];

/* The same script with and without: what each command took at worst, and receives of the target. */
static void
both(enum habit habit, uint32_t depth, uint64_t worst_ns[2], uint64_t recvs[2], uint64_t took_ns[2])
{
    for (int i = 0; i < 2; i++) {
        struct client *c = &clients[i];
        uint64_t begun_ns;

        client_new(c, habit, depth, i * PACE_US);
        begun_ns = sim_now_ns(c->sim);
        assert_true(sim_run_until(c->sim, all_done, c, 10 * SEC));
        worst_ns[i] = c->worst_ns;
        recvs[i] = c->target_loop->stats.recvs;
        took_ns[i] = sim_now_ns(c->sim) - begun_ns;
        client_free(c);
    }
}

static void
test_few_commands_never_wait(void **state)
{
    uint64_t worst[2], recvs[2], took[2];

    (void)state;
    for (uint32_t depth = 1; depth <= 16; depth++) {
        both(HONEST, depth, worst, recvs, took);
        assert_int_equal(took[0], took[1]); /* to the nanosecond */
        assert_int_equal(recvs[0], recvs[1]);
        both(BUSY, depth, worst, recvs, took);
        assert_int_equal(took[0], took[1]);
    }
}

static void
test_busy_initiator_loses_nothing(void **state)
{
    uint64_t worst[2], recvs[2], took[2];

    (void)state;
    both(BUSY, 32, worst, recvs, took);
    assert_true(recvs[1] * 8 < recvs[0]); /* one wait follows on the other */
    assert_true(took[1] <= took[0] + took[0] / 100);
    assert_true(worst[1] <= worst[0] + PACE_US * US);
}

/* However many there are: what comes together is answered at once. */
static void
test_batches_never_wait(void **state)
{
    uint64_t worst[2], recvs[2], took[2];

    (void)state;
    for (uint32_t depth = 17; depth <= 128; depth++) {
        both(HONEST, depth, worst, recvs, took);
        assert_int_equal(took[0], took[1]);
        assert_int_equal(recvs[0], recvs[1]);
    }
}

/* Whoever acknowledges nothing is thought busy; it is let down once in a while, within bounds. */
static void
test_wait_is_bounded(void **state)
{
    uint64_t worst[2], recvs[2], took[2];

    (void)state;
    both(DEAF, 1, worst, recvs, took);
    assert_true(worst[1] > worst[0]); /* there was a wait */
    assert_true(worst[1] <= worst[0] + (PACE_US + 5) * US);
    assert_true(took[1] <= took[0] + took[0] / 50);
}

static bool
half_way(void *user)
{
    return ((struct client *)user)->done >= CMDS / 2;
}

/* Reads all there is and answers with as many commands at once, from now on. */
static void
catch_up(struct client *c)
{
    loop_timer_stop(c->loop, &c->handle);
    c->habit = HONEST;
    c->exp_stat_sn += c->unhandled;
    for (; c->unhandled > 0; c->unhandled--)
        send_command(c);
}

/* An initiator that was busy and begins to work in batches is not made to wait for its own last
 * command again and again: with 24 of them the mark is never reached. */
static void
test_waits_end_with_the_hurry(void **state)
{
    uint64_t took[2];

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct client *c = &clients[i];
        uint64_t begun_ns;

        client_new(c, BUSY, 24, i * PACE_US);
        assert_true(sim_run_until(c->sim, half_way, c, 10 * SEC));
        begun_ns = sim_now_ns(c->sim);
        catch_up(c);
        assert_true(sim_run_until(c->sim, all_done, c, 10 * SEC));
        took[i] = sim_now_ns(c->sim) - begun_ns;
        client_free(c);
    }
    assert_true(took[1] <= took[0] + 3 * PACE_US * US);
}

static bool
alone(void *user)
{
    struct target_stats st;

    target_stats(((struct client *)user)->target, &st);
    return st.conns == 0;
}

/* Half a command, and no more of it: while the mark is set only the ping finds out. */
static void
test_broken_off_command(void **state)
{
    struct client *c = &clients[0];

    (void)state;
    client_new(c, BUSY, 32, PACE_US);
    assert_true(sim_run_until(c->sim, half_way, c, 10 * SEC));
    loop_timer_stop(c->loop, &c->handle);
    c->habit = DEAF;
    c->sent = CMDS - 1;
    send_header(c);
    c->unhandled = 0;
    assert_true(sim_run_until(c->sim, alone, c, 20 * SEC));
    client_free(c);
}

static void
test_end_is_seen_at_once(void **state)
{
    struct client *c = &clients[0];
    uint64_t cut_ns;

    (void)state;
    client_new(c, BUSY, 32, PACE_US);
    assert_true(sim_run_until(c->sim, half_way, c, 10 * SEC));
    loop_timer_stop(c->loop, &c->handle);
    c->unhandled = 0;
    c->habit = HONEST;
    cut_ns = sim_now_ns(c->sim);
    assert_int_equal(sim_cut(c->sim, NULL, SIM_RESET), 1);
    assert_true(sim_run_until(c->sim, alone, c, SEC));
    assert_true(sim_now_ns(c->sim) - cut_ns <= PACE_US * US);
    client_free(c);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_few_commands_never_wait),
        cmocka_unit_test(test_busy_initiator_loses_nothing),
        cmocka_unit_test(test_batches_never_wait),
        cmocka_unit_test(test_wait_is_bounded),
        cmocka_unit_test(test_waits_end_with_the_hurry),
        cmocka_unit_test(test_broken_off_command),
        cmocka_unit_test(test_end_is_seen_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
