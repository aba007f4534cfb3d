/* SPDX-License-Identifier: MIT */
/* cmd/lunette/capture.h - --capture FILE. */
#ifndef CMD_LUNETTE_CAPTURE_H
#define CMD_LUNETTE_CAPTURE_H

#include <lunette/lunette.h>
#include <pthread.h>
#include <stdbool.h>

struct capture_file {
    int file; /* -1: none is asked for */
    int from;
    int err; /* of the thread, and after it of closing */
    bool running;
    pthread_t thread;
};

/* Makes the file, which must not be there.  Returns 0 or -errno. */
int capture_file_open(struct capture_file *c, const char *path);
/* Before the first session of ctx. */
int capture_file_start(struct capture_file *c, struct lunette_ctx *ctx, struct lunette_error *err);
/* After ctx is gone: waits until all is written.  Returns 0 or -errno of the first failure. */
int capture_file_end(struct capture_file *c);

#endif
