/* SPDX-License-Identifier: MIT */
/* When a connection is not read, and when it counts as dead. */
#include "tests/unit/target/puppet.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "target/bounds.h"

static struct puppet *
login(struct world *w, uint8_t isid, const char *keys, size_t len)
{
    struct puppet *p = puppet_new(w, isid);

    assert_int_equal(puppet_login(p, keys, len), 0);
    return p;
}

static uint64_t
now_ms(void)
{
    struct timespec t;

    assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &t), 0);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void
wait_ms(struct world *w, uint64_t ms)
{
    uint64_t end = now_ms() + ms;

    while (now_ms() < end)
        world_turn(w);
}

static void
make_ping(struct bhs_nop_out *h, uint32_t itt)
{
    bhs_init(h, ISCSI_OP_NOP_OUT | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL);
    h->itt = put32(itt);
    h->ttt = put32(ISCSI_TAG_RSVD);
}

/* Sends what the socket takes and gives the target some turns; returns the bytes. */
static size_t
send_some(struct puppet *p, const uint8_t *bytes, size_t len)
{
    size_t sent = 0;

    for (unsigned idle = 0; sent < len && idle < 20;) {
        ssize_t n = send(p->fd, bytes + sent, len - sent, MSG_DONTWAIT | MSG_NOSIGNAL);

        idle = n > 0 ? 0 : idle + 1;
        if (n > 0)
            sent += (size_t)n;
        world_turn(p->w);
    }
    return sent;
}

#define PINGS 65536u

/* Takes the answers to `count` pings, whose tags count up to PINGS. */
static void
take_answers(struct puppet *p, size_t count)
{
    static uint8_t in[1024 * ISCSI_BHS_LEN];
    size_t have = 0, n = 0;

    for (unsigned idle = 0; n < count && idle < 5000;) {
        size_t room =
            sizeof(in) < (count - n) * ISCSI_BHS_LEN ? sizeof(in) : (count - n) * ISCSI_BHS_LEN;
        ssize_t r = recv(p->fd, in + have, room - have, MSG_DONTWAIT);
        size_t at = 0;

        assert_int_not_equal(r, 0);
        idle = r > 0 ? 0 : idle + 1;
        have += r > 0 ? (size_t)r : 0;
        for (; have - at >= ISCSI_BHS_LEN; at += ISCSI_BHS_LEN, n++) {
            const struct bhs_nop_in *h = (const struct bhs_nop_in *)(void *)(in + at);

            assert_int_equal(pdu_opcode((const struct bhs *)(const void *)h), ISCSI_OP_NOP_IN);
            assert_int_equal(get32(h->itt), n % PINGS);
        }
        have -= at;
        memmove(in, in + at, have);
        if (r <= 0)
            world_turn(p->w);
    }
    assert_int_equal(n, count);
}

/* Pings whose answers are not read stop the target from reading; each is answered once they are. */
static void
answers_unread(void **state)
{
    static uint8_t pings[PINGS * ISCSI_BHS_LEN];
    struct puppet *p = login(*state, 1, KEYS("")), *q = login(*state, 2, KEYS(""));
    struct bhs_nop_out h;
    size_t sent = 0;

    for (uint32_t i = 0; i < PINGS; i++) {
        make_ping(&h, i);
        memcpy(pings + (size_t)i * ISCSI_BHS_LEN, &h, ISCSI_BHS_LEN);
    }
    for (unsigned i = 0; i < 32 && sent % sizeof(pings) == 0; i++)
        sent += send_some(p, pings, sizeof(pings));
    assert_true(sent % sizeof(pings) != 0); /* it does not take all that is sent */
    make_ping(&h, 77);
    puppet_send(q, &h, NULL, 0); /* and serves others */
    assert_int_equal(get32(puppet_expect(q, ISCSI_OP_NOP_IN)->h.nop_in.itt), 77);
    take_answers(p, sent / ISCSI_BHS_LEN);
    puppet_free(p);
    puppet_free(q);
}

/* Somebody who logs out behind data that he does not read keeps no connection for that. */
static void
logout_unread(void **state)
{
    struct world *w = *state;
    struct puppet *p = puppet_session(w, KEYS(""));
    struct bhs_logout_req h;
    struct target_stats st;
    uint8_t cdb[CDB_MAX];

    (void)cdb_read10(cdb, 0, 2048, 0);
    for (unsigned i = 0; i < 32; i++) /* more than sockets hold */
        (void)puppet_cmd(p, 0, RD, cdb, 1 << 20, NULL, 0);
    bhs_init(&h, ISCSI_OP_LOGOUT_REQ | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL);
    h.itt = put32(4711);
    puppet_send(p, &h, NULL, 0);
    wait_ms(w, PING_TIMEOUT_MS / 2);
    target_stats(w->target, &st);
    assert_int_equal(st.conns, 1);
    wait_ms(w, PING_TIMEOUT_MS * 3 / 2);
    target_stats(w->target, &st);
    assert_int_equal(st.conns, 0);
    puppet_free(p);
}

/* More PDUs in one piece than are dealt with in a turn, which need no answer; then one that does.
 */
static void
many_in_a_turn(void **state)
{
    static uint8_t many[5 * TGT_RX_PDUS * ISCSI_BHS_LEN];
    struct puppet *p = login(*state, 1, KEYS(""));
    struct bhs_nop_out h;
    size_t n = sizeof(many) / ISCSI_BHS_LEN;

    for (size_t i = 0; i < n; i++) {
        make_ping(&h, i + 1 == n ? 5 : ISCSI_TAG_RSVD);
        memcpy(many + i * ISCSI_BHS_LEN, &h, ISCSI_BHS_LEN);
    }
    assert_int_equal(send_some(p, many, sizeof(many)), sizeof(many));
    assert_int_equal(get32(puppet_expect(p, ISCSI_OP_NOP_IN)->h.nop_in.itt), 5);
    puppet_free(p);
}

#define TARGETS  2000u
#define REQUESTS 40u

/* Bytes that have come for p. */
static size_t
take_bytes(struct puppet *p)
{
    static uint8_t drop[65536];
    size_t sum = 0;
    ssize_t r;

    while ((r = recv(p->fd, drop, sizeof(drop), MSG_DONTWAIT)) > 0)
        sum += (size_t)r;
    return sum;
}

/* A list of many targets is much work: one of them at a time, the others in between. */
static void
long_lists(void **state)
{
    static struct target_node_config nodes[TARGETS];
    static char names[TARGETS][64];
    static const struct lu_config null = {.kind = LU_NULL, .size = 1 << 20, .lun = -1, .wce = -1};
    static const char all[] = "SendTargets=All";
    size_t sum = 0, piece = ISCSI_BHS_LEN + 8192;
    uint8_t one[ISCSI_BHS_LEN + sizeof(all)], many[REQUESTS * sizeof(one)];
    struct bhs_text_req h;
    struct puppet *p;
    struct world w;

    (void)state;
    for (unsigned i = 0; i < TARGETS; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "iqn.2026-11.example:a.target.of.many.%u", i);
        nodes[i] = (struct target_node_config){.name = names[i], .luns = &null, .luns_count = 1};
    }
    world_new(&w, nodes, TARGETS);
    p = puppet_new(&w, 1);
    puppet_login_send(p, bhs_login_flags(1, 3, ISCSI_LOGIN_TRANSIT),
                      KEYS("InitiatorName=" INITIATOR "\0SessionType=Discovery"));
    assert_int_equal(puppet_login_status(p), 0);
    bhs_init(&h, ISCSI_OP_TEXT_REQ | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL);
    h.ttt = put32(ISCSI_TAG_RSVD);
    h.dseg_len = put24(sizeof(all));
    memcpy(one, &h, ISCSI_BHS_LEN);
    memcpy(one + ISCSI_BHS_LEN, all, sizeof(all));
    for (unsigned i = 0; i < REQUESTS; i++)
        memcpy(many + i * sizeof(one), one, sizeof(one));
    puppet_send_raw(p, many, sizeof(many));
    for (unsigned turns = 1; sum < REQUESTS * piece; turns++) {
        sum += take_bytes(p);
        assert_true(turns < 5000 && sum <= 5 * (turns + 3) * piece);
        world_turn(&w);
    }
    puppet_free(p);
    world_free(&w);
}

static const struct lu_config lun = {.kind = LU_RAM, .size = 1 << 20, .lun = -1, .wce = -1};
static const struct target_key_value every_second = {"NopInterval", "1"};
static const struct target_node_config watchful = {
    .name = IQN, .luns = &lun, .luns_count = 1, .set = &every_second, .set_count = 1};

/* An initiator may take its time to answer, however short the interval is; but not for ever. */
static void
busy_initiator(void **state)
{
    struct world w;
    struct puppet *p;
    struct bhs_nop_out h;

    (void)state;
    world_new(&w, &watchful, 1);
    p = login(&w, 1, KEYS(""));
    wait_ms(&w, 2200); /* the ping went after 1000 */
    make_ping(&h, 5);
    puppet_send(p, &h, NULL, 0);
    assert_int_equal(get32(puppet_expect(p, ISCSI_OP_NOP_IN)->h.nop_in.itt), ISCSI_TAG_RSVD);
    assert_int_equal(get32(puppet_expect(p, ISCSI_OP_NOP_IN)->h.nop_in.itt), 5);
    wait_ms(&w, 1000 + PING_TIMEOUT_MS + 300);
    assert_int_equal(get32(puppet_expect(p, ISCSI_OP_NOP_IN)->h.nop_in.itt), ISCSI_TAG_RSVD);
    puppet_expect_close(p);
    puppet_free(p);
    world_free(&w);
}

/* A PDU that comes slowly, below the low-water mark of the socket, is life. */
static void
slow_link(void **state)
{
    static uint8_t data[256 << 10];
    struct world w;
    struct puppet *p;
    struct bhs_nop_out h;

    (void)state;
    world_new(&w, &watchful, 1);
    p = login(&w, 1, KEYS(""));
    make_ping(&h, 5);
    h.dseg_len = put24(sizeof(data));
    puppet_send_raw(p, &h, sizeof(h));
    for (unsigned i = 0; i < 32; i++) {
        puppet_send_raw(p, data, 1024);
        wait_ms(&w, 100);
    }
    puppet_send_raw(p, data, sizeof(data) - 32 * 1024);
    do {
        (void)puppet_expect(p, ISCSI_OP_NOP_IN);
    } while (get32(p->rx.h.nop_in.itt) != 5);
    puppet_free(p);
    world_free(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(answers_unread, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(logout_unread, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(many_in_a_turn, world_setup, world_teardown),
        cmocka_unit_test(long_lists),
        cmocka_unit_test(busy_initiator),
        cmocka_unit_test(slow_link),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
