/* SPDX-License-Identifier: MIT */
#include "target/flow.h"

#include "target/face.h"
#include "target/instance.h"

/* Whether so few control PDUs wait that it is worth reading again. */
static bool
has_room(const struct tgt_conn *c)
{
    return c->ctl_count <= TGT_CTL_MAX / 2 && c->ctl_bytes <= TGT_CTL_BYTES / 2;
}

static void
read_again(struct loop_timer *timer)
{
    struct tgt_conn *c = container_of(timer, struct tgt_conn, again);

    c->paused = false;
    c->face->pause(c, false);
    c->face->receive(c);
}

/* In the next turn: the others first. */
static void
read_soon(struct tgt_conn *c)
{
    loop_timer_start(c->target->loop, &c->again, 0);
}

void
tgt_flow_init(struct tgt_conn *c)
{
    loop_timer_init(&c->again, read_again);
}

void
tgt_flow_stop(struct tgt_conn *c)
{
    loop_timer_stop(c->target->loop, &c->again);
}

void
tgt_flow_pause(struct tgt_conn *c)
{
    if (c->paused)
        return;
    c->paused = true;
    c->face->pause(c, true);
    if (has_room(c))
        read_soon(c);
}

void
tgt_flow_sent(struct tgt_conn *c)
{
    if (c->paused && has_room(c) && !loop_timer_running(&c->again))
        read_soon(c);
}
