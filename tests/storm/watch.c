/* SPDX-License-Identifier: MIT */
/* A well-behaved initiator on a target of its own: whatever the others do, its session lives and
 * its data is what it wrote. */
#include <lunette/lunette.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "storm.h"

#define SIZE      (1u << 20)
#define PIECE_MAX (128u << 10)

struct watch {
    pthread_t thread;
    struct rng rng;
    struct lunette_ctx *ctx;
    struct lunette_lun *lun;
    uint8_t *want, *have;
    char url[200];
    atomic_bool ready, stop, failed;
    uint64_t passes, worst_ns;
    char text[400];
};

static uint64_t
watch_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static bool
watch_says(struct watch *w, const char *what, const char *why)
{
    (void)snprintf(w->text, sizeof(w->text), "%s: %s", what, why);
    w->failed = true;
    return false;
}

static bool
watch_compare(struct watch *w, uint32_t off, uint32_t len)
{
    struct lunette_error err = {0};

    if (lunette_pread(w->lun, w->have, len, off, &err) < 0)
        return watch_says(w, "the watcher cannot read", err.msg);
    if (memcmp(w->have, w->want + off, len) != 0)
        return watch_says(w, "the watcher's data", "not what it wrote");
    return true;
}

static bool
watch_pass(struct watch *w)
{
    uint32_t off = rng_below(&w->rng, SIZE / 512) * 512, len = 512;
    struct lunette_error err = {0};
    uint64_t start = watch_ns();
    bool ok;

    len += rng_below(&w->rng, (SIZE - off < PIECE_MAX ? SIZE - off : PIECE_MAX) / 512) * 512;
    if (len > SIZE - off)
        len = SIZE - off;
    for (uint32_t i = 0; i < len; i += 8) {
        uint64_t n = rng_next(&w->rng);

        memcpy(w->want + off + i, &n, 8);
    }
    if (lunette_pwrite(w->lun, w->want + off, len, off, 0, &err) < 0)
        return watch_says(w, "the watcher cannot write", err.msg);
    off = rng_below(&w->rng, SIZE / PIECE_MAX) * PIECE_MAX;
    ok = watch_compare(w, off, PIECE_MAX);
    if (watch_ns() - start > w->worst_ns)
        w->worst_ns = watch_ns() - start;
    w->passes++;
    return ok;
}

/* A context belongs to the thread that runs it, so all of its life is here. */
static void *
watch_run(void *arg)
{
    struct watch *w = arg;
    const struct timespec rest = {.tv_nsec = 2000000};
    struct lunette_error err = {0};

    if (lunette_ctx_new(NULL, &w->ctx, &err) < 0 ||
        lunette_open(w->ctx, w->url, 0, &w->lun, &err) < 0)
        (void)watch_says(w, "the watcher cannot open its LUN", err.msg);
    w->ready = true;
    while (!w->stop && !w->failed && watch_pass(w))
        (void)nanosleep(&rest, NULL);
    for (uint32_t off = 0; !w->failed && off < SIZE; off += PIECE_MAX)
        (void)watch_compare(w, off, PIECE_MAX);
    lunette_close(w->lun);
    lunette_ctx_free(w->ctx);
    return NULL;
}

static void
watch_free(struct watch *w)
{
    free(w->want);
    free(w->have);
    free(w);
}

struct watch *
watch_start(uint16_t port, const char *target, uint64_t seed)
{
    struct watch *w = calloc(1, sizeof(*w));
    const struct timespec rest = {.tv_nsec = 1000000};

    if (w == NULL)
        return NULL;
    w->rng.state = seed;
    w->want = calloc(1, SIZE);
    w->have = calloc(1, SIZE);
    (void)snprintf(w->url, sizeof(w->url), "iscsi://127.0.0.1:%u/%s/0?replacement_timeout=0", port,
                   target);
    if (w->want == NULL || w->have == NULL || pthread_create(&w->thread, NULL, watch_run, w) != 0) {
        watch_free(w);
        return NULL;
    }
    while (!w->ready) /* the storm begins when it is there */
        (void)nanosleep(&rest, NULL);
    return w;
}

bool
watch_failed(struct watch *w)
{
    return w->failed;
}

const char *
watch_stop(struct watch *w, uint64_t *ret_passes, uint64_t *ret_worst_ms)
{
    static char text[sizeof(w->text)];

    w->stop = true;
    (void)pthread_join(w->thread, NULL);
    *ret_passes = w->passes;
    *ret_worst_ms = w->worst_ns / 1000000;
    memcpy(text, w->text, sizeof(text));
    watch_free(w);
    return text[0] != '\0' ? text : NULL;
}
