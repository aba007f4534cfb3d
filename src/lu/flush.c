/* SPDX-License-Identifier: MIT */
/* Jobs go to the thread under a lock and come back by loop_post. */
#include "lu/flush.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

struct lu_flusher {
    struct loop *loop;
    pthread_t thread;
    bool running;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct list queue, done; /* struct lu_flush_job by link, under lock */
    struct loop_work back;   /* takes `done` to the loop's thread */
    struct list here;        /* struct lu_flush_job by link: to be done on the loop */
    struct loop_work here_work;
    bool posted, stop; /* under lock */
    bool dead;         /* lu_flusher_free was called while `back` was under way */
};

static void *
flusher_thread(void *arg)
{
    struct lu_flusher *f = arg;
    struct list *l;

    (void)pthread_mutex_lock(&f->lock);
    for (;;) {
        l = list_pop_front(&f->queue);
        if (l != NULL) {
            struct lu_flush_job *job = container_of(l, struct lu_flush_job, link);

            job->queued = false;
            (void)pthread_mutex_unlock(&f->lock);
            job->result = lu_store_sync(job->store);
            (void)pthread_mutex_lock(&f->lock);
            list_push_back(&f->done, &job->link);
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
flusher_destroy(struct lu_flusher *f)
{
    (void)pthread_cond_destroy(&f->wake);
    (void)pthread_mutex_destroy(&f->lock);
    free(f);
}

static struct lu_flush_job *
next_here(struct lu_flusher *f)
{
    struct lu_flush_job *job = container_of(list_pop_front(&f->here), struct lu_flush_job, link);

    job->queued = false;
    job->result = lu_store_sync(job->store);
    return job;
}

static void
sync_here(struct loop_work *w)
{
    struct lu_flusher *f = container_of(w, struct lu_flusher, here_work);
    struct lu_flush_job *job;

    if (list_empty(&f->here))
        return; /* it was taken back */
    job = next_here(f);
    if (!list_empty(&f->here))
        loop_defer(f->loop, &f->here_work);
    job->done(job);
}

static void
jobs_come_back(struct loop_work *w)
{
    struct lu_flusher *f = container_of(w, struct lu_flusher, back);
    struct list done, *l;

    if (f->dead) {
        flusher_destroy(f);
        return;
    }
    list_init(&done);
    (void)pthread_mutex_lock(&f->lock);
    list_splice(&done, &f->done);
    f->posted = false;
    (void)pthread_mutex_unlock(&f->lock);
    while ((l = list_pop_front(&done)) != NULL) {
        struct lu_flush_job *job = container_of(l, struct lu_flush_job, link);

        job->done(job);
    }
}

int
lu_flusher_new(struct loop *loop, struct lu_flusher **ret)
{
    struct lu_flusher *f = calloc(1, sizeof(*f));

    if (f == NULL)
        return -ENOMEM;
    f->loop = loop;
    list_init(&f->queue);
    list_init(&f->done);
    list_init(&f->here);
    loop_work_init(&f->back, jobs_come_back);
    loop_work_init(&f->here_work, sync_here);
    (void)pthread_mutex_init(&f->lock, NULL);
    (void)pthread_cond_init(&f->wake, NULL);
    *ret = f;
    return 0;
}

int
lu_flusher_start(struct lu_flusher *f)
{
    int r;

    if (f->running)
        return 0;
    r = pthread_create(&f->thread, NULL, flusher_thread, f);
    f->running = r == 0;
    return -r;
}

void
lu_flusher_sync(struct lu_flusher *f, struct lu_flush_job *job)
{
    assert(job->store != NULL && job->done != NULL);
    if (job->store->ops->sync_on_loop) {
        list_push_back(&f->here, &job->link);
        job->queued = true;
        loop_defer(f->loop, &f->here_work);
        return;
    }
    assert(f->running);
    (void)pthread_mutex_lock(&f->lock);
    list_push_back(&f->queue, &job->link);
    job->queued = true;
    (void)pthread_cond_signal(&f->wake);
    (void)pthread_mutex_unlock(&f->lock);
}

bool
lu_flusher_cancel(struct lu_flusher *f, struct lu_flush_job *job)
{
    bool queued;

    (void)pthread_mutex_lock(&f->lock);
    queued = job->queued;
    job->queued = false;
    if (queued)
        list_del(&job->link);
    (void)pthread_mutex_unlock(&f->lock);
    return queued;
}

void
lu_flusher_free(struct lu_flusher *f)
{
    if (f == NULL)
        return;
    loop_defer_cancel(&f->here_work);
    while (!list_empty(&f->here))
        (void)next_here(f);
    if (f->running) {
        (void)pthread_mutex_lock(&f->lock);
        f->stop = true;
        (void)pthread_cond_signal(&f->wake);
        (void)pthread_mutex_unlock(&f->lock);
        (void)pthread_join(f->thread, NULL);
    }
    if (f->posted)
        f->dead = true; /* the loop still has `back`, which frees f */
    else
        flusher_destroy(f);
}
