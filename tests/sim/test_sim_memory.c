/* SPDX-License-Identifier: MIT */
/* tests/sim/test_sim_memory.c - allocations fail while a session is closed: it is logged out all
 * the same, once there is memory again, and nothing of it stays.  And while it is lost: it comes
 * back, what waits is served, and whoever asks for something new is served or told. */
#include "tests/test.h"

#include <errno.h>

#include "tests/sim/world.h"
#include "tests/support/alloc_fail.h"

static struct lunette_lun *
start(struct world *w)
{
    struct world_config cfg = {.block = 512, .options = ""};
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_lun *lun = NULL;

    world_new(w, 1, &cfg);
    if (lunette_open(w->ctx, w->url, LUNETTE_OPEN_SESSION, &lun, &err) < 0)
        fail_msg("%s", err.msg);
    return lun;
}

/* Where there is no disk to be flushed, the first allocation of a close is that of its logout. */
static void
a_logout_without_memory_is_tried_again(void **state)
{
    struct lunette_lun *lun;
    struct world w;

    (void)state;
    lun = start(&w);
    alloc_left = 0;
    lunette_close(lun);
    assert_true(alloc_left < 0); /* it has failed */
    for (int i = 0; i < 10; i++)
        assert_int_equal(lunette_ctx_run(w.ctx, 10), 0);
    assert_int_equal(dataplane_busy(w.ctx->dp), 0);
    world_free(&w);
}

/* ---- an outage without memory ---- */

#define BLOCK 512
#define DEPTH 8

struct outage {
    struct world w;
    struct lunette_session *s;
    struct lunette_lun *lun;
    struct lunette_queue *q;
    uint8_t buf[DEPTH][BLOCK];
    unsigned sent, done, errors;
    bool lun_told, session_told;
    struct lunette_lun *lun1;
    struct lunette_session *other;
};

static void
told_lun(void *user, struct lunette_lun *lun, const struct lunette_error *err)
{
    struct outage *o = user;

    assert_true((lun == NULL) == (err != NULL));
    o->lun1 = lun;
    o->lun_told = true;
}

static void
told_session(void *user, struct lunette_session *s, const struct lunette_error *err)
{
    struct outage *o = user;

    assert_true((s == NULL) == (err != NULL));
    o->other = s;
    o->session_told = true;
}

static void
outage_begin(struct outage *o)
{
    struct world_config cfg = {.block = BLOCK,
                               .options = "?replacement_timeout=60&default_time2wait=0"};
    struct lunette_error err = LUNETTE_INIT(err);

    *o = (struct outage){.sent = 0};
    world_new(&o->w, 1, &cfg);
    assert_int_equal(lunette_session_open(o->w.ctx, o->w.url, 0, &o->s, &err), 0);
    assert_int_equal(lunette_session_lun(o->s, 0, 0, &o->lun, &err), 0);
    assert_int_equal(lunette_queue_new(o->lun, DEPTH, &o->q, &err), 0);
}

static void
outage_send(struct outage *o)
{
    int r = o->sent % 2 != 0
                ? lunette_queue_read(o->q, o->buf[o->sent % DEPTH], BLOCK, 0, o)
                : lunette_queue_write(o->q, o->buf[o->sent % DEPTH], BLOCK, 4096, 0, o);

    assert_true(r == 0 || r == -ENOMEM || r == -EAGAIN);
    o->sent += r == 0;
}

static void
outage_poll(struct outage *o, int ms)
{
    struct lunette_completion c[DEPTH];
    int n = lunette_queue_poll(o->q, c, DEPTH, 1, ms);

    if (n == -ENOMEM)
        return;
    assert_true(n >= 0);
    for (int i = 0; i < n; i++) {
        o->done++;
        o->errors += c[i].err != 0;
        assert_true(c[i].err == 0 || c[i].err == -ENOMEM);
    }
}

/* Each of the calls is served, or refused for want of memory. */
static void
outage_ask(struct outage *o)
{
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_timeouts t = LUNETTE_INIT(t);
    struct lunette_scsi tur = {.cdb = (const uint8_t[6]){0}, .cdb_len = 6};
    struct lunette_event ev = LUNETTE_INIT(ev);
    struct lunette_queue *q = NULL;
    int r;

    while (lunette_ctx_next_event(o->w.ctx, &ev) == 0)
        ;
    assert_int_equal(lunette_queue_new(o->lun, 4, &q, &err), -ENOMEM);
    assert_int_equal(lunette_queue_scsi(o->q, &tur, o), -ENOMEM);
    assert_int_equal(lunette_session_get_timeouts(o->s, &t), 0);
    t.replacement_s++;
    r = lunette_session_set_timeouts(o->s, &t, &err);
    assert_true(r == 0 || r == -ENOMEM);
    r = lunette_session_lun_start(o->s, 0, LUNETTE_OPEN_RAW, told_lun, o, NULL, &err);
    assert_true(r < 0);
    r = lunette_session_open_start(o->w.ctx, o->w.url, 0, told_session, o, NULL, &err);
    assert_int_equal(r, -ENOMEM);
    r = lunette_queue_cancel(o->q, &r);
    assert_int_equal(r, -ENOENT);
}

static void
outage_end(struct outage *o)
{
    struct lunette_error err = LUNETTE_INIT(err);
    uint8_t buf[BLOCK];

    assert_int_equal(lunette_pread(o->lun, buf, BLOCK, 0, &err), 0);
    lunette_queue_free(o->q);
    lunette_close(o->lun);
    lunette_session_close(o->s);
    assert_int_equal(dataplane_busy(o->w.ctx->dp), 0);
    world_free(&o->w);
}

/* There is no memory for ms milliseconds, beginning so long after or before the loss. */
static void
no_memory_in_an_outage(void **state)
{
    (void)state;
    for (int at = 0; at < 12; at++) {
        for (int ms = 1; ms <= 4096; ms *= 4) {
            struct outage o;
            uint64_t end;

            outage_begin(&o);
            for (int i = 0; i < 3; i++)
                outage_send(&o);
            if (at > 0)
                target_drop_connections(o.w.target);
            for (int i = 0; i < at; i++)
                assert_true(lunette_ctx_run(o.w.ctx, 1) >= 0);
            alloc_none = true;
            if (at == 0)
                target_drop_connections(o.w.target);
            outage_ask(&o);
            end = sim_now_ns(o.w.sim) + (uint64_t)ms * LOOP_NS_PER_MS;
            while (sim_now_ns(o.w.sim) < end)
                outage_poll(&o, ms);
            outage_send(&o);
            alloc_none = false;
            end = sim_now_ns(o.w.sim) + 20 * LOOP_NS_PER_S;
            while (o.done < o.sent && sim_now_ns(o.w.sim) < end)
                outage_poll(&o, 1000);
            assert_int_equal(o.done, o.sent);
            outage_end(&o);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_logout_without_memory_is_tried_again),
        cmocka_unit_test(no_memory_in_an_outage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
