/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/internal.h"
#include "api/sized.h"
#include "rdma/rdma.h"

#define CLOSE_LIMIT_NS (10 * LOOP_NS_PER_S) /* given-up logins may take so long to end */

static void
ctx_log_sink(void *user, enum log_level level, const char *line)
{
    struct lunette_ctx *ctx = user;

    ctx->user_log(ctx->user_log_arg, (int)level, line);
}

/* One name per host, as RFC 7143 4.2.7.1 wants: made of the host's own name. */
static int
ctx_default_name(char name[ISCSI_NAME_MAX + 1], struct lunette_error *err)
{
    const char *env = getenv("LUNETTE_INITIATOR_NAME");
    char host[65] = "", text[128];
    size_t n = 0;

    if (env != NULL && env[0] != '\0')
        return iscsi_name_take(env, strlen(env), name, err);
    (void)gethostname(host, sizeof(host) - 1);
    for (size_t i = 0; host[i] != '\0'; i++) {
        if (isalnum((unsigned char)host[i]) || host[i] == '-' || host[i] == '.')
            host[n++] = host[i];
    }
    host[n] = '\0';
    (void)snprintf(text, sizeof(text), "iqn.2026-11.org.lunette:%s", n > 0 ? host : "host");
    return iscsi_name_normalize(text, strlen(text), name, err);
}

static int
ctx_make_loop(struct lunette_ctx *ctx, const struct lunette_ctx_options *o,
              struct lunette_error *err)
{
    static const enum loop_kind kinds[] = {
        [LUNETTE_LOOP_AUTO] = LOOP_AUTO,
        [LUNETTE_LOOP_EPOLL] = LOOP_EPOLL,
        [LUNETTE_LOOP_URING] = LOOP_URING,
    };
    struct loop_config cfg = {0};
    int r;

    if ((unsigned)o->loop >= sizeof(kinds) / sizeof(kinds[0]))
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "no such loop: %d", (int)o->loop);
    cfg.kind = kinds[o->loop];
    cfg.spin_us = o->spin_us;
    ctx->own_loop = true;
    r = loop_new(&cfg, &ctx->loop, err);
    if (r < 0)
        return r;
    ctx->loop->rnic = rdma_verbs;
    rnic_spin(ctx->loop, o->spin_us * 1000ull);
    return 0;
}

static int
ctx_plug(struct lunette_ctx *ctx, const struct api_hooks *hooks, struct lunette_error *err)
{
    struct ipc_client client;
    struct ipc *ipc;
    int r = api_transports_built_in(&ctx->registry, hooks == NULL, err);

    if (r == 0)
        r = transport_load_env(&ctx->registry, err);
    if (r == 0)
        r = dataplane_new(ctx->loop, &ctx->registry, &ctx->dp, err);
    if (r < 0)
        return r;
    if (hooks != NULL && hooks->make_ipc != NULL) {
        ipc = hooks->make_ipc(hooks->user, ctx->loop, &dataplane_server_ops, ctx->dp, &client);
    } else {
        r = ipc_direct_new(ctx->loop, &dataplane_server_ops, ctx->dp, &ctx->direct, &client);
        ipc = r == 0 ? ipc_direct_ipc(ctx->direct) : NULL;
    }
    if (ipc == NULL || ctl_new(ctx->loop, ipc, &ctx->ctl) < 0)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    dataplane_set_client(ctx->dp, &client);
    return 0;
}

static int
ctx_init(struct lunette_ctx *ctx, const struct lunette_ctx_options *o,
         const struct api_hooks *hooks, struct lunette_error *err)
{
    int r;

    if (o->log != NULL) {
        ctx->user_log = o->log;
        ctx->user_log_arg = o->log_user;
        ctx->log = (struct log){(enum log_level)o->log_level, ctx_log_sink, ctx};
    }
    if (o->initiator_name != NULL)
        r = iscsi_name_take(o->initiator_name, strlen(o->initiator_name), ctx->initiator_name, err);
    else
        r = ctx_default_name(ctx->initiator_name, err);
    if (r < 0)
        return lunette_fail_prefix(err, r, "initiator name");
    if (hooks != NULL)
        ctx->loop = hooks->loop;
    else
        r = ctx_make_loop(ctx, o, err);
    if (r < 0)
        return r;
    ctx->time_every = o->time_every;
    api_events_init(&ctx->events, ctx->loop);
    login_gate_init(&ctx->gate, ctx->loop, LOGIN_GATE_MAX);
    ctx->loop->log = o->log != NULL ? &ctx->log : NULL;
    if (o->trace_events > 0) {
        if ((o->trace_events & (o->trace_events - 1)) != 0)
            return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                                "trace_events must be a power of two");
        ctx->loop->trace = trace_new(o->trace_events);
        if (ctx->loop->trace == NULL)
            return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory for a trace");
    }
    return ctx_plug(ctx, hooks, err);
}

int
api_ctx_new(const struct lunette_ctx_options *opts, const struct api_hooks *hooks,
            struct lunette_ctx **ret, struct lunette_error *err)
{
    struct lunette_ctx_options o = {0};
    struct lunette_ctx *ctx;
    int r = api_error_check(err);

    if (r < 0)
        return r;
    if (opts != NULL)
        r = api_sized_in(&o, sizeof(o), opts, API_FIRST_OPTIONS);
    if (r == -E2BIG)
        return lunette_fail(err, r, LUNETTE_DOM_USAGE, 0,
                            "lunette_ctx_options: an option is set that this library (%s) does not "
                            "know; a newer one is needed",
                            lunette_version());
    if (r < 0)
        return lunette_fail(err, r, LUNETTE_DOM_USAGE, 0,
                            "lunette_ctx_options.struct_size is no size of a version: initialize "
                            "the structure with LUNETTE_INIT");
    ctx = calloc(1, sizeof(*ctx));
    if (ctx == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    r = ctx_init(ctx, &o, hooks, err);
    if (r < 0) {
        lunette_ctx_free(ctx);
        return r;
    }
    *ret = ctx;
    return 0;
}

int
lunette_ctx_new(const struct lunette_ctx_options *opts, struct lunette_ctx **ret,
                struct lunette_error *err)
{
    return api_ctx_new(opts, NULL, ret, err);
}

/* Runs the loop until logins that were given up and sessions that are being closed have ended. */
static void
ctx_settle(struct lunette_ctx *ctx)
{
    uint64_t end = ctx->loop->now_ns + CLOSE_LIMIT_NS;

    int r = 0;

    while (r >= 0 && ctx->closing > 0) /* each has a time limit of its own */
        r = loop_run(ctx->loop, -1);
    while (r >= 0 && ctx->ctl != NULL && !ctl_idle(ctx->ctl) && ctx->loop->now_ns < end)
        r = loop_run(ctx->loop, 100 * (int64_t)LOOP_NS_PER_MS);
    if (ctx->dp != NULL)
        dataplane_shutdown(ctx->dp);
    while (r >= 0 && ctx->dp != NULL && dataplane_busy(ctx->dp) > 0)
        r = loop_run(ctx->loop, 100 * (int64_t)LOOP_NS_PER_MS);
}

void
lunette_ctx_free(struct lunette_ctx *ctx)
{
    if (ctx == NULL)
        return;
    assert(ctx->handles == 0);
    if (ctx->loop != NULL) {
        ctx_settle(ctx);
        api_events_fini(&ctx->events);
        login_gate_fini(&ctx->gate);
        ctl_free(&ctx->ctl);
        ipc_direct_free(ctx->direct);
        dataplane_free(ctx->dp);
        trace_free(ctx->loop->trace);
        ctx->loop->trace = NULL;
        ctx->loop->log = NULL;
        if (ctx->own_loop)
            loop_free(ctx->loop);
    }
    transport_registry_fini(&ctx->registry);
    free(ctx);
}

int
lunette_ctx_fd(struct lunette_ctx *ctx)
{
    return loop_fd(ctx->loop);
}

int
lunette_ctx_run(struct lunette_ctx *ctx, int timeout_ms)
{
    int r = loop_run(ctx->loop, timeout_ms < 0 ? -1 : timeout_ms * (int64_t)LOOP_NS_PER_MS);

    return r < 0 ? r : 0;
}

const char *
lunette_ctx_loop_name(const struct lunette_ctx *ctx)
{
    return ctx->loop->ops->name;
}

int
lunette_ctx_trace(const struct lunette_ctx *ctx, int fd)
{
    FILE *f;
    int copy;

    if (ctx->loop->trace == NULL)
        return -ENOENT;
    copy = dup(fd);
    if (copy < 0)
        return -errno;
    f = fdopen(copy, "w");
    if (f == NULL) {
        int e = errno;

        (void)close(copy);
        return -e;
    }
    trace_dump(ctx->loop->trace, f);
    return fclose(f) != 0 ? -errno : 0;
}

int
lunette_ctx_get_stats(const struct lunette_ctx *ctx, struct lunette_ctx_stats *ret)
{
    const struct loop_stats *s = &ctx->loop->stats;

    const struct lunette_ctx_stats st = {.turns = s->turns,
                                         .waits = s->waits,
                                         .syscalls = s->syscalls,
                                         .sends = s->sends,
                                         .recvs = s->recvs,
                                         .bytes_sent = s->bytes_sent,
                                         .bytes_received = s->bytes_received};

    return api_sized_out(ret, API_FIRST_STATS, &st, sizeof(st));
}

int
api_wait(struct lunette_ctx *ctx, const bool *flag, struct lunette_error *err)
{
    while (!*flag) {
        int r = loop_run(ctx->loop, -1);

        if (r == -EEXIST) /* io_uring: the ring is another thread's */
            return lunette_fail(err, r, LUNETTE_DOM_USAGE, 0,
                                "the context belongs to another thread, the first that used it");
        if (r < 0)
            return lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r, "waiting failed: %s",
                                errno_text(-r));
    }
    return 0;
}

void
api_close_begun(struct lunette_ctx *ctx)
{
    ctx->closes++;
    ctx->closes_over = false;
}

void
api_close_over(void *user)
{
    struct lunette_ctx *ctx = user;

    assert(ctx->closes > 0);
    ctx->closes_over = --ctx->closes == 0;
}

void
api_close_wait(struct lunette_ctx *ctx, const char *what)
{
    struct lunette_error err = {.code = 0};

    if (api_wait(ctx, &ctx->closes_over, &err) < 0)
        log_line(ctx->loop->log, LOG_LEVEL_ERROR,
                 "%s is not waited for, and goes on when the context is driven: %s", what, err.msg);
}

const char *
lunette_version(void)
{
    return LUNETTE_VERSION_STRING;
}

unsigned
lunette_version_number(void)
{
    return LUNETTE_VERSION_NUMBER;
}
