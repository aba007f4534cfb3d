/* SPDX-License-Identifier: MIT */
/* poll_loop URL [MILLISECONDS] - a queue inside a poll(2) loop of the program's own, beside another
 * descriptor (here a timer): random reads, counted until the timer fires. */
#include <lunette/lunette.h>

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define DEPTH 32
#define PIECE 4096u

static char data[DEPTH][PIECE];

static int
next(struct lunette_queue *q, void *buf, uint64_t pieces)
{
    uint64_t at = ((uint64_t)random() << 31 | (uint64_t)random()) % pieces * PIECE;

    return lunette_queue_read(q, buf, PIECE, at, buf);
}

/* Takes what is done and asks for more.  Completions, or -errno. */
static int
turn(struct lunette_queue *q, uint64_t pieces)
{
    struct lunette_completion done[DEPTH];
    int n = lunette_queue_poll(q, done, DEPTH, 0, 0); /* never waits */
    int r = 0;

    for (int i = 0; i < n && r == 0; i++)
        r = done[i].err != 0 ? done[i].err : next(q, done[i].user_data, pieces);
    if (r == 0 && n > 0)
        r = lunette_queue_submit(q); /* all of them together */
    return r < 0 ? r : n;
}

static int
run(struct lunette_queue *q, uint64_t pieces, int timer, uint64_t *count)
{
    struct pollfd fds[2] = {{.fd = timer, .events = POLLIN},
                            {.fd = lunette_queue_fd(q), .events = POLLIN}};
    int n = 0;

    for (int i = 0; i < DEPTH && n == 0; i++)
        n = next(q, data[i], pieces);
    if (n == 0)
        n = lunette_queue_submit(q);
    while (n >= 0 && (fds[0].revents & POLLIN) == 0) {
        n = turn(q, pieces);
        *count += n > 0 ? (uint64_t)n : 0;
        if (n >= 0 && poll(fds, 2, -1) < 0 && errno != EINTR)
            n = -errno;
    }
    return n < 0 ? n : 0;
}

int
main(int argc, char **argv)
{
    long ms = argc > 2 ? strtol(argv[2], NULL, 10) : 1000;
    struct itimerspec its = {.it_value = {ms / 1000, ms % 1000 * 1000000}};
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_ctx *ctx = NULL;
    struct lunette_lun *lun = NULL;
    struct lunette_queue *q = NULL;
    struct lunette_info info = LUNETTE_INIT(info);
    uint64_t count = 0;

    if (argc < 2 || ms <= 0 || timer < 0) {
        fprintf(stderr, "usage: poll_loop URL [MILLISECONDS]\n");
        return 2;
    }
    int r = lunette_ctx_new(NULL, &ctx, &err);
    if (r == 0)
        r = lunette_open(ctx, argv[1], LUNETTE_OPEN_RDONLY, &lun, &err);
    if (r == 0)
        r = lunette_queue_new(lun, DEPTH, &q, &err);
    if (r < 0)
        fprintf(stderr, "poll_loop: %s\n", err.msg);
    if (r == 0) {
        (void)lunette_get_info(lun, &info);
        timerfd_settime(timer, 0, &its, NULL);
        r = run(q, info.size / PIECE, timer, &count);
        if (r < 0)
            fprintf(stderr, "poll_loop: %s\n", strerror(-r));
        printf("%" PRIu64 " reads in %ld ms\n", count, ms);
    }
    lunette_queue_free(q);
    lunette_close(lun);
    lunette_ctx_free(ctx);
    close(timer);
    return r < 0;
}
