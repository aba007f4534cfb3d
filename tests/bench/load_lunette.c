/* SPDX-License-Identifier: MIT */
/* tests/bench/load_lunette.c - the benchmark's load on the public interface alone.
 *
 * Several sessions are several units opened in one context, each with a queue of its own.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lunette/lunette.h>

#include "tests/bench/load.h"

#define BATCH    128
#define DRAIN_MS 1 /* the last completions of one queue may come while another is polled */

struct session {
    struct lunette_lun *lun;
    struct lunette_queue *q;
    struct load_io *ios;
};

static struct lunette_ctx *ctx;
static struct session sessions[LOAD_SESSIONS_MAX];

static uint64_t
syscalls_so_far(void *user)
{
    struct lunette_ctx_stats s = LUNETTE_INIT(s);

    (void)user;
    (void)lunette_ctx_get_stats(ctx, &s);
    return s.syscalls;
}

static void __attribute__((noinline, cold)) refused(int r)
{
    load_die("a request is refused: %s", strerror(-r));
}

static void __attribute__((noinline, cold))
failed(const struct load *l, struct lunette_queue *q, const struct lunette_completion *c)
{
    struct lunette_error err = LUNETTE_INIT(err);

    (void)lunette_queue_explain(q, c, l->write ? "writing" : "reading", &err);
    load_die("%s", err.msg);
}

static inline void
submit(struct load *l, struct lunette_queue *q, struct load_io *io, bool write)
{
    int r;

    if (write)
        r = lunette_queue_write(q, io->buf, l->bs, io->offset, 0, io);
    else
        r = lunette_queue_read(q, io->buf, l->bs, io->offset, io);
    if (r < 0)
        refused(r);
}

/* Completions with data to compare. */
static void
finish_all(struct load *l, struct lunette_queue *q, const struct lunette_completion *c, int n)
{
    for (int i = 0; i < n; i++) {
        struct load_io *io = c[i].user_data;

        if (c[i].err != 0)
            failed(l, q, &c[i]);
        load_end(l, io);
        if (!load_more(l))
            continue;
        load_begin(l, io);
        load_place(l, io);
        submit(l, q, io, l->write);
    }
}

/* The same without: what is asked for each is only what differs.  A batch has one stamp, so those
 * that began together are counted together. */
static inline __attribute__((always_inline)) void
finish_plain(struct load *l, struct lunette_queue *q, const struct lunette_completion *c, int n,
             bool write)
{
    const struct lunette_completion *end = c + n, *first = c, *last;
    uint64_t start_ns = ((struct load_io *)c->user_data)->start_ns, now_ns = l->now_ns;
    uint64_t more = load_more(l) ? l->limit - l->begun : 0;

    last = more < (uint64_t)n ? c + more : end; /* those before it are submitted again */
    l->begun += (uint64_t)(last - c);
    for (; c != last; c++) {
        struct load_io *io = c->user_data;

        if (c->err != 0)
            failed(l, q, c);
        if (io->start_ns != start_ns) {
            load_end_n(l, start_ns, (uint64_t)(c - first));
            first = c;
            start_ns = io->start_ns;
        }
        io->start_ns = now_ns;
        load_go(l, io);
        submit(l, q, io, write);
    }
    load_end_n(l, start_ns, (uint64_t)(last - first));
    for (; c != end; c++) { /* the last ones of the run */
        if (c->err != 0)
            failed(l, q, c);
        load_end(l, c->user_data);
    }
}

/* Returns the number of completions. */
static int
collect(struct load *l, struct session *s, int min, int timeout_ms)
{
    struct lunette_completion c[BATCH];
    int n = lunette_queue_poll(s->q, c, BATCH, min, timeout_ms);

    if (n == -EINTR)
        return 0;
    if (n < 0)
        load_die("the queue: %s", strerror(-n));
    if (n > 0)
        load_stamp(l);
    if (n > 0 && l->verify != LOAD_VERIFY_NONE)
        finish_all(l, s->q, c, n);
    else if (n > 0 && l->write)
        finish_plain(l, s->q, c, n, true);
    else if (n > 0)
        finish_plain(l, s->q, c, n, false);
    return n;
}

static uint32_t
inflight(const struct load *l)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < l->sessions; i++)
        n += lunette_queue_inflight(sessions[i].q);
    return n;
}

static void
loop(struct load *l)
{
    for (uint32_t i = 0; i < l->sessions; i++) {
        for (uint32_t d = 0; d < l->depth && load_more(l); d++) {
            load_begin(l, &sessions[i].ios[d]);
            load_place(l, &sessions[i].ios[d]);
            submit(l, sessions[i].q, &sessions[i].ios[d], l->write);
        }
        (void)lunette_queue_submit(sessions[i].q);
    }
    if (l->sessions == 1) {
        while (lunette_queue_inflight(sessions[0].q) > 0)
            (void)collect(l, &sessions[0], 1, -1);
        return;
    }
    while (inflight(l) > 0) {
        int r = lunette_ctx_run(ctx, load_more(l) ? -1 : DRAIN_MS);

        if (r < 0 && r != -EINTR)
            load_die("the context: %s", strerror(-r));
        for (uint32_t i = 0; i < l->sessions; i++)
            (void)collect(l, &sessions[i], 0, 0);
    }
}

static void
open_session(struct load *l, struct session *s)
{
    struct lunette_error err = LUNETTE_INIT(err);
    bool reads = !l->write && l->verify != LOAD_VERIFY_WRITE;
    uint32_t flags = reads ? LUNETTE_OPEN_RDONLY : 0;

    if (l->zero_copy)
        flags |= LUNETTE_OPEN_ZERO_COPY;
    if (lunette_open(ctx, l->url, flags, &s->lun, &err) < 0)
        load_die("%s", err.msg);
    if (lunette_queue_new(s->lun, l->depth, &s->q, &err) < 0)
        load_die("%s", err.msg);
    s->ios = load_ios_new(l, l->depth);
}

static enum lunette_loop
which_loop(const char *engine)
{
    if (strcmp(engine, "epoll") == 0)
        return LUNETTE_LOOP_EPOLL;
    if (strcmp(engine, "uring") == 0)
        return LUNETTE_LOOP_URING;
    if (strcmp(engine, "auto") != 0)
        load_die("--engine %s: want epoll, uring or auto", engine);
    return LUNETTE_LOOP_AUTO;
}

int
main(int argc, char **argv)
{
    struct lunette_ctx_options opts = {.struct_size = sizeof(opts)};
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_info info = LUNETTE_INIT(info);
    struct load l;

    load_options(&l, "lunette", argc, argv);
    if (l.url == NULL)
        load_die("--url is missing");
    opts.loop = which_loop(l.engine);
    opts.spin_us = l.spin_us;
    if (lunette_ctx_new(&opts, &ctx, &err) < 0)
        load_die("%s", err.msg);
    l.engine = lunette_ctx_loop_name(ctx);
    l.syscalls = syscalls_so_far;
    for (uint32_t i = 0; i < l.sessions; i++)
        open_session(&l, &sessions[i]);
    (void)lunette_get_info(sessions[0].lun, &info);
    load_target_size(&l, info.size, info.block_size);
    load_run(&l, loop);
    load_print(&l);
    for (uint32_t i = 0; i < l.sessions; i++) {
        lunette_queue_free(sessions[i].q);
        lunette_close(sessions[i].lun);
        load_ios_free(sessions[i].ios, l.depth);
    }
    lunette_ctx_free(ctx);
    return 0;
}
