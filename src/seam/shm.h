/* SPDX-License-Identifier: MIT */
/* seam/shm.h - memory that two processes share, bells to wake each other, and the end of a process.
 *
 * This is what an adapter that is a process needs of the system beside the packets of seam/loop.h:
 * rings and data in shared memory, a doorbell each way, and to know when the other process runs no
 * more, and so can write to that memory no more.  loop/ implements it with memfd, eventfd and
 * pidfd; tests/sim with ordinary memory and numbers in the place of descriptors, where a process
 * that is killed may write until it is reaped.
 *
 * A loop carries the table in loop->shm; NULL: it has none of this.  Every function is called on
 * the loop's thread, and none blocks.  Descriptors are closed with loop_close_fd, cross to another
 * process with stream_send_packet, and a bell is waited for with loop_watch.
 */
#ifndef SEAM_SHM_H
#define SEAM_SHM_H

#include "seam/loop.h"

#define SHM_SIZE_MAX ((uint64_t)1 << 34) /* bytes of one memory */

struct shm_process;

struct shm_ops {
    int (*make)(struct loop *l, size_t size, int *ret_fd, void **ret_map);
    int (*map)(struct loop *l, int fd, size_t size, void **ret_map);
    void (*unmap)(struct loop *l, void *map, size_t size);
    int (*bell_make)(struct loop *l, int *ret_fd);
    int (*bell_check)(struct loop *l, int fd);
    void (*bell_ring)(struct loop *l, int fd);
    void (*bell_clear)(struct loop *l, int fd);
    int (*process_watch)(struct loop *l, struct stream *s, void (*gone)(void *user), void *user,
                         struct shm_process **ret);
    void (*process_unwatch)(struct shm_process *p);
    int (*dup)(struct loop *l, int fd, int *ret_fd);
    int (*bell_check_wait)(struct loop *l, int fd);
};

/* Tells whether the loop has this seam. */
static inline bool
shm_there(const struct loop *l)
{
    return l->shm != NULL;
}

/* Makes memory of `size` bytes, all zero, the size of which nobody can change any more, so that no
 * access to it can lie behind its end; and maps it.  size is a multiple of 4096 and at most
 * SHM_SIZE_MAX.  Pages are taken when they are first touched.  A child of fork does not have the
 * mapping, so that it ends with the process.  The caller owns both, *ret_fd and *ret_map.  0, or
 * -errno: -EOPNOTSUPP where the loop has no shared memory, -EINVAL, -ENOMEM, -EMFILE. */
static inline int
shm_make(struct loop *l, size_t size, int *ret_fd, void **ret_map)
{
    return l->shm != NULL ? l->shm->make(l, size, ret_fd, ret_map) : -EOPNOTSUPP;
}

/* Maps memory that another process has made.  fd stays the caller's, and may be closed while the
 * memory is mapped.  It is untrusted: -EPERM: its size can still be changed or it cannot be written
 * to (it has not the seals of shm_make, or is no such memory at all); -EINVAL: it is of another
 * size; -ENOMEM.  The other process may write to it at any time. */
static inline int
shm_map(struct loop *l, int fd, size_t size, void **ret_map)
{
    return l->shm != NULL ? l->shm->map(l, fd, size, ret_map) : -EOPNOTSUPP;
}

/* Ends a mapping of shm_make or shm_map; the memory itself is there as long as anybody has it. */
static inline void
shm_unmap(struct loop *l, void *map, size_t size)
{
    l->shm->unmap(l, map, size);
}

/* Makes a bell, the descriptor of which is the caller's.  It is readable (loop_watch) from
 * shm_bell_ring until shm_bell_clear.  0 or -errno: -EOPNOTSUPP where the system has no bell that
 * can never block, -EMFILE, -ENOMEM, -EAGAIN where the system has given away all that it has of
 * what rings bells (fs.aio-max-nr). */
static inline int
shm_bell_make(struct loop *l, int *ret_fd)
{
    return l->shm != NULL ? l->shm->bell_make(l, ret_fd) : -EOPNOTSUPP;
}

/* Tells whether a descriptor that another process has sent is a bell that can be rung: 0, or
 * -EINVAL, or what shm_bell_make returns.  It is rung by this: what had been rung before is not
 * lost, but whoever watches it is called once in vain where nothing had. */
static inline int
shm_bell_check(struct loop *l, int fd)
{
    return l->shm != NULL ? l->shm->bell_check(l, fd) : -EOPNOTSUPP;
}

/* The same for a bell that is to be watched and cleared here, and by nobody else: it also tells
 * -EINVAL for one that clearing does not silence, which would keep the loop awake. */
static inline int
shm_bell_check_wait(struct loop *l, int fd)
{
    return l->shm != NULL ? l->shm->bell_check_wait(l, fd) : -EOPNOTSUPP;
}

/* Rings a bell that was made or checked on this loop: one system call.  Cannot fail and does not
 * wait, whatever the other process does to the bell. */
static inline void
shm_bell_ring(struct loop *l, int fd)
{
    l->shm->bell_ring(l, fd);
}

/* Takes back all that was rung until now; the same. */
static inline void
shm_bell_clear(struct loop *l, int fd)
{
    l->shm->bell_clear(l, fd);
}

/* Another descriptor of the same memory or bell, which is the caller's: to be sent away while fd is
 * kept.  A bell that was made on this loop is rung and cleared by fd, and not by *ret_fd.  0, or
 * -errno: -EMFILE. */
static inline int
shm_dup(struct loop *l, int fd, int *ret_fd)
{
    return l->shm != NULL ? l->shm->dup(l, fd, ret_fd) : -EOPNOTSUPP;
}

/* Has gone(user) called once, from the loop, when the process at the other end of s, a stream of
 * packets, has ended for good: no thread of it runs any more, so that it writes to no memory.  It
 * is the process that stream_peer_cred names: that which has connected or listened.  The end of s
 * itself does not say that.  The watch does not need s any more after this call.  0, or -errno:
 * -ESRCH where it has ended already, -EMFILE, -ENOMEM; -EOPNOTSUPP where s is no local socket or
 * the system cannot watch processes.  *ret is ended with shm_process_unwatch, also after gone. */
static inline int
shm_process_watch(struct loop *l, struct stream *s, void (*gone)(void *user), void *user,
                  struct shm_process **ret)
{
    return l->shm != NULL ? l->shm->process_watch(l, s, gone, user, ret) : -EOPNOTSUPP;
}

/* Ends the watch on the same loop: gone is not called any more.  May be called inside gone. */
static inline void
shm_process_unwatch(struct loop *l, struct shm_process *p)
{
    l->shm->process_unwatch(p);
}

#endif
