/* SPDX-License-Identifier: MIT */
/* fdatasync may take long, so it runs on a thread of its own; commands come back by loop_post. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "target/session.h"

struct tgt_flusher {
    struct loop *loop;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct list queue, done; /* struct tgt_cmd by sync_link, under lock */
    struct loop_work back;   /* takes `done` to the loop's thread */
    bool posted, stop;       /* under lock */
    bool dead;               /* the target is gone, `back` is still to come */
};

static void *
run(void *arg)
{
    struct tgt_flusher *f = arg;
    struct list *l;

    (void)pthread_mutex_lock(&f->lock);
    for (;;) {
        l = list_pop_front(&f->queue);
        if (l != NULL) {
            struct tgt_cmd *c = container_of(l, struct tgt_cmd, sync_link);

            (void)pthread_mutex_unlock(&f->lock);
            c->sync_result = tgt_lu_sync(c->s.lu); /* the LU outlives the thread */
            (void)pthread_mutex_lock(&f->lock);
            list_push_back(&f->done, &c->sync_link);
            if (!f->posted)
                loop_post(f->loop, &f->back);
            f->posted = true;
        } else if (f->stop) {
            break;
        } else {
            (void)pthread_cond_wait(&f->wake, &f->lock);
        }
    }
    (void)pthread_mutex_unlock(&f->lock);
    return NULL;
}

static void
destroy(struct tgt_flusher *f)
{
    (void)pthread_cond_destroy(&f->wake);
    (void)pthread_mutex_destroy(&f->lock);
    free(f);
}

static void
come_back(struct loop_work *w)
{
    struct tgt_flusher *f = container_of(w, struct tgt_flusher, back);
    struct list done, *l;

    if (f->dead) {
        destroy(f);
        return;
    }
    list_init(&done);
    (void)pthread_mutex_lock(&f->lock);
    list_splice(&done, &f->done);
    f->posted = false;
    (void)pthread_mutex_unlock(&f->lock);
    while ((l = list_pop_front(&done)) != NULL)
        tgt_cmd_synced(container_of(l, struct tgt_cmd, sync_link));
}

int
tgt_flusher_new(struct loop *loop, struct tgt_flusher **ret)
{
    struct tgt_flusher *f = calloc(1, sizeof(*f));
    int r;

    if (f == NULL)
        return -ENOMEM;
    f->loop = loop;
    list_init(&f->queue);
    list_init(&f->done);
    loop_work_init(&f->back, come_back);
    (void)pthread_mutex_init(&f->lock, NULL);
    (void)pthread_cond_init(&f->wake, NULL);
    r = pthread_create(&f->thread, NULL, run, f);
    if (r != 0) {
        free(f);
        return -r;
    }
    *ret = f;
    return 0;
}

void
tgt_flusher_sync(struct tgt_flusher *f, struct tgt_cmd *c)
{
    (void)pthread_mutex_lock(&f->lock);
    list_push_back(&f->queue, &c->sync_link);
    (void)pthread_cond_signal(&f->wake);
    (void)pthread_mutex_unlock(&f->lock);
}

void
tgt_flusher_free(struct tgt_flusher *f)
{
    if (f == NULL)
        return;
    (void)pthread_mutex_lock(&f->lock);
    f->stop = true;
    (void)pthread_cond_signal(&f->wake);
    (void)pthread_mutex_unlock(&f->lock);
    (void)pthread_join(f->thread, NULL);
    if (f->posted)
        f->dead = true;
    else
        destroy(f);
}
