/* SPDX-License-Identifier: MIT */
/* tests/conformance/group_kill.c - group "kill": processes that die as by SIGKILL, at random points
 * under I/O that is verified.
 *
 * The target dies and comes back with its medium.  Where a process plays the adapter, it dies, too,
 * in turns with the target.  No completion is lost or comes twice, no acknowledged write is lost,
 * and no memory is touched when its request has ended. */
#include <stdlib.h>

#include "tests/conformance/conformance.h"

#define REGIONS 64u
#define LEN     4096u /* bytes of a region */
#define DEPTH   12u
#define KILLS   24u

struct region {
    unsigned acked,
        newest; /* salts: of the write that was acknowledged last, that was begun last */
    bool busy;  /* a request is about it */
};

struct request {
    uint8_t mem[LEN];
    unsigned region, salt;
    bool write, out; /* under way */
};

static struct kill {
    struct conform_world w;
    struct lunette_queue *q;
    struct region region[REGIONS];
    struct request rq[DEPTH];
    unsigned salts, done;
    uint8_t want[LEN];
} k;

static uint64_t
place(unsigned region)
{
    return (uint64_t)region * LEN;
}

static bool
region_has(unsigned region, unsigned salt)
{
    conform_fill(k.want, LEN, place(region), salt);
    return memcmp(k.w.disk + place(region), k.want, LEN) == 0;
}

/* What was acknowledged; each byte of what a write is under way to may be an old or a new one. */
static void
medium_has_what_was_acknowledged(void)
{
    static uint8_t before[LEN];

    for (unsigned i = 0; i < REGIONS; i++) {
        const struct region *r = &k.region[i];
        const uint8_t *has = k.w.disk + place(i);

        conform_fill(before, LEN, place(i), r->acked);
        conform_fill(k.want, LEN, place(i), r->newest);
        for (unsigned at = 0; at < LEN; at++)
            assert_true(has[at] == before[at] || has[at] == k.want[at]);
        if (!r->busy)
            assert_true(region_has(i, r->acked));
    }
}

static void
ask(struct request *rq)
{
    struct region *r;

    do {
        rq->region = (unsigned)conform_random(&k.w, REGIONS);
        r = &k.region[rq->region];
    } while (r->busy);
    r->busy = rq->out = true;
    rq->write = conform_random(&k.w, 3) != 0;
    if (rq->write) {
        r->newest = rq->salt = ++k.salts;
        conform_fill(rq->mem, LEN, place(rq->region), rq->salt);
        assert_int_equal(lunette_queue_write(k.q, rq->mem, LEN, place(rq->region), 0, rq), 0);
    } else {
        memset(rq->mem, 0x5a, LEN);
        assert_int_equal(lunette_queue_read(k.q, rq->mem, LEN, place(rq->region), rq), 0);
    }
}

static void
ended(const struct lunette_completion *c)
{
    struct request *rq = c->user_data;
    struct region *r = &k.region[rq->region];

    assert_true(rq->out);
    assert_int_equal(c->err, 0); /* the session is waited for */
    conform_fill(k.want, LEN, place(rq->region), rq->write ? rq->salt : r->acked);
    assert_memory_equal(rq->mem, k.want, LEN);
    if (rq->write)
        r->acked = rq->salt;
    memset(rq->mem, 0xee, LEN);
    r->busy = rq->out = false;
    k.done++;
}

/* One turn; memory that belongs to nobody's request stays as it is. */
static void
go_on(bool more)
{
    struct lunette_completion c[DEPTH];
    int n;

    for (unsigned i = 0; i < DEPTH; i++) {
        if (!k.rq[i].out && more)
            ask(&k.rq[i]);
    }
    conform_turn(&k.w);
    n = lunette_queue_poll(k.q, c, DEPTH, 0, 0);
    assert_true(n >= 0);
    for (int i = 0; i < n; i++)
        ended(&c[i]);
    for (unsigned i = 0; i < DEPTH; i++) {
        for (unsigned at = 0; at < LEN && !k.rq[i].out && k.done > DEPTH; at += 61)
            assert_true(k.rq[i].mem[at] == 0xee || k.rq[i].mem[at] == 0);
    }
}

/* Something dies, is away for a while, and comes back. */
static void
die_and_come_back(unsigned round)
{
    const struct conform_member *m = k.w.row->member;
    bool adapter = m->kill != NULL && round % 2 == 0;

    for (uint64_t turns = conform_random(&k.w, 60); turns > 0; turns--)
        go_on(true);
    if (adapter)
        m->kill(&k.w);
    else
        conform_target_kill(&k.w);
    medium_has_what_was_acknowledged();
    for (uint64_t turns = conform_random(&k.w, 20); turns > 0; turns--)
        go_on(true);
    if (adapter)
        m->revive(&k.w);
    else
        conform_target_start(&k.w);
}

void
conform_group_kill(void)
{
    const struct conform_setup setup = {.apart = true, .options = "replacement_timeout=60"};
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_lun *lun;
    unsigned links;

    memset(&k, 0, sizeof(k));
    conform_open(&k.w, &setup);
    for (unsigned i = 0; i < REGIONS; i++)
        conform_fill(k.w.disk + place(i), LEN, place(i), 0);
    lun = conform_lun(&k.w);
    CONFORM_OK(lunette_queue_new(lun, DEPTH, &k.q, &err), err);
    for (unsigned round = 0; round < KILLS; round++) {
        unsigned done = k.done;

        die_and_come_back(round);
        while (k.done < done + DEPTH)
            go_on(true);
    }
    while (lunette_queue_inflight(k.q) > 0)
        go_on(false);
    medium_has_what_was_acknowledged();
    links = conform_path_counts(k.w.path)->links;
    assert_true(links > KILLS / 4); /* most of them were noticed */
    lunette_queue_free(k.q);
    lunette_close(lun);
    conform_close(&k.w);
}
