/* SPDX-License-Identifier: MIT */
/* cmd/lunette/cmd_copy.c - lunette copy: LUN to file, file to LUN, LUN to LUN. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "cmd/lunette/transfer.h"

#define NO_RESUME     (UINT64_MAX - 1)
#define RESUME_RECORD UINT64_MAX /* without a number: what the partial file says */

struct copy_opts {
    uint64_t bs, depth, offset, length, resume, progress;
    bool verify, no_sparse, quiet, in_place, no_space_check;
};

static const struct copy_opts copy_defaults = {
    .bs = 1 << 20, .depth = 8, .length = UINT64_MAX, .resume = NO_RESUME};

static const struct opt copy_options[] = {
    {"verify", 0, OPT_FLAG, offsetof(struct copy_opts, verify), NULL,
     "read both sides again and compare them", 0, 0},
    {"offset", 0, OPT_SIZE, offsetof(struct copy_opts, offset), "N",
     "begin at that byte of the LUN, or of both LUNs (0); a file holds only that part", 0, 0},
    {"length", 0, OPT_SIZE, offsetof(struct copy_opts, length), "N",
     "copy that many bytes (up to the end of SRC)", 1, 0},
    {"resume", 0, OPT_MAYBE_SIZE, offsetof(struct copy_opts, resume), "N",
     "go on where a copy was interrupted: to a file without N, else N is what that copy said", 0,
     0},
    {"in-place", 0, OPT_FLAG, offsetof(struct copy_opts, in_place), NULL,
     "write into the file DST itself, not into DST.partial to be renamed", 0, 0},
    {"no-space-check", 0, OPT_FLAG, offsetof(struct copy_opts, no_space_check), NULL,
     "begin even if the file system has less room than the LUN has bytes", 0, 0},
    {"no-sparse", 0, OPT_FLAG, offsetof(struct copy_opts, no_sparse), NULL,
     "write zeroes as data, too", 0, 0},
    {"bs", 0, OPT_SIZE, offsetof(struct copy_opts, bs), "SIZE", "bytes of one request (1M)", 512,
     TRANSFER_BS_MAX},
    {"depth", 0, OPT_UINT, offsetof(struct copy_opts, depth), "N",
     "requests that are under way at a time (8)", 1, TRANSFER_DEPTH_MAX},
    {"progress", 0, OPT_MAYBE_CHOICE, offsetof(struct copy_opts, progress), PROGRESS_CHOICES,
     "show the progress where stderr is no terminal, too; json: an object a line, each second", 0,
     0},
    {"quiet", 'q', OPT_FLAG, offsetof(struct copy_opts, quiet), NULL, "no progress and no summary",
     0, 0},
    {0},
};

struct outcome {
    double seconds, verify_seconds;
    uint64_t differs;
    uint64_t kept; /* bytes at the destination's end that keep their old data */
    bool verified;
};

/* Whether a word that is no URL was rather meant as one than as the name of a file. */
static bool
looks_like_url(const char *word)
{
    return strstr(word, "://") != NULL || strncasecmp(word, "iscsi:", 6) == 0 ||
           strstr(word, "/iqn.") != NULL;
}

static int
check_words(const struct cli *cli, const struct copy_opts *o, char **argv)
{
    bool in = strcmp(argv[0], "-") == 0, out = strcmp(argv[1], "-") == 0;
    bool to_lun = url_is_iscsi(argv[1]);

    if (!url_is_iscsi(argv[0]) && !url_is_iscsi(argv[1])) {
        if (!looks_like_url(argv[0]) && !looks_like_url(argv[1]))
            return fail_usage("copy: neither side is an iscsi:// URL: that is a job for cp(1)");
        return fail_no_url("copy", looks_like_url(argv[0]) ? argv[0] : argv[1]);
    }
    if (o->verify && (in || out))
        return fail_usage("copy: --verify cannot read %s a second time",
                          in ? "standard input" : "standard output");
    if (o->resume != NO_RESUME && (in || out))
        return fail_usage("copy: --resume cannot go back in %s",
                          in ? "standard input" : "standard output");
    if (o->resume == RESUME_RECORD && (to_lun || o->in_place))
        return fail_usage("copy: --resume needs the number here that the interrupted copy said: "
                          "--resume=N");
    if (o->resume < NO_RESUME && o->resume % BLOCK_MAX != 0)
        return fail_usage("copy: --resume=%llu is not what an interrupted copy says, which is a "
                          "multiple of %u",
                          (unsigned long long)o->resume, BLOCK_MAX);
    if (cli->common.json && out)
        return fail_usage("copy: --json and the data cannot both go to standard output");
    if (out && isatty(STDOUT_FILENO))
        return fail_usage("copy: standard output is a terminal: redirect it");
    return 0;
}

static uint64_t
end_at(const struct end *e, const struct copy_opts *o)
{
    return e->kind == END_LUN ? o->offset : 0;
}

static int
check_blocks(const struct transfer *t, const struct copy_opts *o)
{
    const struct end *src = t->src, *dst = t->dst;

    if (src->block > BLOCK_MAX || dst->block > BLOCK_MAX || t->bs % src->block != 0 ||
        t->bs % dst->block != 0)
        return fail_usage("copy: --bs=%llu is no multiple of the block size, %u",
                          (unsigned long long)t->bs,
                          src->block > dst->block ? src->block : dst->block);
    if (o->offset % dst->block == 0)
        return 0;
    fail_usage("copy: --offset=%llu is no multiple of the block size, %u",
               (unsigned long long)o->offset, dst->block);
    hint("`lunette write` begins at any byte");
    return EXIT_USAGE;
}

/* Finds how much there is to copy. */
static int
find_length(struct transfer *t, const struct copy_opts *o)
{
    uint64_t at = end_at(t->src, o);
    const struct end *src = t->src;

    t->length = o->length;
    if (src->size == UINT64_MAX)
        return 0;
    if (at > src->size)
        return fail_usage("copy: --offset=%llu is past the end: %s has %llu bytes",
                          (unsigned long long)at, src->name, (unsigned long long)src->size);
    if (o->length != UINT64_MAX && o->length > src->size - at)
        return fail_usage("copy: --length=%llu at offset %llu reaches past the end: %s has %llu "
                          "bytes",
                          (unsigned long long)o->length, (unsigned long long)at, src->name,
                          (unsigned long long)src->size);
    if (o->length == UINT64_MAX)
        t->length = src->size - at;
    return 0;
}

static int
check_room(struct transfer *t, const struct copy_opts *o)
{
    const struct end *src = t->src, *dst = t->dst;
    char have[TEXT_SIZE], need[TEXT_SIZE];
    uint64_t at = end_at(dst, o);

    if (end_same(src, dst))
        return fail_usage("copy: both sides are the same");
    int code = check_blocks(t, o);
    if (code == 0)
        code = find_length(t, o);
    if (code != 0 || dst->kind == END_STREAM || dst->regular)
        return code;
    uint64_t room = at < dst->size ? dst->size - at : 0;
    if (t->length == UINT64_MAX && room > 0)
        t->length = room;
    if (t->length <= room)
        return 0;
    return fail_usage("copy: %s has %s (%llu bytes) and does not fit into %s with %s (%llu "
                      "bytes)%s: nothing was written",
                      src->name, format_size(need, t->length), (unsigned long long)t->length,
                      dst->name, format_size(have, room), (unsigned long long)room,
                      at > 0 ? " behind --offset" : "");
}

/* A stream has filled the destination.  Checks that the stream had no more. */
static int
copy_check_end(const struct transfer *t, const struct copy_opts *o)
{
    char byte;

    if (t->src->kind != END_STREAM || t->done < t->length || o->length != UINT64_MAX)
        return 0;
    if (read(t->src->fd, &byte, 1) <= 0)
        return 0;
    return fail_usage("copy: the input is longer than %s: its first %llu bytes were written",
                      t->dst->name, (unsigned long long)t->done);
}

static void
summary(const struct transfer *t, const struct outcome *out)
{
    char size[TEXT_SIZE], rate[TEXT_SIZE], zeroes[TEXT_SIZE + 64] = "", z[TEXT_SIZE];

    if (t->zeroes > 0)
        snprintf(zeroes, sizeof(zeroes), ", of which %s zeroes not sent as data",
                 format_size(z, t->zeroes));
    tell("copied %s in %.2f s (%s)%s", format_size(size, t->done), out->seconds,
         format_rate(rate, (double)t->done / out->seconds), zeroes);
    if (t->before > 0)
        tell("the %s before were there from an earlier copy", format_size(size, t->before));
    if (t->padded > 0)
        tell("the source is no multiple of %u bytes: %u zero bytes added at its end", t->dst->block,
             t->padded);
    if (out->kept > 0)
        tell("the source is smaller: the last %s of the %s, from byte %llu on, keep their old data",
             format_size(size, out->kept), t->dst->kind == END_LUN ? "LUN" : "device",
             (unsigned long long)(t->dst->size - out->kept));
    if (out->verified)
        tell("verified in %.2f s: both sides are equal", out->verify_seconds);
}

static int
copy_print_json(const struct transfer *t, const struct outcome *out, bool verify)
{
    json_t *j = json_pack("{s:I, s:I, s:I, s:i, s:I, s:f, s:f, s:o}", "bytes", (json_int_t)t->done,
                          "resumed_at", (json_int_t)t->before, "zeroes", (json_int_t)t->zeroes,
                          "padded", (int)t->padded, "kept", (json_int_t)out->kept, "seconds",
                          out->seconds, "bytes_per_second", (double)t->done / out->seconds,
                          "verified", verify ? json_boolean(out->verified) : json_null());

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
verify(struct transfer *t, const struct copy_opts *o, struct outcome *out)
{
    struct transfer all = *t;
    uint64_t start = now_ns();

    all.length = t->before + t->done;
    all.src_offset = end_at(t->src, o);
    all.dst_offset = end_at(t->dst, o);
    progress_start(t->progress, o->quiet ? PROGRESS_NEVER : (enum progress_mode)o->progress,
                   "verifying", all.length, 0);
    int code = transfer_compare(&all, &out->differs);
    out->verify_seconds = seconds_since(start);
    out->verified = code == 0;
    if (code == EXIT_VERIFY)
        note("copy: %s and %s differ, first at offset %llu", t->src->name, t->dst->name,
             (unsigned long long)out->differs);
    return code;
}

/* Says how the copy can go on, before anything that may take a while: a second Ctrl-C ends it. */
static void
copy_stopped(struct transfer *t, int code)
{
    const struct end *dst = t->dst;
    unsigned long long mark = t->before + t->mark, copied = t->before + t->done;
    const char *why = code > EXIT_SIGNAL ? "interrupted" : "stopped";

    if (dst->out != NULL) {
        bool keep = mark > 0 && dst->err.code == 0;
        if (keep && outfile_mark_stable(dst->out, mark) < 0)
            keep = false;
        note("copy: %s after %llu bytes: %s is %s", why, copied, dst->out->name,
             dst->out->exists ? "as it was" : "not there yet");
        if (keep)
            hint("%s has what there is: the same command with --resume goes on from byte %llu",
                 dst->out->partial_name, mark);
        else
            outfile_drop(dst->out);
        return;
    }
    note("copy: %s after %llu bytes: %s is not complete", why, copied, dst->name);
    mark -= mark % BLOCK_MAX;
    if (dst->kind == END_FILE && dst->regular && ftruncate(dst->fd, (off_t)mark) < 0)
        mark = 0;
    if (mark > 0 && dst->kind != END_STREAM && t->src->kind != END_STREAM)
        hint("the same command with --resume=%llu goes on from there", mark);
}

/* Lines that tell the source from others, for the record of a partial file. */
static void
describe_source(const struct end *src, const struct copy_opts *o, char buf[OUTFILE_SOURCE_MAX])
{
    struct lunette_session_info s = LUNETTE_INIT(s);
    const uint8_t *w = src->info.lun_wire;

    (void)lunette_get_session_info(src->lun, &s);
    snprintf(
        buf, OUTFILE_SOURCE_MAX,
        "target=%s\nlun=%02x%02x%02x%02x%02x%02x%02x%02x\nname=%.200s\nsize=%llu\noffset=%llu\n",
        s.target_name, w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], src->info.name,
        (unsigned long long)src->size, (unsigned long long)o->offset);
}

/* Prepares the destination, and sets where the transfer begins. */
static int
copy_prepare(struct transfer *t, const struct copy_opts *o)
{
    char source[OUTFILE_SOURCE_MAX] = "";
    bool given = o->resume < NO_RESUME;
    struct end_plan plan = {.source = source,
                            .length = t->length,
                            .resume = o->resume == RESUME_RECORD,
                            .no_space_check = o->no_space_check,
                            .done = given ? o->resume : 0};

    if (given && o->resume > t->length)
        return fail_usage("copy: --resume=%llu is past the end: there are %llu bytes to copy",
                          (unsigned long long)o->resume, (unsigned long long)t->length);
    if (t->src->kind == END_LUN)
        describe_source(t->src, o, source);
    int code = end_prepare(t->dst, &plan);
    t->before = plan.done;
    t->src_offset = end_at(t->src, o) + t->before;
    t->dst_offset = end_at(t->dst, o) + t->before;
    if (t->length != UINT64_MAX)
        t->length -= t->before;
    return code;
}

/* What of a LUN or device lies behind a source that was copied whole. */
static uint64_t
kept_bytes(const struct transfer *t, const struct copy_opts *o)
{
    uint64_t end = t->dst_offset + t->done + t->padded;

    if (t->dst->kind == END_STREAM || t->dst->regular || o->length != UINT64_MAX || o->offset != 0)
        return 0;
    return end < t->dst->size ? t->dst->size - end : 0;
}

/* The copy is complete, but not verified, or not equal. */
static void
not_verified(struct transfer *t, int code)
{
    struct outfile *f = t->dst->out;

    if (code > EXIT_SIGNAL)
        note("copy: interrupted while verifying");
    if (f == NULL || f->fd < 0) {
        if (code != EXIT_VERIFY)
            hint("%s is complete, but not verified", t->dst->name);
        return;
    }
    if (code == EXIT_VERIFY)
        outfile_drop(f);
    else
        (void)outfile_mark_stable(f, t->before + t->done);
    hint("%s is %s", f->name, f->exists ? "as it was" : "not made");
    if (code != EXIT_VERIFY)
        hint("%s is complete, but not verified: --resume --verify does that", f->partial_name);
}

/* Copies and, if it is asked for, verifies. */
static int
copy_all(struct transfer *t, const struct copy_opts *o, struct outcome *out)
{
    uint64_t start = now_ns();

    interrupt_catch_in_time("copy");
    progress_start(t->progress, o->quiet ? PROGRESS_NEVER : (enum progress_mode)o->progress,
                   "copying", t->length == UINT64_MAX ? t->length : t->before + t->length,
                   t->before);
    int code = transfer_run(t);
    out->seconds = seconds_since(start);
    out->kept = kept_bytes(t, o);
    if (code == 0)
        code = copy_check_end(t, o);
    if (code == 0 && o->verify)
        code = verify(t, o, out);
    if (code != 0 && out->verify_seconds > 0)
        not_verified(t, code);
    if (code == 0)
        code = end_commit(t->dst);
    return code;
}

static int
copy(struct cli *cli, const struct copy_opts *o, struct end *src, struct end *dst)
{
    struct progress progress;
    struct outcome out = {0};
    struct transfer t = {.cli = cli, .src = src, .dst = dst, .bs = o->bs, .depth = o->depth};

    t.sparse = !o->no_sparse && dst->kind != END_STREAM;
    t.pad = o->offset == 0 && o->length == UINT64_MAX; /* else what lies behind is kept */
    t.progress = &progress;
    cli->quiet = o->quiet;
    t.stopped = copy_stopped;
    int code = check_room(&t, o);
    if (code == 0)
        code = copy_prepare(&t, o);
    if (code == 0)
        code = copy_all(&t, o, &out);
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
    bool to_lun = url_is_iscsi(argv[1]);

    (void)argc;
    int code = check_words(cli, o, argv);
    if (code == 0 && !to_lun) /* what is wrong with a file is known without a login */
        code = end_open_dest(cli, argv[1], (uint32_t)o->depth, o->in_place, &dst);
    if (code == 0)
        code = end_open_source(cli, argv[0], (uint32_t)o->depth, &src);
    if (code == 0 && to_lun)
        code = end_open_dest(cli, argv[1], (uint32_t)o->depth, o->in_place, &dst);
    if (code == 0)
        code = copy(cli, o, &src, &dst);
    end_close(&src);
    end_close(&dst);
    return code;
}

const struct command cmd_copy = {
    .name = "copy",
    .operands = "SRC DST",
    .synopsis = "[--verify] [--resume] [OPTION...]",
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
