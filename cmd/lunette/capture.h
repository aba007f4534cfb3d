/* SPDX-License-Identifier: MIT */
/* cmd/lunette/capture.h - --capture FILE. */
#ifndef CMD_LUNETTE_CAPTURE_H
#define CMD_LUNETTE_CAPTURE_H

#include <lunette/lunette.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "cmd/common/capture_tail.h"

struct capture_file {
    int file; /* -1: none is asked for */
    int from;
    int err; /* of the thread, and after it of closing */
    bool running;
    pthread_t thread;
    uint64_t written; /* bytes */
    struct capture_tail tail;
};

/* Makes the file, which must not be there.  Returns 0 or -errno. */
int capture_file_open(struct capture_file *c, const char *path);
/* Before the first session of ctx; flags as lunette_ctx_capture has them. */
int capture_file_start(struct capture_file *c, struct lunette_ctx *ctx, uint32_t flags,
                       struct lunette_error *err);
/* After ctx is gone: waits until all is written, and cuts what is no whole packet.  Returns 0 or
 * -errno of the first failure; then c->tail and c->written say what there is. */
int capture_file_end(struct capture_file *c);

#endif
