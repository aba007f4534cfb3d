/* SPDX-License-Identifier: MIT */
#include "login/backoff.h"

#include <errno.h>

#include "wire/bhs.h"

void
backoff_reset(struct login_backoff *b, uint64_t now_ns)
{
    *b = (struct login_backoff){.since_ns = now_ns};
}

/* Were we refused for who we are?  Detail 0 is ours: the target could not prove who it is. */
static bool
backoff_is_auth(const struct lunette_error *why)
{
    return why->domain == LUNETTE_DOM_LOGIN &&
           (why->detail == 0 || why->detail == ISCSI_LOGIN_AUTH_FAILED ||
            why->detail == ISCSI_LOGIN_FORBIDDEN);
}

static bool
backoff_is_young(const struct login_backoff *b, uint64_t now_ns)
{
    return now_ns - b->since_ns < BACKOFF_YOUNG_S * LOOP_NS_PER_S;
}

/* Has the peer, or its machine, answered at all? */
static bool
backoff_is_answer(const struct lunette_error *why)
{
    return (why->domain == LUNETTE_DOM_CONNECT && why->code == -ECONNREFUSED) ||
           why->domain == LUNETTE_DOM_LOGIN || why->domain == LUNETTE_DOM_PROTO;
}

uint64_t
backoff_next(struct login_backoff *b, struct loop *loop, uint64_t began_ns,
             const struct lunette_error *why)
{
    uint32_t most = backoff_is_young(b, loop->now_ns) ? BACKOFF_QUICK_MS : BACKOFF_SLOW_MS;
    uint64_t step, wait, took = loop->now_ns - began_ns;
    bool in_haste = b->hasty && took < BACKOFF_LOGIN_MS * LOOP_NS_PER_MS;

    if (why->domain == LUNETTE_DOM_TIMEOUT && !in_haste && b->timeouts < 16)
        b->timeouts++;
    b->heard = backoff_is_answer(why);
    b->step_ms = b->step_ms == 0 ? BACKOFF_FIRST_MS : 2 * b->step_ms;
    if (b->step_ms > most)
        b->step_ms = most;
    step = b->step_ms;
    if (backoff_is_auth(why) && step < BACKOFF_AUTH_MS)
        step = BACKOFF_AUTH_MS;
    step *= LOOP_NS_PER_MS;
    wait = step / 2 + loop_random(loop) % (step / 2 + 1);
    if (wait < took + BACKOFF_GAP_MS * LOOP_NS_PER_MS)
        return BACKOFF_GAP_MS * LOOP_NS_PER_MS;
    return wait - took;
}

/* Four times what the last connection, or answer, took, which leaves room for one that is lost and
 * sent again.  No try has less than the longest step while the trouble is young. */
static uint64_t
backoff_usual_ms(uint64_t took_ns)
{
    uint64_t ms = 4 * (took_ns / LOOP_NS_PER_MS);

    return ms < BACKOFF_QUICK_MS ? BACKOFF_QUICK_MS : ms;
}

uint32_t
backoff_connect_ms(const struct login_backoff *b, const struct login_config *cfg,
                   uint64_t connect_ns)
{
    uint64_t ms = backoff_usual_ms(connect_ns);

    if (ms < b->step_ms)
        ms = b->step_ms;
    return ms < cfg->connect_timeout_ms ? (uint32_t)ms : cfg->connect_timeout_ms;
}

uint32_t
backoff_login_ms(const struct login_backoff *b, const struct login_config *cfg, uint64_t connect_ns)
{
    uint64_t ms = (uint64_t)BACKOFF_LOGIN_MS << b->timeouts;
    uint64_t connect = (uint64_t)(2 + cfg->ngroup) * backoff_connect_ms(b, cfg, connect_ns);

    if (ms < connect)
        ms = connect;
    return ms < cfg->login_timeout_ms ? (uint32_t)ms : cfg->login_timeout_ms;
}

/* A request to connect that is given up too early costs the target what it has prepared for it, and
 * some die of that.  Where the peer's machine has just refused one, the next that is not answered
 * is one that its program works at, so that it gets all the time there is.  Else it may be lost,
 * and nobody sends it again for seconds. */
void
backoff_ep(const struct login_backoff *b, struct login_config *cfg, uint64_t connect_ns)
{
    uint64_t ms = backoff_connect_ms(b, cfg, connect_ns);

    if (ms < BACKOFF_EP_MS)
        ms = BACKOFF_EP_MS;
    if (b->heard || ms > cfg->connect_timeout_ms)
        ms = cfg->connect_timeout_ms;
    cfg->ep_try_ms = (uint32_t)ms;
    ms = (1 + cfg->ngroup) * ms + backoff_login_ms(b, cfg, connect_ns);
    cfg->ep_login_ms = ms < cfg->login_timeout_ms ? (uint32_t)ms : cfg->login_timeout_ms;
}

uint32_t
backoff_answer_ms(struct login_backoff *b, uint64_t now_ns, uint64_t answer_ns)
{
    uint64_t ms = backoff_usual_ms(answer_ns);

    b->hasty = b->timeouts >= BACKOFF_PATIENT && backoff_is_young(b, now_ns);
    if (!b->hasty)
        return 0;
    return ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX;
}
