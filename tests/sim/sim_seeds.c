/* SPDX-License-Identifier: MIT */
/* tests/sim/sim_seeds.c - random I/O in random worlds; one seed, one world.
 *
 * After each world: every I/O has completed exactly once, every read gave what
 * the model holds, and the disk equals the model.  A write whose connection was
 * cut may have been executed or not, in part too (the target receives in place),
 * and must then not change any more.
 *
 * usage: sim_seeds [FIRST [COUNT]]      exit 1 names the seed that failed
 *        sim_seeds --reopen [FIRST [COUNT]]  connections are cut and the session is logged in
 * again: no I/O may fail sim_seeds --plant              completes a command twice: must die
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/url.h"
#include "tests/sim/world.h"

#define OPS       120
#define SLOTS     24
#define IO_MAX    (256u << 10)
#define BLOCK_MIN 512u
#define UNITS     (WORLD_LUN_SIZE / BLOCK_MIN) /* the model's grain */
#define SIM_LIMIT 3600

enum kind { OP_READ, OP_WRITE, OP_ZERO, OP_FLUSH, OP_DISCARD, OP_KINDS };

struct io {
    enum kind kind;
    bool busy;
    unsigned completions;
    uint64_t offset;
    size_t len;
    struct iovec iov[5];
    int iovcnt;
    uint8_t data[IO_MAX];
};

struct model {
    uint8_t now[WORLD_LUN_SIZE];
    uint8_t other[WORLD_LUN_SIZE]; /* where unsure: what a lost write may have left */
    bool unsure[UNITS];
};

struct run {
    struct world w;
    struct model *m;
    struct io *io; /* SLOTS */
    struct lunette_lun *lun;
    struct lunette_queue *q[2]; /* of one LUN */
    uint64_t seed;
    uint32_t block;
    unsigned submitted, completed, failed, all_failed;
    bool lend;     /* zero_copy, where it can be */
    bool may_fail; /* this world cuts connections, or its target loses commands */

    /* of a session that is logged in again when its connection is lost */
    struct api_url url;
    struct ctl_watch watch;
    struct iscsi_login *login;
    struct loop_timer again;
    unsigned cuts, losses, reopens; /* still to come; of this world; of all worlds */
    bool answered;
};

static void
fail(const struct run *r, const char *what)
{
    (void)fprintf(stderr, "seed %llu: %s (virtual time %llu ms, %u of %u done)\n",
                  (unsigned long long)r->seed, what,
                  (unsigned long long)(sim_now_ns(r->w.sim) / LOOP_NS_PER_MS), r->completed,
                  r->submitted);
    abort();
}

static uint64_t
below(struct run *r, uint64_t n)
{
    return sim_below(r->w.sim, n);
}

/* ---- the model ------------------------------------------------------------------------------ */

static bool
overlaps_busy(const struct run *r, uint64_t offset, size_t len)
{
    for (int i = 0; i < SLOTS; i++) {
        const struct io *io = &r->io[i];

        if (io->busy && offset < io->offset + io->len && io->offset < offset + len)
            return true;
    }
    return false;
}

static void
model_wrote(struct run *r, const struct io *io, bool sure)
{
    for (size_t at = 0; at < io->len; at += BLOCK_MIN) {
        uint64_t b = (io->offset + at) / BLOCK_MIN;
        const uint8_t *new_data = io->data + at;

        if (sure) {
            memcpy(r->m->now + b * BLOCK_MIN, new_data, BLOCK_MIN);
            r->m->unsure[b] = false;
        } else {
            memcpy(r->m->other + b * BLOCK_MIN, new_data, BLOCK_MIN);
            r->m->unsure[b] = true;
        }
    }
}

/* Is `got` what block b may hold?  Seen once, it is what it is. */
static bool
model_allows(struct run *r, uint64_t b, const uint8_t *got)
{
    uint8_t *now = r->m->now + b * BLOCK_MIN;

    if (memcmp(now, got, BLOCK_MIN) == 0)
        return true; /* a lost write may yet land: unsure stays */
    if (!r->m->unsure[b])
        return false;
    for (uint32_t i = 0; i < BLOCK_MIN; i++) {
        if (got[i] != now[i] && got[i] != r->m->other[b * BLOCK_MIN + i])
            return false;
    }
    memcpy(now, got, BLOCK_MIN);
    r->m->unsure[b] = false;
    return true;
}

/* ---- I/O ------------------------------------------------------------------------------------ */

static void
cut_buffer(struct run *r, struct io *io)
{
    size_t at = r->lend && below(r, 2) == 0 ? io->len : 0; /* only a whole one is large enough */

    io->iovcnt = 0;
    if (at > 0)
        io->iov[io->iovcnt++] = (struct iovec){io->data, io->len};
    while (at < io->len && io->iovcnt < 4) {
        size_t n = 1 + (size_t)below(r, io->len - at);

        io->iov[io->iovcnt++] = (struct iovec){io->data + at, n};
        at += n;
    }
    if (at < io->len)
        io->iov[io->iovcnt++] = (struct iovec){io->data + at, io->len - at};
}

static int
submit(struct run *r, struct io *io)
{
    struct lunette_queue *q = r->q[below(r, 2)];

    switch (io->kind) {
    case OP_READ:
        memset(io->data, 0xdb, io->len);
        return lunette_queue_readv(q, io->iov, io->iovcnt, io->offset, io);
    case OP_WRITE:
        return lunette_queue_writev(q, io->iov, io->iovcnt, io->offset,
                                    below(r, 8) == 0 ? LUNETTE_FUA : 0, io);
    case OP_ZERO:
        memset(io->data, 0, io->len);
        return lunette_queue_write_zeroes(q, io->len, io->offset, 0, io);
    case OP_FLUSH:
        io->len = 0;
        return lunette_queue_flush(q, io);
    case OP_DISCARD:
        memset(io->data, 0, io->len);
        return lunette_queue_discard(q, io->len, io->offset, io);
    case OP_KINDS:
        break;
    }
    return -EINVAL;
}

/* false: no slot is free, or the range is being used. */
static bool
start_one(struct run *r)
{
    struct io *io = NULL;
    uint64_t blocks = WORLD_LUN_SIZE / r->block;
    int e;

    for (int i = 0; i < SLOTS && io == NULL; i++) {
        if (!r->io[i].busy)
            io = &r->io[i];
    }
    if (io == NULL)
        return false;
    io->kind = (enum kind)below(r, OP_KINDS);
    if (io->kind == OP_FLUSH && below(r, 4) != 0)
        io->kind = OP_WRITE;
    if (io->kind == OP_DISCARD && r->seed % 3 == 0)
        io->kind = OP_WRITE; /* leaves the same doubt as a lost write */
    if (r->failed > 0) /* no second lost write on top of a first: the model has room for one */
        io->kind = OP_READ;
    io->offset = below(r, blocks) * r->block;
    io->len = (1 + (size_t)below(r, below(r, 3) == 0 ? IO_MAX / r->block : 8)) * r->block;
    if (io->offset + io->len > WORLD_LUN_SIZE)
        io->len = (size_t)(WORLD_LUN_SIZE - io->offset);
    if (overlaps_busy(r, io->offset, io->len))
        return false;
    for (size_t i = 0; i < io->len; i += 8) {
        uint64_t v = loop_random(r->w.loop);

        memcpy(io->data + i, &v, 8);
    }
    cut_buffer(r, io);
    e = submit(r, io);
    if (e == -EAGAIN)
        return false;
    if (e < 0) {
        if (!r->may_fail)
            fail(r, "a request was refused");
        return true;
    }
    io->busy = true;
    io->completions = 0;
    r->submitted++;
    return true;
}

static void
check_one(struct run *r, struct io *io, int err)
{
    if (io->completions++ != 0)
        fail(r, "an I/O completed twice");
    if (!io->busy)
        fail(r, "an I/O completed that is not outstanding");
    io->busy = false;
    r->completed++;
    if (err != 0) {
        r->failed++;
        r->all_failed++;
        if (!r->may_fail)
            fail(r, strerror(-err));
        if (io->kind == OP_WRITE || io->kind == OP_ZERO)
            model_wrote(r, io, false);
        return;
    }
    if (io->kind == OP_WRITE || io->kind == OP_ZERO)
        model_wrote(r, io, true);
    if (io->kind == OP_DISCARD) /* zeroes, or what was there */
        model_wrote(r, io, false);
    for (size_t at = 0; io->kind == OP_READ && at < io->len; at += BLOCK_MIN) {
        if (!model_allows(r, (io->offset + at) / BLOCK_MIN, io->data + at))
            fail(r, "a read gave what was never written there");
    }
}

static uint32_t
inflight(const struct run *r)
{
    return lunette_queue_inflight(r->q[0]) + lunette_queue_inflight(r->q[1]);
}

static void
poll_some(struct run *r, int min)
{
    struct lunette_completion c[8];

    for (int k = 0; k < 2; k++) {
        int n = lunette_queue_poll(r->q[k], c, 8, min, -1);

        if (n < 0)
            fail(r, "polling failed: nothing can happen any more");
        for (int i = 0; i < n; i++)
            check_one(r, c[i].user_data, c[i].err);
        if (n > 0)
            min = 0;
    }
}

static void
drain(struct run *r)
{
    while (inflight(r) > 0)
        poll_some(r, 1);
    for (int i = 0; i < SLOTS; i++) {
        if (r->io[i].busy)
            fail(r, "an I/O never completed");
    }
}

static void
do_ios(struct run *r)
{
    for (unsigned n = 0; n < OPS;) {
        if (start_one(r))
            n++;
        else if (inflight(r) > 0)
            poll_some(r, 1);
        if (below(r, 3) == 0)
            (void)lunette_queue_submit(r->q[below(r, 2)]);
        if (below(r, 2) == 0)
            poll_some(r, 0);
    }
    drain(r);
    if (sim_now_ns(r->w.sim) > SIM_LIMIT * LOOP_NS_PER_S)
        fail(r, "took more than an hour of virtual time");
}

/* ---- worlds --------------------------------------------------------------------------------- */

static void
check_disk(struct run *r)
{
    for (uint64_t b = 0; b < UNITS; b++) {
        if (!model_allows(r, b, r->w.disk + b * BLOCK_MIN))
            fail(r, "the disk differs from the model");
    }
}

static bool
open_lun(struct run *r)
{
    struct lunette_error err = LUNETTE_INIT(err);
    int e = lunette_open(r->w.ctx, r->w.url, 0, &r->lun, &err);

    for (int k = 0; k < 2 && e == 0; k++)
        e = lunette_queue_new(r->lun, 1 + (uint32_t)below(r, 20), &r->q[k], &err);
    if (e < 0) {
        if (err.msg[0] == '\0')
            fail(r, "a failed login gives no reason");
        if (!r->may_fail)
            fail(r, err.msg);
    }
    if (e == 0)
        r->w.lun = r->lun;
    return e == 0;
}

static void
close_lun(struct run *r)
{
    for (int k = 0; k < 2; k++) {
        lunette_queue_free(r->q[k]);
        r->q[k] = NULL;
    }
    r->w.lun = NULL;
    lunette_close(r->lun);
    r->lun = NULL;
}

/* Reads are under way when the queues go: they end, and nothing is written to their memory then. */
static void
leave(struct run *r)
{
    for (int i = 0; i < 8; i++) {
        struct io *io = &r->io[i];

        io->kind = OP_READ;
        io->offset = 0;
        io->len = IO_MAX;
        cut_buffer(r, io);
        (void)submit(r, io);
    }
    if (below(r, 2) == 0)
        (void)lunette_queue_submit(r->q[0]);
    if (below(r, 2) == 0)
        target_drop_connections(r->w.target);
    close_lun(r);
    for (int i = 0; i < 8; i++)
        memset(r->io[i].data, 0x77, IO_MAX);
    (void)lunette_ctx_run(r->w.ctx, 1000);
    for (int i = 0; i < 8; i++) {
        for (size_t k = 0; k < IO_MAX; k++) {
            if (r->io[i].data[k] != 0x77)
                fail(r, "memory was written to after its queue was freed");
        }
    }
}

/* How the target of this world misbehaves.  The last ones cost commands or the connection. */
static void
set_faults(struct run *r)
{
    struct target_faults f = {0};
    uint64_t n = r->seed / 3;

    if (!r->may_fail) {
        f.busy_every = n % 4 == 1 ? 7 : 0;
        f.task_set_full_every = n % 4 == 2 ? 9 : 0;
        f.response_delay_ms = n % 4 == 3 ? 40 : 0;
    } else {
        f.corrupt_data_in_every = n % 6 == 1 ? 40 : 0;
        f.corrupt_header_every = n % 6 == 2 ? 200 : 0;
        f.mute = n % 6 == 3 || n % 6 == 4;
        f.mute_opcode = n & 8 ? 0x28 : 0x2a;
        f.mute_tmf = n % 6 == 4;
        f.drop_after_pdus = n % 6 == 5 ? 300 : 0;
    }
    target_set_faults(r->w.target, &f);
}

static void
cut_now(void *user)
{
    struct run *r = user;

    if (r->may_fail) /* not in the second half any more */
        (void)sim_cut(r->w.sim, NULL, r->seed & 8 ? SIM_EOF : SIM_RESET);
}

struct choice {
    struct target_key_value set[8];
    char options[256];
};

/* Is data lent in this world?  Then all that is negotiated lets it come in large pieces. */
static bool
lends(uint64_t seed)
{
    return seed % 4 == 1;
}

/* What is negotiated in this world; the seed's own bits choose. */
static void
choose(uint64_t seed, struct choice *ch, struct world_config *cfg)
{
    static const char *const yes_no[] = {"Yes", "No"};
    static const char *const mrdsl[] = {"512", "4096", "8192", "262144"};
    static const char *const burst[] = {"4096", "16384", "65536", "262144"};
    uint64_t x = seed * 0x9e3779b97f4a7c15ull;
    bool lend = lends(seed);
    const char *hd = x & 0x100 ? "crc32c" : "none", *dd = x & 0x200 ? "crc32c" : "none";

    ch->set[0] = (struct target_key_value){"InitialR2T", yes_no[x >> 60 & 1]};
    ch->set[1] = (struct target_key_value){"ImmediateData", yes_no[x >> 59 & 1]};
    ch->set[2] =
        (struct target_key_value){"MaxRecvDataSegmentLength", mrdsl[lend ? 3 : x >> 56 & 3]};
    ch->set[3] = (struct target_key_value){"MaxBurstLength", burst[lend ? 3 : x >> 53 & 3]};
    ch->set[4] = (struct target_key_value){"FirstBurstLength", burst[x >> 53 & x >> 50 & 3]};
    ch->set[5] = (struct target_key_value){"MaxOutstandingR2T", x >> 48 & 1 ? "8" : "1"};
    ch->set[6] = (struct target_key_value){"QueueDepth", x >> 47 & 1 ? "4" : "64"};
    (void)snprintf(ch->options, sizeof(ch->options),
                   "?header_digest=%s&data_digest=%s&initial_r2t=%s&max_recv_data_segment_length=%s"
                   "&timeout=%s&zero_copy=%s",
                   hd, dd, x >> 44 & 1 ? "yes" : "no", mrdsl[x >> 42 & 3],
                   seed % 3 == 0 && seed / 3 % 6 != 0 ? "5000" : "600000", lend ? "yes" : "no");
    cfg->set = ch->set;
    cfg->set_count = 7;
    cfg->options = ch->options;
    cfg->block = x >> 40 & 1 ? 4096 : 512;
    cfg->chap = x >> 39 & 1;
    cfg->ipc_delay_ns = (x >> 36 & 7) * LOOP_NS_PER_MS;
    cfg->trace_events = (x >> 33 & 3) == 0 ? 1024 : 0;
    cfg->net = sim_rough;
}

static void
run_world(struct run *r, uint64_t seed)
{
    struct world_config cfg = {0};
    struct choice ch;

    r->seed = seed;
    r->lend = lends(seed);
    choose(seed, &ch, &cfg);
    world_new(&r->w, seed, &cfg);
    r->block = cfg.block;
    r->may_fail = seed % 3 == 0;
    memset(r->m, 0, sizeof(*r->m));
    if (r->may_fail && seed / 3 % 6 == 0)
        sim_at(r->w.sim, below(r, LOOP_NS_PER_S / 2), cut_now, r);
    if (open_lun(r)) {
        set_faults(r);
        do_ios(r);
        for (int i = 0; i < 100 && r->may_fail; i++) /* what we gave up may still be arriving */
            (void)lunette_ctx_run(r->w.ctx, 10);
        check_disk(r);
        close_lun(r);
    }
    /* Once more on a network that holds: what a cut left unsure is settled now. */
    r->may_fail = false;
    r->failed = 0;
    target_set_faults(r->w.target, NULL);
    (void)sim_cut(r->w.sim, NULL, SIM_RESET);
    if (!open_lun(r))
        fail(r, "no second session");
    set_faults(r);
    do_ios(r);
    check_disk(r);
    if (r->w.checks == 0)
        fail(r, "nothing was checked after a turn");
    leave(r);
    world_free(&r->w);
}

/* ---- connections that are cut, sessions that go on ------------------------------------------- */

static void log_in_again(struct run *r);

static void
again_timer(struct loop_timer *t)
{
    log_in_again(container_of(t, struct run, again));
}

static void
logged_in_again(void *user, const struct login_result *res, const struct lunette_error *err)
{
    struct run *r = user;

    (void)err;
    login_free(&r->login);
    if (res == NULL) /* the attempt was cut, too */
        loop_timer_start(r->w.loop, &r->again, 100 * LOOP_NS_PER_MS);
    else
        r->reopens++;
}

static void
log_in_again(struct run *r)
{
    struct login_callbacks cb = {logged_in_again, r};
    struct lunette_error err = LUNETTE_INIT(err);

    if (login_start(r->w.ctx->ctl, &r->url.cfg, &cb, &r->login, &err) < 0)
        fail(r, err.msg);
}

static void
connection_event(struct ctl_watch *w, const struct iscsi_kevent *ev, const void *data)
{
    struct run *r = container_of(w, struct run, watch);

    (void)data;
    if (ev->type != ISCSI_KEVENT_CONN_ERROR)
        return;
    if (r->login != NULL || loop_timer_running(&r->again))
        fail(r, "a connection was lost twice");
    r->losses++;
    log_in_again(r);
}

static void
param_is_set(void *user, const struct iscsi_reply *rep)
{
    struct run *r = user;

    if (rep->err < 0)
        fail(r, rep->why.msg);
    r->answered = true;
}

static void
cut_and_plan_next(void *user)
{
    struct run *r = user;

    if (r->cuts == 0)
        return;
    r->cuts--;
    (void)sim_cut(r->w.sim, NULL, below(r, 2) == 0 ? SIM_EOF : SIM_RESET);
    sim_at(r->w.sim, below(r, 2 * LOOP_NS_PER_S), cut_and_plan_next, r);
}

static void
watch_session(struct run *r)
{
    const struct api_session *s = &r->lun->s;
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_SET_PARAM, .sid = s->sid, .cid = s->cid};
    struct lunette_error err = LUNETTE_INIT(err);

    if (api_url_of(r->w.ctx, r->w.url, false, &r->url, &err) < 0)
        fail(r, err.msg);
    memcpy(r->url.cfg.isid, s->isid, sizeof(s->isid)); /* reinstatement: RFC 7143 6.3.5 */
    r->url.cfg.kind = LOGIN_REOPEN;
    r->url.cfg.replacement_timeout_s = 120;
    r->url.cfg.sid = s->sid;
    r->url.cfg.cid = s->cid;
    ctl_watch_init(&r->watch, connection_event);
    ctl_watch_add(r->w.ctx->ctl, &r->watch, s->sid, s->cid);
    loop_timer_init(&r->again, again_timer);
    r->answered = false;
    ev.u.set_param.param = ISCSI_PARAM_RECOVERY_TMO;
    strcpy(ev.u.set_param.value, "120");
    if (ctl_request(r->w.ctx->ctl, &ev, NULL, 0, param_is_set, r) < 0)
        fail(r, "a request could not be sent");
    while (!r->answered)
        (void)lunette_ctx_run(r->w.ctx, 10);
}

static void
reopen_world(struct run *r, uint64_t seed)
{
    struct world_config cfg = {0};
    struct choice ch;

    r->seed = seed;
    r->lend = lends(seed);
    r->losses = 0;
    choose(seed, &ch, &cfg);
    world_new(&r->w, seed, &cfg);
    r->block = cfg.block;
    memset(r->m, 0, sizeof(*r->m));
    if (!open_lun(r))
        fail(r, "no session");
    set_faults(r);
    watch_session(r);
    r->cuts = 1 + (unsigned)below(r, 4);
    sim_at(r->w.sim, below(r, LOOP_NS_PER_S / 4), cut_and_plan_next, r);
    do_ios(r);
    while (r->cuts > 0) /* those that are left hit a session that is idle */
        (void)lunette_ctx_run(r->w.ctx, 100);
    for (int i = 0; i < 20 || r->login != NULL || loop_timer_running(&r->again); i++)
        (void)lunette_ctx_run(r->w.ctx, 10); /* the last one is noticed, and over */
    do_ios(r);
    check_disk(r);
    if (r->losses == 0)
        fail(r, "no connection was lost");
    ctl_watch_del(&r->watch);
    url_wipe(&r->url);
    close_lun(r);
    world_free(&r->w);
}

static int
reopen_worlds(struct run *r, uint64_t first, uint64_t count)
{
    for (uint64_t seed = first; seed < first + count; seed++)
        reopen_world(r, seed);
    (void)printf("%llu seeds from %llu: %u I/Os, each completed once and well, over %u logins\n",
                 (unsigned long long)count, (unsigned long long)first, r->completed, r->reopens);
    return r->all_failed != 0 || r->reopens < count;
}

/* ---- the planted fault ---------------------------------------------------------------------- */

static const struct scsi_host_ops *honest;
static void (*honest_done)(struct scsi_cmd *sc);
static unsigned planted;

static void
done_twice(struct scsi_cmd *sc)
{
    honest_done(sc);
    if (++planted == 10)
        honest_done(sc);
}

static int
planted_queuecommand(struct scsi_host *h, struct scsi_cmd *sc)
{
    if (sc->done != done_twice) /* of a tag that is used again */
        honest_done = sc->done;
    sc->done = done_twice;
    return honest->queuecommand(h, sc);
}

static void
plant(struct run *r)
{
    static struct scsi_host_ops ops;
    struct world_config cfg = {.block = 512, .options = ""};
    struct scsi_host *h;

    world_new(&r->w, 1, &cfg);
    r->block = cfg.block;
    if (!open_lun(r))
        exit(2);
    h = dataplane_host(r->w.ctx->dp, r->lun->s.sid);
    honest = h->ops;
    ops = *h->ops;
    ops.queuecommand = planted_queuecommand;
    h->ops = &ops;
    do_ios(r);
    exit(0); /* nobody noticed */
}

int
main(int argc, char **argv)
{
    bool reopen = argc > 1 && strcmp(argv[1], "--reopen") == 0;
    char **arg = argv + reopen;
    int args = argc - reopen;
    uint64_t first = args > 1 ? strtoull(arg[1], NULL, 10) : 1;
    uint64_t count = args > 2 ? strtoull(arg[2], NULL, 10) : 200;
    struct run r = {0};

    r.m = malloc(sizeof(*r.m));
    r.io = calloc(SLOTS, sizeof(*r.io));
    if (r.m == NULL || r.io == NULL)
        return 2;
    if (argc > 1 && strcmp(argv[1], "--plant") == 0)
        plant(&r);
    if (reopen) {
        int failed = reopen_worlds(&r, first, count);

        free(r.m);
        free(r.io);
        return failed;
    }
    for (uint64_t seed = first; seed < first + count; seed++)
        run_world(&r, seed);
    (void)printf("%llu seeds from %llu: %u I/Os, %u of them failed by cuts, each completed once\n",
                 (unsigned long long)count, (unsigned long long)first, r.completed, r.all_failed);
    free(r.m);
    free(r.io);
    return 0;
}
