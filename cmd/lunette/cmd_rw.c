/* SPDX-License-Identifier: MIT */
/* cmd/lunette/cmd_rw.c - lunette read and write: bytes of a LUN from and to pipes. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/lunette/transfer.h"

#define HEX_STEP 65536u

struct rw_opts {
    uint64_t offset, length, bs, depth, progress;
    bool hex, quiet;
};

static const struct rw_opts rw_defaults = {.length = UINT64_MAX, .bs = 1 << 20, .depth = 8};

#define OPT_OFFSET                                                                                 \
    {                                                                                              \
        "offset", 0, OPT_SIZE, offsetof(struct rw_opts, offset), "N", "begin at that byte (0)", 0, \
            0                                                                                      \
    }
#define OPT_BS                                                                                     \
    {                                                                                              \
        "bs", 0, OPT_SIZE, offsetof(struct rw_opts, bs), "SIZE", "bytes of one request (1M)", 512, \
            TRANSFER_BS_MAX                                                                        \
    }
#define OPT_DEPTH                                                                                  \
    {                                                                                              \
        "depth", 0, OPT_UINT, offsetof(struct rw_opts, depth), "N",                                \
            "requests that are under way at a time (8)", 1, TRANSFER_DEPTH_MAX                     \
    }

static const struct opt read_options[] = {
    OPT_OFFSET,
    {"length", 0, OPT_SIZE, offsetof(struct rw_opts, length), "N",
     "read that many bytes (up to the end of the LUN)", 0, 0},
    {"hex", 0, OPT_FLAG, offsetof(struct rw_opts, hex), NULL, "print a hex dump", 0, 0},
    OPT_BS,
    OPT_DEPTH,
    {0},
};

static const struct opt write_options[] = {
    OPT_OFFSET,
    {"length", 0, OPT_SIZE, offsetof(struct rw_opts, length), "N",
     "write that many bytes at most (up to the end of the input)", 0, 0},
    OPT_BS,
    OPT_DEPTH,
    {"progress", 0, OPT_MAYBE_CHOICE, offsetof(struct rw_opts, progress), PROGRESS_CHOICES,
     "show the progress where stderr is no terminal, too; json: an object a line, each second", 0,
     0},
    {"quiet", 'q', OPT_FLAG, offsetof(struct rw_opts, quiet), NULL, "no progress and no summary", 0,
     0},
    {0},
};

/* Checks that offset, and the length where one is given, lie inside the LUN. */
static int
rw_check_range(const char *cmd, const struct end *lun, const struct rw_opts *o, uint64_t length)
{
    if (lun->block > BLOCK_MAX || o->bs % lun->block != 0)
        return fail_usage("%s: --bs=%llu is no multiple of the block size, %u", cmd,
                          (unsigned long long)o->bs, lun->block);
    if (o->offset <= lun->size && (length == UINT64_MAX || length <= lun->size - o->offset))
        return 0;
    if (length == UINT64_MAX)
        fail_usage("%s: offset %llu is past the end: the LUN has %llu bytes", cmd,
                   (unsigned long long)o->offset, (unsigned long long)lun->size);
    else
        fail_usage("%s: %llu bytes at offset %llu reach past the end: the LUN has %llu bytes", cmd,
                   (unsigned long long)length, (unsigned long long)o->offset,
                   (unsigned long long)lun->size);
    return EXIT_USAGE;
}

static int
read_hex(const struct end *lun, uint64_t offset, uint64_t length)
{
    struct lunette_error err = LUNETTE_INIT(err);
    char *buf = xbuffer(HEX_STEP + 2 * (size_t)BLOCK_MAX);
    int code = 0;

    while (length > 0 && code == 0 && interrupted() == 0) {
        uint64_t n = length < HEX_STEP ? length : HEX_STEP;
        uint64_t from = offset / lun->block * lun->block;
        uint64_t to = (offset + n + lun->block - 1) / lun->block * lun->block;
        interrupt_in_call(true);
        int e = lunette_pread(lun->lun, buf, (size_t)(to - from), from, &err);
        interrupt_in_call(false);
        if (e < 0) {
            code = fail_with(&err, lun->name);
            break;
        }
        hexdump(stdout, buf + (offset - from), (size_t)n, offset);
        offset += n;
        length -= n;
    }
    free(buf);
    return code == 0 && interrupted() != 0 ? EXIT_SIGNAL + interrupted() : code;
}

static int
read_lun(struct cli *cli, const struct rw_opts *o, struct end *src, struct end *dst)
{
    struct progress progress = {0};
    int code = rw_check_range("read", src, o, o->length);
    uint64_t length = o->length == UINT64_MAX ? src->size - o->offset : o->length;

    if (code != 0)
        return code;
    interrupt_catch_in_time("read");
    if (o->hex)
        return read_hex(src, o->offset, length);
    struct transfer t = {.cli = cli, .src = src, .dst = dst, .length = length, .bs = o->bs};
    t.depth = o->depth;
    t.src_offset = o->offset;
    t.progress = &progress;
    return transfer_run(&t);
}

static int
run_read(struct cli *cli, const void *opts, int argc, char **argv)
{
    const struct rw_opts *o = opts;
    struct end src = {.fd = -1}, dst = {.fd = -1};

    (void)argc;
    if (!o->hex && isatty(STDOUT_FILENO)) {
        fail_usage("read: standard output is a terminal: redirect it, or add --hex");
        return EXIT_USAGE;
    }
    if (!url_is_iscsi(argv[0]))
        return fail_no_url("read", argv[0]);
    int code = end_open_source(cli, argv[0], (uint32_t)o->depth, &src);
    if (code == 0)
        code = end_open_dest(cli, "-", 0, false, &dst);
    if (code == 0)
        code = read_lun(cli, o, &src, &dst);
    end_close(&src);
    end_close(&dst);
    return code;
}

/* Reads len bytes and waits for them.  Returns their number, which is less at the end only, or
 * -errno. */
static ssize_t
read_fully(struct end *e, uint64_t offset, char *buf, size_t len)
{
    size_t done = 0;

    while (done < len) {
        ssize_t n = e->kind == END_FILE
                        ? pread(e->fd, buf + done, len - done, (off_t)(e->base + offset + done))
                        : read(e->fd, buf + done, len - done);
        if (n < 0 && errno == EINTR && interrupted() == 0)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

/* Writes the rest of the first block, if offset lies inside one.  *ret_len: bytes written. */
static int
write_head(struct end *src, struct end *dst, uint64_t offset, uint64_t max, uint64_t *ret_len)
{
    char buf[BLOCK_MAX];
    uint64_t len = dst->block - offset % dst->block;

    *ret_len = 0;
    if (offset % dst->block == 0)
        return 0;
    ssize_t n = read_fully(src, 0, buf, (size_t)(len < max ? len : max));
    if (n < 0)
        return fail_errno((int)n, "%s", src->name);
    *ret_len = (uint64_t)n;
    return n == 0 ? 0 : transfer_patch_block(dst, buf, (size_t)n, offset);
}

/* The LUN is full: checks that nothing is left on the stream. */
static int
rw_check_end(const struct end *src, const struct rw_opts *o, uint64_t done, uint64_t room)
{
    char byte;

    if (src->kind != END_STREAM || o->length != UINT64_MAX || done < room)
        return 0;
    if (read(src->fd, &byte, 1) <= 0)
        return 0;
    return fail_usage("write: the input goes past the end of the LUN: %llu bytes were written",
                      (unsigned long long)done);
}

static void
write_stopped(struct transfer *t, int code)
{
    note("write: %s after %llu bytes", code > EXIT_SIGNAL ? "interrupted" : "stopped",
         (unsigned long long)(t->before + t->done));
}

static int
write_summary(const struct cli *cli, const struct rw_opts *o, uint64_t done, uint64_t start)
{
    double secs = (double)(now_ns() - start + 1) / 1e9;
    char size[TEXT_SIZE], rate[TEXT_SIZE];

    if (cli->common.json)
        return json_print(json_pack("{s:I, s:I, s:f, s:f}", "bytes", (json_int_t)done, "offset",
                                    (json_int_t)o->offset, "seconds", secs, "bytes_per_second",
                                    (double)done / secs));
    if (!o->quiet)
        tell("wrote %s at offset %llu in %.2f s (%s)", format_size(size, done),
             (unsigned long long)o->offset, secs, format_rate(rate, (double)done / secs));
    return 0;
}

/* Writes `length` bytes at most; *ret_done: bytes written, also on failure. */
static int
write_bytes(struct transfer *t, const struct rw_opts *o, uint64_t length, uint64_t *ret_done)
{
    struct end *src = t->src, *dst = t->dst;
    uint64_t head = 0;
    bool known = src->kind == END_FILE || o->length != UINT64_MAX;

    progress_start(t->progress, o->quiet ? PROGRESS_NEVER : (enum progress_mode)o->progress,
                   "writing", known ? length : UINT64_MAX, 0);
    int code = write_head(src, dst, o->offset, length, &head);
    if (code != 0)
        return code;
    t->src_offset = src->kind == END_FILE ? head : 0;
    t->dst_offset = o->offset + head;
    t->length = length - head;
    t->before = head;
    t->stopped = write_stopped;
    bool short_head = head > 0 && t->dst_offset % dst->block != 0; /* that was all of the input */
    if (short_head)
        t->length = 0;
    code = transfer_run(t);
    *ret_done = head + t->done;
    return code;
}

static int
write_lun(struct cli *cli, const struct rw_opts *o, struct end *src, struct end *dst)
{
    struct progress progress = {0};
    struct transfer t = {.cli = cli, .src = src, .dst = dst, .bs = o->bs, .depth = o->depth};
    uint64_t length = o->length < src->size ? o->length : src->size, done = 0, start = now_ns();
    int code = rw_check_range("write", dst, o, length);

    if (code != 0)
        return code;
    uint64_t room = dst->size - o->offset;
    if (length > room)
        length = room;
    t.progress = &progress;
    cli->quiet = o->quiet;
    interrupt_catch_in_time("write");
    code = write_bytes(&t, o, length, &done);
    if (code != 0)
        return code;
    if (src->kind == END_FILE) /* the file's offset, as if it had been read */
        (void)lseek(src->fd, (off_t)(src->base + done), SEEK_SET);
    code = rw_check_end(src, o, done, room);
    return code != 0 ? code : write_summary(cli, o, done, start);
}

static int
run_write(struct cli *cli, const void *opts, int argc, char **argv)
{
    const struct rw_opts *o = opts;
    struct end src = {.fd = -1}, dst = {.fd = -1};

    (void)argc;
    if (!url_is_iscsi(argv[0]))
        return fail_no_url("write", argv[0]);
    if (isatty(STDIN_FILENO))
        note("write: reading from the terminal; Ctrl-D ends the input");
    int code = end_open_source(cli, "-", 0, &src);
    if (code == 0)
        code = end_open_dest(cli, argv[0], (uint32_t)o->depth, false, &dst);
    if (code == 0)
        code = write_lun(cli, o, &src, &dst);
    end_close(&src);
    end_close(&dst);
    return code;
}

const struct command cmd_read = {
    .name = "read",
    .operands = "URL",
    .synopsis = "[--offset=N] [--length=N] [OPTION...]",
    .summary = "bytes of a LUN to standard output",
    .about = "Writes bytes of the LUN to standard output.  Offset and length may be any number of "
             "bytes; sizes take k, M, G, T.",
    .example =
        "read iscsi://192.0.2.1/iqn.2026-11.example:disk/0 --length 512 --hex\n"
        "read iscsi://192.0.2.1/iqn.2026-11.example:disk/0 --offset 1M --length 64k >part.bin",
    .opts = read_options,
    .defaults = &rw_defaults,
    .opts_size = sizeof(struct rw_opts),
    .min_args = 1,
    .max_args = 1,
    .run = run_read,
};

const struct command cmd_write = {
    .name = "write",
    .operands = "URL",
    .synopsis = "[--offset=N] [--length=N] [OPTION...]",
    .summary = "standard input to a LUN",
    .about =
        "Writes standard input to the LUN.  Where the first or the last byte lies inside a block, "
        "that block is read first and its other bytes are kept (not atomically: nobody else may "
        "write to that block meanwhile).  Everything is on stable storage when the command ends.",
    .example = "write iscsi://192.0.2.1/iqn.2026-11.example:disk/0 --offset 1M <part.bin",
    .opts = write_options,
    .defaults = &rw_defaults,
    .opts_size = sizeof(struct rw_opts),
    .json = true,
    .min_args = 1,
    .max_args = 1,
    .run = run_write,
};
