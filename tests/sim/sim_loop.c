/* SPDX-License-Identifier: MIT */
/* tests/sim/sim_loop.c - the world's clock, its loops, randomness and names. */
#include "tests/sim/sim_loop.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "seam/shm.h"
#include "tests/sim/sim_priv.h"
#include "tests/support/steady_alloc.h"

#define DEFER_ROUNDS_MAX 16
#define START_NS         (1000 * LOOP_NS_PER_S) /* a clock that started at 0 would hide mistakes */
#define SCRATCH_SIZE     ((size_t)512 * 1024)
#define SCRATCH_ALIGN    ((size_t)4096)
#define SIM_FIRST_FD     1000000000 /* far from those of the real process */

const struct sim_config sim_rough = {
    .delay_min_us = 5,
    .delay_max_us = 3000,
    .turn_max_ns = 20000,
    .buffer = 20000,
    .split_percent = 50,
    .coalesce_percent = 40,
    .short_send_percent = 20,
    .short_recv_percent = 20,
    .spurious_percent = 10,
};

struct host {
    struct list node;
    char name[HOST_MAX + 1];
    int err, count;
    struct sock_addr addr[LOOP_RESOLVE_MAX];
};

struct at {
    struct sim_event event;
    struct list node;
    struct sim *sim;
    void (*fn)(void *user);
    void *user;
};

struct resolve {
    struct sim_event event;
    struct list node; /* sim_loop.resolves */
    struct sim_loop *loop;
    struct loop_work work;
    void (*done)(void *user, int err, const struct sock_addr *addr, int count);
    void *user;
    int err, count;
    struct sock_addr addr[LOOP_RESOLVE_MAX];
};

/* Randomness and the hash. */

/* splitmix64 (public domain). */
uint64_t
sim_random(struct sim *sim)
{
    uint64_t z = sim->rng += 0x9e3779b97f4a7c15ull;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

uint64_t
sim_below(struct sim *sim, uint64_t below)
{
    assert(below > 0);
    return sim_random(sim) % below;
}

bool
sim_chance(struct sim *sim, uint32_t percent)
{
    return percent > 0 && sim_below(sim, 100) < percent;
}

bool
sim_chance_ppm(struct sim *sim, uint32_t ppm)
{
    return ppm > 0 && sim_below(sim, 1000000) < ppm;
}

uint64_t
sim_delay_ns(struct sim *sim)
{
    uint64_t min = sim->cfg.delay_min_us * 1000ull, max = sim->cfg.delay_max_us * 1000ull;

    return min + sim_below(sim, max > min ? max - min : 1);
}

void
sim_note_bytes(struct sim *sim, const void *buf, size_t len)
{
    const unsigned char *p = buf;
    uint64_t h = sim->hash;

    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * 0x100000001b3ull;
    sim->hash = h;
}

void
sim_note(struct sim *sim, enum sim_note what, uint64_t a, uint64_t b)
{
    uint64_t all[] = {sim->now_ns, (uint64_t)what, a, b};

    sim_note_bytes(sim, all, sizeof(all));
}

uint64_t
sim_hash(const struct sim *sim)
{
    return sim->hash;
}

struct sim *
sim_of(struct loop *l)
{
    return sim_loop_of(l)->sim;
}

uint64_t
sim_now_ns(const struct sim *sim)
{
    return sim->now_ns;
}

/* Events of the world. */

void
sim_event_del(struct sim *sim, struct sim_event *e)
{
    if (e->node.queued)
        timerq_del(&sim->events, &e->node);
}

void
sim_event_at(struct sim *sim, struct sim_event *e, uint64_t when_ns)
{
    sim_event_del(sim, e);
    timerq_add(&sim->events, &e->node, when_ns > sim->now_ns ? when_ns : sim->now_ns);
}

static void
run_events(struct sim *sim)
{
    struct timerq_node *n;

    while ((n = timerq_first(&sim->events)) != NULL && n->when_ns <= sim->now_ns) {
        struct sim_event *e = container_of(n, struct sim_event, node);

        timerq_del(&sim->events, n);
        e->fn(e);
    }
}

static void
at_due(struct sim_event *e)
{
    struct at *a = container_of(e, struct at, event);

    list_del(&a->node);
    a->fn(a->user);
    steady_free(a);
}

void
sim_jump(struct sim *sim, uint64_t ns)
{
    sim->now_ns += ns;
}

void
sim_tap(struct sim *sim, uint32_t (*fn)(void *user, const struct sim_bytes *b), void *user)
{
    sim->tap = fn;
    sim->tap_user = user;
}

void
sim_at(struct sim *sim, uint64_t delay_ns, void (*fn)(void *user), void *user)
{
    struct at *a = steady_calloc(1, sizeof(*a));

    a->event.fn = at_due;
    a->sim = sim;
    a->fn = fn;
    a->user = user;
    list_push_back(&sim->ats, &a->node);
    sim_event_at(sim, &a->event, sim->now_ns + delay_ns);
}

/* A turn of one loop. */

static void
run_timers(struct sim_loop *l)
{
    uint64_t fresh = l->timers.seq;
    struct timerq_node *n;

    while ((n = timerq_first(&l->timers)) != NULL && n->when_ns <= l->pub.now_ns &&
           n->seq < fresh) {
        struct loop_timer *t = container_of(n, struct loop_timer, node);

        timerq_del(&l->timers, n);
        l->callbacks++;
        sim_note(l->sim, NOTE_TIMER, l->id, n->seq);
        t->fn(t);
    }
}

static void
run_works(struct sim_loop *l, struct list *from)
{
    struct list works, *n;

    list_init(&works);
    list_splice(&works, from);
    while ((n = list_pop_front(&works)) != NULL) {
        struct loop_work *w = container_of(n, struct loop_work, node);

        l->callbacks++;
        sim_note(l->sim, NOTE_WORK, l->id, 0);
        w->fn(w);
    }
}

static void
turn(struct sim_loop *l)
{
    struct sim *sim = l->sim;

    assert(!l->running && !l->process->killed); /* not from a callback */
    l->running = true;
    l->pub.now_ns = sim->now_ns;
    l->pub.stats.turns++;
    l->pub.stats.waits++;
    sim_note(sim, NOTE_TURN, l->id, 0);
    sim_dispatch_streams(l);
    run_timers(l);
    run_works(l, &l->posted);
    sim_dispatch_watches(l);
    for (int i = 0; i < DEFER_ROUNDS_MAX && !list_empty(&l->deferred); i++)
        run_works(l, &l->deferred);
    sim_reap_streams(l);
    l->running = false;
    sim->now_ns += 1 + sim_below(sim, sim->cfg.turn_max_ns);
    l->pub.now_ns = sim->now_ns;
    if (sim->after_turn != NULL)
        sim->after_turn(sim->after_turn_user);
}

void
sim_after_turn(struct sim *sim, void (*fn)(void *user), void *user)
{
    sim->after_turn = fn;
    sim->after_turn_user = user;
}

static bool
has_work(const struct sim_loop *l)
{
    const struct timerq_node *n = timerq_first(&l->timers);

    if (l->process->killed)
        return false;
    return !list_empty(&l->ready) || !list_empty(&l->deferred) || !list_empty(&l->posted) ||
           sim_watches_ready(l) || (n != NULL && n->when_ns <= l->sim->now_ns);
}

static uint64_t
earlier(uint64_t a, const struct timerq *q)
{
    const struct timerq_node *n = timerq_first(q);

    return n != NULL && n->when_ns < a ? n->when_ns : a;
}

/* The loop with work that the seed picks, or NULL. */
static struct sim_loop *
pick(struct sim *sim)
{
    struct sim_loop *found = NULL;
    uint64_t n = 0;

    LIST_FOREACH (p, &sim->loops) {
        struct sim_loop *l = container_of(p, struct sim_loop, node);

        if (!l->running && has_work(l) && sim_below(sim, ++n) == 0)
            found = l;
    }
    return found;
}

/* When something happens next, if not before `at`. */
static uint64_t
next_of_all(const struct sim *sim, uint64_t at)
{
    at = earlier(at, &sim->events);
    LIST_FOREACH (p, &sim->loops) {
        const struct sim_loop *waiting = container_of(p, struct sim_loop, node);

        if (!waiting->process->killed)
            at = earlier(at, &waiting->timers);
    }
    return at;
}

/* The others have their turns, as many as come before one of l. */
static void
turns_of_others(struct sim_loop *l)
{
    struct sim_loop *other;

    while (l->sim->together && (other = pick(l->sim)) != NULL && other != l) {
        turn(other);
        run_events(l->sim);
    }
}

static int
sim_run(struct loop *pub, int64_t timeout_ns)
{
    struct sim_loop *l = sim_loop_of(pub);
    struct sim *sim = l->sim;
    uint64_t before = l->callbacks, made;
    uint64_t deadline = timeout_ns < 0 ? UINT64_MAX : sim->now_ns + (uint64_t)timeout_ns;

    for (;;) {
        run_events(sim);
        turns_of_others(l);
        if (timeout_ns == 0 || has_work(l))
            turn(l);
        if (timeout_ns == 0 || l->callbacks != before || sim->now_ns >= deadline)
            break;
        if (!has_work(l)) {
            uint64_t next = sim->together ? next_of_all(sim, deadline)
                                          : earlier(earlier(deadline, &sim->events), &l->timers);

            if (next == UINT64_MAX)
                return -EDEADLK;
            if (next > sim->now_ns)
                sim->now_ns = next;
        }
    }
    pub->now_ns = sim->now_ns;
    made = l->callbacks - before;
    return made > INT_MAX ? INT_MAX : (int)made;
}

bool
sim_interleave(struct sim *sim)
{
    struct sim_loop *l = pick(sim);

    if (l != NULL)
        turn(l);
    return l != NULL;
}

void
sim_together(struct sim *sim, bool on)
{
    sim->together = on;
}

bool
sim_run_until(struct sim *sim, bool (*done)(void *user), void *user, uint64_t max_ns)
{
    uint64_t end = max_ns < UINT64_MAX - sim->now_ns ? sim->now_ns + max_ns : UINT64_MAX;

    while (done == NULL || !done(user)) {
        struct sim_loop *l;
        uint64_t next = UINT64_MAX;

        if (sim->now_ns >= end)
            return false;
        run_events(sim);
        l = pick(sim);
        if (l != NULL) {
            turn(l);
            continue;
        }
        next = next_of_all(sim, next);
        if (next == UINT64_MAX)
            return false;
        next = next < end ? next : end;
        if (next > sim->now_ns) /* the clock may have jumped beyond it */
            sim->now_ns = next;
    }
    return true;
}

/* The small operations. */

static int
sim_fd(struct loop *pub)
{
    (void)pub;
    return -ENOTSUP;
}

static void
sim_timer_start(struct loop *pub, struct loop_timer *t, uint64_t delay_ns)
{
    struct sim_loop *l = sim_loop_of(pub);
    uint64_t when;

    assert(t->fn != NULL);
    if (!l->running)
        pub->now_ns = l->sim->now_ns;
    when = delay_ns < UINT64_MAX - pub->now_ns ? pub->now_ns + delay_ns : UINT64_MAX;
    if (t->node.queued)
        timerq_del(&l->timers, &t->node);
    timerq_add(&l->timers, &t->node, when);
}

static void
sim_timer_stop(struct loop *pub, struct loop_timer *t)
{
    if (t->node.queued)
        timerq_del(&sim_loop_of(pub)->timers, &t->node);
}

static void
sim_defer(struct loop *pub, struct loop_work *w)
{
    list_push_back(&sim_loop_of(pub)->deferred, &w->node);
}

static void
sim_post(struct loop *pub, struct loop_work *w)
{
    list_push_back(&sim_loop_of(pub)->posted, &w->node);
}

static uint64_t
sim_loop_random(struct loop *pub)
{
    return sim_random(sim_loop_of(pub)->sim);
}

static int
sim_secure_random(struct loop *pub, void *buf, size_t len)
{
    unsigned char *p = buf;

    for (size_t i = 0; i < len; i++)
        p[i] = (unsigned char)sim_random(sim_loop_of(pub)->sim);
    return 0;
}

/* Names. */

static void
set_port(struct sock_addr *a, uint16_t port)
{
    if (a->ss.ss_family == AF_INET)
        ((struct sockaddr_in *)(void *)&a->ss)->sin_port = htons(port);
    else
        ((struct sockaddr_in6 *)(void *)&a->ss)->sin6_port = htons(port);
}

static bool
parse_numeric(const char *host, struct sock_addr *ret)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
    struct addrinfo *list = NULL;

    if (getaddrinfo(host, NULL, &hints, &list) != 0)
        return false;
    memset(ret, 0, sizeof(*ret));
    memcpy(&ret->ss, list->ai_addr, list->ai_addrlen);
    ret->len = list->ai_addrlen;
    freeaddrinfo(list);
    return true;
}

static struct host *
find_host(struct sim *sim, const char *name)
{
    LIST_FOREACH (n, &sim->hosts) {
        struct host *h = container_of(n, struct host, node);

        if (strcasecmp(h->name, name) == 0)
            return h;
    }
    return NULL;
}

void
sim_host(struct sim *sim, const char *name, int err, const char *const *numeric, int count)
{
    struct host *h = find_host(sim, name);

    assert(strlen(name) <= HOST_MAX && count >= 0 && count <= LOOP_RESOLVE_MAX);
    assert(err < 0 ? count == 0 : count > 0);
    if (h == NULL) {
        h = steady_calloc(1, sizeof(*h));
        memcpy(h->name, name, strlen(name) + 1);
        list_push_back(&sim->hosts, &h->node);
    }
    h->err = err;
    h->count = count;
    for (int i = 0; i < count; i++) {
        bool ok = parse_numeric(numeric[i], &h->addr[i]);

        assert(ok);
        (void)ok;
    }
}

static void
resolve_finish(struct loop_work *w)
{
    struct resolve *r = container_of(w, struct resolve, work);

    list_del(&r->node);
    sim_note(r->loop->sim, NOTE_RESOLVED, (uint64_t)r->err, (uint64_t)r->count);
    r->done(r->user, r->err, r->count > 0 ? r->addr : NULL, r->count);
    steady_free(r);
}

static void
resolve_due(struct sim_event *e)
{
    struct resolve *r = container_of(e, struct resolve, event);

    list_push_back(&r->loop->posted, &r->work.node);
}

static int
sim_resolve(struct loop *pub, const char *host, uint16_t port,
            void (*done)(void *user, int err, const struct sock_addr *addr, int count), void *user,
            struct resolve **ret)
{
    struct sim_loop *l = sim_loop_of(pub);
    const struct host *h = find_host(l->sim, host);
    struct resolve *r;

    assert(done != NULL);
    if (host[0] == '\0' || strlen(host) > HOST_MAX)
        return -EINVAL;
    r = steady_calloc(1, sizeof(*r));
    r->event.fn = resolve_due;
    r->loop = l;
    r->done = done;
    r->user = user;
    loop_work_init(&r->work, resolve_finish);
    if (parse_numeric(host, &r->addr[0])) {
        r->count = 1;
    } else if (h != NULL) {
        r->err = h->err;
        r->count = h->count;
        memcpy(r->addr, h->addr, sizeof(r->addr));
    } else {
        r->err = -ENOENT;
    }
    for (int i = 0; i < r->count; i++)
        set_port(&r->addr[i], port);
    sim_event_at(l->sim, &r->event, l->sim->now_ns + 2 * sim_delay_ns(l->sim));
    list_push_back(&l->resolves, &r->node);
    *ret = r;
    return 0;
}

static void
sim_resolve_cancel(struct loop *pub, struct resolve *r)
{
    struct sim_loop *l = sim_loop_of(pub);

    assert(r->loop == l);
    list_del(&r->node);
    sim_event_del(l->sim, &r->event);
    list_del(&r->work.node);
    steady_free(r);
}

/* Making and freeing. */

void
sim_configure(struct sim *sim, const struct sim_config *cfg)
{
    static const struct sim_config none;
    struct sim_config *c = &sim->cfg;

    *c = cfg != NULL ? *cfg : none;
    if (c->delay_max_us == 0) {
        c->delay_min_us = 20;
        c->delay_max_us = 200;
    }
    if (c->turn_max_ns == 0)
        c->turn_max_ns = 2000;
    if (c->buffer == 0)
        c->buffer = 128 * 1024;
    if (c->connect_timeout_ms == 0)
        c->connect_timeout_ms = 127000;
}

struct sim *
sim_new(uint64_t seed, const struct sim_config *cfg)
{
    static const char *const local[] = {"127.0.0.1", "::1"};
    struct sim *sim = steady_calloc(1, sizeof(*sim));

    sim->rng = seed;
    sim->hash = 0xcbf29ce484222325ull;
    sim->now_ns = START_NS;
    sim->next_port = 40000;
    list_init(&sim->loops);
    list_init(&sim->conns);
    list_init(&sim->listeners);
    list_init(&sim->cut_off);
    list_init(&sim->rules);
    list_init(&sim->hosts);
    list_init(&sim->ats);
    list_init(&sim->fds);
    list_init(&sim->processes);
    list_init(&sim->memories);
    sim->next_fd = SIM_FIRST_FD;
    sim_set_reaping(sim, 0);
    sim_configure(sim, cfg);
    sim_host(sim, "localhost", 0, local, 2);
    return sim;
}

static void
sim_loop_close_fd(struct loop *l, int fd)
{
    sim_process_close_fd(sim_loop_of(l)->process, fd);
}

static const struct loop_ops sim_ops = {
    .name = "sim",
    .run = sim_run,
    .fd = sim_fd,
    .timer_start = sim_timer_start,
    .timer_stop = sim_timer_stop,
    .defer = sim_defer,
    .post = sim_post,
    .random = sim_loop_random,
    .secure_random = sim_secure_random,
    .resolve = sim_resolve,
    .resolve_cancel = sim_resolve_cancel,
    .connect = sim_connect,
    .listen = sim_listen,
    .adopt = sim_adopt,
    .adopt_listener = sim_adopt_listener,
    .release = sim_release,
    .set_events = sim_set_events,
    .sendv = sim_sendv,
    .recvv = sim_recvv,
    .set_rcvlowat = sim_set_rcvlowat,
    .set_opts = sim_set_opts,
    .lend = sim_lend,
    .unacked = sim_unacked,
    .unread = sim_unread,
    .names = sim_names,
    .peer_cred = sim_peer_cred,
    .close = sim_close,
    .reset = sim_reset,
    .close_fd = sim_loop_close_fd,
    .watch = sim_watch,
    .unwatch = sim_unwatch,
    .packets = &sim_packet_ops,
};

static struct loop *
loop_of_process(struct sim *sim, struct sim_process *p)
{
    struct sim_loop *l = steady_calloc(1, sizeof(*l));

    l->process = p;
    l->pub.shm = &sim_shm_ops;
    l->pub.ops = &sim_ops;
    l->pub.now_ns = sim->now_ns;
    l->pub.scratch_size = SCRATCH_SIZE;
    l->scratch = steady_calloc(1, SCRATCH_SIZE + SCRATCH_ALIGN);
    l->pub.scratch =
        l->scratch + (SCRATCH_ALIGN - (uintptr_t)l->scratch % SCRATCH_ALIGN) % SCRATCH_ALIGN;
    l->sim = sim;
    l->id = sim->nloops++;
    list_init(&l->deferred);
    list_init(&l->posted);
    list_init(&l->ready);
    list_init(&l->dead);
    list_init(&l->watches);
    list_init(&l->resolves);
    list_push_back(&sim->loops, &l->node);
    sim_rdma_new_loop(sim, l);
    return &l->pub;
}

struct loop *
sim_loop(struct sim *sim)
{
    return loop_of_process(sim, sim_process_new(sim));
}

struct loop *
sim_loop_beside(struct loop *l)
{
    return loop_of_process(sim_loop_of(l)->sim, sim_loop_of(l)->process);
}

/* The program of a process that was killed need not have given anything back. */
static void
drop_dead_loop(struct sim_loop *l)
{
    struct timerq_node *t;

    sim_watches_drop(l);
    while (!list_empty(&l->resolves))
        sim_resolve_cancel(&l->pub, container_of(l->resolves.next, struct resolve, node));
    while ((t = timerq_first(&l->timers)) != NULL)
        timerq_del(&l->timers, t);
    while (list_pop_front(&l->deferred) != NULL || list_pop_front(&l->posted) != NULL) {
    }
    l->pub.tx.taken = 0;
}

static void
sim_loop_free(struct sim_loop *l)
{
    assert(!l->running);
    if (l->process->killed)
        drop_dead_loop(l);
    assert(l->streams == 0);
    assert(list_empty(&l->resolves));
    assert(list_empty(&l->watches));
    assert(timerq_first(&l->timers) == NULL);
    sim_reap_streams(l);
    list_del(&l->node);
    pool_fini(&l->pub.tx);
    steady_free(l->scratch);
    steady_free(l);
}

void
sim_free(struct sim *sim)
{
    struct list *n;

    if (sim == NULL)
        return;
    sim_rdma_free(sim);
    sim_shm_drop_dead(sim);
    sim_net_drop_dead(sim);
    while (!list_empty(&sim->loops))
        sim_loop_free(container_of(sim->loops.next, struct sim_loop, node));
    sim_net_free(sim);
    sim_shm_free(sim);
    sim_processes_free(sim);
    sim_watch_free(sim);
    while ((n = list_pop_front(&sim->hosts)) != NULL)
        steady_free(container_of(n, struct host, node));
    while ((n = list_pop_front(&sim->ats)) != NULL) {
        struct at *a = container_of(n, struct at, node);

        sim_event_del(sim, &a->event);
        steady_free(a);
    }
    assert(timerq_first(&sim->events) == NULL);
    steady_free(sim);
}
