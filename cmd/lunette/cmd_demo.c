/* SPDX-License-Identifier: MIT */
/* cmd/lunette/cmd_demo.c - lunette demo: the whole story against a target of our own.
 *
 * Starts lunette-target on a free port and runs this very program on it, each
 * command printed before it runs, so that a newcomer can repeat them.  Secrets
 * are made up for the run and handed over in files that only the user reads.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/lunette/child.h"
#include "cmd/lunette/cli.h"

#define TARGET_NAME "iqn.2026-11.example:demo"
#define START_MS    10000
#define WORDS_MAX   16
#define SECRET_LEN  24

struct demo_opts {
    uint64_t size;
    bool keep;
};

static const struct demo_opts demo_defaults = {.size = 256 << 20};

static const struct opt demo_options[] = {
    {"size", 0, OPT_SIZE, offsetof(struct demo_opts, size), "SIZE",
     "of the disk image that is copied (256M)", 1 << 20, 16ull << 30},
    {"keep", 0, OPT_FLAG, offsetof(struct demo_opts, keep), NULL,
     "leave the target running until Ctrl-C, to play with it", 0, 0},
    {0},
};

struct demo {
    const struct demo_opts *o;
    const struct common *common;
    char self[PATH_MAX], target[PATH_MAX]; /* programs */
    char dir[32];                          /* of the run, removed at the end */
    char portal[64], url[256];
    pid_t pid; /* of the target, 0: none */
    int out;   /* its standard output */
    bool colour;
};

static void
say(const struct demo *d, const char *fmt, ...)
{
    va_list ap;

    fputs(d->colour ? "\n\033[1m# " : "\n# ", stdout);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    puts(d->colour ? "\033[0m" : "");
}

/* Prints the command as one would type it: the URL as a variable, everything else as it is. */
static void
show(const struct demo *d, const char *name, const char *const *words)
{
    printf("%s$ %s", d->colour ? "\033[36m" : "", name);
    for (; *words != NULL; words++) {
        if (strcmp(*words, d->url) == 0)
            fputs(" \"$URL\"", stdout);
        else
            printf(" %s", *words);
    }
    puts(d->colour ? "\033[0m" : "");
}

static void
show_line(const struct demo *d, const char *fmt, ...)
{
    va_list ap;

    fputs(d->colour ? "\033[36m$ " : "$ ", stdout);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    puts(d->colour ? "\033[0m" : "");
}

/* Makes the argv of `lunette words...`, with the loop and the polling that the demo was asked for.
 */
static void
own_argv(const struct demo *d, const char *const *words, const char **argv)
{
    static const char *const loops[] = {"--loop=auto", "--loop=epoll", "--loop=uring"};
    int n = 0;

    argv[n++] = d->self;
    while (*words != NULL && n < WORDS_MAX - 3)
        argv[n++] = *words++;
    if (d->common->loop != 0)
        argv[n++] = loops[d->common->loop];
    if (d->common->spin_us != 0)
        argv[n++] = "--busy-poll";
    argv[n] = NULL;
}

/* Shows `lunette words...` and runs it; returns its exit code. */
static int
lunette(const struct demo *d, const char *const *words)
{
    const char *argv[WORDS_MAX];
    pid_t pid;

    if (interrupted() != 0)
        return EXIT_SIGNAL + interrupted();
    show(d, "lunette", words);
    own_argv(d, words, argv);
    int r = child_start(argv, d->dir, &pid, NULL);
    if (r == 0)
        r = child_wait(pid);
    return r < 0 ? fail_errno(r, "%s", d->self) : r;
}

/* ---- preparations -------------------------------------------------------------------------- */

static int
find_programs(struct demo *d)
{
    ssize_t n = readlink("/proc/self/exe", d->self, sizeof(d->self) - 1);

    if (n < 0)
        return fail_errno(-errno, "/proc/self/exe");
    d->self[n] = '\0';
    const char *slash = strrchr(d->self, '/');
    int len = slash != NULL ? (int)(slash - d->self) : 0;
    if ((size_t)snprintf(d->target, sizeof(d->target), "%.*s/lunette-target", len, d->self) >=
        sizeof(d->target))
        return fail_errno(-ENAMETOOLONG, "%s", d->self);
    if (access(d->target, X_OK) == 0)
        return 0;
    fail_errno(-errno, "demo: %s", d->target);
    fputs("  the demo needs the program lunette-target beside lunette\n", stderr);
    return EXIT_OTHER;
}

static int
write_file(const struct demo *d, const char *name, const char *text)
{
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s/%s", d->dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail_errno(-errno, "%s", path);
    ssize_t n = write(fd, text, strlen(text));
    int e = n < 0 ? -errno : 0;
    close(fd);
    return e < 0 ? fail_errno(e, "%s", path) : 0;
}

static int
make_secret(char secret[SECRET_LEN + 1])
{
    static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";
    unsigned char random[SECRET_LEN];

    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return fail_errno(-errno, "getrandom");
    for (int i = 0; i < SECRET_LEN; i++)
        secret[i] = digits[random[i] % 32];
    secret[SECRET_LEN] = '\0';
    return 0;
}

/* Makes names and secrets for both directions, as the library and the target read them. */
static int
write_secrets(const struct demo *d)
{
    char ours[SECRET_LEN + 1], theirs[SECRET_LEN + 1], text[160];
    int code = make_secret(ours);

    if (code == 0)
        code = make_secret(theirs);
    if (code != 0)
        return code;
    snprintf(text, sizeof(text), "alice:%s\ntarget:%s\n", ours, theirs);
    code = write_file(d, "chap", text);
    explicit_bzero(text, sizeof(text));
    return code;
}

/* Writes random bytes with a hole in the middle, as disk images have them. */
static int
write_image(const struct demo *d)
{
    static uint64_t buf[8192];
    char path[PATH_MAX];
    uint64_t x = now_ns() | 1, quarter = d->o->size / 4;
    int e = 0;

    snprintf(path, sizeof(path), "%s/disk.img", d->dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)d->o->size) < 0)
        e = -errno;
    for (uint64_t at = 0; e == 0 && at < d->o->size; at += sizeof(buf)) {
        if (at >= quarter && at < 2 * quarter)
            continue;
        for (size_t i = 0; i < sizeof(buf) / sizeof(buf[0]); i++) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            buf[i] = x;
        }
        uint64_t n = d->o->size - at < sizeof(buf) ? d->o->size - at : sizeof(buf);
        if (pwrite(fd, buf, (size_t)n, (off_t)at) < 0)
            e = -errno;
    }
    if (fd >= 0)
        close(fd);
    return e < 0 ? fail_errno(e, "%s", path) : 0;
}

/* ---- the target ---------------------------------------------------------------------------- */

/* Reads the target's line "listening on ADDR:PORT". */
static int
wait_for_target(struct demo *d)
{
    static const char word[] = "listening on ";
    char line[256];
    size_t len = 0;
    uint64_t deadline = now_ns() + START_MS * 1000000ull;

    while (now_ns() < deadline && interrupted() == 0 && len < sizeof(line) - 1) {
        struct pollfd p = {.fd = d->out, .events = POLLIN};
        if (poll(&p, 1, 200) <= 0)
            continue;
        ssize_t n = read(d->out, line + len, 1);
        if (n <= 0)
            break;
        if (line[len++] != '\n')
            continue;
        line[len - 1] = '\0';
        len = 0;
        if (strncmp(line, word, sizeof(word) - 1) != 0)
            continue;
        snprintf(d->portal, sizeof(d->portal), "%.60s", line + sizeof(word) - 1);
        return 0;
    }
    return interrupted() != 0 ? EXIT_SIGNAL + interrupted()
                              : fail_usage("demo: lunette-target did not come up");
}

static int
start_target(struct demo *d)
{
    char lun[64], size[TEXT_SIZE];

    snprintf(lun, sizeof(lun), "ram:%s", format_size_short(size, d->o->size));
    const char *words[] = {"--listen", "127.0.0.1:0", "--target",    TARGET_NAME, "--lun", lun,
                           "--lun",    "null:1T",     "--chap-file", "chap",      NULL};
    const char *argv[WORDS_MAX] = {d->target};
    for (int i = 0; words[i] != NULL; i++)
        argv[i + 1] = words[i];
    show(d, "lunette-target", words);
    int r = child_start(argv, d->dir, &d->pid, &d->out);
    if (r < 0) {
        d->pid = 0;
        return fail_errno(r, "%s", d->target);
    }
    int code = wait_for_target(d);
    if (code != 0)
        return code;
    printf("listening on %s\n", d->portal);
    snprintf(d->url, sizeof(d->url),
             "iscsi://%s/" TARGET_NAME "/0?header_digest=crc32c&data_digest=crc32c", d->portal);
    return 0;
}

/* ---- the benchmark ------------------------------------------------------------------------- */

static double
demo_number(const json_t *j, const char *object, const char *key)
{
    if (object != NULL)
        j = json_object_get(j, object);
    return json_number_value(json_object_get(j, key));
}

static void
print_row(const char *rw, const char *bs, const char *depth, const json_t *j)
{
    char rate[TEXT_SIZE], mean[TEXT_SIZE], p99[TEXT_SIZE];

    printf("  %-9s %3s %5s %8.0f  %11s  %9s  %9s  %8.2f us\n", rw, bs, depth,
           demo_number(j, NULL, "iops"),
           format_rate(rate, demo_number(j, NULL, "bytes_per_second")),
           format_ns(mean, demo_number(j, "latency_us", "mean") * 1e3),
           format_ns(p99, demo_number(j, "latency_us", "p99") * 1e3),
           demo_number(j, "cpu_us_per_io", "user") + demo_number(j, "cpu_us_per_io", "system"));
    fflush(stdout);
}

static int
bench_row(const struct demo *d, const char *rw, const char *bs, const char *depth)
{
    const char *words[] = {"bench",   d->url, "--rw",   rw,  "--bs",   bs,
                           "--depth", depth,  "--time", "1", "--json", NULL};
    const char *argv[WORDS_MAX];
    pid_t pid;
    int out;

    if (interrupted() != 0)
        return EXIT_SIGNAL + interrupted();
    own_argv(d, words, argv);
    int r = child_start(argv, d->dir, &pid, &out);
    if (r < 0)
        return fail_errno(r, "%s", d->self);
    FILE *f = fdopen(out, "r");
    json_t *j = f != NULL ? json_loadf(f, 0, NULL) : NULL;
    if (f != NULL)
        fclose(f);
    else
        close(out);
    r = child_wait(pid);
    if (r == 0 && j != NULL)
        print_row(rw, bs, depth, j);
    json_decref(j);
    return r;
}

static int
bench(const struct demo *d)
{
    static const char *const rows[][3] = {
        {"randread", "4k", "1"}, {"randread", "4k", "32"}, {"randwrite", "4k", "32"},
        {"read", "1M", "8"},     {"write", "1M", "8"},
    };
    int code = 0;

    show_line(d, "for each row: lunette bench \"$URL\" --rw RW --bs BS --depth DEPTH --time 1");
    printf("  %-9s %3s %5s %8s  %11s  %9s  %9s  %11s\n", "rw", "bs", "depth", "IOPS", "bandwidth",
           "mean", "99 %", "CPU/request");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) && code == 0; i++)
        code = bench_row(d, rows[i][0], rows[i][1], rows[i][2]);
    return code;
}

/* ---- the story ----------------------------------------------------------------------------- */

/* Opens a file of the demo, to be read. */
static FILE *
open_image(const struct demo *d, const char *name)
{
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s/%s", d->dir, name);
    return fopen(path, "re");
}

static int
compare(const struct demo *d)
{
    static char a[65536], b[65536];
    FILE *image = open_image(d, "disk.img"), *back = open_image(d, "back.img");
    bool same = image != NULL && back != NULL;
    size_t n = 1;

    while (same && n > 0) {
        n = fread(a, 1, sizeof(a), image);
        same = fread(b, 1, sizeof(b), back) == n && memcmp(a, b, n) == 0;
    }
    same = same && !ferror(image) && !ferror(back);
    if (image != NULL)
        fclose(image);
    if (back != NULL)
        fclose(back);
    puts(same ? "disk.img and back.img: no difference" : "disk.img and back.img differ");
    return same ? 0 : EXIT_VERIFY;
}

#define RUN(...) lunette(d, (const char *const[]){__VA_ARGS__, NULL})

static int
tour(struct demo *d)
{
    char root[128];

    say(d, "A target of our own: a RAM disk and a 1 TiB null device, behind mutual CHAP");
    int code = start_target(d);
    if (code != 0)
        return code;
    show_line(d, "export LUNETTE_CHAP_FILE=chap   # name and secret, both ways");
    if (setenv("LUNETTE_CHAP_FILE", "chap", 1) < 0 || unsetenv("LUNETTE_CHAP") < 0)
        return fail_errno(-errno, "setenv");
    say(d, "Which targets are there?");
    code = RUN("discover", d->portal);
    if (code != 0)
        return code;
    say(d, "Log in and list the LUNs");
    snprintf(root, sizeof(root), "iscsi://%s/", d->portal);
    code = RUN("ls", root);
    if (code != 0)
        return code;
    say(d, "What was agreed, with header and data digests asked for");
    show_line(d, "URL='%s'", d->url);
    code = RUN("info", d->url);
    if (code != 0)
        return code;
    say(d, "A raw SCSI command: INQUIRY");
    code = RUN("scsi", d->url, "12 00 00 00 60 00");
    if (code != 0)
        return code;
    say(d, "Copy a disk image to the LUN, and verify it by reading it back");
    code = RUN("copy", "disk.img", d->url, "--verify", "--progress");
    if (code != 0)
        return code;
    say(d, "And from the LUN into another file");
    code = RUN("copy", d->url, "back.img", "--progress");
    if (code == 0)
        code = compare(d);
    if (code != 0)
        return code;
    say(d, "How fast is it?  (one connection on loopback, both digests on)");
    return bench(d);
}

static void
farewell(const struct demo *d)
{
    say(d, "Now point it at your own target:");
    puts("  lunette discover HOST\n"
         "  lunette ls iscsi://HOST/\n"
         "  lunette info iscsi://HOST/TARGET-IQN/LUN\n"
         "  lunette copy iscsi://HOST/TARGET-IQN/LUN backup.img --verify\n"
         "With CHAP: put user:secret into a file and add --chap-file FILE.\n"
         "More: lunette --help");
}

static void
stay(const struct demo *d)
{
    say(d, "The target stays up until Ctrl-C; in another terminal:");
    printf("  export LUNETTE_CHAP_FILE=%s/chap\n  URL='%s'\n", d->dir, d->url);
    fflush(stdout);
    while (interrupted() == 0)
        poll(NULL, 0, 200);
}

static void
clean_up(struct demo *d)
{
    static const char *const files[] = {"chap", "disk.img", "back.img"};
    char path[PATH_MAX];

    if (d->pid > 0) {
        child_stop(d->pid);
        close(d->out);
    }
    if (d->dir[0] == '\0')
        return;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", d->dir, files[i]);
        unlink(path);
    }
    rmdir(d->dir);
}

static int
run_demo(struct cli *cli, const void *opts, int argc, char **argv)
{
    struct demo d = {.o = opts, .common = &cli->common};

    (void)argc;
    (void)argv;
    d.colour = isatty(STDOUT_FILENO) == 1;
    int code = find_programs(&d);
    if (code != 0)
        return code;
    interrupt_catch(true);
    snprintf(d.dir, sizeof(d.dir), "/tmp/lunette-demo-XXXXXX");
    if (mkdtemp(d.dir) == NULL) {
        code = fail_errno(-errno, "%s", d.dir);
        d.dir[0] = '\0';
        return code;
    }
    printf("lunette %s: iSCSI in user space\n", lunette_version());
    show_line(&d, "cd %s", d.dir);
    code = write_secrets(&d);
    if (code == 0)
        code = write_image(&d);
    if (code == 0)
        code = tour(&d);
    if (code == 0)
        farewell(&d);
    if (code == 0 && d.o->keep)
        stay(&d);
    else if (interrupted() != 0)
        code = EXIT_SIGNAL + interrupted();
    if (code != 0)
        fprintf(stderr, "lunette: demo: ended early, exit code %d\n", code);
    clean_up(&d);
    return code;
}

const struct command cmd_demo = {
    .name = "demo",
    .operands = "",
    .synopsis = "[--size=SIZE] [--keep] [OPTION...]",
    .summary = "see it all at work, against a target that it brings along",
    .about = "Starts lunette-target on a free port of the loopback interface and shows discovery, "
             "login with mutual CHAP and digests, LUNs, a verified copy and a benchmark.  Every "
             "command is printed before it runs.  Nothing stays behind.",
    .example = "demo\n"
               "demo --keep",
    .opts = demo_options,
    .defaults = &demo_defaults,
    .opts_size = sizeof(struct demo_opts),
    .common = COMMON_WAIT,
    .max_args = 0,
    .run = run_demo,
};
