/* SPDX-License-Identifier: MIT */
#include "target/fence.h"

#include "target/conn.h"
#include "target/instance.h"
#include "target/session.h"
#include "target/txq.h"
#include "wire/sn.h"

static void
fence_down(struct tgt_conn *c)
{
    struct tgt_session *s = c->sess;

    c->fence = TGT_FENCE_NONE;
    if (--s->fences > 0)
        return;
    loop_timer_stop(s->target->loop, &s->fence_timer);
    s->fence_passed(s);
}

/* Whoever does not acknowledge anything is as good as lost.  With the last of them the fence is
 * passed, which may begin the next one: that has its own time. */
static void
fence_timeout(struct loop_timer *timer)
{
    struct tgt_session *s = container_of(timer, struct tgt_session, fence_timer);
    uint32_t late = s->fences;

    LIST_FOREACH_SAFE (i, &s->conns) {
        struct tgt_conn *c = container_of(i, struct tgt_conn, sess_link);

        if (c->fence == TGT_FENCE_NONE)
            continue;
        tgt_conn_kill(c, "it does not acknowledge responses");
        if (--late == 0)
            break;
    }
}

void
tgt_fence_init(struct tgt_session *s)
{
    loop_timer_init(&s->fence_timer, fence_timeout);
    list_init(&s->fenced_cmds);
}

/* All that was queued before the NOP-In has its StatSN now. */
static void
fence_made(struct tgt_conn *c)
{
    c->fence = TGT_FENCE_SENT;
    c->fence_sn = c->stat_sn;
    if (!c->takes_acks)
        c->exp_stat_sn = c->stat_sn - 1; /* what came before was not noted */
    c->takes_acks = true;
    tgt_fence_acked(c);
}

static void
fence_up(struct tgt_conn *c)
{
    struct tgt_ctl *ctl = tgt_ctl_new(ISCSI_OP_NOP_IN, ISCSI_TAG_RSVD);

    c->fence = TGT_FENCE_UP;
    c->sess->fences++;
    if (ctl == NULL)
        return; /* it will be lost for that */
    ctl->numbered = false;
    ((struct bhs_nop_in *)(void *)ctl->hdr)->ttt = put32(tgt_session_ttt(c->sess));
    ctl->made = fence_made;
    tgt_ctl_send(c, ctl);
}

void
tgt_fence_wait(struct tgt_session *s, struct tgt_conn *one, bool others,
               void (*passed)(struct tgt_session *s))
{
    s->fence_passed = passed;
    LIST_FOREACH (i, &s->conns) {
        struct tgt_conn *c = container_of(i, struct tgt_conn, sess_link);

        if ((c == one) != others && c->state == TGT_CONN_FFP)
            fence_up(c);
    }
    if (s->fences == 0)
        passed(s);
    else
        loop_timer_start(s->target->loop, &s->fence_timer,
                         s->target->ping_timeout_ms * LOOP_NS_PER_MS);
}

void
tgt_fence_hold(struct tgt_session *s, const struct tgt_conn *but)
{
    LIST_FOREACH (i, &s->conns) {
        struct tgt_conn *c = container_of(i, struct tgt_conn, sess_link);
        bool was = c->held_back;

        c->held_back = but != NULL && c != but && c->state == TGT_CONN_FFP;
        if (was && !c->held_back && !c->blocked)
            loop_defer(c->target->loop, &c->flush);
    }
}

void
tgt_fence_acked(struct tgt_conn *c)
{
    if (c->fence == TGT_FENCE_SENT && sn_gte(c->exp_stat_sn, c->fence_sn))
        fence_down(c);
}

void
tgt_fence_leave(struct tgt_conn *c)
{
    if (c->fence != TGT_FENCE_NONE)
        fence_down(c);
}
