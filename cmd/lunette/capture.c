/* SPDX-License-Identifier: MIT */
/* cmd/lunette/capture.c - --capture FILE: a thread writes what the library captures, so that no I/O
 * waits for the file. */
#include "cmd/lunette/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

static int
capture_write(struct capture_file *c, const char *p, size_t len)
{
    while (len > 0) {
        ssize_t n = write(c->file, p, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        capture_tail_take(&c->tail, (const uint8_t *)p, (size_t)n);
        c->written += (uint64_t)n;
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

/* When the file cannot be written any more, the socket is closed, which ends the capture. */
static void *
capture_copy(void *arg)
{
    struct capture_file *c = arg;
    static char bytes[65536];
    ssize_t n;

    while (c->err == 0 &&
           ((n = read(c->from, bytes, sizeof(bytes))) > 0 || (n < 0 && errno == EINTR)))
        c->err = n > 0 ? capture_write(c, bytes, (size_t)n) : 0;
    (void)close(c->from);
    return NULL;
}

int
capture_file_open(struct capture_file *c, const char *path)
{
    c->file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    return c->file < 0 ? -errno : 0;
}

int
capture_file_start(struct capture_file *c, struct lunette_ctx *ctx, uint32_t flags,
                   struct lunette_error *err)
{
    int pair[2], r;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return lunette_ctx_capture(ctx, -1, flags, err);
    r = lunette_ctx_capture(ctx, pair[0], flags, err);
    if (r < 0) {
        (void)close(pair[0]);
        (void)close(pair[1]);
        return r;
    }
    c->from = pair[1];
    c->running = pthread_create(&c->thread, NULL, capture_copy, c) == 0;
    if (!c->running) {
        (void)close(pair[1]);
        c->err = -EAGAIN;
    }
    return 0;
}

int
capture_file_end(struct capture_file *c)
{
    if (c->running)
        (void)pthread_join(c->thread, NULL);
    if (c->written > c->tail.whole && ftruncate(c->file, (off_t)c->tail.whole) < 0 && c->err == 0)
        c->err = -errno;
    if (close(c->file) < 0 && c->err == 0)
        c->err = -errno;
    return c->err;
}
