/* SPDX-License-Identifier: MIT */
/* tests/conformance/group_cut.c - group "cut": connections that end, in every state and at every
 * PDU, and outages that are shorter and longer than the replacement timeout. */
#include <stdio.h>

#include "tests/conformance/conformance.h"

#define LEN   (12u << 10)
#define DEPTH 8

static struct cut {
    struct conform_world w;
    struct lunette_error err;
    unsigned at[2], seen; /* PDUs of both ways, counted together; 0: none */
    enum conform_verdict how;
    bool done;
    uint8_t buf[2][LEN];
} u;

static enum conform_verdict
cut_at(void *user, const struct conform_pdu *pdu)
{
    (void)user;
    (void)pdu;
    u.seen++;
    return u.seen == u.at[0] || u.seen == u.at[1] ? u.how : CONFORM_PASS;
}

/* What a program does from opening to closing.  Whatever is cut, an opening succeeds or says why
 * not, and what is asked for afterwards goes well: it waits for another login. */
static bool
story(void)
{
    struct lunette_lun *lun = NULL;

    if (lunette_open(u.w.ctx, u.w.url, 0, &lun, &u.err) < 0) {
        assert_true(u.err.code < 0 && strlen(u.err.msg) > 10);
        return false;
    }
    for (unsigned round = 0; round < 2; round++) {
        conform_fill(u.buf[0], LEN, 0, u.seen + round);
        CONFORM_OK(lunette_pwrite(lun, u.buf[0], LEN, CONFORM_BLOCK, 0, &u.err), u.err);
        assert_memory_equal(u.w.disk + CONFORM_BLOCK, u.buf[0], LEN);
        memset(u.buf[1], 0, LEN);
        CONFORM_OK(lunette_pread(lun, u.buf[1], LEN, CONFORM_BLOCK, &u.err), u.err);
        assert_memory_equal(u.buf[1], u.buf[0], LEN);
    }
    CONFORM_OK(lunette_flush(lun, &u.err), u.err);
    lunette_close(lun);
    return true;
}

/* What the session agrees on, where the transport can. */
static const struct kind {
    const char *options;
    uint32_t caps, level, connections;
} kinds[] = {
    {"max_recv_data_segment_length=2048", 0, 0, 1},
    {"max_recv_data_segment_length=2048&nr_connections=2", CAP_MULTI_CONN, 0, 2},
    {"max_recv_data_segment_length=2048&error_recovery_level=2", CAP_RECOVERY_L2, 2, 1},
};

static void
cut_open(const char *options)
{
    static const struct target_key_value set[] = {{"InitialR2T", "Yes"},
                                                  {"ImmediateData", "Yes"},
                                                  {"MaxRecvDataSegmentLength", "2048"},
                                                  {"FirstBurstLength", "2048"},
                                                  {"MaxBurstLength", "4096"},
                                                  {"MaxConnections", "2"},
                                                  {"ErrorRecoveryLevel", "2"}};
    const struct conform_setup setup = {.set = set, .set_count = 7, .options = options};

    memset(&u, 0, sizeof(u));
    conform_open(&u.w, &setup);
    conform_path_filter(u.w.path, cut_at, NULL);
}

/* The session is of that kind. */
static void
agreed(const struct kind *kind)
{
    struct lunette_session_info info = LUNETTE_INIT(info);
    struct lunette_lun *lun = conform_lun(&u.w);

    assert_int_equal(lunette_get_session_info(lun, &info), 0);
    assert_int_equal(info.error_recovery_level, kind->level);
    assert_int_equal(info.nconnections_wanted, kind->connections);
    if (info.auth_method[0] != '\0') /* else the adapter knows what it has agreed on */
        assert_true(info.max_connections >= kind->connections);
    else
        assert_int_equal(info.max_connections, 0);
    lunette_close(lun);
}

/* Cuts at PDU n, and once more after `later` others where that is not 0.  False: there was no such
 * PDU. */
static bool
story_cut_at(const struct kind *kind, unsigned n, unsigned later, enum conform_verdict how)
{
    bool reached;

    cut_open(kind->options);
    u.at[0] = n;
    u.at[1] = later > 0 ? n + later : 0;
    u.how = how;
    (void)story();
    reached = u.seen >= n;
    u.at[0] = u.at[1] = 0;
    agreed(kind);
    assert_true(story());
    conform_close(&u.w);
    return reached;
}

/* At every step-th PDU. */
static void
every_pdu(const struct kind *kind, unsigned step)
{
    static const enum conform_verdict hows[] = {CONFORM_CUT_BEFORE, CONFORM_CUT_INSIDE,
                                                CONFORM_CUT_BEHIND};
    unsigned n = 1;

    for (bool more = true; more; n += step) {
        more = false;
        for (size_t i = 0; i < sizeof(hows) / sizeof(hows[0]); i++) {
            more |= story_cut_at(kind, n, 0, hows[i]);
            if (i == n % 3)
                (void)story_cut_at(kind, n, 1 + n * 5 % 9, hows[i]);
        }
        assert_true(n < 1000);
    }
    /* Login, the unit, both ways with data, logout; of data that go by themselves there are not as
     * many pieces. */
    assert_true(n > (conform_tt->caps & CAP_RDMA ? 25 : 40));
}

/* ---- the target asks for a logout, and does not get it ----------------------------------------
 */

static enum conform_verdict
cut_logout(void *user, const struct conform_pdu *pdu)
{
    const enum conform_verdict *how = user;

    return pdu->link == 1 && (pdu->h->h.opcode & ISCSI_OP_MASK) == ISCSI_OP_LOGOUT_REQ
               ? *how
               : CONFORM_PASS;
}

static void
asked_to_leave(enum conform_verdict how)
{
    struct lunette_lun *lun;

    cut_open(NULL);
    conform_path_filter(u.w.path, cut_logout, &how);
    lun = conform_lun(&u.w);
    target_tell_async(u.w.target, ISCSI_ASYNC_LOGOUT_REQUEST, 0, 3);
    CONFORM_UNTIL(&u.w, conform_path_counts(u.w.path)->links >= 2);
    CONFORM_OK(lunette_pread(lun, u.buf[0], LEN, 0, &u.err), u.err);
    lunette_close(lun);
    conform_close(&u.w);
}

/* ---- outages --------------------------------------------------------------------------------- */

enum outage { RESET, ORDERLY_END, SILENCE };

static enum lunette_session_state
state_of(const struct lunette_lun *lun)
{
    struct lunette_session_info info = LUNETTE_INIT(info);

    assert_int_equal(lunette_get_session_info(lun, &info), 0);
    return info.state;
}

static void
hold_all(bool on)
{
    conform_path_hold(u.w.path, CONFORM_TO_TARGET, on);
    conform_path_hold(u.w.path, CONFORM_TO_INITIATOR, on);
}

/* The connection is lost, and no other can be made; with SILENCE the initiator has to find out. */
static void
outage_begins(enum outage how)
{
    conform_path_refuse(u.w.path, true);
    if (how == SILENCE)
        hold_all(true);
    else
        conform_path_cut(u.w.path, how == ORDERLY_END);
}

static void
outage_ends(void)
{
    hold_all(false);
    conform_path_refuse(u.w.path, false);
}

/* Requests at depth DEPTH over an outage. */
static void
over_an_outage(enum outage how, bool longer)
{
    struct lunette_completion c[DEPTH];
    struct lunette_queue *q = NULL;
    static uint8_t buf[DEPTH][CONFORM_BLOCK];
    unsigned ended = 0;
    struct lunette_lun *lun;
    uint64_t from;

    cut_open(longer ? "replacement_timeout=1&ping_interval=100&ping_timeout=700"
                    : "replacement_timeout=60&ping_interval=100&ping_timeout=700");
    lun = conform_lun(&u.w);
    CONFORM_OK(lunette_queue_new(lun, DEPTH, &q, &u.err), u.err);
    from = u.w.loop->now_ns;
    outage_begins(how);
    for (unsigned i = 0; i < DEPTH; i++) {
        uint64_t at = (uint64_t)i * CONFORM_BLOCK;

        conform_fill(buf[i], CONFORM_BLOCK, at, 3);
        if (i % 2 == 0)
            assert_int_equal(lunette_queue_write(q, buf[i], CONFORM_BLOCK, at, 0, NULL), 0);
        else
            assert_int_equal(lunette_queue_read(q, buf[i], CONFORM_BLOCK, at, NULL), 0);
    }
    assert_int_equal(lunette_queue_submit(q), 0);
    CONFORM_UNTIL(&u.w, state_of(lun) == LUNETTE_SESSION_BLOCKED);
    if (!longer) {
        conform_wait_ms(&u.w, 50);
        assert_int_equal(lunette_queue_poll(q, c, DEPTH, 0, 0), 0); /* they wait */
        outage_ends();
    }
    while (ended < DEPTH) {
        int n = lunette_queue_poll(q, c, DEPTH, 1, 60000);

        assert_true(n > 0);
        for (int i = 0; i < n; i++, ended++) {
            if (longer)
                assert_true(c[i].err == -ENOTCONN || c[i].err == -ENOLINK);
            else
                assert_int_equal(c[i].err, 0);
        }
    }
    if (longer) {
        assert_true(u.w.loop->now_ns - from >= CONFORM_SEC);
        assert_int_equal(state_of(lun), LUNETTE_SESSION_FAILED);
        assert_int_equal(lunette_pread(lun, u.buf[0], LEN, 0, &u.err), -ENOTCONN);
        outage_ends();
        (void)lunette_session_reopen_now(lunette_lun_session(lun));
    }
    CONFORM_UNTIL(&u.w, state_of(lun) == LUNETTE_SESSION_LOGGED_IN);
    for (unsigned i = 0; i < DEPTH && !longer; i++)
        assert_memory_equal(u.w.disk + (size_t)i * CONFORM_BLOCK, buf[i], CONFORM_BLOCK);
    CONFORM_OK(lunette_pread(lun, u.buf[0], LEN, 0, &u.err), u.err);
    assert_memory_equal(u.buf[0], u.w.disk, LEN);
    lunette_queue_free(q);
    lunette_close(lun);
    conform_close(&u.w);
}

void
conform_group_cut(void)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        bool real = conform_row->net != &conform_sim; /* where each cut takes its time */

        if ((conform_tt->caps & kinds[i].caps) == kinds[i].caps)
            every_pdu(&kinds[i], real && i > 0 ? 7 : 1);
    }
    asked_to_leave(CONFORM_CUT_BEFORE);
    asked_to_leave(CONFORM_CUT_BEHIND);
    for (enum outage how = RESET; how <= SILENCE; how++) {
        over_an_outage(how, false);
        over_an_outage(how, true);
    }
}
