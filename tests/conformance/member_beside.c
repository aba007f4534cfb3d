/* SPDX-License-Identifier: MIT */
/* tests/conformance/member_beside.c - offload_session with a second client of the same engine, a
 * process of its own, which reads and writes beside and is the process that the group "kill" kills
 * in the place of the engine.  The test's own requests go through the same login all the time. */
#include <stdlib.h>

#include "offload/offload.h"
#include "tests/conformance/conformance.h"
#include "tests/conformance/member_offload.h"
#include "tests/sim/sim_loop.h"

#define PLACES 6u
#define LEN    4096u
#define FIRST  (4u << 20) /* byte of the medium, far behind what the test uses */
#define LIVES  32

struct place {
    uint8_t mem[LEN], want[LEN];
    unsigned acked, newest, number;
    bool busy, write;
};

static struct beside {
    struct loop *loop; /* NULL: it is dead */
    struct lunette_ctx *ctx;
    struct lunette_lun *lun;
    struct lunette_queue *q;
    struct lunette_open *op;
    struct place place[PLACES];
    unsigned salts, done, lives;
    /* What those had that were killed, for whoever looks for leaks. */
    void *dead[LIVES][4];
} b;

static uint64_t
where(const struct place *p)
{
    return FIRST + (uint64_t)p->number * LEN;
}

/* ---- its requests ---------------------------------------------------------------------------- */

static void
ask(struct conform_world *w, struct place *p)
{
    p->busy = true;
    p->write = conform_random(w, 2) == 0;
    if (p->write) {
        p->newest = ++b.salts;
        conform_fill(p->mem, LEN, where(p), p->newest);
        assert_int_equal(lunette_queue_write(b.q, p->mem, LEN, where(p), 0, p), 0);
    } else {
        memset(p->mem, 0x5a, LEN);
        assert_int_equal(lunette_queue_read(b.q, p->mem, LEN, where(p), p), 0);
    }
}

static void
ended(const struct lunette_completion *c)
{
    struct place *p = c->user_data;

    assert_true(p->busy);
    assert_int_equal(c->err, 0); /* the session is waited for */
    if (p->write)
        p->acked = p->newest;
    conform_fill(p->want, LEN, where(p), p->acked);
    assert_memory_equal(p->mem, p->want, LEN);
    p->busy = false;
    b.done++;
}

static void
opened(void *user, struct lunette_lun *lun, const struct lunette_error *err)
{
    struct lunette_error why = LUNETTE_INIT(why);

    (void)user;
    b.op = NULL;
    if (lun == NULL)
        return; /* the target is down: it is asked again */
    (void)err;
    b.lun = lun;
    CONFORM_OK(lunette_queue_new(lun, PLACES, &b.q, &why), why);
}

static void
turn(struct conform_world *w, bool more)
{
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_completion c[PLACES];
    int n;

    if (b.q == NULL) {
        if (b.op == NULL && b.lun == NULL && more)
            CONFORM_OK(lunette_open_start(b.ctx, w->url, 0, opened, NULL, &b.op, &err), err);
        return;
    }
    for (unsigned i = 0; i < PLACES && more; i++) {
        if (!b.place[i].busy && conform_random(w, 4) == 0)
            ask(w, &b.place[i]);
    }
    n = lunette_queue_poll(b.q, c, PLACES, 0, 0);
    assert_true(n >= 0);
    for (int i = 0; i < n; i++)
        ended(&c[i]);
}

static void
beside_check(struct conform_world *w)
{
    conform_check_sessions(w);
    if (b.loop != NULL && w->url[0] != '\0')
        turn(w, true);
}

/* ---- its life -------------------------------------------------------------------------------- */

static void
beside_revive(struct conform_world *w)
{
    struct lunette_ctx_options opts = {.struct_size = sizeof(opts), .initiator_name = CONFORM_NAME};
    struct lunette_error err = LUNETTE_INIT(err);
    struct api_hooks hooks = {0};

    b.loop = hooks.loop = sim_loop(conform_simulator(w));
    b.ctx = NULL;
    b.lun = NULL;
    b.q = NULL;
    b.op = NULL;
    CONFORM_OK(api_ctx_new(&opts, &hooks, &b.ctx, &err), err);
}

/* What it had acknowledged is there; what it was writing may be there, in part too. */
static void
beside_kill(struct conform_world *w)
{
    unsigned enough = b.done + 1 + (unsigned)conform_random(w, 40);
    void *had[4];

    CONFORM_UNTIL(w, b.done >= enough); /* it is in the middle of its work */
    had[0] = b.ctx;
    had[1] = b.lun;
    had[2] = b.q;
    had[3] = b.op;
    assert_true(b.lives < LIVES);
    sim_process_kill(b.loop);
    b.loop = NULL;
    memcpy(b.dead[b.lives++], had, sizeof(had));
    for (unsigned i = 0; i < PLACES; i++) {
        struct place *p = &b.place[i];
        const uint8_t *has = w->disk + where(p);

        conform_fill(p->want, LEN, where(p), p->acked);
        if (p->busy && p->write)
            conform_fill(p->mem, LEN, where(p), p->newest);
        else
            memcpy(p->mem, p->want, LEN);
        for (unsigned k = 0; k < LEN; k++)
            assert_true(has[k] == p->want[k] || has[k] == p->mem[k]);
        p->number += PLACES; /* another place: what is under way to this one may come yet */
        p->acked = p->newest = 0;
        p->busy = false;
        conform_fill(w->disk + where(p), LEN, where(p), 0);
    }
}

static void
beside_begin(struct conform_world *w)
{
    memset(&b, 0, sizeof(b));
    conform_offload_begin(w);
    for (unsigned i = 0; i < PLACES; i++) {
        b.place[i].number = i;
        conform_fill(w->disk + where(&b.place[i]), LEN, where(&b.place[i]), 0);
    }
    beside_revive(w);
}

static void
beside_end(struct conform_world *w)
{
    assert_true(b.done > b.lives); /* it was there */
    while (b.q != NULL && lunette_queue_inflight(b.q) > 0) {
        turn(w, false);
        assert_true(loop_run(b.loop, (int64_t)CONFORM_MS) >= 0);
    }
    lunette_queue_free(b.q);
    lunette_open_cancel(b.op);
    lunette_close(b.lun);
    lunette_ctx_free(b.ctx);
    b.loop = NULL;
    conform_offload_end(w);
}

const struct conform_member conform_offload_beside = {.name = "offload_beside",
                                                      .tt = &offload_session_transport,
                                                      .options = CONFORM_OFFLOAD_OPTIONS,
                                                      .ep_options = CONFORM_OFFLOAD_EP_OPTIONS,
                                                      .begin = beside_begin,
                                                      .end = beside_end,
                                                      .check = beside_check,
                                                      .kill = beside_kill,
                                                      .revive = beside_revive,
                                                      .record = conform_offload_record,
                                                      .forget = conform_offload_forget};
