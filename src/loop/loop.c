/* SPDX-License-Identifier: MIT */
/* loop/loop.c - the turn of the loop, and all that is the same for epoll and io_uring: timers,
 * deferred and posted work, the clock, randomness.
 */
#include "loop/real.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define SCRATCH_SIZE     ((size_t)512 * 1024)
#define SCRATCH_ALIGN    4096
#define SPIN_PROBE       32   /* after that many shortened polls one of full length is tried */
#define SPIN_MIN_NS      1000 /* a poll that would be shorter is not worth it */
#define DEFER_ROUNDS_MAX 16   /* how often a turn runs the work that deferred work has deferred */

static uint64_t
real_clock_ns(void)
{
    struct timespec ts;
    int r = clock_gettime(CLOCK_MONOTONIC, &ts);

    assert(r == 0);
    (void)r;
    return (uint64_t)ts.tv_sec * LOOP_NS_PER_S + (uint64_t)ts.tv_nsec;
}

static uint64_t
real_clock(struct loop *l)
{
    (void)l;
    return real_clock_ns();
}

/* The turn. */

static int
wait_ready(struct real_loop *l, int64_t timeout_ns)
{
    int r;

    l->pub.stats.waits++;
    l->kicked = false;
    r = l->poller->ops->wait(l->poller, timeout_ns);
    l->pub.now_ns = real_clock_ns();
    return r;
}

/* Returns how long the turn may sleep, in nanoseconds: 0 not at all, -1 without a limit.  now_ns
 * must have just been read. */
static int64_t
sleep_ns(struct real_loop *l, uint64_t deadline_ns)
{
    struct timerq_node *first = timerq_first(&l->timers);
    uint64_t until = deadline_ns;

    if (real_busy(l))
        return 0;
    if (first != NULL && first->when_ns < until)
        until = first->when_ns;
    if (until == UINT64_MAX)
        return -1;
    if (until <= l->pub.now_ns)
        return 0;
    return until - l->pub.now_ns > INT64_MAX ? INT64_MAX : (int64_t)(until - l->pub.now_ns);
}

/* Returns how long to poll before sleeping.  To poll is worth it if an event comes within spin_ns,
 * since to be put to sleep and woken costs more than that.  After a poll in which nothing came the
 * next one is half as long, down to none, and only each SPIN_PROBE-th has the full length, to find
 * out whether events come early enough again. */
static uint64_t
spin_budget(struct real_loop *l)
{
    if (l->spin_now < l->spin_ns && ++l->spin_skipped >= SPIN_PROBE) {
        l->spin_skipped = 0;
        return l->spin_ns;
    }
    return l->spin_now;
}

static int
wait_turn(struct real_loop *l, uint64_t deadline_ns)
{
    int64_t timeout_ns = sleep_ns(l, deadline_ns);
    uint64_t budget, end;

    if (timeout_ns == 0 || l->spin_ns == 0)
        return wait_ready(l, timeout_ns);
    budget = spin_budget(l);
    end = l->pub.now_ns + budget;
    while (l->pub.now_ns < end) {
        int r = wait_ready(l, 0);

        timeout_ns = sleep_ns(l, deadline_ns);
        if (r < 0)
            return r;
        if (timeout_ns == 0) {
            l->spin_now = l->spin_ns;
            return r;
        }
    }
    if (budget == l->spin_now)
        l->spin_now = budget / 2 < SPIN_MIN_NS ? 0 : budget / 2;
    return wait_ready(l, timeout_ns);
}

static void
run_timers(struct real_loop *l)
{
    uint64_t fresh =
        l->timers.seq; /* timers that are started from here on wait for the next turn */
    struct timerq_node *n;

    while ((n = timerq_first(&l->timers)) != NULL && n->when_ns <= l->pub.now_ns &&
           n->seq < fresh) {
        struct loop_timer *t = container_of(n, struct loop_timer, node);

        timerq_del(&l->timers, n);
        l->callbacks++;
        t->fn(t);
    }
}

static void
run_works(struct real_loop *l)
{
    struct list *n;

    while ((n = list_pop_front(&l->works)) != NULL) {
        struct loop_work *w = container_of(n, struct loop_work, node);

        l->callbacks++;
        w->fn(w);
    }
}

static void
run_posted(struct real_loop *l)
{
    if (!mailbox_any(l->mail))
        return;
    mailbox_take(l->mail, &l->works);
    run_works(l);
}

static void
run_deferred(struct real_loop *l)
{
    for (int i = 0; i < DEFER_ROUNDS_MAX && !list_empty(&l->deferred); i++) {
        list_splice(&l->works, &l->deferred);
        run_works(l);
    }
}

static int
real_turn(struct real_loop *l, uint64_t deadline_ns)
{
    int r = wait_turn(l, deadline_ns);

    if (r < 0 && r != -EINTR)
        return r;
    l->pub.stats.turns++;
    real_dispatch_streams(l);
    run_timers(l);
    run_posted(l);
    run_deferred(l);
    real_reap_streams(l, false);
    return r;
}

static int
real_run(struct loop *pub, int64_t timeout_ns)
{
    struct real_loop *l = real_loop(pub);
    uint64_t before = l->callbacks, deadline_ns = 0, made;
    int r;

    assert(!l->running); /* a callback must not run the loop */
    l->running = true;
    if (timeout_ns != 0) {
        pub->now_ns = real_clock_ns();
        deadline_ns = timeout_ns < 0 ? UINT64_MAX : pub->now_ns + (uint64_t)timeout_ns;
    }
    do {
        r = real_turn(l, deadline_ns);
    } while (r == 0 && l->callbacks == before && pub->now_ns < deadline_ns);
    l->running = false;
    real_changed(l);
    if (r < 0 && r != -EINTR)
        return r;
    made = l->callbacks - before;
    return made > INT_MAX ? INT_MAX : (int)made;
}

/* The small operations. */

static void
real_timer_start(struct loop *pub, struct loop_timer *t, uint64_t delay_ns)
{
    struct real_loop *l = real_loop(pub);
    uint64_t when;

    assert(t->fn != NULL);
    if (!l->running) /* outside a turn now_ns may be old */
        pub->now_ns = real_clock_ns();
    when = delay_ns < UINT64_MAX - pub->now_ns ? pub->now_ns + delay_ns : UINT64_MAX;
    if (t->node.queued)
        timerq_del(&l->timers, &t->node);
    timerq_add(&l->timers, &t->node, when);
    real_changed(l);
}

static void
real_timer_stop(struct loop *pub, struct loop_timer *t)
{
    if (t->node.queued)
        timerq_del(&real_loop(pub)->timers, &t->node);
}

static void
real_defer(struct loop *pub, struct loop_work *w)
{
    struct real_loop *l = real_loop(pub);

    assert(w->fn != NULL);
    list_push_back(&l->deferred, &w->node);
    real_changed(l);
}

static void
real_post(struct loop *pub, struct loop_work *w)
{
    bool ok;

    assert(w->fn != NULL);
    ok = mailbox_post(real_loop(pub)->mail, w);
    assert(ok); /* the caller must know that the loop still exists */
    (void)ok;
}

static uint64_t
rotl(uint64_t v, int n)
{
    return v << n | v >> (64 - n);
}

/* xoshiro256**, by Blackman and Vigna (public domain). */
static uint64_t
real_random(struct loop *pub)
{
    uint64_t *s = real_loop(pub)->rng, ret = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return ret;
}

static int
system_random(void *buf, size_t len)
{
    char *p = buf;

    while (len > 0) {
        ssize_t r = getrandom(p, len, GRND_NONBLOCK);

        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return -errno;
        p += r;
        len -= (size_t)r;
    }
    return 0;
}

static int
real_secure_random(struct loop *pub, void *buf, size_t len)
{
    pub->stats.syscalls++;
    return system_random(buf, len);
}

static const struct loop_ops real_ops_epoll, real_ops_uring;

/* Making and freeing. */

static int
open_poller(enum loop_kind kind, struct real_loop *l, struct lunette_error *err)
{
    int r;

    if (kind != LOOP_EPOLL) {
        r = poller_uring_new(&l->pub.stats, &l->poller);
        if (r == 0) {
            l->pub.ops = &real_ops_uring;
            return 0;
        }
        if (kind == LOOP_URING)
            return lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r,
                                "io_uring is not usable here (%s); choose the epoll loop",
                                r == -EPERM    ? "forbidden by sysctl or container policy"
                                : r == -ENOSYS ? "the kernel or this build lacks it"
                                               : errno_text(-r));
    }
    r = poller_epoll_new(&l->pub.stats, &l->poller);
    if (r < 0)
        return lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r, "epoll: %s", errno_text(-r));
    l->pub.ops = &real_ops_epoll;
    return 0;
}

static int
open_mailbox(struct real_loop *l)
{
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

    if (fd < 0)
        return -errno;
    l->mail = mailbox_new(fd);
    if (l->mail == NULL) {
        (void)close(fd);
        return -ENOMEM;
    }
    l->wake = (struct pollee){.fd = fd, .ready = real_woken};
    return l->poller->ops->add(l->poller, &l->wake);
}

static void
seed_random(struct real_loop *l)
{
    if (system_random(l->rng, sizeof(l->rng)) < 0) { /* early in boot, and then jitter is weak */
        l->rng[0] = real_clock_ns();
        l->rng[1] = (uint64_t)(uintptr_t)l;
    }
    l->rng[3] |= 1; /* the generator stays at zero if all of its state is zero */
}

int
loop_new(const struct loop_config *cfg, struct loop **ret, struct lunette_error *err)
{
    static const struct loop_config defaults;
    struct real_loop *l = calloc(1, sizeof(*l));
    int r;

    if (cfg == NULL)
        cfg = &defaults;
    if (l == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory for a loop");
    list_init(&l->deferred);
    list_init(&l->works);
    list_init(&l->ready);
    list_init(&l->now);
    list_init(&l->dead);
    list_init(&l->watches);
    list_init(&l->watches_over);
    list_init(&l->lookups);
    l->spin_ns = l->spin_now = l->pub.shm_spin_ns = cfg->spin_us * 1000ull;
    l->pub.scratch_size = cfg->scratch_size > 0 ? cfg->scratch_size : SCRATCH_SIZE;
    l->pub.now_ns = real_clock_ns();
    l->pub.shm = &real_shm_ops;
    seed_random(l);
    r = open_poller(cfg->kind, l, err);
    if (r < 0)
        goto fail;
    r = open_mailbox(l);
    if (r == 0 && posix_memalign(&l->pub.scratch, SCRATCH_ALIGN, l->pub.scratch_size) != 0)
        r = -ENOMEM;
    if (r < 0) {
        (void)lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r, "making a loop: %s",
                           errno_text(-r));
        goto fail;
    }
    *ret = &l->pub;
    return 0;

fail:
    loop_free(&l->pub);
    return r;
}

/* Drops work that was posted and will not be run.  The work of a name lookup is part of the lookup,
 * which is freed. */
static void
close_mailbox(struct mailbox *m)
{
    struct list works, *n;

    list_init(&works);
    mailbox_close(m, &works);
    while ((n = list_pop_front(&works)) != NULL)
        real_resolve_drop(container_of(n, struct loop_work, node));
    mailbox_unref(m);
}

void
loop_free(struct loop *pub)
{
    struct real_loop *l;

    if (pub == NULL)
        return;
    l = real_loop(pub);
    assert(!l->running);
    assert(l->streams == 0);
    assert(timerq_first(&l->timers) == NULL);
    assert(l->lookups_pending == 0 && list_empty(&l->lookups));
    assert(list_empty(&l->ready) && list_empty(&l->watches));
    if (l->mail != NULL)
        close_mailbox(l->mail);
    if (l->poller != NULL)
        l->poller->ops->free(l->poller);
    real_reap_streams(l, true);
    real_drop_watches(l);
    real_ringer_free(l->ringer);
    if (l->fd_asked)
        (void)close(l->alarm.fd);
    pool_fini(&pub->tx);
    free(pub->scratch);
    free(l);
}

#define REAL_OPS(name_)                                                                            \
    {                                                                                              \
        .name = (name_), .run = real_run, .fd = real_fd, .timer_start = real_timer_start,          \
        .timer_stop = real_timer_stop, .defer = real_defer, .post = real_post,                     \
        .random = real_random, .secure_random = real_secure_random, .resolve = real_resolve,       \
        .resolve_cancel = real_resolve_cancel, .connect = real_connect, .listen = real_listen,     \
        .adopt = real_adopt, .adopt_listener = real_adopt_listener, .release = real_release,       \
        .set_events = real_set_events, .peer_cred = real_peer_cred, .packets = &real_packet_ops,   \
        .sendv = real_sendv, .recvv = real_recvv, .set_rcvlowat = real_set_rcvlowat,               \
        .set_opts = real_set_opts, .lend = real_lend, .unacked = real_unacked,                     \
        .unread = real_unread, .names = real_names, .close = real_close, .reset = real_reset,      \
        .close_fd = real_close_fd, .clock = real_clock, .watch = real_watch,                       \
        .unwatch = real_unwatch,                                                                   \
    }

static const struct loop_ops real_ops_epoll = REAL_OPS("epoll");
static const struct loop_ops real_ops_uring = REAL_OPS("uring");
