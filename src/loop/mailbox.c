/* SPDX-License-Identifier: MIT */
/* loop/mailbox.c - where other threads leave work for a loop. */
#include "loop/mailbox.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

struct mailbox *
mailbox_new(int wake_fd)
{
    struct mailbox *m = calloc(1, sizeof(*m));

    assert(wake_fd >= 0);
    if (m == NULL)
        return NULL;
    if (pthread_mutex_init(&m->lock, NULL) != 0) {
        free(m);
        return NULL;
    }
    list_init(&m->posted);
    m->refs = 1;
    m->wake_fd = wake_fd;
    m->bell_fd = -1;
    return m;
}

struct mailbox *
mailbox_ref(struct mailbox *m)
{
    (void)pthread_mutex_lock(&m->lock);
    assert(m->refs > 0);
    m->refs++;
    (void)pthread_mutex_unlock(&m->lock);
    return m;
}

void
mailbox_unref(struct mailbox *m)
{
    uint32_t refs;

    (void)pthread_mutex_lock(&m->lock);
    assert(m->refs > 0);
    refs = --m->refs;
    (void)pthread_mutex_unlock(&m->lock);
    if (refs > 0)
        return;
    assert(list_empty(&m->posted));
    (void)pthread_mutex_destroy(&m->lock);
    (void)close(m->wake_fd);
    free(m);
}

void
mailbox_ring(int fd)
{
    static const uint64_t one = 1;
    ssize_t r = write(fd, &one, sizeof(one));

    assert(r == sizeof(one)); /* 2^64 wake-ups are not reached */
    (void)r;
}

bool
mailbox_post(struct mailbox *m, struct loop_work *w)
{
    bool first, closed;

    (void)pthread_mutex_lock(&m->lock);
    closed = m->closed;
    first = list_empty(&m->posted);
    if (!closed) {
        assert(list_empty(&w->node));
        list_push_back(&m->posted, &w->node);
        atomic_store_explicit(&m->any, true, memory_order_release);
        if (first)
            mailbox_ring(m->wake_fd);
        if (first && m->bell_fd >= 0)
            mailbox_ring(m->bell_fd);
    }
    (void)pthread_mutex_unlock(&m->lock);
    return !closed;
}

void
mailbox_take(struct mailbox *m, struct list *to)
{
    (void)pthread_mutex_lock(&m->lock);
    list_splice(to, &m->posted);
    atomic_store_explicit(&m->any, false, memory_order_relaxed);
    (void)pthread_mutex_unlock(&m->lock);
}

void
mailbox_set_bell(struct mailbox *m, int bell_fd)
{
    (void)pthread_mutex_lock(&m->lock);
    m->bell_fd = bell_fd;
    (void)pthread_mutex_unlock(&m->lock);
}

void
mailbox_close(struct mailbox *m, struct list *to)
{
    (void)pthread_mutex_lock(&m->lock);
    assert(!m->closed);
    m->closed = true;
    (void)pthread_mutex_unlock(&m->lock);
    mailbox_take(m, to);
}
