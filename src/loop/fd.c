/* SPDX-License-Identifier: MIT */
/* loop/fd.c - the descriptor of loop_fd, for programs that wait in a loop of their own.
 *
 * It has to be readable whenever loop_run would find something to do.  It is the poller's
 * descriptor, which is readable when the kernel has an event.  For timers the loop adds a
 * timerfd to the poller, the alarm.  Deferred and posted work makes no event in the
 * kernel, so the loop writes to an eventfd that the poller watches, the bell.
 */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "loop/real.h"

/* Sets the alarm when it has fired, or when it is later than the earliest timer.  A timer that is
 * stopped or moved to a later time, as the timeout of each I/O is, leaves the alarm as it is: to
 * wake up in vain now and then is cheaper than a system call for each I/O. */
static void
set_alarm(struct real_loop *l)
{
    struct timerq_node *first = timerq_first(&l->timers);
    struct itimerspec its = {0};
    uint64_t when;

    if (first == NULL)
        return;
    when = first->when_ns > 0 ? first->when_ns : 1; /* 0 would disarm the timerfd */
    if (l->alarm_ns > l->pub.now_ns && l->alarm_ns <= when)
        return;
    if (when / LOOP_NS_PER_S > INT_MAX)
        return;
    its.it_value.tv_sec = (time_t)(when / LOOP_NS_PER_S);
    its.it_value.tv_nsec = (long)(when % LOOP_NS_PER_S);
    l->pub.stats.syscalls++;
    if (timerfd_settime(l->alarm.fd, TFD_TIMER_ABSTIME, &its, NULL) == 0)
        l->alarm_ns = when;
}

void
real_fd_show(struct real_loop *l)
{
    assert(l->fd_asked && !l->running);
    l->poller->ops->flush(l->poller);
    if (real_busy(l) && !l->kicked) {
        l->kicked = true;
        l->pub.stats.syscalls++;
        mailbox_ring(l->poller->bell_fd >= 0 ? l->poller->bell_fd : l->mail->wake_fd);
    }
    set_alarm(l);
}

void
real_woken(struct pollee *e, uint32_t events)
{
    (void)e;
    (void)events;
}

static int
open_alarm(struct real_loop *l)
{
    int r, fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);

    if (fd < 0)
        return -errno;
    l->alarm = (struct pollee){.fd = fd, .ready = real_woken};
    r = l->poller->ops->add(l->poller, &l->alarm);
    if (r < 0)
        (void)close(fd);
    return r;
}

int
real_fd(struct loop *pub)
{
    struct real_loop *l = real_loop(pub);
    int r, fd = l->poller->ops->fd(l->poller);

    if (fd < 0 || l->fd_asked)
        return fd;
    r = open_alarm(l);
    if (r < 0)
        return r;
    mailbox_set_bell(l->mail, l->poller->bell_fd);
    l->fd_asked = true;
    real_changed(l);
    return fd;
}
