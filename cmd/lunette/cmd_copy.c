/* SPDX-License-Identifier: MIT */
/* cmd/lunette/cmd_copy.c - lunette copy: LUN to file, file to LUN, LUN to LUN. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd/lunette/transfer.h"

struct copy_opts {
    uint64_t bs, depth;
    bool verify, no_sparse, progress, quiet;
};

static const struct copy_opts copy_defaults = {.bs = 1 << 20, .depth = 8};

static const struct opt copy_options[] = {
    {"verify", 0, OPT_FLAG, offsetof(struct copy_opts, verify), NULL,
     "read both sides again and compare them", 0, 0},
    {"no-sparse", 0, OPT_FLAG, offsetof(struct copy_opts, no_sparse), NULL,
     "write zeroes as data, too", 0, 0},
    {"bs", 0, OPT_SIZE, offsetof(struct copy_opts, bs), "SIZE", "bytes of one request (1M)", 512,
     TRANSFER_BS_MAX},
    {"depth", 0, OPT_UINT, offsetof(struct copy_opts, depth), "N",
     "requests that are under way at a time (8)", 1, TRANSFER_DEPTH_MAX},
    {"progress", 0, OPT_FLAG, offsetof(struct copy_opts, progress), NULL,
     "show the progress where stderr is no terminal, too", 0, 0},
    {"quiet", 'q', OPT_FLAG, offsetof(struct copy_opts, quiet), NULL, "no progress and no summary",
     0, 0},
    {0},
};

struct outcome {
    double seconds, verify_seconds;
    uint64_t differs;
    bool verified;
};

static int
check_words(const struct cli *cli, const struct copy_opts *o, char **argv)
{
    bool in = strcmp(argv[0], "-") == 0, out = strcmp(argv[1], "-") == 0;

    if (!url_is_iscsi(argv[0]) && !url_is_iscsi(argv[1]))
        return fail_usage("copy: neither side is an iscsi:// URL: that is a job for cp(1)");
    if (o->verify && (in || out))
        return fail_usage("copy: --verify cannot read %s a second time",
                          in ? "standard input" : "standard output");
    if (cli->common.json && out)
        return fail_usage("copy: --json and the data cannot both go to standard output");
    if (out && isatty(STDOUT_FILENO))
        return fail_usage("copy: standard output is a terminal: redirect it");
    return 0;
}

static int
check_room(struct transfer *t)
{
    const struct end *src = t->src, *dst = t->dst;
    char have[TEXT_SIZE], need[TEXT_SIZE];

    if (end_same(src, dst))
        return fail_usage("copy: both sides are the same");
    if (src->block > BLOCK_MAX || dst->block > BLOCK_MAX || t->bs % src->block != 0 ||
        t->bs % dst->block != 0)
        return fail_usage("copy: --bs=%llu is no multiple of the block size, %u",
                          (unsigned long long)t->bs,
                          src->block > dst->block ? src->block : dst->block);
    if (dst->kind == END_STREAM || dst->regular)
        return 0;
    if (src->size != UINT64_MAX && src->size > dst->size)
        return fail_usage("copy: %s has %s (%llu bytes) and does not fit into %s with %s (%llu "
                          "bytes): nothing was written",
                          src->name, format_size(need, src->size), (unsigned long long)src->size,
                          dst->name, format_size(have, dst->size), (unsigned long long)dst->size);
    if (src->size == UINT64_MAX)
        t->length = dst->size;
    return 0;
}

/* A stream has filled the destination.  Checks that the stream had no more. */
static int
copy_check_end(const struct transfer *t)
{
    char byte;

    if (t->src->kind != END_STREAM || t->done < t->length)
        return 0;
    if (read(t->src->fd, &byte, 1) <= 0)
        return 0;
    return fail_usage("copy: the input is longer than %s: its first %llu bytes were written",
                      t->dst->name, (unsigned long long)t->done);
}

static void
summary(const struct transfer *t, const struct outcome *out)
{
    char size[TEXT_SIZE], rate[TEXT_SIZE], zeroes[TEXT_SIZE];

    fprintf(stderr, "copied %s in %.2f s (%s)", format_size(size, t->done), out->seconds,
            format_rate(rate, (double)t->done / out->seconds));
    if (t->zeroes > 0)
        fprintf(stderr, ", of which %s zeroes not sent as data", format_size(zeroes, t->zeroes));
    fputc('\n', stderr);
    if (t->padded > 0)
        fprintf(stderr, "the source is no multiple of %u bytes: %u zero bytes added at its end\n",
                t->dst->block, t->padded);
    if (out->verified)
        fprintf(stderr, "verified in %.2f s: both sides are equal\n", out->verify_seconds);
}

static int
copy_print_json(const struct transfer *t, const struct outcome *out, bool verify)
{
    json_t *j = json_pack("{s:I, s:I, s:i, s:f, s:f, s:o}", "bytes", (json_int_t)t->done, "zeroes",
                          (json_int_t)t->zeroes, "padded", (int)t->padded, "seconds", out->seconds,
                          "bytes_per_second", (double)t->done / out->seconds, "verified",
                          verify ? json_boolean(out->verified) : json_null());

    if (verify)
        json_object_set_new(j, "verify_seconds", json_real(out->verify_seconds));
    if (verify && !out->verified)
        json_object_set_new(j, "differs_at", json_integer((json_int_t)out->differs));
    return json_print(j);
}

static double
seconds_since(uint64_t start)
{
    return (double)(now_ns() - start + 1) / 1e9;
}

static int
verify(struct transfer *t, enum progress_mode mode, struct outcome *out)
{
    uint64_t start = now_ns();

    t->length = t->done;
    progress_start(t->progress, mode, "verifying", t->length);
    int code = transfer_compare(t, &out->differs);
    out->verify_seconds = seconds_since(start);
    out->verified = code == 0;
    if (code == EXIT_VERIFY)
        fprintf(stderr, "lunette: copy: %s and %s differ, first at offset %llu\n", t->src->name,
                t->dst->name, (unsigned long long)out->differs);
    return code;
}

static int
copy(struct cli *cli, const struct copy_opts *o, struct end *src, struct end *dst)
{
    struct progress progress;
    struct outcome out = {0};
    enum progress_mode mode = o->quiet      ? PROGRESS_NEVER
                              : o->progress ? PROGRESS_FORCE
                                            : PROGRESS_AUTO;
    struct transfer t = {.cli = cli, .src = src, .dst = dst, .length = src->size, .bs = o->bs};

    t.depth = o->depth;
    t.sparse = !o->no_sparse && dst->kind != END_STREAM;
    t.pad = true;
    t.progress = &progress;
    int code = check_room(&t);
    if (code == 0)
        code = end_prepare(dst);
    if (code != 0)
        return code;
    uint64_t start = now_ns();
    interrupt_catch(false);
    progress_start(&progress, mode, "copying", src->size);
    code = transfer_run(&t);
    out.seconds = seconds_since(start);
    if (code == 0)
        code = copy_check_end(&t);
    if (code == 0 && o->verify)
        code = verify(&t, mode, &out);
    if (code > EXIT_SIGNAL)
        fprintf(stderr, "lunette: copy: interrupted after %llu bytes: %s is not complete\n",
                (unsigned long long)t.done, dst->name);
    else if (code != 0 && code != EXIT_VERIFY)
        fprintf(stderr, "lunette: copy: stopped after %llu bytes: %s is not complete\n",
                (unsigned long long)t.done, dst->name);
    if (code == 0 && !o->quiet && !cli->common.json)
        summary(&t, &out);
    if (cli->common.json && (code == 0 || code == EXIT_VERIFY)) {
        int r = copy_print_json(&t, &out, o->verify);
        return code != 0 ? code : r;
    }
    return code;
}

static int
run_copy(struct cli *cli, const void *opts, int argc, char **argv)
{
    const struct copy_opts *o = opts;
    struct end src = {.fd = -1}, dst = {.fd = -1};

    (void)argc;
    int code = check_words(cli, o, argv);
    if (code == 0)
        code = end_open_source(cli, argv[0], (uint32_t)o->depth, &src);
    if (code == 0)
        code = end_open_dest(cli, argv[1], (uint32_t)o->depth, &dst);
    if (code == 0)
        code = copy(cli, o, &src, &dst);
    end_close(&src);
    end_close(&dst);
    return code;
}

const struct command cmd_copy = {
    .name = "copy",
    .operands = "SRC DST",
    .synopsis = "[OPTION...]",
    .summary = "copy a LUN or a file to a LUN or a file",
    .about =
        "Copies SRC to DST.  Each is the URL of a LUN, a file, a block device, or - for standard "
        "input or output.  Holes and runs of zeroes are not sent as data: a LUN is told to write "
        "zeroes, a file gets holes.  A destination that is too small is refused before anything "
        "is written.  Everything is on stable storage when the command ends.",
    .example = "copy disk.img iscsi://192.0.2.1/iqn.2026-11.example:disk/0 --verify\n"
               "copy iscsi://192.0.2.1/iqn.2026-11.example:disk/0 backup.img\n"
               "|zcat disk.img.gz | lunette copy - iscsi://192.0.2.1/iqn.2026-11.example:disk/0",
    .opts = copy_options,
    .defaults = &copy_defaults,
    .opts_size = sizeof(struct copy_opts),
    .json = true,
    .min_args = 2,
    .max_args = 2,
    .run = run_copy,
};
