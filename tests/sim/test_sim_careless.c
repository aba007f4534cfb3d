/* SPDX-License-Identifier: MIT */
/* tests/sim/test_sim_careless.c - programs that do whatever is allowed at the oddest moments of an
 * outage: from callbacks and between them, at random, from a seed. */
#include "tests/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world.h"
#include "wire/bhs.h"

#define BLOCK    512u
#define SESSIONS 3
#define LUNS     3 /* places; all of LUN 0, so that one is open at a time */
#define DEPTH    4
#define SEEDS    150
#define STEPS    400

struct careless_lun {
    struct careless *c;
    struct lunette_open *op;
    struct lunette_lun *lun;
    struct lunette_queue *q;
    uint8_t buf[DEPTH][BLOCK];
    unsigned sent, done;
};

struct careless_session {
    struct careless *c;
    struct lunette_open *op;
    struct lunette_session *s;
    struct careless_lun l[LUNS];
};

struct careless {
    struct world w;
    struct careless_session s[SESSIONS];
    uint64_t random;
    bool over; /* nothing new is begun */
    unsigned losts, backs, gones, timed_out, closes, ends, cancels, dones;
};

static uint32_t
below(struct careless *c, uint32_t n)
{
    c->random = c->random * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(c->random >> 33) % n;
}

static void
count(void *user)
{
    ++*(unsigned *)user;
}

/* ---- closing ---- */

static void
drop_queue(struct careless_lun *l)
{
    l->c->cancels += lunette_queue_cancel(l->q, l) > 0;
    lunette_queue_free(l->q);
    l->q = NULL;
}

static void
close_lun(struct careless_lun *l)
{
    lunette_open_cancel(l->op);
    l->op = NULL;
    if (l->lun == NULL || l->q != NULL)
        return;
    l->c->closes++;
    lunette_close_start(l->lun, count, &l->c->ends);
    l->lun = NULL;
}

/* As a program does that may not wait, in a callback: what has a queue stays. */
static void
close_session(struct careless_session *s)
{
    lunette_open_cancel(s->op);
    s->op = NULL;
    if (s->s == NULL)
        return;
    for (int i = 0; i < LUNS; i++) {
        if (s->l[i].q != NULL)
            return;
    }
    for (int i = 0; i < LUNS; i++)
        close_lun(&s->l[i]);
    s->c->closes++;
    lunette_session_close_start(s->s, count, &s->c->ends);
    s->s = NULL;
}

/* ---- opening ---- */

static void
lun_opened(void *user, struct lunette_lun *lun, const struct lunette_error *err)
{
    struct careless_lun *l = user;

    assert_true((lun == NULL) == (err != NULL));
    l->op = NULL;
    l->lun = lun;
}

static void
session_opened(void *user, struct lunette_session *session, const struct lunette_error *err)
{
    struct careless_session *s = user;

    assert_true((session == NULL) == (err != NULL));
    s->op = NULL;
    s->s = session;
    if (session != NULL && below(s->c, 8) == 0)
        close_session(s);
}

static void
open_any(struct careless_session *s, struct careless_lun *l)
{
    struct lunette_error err = LUNETTE_INIT(err);
    char url[600];
    int r;

    if (s->s == NULL && s->op == NULL) {
        /* two of them are the same initiator port, and steal the session from each other */
        (void)snprintf(url, sizeof(url), "%s%s", s->c->w.url,
                       s - s->c->s < 2 ? "&isid=800000000001" : "");
        r = lunette_session_open_start(s->c->w.ctx, url, 0, session_opened, s, &s->op, &err);
        if (r < 0)
            fail_msg("%s", err.msg);
    } else if (s->s != NULL && l->lun == NULL && l->op == NULL) {
        r = lunette_session_lun_start(s->s, 0, below(s->c, 2) ? 0 : LUNETTE_OPEN_RAW, lun_opened, l,
                                      &l->op, &err);
        if (r < 0)
            assert_true(err.code == r && err.msg[0] != 0); /* open already, or gone, and why */
    } else if (l->lun != NULL && l->q == NULL) {
        assert_int_equal(lunette_queue_new(l->lun, DEPTH, &l->q, &err), 0);
        l->sent = l->done = 0;
    }
}

/* ---- requests ---- */

static void
send_any(struct careless_lun *l)
{
    static const uint8_t tur[6];
    static struct lunette_scsi cmd;
    uint8_t *buf = l->buf[l->sent % DEPTH];
    int r;

    switch (below(l->c, 4)) {
    case 0:
        r = lunette_queue_read(l->q, buf, BLOCK, 0, l);
        break;
    case 1:
        r = lunette_queue_write(l->q, buf, BLOCK, BLOCK * below(l->c, 8), 0, l);
        break;
    case 2:
        cmd = (struct lunette_scsi){.cdb = tur, .cdb_len = 6};
        r = lunette_queue_scsi(l->q, &cmd, l);
        break;
    default:
        r = lunette_queue_flush(l->q, l);
        break;
    }
    assert_true(r == 0 || r == -EAGAIN || r == -ENOTCONN || r == -ENXIO || r == -EOPNOTSUPP);
    l->sent += r == 0;
}

static void
poll_any(struct careless_lun *l, int ms)
{
    struct lunette_completion done[DEPTH];
    int n = lunette_queue_poll(l->q, done, DEPTH, 1, ms);

    assert_true(n >= 0);
    for (int i = 0; i < n; i++) {
        l->done++;
        l->c->dones++;
        if (done[i].err != 0 && below(l->c, 2) == 0)
            (void)lunette_queue_cancel(l->q, l); /* all that is left */
    }
}

/* ---- the rest ---- */

static void
change_times(struct careless *c, struct lunette_session *s)
{
    static const int32_t waits[] = {0, -1, 1, 5, 60};
    struct lunette_timeouts t = LUNETTE_INIT(t);
    int r;

    assert_int_equal(lunette_session_get_timeouts(s, &t), 0);
    t.replacement_s = waits[below(c, 5)];
    t.noop_interval_ms = below(c, 2) * 500;
    t.noop_timeout_ms = 200 + below(c, 2000);
    t.command_ms = 500 + below(c, 5000);
    r = lunette_session_set_timeouts(s, &t, NULL);
    assert_true(r == 0 || r == -ENOTCONN);
}

static struct careless_session *
session_of(struct careless *c, const struct lunette_session *s)
{
    for (int i = 0; i < SESSIONS; i++) {
        if (c->s[i].s == s)
            return &c->s[i];
    }
    return NULL;
}

static void
on_event(void *user, const struct lunette_event *ev)
{
    struct careless *c = user;
    struct careless_session *s = session_of(c, ev->session);
    struct lunette_session_info info = LUNETTE_INIT(info);
    char text[300];

    assert_true(ev->type == LUNETTE_EVENT_DROPPED || s != NULL); /* none names what is closed */
    (void)lunette_event_text(ev, text, sizeof(text));
    c->losts += ev->type == LUNETTE_EVENT_CONN_LOST;
    c->backs += ev->type == LUNETTE_EVENT_RECOVERED;
    c->gones += ev->type == LUNETTE_EVENT_GONE;
    c->timed_out += ev->type == LUNETTE_EVENT_TIMED_OUT;
    if (s == NULL || c->over)
        return;
    assert_int_equal(lunette_session_get_info(s->s, &info), 0);
    switch (below(c, 8)) {
    case 0:
        close_session(s);
        break;
    case 1:
        close_lun(&s->l[below(c, LUNS)]);
        break;
    case 2:
        change_times(c, s->s);
        break;
    case 3:
        (void)lunette_session_reopen_now(s->s);
        break;
    case 4:
        open_any(s, &s->l[below(c, LUNS)]);
        break;
    case 5:
        for (int i = 0; i < LUNS; i++) {
            if (s->l[i].q != NULL)
                send_any(&s->l[i]);
        }
        break;
    default:
        break;
    }
}

static void
target_does(struct careless *c)
{
    struct target_faults f = {.drop_after_pdus = below(c, 2) * (1 + below(c, 100)),
                              .refuse_login = below(c, 4) == 0 ? 0x0203 : 0,
                              .mute_nop = below(c, 4) == 0,
                              .mute_tmf = below(c, 4) == 0,
                              .mute_login = below(c, 8) == 0};

    switch (below(c, 4)) {
    case 0:
        target_drop_connections(c->w.target);
        break;
    case 1:
        target_set_faults(c->w.target, &f);
        break;
    case 2:
        target_set_faults(c->w.target, NULL);
        break;
    default:
        target_tell_async(c->w.target, (uint8_t)(1 + below(c, 4)), (uint16_t)below(c, 4),
                          (uint16_t)below(c, 20));
        break;
    }
}

static void
pass(struct careless *c, uint32_t ms)
{
    uint64_t end = sim_now_ns(c->w.sim) + ms * LOOP_NS_PER_MS;

    while (sim_now_ns(c->w.sim) < end)
        assert_true(lunette_ctx_run(c->w.ctx, (int)ms) >= 0);
}

static void
step(struct careless *c)
{
    struct careless_session *s = &c->s[below(c, SESSIONS)];
    struct careless_lun *l = &s->l[below(c, LUNS)];

    switch (below(c, 16)) {
    case 0:
    case 1:
    case 2:
        open_any(s, l);
        pass(c, below(c, 20));
        break;
    case 3:
    case 4:
    case 5:
    case 6:
        if (l->q != NULL)
            send_any(l);
        break;
    case 7:
    case 8:
        if (l->q != NULL)
            poll_any(l, (int)below(c, 300));
        break;
    case 9:
        if (l->q != NULL && below(c, 3) == 0)
            drop_queue(l);
        break;
    case 10:
        if (below(c, 4) == 0)
            close_lun(l);
        break;
    case 11:
        if (below(c, 8) == 0)
            close_session(s);
        break;
    case 12:
        if (s->s != NULL)
            change_times(c, s->s);
        break;
    case 13:
        if (below(c, 3) == 0)
            target_does(c);
        break;
    case 14:
        if (l->q != NULL)
            c->cancels += lunette_queue_cancel(l->q, l) > 0;
        break;
    default:
        pass(c, below(c, 6) == 0 ? below(c, 20000) : below(c, 100));
        break;
    }
}

/* All is closed, in whatever state it is, and the context is freed at once. */
static void
leave(struct careless *c)
{
    c->over = true;
    for (int i = 0; i < SESSIONS; i++) {
        for (int k = 0; k < LUNS; k++) {
            if (c->s[i].l[k].q != NULL)
                drop_queue(&c->s[i].l[k]);
        }
        close_session(&c->s[i]);
    }
    world_free(&c->w);
    assert_int_equal(c->ends, c->closes);
}

static void
whatever_is_allowed(void **state)
{
    unsigned losts = 0, backs = 0, gones = 0, timed_out = 0, cancels = 0, dones = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct careless *c = calloc(1, sizeof(*c));
        struct world_config cfg = {
            .block = BLOCK,
            .options = "?replacement_timeout=10&timeout=3000&login_timeout=10000&reopen_max=3",
            .ipc_delay_ns = seed % 3 * 100000};

        assert_non_null(c);
        world_new(&c->w, seed, &cfg);
        c->random = seed;
        for (int i = 0; i < SESSIONS; i++) {
            c->s[i].c = c;
            for (int k = 0; k < LUNS; k++)
                c->s[i].l[k].c = c;
        }
        assert_int_equal(lunette_ctx_set_events(c->w.ctx, on_event, c), 0);
        for (int i = 0; i < STEPS; i++)
            step(c);
        leave(c);
        losts += c->losts;
        backs += c->backs;
        gones += c->gones;
        timed_out += c->timed_out;
        cancels += c->cancels;
        dones += c->dones;
        free(c);
    }
    if (losts < SEEDS || backs < SEEDS / 2 || gones == 0 || timed_out < SEEDS / 4 ||
        cancels < SEEDS || dones < SEEDS)
        fail_msg(
            "too little happened: %u lost, %u back, %u gone, %u timed out, %u canceled, %u done",
            losts, backs, gones, timed_out, cancels, dones);
}

static void
never_opened(void *user, struct lunette_lun *lun, const struct lunette_error *err)
{
    (void)user;
    (void)lun;
    (void)err;
    fail_msg("the opening was given up");
}

/* The opening of a LUN is given up in the middle, its session is closed, and lost then: it ends,
 * although nobody lets it in any more. */
static void
closed_and_then_lost(void **state)
{
    struct world_config cfg = {.block = BLOCK, .options = "?replacement_timeout=-1"};
    struct target_faults mute = {.mute = true, .mute_opcode = 0x12, .mute_login = true};
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_session *s;
    struct lunette_open *op;
    unsigned ends = 0;
    uint64_t end;
    struct world w;

    (void)state;
    world_new(&w, 1, &cfg);
    assert_int_equal(lunette_session_open(w.ctx, w.url, 0, &s, &err), 0);
    target_set_faults(w.target, &mute);
    assert_int_equal(lunette_session_lun_start(s, 0, 0, never_opened, NULL, &op, &err), 0);
    for (int i = 0; i < 20; i++)
        assert_true(lunette_ctx_run(w.ctx, 1) >= 0);
    lunette_open_cancel(op);
    lunette_session_close_start(s, count, &ends);
    target_drop_connections(w.target);
    end = sim_now_ns(w.sim) + 10 * LOOP_NS_PER_S;
    while (ends == 0 && sim_now_ns(w.sim) < end)
        assert_true(lunette_ctx_run(w.ctx, 100) >= 0);
    assert_int_equal(ends, 1);
    world_free(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(closed_and_then_lost),
                                       cmocka_unit_test(whatever_is_allowed)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
