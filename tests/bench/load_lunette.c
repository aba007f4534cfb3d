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
    struct lunette_ctx_stats s;

    (void)user;
    lunette_ctx_get_stats(ctx, &s);
    return s.syscalls;
}

static void
submit(struct load *l, struct session *s, struct load_io *io)
{
    int r;

    load_place(l, io);
    load_begin(l, io);
    if (l->write)
        r = lunette_queue_write(s->q, io->buf, l->bs, io->offset, 0, io);
    else
        r = lunette_queue_read(s->q, io->buf, l->bs, io->offset, io);
    if (r < 0)
        load_die("a request is refused: %s", strerror(-r));
}

static void
finish(struct load *l, struct session *s, const struct lunette_completion *c)
{
    struct lunette_error err = {0};

    if (c->err != 0) {
        (void)lunette_queue_explain(s->q, c, l->write ? "writing" : "reading", &err);
        load_die("%s", err.msg);
    }
    load_end(l, c->user_data);
    if (load_more(l))
        submit(l, s, c->user_data);
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
    for (int i = 0; i < n; i++)
        finish(l, s, &c[i]);
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
        for (uint32_t d = 0; d < l->depth && load_more(l); d++)
            submit(l, &sessions[i], &sessions[i].ios[d]);
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
    struct lunette_error err = {0};
    bool reads = !l->write && l->verify != LOAD_VERIFY_WRITE;

    if (lunette_open(ctx, l->url, reads ? LUNETTE_OPEN_RDONLY : 0, &s->lun, &err) < 0)
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
    struct lunette_ctx_options opts = {.size = sizeof(opts)};
    struct lunette_error err = {0};
    struct lunette_info info;
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
    lunette_get_info(sessions[0].lun, &info);
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
