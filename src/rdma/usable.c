/* SPDX-License-Identifier: MIT */
/* rdma/usable.c - why there is no RDMA, or not enough memory for it. */
#include "rdma/rdma.h"

#include <errno.h>

#if !HAVE_RDMA

const struct rnic_ops *const rdma_verbs = NULL;

int
rdma_usable(struct lunette_error *err)
{
    return lunette_fail(err, -EOPNOTSUPP, LUNETTE_DOM_USAGE, 0,
                        "RDMA is not built into this program: build it with libibverbs and "
                        "librdmacm (meson -Diser=enabled)");
}

#else

#include "rdma/internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define STATUS_MAX 8192 /* bytes of /proc/self/status that are looked at */

/* Does the kernel have a device, whether or not there is a driver for it in user space? */
static bool
kernel_has_device(void)
{
    DIR *d = opendir("/sys/class/infiniband");
    const struct dirent *e;
    bool found = false;

    while (d != NULL && !found && (e = readdir(d)) != NULL)
        found = e->d_name[0] != '.';
    if (d != NULL)
        (void)closedir(d);
    return found;
}

int
verbs_no_device(struct lunette_error *err, int e)
{
    bool device = kernel_has_device();

    if (e == EACCES || e == EPERM)
        return lunette_fail(err, -EACCES, LUNETTE_DOM_OS, (uint32_t)e,
                            "this process may not use RDMA devices: it must be able to open "
                            "/dev/infiniband/rdma_cm and /dev/infiniband/uverbs*");
    if (e != ENODEV && e != ENOENT && e != ENOSYS && e != ENXIO)
        return lunette_fail(err, -e, LUNETTE_DOM_OS, (uint32_t)e, "RDMA cannot be used: %s",
                            errno_text(e));
    if (!device)
        return lunette_fail(err, -ENODEV, LUNETTE_DOM_OS, ENODEV,
                            "this machine has no RDMA device: load the driver of its card, or make "
                            "a soft one (rdma link add rxe0 type rxe netdev NAME), or use "
                            "TCP");
    return lunette_fail(err, -ENODEV, LUNETTE_DOM_OS, ENODEV,
                        "this machine has an RDMA device that this process cannot use: it needs a "
                        "driver in user space (package ibverbs-providers), and the files of "
                        "/dev/infiniband (module rdma_ucm) that it may open");
}

int
rdma_usable(struct lunette_error *err)
{
    struct rdma_event_channel *channel;
    struct ibv_device **list;
    int n = 0, e;

    list = ibv_get_device_list(&n);
    e = list == NULL ? errno : n == 0 ? ENODEV : 0;
    if (list != NULL)
        ibv_free_device_list(list);
    if (e == 0) {
        channel = rdma_create_event_channel();
        if (channel != NULL)
            rdma_destroy_event_channel(channel);
        else
            e = errno;
    }
    return e == 0 ? 0 : verbs_no_device(err, e);
}

static void
fork_init_once(void)
{
    (void)ibv_fork_init(); /* fails where the program has registered memory before us */
}

void
verbs_fork_init(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void)pthread_once(&once, fork_init_once);
}

/* Memory that is not enough. */

static uint64_t
status_number(const char *status, const char *name, int base)
{
    const char *at = strstr(status, name);

    return at != NULL ? strtoull(at + strlen(name), NULL, base) : 0;
}

/* The kernel compares what devices have pinned with the limit, and leaves out what mlock has
 * locked. */
void
verbs_locked_read(const char *status, struct verbs_locked *ret)
{
    ret->used = status_number(status, "\nVmPin:", 10) * 1024;
    ret->exempt = (status_number(status, "\nCapEff:", 16) >> CAP_IPC_LOCK & 1) != 0;
}

int
verbs_locked_say(struct lunette_error *err, const struct verbs_locked *l, const char *what,
                 uint64_t bytes, const char *device)
{
    if (l->exempt || l->limit == UINT64_MAX || l->used + bytes <= l->limit)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM,
                            "RDMA device %s, or the kernel, has no room for %s (%" PRIu64 " bytes)",
                            device, what, bytes);
    return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM,
                        "%s needs %" PRIu64 " bytes of locked memory beside %" PRIu64
                        " that are locked already, and the limit (RLIMIT_MEMLOCK) is %" PRIu64
                        ": raise it with ulimit -l or LimitMEMLOCK= of systemd",
                        what, bytes, l->used, l->limit);
}

static void
locked_now(struct verbs_locked *ret)
{
    char buf[STATUS_MAX];
    struct rlimit lim;
    ssize_t n = -1;
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);

    *ret = (struct verbs_locked){.limit = UINT64_MAX};
    if (getrlimit(RLIMIT_MEMLOCK, &lim) == 0 && lim.rlim_cur != RLIM_INFINITY)
        ret->limit = lim.rlim_cur;
    if (fd >= 0) {
        n = read(fd, buf, sizeof(buf) - 1);
        (void)close(fd);
    }
    buf[n > 0 ? n : 0] = '\0';
    verbs_locked_read(buf, ret);
}

int
verbs_no_room(struct lunette_error *err, int e, const char *what, uint64_t bytes,
              const struct verbs_ep *ep)
{
    const char *device = ep->id->verbs->device->name;
    struct verbs_locked l;

    if (e != ENOMEM)
        return lunette_fail(err, -e, LUNETTE_DOM_OS, (uint32_t)e, "RDMA device %s: %s: %s", device,
                            what, errno_text(e));
    locked_now(&l);
    return verbs_locked_say(err, &l, what, bytes, device);
}

#endif
