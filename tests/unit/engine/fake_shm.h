/* SPDX-License-Identifier: MIT */
/* tests/unit/engine/fake_shm.h - a fake loop (fake_loop.h) that shares memory and has bells, with
 * numbers in the place of descriptors. */
#ifndef TESTS_FAKE_SHM_H
#define TESTS_FAKE_SHM_H

#include "tests/unit/fake_loop.h"

#include <stdlib.h>

#include "seam/shm.h"

#define FAKE_FDS      64
#define FAKE_FD_FIRST 100

struct loop_watch {
    void (*readable)(void *user);
    void *user;
};

struct fake_fd {
    bool open, bell;
    bool unsealed; /* shm_map says -EPERM */
    size_t size;   /* of memory, */
    void *mem;     /* which is here until the world ends */
    unsigned rung; /* of a bell */
    unsigned rings;
    bool watched;
    struct loop_watch watch;
};

struct fake_shm {
    struct fake_loop f;
    struct loop_ops ops;
    struct fake_fd fd[FAKE_FDS];
    unsigned maps, fds; /* that are there */
};

static inline struct fake_shm *
fake_shm_of(struct loop *l)
{
    return container_of(l, struct fake_shm, f.l);
}

static inline struct fake_fd *
fake_fd_of(struct loop *l, int fd)
{
    assert_true(fd >= FAKE_FD_FIRST && fd < FAKE_FD_FIRST + FAKE_FDS);
    return &fake_shm_of(l)->fd[fd - FAKE_FD_FIRST];
}

static inline int
fake_fd_new(struct fake_shm *w, struct fake_fd **ret)
{
    for (int i = 0; i < FAKE_FDS; i++) {
        if (w->fd[i].open || w->fd[i].mem != NULL)
            continue;
        w->fd[i] = (struct fake_fd){.open = true};
        w->fds++;
        *ret = &w->fd[i];
        return FAKE_FD_FIRST + i;
    }
    return -EMFILE;
}

static inline int
fake_shm_make(struct loop *l, size_t size, int *ret_fd, void **ret_map)
{
    struct fake_fd *d;
    int fd = fake_fd_new(fake_shm_of(l), &d);

    if (fd < 0)
        return fd;
    d->size = size;
    d->mem = aligned_alloc(4096, size);
    assert_non_null(d->mem);
    memset(d->mem, 0, size);
    *ret_fd = fd;
    *ret_map = d->mem;
    return 0;
}

static inline int
fake_shm_map(struct loop *l, int fd, size_t size, void **ret_map)
{
    struct fake_fd *d = fake_fd_of(l, fd);

    assert_true(d->open);
    if (d->bell || d->unsealed)
        return -EPERM;
    if (d->size != size)
        return -EINVAL;
    fake_shm_of(l)->maps++;
    *ret_map = d->mem;
    return 0;
}

static inline void
fake_shm_unmap(struct loop *l, void *map, size_t size)
{
    (void)map;
    (void)size;
    assert_true(fake_shm_of(l)->maps > 0);
    fake_shm_of(l)->maps--;
}

static inline int
fake_bell_make(struct loop *l, int *ret_fd)
{
    struct fake_fd *d;
    int fd = fake_fd_new(fake_shm_of(l), &d);

    if (fd < 0)
        return fd;
    d->bell = true;
    *ret_fd = fd;
    return 0;
}

static inline int
fake_bell_check(struct loop *l, int fd)
{
    return fake_fd_of(l, fd)->bell ? 0 : -EINVAL;
}

static inline void
fake_bell_ring(struct loop *l, int fd)
{
    struct fake_fd *d = fake_fd_of(l, fd);

    assert_true(d->open && d->bell);
    d->rung++;
    d->rings++;
}

static inline void
fake_bell_clear(struct loop *l, int fd)
{
    assert_true(fake_fd_of(l, fd)->open);
    fake_fd_of(l, fd)->rung = 0;
}

static inline int
fake_watch(struct loop *l, int fd, void (*readable)(void *user), void *user,
           struct loop_watch **ret)
{
    struct fake_fd *d = fake_fd_of(l, fd);

    if (!d->open || d->watched)
        return -EBADF;
    d->watched = true;
    d->watch = (struct loop_watch){readable, user};
    *ret = &d->watch;
    return 0;
}

static inline void
fake_unwatch(struct loop *l, struct loop_watch *w)
{
    (void)l;
    container_of(w, struct fake_fd, watch)->watched = false;
}

static inline void
fake_close_fd(struct loop *l, int fd)
{
    struct fake_fd *d = fake_fd_of(l, fd);

    assert_true(d->open && !d->watched);
    d->open = false;
    fake_shm_of(l)->fds--;
}

static const struct shm_ops fake_shm_ops = {
    .make = fake_shm_make,
    .map = fake_shm_map,
    .unmap = fake_shm_unmap,
    .bell_make = fake_bell_make,
    .bell_check = fake_bell_check,
    .bell_check_wait = fake_bell_check,
    .bell_ring = fake_bell_ring,
    .bell_clear = fake_bell_clear,
};

static inline void
fake_shm_init(struct fake_shm *w, uint64_t seed)
{
    memset(w, 0, sizeof(*w));
    fake_loop_init(&w->f, seed);
    w->ops = fake_loop_ops;
    w->ops.watch = fake_watch;
    w->ops.unwatch = fake_unwatch;
    w->ops.close_fd = fake_close_fd;
    w->f.l.ops = &w->ops;
    w->f.l.shm = &fake_shm_ops;
}

/* Nothing is left but the memory itself. */
static inline void
fake_shm_fini(struct fake_shm *w)
{
    assert_int_equal(w->maps, 0);
    for (int i = 0; i < FAKE_FDS; i++) {
        assert_false(w->fd[i].watched);
        free(w->fd[i].mem);
    }
}

/* A turn: what is watched and rung is told once, and then what is deferred. */
static inline void
fake_shm_turn(struct fake_shm *w)
{
    for (int i = 0; i < FAKE_FDS; i++) {
        if (w->fd[i].watched && w->fd[i].rung > 0)
            w->fd[i].watch.readable(w->fd[i].watch.user);
    }
    fake_turn(&w->f);
}

#endif
