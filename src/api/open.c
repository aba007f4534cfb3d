/* SPDX-License-Identifier: MIT */
/* api/open.c - openings and closings: of a session, of a LUN in one, and of a LUN with a session of
 * its own.
 *
 * The way up is session, then LUN.  When a step fails, what there is is closed again, and the
 * caller hears of the failure when nothing is left.  The calls that wait for the end are made of
 * those that do not.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/internal.h"
#include "api/sized.h"
#include "wire/be.h"
#include "wire/lun.h"

#define OPEN_LUN_FLAGS (LUNETTE_OPEN_RDONLY | LUNETTE_OPEN_RAW | LUNETTE_OPEN_ANY_LUN)
#define OPEN_FLAGS     (OPEN_LUN_FLAGS | LUNETTE_OPEN_SESSION | LUNETTE_OPEN_ZERO_COPY)

typedef void lun_done(void *user, struct lunette_lun *lun, const struct lunette_error *err);
typedef void session_done(void *user, struct lunette_session *s, const struct lunette_error *err);

struct lunette_open {
    struct lunette_ctx *ctx;
    struct lunette_session *s; /* that is being opened; NULL: it was there before */
    struct lunette_lun *lun;   /* NULL: none is wanted, or it has failed and is being closed */
    lun_done *lun_done;        /* one of these is NULL */
    session_done *session_done;
    void *user;
    bool canceled;            /* done is not called any more */
    struct lunette_error err; /* why it failed, while it is being closed again */
    size_t err_size;          /* that the caller's has */
    struct loop_timer later;
    struct loop_timer limit; /* while the session has no connection */
    uint64_t until_ns;       /* that is its end */
};

static void
open_done(const struct lunette_open *op, struct lunette_session *s, struct lunette_lun *lun,
          const struct lunette_error *err)
{
    if (op->lun_done != NULL)
        op->lun_done(op->user, lun, err);
    else
        op->session_done(op->user, s, err);
}

/* Tells that the opening has failed.  A program that knows a larger structure copies all of it, so
 * it gets one: zero behind what this library knows. */
static void
open_tell_failure(const struct lunette_open *op)
{
    union {
        struct lunette_error err;
        char room[API_SIZED_MAX];
    } told;

    memset(&told, 0, sizeof(told));
    told.err.struct_size = op->err_size;
    (void)lunette_fail_as(&told.err, &op->err);
    open_done(op, NULL, NULL, &told.err);
}

/* Nothing is left of an opening that has failed or was canceled. */
static void
open_undone(struct lunette_open *op)
{
    if (op->canceled) {
        op->ctx->closing--;
    } else {
        op->ctx->handles--;
        open_tell_failure(op);
    }
    free(op);
}

/* ---- down ----------------------------------------------------------------------------------- */

static void
session_is_closed(struct lunette_session *s)
{
    void (*told)(void *user) = s->told;
    void *user = s->told_user;

    s->ctx->closing--;
    free(s);
    if (told != NULL)
        told(user);
}

/* The session of a LUN that has its own ends with it. */
static void
lun_ended_with_session(struct lunette_lun *lun)
{
    struct lunette_session *s = lun->s;

    s->told = lun->closed;
    s->told_user = lun->closed_user;
    api_session_close_start(s, session_is_closed);
}

static void
lun_ended(struct lunette_lun *lun)
{
    lun->s->ctx->closing--;
    if (lun->closed != NULL)
        lun->closed(lun->closed_user);
}

void
lunette_close_start(struct lunette_lun *lun, void (*done)(void *user), void *user)
{
    struct lunette_ctx *ctx = lun->s->ctx;

    assert(lun->queues == 0 && lun->op == NULL && !lun->ending && ctx->handles > 0);
    assert(!lun->own_session || lun->s->ping == NULL);
    lun->closed = done;
    lun->closed_user = user;
    ctx->handles--;
    ctx->closing++;
    if (lun->own_session)
        lun->s->held = false;
    api_events_forget(&ctx->events, lun->s, lun->own_session ? NULL : lun);
    api_unit_end(lun, lun->own_session ? lun_ended_with_session : lun_ended);
}

/* The session is closed as soon as its LUNs are. */
static void
session_close_if_free(struct lunette_session *s)
{
    if (s->closed == NULL && !api_units_busy(s))
        api_session_close_start(s, session_is_closed);
}

void
lunette_session_close_start(struct lunette_session *s, void (*done)(void *user), void *user)
{
    assert(!s->want_close && s->closed == NULL && s->ping == NULL && s->ctx->handles > 0);
    s->told = done;
    s->told_user = user;
    s->ctx->handles--;
    s->ctx->closing++;
    s->held = false;
    api_events_forget(&s->ctx->events, s, NULL);
    s->want_close = true;
    s->unit_gone = session_close_if_free;
    session_close_if_free(s);
}

void
lunette_close(struct lunette_lun *lun)
{
    struct lunette_ctx *ctx;

    if (lun == NULL)
        return;
    ctx = lun->s->ctx;
    api_close_begun(ctx);
    lunette_close_start(lun, api_close_over, ctx);
    api_close_wait(ctx, "the end of a LUN");
}

void
lunette_session_close(struct lunette_session *s)
{
    struct lunette_ctx *ctx;

    if (s == NULL)
        return;
    ctx = s->ctx;
    api_close_begun(ctx);
    lunette_session_close_start(s, api_close_over, ctx);
    api_close_wait(ctx, "the end of a session");
}

/* ---- what has failed, or was given up ------------------------------------------------------- */

static void
open_session_closed(struct lunette_session *s)
{
    struct lunette_open *op = s->owner;

    free(s);
    open_undone(op);
}

static void
open_lun_ended(struct lunette_lun *lun)
{
    struct lunette_open *op = lun->op;

    lun->op = NULL; /* it may stay longer than op */
    open_undone(op);
}

/* Closes what there is of the opening. */
static void
open_undo(struct lunette_open *op)
{
    struct lunette_lun *lun = op->lun;

    loop_timer_stop(op->ctx->loop, &op->later);
    loop_timer_stop(op->ctx->loop, &op->limit);
    op->lun = NULL;
    if (op->s == NULL) {
        api_unit_end(lun, open_lun_ended);
        return;
    }
    if (lun != NULL)
        api_unit_end(lun, NULL); /* it ends with its session, which waits for nothing */
    api_session_close_start(op->s, open_session_closed);
}

static bool
open_being_undone(const struct lunette_open *op)
{
    return op->s != NULL ? op->s->closed != NULL : op->lun == NULL;
}

static void
open_give_up(struct loop_timer *t)
{
    struct lunette_open *op = container_of(t, struct lunette_open, later);
    const struct lunette_session *s = op->s != NULL ? op->s : op->lun->s;
    struct lunette_error why;

    if (s->lost) { /* what has ended the connection explains what failed on it */
        api_session_why(s, &why);
        (void)lunette_fail_as(&op->err, &why);
    }
    open_undo(op);
}

/* A target that loses the connection whenever it is asked for something would have an opening go on
 * for ever, and a user who has just typed a name wants to hear of it. */
static void
open_too_late(struct loop_timer *t)
{
    open_give_up(&container_of(t, struct lunette_open, limit)->later);
}

static void
open_moved(struct lunette_lun *lun)
{
    struct lunette_open *op = lun->op;
    uint64_t now = op->ctx->loop->now_ns;

    if (lun->s->lost)
        loop_timer_start(op->ctx->loop, &op->limit, op->until_ns > now ? op->until_ns - now : 0);
    else
        loop_timer_stop(op->ctx->loop, &op->limit);
}

/* The opening has failed: it is undone, from the next turn on.  A command that fails with its
 * connection comes back before it is told that the connection failed, which is the better reason.
 */
static void
open_fail(struct lunette_open *op, const struct lunette_error *err)
{
    assert(err->code < 0);
    (void)lunette_fail_as(&op->err, err);
    loop_timer_start(op->ctx->loop, &op->later, 0);
}

void
lunette_open_cancel(struct lunette_open *op)
{
    if (op == NULL)
        return;
    assert(!op->canceled && op->ctx->handles > 0);
    op->canceled = true;
    op->ctx->handles--;
    op->ctx->closing++;
    if (!open_being_undone(op))
        open_undo(op);
}

/* ---- up ------------------------------------------------------------------------------------- */

static void
open_finish(struct lunette_open *op)
{
    if (op->lun != NULL) {
        op->lun->op = NULL;
        op->lun->moved = NULL;
    }
    if (op->s != NULL) {
        op->s->owner = NULL;
        op->s->held = true;
    }
    loop_timer_stop(op->ctx->loop, &op->limit);
    open_done(op, op->s, op->lun, NULL);
    free(op);
}

static void
open_lun_up(struct lunette_lun *lun, const struct lunette_error *err)
{
    if (err != NULL)
        open_fail(lun->op, err);
    else
        open_finish(lun->op);
}

static void
open_session_up(struct lunette_session *s, const struct lunette_error *err)
{
    struct lunette_open *op = s->owner;
    struct lunette_error e;

    if (err != NULL)
        open_fail(op, err);
    else if (op->lun == NULL || (op->lun->flags & LUNETTE_OPEN_SESSION))
        open_finish(op);
    else if (api_unit_start(op->lun, open_lun_up, &e) < 0)
        open_fail(op, &e);
}

static int
open_check_flags(uint32_t flags, uint32_t known, struct lunette_error *err)
{
    if (flags & ~known)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "open: unknown flags 0x%x",
                            flags & ~known);
    if ((flags & LUNETTE_OPEN_ANY_LUN) && !(flags & LUNETTE_OPEN_RAW))
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "open: LUNETTE_OPEN_ANY_LUN goes with LUNETTE_OPEN_RAW");
    return 0;
}

static struct lunette_open *
open_new(struct lunette_ctx *ctx, void *user, const struct lunette_error *err)
{
    struct lunette_open *op = calloc(1, sizeof(*op));

    if (op == NULL)
        return NULL;
    op->ctx = ctx;
    op->user = user;
    op->err_size = err != NULL ? err->struct_size : 0;
    loop_timer_init(&op->later, open_give_up);
    loop_timer_init(&op->limit, open_too_late);
    return op;
}

static void
open_set_limit(struct lunette_open *op, uint32_t login_timeout_ms)
{
    op->until_ns = op->ctx->loop->now_ns + login_timeout_ms * LOOP_NS_PER_MS;
}

/* Makes the session of op and begins to log in. */
static int
open_start_session(struct lunette_open *op, const char *url, uint32_t flags,
                   struct lunette_error *err)
{
    struct lunette_session *s = calloc(1, sizeof(*s));
    int r;

    if (s == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    s->owner = op;
    s->zero_copy = (flags & LUNETTE_OPEN_ZERO_COPY) != 0;
    r = api_session_open_start(op->ctx, url, s, open_session_up, err);
    if (r < 0) {
        free(s);
        return r;
    }
    op->s = s;
    open_set_limit(op, s->url->cfg.login_timeout_ms);
    return 0;
}

int
lunette_open_start(struct lunette_ctx *ctx, const char *url, uint32_t flags, lun_done *done,
                   void *user, struct lunette_open **ret, struct lunette_error *err)
{
    struct lunette_open *op = NULL;
    struct lunette_lun *lun = NULL;
    int r = api_error_check(err);

    if (r == 0)
        r = open_check_flags(flags, OPEN_FLAGS, err);
    if (r < 0)
        return r;
    op = open_new(ctx, user, err);
    lun = calloc(1, sizeof(*lun));
    if (op == NULL || lun == NULL)
        r = lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    else
        r = open_start_session(op, url, flags, err);
    if (r < 0) {
        free(lun);
        free(op);
        return r;
    }
    op->lun_done = done;
    op->lun = lun;
    lun->op = op;
    lun->moved = open_moved;
    lun->own_session = true;
    api_unit_init(lun, op->s, op->s->url->lun, flags);
    ctx->handles++;
    if (ret != NULL)
        *ret = op;
    return 0;
}

int
lunette_session_open_start(struct lunette_ctx *ctx, const char *url, uint32_t flags,
                           session_done *done, void *user, struct lunette_open **ret,
                           struct lunette_error *err)
{
    struct lunette_open *op;
    int r = api_error_check(err);

    if (r == 0)
        r = open_check_flags(flags, LUNETTE_OPEN_ZERO_COPY, err);
    if (r < 0)
        return r;
    op = open_new(ctx, user, err);
    if (op == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    op->session_done = done;
    r = open_start_session(op, url, flags, err);
    if (r < 0) {
        free(op);
        return r;
    }
    ctx->handles++;
    if (ret != NULL)
        *ret = op;
    return 0;
}

/* A number as in a URL: what is too large for one is the eight bytes of the LUN. */
static void
open_lun_of(uint64_t number, uint8_t wire[8])
{
    if (number <= LUN_NUMBER_MAX)
        lun_store(wire, lun_from_number(number));
    else
        st_be64(wire, number);
}

static bool
open_lun_taken(const struct lunette_session *s, const uint8_t wire[8])
{
    LIST_FOREACH (n, &s->luns) {
        const struct lunette_lun *lun = container_of(n, struct lunette_lun, node);

        if (memcmp(lun->lun_wire, wire, sizeof(lun->lun_wire)) == 0 &&
            !(lun->flags & LUNETTE_OPEN_SESSION))
            return true;
    }
    return false;
}

static int
open_check_lun(const struct lunette_session *s, const uint8_t wire[8], struct lunette_error *err)
{
    struct lunette_error why;

    if (s->want_close || s->closed != NULL || s->stack == NULL)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "the session is being closed");
    if (s->gone) {
        api_session_why(s, &why);
        return lunette_fail_as(err, &why);
    }
    if (open_lun_taken(s, wire))
        return lunette_fail(err, -EBUSY, LUNETTE_DOM_USAGE, 0,
                            "this LUN of the session is open already, or is being closed");
    return 0;
}

int
lunette_session_lun_start(struct lunette_session *s, uint64_t number, uint32_t flags,
                          lun_done *done, void *user, struct lunette_open **ret,
                          struct lunette_error *err)
{
    struct lunette_open *op = NULL;
    struct lunette_lun *lun = NULL;
    uint8_t wire[8];
    int r = api_error_check(err);

    open_lun_of(number, wire);
    if (r == 0)
        r = open_check_flags(flags, OPEN_LUN_FLAGS, err);
    if (r == 0)
        r = open_check_lun(s, wire, err);
    if (r < 0)
        return r;
    op = open_new(s->ctx, user, err);
    lun = calloc(1, sizeof(*lun));
    if (op == NULL || lun == NULL) {
        free(lun);
        free(op);
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    }
    op->lun_done = done;
    op->lun = lun;
    lun->op = op;
    lun->moved = open_moved;
    api_unit_init(lun, s, wire, flags);
    r = api_unit_start(lun, open_lun_up, err);
    if (r < 0) {
        list_del(&lun->node);
        free(lun);
        free(op);
        return r;
    }
    open_set_limit(op, reopen_limits(s->reopen)->login_timeout_ms);
    open_moved(lun);
    s->ctx->handles++;
    if (ret != NULL)
        *ret = op;
    return 0;
}

/* ---- the calls that wait -------------------------------------------------------------------- */

struct open_wait {
    bool done;
    struct lunette_lun *lun;
    struct lunette_session *s;
    struct lunette_error err;
};

static void
open_wait_done(struct open_wait *w, const struct lunette_error *err)
{
    w->done = true;
    if (err != NULL)
        w->err = *err;
}

static void
open_wait_lun(void *user, struct lunette_lun *lun, const struct lunette_error *err)
{
    struct open_wait *w = user;

    w->lun = lun;
    open_wait_done(w, err);
}

static void
open_wait_session(void *user, struct lunette_session *s, const struct lunette_error *err)
{
    struct open_wait *w = user;

    w->s = s;
    open_wait_done(w, err);
}

static int
open_wait(struct lunette_ctx *ctx, struct lunette_open *op, struct open_wait *w,
          struct lunette_error *err)
{
    int r = api_wait(ctx, &w->done, err);

    if (r < 0) {
        lunette_open_cancel(op);
        return r;
    }
    return w->lun == NULL && w->s == NULL ? lunette_fail_as(err, &w->err) : 0;
}

int
lunette_open(struct lunette_ctx *ctx, const char *url, uint32_t flags, struct lunette_lun **ret,
             struct lunette_error *err)
{
    struct lunette_open *op = NULL;
    struct open_wait w = {0};
    int r = lunette_open_start(ctx, url, flags, open_wait_lun, &w, &op, err);

    if (r == 0)
        r = open_wait(ctx, op, &w, err);
    if (r == 0)
        *ret = w.lun;
    return r;
}

int
lunette_session_open(struct lunette_ctx *ctx, const char *url, uint32_t flags,
                     struct lunette_session **ret, struct lunette_error *err)
{
    struct lunette_open *op = NULL;
    struct open_wait w = {0};
    int r = lunette_session_open_start(ctx, url, flags, open_wait_session, &w, &op, err);

    if (r == 0)
        r = open_wait(ctx, op, &w, err);
    if (r == 0)
        *ret = w.s;
    return r;
}

int
lunette_session_lun(struct lunette_session *s, uint64_t number, uint32_t flags,
                    struct lunette_lun **ret, struct lunette_error *err)
{
    struct lunette_open *op = NULL;
    struct open_wait w = {0};
    int r = lunette_session_lun_start(s, number, flags, open_wait_lun, &w, &op, err);

    if (r == 0)
        r = open_wait(s->ctx, op, &w, err);
    if (r == 0)
        *ret = w.lun;
    return r;
}

struct lunette_session *
lunette_lun_session(const struct lunette_lun *lun)
{
    return lun->s;
}
