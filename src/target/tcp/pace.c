/* SPDX-License-Identifier: MIT */
/* How often a busy connection is read.
 *
 * An initiator that sends each command by itself, header and data apart, wakes
 * us for every one of them, and waking costs more than the command.  As network
 * cards do with interrupts, such a connection is read some time later, or when
 * a good amount has come, whichever is first; what came meanwhile is answered
 * together.
 *
 * A wait must cost the initiator nothing.  Its own word tells: ExpStatSN says
 * which of our responses it had read when it made its newest command.  One that
 * leaves many unread is slower than we are: while it deals with them, what it
 * sends only joins a queue.  Then one wait follows on the other.  Each begins
 * when all that had come is answered, so that every command which the initiator
 * has under way is in its own hands, and is shorter than it needs for them: it
 * does not run dry.  An initiator that has read everything, as with few commands
 * under way, or that works in batches, is never made to wait.
 */
#include "target/tcp/pace.h"

#include "target/face.h"
#include "target/instance.h"

#define BEHIND_MIN  16u          /* unread responses that make it worth a thought */
#define FEW         6u           /* commands in a turn that need no company */
#define MARK        (128u << 10) /* bytes that end a wait */
#define WAIT_MIN_NS 10000u       /* less than that is not worth a timer */
#define GAP_MAX_NS  1000000u     /* between commands; more is idleness */
#define USUAL_ONE   16u          /* of struct tgt_pace.usual, a command */
#define REST_TURNS  256u         /* no further try after a wait in vain */

static void
wait_over(struct loop_timer *timer)
{
    struct tgt_tcp *f = container_of(timer, struct tgt_tcp, pace.timer);

    f->pace.timed = true;
    f->c.face->receive(&f->c);
}

void
tgt_pace_init(struct tgt_tcp *f)
{
    f->pace = (struct tgt_pace){.gap_ns = GAP_MAX_NS};
    loop_timer_init(&f->pace.timer, wait_over);
}

void
tgt_pace_stop(struct tgt_tcp *f)
{
    f->pace.waits = false;
    loop_timer_stop(f->c.target->loop, &f->pace.timer);
}

/* The time from one command to the next, smoothed over some turns. */
static void
learn_gap(struct tgt_pace *p, uint64_t now_ns)
{
    uint64_t gap = (now_ns - p->turn_ns) / p->commands;

    p->turn_ns = now_ns;
    if (gap > GAP_MAX_NS)
        gap = GAP_MAX_NS;
    p->gap_ns = (uint32_t)((p->gap_ns * 7ull + gap) / 8);
}

/* Whether the initiator shows that it is behind and sends its commands one by one. */
static bool
worth_a_wait(const struct tgt_pace *p, uint32_t unread)
{
    return unread >= BEHIND_MIN && p->commands > 0 && p->commands <= FEW &&
           p->usual <= FEW * USUAL_ONE;
}

/* How long the initiator can do without us; 0: not at all. */
static uint64_t
patience_ns(struct tgt_tcp *f)
{
    struct tgt_pace *p = &f->pace;
    uint32_t unread = f->c.stat_sn - p->exp_stat_sn;
    uint64_t ns;

    if (unread > INT32_MAX) /* it may claim what it wants */
        return 0;
    /* When all that it could send in a wait has come, it waits for us. */
    if (p->waits ? p->commands >= p->due : !worth_a_wait(p, unread))
        return 0;
    unread += p->commands; /* their responses leave now */
    if (unread <= BEHIND_MIN)
        return 0;
    p->due = unread;
    ns = (uint64_t)unread * p->gap_ns * 2 / 3;
    if (ns > f->c.target->pace_ns)
        ns = f->c.target->pace_ns;
    return ns >= WAIT_MIN_NS ? ns : 0;
}

uint32_t
tgt_pace_turn(struct tgt_tcp *f)
{
    struct tgt_pace *p = &f->pace;
    uint64_t ns = 0;

    if (f->c.target->pace_ns == 0)
        return 1;
    if (p->commands > 0)
        learn_gap(p, f->c.target->loop->now_ns);
    if (!p->waits && p->commands > 0)
        p->usual = (p->usual * 7 + p->commands * USUAL_ONE) / 8;
    if (p->timed && p->commands < 2)
        p->rest = REST_TURNS;
    else if (p->rest > 0)
        p->rest--;
    else
        ns = patience_ns(f);
    p->commands = 0;
    p->timed = false;
    p->waits = ns > 0;
    if (p->waits)
        loop_timer_start(f->c.target->loop, &p->timer, ns);
    else
        loop_timer_stop(f->c.target->loop, &p->timer);
    return p->waits ? MARK : 1;
}
