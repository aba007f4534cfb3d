/* SPDX-License-Identifier: MIT */
/* cmd/lunette/end.c - opening and closing the ends of a transfer, and their requests. */
#include "cmd/lunette/end.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REAP_MAX 64
#define WAIT_MS  200
#define TELL_NS  200000000u

static int
end_failed(struct end *e, int code, const char *what)
{
    if (e->err.code == 0) {
        e->err = (struct lunette_error){.code = code, .domain = LUNETTE_DOM_OS};
        snprintf(e->err.msg, sizeof(e->err.msg), "%s: %s", what, strerror(-code));
    }
    return code;
}

static int
open_lun(struct cli *cli, const char *url, uint32_t flags, uint32_t depth, struct end *ret)
{
    struct lunette_error err = LUNETTE_INIT(err);

    *ret = (struct end){.kind = END_LUN, .fd = -1, .name = url_public(url)};
    cli->ctx = NULL;
    int r = cli_open(cli, url, flags, &ret->lun);
    if (r != 0)
        return r;
    ret->ctx = cli->ctx;
    (void)lunette_get_info(ret->lun, &ret->info);
    ret->size = ret->info.size;
    ret->block = ret->info.block_size != 0 ? ret->info.block_size : 512;
    if (lunette_queue_new(ret->lun, depth, &ret->queue, &err) < 0)
        return fail_with(&err, ret->name);
    return 0;
}

/* Finds out whether fd can be read or written at any offset, and how large it is. */
static int
classify(struct end *e)
{
    struct stat st;

    if (fstat(e->fd, &st) < 0)
        return fail_errno(-errno, "%s", e->name);
    e->size = UINT64_MAX;
    e->kind = END_STREAM;
    if (S_ISDIR(st.st_mode))
        return fail_usage("%s: is a directory", e->name);
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return 0;
    e->kind = END_FILE;
    e->regular = S_ISREG(st.st_mode);
    off_t at = lseek(e->fd, 0, SEEK_CUR);
    off_t end = S_ISREG(st.st_mode) ? st.st_size : lseek(e->fd, 0, SEEK_END);
    if (at < 0 || end < 0)
        return fail_errno(-errno, "%s", e->name);
    e->base = (uint64_t)at;
    e->size = end > at ? (uint64_t)(end - at) : 0;
    return 0;
}

int
end_open_source(struct cli *cli, const char *text, uint32_t depth, struct end *ret)
{
    if (url_is_iscsi(text))
        return open_lun(cli, text, LUNETTE_OPEN_RDONLY, depth, ret);
    bool std = strcmp(text, "-") == 0;
    *ret = (struct end){.name = std ? xstrdup("standard input") : path_public(text), .block = 1};
    ret->own_fd = !std;
    ret->fd = std ? STDIN_FILENO : open(text, O_RDONLY | O_CLOEXEC);
    if (ret->fd < 0) {
        fail_errno(-errno, "%s", ret->name);
        return EXIT_USAGE;
    }
    return classify(ret);
}

static int
open_stdout(struct end *ret)
{
    struct stat st;

    *ret = (struct end){.name = xstrdup("standard output"), .block = 1, .fd = STDOUT_FILENO};
    ret->kind = END_STREAM; /* even if it is a file, since others may append to it */
    ret->size = UINT64_MAX;
    /* Opens the file once more, so that O_NONBLOCK concerns nobody else who has it open. */
    int fd = fstat(ret->fd, &st) == 0 && S_ISFIFO(st.st_mode)
                 ? open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_CLOEXEC)
                 : -1;
    if (fd >= 0) {
        ret->fd = fd;
        ret->own_fd = true;
    }
    return 0;
}

static int
open_path(const char *text, bool in_place, struct end *ret)
{
    struct stat st = {0};
    bool missing = stat(text, &st) < 0 && errno == ENOENT;

    *ret = (struct end){.name = path_public(text), .block = 1, .fd = -1, .in_place = in_place};
    if (missing || (S_ISREG(st.st_mode) && !in_place)) {
        ret->kind = END_FILE;
        ret->regular = true;
        ret->out = xmalloc(sizeof(*ret->out));
        return outfile_check(text, ret->out);
    }
    ret->own_fd = true;
    ret->fd = open(text, O_RDWR | O_CLOEXEC);
    if (ret->fd < 0) {
        fail_errno(-errno, "%s", ret->name);
        return EXIT_USAGE;
    }
    return classify(ret);
}

int
end_open_dest(struct cli *cli, const char *text, uint32_t depth, bool in_place, struct end *ret)
{
    if (!url_is_iscsi(text))
        return strcmp(text, "-") == 0 ? open_stdout(ret) : open_path(text, in_place, ret);
    int r = open_lun(cli, text, 0, depth, ret);
    if (r != 0 || !ret->info.read_only)
        return r;
    fail_usage("%s: the device is write protected", ret->name);
    return EXIT_SCSI;
}

/* A file that is written in place: it is made where there is none, and what is not kept goes. */
static int
prepare_in_place(struct end *e, const struct end_plan *plan)
{
    if (e->out != NULL) {
        e->fd = open(e->out->path, O_RDWR | (plan->done == 0 ? O_CREAT : 0) | O_CLOEXEC, 0666);
        e->own_fd = true;
        outfile_close(e->out);
        free(e->out);
        e->out = NULL;
        if (e->fd < 0) {
            fail_errno(-errno, "%s", e->name);
            return EXIT_USAGE;
        }
    }
    struct stat st;
    if (plan->done > 0 && (fstat(e->fd, &st) < 0 || (uint64_t)st.st_size < plan->done))
        return fail_usage("%s: ends before --resume=%llu: that is not where a copy to it ended",
                          e->name, (unsigned long long)plan->done);
    if (ftruncate(e->fd, (off_t)plan->done) < 0)
        return fail_errno(-errno, "%s", e->name);
    e->fresh = true;
    return 0;
}

int
end_prepare(struct end *e, struct end_plan *plan)
{
    int code = 0;

    if (e->kind != END_FILE || !e->regular)
        return 0;
    if (plan->length != UINT64_MAX && !plan->no_space_check)
        code = outfile_room(e->out, e->fd, e->name, plan->length - plan->done);
    if (code != 0)
        return code;
    if (e->in_place)
        return prepare_in_place(e, plan);
    code = outfile_open(e->out, plan->source, plan->length, plan->resume, &plan->done);
    e->fd = e->out->fd;
    e->fresh = true;
    return code;
}

int
end_commit(struct end *e)
{
    return e->out != NULL ? outfile_commit(e->out) : 0;
}

void
end_close(struct end *e)
{
    interrupt_in_call(true);
    lunette_queue_free(e->queue);
    lunette_close(e->lun);
    interrupt_in_call(false);
    if (e->own_fd && e->fd >= 0)
        close(e->fd);
    outfile_close(e->out);
    free(e->out);
    free(e->name);
    *e = (struct end){.fd = -1};
}

bool
end_same(const struct end *a, const struct end *b)
{
    struct stat sa, sb;

    if (a->kind == END_LUN && b->kind == END_LUN) {
        struct lunette_session_info na = LUNETTE_INIT(na), nb = LUNETTE_INIT(nb);
        (void)lunette_get_session_info(a->lun, &na);
        (void)lunette_get_session_info(b->lun, &nb);
        return strcmp(na.target_name, nb.target_name) == 0 && strcmp(na.portal, nb.portal) == 0 &&
               memcmp(a->info.lun_wire, b->info.lun_wire, sizeof(a->info.lun_wire)) == 0;
    }
    if (a->kind != END_FILE || b->kind != END_FILE)
        return false;
    return fstat(a->fd, &sa) == 0 && fstat(b->fd, &sb) == 0 && sa.st_dev == sb.st_dev &&
           sa.st_ino == sb.st_ino;
}

/* Takes the result of a call of the queue.  One that is refused at once has the reason that it
 * would have failed with later. */
static int
queued(struct end *e, int r, struct io *io, const char *verb)
{
    const struct lunette_completion c = {.err = r};

    if (r == 0) {
        io->verb = verb;
        io->pending++;
    } else if (r != -EAGAIN && e->err.code == 0) {
        error_of_completion(&e->err, e->queue, &c, verb, io->offset);
    }
    return r;
}

int
end_read(struct end *e, void *buf, size_t len, uint64_t offset, struct io *io)
{
    if (e->kind == END_LUN)
        return queued(e, lunette_queue_read(e->queue, buf, len, offset, io), io, "reading");
    for (size_t done = 0; done < len;) {
        ssize_t n = pread(e->fd, (char *)buf + done, len - done, (off_t)(e->base + offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return end_failed(e, -errno, "reading");
        if (n == 0) { /* the file has become shorter while we read it */
            return end_failed(e, -ENODATA, "the file ended early");
        }
        done += (size_t)n;
    }
    return 0;
}

int
end_write(struct end *e, const void *buf, size_t len, uint64_t offset, struct io *io)
{
    if (e->kind == END_LUN)
        return queued(e, lunette_queue_write(e->queue, buf, len, offset, 0, io), io, "writing");
    for (size_t done = 0; done < len;) {
        ssize_t n =
            pwrite(e->fd, (const char *)buf + done, len - done, (off_t)(e->base + offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return end_failed(e, -errno, "writing");
        done += (size_t)n;
    }
    return 0;
}

int
end_zero(struct end *e, uint64_t len, uint64_t offset, struct io *io)
{
    static const char zeroes[65536];

    if (e->kind == END_LUN)
        return queued(e, lunette_queue_write_zeroes(e->queue, len, offset, 0, io), io,
                      "writing zeroes");
    if (e->fresh)
        return 0;
    if (fallocate(e->fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, (off_t)(e->base + offset),
                  (off_t)len) == 0)
        return 0;
    for (uint64_t done = 0; done < len; done += sizeof(zeroes)) {
        size_t n = len - done < sizeof(zeroes) ? (size_t)(len - done) : sizeof(zeroes);
        int r = end_write(e, zeroes, n, offset + done, io);
        if (r < 0)
            return r;
    }
    return 0;
}

int
end_reap(struct end *e)
{
    struct lunette_completion c[REAP_MAX];

    if (e->queue == NULL)
        return 0;
    int n = lunette_queue_poll(e->queue, c, REAP_MAX, 0, 0);
    if (n < 0) {
        error_of_code(&e->err, n, e->name);
        return n;
    }
    for (int i = 0; i < n; i++) {
        struct io *io = c[i].user_data;
        io->pending--;
        if (c[i].err != 0 && e->err.code == 0)
            error_of_completion(&e->err, e->queue, &c[i], io->verb, io->offset);
    }
    return n;
}

static bool
end_ready(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};

    return poll(&p, 1, 0) > 0;
}

ssize_t
end_stream_read(struct end *e, void *buf, size_t len)
{
    if (!end_ready(e->fd, POLLIN))
        return -EAGAIN;
    ssize_t n = read(e->fd, buf, len);
    if (n >= 0)
        return n;
    return errno == EINTR || errno == EAGAIN ? -EAGAIN : end_failed(e, -errno, "reading");
}

ssize_t
end_stream_write(struct end *e, const void *buf, size_t len)
{
    if (!end_ready(e->fd, POLLOUT))
        return -EAGAIN;
    ssize_t n = write(e->fd, buf, len);
    if (n >= 0)
        return n;
    return errno == EINTR || errno == EAGAIN ? -EAGAIN : end_failed(e, -errno, "writing");
}

int
end_wait(struct end *a, struct end *b, bool a_readable, bool b_writable)
{
    struct pollfd p[4];
    nfds_t n = 0;

    if (a_readable && a->kind == END_STREAM)
        p[n++] = (struct pollfd){.fd = a->fd, .events = POLLIN};
    if (b_writable && b->kind == END_STREAM)
        p[n++] = (struct pollfd){.fd = b->fd, .events = POLLOUT};
    if (n == 0 && (a->ctx == NULL || b->ctx == NULL))
        return lunette_ctx_run(a->ctx != NULL ? a->ctx : b->ctx, WAIT_MS);
    if (a->ctx != NULL)
        p[n++] = (struct pollfd){.fd = lunette_ctx_fd(a->ctx), .events = POLLIN};
    if (b->ctx != NULL)
        p[n++] = (struct pollfd){.fd = lunette_ctx_fd(b->ctx), .events = POLLIN};
    if (poll(p, n, WAIT_MS) < 0)
        return -errno;
    return 0;
}

bool
end_connected(const struct end *e)
{
    struct lunette_session_info s = LUNETTE_INIT(s);

    if (e->lun == NULL)
        return true;
    (void)lunette_get_session_info(e->lun, &s);
    return s.state == LUNETTE_SESSION_LOGGED_IN;
}

void
end_give_up(struct end *e, struct io *io)
{
    if (e->queue != NULL && io->pending > 0 && !end_connected(e))
        (void)lunette_queue_cancel(e->queue, io);
}

static uint32_t
end_inflight(const struct end *e)
{
    return e->queue != NULL ? lunette_queue_inflight(e->queue) : 0;
}

void
end_drain(struct end *a, struct end *b, const char *cmd)
{
    uint64_t start = now_ns();
    bool told = false;

    for (;;) {
        uint32_t n = end_inflight(a) + end_inflight(b);
        if (n == 0)
            return;
        if (!told && now_ns() - start >= TELL_NS) {
            interrupt_tell(cmd, n);
            told = true;
        }
        if (end_reap(a) < 0 || end_reap(b) < 0)
            return; /* that queue is gone, and its requests with it */
        (void)end_wait(a, b, false, false);
    }
}

/* The bytes of a hole that reaches to the end of the file, which may have become shorter since it
 * was opened: what is gone is no hole, and reading there says so. */
static uint64_t
last_hole(const struct end *e, off_t at)
{
    struct stat st;

    return fstat(e->fd, &st) == 0 && st.st_size > at ? (uint64_t)(st.st_size - at) : 0;
}

uint64_t
end_extent(const struct end *e, uint64_t offset, bool *ret_hole)
{
    uint64_t rest = e->size - offset;

    *ret_hole = false;
    if (!e->regular)
        return rest;
    off_t at = (off_t)(e->base + offset);
    off_t data = lseek(e->fd, at, SEEK_DATA);
    if (data < 0 && errno == ENXIO) { /* there is no data up to the end */
        uint64_t hole = last_hole(e, at);
        *ret_hole = hole > 0;
        return hole > 0 && hole < rest ? hole : rest;
    }
    if (data < 0)
        return rest;
    if (data > at) {
        *ret_hole = true;
        return (uint64_t)(data - at) < rest ? (uint64_t)(data - at) : rest;
    }
    off_t hole = lseek(e->fd, at, SEEK_HOLE);
    return hole > at && (uint64_t)(hole - at) < rest ? (uint64_t)(hole - at) : rest;
}

int
end_flush_start(struct end *e, struct io *io)
{
    return queued(e, lunette_queue_flush(e->queue, io), io, "flushing");
}

int
end_flush(struct end *e, uint64_t size)
{
    struct lunette_error err = LUNETTE_INIT(err);

    switch (e->kind) {
    case END_LUN:
        interrupt_in_call(true);
        int r = lunette_flush(e->lun, &err);
        interrupt_in_call(false);
        if (r < 0)
            e->err = err;
        return r;
    case END_FILE:
        if (e->fresh && e->out == NULL && ftruncate(e->fd, (off_t)size) < 0)
            return end_failed(e, -errno, "setting the size");
        return fsync(e->fd) < 0 ? end_failed(e, -errno, "fsync") : 0;
    case END_STREAM:
        return 0;
    }
    return 0;
}
