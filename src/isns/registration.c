/* SPDX-License-Identifier: MIT */
/* isns/registration.c - the registration that lasts: it is made anew before the server forgets it,
 * and after failures. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "isns/call.h"
#include "isns/listen.h"

#define RENEW_S     600 /* at the latest: a server that was started anew may know nothing */
#define RENEW_MIN_S 15
#define RETRY_S     5 /* after a failure; it doubles with each */
#define RETRY_MAX_S 300
#define CHANGED_MS  1000 /* changes that come together are told together */
/* RFC 4171 6.4.4: added, removed, updated, of targets and of ourselves. */
#define SCN_CHANGES 0x5cu

struct isns_registration {
    struct loop *loop;
    struct isns_config cfg;
    struct isns_call call;
    struct isns_listener listener;
    const struct isns_registration_events *ev;
    void *user;
    struct loop_timer again; /* the next registration */
    struct loop_timer tell;  /* changes are told */
    uint32_t retry_s, period_s;
    bool told_failure, ending;
    void (*ended)(void *user);
    void *ended_user;
};

static void
reg_later(struct isns_registration *g, uint32_t s)
{
    uint64_t ns = s * LOOP_NS_PER_S;

    loop_timer_start(g->loop, &g->again, ns - ns / 8 + loop_random(g->loop) % (ns / 4));
}

static void
reg_on_changed(struct isns_listener *n)
{
    struct isns_registration *g = container_of(n, struct isns_registration, listener);

    if (!loop_timer_running(&g->tell))
        loop_timer_start(g->loop, &g->tell, CHANGED_MS * LOOP_NS_PER_MS);
}

static void
reg_on_tell(struct loop_timer *t)
{
    struct isns_registration *g = container_of(t, struct isns_registration, tell);

    g->ev->changed(g->user); /* g may be gone */
}

static void
reg_failed(struct isns_registration *g, const struct lunette_error *err)
{
    bool first = !g->told_failure;

    g->told_failure = true;
    reg_later(g, g->retry_s);
    g->retry_s = g->retry_s * 2 < RETRY_MAX_S ? g->retry_s * 2 : RETRY_MAX_S;
    if (first)
        g->ev->failed(g->user, err); /* g may be gone */
}

/* ---- SCN ------------------------------------------------------------------------------------ */

static int
reg_write_scn(struct isns_call *c, const struct sock_addr *local, struct isns_out *o,
              struct lunette_error *err)
{
    (void)local;
    (void)err;
    isns_begin(o, ISNS_SCN_REG, ISNS_CLIENT, c->xid);
    isns_put_text(o, ISNS_NODE_NAME, c->cfg->source);
    isns_put_text(o, ISNS_NODE_NAME, c->cfg->source);
    isns_put(o, ISNS_DELIMITER, NULL, 0);
    isns_put_num(o, ISNS_SCN_BITMAP, SCN_CHANGES);
    return 0;
}

static void
reg_on_scn(struct isns_call *c, const struct isns_in *in, const struct lunette_error *err)
{
    struct isns_registration *g = container_of(c, struct isns_registration, call);

    (void)in;
    if (err != NULL) {
        reg_failed(g, err);
        return;
    }
    g->told_failure = false;
    g->retry_s = RETRY_S;
    reg_later(g, g->period_s);
    loop_timer_stop(g->loop, &g->tell);
    g->ev->changed(g->user); /* g may be gone */
}

/* ---- registration --------------------------------------------------------------------------- */

static int
reg_write(struct isns_call *c, const struct sock_addr *local, struct isns_out *o,
          struct lunette_error *err)
{
    struct isns_registration *g = container_of(c, struct isns_registration, call);
    struct sock_addr server;
    int r = stream_names(c->stream, NULL, &server);

    if (r < 0)
        return lunette_fail(err, r, LUNETTE_DOM_CONNECT, (uint32_t)-r,
                            "lost the connection to the iSNS server: %s", errno_text(r));
    r = isns_listener_open(&g->listener, local, &server, err);
    if (r == 0)
        isns_put_registration(o, c->xid, c->cfg->source, local, isns_listener_port(&g->listener),
                              true);
    return r;
}

static void
reg_on_answer(struct isns_call *c, const struct isns_in *in, const struct lunette_error *err)
{
    struct isns_registration *g = container_of(c, struct isns_registration, call);
    struct lunette_error why = {.code = 0};
    struct isns_attr a;
    uint32_t s = 0;

    if (err != NULL) {
        reg_failed(g, err);
        return;
    }
    g->period_s = RENEW_S;
    if (isns_find(in, true, ISNS_REGISTRATION_PERIOD, &a) && isns_num(&a, &s) && s > 0 &&
        s / 3 < RENEW_S)
        g->period_s = s / 3 > RENEW_MIN_S ? s / 3 : RENEW_MIN_S;
    g->call.write = reg_write_scn;
    g->call.done = reg_on_scn;
    if (isns_call_start(&g->call, &why) < 0)
        reg_failed(g, &why);
}

static void
reg_on_again(struct loop_timer *t)
{
    struct isns_registration *g = container_of(t, struct isns_registration, again);
    struct lunette_error err = {.code = 0};

    g->call.write = reg_write;
    g->call.done = reg_on_answer;
    if (isns_call_start(&g->call, &err) < 0)
        reg_failed(g, &err);
}

int
isns_register(struct loop *l, const struct isns_config *cfg,
              const struct isns_registration_events *ev, void *user, struct isns_registration **ret,
              struct lunette_error *err)
{
    struct isns_registration *g = calloc(1, sizeof(*g));

    assert(ev->changed != NULL && ev->failed != NULL);
    if (g == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "out of memory");
    g->loop = l;
    g->cfg = *cfg;
    g->ev = ev;
    g->user = user;
    g->retry_s = RETRY_S;
    isns_call_init(&g->call, l, &g->cfg);
    isns_listener_init(&g->listener, l, reg_on_changed);
    loop_timer_init(&g->again, reg_on_again);
    loop_timer_init(&g->tell, reg_on_tell);
    loop_timer_start(l, &g->again, 0); /* which tries again where it fails */
    *ret = g;
    return 0;
}

/* ---- the end -------------------------------------------------------------------------------- */

static void
reg_ended(struct isns_registration *g)
{
    void (*ended)(void *user) = g->ended;
    void *user = g->ended_user;

    isns_registration_free(&g);
    if (ended != NULL)
        ended(user);
}

static void
reg_on_dereg(struct isns_call *c, const struct isns_in *in, const struct lunette_error *err)
{
    (void)in;
    (void)err; /* the server forgets whom it does not hear of */
    reg_ended(container_of(c, struct isns_registration, call));
}

/* There was no connection for the last message. */
static void
reg_on_no_dereg(struct loop_timer *t)
{
    reg_ended(container_of(t, struct isns_registration, again));
}

void
isns_deregister(struct isns_registration *g, void (*done)(void *user), void *user)
{
    assert(!g->ending);
    g->ending = true;
    g->ended = done;
    g->ended_user = user;
    isns_call_stop(&g->call);
    isns_listener_close(&g->listener);
    loop_timer_stop(g->loop, &g->tell);
    loop_timer_stop(g->loop, &g->again);
    g->call.write = isns_write_deregistration;
    g->call.done = reg_on_dereg;
    if (isns_call_start(&g->call, NULL) == 0)
        return;
    loop_timer_init(&g->again, reg_on_no_dereg);
    loop_timer_start(g->loop, &g->again, 0);
}

void
isns_registration_free(struct isns_registration **pg)
{
    struct isns_registration *g = *pg;

    if (g == NULL)
        return;
    *pg = NULL;
    isns_call_stop(&g->call);
    isns_listener_close(&g->listener);
    loop_timer_stop(g->loop, &g->again);
    loop_timer_stop(g->loop, &g->tell);
    free(g);
}
