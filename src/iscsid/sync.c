/* SPDX-License-Identifier: MIT */
/* Records that are written reach the disk: on a thread of its own, which touches nothing but the
 * descriptors and struct sync, and is not waited for where nobody wants to know. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "iscsid/internal.h"

struct sync {
    int fd[NODEDB_SYNC_MAX], nfds;
    int result; /* of the thread's, once it is over */
    atomic_bool over;
    atomic_int holders; /* the thread, and who has begun it; the last one frees it */
};

static void
sync_release(struct sync *s)
{
    if (atomic_fetch_sub(&s->holders, 1) > 1)
        return;
    for (int i = 0; i < s->nfds; i++)
        (void)close(s->fd[i]);
    free(s);
}

static void *
sync_thread(void *arg)
{
    struct sync *s = arg;

    for (int i = 0; i < s->nfds; i++) {
        if (syncfs(s->fd[i]) < 0 && s->result == 0)
            s->result = -errno;
    }
    atomic_store(&s->over, true);
    sync_release(s);
    return NULL;
}

/* Returns 0, or an errno. */
static int
sync_start_thread(struct sync *s)
{
    sigset_t all, old;
    pthread_t thread;
    int e;

    (void)sigfillset(&all); /* signals are for the threads that wait for them */
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    e = pthread_create(&thread, NULL, sync_thread, s);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (e == 0)
        (void)pthread_detach(thread);
    return e;
}

int
sync_begin(struct iscsid *d, struct sync **ret)
{
    struct sync *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return -ENOMEM;
    s->nfds = nodedb_sync_open(d->db, s->fd);
    if (s->nfds < 0) {
        int r = s->nfds;

        free(s);
        return r;
    }
    atomic_init(&s->holders, 2);
    if (sync_start_thread(s) != 0) /* then all others wait */
        (void)sync_thread(s);
    *ret = s;
    return 0;
}

int
sync_poll(struct sync *s)
{
    return atomic_load(&s->over) ? s->result : 1;
}

void
sync_free(struct sync **ps)
{
    if (*ps != NULL)
        sync_release(*ps);
    *ps = NULL;
}
