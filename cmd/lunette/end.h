/* SPDX-License-Identifier: MIT */
/* cmd/lunette/end.h - one end of a transfer: a LUN, a file or block device, or a stream.
 *
 * LUNs work on a queue: calls return at once and the io is done later, in
 * end_reap.  Files and block devices do the work in the call.  Streams (pipes,
 * terminals) only know the next bytes; end_stream_* never block where the
 * system lets us not to.
 */
#ifndef CMD_LUNETTE_END_H
#define CMD_LUNETTE_END_H

#include "cmd/lunette/cli.h"

enum end_kind { END_LUN, END_FILE, END_STREAM };

/* The requests of one owner, of which several may be under way. */
struct io {
    unsigned pending;
    uint64_t offset;  /* for messages: where they begin */
    const char *verb; /* "reading", "writing" */
};

struct end {
    enum end_kind kind;
    char *name; /* for messages: no secrets */
    int fd;
    bool own_fd;
    bool fresh; /* a file that we have emptied, so that what is not written reads as zeroes */
    bool regular;
    uint64_t base;           /* of a file: where offset 0 is */
    uint64_t size;           /* bytes; UINT64_MAX: not known */
    uint32_t block;          /* offsets and lengths are multiples of it */
    struct lunette_ctx *ctx; /* each end has its own, so that both can be waited for */
    struct lunette_lun *lun;
    struct lunette_queue *queue;
    struct lunette_info info; /* LUNs */
    struct lunette_error err; /* the first failure; code 0: none */
};

/* text: a URL, a path, or "-".  0, or an exit code (printed).  end_close takes half-open ones. */
int end_open_source(struct cli *cli, const char *text, uint32_t depth, struct end *ret);
/* A file is created, and emptied by end_prepare. */
int end_open_dest(struct cli *cli, const char *text, uint32_t depth, struct end *ret);
/* Empties a file that is written.  Call it once everything has been checked. */
int end_prepare(struct end *e);
void end_close(struct end *e);
/* Are both the same device or file? */
bool end_same(const struct end *a, const struct end *b);

/* 0: under way (or done: io->pending did not grow); -EAGAIN: queue full, later; else e->err is set.
 */
int end_read(struct end *e, void *buf, size_t len, uint64_t offset, struct io *io);
int end_write(struct end *e, const void *buf, size_t len, uint64_t offset, struct io *io);
int end_zero(struct end *e, uint64_t len, uint64_t offset, struct io *io);
/* Sends what is queued and takes completions without waiting.  Their number, or -errno with
 * e->err set. */
int end_reap(struct end *e);

/* Bytes moved, 0 at the end of the input, -EAGAIN, or -errno with e->err set. */
ssize_t end_stream_read(struct end *e, void *buf, size_t len);
ssize_t end_stream_write(struct end *e, const void *buf, size_t len);

/* Finds a file's next stretch from offset: its length, and whether it is a hole. */
uint64_t end_extent(const struct end *e, uint64_t offset, bool *ret_hole);

/* Waits until either side has something to do, or a stream whose events are asked for, or 200 ms
 * passed: then Ctrl-C may be looked at.  0 or -errno. */
int end_wait(struct end *a, struct end *b, bool a_readable, bool b_writable);

/* Everything written is on stable storage; a fresh file gets its size.  0 or -errno with e->err. */
int end_flush(struct end *e, uint64_t size);

#endif
