/* SPDX-License-Identifier: MIT */
#include "tests/daemon/nbd_load.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "tests/daemon/plane.h"
#include "wire/be.h"

#define NBD_BLOCK  4096u
#define NBD_BLOCKS 1024u

/* False: the server has closed the connection. */
static bool
get_all(int fd, void *p, size_t len)
{
    for (size_t have = 0; have < len;) {
        ssize_t n = read(fd, (uint8_t *)p + have, len - have);

        if (n <= 0)
            return false;
        have += (size_t)n;
    }
    return true;
}

static bool
put_all(int fd, const void *p, size_t len)
{
    return send(fd, p, len, MSG_NOSIGNAL) == (ssize_t)len;
}

/* NBD_OPT_EXPORT_NAME of the export without a name: the shortest handshake that there is. */
static int
nbd_connect(const char *path)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    uint8_t hello[18], info[10], say[4 + 16];

    (void)snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
    PLANE_CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0);
    PLANE_CHECK(get_all(fd, hello, sizeof(hello)));
    PLANE_CHECK(memcmp(hello, "NBDMAGICIHAVEOPT", 16) == 0);
    st_be32(say, 3); /* fixed newstyle, no zeroes */
    memcpy(say + 4, "IHAVEOPT", 8);
    st_be32(say + 12, 1); /* NBD_OPT_EXPORT_NAME */
    st_be32(say + 16, 0);
    PLANE_CHECK(put_all(fd, say, sizeof(say)) && get_all(fd, info, sizeof(info)));
    PLANE_CHECK(ld_be64(info) >= (uint64_t)NBD_BLOCK * NBD_BLOCKS);
    return fd;
}

/* One request; buf is sent or received.  False: the export is gone, or may end and has failed. */
static bool
nbd_io(int fd, const struct nbd_load *l, unsigned type, uint32_t block, uint8_t buf[NBD_BLOCK])
{
    uint8_t head[28 + NBD_BLOCK], reply[16];

    memset(head, 0, 28);
    st_be32(head, 0x25609513);
    st_be16(head + 6, (uint16_t)type);
    st_be64(head + 8, block + 1ull);
    st_be64(head + 16, (uint64_t)block * NBD_BLOCK);
    st_be32(head + 24, NBD_BLOCK);
    memcpy(head + 28, buf, NBD_BLOCK);
    if (!put_all(fd, head, type == 1 ? sizeof(head) : 28) || !get_all(fd, reply, sizeof(reply)))
        return false;
    PLANE_CHECK(ld_be32(reply) == 0x67446698 && ld_be64(reply + 8) == block + 1ull);
    if (ld_be32(reply + 4) != 0 && atomic_load(&l->may_end))
        return false;
    if (ld_be32(reply + 4) != 0)
        PLANE_FAIL("NBD request %u of block %u: error %u", type, block, ld_be32(reply + 4));
    return type == 1 || get_all(fd, buf, NBD_BLOCK);
}

static void *
nbd_load_main(void *arg)
{
    struct nbd_load *l = arg;
    int fd = nbd_connect(l->path);
    uint8_t out[NBD_BLOCK], in[NBD_BLOCK];
    bool there = true;

    for (uint32_t i = 0; there && !atomic_load(&l->stop); i++) {
        for (uint32_t b = 0; b < NBD_BLOCK; b++)
            out[b] = (uint8_t)(i * 13 + b);
        there = nbd_io(fd, l, 1, i % NBD_BLOCKS, out) && nbd_io(fd, l, 0, i % NBD_BLOCKS, in);
        PLANE_CHECK(!there || memcmp(in, out, NBD_BLOCK) == 0);
        (void)atomic_fetch_add(&l->ios, there);
    }
    PLANE_CHECK(there || atomic_load(&l->may_end));
    (void)close(fd);
    return NULL;
}

void
nbd_load_start(struct nbd_load *l, const char *path)
{
    memset(l, 0, sizeof(*l));
    (void)snprintf(l->path, sizeof(l->path), "%s", path);
    PLANE_CHECK(pthread_create(&l->thread, NULL, nbd_load_main, l) == 0);
    nbd_load_goes_on(l, 1);
}

void
nbd_load_stop(struct nbd_load *l)
{
    atomic_store(&l->stop, true);
    PLANE_CHECK(pthread_join(l->thread, NULL) == 0);
}

void
nbd_load_goes_on(struct nbd_load *l, unsigned ios)
{
    unsigned from = atomic_load(&l->ios);

    for (int i = 0; i < 20000; i++) {
        if (atomic_load(&l->ios) - from >= ios)
            return;
        (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    PLANE_FAIL("%s: I/O has stopped", l->path);
}
