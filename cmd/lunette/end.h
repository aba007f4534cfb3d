/* SPDX-License-Identifier: MIT */
/* cmd/lunette/end.h - one end of a transfer: a LUN, a file or block device, or a stream.
 *
 * A LUN has a queue: calls return at once, and end_reap completes the io later.  For a file
 * or block device the call does the work.  A stream (a pipe or terminal) has only its next
 * bytes; end_stream_* do not block, except on descriptors that cannot be made
 * non-blocking.
 */
#ifndef CMD_LUNETTE_END_H
#define CMD_LUNETTE_END_H

#include "cmd/lunette/cli.h"
#include "cmd/lunette/outfile.h"

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
    bool fresh; /* a file that we have emptied: what we do not write reads as zeroes */
    bool regular;
    bool in_place;       /* a file that we write to as it is */
    struct outfile *out; /* a file that has its name when it is complete; NULL: not such a file */
    uint64_t base;       /* of a file: where offset 0 is */
    uint64_t size;       /* bytes; UINT64_MAX: not known */
    uint32_t block;      /* offsets and lengths are multiples of it */
    struct lunette_ctx *ctx; /* each end has its own, so that both can be waited for */
    struct lunette_lun *lun;
    struct lunette_queue *queue;
    struct lunette_info info; /* LUNs */
    struct lunette_error err; /* the first failure; code 0: none */
};

/* Opens a source: text is a URL, a path, or "-".  Returns 0, or an exit code after printing the
 * reason; the caller calls end_close in both cases. */
int end_open_source(struct cli *cli, const char *text, uint32_t depth, struct end *ret);
/* Opens a destination in the same way.  A file is only looked at, so that a copy that cannot begin
 * leaves it alone; in_place: it is not to be replaced, but written to. */
int end_open_dest(struct cli *cli, const char *text, uint32_t depth, bool in_place,
                  struct end *ret);

/* What end_prepare has to know. */
struct end_plan {
    const char *source; /* lines that tell the source from others */
    uint64_t length;    /* bytes from the destination's begin; UINT64_MAX: not known */
    bool resume, no_space_check;
    uint64_t done; /* in: bytes that are there already, of a file that is written in place; out: of
                      any that is resumed */
};

/* Makes or empties a destination that is a file, and makes sure that there is room for it.  Called
 * after everything else has been checked.  Returns 0, or an exit code after printing the reason. */
int end_prepare(struct end *e, struct end_plan *plan);
/* Gives a destination that is a file its name: all has been written and flushed.  Exit code. */
int end_commit(struct end *e);
void end_close(struct end *e);
/* Tells whether both are the same device or file. */
bool end_same(const struct end *a, const struct end *b);

/* Start an io.  Return 0 when it is under way, and then io->pending is one more, or when it is done
 * already; -EAGAIN when the queue is full, so that the caller tries again after end_reap; or
 * another -errno with e->err set. */
int end_read(struct end *e, void *buf, size_t len, uint64_t offset, struct io *io);
int end_write(struct end *e, const void *buf, size_t len, uint64_t offset, struct io *io);
int end_zero(struct end *e, uint64_t len, uint64_t offset, struct io *io);
/* Sends what is queued and takes completions without waiting.  Returns how many, or -errno with
 * e->err set. */
int end_reap(struct end *e);

/* Return the bytes moved, 0 at the end of the input, -EAGAIN, or another -errno with e->err set. */
ssize_t end_stream_read(struct end *e, void *buf, size_t len);
ssize_t end_stream_write(struct end *e, const void *buf, size_t len);

/* Finds a file's next stretch from offset: its length, and whether it is a hole. */
uint64_t end_extent(const struct end *e, uint64_t offset, bool *ret_hole);

/* Waits until one end has a completion, or a stream is ready for which a_readable or b_writable
 * asks, but 200 ms at most, so that the caller can look for Ctrl-C.  Returns 0 or -errno. */
int end_wait(struct end *a, struct end *b, bool a_readable, bool b_writable);

/* False: its session has no connection. */
bool end_connected(const struct end *e);
/* Cancels the requests of io, which nobody wants any more, where no answer would come soon. */
void end_give_up(struct end *e, struct io *io);

/* Takes completions until nothing is under way.  Where that takes a while it says so, with the name
 * of the command. */
void end_drain(struct end *a, struct end *b, const char *cmd);

/* Waits until everything written is on stable storage, and sets the size of a fresh file.  Returns
 * 0, or -errno with e->err set. */
int end_flush(struct end *e, uint64_t size);
/* Starts a flush of a LUN, as end_write starts a write. */
int end_flush_start(struct end *e, struct io *io);

#endif
