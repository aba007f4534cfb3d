/* SPDX-License-Identifier: MIT */
/* cmd/lunette/cmd_scsi.c - lunette scsi: one CDB as it is, and what came back. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hex.h"
#include "cmd/lunette/cli.h"

#define CDB_MAX  260
#define DATA_MAX (64u << 20)

struct scsi_opts {
    uint64_t in, timeout_ns;
    const char *out;
    bool raw;
};

static const struct scsi_opts scsi_defaults = {.in = UINT64_MAX, .timeout_ns = 30000000000u};

static const struct opt scsi_options[] = {
    {"in", 0, OPT_SIZE, offsetof(struct scsi_opts, in), "N",
     "bytes to receive (from the CDB's allocation length, where it has one)", 0, DATA_MAX},
    {"out", 0, OPT_STR, offsetof(struct scsi_opts, out), "FILE",
     "send the bytes of FILE (-: standard input) as data", 0, 0},
    {"raw", 0, OPT_FLAG, offsetof(struct scsi_opts, raw), NULL,
     "write the received bytes to standard output as they are, nothing else", 0, 0},
    {"timeout", 0, OPT_SECONDS, offsetof(struct scsi_opts, timeout_ns), "SECONDS",
     "wait that long for the answer (30)", 1000000, 0},
    {0},
};

/* Where the allocation length stands in the CDB of an opcode.  blocks: it counts logical blocks. */
struct alloc_len {
    uint8_t opcode, action; /* action 0xff: any */
    uint8_t at, bytes;
    bool blocks;
    uint32_t fixed; /* where bytes is 0 */
};

static const struct alloc_len alloc_lens[] = {
    {0x03, 0xff, 4, 1, false, 0},  /* REQUEST SENSE */
    {0x05, 0xff, 0, 0, false, 6},  /* READ BLOCK LIMITS */
    {0x08, 0xff, 4, 1, true, 0},   /* READ(6) */
    {0x12, 0xff, 3, 2, false, 0},  /* INQUIRY */
    {0x1a, 0xff, 4, 1, false, 0},  /* MODE SENSE(6) */
    {0x1c, 0xff, 3, 2, false, 0},  /* RECEIVE DIAGNOSTIC RESULTS */
    {0x25, 0xff, 0, 0, false, 8},  /* READ CAPACITY(10) */
    {0x28, 0xff, 7, 2, true, 0},   /* READ(10) */
    {0x37, 0xff, 7, 2, false, 0},  /* READ DEFECT DATA(10) */
    {0x3c, 0xff, 6, 3, false, 0},  /* READ BUFFER */
    {0x4d, 0xff, 7, 2, false, 0},  /* LOG SENSE */
    {0x5a, 0xff, 7, 2, false, 0},  /* MODE SENSE(10) */
    {0x5e, 0xff, 7, 2, false, 0},  /* PERSISTENT RESERVE IN */
    {0x83, 0xff, 10, 4, false, 0}, /* third-party copy in */
    {0x88, 0xff, 10, 4, true, 0},  /* READ(16) */
    {0x8c, 0xff, 10, 4, false, 0}, /* READ ATTRIBUTE */
    {0x9e, 0x10, 10, 4, false, 0}, /* READ CAPACITY(16) */
    {0x9e, 0x12, 10, 4, false, 0}, /* GET LBA STATUS */
    {0xa0, 0xff, 6, 4, false, 0},  /* REPORT LUNS */
    {0xa3, 0xff, 6, 4, false, 0},  /* MAINTENANCE IN */
    {0xa8, 0xff, 6, 4, true, 0},   /* READ(12) */
};

static uint64_t
deduce_in(const uint8_t *cdb, size_t len, uint32_t block_size)
{
    for (size_t i = 0; i < sizeof(alloc_lens) / sizeof(alloc_lens[0]); i++) {
        const struct alloc_len *a = &alloc_lens[i];
        if (a->opcode != cdb[0] || (a->action != 0xff && a->action != (cdb[1] & 0x1f)))
            continue;
        uint64_t n = a->fixed;
        for (size_t at = a->at; at < (size_t)a->at + a->bytes && at < len; at++)
            n = n << 8 | cdb[at];
        if (a->blocks && n == 0 && cdb[0] == 0x08)
            n = 256; /* SBC: READ(6) */
        return a->blocks ? n * block_size : n;
    }
    return 0;
}

/* Collects the CDB from the words behind the URL. */
static int
collect_cdb(char **words, int count, uint8_t *cdb)
{
    size_t len = 0;

    for (int i = 0; i < count; i++) {
        int n = parse_hex(words[i], cdb + len, CDB_MAX - len);
        if (n == -E2BIG) {
            fail_usage("scsi: a CDB has at most %d bytes", CDB_MAX);
            return -EINVAL;
        }
        if (n < 0) {
            char *public = url_public(words[i]);
            fail_usage("scsi: '%s' is not hexadecimal", public);
            free(public);
            return -EINVAL;
        }
        len += (size_t)n;
    }
    if (len < 6) {
        fail_usage("scsi: a CDB has at least 6 bytes, this one has %zu", len);
        return -EINVAL;
    }
    return (int)len;
}

/* Reads all of a file; the caller frees *ret.  0 or an exit code. */
static int
read_file(const char *path, void **ret, size_t *ret_len)
{
    int fd = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    size_t len = 0, size = 65536;
    int open_errno = errno;
    char *buf = xmalloc(size), *public = path_public(path);
    int code = 0;

    while (fd >= 0) {
        ssize_t n = read(fd, buf + len, size - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            code = fail_errno(-errno, "--out=%s", public);
        if (n <= 0)
            break;
        len += (size_t)n;
        if (len > DATA_MAX) {
            code = fail_usage("--out=%s: more than %u bytes", public, DATA_MAX);
            break;
        }
        if (len == size) {
            char *more = xmalloc(size * 2);
            memcpy(more, buf, len);
            free(buf);
            buf = more;
            size *= 2;
        }
    }
    if (fd < 0) {
        fail_errno(-open_errno, "--out=%s", public);
        code = EXIT_USAGE;
    }
    if (fd > STDIN_FILENO)
        close(fd);
    free(public);
    *ret = buf;
    *ret_len = len;
    return code;
}

static json_t *
json_hex(const uint8_t *p, size_t len)
{
    char *text = xmalloc(len * 2 + 1);

    *hex_put(text, p, len) = '\0';
    json_t *j = json_string(text);
    free(text);
    return j;
}

static int
scsi_print_json(const struct lunette_scsi *s, const char *sense)
{
    json_t *j = json_pack("{s:o, s:i, s:s, s:o, s:I, s:b}", "cdb", json_hex(s->cdb, s->cdb_len),
                          "status", s->status, "status_text", lunette_status_text(s->status), "in",
                          json_hex(s->in, s->in_done), "out_bytes", (json_int_t)s->out_done,
                          "overflow", s->overflow);

    if (s->sense_len > 0) {
        json_object_set_new(j, "sense", json_hex(s->sense, s->sense_len));
        json_object_set_new(j, "sense_text", json_string(sense));
    }
    return json_print(j);
}

static void
scsi_print(const struct lunette_scsi *s, const char *sense)
{
    printf("status %02xh %s", s->status, lunette_status_text(s->status));
    if (s->in_len > 0)
        printf(", %zu of %zu bytes received", s->in_done, s->in_len);
    if (s->out_len > 0)
        printf(", %zu of %zu bytes sent", s->out_done, s->out_len);
    printf("%s\n", !s->overflow     ? ""
                   : s->in_len > 0  ? ", the target had more"
                   : s->out_len > 0 ? ", the target wanted more"
                                    : ", the target had more to move: see --in and --out");
    hexdump(stdout, s->in, s->in_done, 0);
    if (s->sense_len > 0) {
        printf("sense: %s\n", sense);
        hexdump(stdout, s->sense, s->sense_len, 0);
    }
}

static int
scsi_report(const struct cli *cli, const struct scsi_opts *o, const struct lunette_scsi *s)
{
    char sense[200] = "";
    int code = EXIT_DONE;

    if (s->sense_len > 0)
        lunette_sense_text(s->sense, s->sense_len, sense, sizeof(sense));
    if (cli->common.json)
        code = scsi_print_json(s, sense);
    else if (!o->raw)
        scsi_print(s, sense);
    else if (s->in_done > 0 && fwrite(s->in, s->in_done, 1, stdout) != 1)
        code = fail_errno(-errno, "writing the output");
    if (s->status == 0)
        return code;
    if (o->raw)
        fprintf(stderr, "lunette: scsi: %s%s%s\n", lunette_status_text(s->status),
                sense[0] != '\0' ? ": " : "", sense);
    return EXIT_SCSI;
}

static int
execute(struct cli *cli, const struct scsi_opts *o, struct lunette_lun *lun, struct lunette_scsi *s)
{
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_info info = LUNETTE_INIT(info);

    (void)lunette_get_info(lun, &info);
    uint64_t in = o->in;
    if (in == UINT64_MAX)
        in = o->out != NULL
                 ? 0
                 : deduce_in(s->cdb, s->cdb_len, info.block_size != 0 ? info.block_size : 512);
    if (in > DATA_MAX)
        return fail_usage("scsi: %llu bytes are more than this command receives (%u): use --in",
                          (unsigned long long)in, DATA_MAX);
    s->in_len = (size_t)in;
    s->in = xbuffer(s->in_len);
    s->timeout_ms = (uint32_t)((o->timeout_ns + 999999) / 1000000);
    if (lunette_scsi(lun, s, &err) < 0)
        return fail_with(&err, "scsi");
    return scsi_report(cli, o, s);
}

static int
run_scsi(struct cli *cli, const void *opts, int argc, char **argv)
{
    const struct scsi_opts *o = opts;
    uint8_t cdb[CDB_MAX];
    struct lunette_lun *lun = NULL;
    void *out = NULL;
    int len = collect_cdb(argv + 1, argc - 1, cdb), code = 0;

    if (len < 0)
        return EXIT_USAGE;
    struct lunette_scsi s = {.struct_size = sizeof(s), .cdb = cdb, .cdb_len = (size_t)len};
    if (o->out != NULL)
        code = read_file(o->out, &out, &s.out_len);
    s.out = out;
    if (code == 0)
        code = cli_open(cli, argv[0], LUNETTE_OPEN_RAW | LUNETTE_OPEN_ANY_LUN, &lun);
    if (code == 0)
        code = execute(cli, o, lun, &s);
    lunette_close(lun);
    free(s.in);
    free(out);
    return code;
}

const struct command cmd_scsi = {
    .name = "scsi",
    .operands = "URL HEX...",
    .synopsis = "[--in=N] [--out=FILE] [OPTION...]",
    .summary = "send a CDB, print data, status and sense",
    .about = "Sends the CDB as it is, without retries, and prints the data received as a hex dump "
             "and the sense data decoded.  The bytes may stand alone or together, with or without "
             "0x.  A status other than GOOD makes the exit code 6.",
    .example = "scsi iscsi://192.0.2.1/iqn.2026-11.example:disk/0 12 00 00 00 60 00\n"
               "scsi iscsi://192.0.2.1/iqn.2026-11.example:disk/0 120183006000 --raw | xxd",
    .opts = scsi_options,
    .defaults = &scsi_defaults,
    .opts_size = sizeof(struct scsi_opts),
    .json = true,
    .min_args = 2,
    .max_args = -1,
    .run = run_scsi,
};
