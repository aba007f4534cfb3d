/* SPDX-License-Identifier: MIT */
/* tests/sim/golden_walk.c - the walk of a login, of READs and of WRITEs, made by the trace points,
 * held against tests/sim/golden_walk.txt.  docs/walk.md tells the same with file names.
 *
 * What queues do with small requests is what normal I/O does, and takes the fast path; the calls
 * that wait take the general one.  A request that is timed leaves the fast path, and none is here.
 *
 * usage: golden_walk FILE [--update]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world.h"

#define WRITE_LEN (96u << 10) /* immediate data, then an R2T for the rest */

static void
section(FILE *to, const struct lunette_ctx *ctx, const char *title, uint32_t *from)
{
    const struct trace *t = ctx->loop->trace;

    (void)fprintf(to, "# %s\n", title);
    if (t->head > t->size) {
        (void)fprintf(stderr, "golden_walk: the trace ring is too small\n");
        exit(1);
    }
    for (; *from != t->head; (*from)++)
        (void)fprintf(to, "%s\n", trace_name(t->ev[*from].id));
}

static void
check(int r, const struct lunette_error *err)
{
    if (r < 0) {
        (void)fprintf(stderr, "golden_walk: %s\n", err->msg);
        exit(1);
    }
}

/* Two requests, the second one on the way that the first has prepared. */
static void
two_queued(FILE *to, const struct lunette_ctx *ctx, struct lunette_queue *q, bool write,
           uint8_t *buf, const char *title, uint32_t *from)
{
    struct lunette_completion c;

    for (int i = 0; i < 2; i++) {
        int r = write ? lunette_queue_write(q, buf, 4096, 0, 0, NULL)
                      : lunette_queue_read(q, buf, 4096, 0, NULL);

        if (r < 0 || lunette_queue_poll(q, &c, 1, 1, -1) != 1 || c.err != 0) {
            (void)fprintf(stderr, "golden_walk: a request of a queue failed\n");
            exit(1);
        }
        if (i == 0)
            *from = ctx->loop->trace->head;
    }
    section(to, ctx, title, from);
}

static void
walk(FILE *to)
{
    static const struct target_key_value set[] = {{"InitialR2T", "Yes"}, {"ImmediateData", "Yes"}};
    struct world_config cfg = {.block = 512,
                               .set = set,
                               .set_count = 2,
                               .options = "?first_burst_length=8192&max_outstanding_r2t=1",
                               .trace_events = 4096};
    static uint8_t buf[WRITE_LEN];
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_queue *q;
    struct lunette_lun *lun;
    struct world w;
    uint32_t at = 0;

    world_new(&w, 7, &cfg);
    check(lunette_open(w.ctx, w.url, 0, &lun, &err), &err);
    section(to, w.ctx, "login, scan, and the disk coming up", &at);
    bdev_set_watch(lun->disk->bdev, 0, false);
    check(lunette_queue_new(lun, 4, &q, &err), &err);
    two_queued(to, w.ctx, q, false, buf, "READ of 4 KiB, the fast path", &at);
    two_queued(to, w.ctx, q, true, buf, "WRITE of 4 KiB, the fast path", &at);
    lunette_queue_free(q);
    check(lunette_pread(lun, buf, 4096, 0, &err), &err);
    section(to, w.ctx, "READ of 4 KiB, the general path", &at);
    check(lunette_pwrite(lun, buf, sizeof(buf), 0, 0, &err), &err);
    section(to, w.ctx, "WRITE of 96 KiB, the general path: immediate data, then an R2T", &at);
    lunette_close(lun);
    section(to, w.ctx, "logout", &at);
    world_free(&w);
}

static char *
slurp(FILE *f)
{
    char *text = calloc(1, 1 << 20);

    if (text == NULL || fread(text, 1, (1 << 20) - 1, f) == 0)
        exit(1);
    return text;
}

int
main(int argc, char **argv)
{
    FILE *made = tmpfile(), *golden;
    char *a, *b, *line_a, *line_b, *save_a, *save_b;
    int n = 0;

    if (argc < 2 || made == NULL)
        return 2;
    walk(made);
    rewind(made);
    a = slurp(made);
    if (argc > 2 && strcmp(argv[2], "--update") == 0) {
        golden = fopen(argv[1], "w");
        return golden == NULL || fputs(a, golden) < 0 || fclose(golden) != 0;
    }
    golden = fopen(argv[1], "r");
    if (golden == NULL) {
        perror(argv[1]);
        return 1;
    }
    b = slurp(golden);
    line_a = strtok_r(a, "\n", &save_a);
    line_b = strtok_r(b, "\n", &save_b);
    for (; line_a != NULL && line_b != NULL && strcmp(line_a, line_b) == 0; n++) {
        line_a = strtok_r(NULL, "\n", &save_a);
        line_b = strtok_r(NULL, "\n", &save_b);
    }
    if (line_a != NULL || line_b != NULL) {
        (void)printf("line %d: the walk has \"%s\", %s has \"%s\"\n", n + 1,
                     line_a != NULL ? line_a : "(end)", argv[1], line_b != NULL ? line_b : "(end)");
        return 1;
    }
    (void)printf("%d steps, as in %s\n", n, argv[1]);
    (void)fclose(made);
    (void)fclose(golden);
    free(a);
    free(b);
    return 0;
}
