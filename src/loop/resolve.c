/* SPDX-License-Identifier: MIT */
/* loop/resolve.c - name lookup.  getaddrinfo blocks, so it runs in a helper thread, which posts
 * its result to the loop's mailbox.
 *
 * A lookup cannot be stopped while its thread runs: to cancel it means that the result
 * is dropped, and the loop may be freed before the thread ends.  At most
 * LOOKUP_THREADS_MAX threads run at a time, those of canceled lookups included; other
 * lookups wait for one of them to end.
 */
#include "loop/real.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define LOOKUP_THREADS_MAX  8
#define LOOKUPS_PENDING_MAX 1024

enum lookup_state { LOOKUP_WAITING, LOOKUP_RUNNING, LOOKUP_KNOWN };

struct resolve {
    struct loop_work work;  /* posted by the thread; deferred where no thread was needed */
    struct list node;       /* in real_loop.lookups while WAITING */
    struct real_loop *loop; /* never used by the thread, since the loop may be gone */
    struct mailbox *mail;   /* while RUNNING: a reference, which the thread gives back */
    void (*done)(void *user, int err, const struct sock_addr *addr, int count);
    void *user;
    enum lookup_state state;
    bool cancelled; /* never used by the thread: done is not to be called */
    char host[HOST_MAX + 1];
    uint16_t port;
    int err, count;
    struct sock_addr addr[LOOP_RESOLVE_MAX];
};

static int
errno_of_eai(int eai)
{
    switch (eai) {
    case EAI_AGAIN:
        return -EAGAIN;
    case EAI_MEMORY:
        return -ENOMEM;
    case EAI_SYSTEM:
        return errno > 0 ? -errno : -EIO;
    case EAI_NONAME:
    case EAI_NODATA:
    case EAI_ADDRFAMILY:
        return -ENOENT;
    default:
        return -EIO;
    }
}

static void
set_port(struct sock_addr *a, uint16_t port)
{
    if (a->ss.ss_family == AF_INET)
        ((struct sockaddr_in *)(void *)&a->ss)->sin_port = htons(port);
    else
        ((struct sockaddr_in6 *)(void *)&a->ss)->sin6_port = htons(port);
}

/* Fills in err, count and addr. */
static void
look_up(struct resolve *r, int flags)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = flags};
    struct addrinfo *list = NULL;
    int eai = getaddrinfo(r->host, NULL, &hints, &list);

    r->count = 0;
    if (eai != 0) {
        r->err = errno_of_eai(eai);
        return;
    }
    for (struct addrinfo *a = list; a != NULL && r->count < LOOP_RESOLVE_MAX; a = a->ai_next) {
        struct sock_addr *to = &r->addr[r->count];

        if (a->ai_family != AF_INET && a->ai_family != AF_INET6)
            continue;
        memcpy(&to->ss, a->ai_addr, a->ai_addrlen);
        to->len = a->ai_addrlen;
        set_port(to, r->port);
        r->count++;
    }
    freeaddrinfo(list);
    r->err = r->count > 0 ? 0 : -ENOENT;
}

static void *
lookup_thread(void *arg)
{
    struct resolve *r = arg;
    struct mailbox *m = r->mail;

    look_up(r, 0);
    if (!mailbox_post(m, &r->work)) /* once posted, r belongs to the loop */
        free(r);
    mailbox_unref(m);
    return NULL;
}

static int
start_thread(struct resolve *r)
{
    sigset_t all, old;
    pthread_attr_t attr;
    pthread_t thread;
    int e;

    if (pthread_attr_init(&attr) != 0)
        return -ENOMEM;
    (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    r->mail = mailbox_ref(r->loop->mail);
    r->state = LOOKUP_RUNNING;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all,
                          &old); /* the thread must not run handlers of the application */
    e = pthread_create(&thread, &attr, lookup_thread, r);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    (void)pthread_attr_destroy(&attr);
    if (e != 0) {
        mailbox_unref(r->mail);
        return -e;
    }
    r->loop->lookup_threads++;
    return 0;
}

static void
lookup_finish(struct resolve *r)
{
    assert(r->state != LOOKUP_WAITING && list_empty(&r->node));
    if (r->cancelled) {
        r->loop->callbacks--; /* run_works has counted one that was not made */
    } else {
        r->loop->lookups_pending--;
        r->done(r->user, r->err, r->err == 0 ? r->addr : NULL, r->err == 0 ? r->count : 0);
    }
    free(r);
}

static void
known(struct loop_work *w)
{
    lookup_finish(container_of(w, struct resolve, work));
}

static void
thread_ended(struct loop_work *w)
{
    struct resolve *r = container_of(w, struct resolve, work);
    struct real_loop *l = r->loop;

    assert(r->state == LOOKUP_RUNNING && l->lookup_threads > 0);
    l->lookup_threads--;
    while (!list_empty(&l->lookups) && l->lookup_threads < LOOKUP_THREADS_MAX) {
        struct list *n = list_pop_front(&l->lookups);
        struct resolve *next = container_of(n, struct resolve, node);
        int e = start_thread(next);

        if (e < 0) { /* its owner is told of the failure at the end of this turn */
            next->err = e;
            next->state = LOOKUP_KNOWN;
            loop_work_init(&next->work, known);
            loop_defer(&l->pub, &next->work);
        }
    }
    lookup_finish(r);
}

void
real_resolve_drop(struct loop_work *w)
{
    if (w->fn == thread_ended)
        free(container_of(w, struct resolve, work));
}

/* Starts r.  A numeric address is known at once; a name needs a thread, or waits for one. */
static int
lookup_start(struct real_loop *l, struct resolve *r)
{
    look_up(r, AI_NUMERICHOST);
    if (r->err == 0 || strchr(r->host, ':') != NULL) { /* no name has a colon */
        r->state = LOOKUP_KNOWN;
        loop_work_init(&r->work, known);
        loop_defer(&l->pub, &r->work);
        return 0;
    }
    if (l->lookup_threads >= LOOKUP_THREADS_MAX) {
        r->state = LOOKUP_WAITING;
        list_push_back(&l->lookups, &r->node);
        return 0;
    }
    return start_thread(r);
}

int
real_resolve(struct loop *pub, const char *host, uint16_t port,
             void (*done)(void *user, int err, const struct sock_addr *addr, int count), void *user,
             struct resolve **ret)
{
    struct real_loop *l = real_loop(pub);
    size_t len = strlen(host);
    struct resolve *r;
    int e;

    assert(done != NULL && ret != NULL);
    if (len == 0 || len > HOST_MAX)
        return -EINVAL;
    if (l->lookups_pending >= LOOKUPS_PENDING_MAX)
        return -EBUSY;
    r = calloc(1, sizeof(*r));
    if (r == NULL)
        return -ENOMEM;
    loop_work_init(&r->work, thread_ended);
    list_init(&r->node);
    r->loop = l;
    r->done = done;
    r->user = user;
    r->port = port;
    memcpy(r->host, host, len + 1);
    e = lookup_start(l, r);
    if (e < 0) {
        free(r);
        return e;
    }
    l->lookups_pending++;
    *ret = r;
    return 0;
}

void
real_resolve_cancel(struct loop *pub, struct resolve *r)
{
    struct real_loop *l = real_loop(pub);

    assert(r->loop == l && !r->cancelled && l->lookups_pending > 0);
    l->lookups_pending--;
    if (r->state == LOOKUP_RUNNING) {
        r->cancelled = true;
        return;
    }
    list_del(&r->node);
    loop_defer_cancel(&r->work);
    free(r);
}
