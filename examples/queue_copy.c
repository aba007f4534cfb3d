/* SPDX-License-Identifier: MIT */
/* queue_copy FROM-URL TO-FILE - a queue with many reads under way; each slot is read, written to
 * the file and used again.  Completions come in any order; user_data says whose they are. */
#include <lunette/lunette.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DEPTH 16
#define PIECE 65536u

struct slot {
    char data[PIECE];
    uint64_t offset;
    size_t len;
};

static struct slot slots[DEPTH];

/* Queues the read of the next piece, if there is one. */
static int
next(struct lunette_queue *q, struct slot *s, uint64_t *at, uint64_t size)
{
    if (*at == size)
        return 0;
    s->offset = *at;
    s->len = size - *at < PIECE ? (size_t)(size - *at) : PIECE;
    *at += s->len;
    return lunette_queue_read(q, s->data, s->len, s->offset, s);
}

static int
copy(struct lunette_queue *q, uint64_t size, int fd)
{
    struct lunette_completion done[DEPTH];
    uint64_t at = 0;
    int r = 0;

    for (int i = 0; i < DEPTH && r == 0; i++)
        r = next(q, &slots[i], &at, size);
    while (r == 0 && lunette_queue_inflight(q) > 0) {
        int n = lunette_queue_poll(q, done, DEPTH, 1, -1);
        if (n < 0)
            return n;
        for (int i = 0; i < n && r == 0; i++) {
            struct slot *s = done[i].user_data;
            r = done[i].err;
            if (r == 0 && pwrite(fd, s->data, s->len, (off_t)s->offset) != (ssize_t)s->len)
                r = -1;
            if (r == 0)
                r = next(q, s, &at, size);
        }
    }
    return r;
}

int
main(int argc, char **argv)
{
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_ctx *ctx = NULL;
    struct lunette_lun *lun = NULL;
    struct lunette_queue *q = NULL;
    struct lunette_info info = LUNETTE_INIT(info);
    int r, fd = -1;

    if (argc != 3) {
        fprintf(stderr, "usage: queue_copy URL FILE\n");
        return 2;
    }
    r = lunette_ctx_new(NULL, &ctx, &err);
    if (r == 0)
        r = lunette_open(ctx, argv[1], LUNETTE_OPEN_RDONLY, &lun, &err);
    if (r == 0)
        r = lunette_queue_new(lun, DEPTH, &q, &err);
    if (r < 0)
        fprintf(stderr, "queue_copy: %s\n", err.msg);
    if (r == 0) {
        fd = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC, 0666);
        (void)lunette_get_info(lun, &info);
        r = fd < 0 ? -1 : copy(q, info.size, fd);
        if (r < 0)
            fprintf(stderr, "queue_copy: the copy failed: %s\n", r == -1 ? argv[2] : strerror(-r));
    }
    lunette_queue_free(q); /* waits for what is under way */
    lunette_close(lun);
    lunette_ctx_free(ctx);
    if (fd >= 0 && close(fd) < 0)
        r = -1;
    return r < 0;
}
