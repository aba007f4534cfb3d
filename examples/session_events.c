/* SPDX-License-Identifier: MIT */
/* session_events URL READS LUN... - several LUNs in one session, and what happens to it: reads the
 * first block of each LUN in turn, ten times a second, and prints each event.  When the connection
 * is lost, the read that is under way waits, and goes on when the session is back. */
#include <lunette/lunette.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LUNS_MAX 8

static struct lunette_lun *luns[LUNS_MAX];
static struct lunette_queue *queues[LUNS_MAX];
static char block[4096];

static void
print_events(struct lunette_ctx *ctx)
{
    struct lunette_event ev = LUNETTE_INIT(ev);
    char text[512];

    while (lunette_ctx_next_event(ctx, &ev) == 0) {
        printf("%s: %s\n", lunette_event_name(ev.type),
               lunette_event_text(&ev, text, sizeof(text)));
        (void)fflush(stdout);
    }
}

/* One read.  While it is under way, this waits for the library and for events in one poll. */
static int
read_once(struct lunette_ctx *ctx, struct lunette_queue *q, struct lunette_error *err)
{
    struct pollfd fds[2] = {{.fd = lunette_ctx_fd(ctx), .events = POLLIN},
                            {.fd = lunette_ctx_events_fd(ctx), .events = POLLIN}};
    struct lunette_completion done = {0};
    int r = lunette_queue_read(q, block, sizeof(block), 0, NULL);

    if (r == 0)
        r = lunette_queue_submit(q);
    while (r == 0) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return -errno;
        r = lunette_queue_poll(q, &done, 1, 0, 0); /* drives the context; never waits */
        print_events(ctx);
    }
    return r < 0 || done.err == 0 ? r : lunette_queue_explain(q, &done, "read", err);
}

static int
run(struct lunette_ctx *ctx, struct lunette_session *session, long reads, int n, char **numbers,
    struct lunette_error *err)
{
    int r = 0;

    for (int i = 0; i < n && r == 0; i++) {
        r = lunette_session_lun(session, strtoull(numbers[i], NULL, 0), LUNETTE_OPEN_RDONLY,
                                &luns[i], err);
        if (r == 0)
            r = lunette_queue_new(luns[i], 1, &queues[i], err);
    }
    if (r == 0) {
        printf("%d LUNs are open\n", n);
        (void)fflush(stdout);
    }
    for (long k = 0; k < reads && r >= 0; k++) {
        r = read_once(ctx, queues[k % n], err);
        if (r >= 0)
            r = lunette_ctx_run(ctx, 100); /* pings are answered, events come up */
        print_events(ctx);
    }
    for (int i = 0; i < n; i++) {
        lunette_queue_free(queues[i]);
        lunette_close(luns[i]);
    }
    return r;
}

int
main(int argc, char **argv)
{
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_ctx *ctx = NULL;
    struct lunette_session *session = NULL;

    if (argc < 4 || argc > 3 + LUNS_MAX) {
        fprintf(stderr, "usage: session_events URL READS LUN...\n");
        return 2;
    }
    int r = lunette_ctx_new(NULL, &ctx, &err);
    if (r == 0)
        r = lunette_session_open(ctx, argv[1], 0, &session, &err);
    if (r == 0) {
        r = lunette_ctx_set_events(ctx, NULL, NULL); /* keep them for lunette_ctx_next_event */
        if (r == 0)
            r = run(ctx, session, strtol(argv[2], NULL, 10), argc - 3, argv + 3, &err);
    }
    if (r < 0)
        fprintf(stderr, "session_events: %s\n", err.msg[0] != '\0' ? err.msg : strerror(-r));
    else
        printf("%s reads done\n", argv[2]);
    lunette_session_close(session);
    lunette_ctx_free(ctx);
    return r < 0;
}
