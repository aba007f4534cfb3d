/* SPDX-License-Identifier: MIT */
/* calls.c - the calls of <lunette/lunette.h> that no command of lunette makes, to a real target:
 *
 *     calls check URL         compare-and-write, reservations, cancel, exports, by two sessions
 *     calls take URL [aptpl]  registers and reserves (write exclusive, registrants only)
 *     calls mine URL          succeeds where the reservation is ours
 *     calls foreign URL       succeeds where it is somebody else's
 *
 * The last three are for URLs with isid=, which makes two processes one initiator port.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <lunette/lunette.h>

#define KEY_A 0xaaaaaaaa11111111ull
#define KEY_B 0xbbbbbbbb22222222ull
#define WERO  LUNETTE_PR_WRITE_EXCLUSIVE_REGISTRANTS_ONLY

static struct lunette_error err = LUNETTE_INIT(err);
static uint32_t block;

#define WANT(call, want) want_at(__LINE__, #call, (call), (want))

static void
want_at(int line, const char *what, int got, int want)
{
    if (got == want)
        return;
    fprintf(stderr, "line %d: %s: %d, not %d (%s)\n", line, what, got, want, err.msg);
    exit(1);
}

static struct lunette_lun *
open_lun(struct lunette_ctx *ctx, const char *url)
{
    struct lunette_info info = LUNETTE_INIT(info);
    struct lunette_lun *lun = NULL;

    WANT(lunette_open(ctx, url, 0, &lun, &err), 0);
    WANT(lunette_set_timeout(lun, 20000), 0);
    WANT(lunette_get_info(lun, &info), 0);
    block = info.block_size;
    return lun;
}

static int
write_one(struct lunette_lun *lun)
{
    static const char zeroes[4096];

    return lunette_pwrite(lun, zeroes, block, 0, 0, &err);
}

static void
check_compare(struct lunette_lun *lun)
{
    char is[4096] = {0}, other[4096], got[4096];
    struct lunette_info info = LUNETTE_INIT(info);
    uint64_t at = 0;
    int r;

    WANT(lunette_get_info(lun, &info), 0);
    if (info.max_compare_write == 0) {
        puts("no compare and write");
        WANT(lunette_compare_and_write(lun, is, is, block, 0, 0, NULL, &err), -EOPNOTSUPP);
        return;
    }
    memset(other, 'o', sizeof(other));
    WANT(write_one(lun), 0);
    r = lunette_compare_and_write(lun, is, other, block, 0, LUNETTE_FUA, &at, &err);
    if (r == -EOPNOTSUPP) {
        printf("a compare and write that the target only claims to have: %s\n", err.msg);
        return;
    }
    WANT(r, 0);
    WANT(lunette_pread(lun, got, block, 0, &err), 0);
    WANT(memcmp(got, other, block), 0);
    got[5] = 'x';
    WANT(lunette_compare_and_write(lun, got, is, block, 0, 0, &at, &err), -EILSEQ);
    WANT(at == 5 || at == UINT64_MAX, 1);
    printf("compare and write: the difference is %s\n", at == 5 ? "told" : "not told");
    WANT(lunette_pread(lun, got, block, 0, &err), 0);
    WANT(memcmp(got, other, block), 0);
}

static void
check_reservations(struct lunette_lun *a, struct lunette_lun *b)
{
    struct lunette_pr_reservation held = LUNETTE_INIT(held);
    struct lunette_pr_registrants *regs = NULL;
    int r;

    WANT(lunette_pr_register(a, 0, KEY_A, 0, &err), 0);
    WANT(lunette_pr_reserve(a, KEY_A, WERO, &err), 0);
    WANT(write_one(a), 0);
    WANT(write_one(b), -EBADE);
    WANT(lunette_pr_read_reservation(b, &held, &err), 0);
    WANT(held.type == WERO && held.key == KEY_A, 1);
    WANT(lunette_pr_register(b, 0, KEY_B, LUNETTE_PR_IGNORE_KEY, &err), 0);
    WANT(write_one(b), 0);
    WANT(lunette_pr_read_keys(b, &regs, &err), 0);
    WANT((int)lunette_pr_registrants_count(regs), 2);
    lunette_pr_registrants_free(regs);
    r = lunette_pr_read_full_status(b, &regs, &err);
    if (r == 0) {
        printf("full status: %zu\n", lunette_pr_registrants_count(regs));
        lunette_pr_registrants_free(regs);
    } else {
        printf("full status: %s\n", err.msg);
    }
    WANT(lunette_pr_preempt(b, KEY_B, KEY_A, WERO, 0, &err), 0);
    WANT(write_one(a), -EBADE);
    WANT(lunette_pr_reserve(a, KEY_A, WERO, &err), -EBADE);
    WANT(lunette_pr_release(b, KEY_B, WERO, &err), 0);
    WANT(write_one(a), 0);
    WANT(lunette_pr_clear(b, KEY_B, &err), 0);
    WANT(lunette_pr_read_keys(a, &regs, &err), 0);
    WANT((int)lunette_pr_registrants_count(regs), 0);
    lunette_pr_registrants_free(regs);
}

/* Many under way, all of them canceled: each ends once, and the session goes on.  How many of them
 * the target has done before it hears of it is its own affair. */
static void
check_cancel(struct lunette_lun *lun)
{
    struct lunette_completion c;
    struct lunette_queue *q = NULL;
    int well = 0, early = 0;
    char *buf = malloc(64u << 20);

    WANT(buf != NULL, 1);
    WANT(lunette_queue_new(lun, 64, &q, &err), 0);
    for (size_t i = 0; i < 64; i++)
        WANT(lunette_queue_read(q, buf + (i << 20), 1 << 20, 0, buf), 0);
    WANT(lunette_queue_submit(q), 0);
    WANT(lunette_queue_cancel(q, buf), 64);
    for (int i = 0; i < 64; i++) {
        WANT(lunette_queue_poll(q, &c, 1, 1, 20000), 1);
        WANT(c.err == 0 || c.err == -ECANCELED, 1);
        well += c.err == 0;
        early += c.err != 0;
    }
    printf("canceled: %d early, %d done by then\n", early, well);
    lunette_queue_free(q);
    WANT(lunette_pread(lun, buf, block, 0, &err), 0);
    free(buf);
}

static void
export_is_over(void *user)
{
    *(bool *)user = true;
}

/* A client that only connects, and is greeted. */
static int
greeted_at(struct lunette_ctx *ctx, const char *path)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    char hello[18];
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

    (void)snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
    WANT(connect(fd, (const struct sockaddr *)&at, sizeof(at)), 0);
    while (recv(fd, hello, sizeof(hello), MSG_PEEK) < (ssize_t)sizeof(hello))
        WANT(lunette_ctx_run(ctx, 1000), 0);
    WANT(memcmp(hello, "NBDMAGICIHAVEOPT", 16), 0);
    return fd;
}

static void
check_export(struct lunette_ctx *ctx, struct lunette_lun *lun)
{
    struct lunette_export_stats s = LUNETTE_INIT(s);
    struct lunette_export *e = NULL, *second = NULL;
    char path[64], other[80], far[200];
    bool over = false;
    int fd;

    (void)snprintf(path, sizeof(path), "/tmp/lunette-calls-%d", (int)getpid());
    (void)snprintf(other, sizeof(other), "%s-2", path);
    memset(far, 'x', sizeof(far) - 1);
    far[sizeof(far) - 1] = '\0';
    WANT(lunette_export_start(lun, "fuse", path, 0, NULL, NULL, &e, &err), -EOPNOTSUPP);
    WANT(lunette_export_start(lun, "nbd", path, 2, NULL, NULL, &e, &err), -EINVAL);
    WANT(lunette_export_start(lun, "nbd", far, 0, NULL, NULL, &e, &err), -ENAMETOOLONG);
    WANT(lunette_export_start(lun, "nbd", "", 0, NULL, NULL, &e, &err), -EINVAL);
    WANT(lunette_export_start(lun, "nbd", path, 0, NULL, NULL, &e, &err), 0);
    WANT(lunette_export_start(lun, "nbd", path, 0, NULL, NULL, &second, &err), -EADDRINUSE);
    WANT(lunette_export_start(lun, "nbd", other, LUNETTE_EXPORT_RDONLY, NULL, NULL, &second, &err),
         0);
    fd = greeted_at(ctx, path);
    WANT(lunette_export_get_stats(e, &s), 0);
    WANT((int)s.clients, 1);
    WANT(lunette_export_get_stats(second, &s), 0);
    WANT((int)s.clients, 0);
    s.struct_size = 4;
    WANT(lunette_export_get_stats(e, &s), -EINVAL);
    lunette_export_stop(second);
    WANT(access(other, F_OK), -1);
    WANT(write_one(lun), 0); /* the LUN is there for its owner, too */
    lunette_export_stop_start(e, export_is_over, &over);
    WANT(over, false);
    while (!over)
        WANT(lunette_ctx_run(ctx, 1000), 0);
    WANT(access(path, F_OK), -1);
    WANT(write_one(lun), 0);
    lunette_export_stop(NULL);
    (void)close(fd);
}

static void
check(struct lunette_ctx *ctx, const char *url)
{
    struct lunette_lun *a = open_lun(ctx, url), *b = open_lun(ctx, url);

    check_compare(a);
    check_reservations(a, b);
    check_cancel(a);
    check_export(ctx, a);
    lunette_close(a);
    lunette_close(b);
}

static void
one(struct lunette_ctx *ctx, const char *what, const char *url, bool aptpl)
{
    struct lunette_pr_reservation held = LUNETTE_INIT(held);
    struct lunette_lun *lun = open_lun(ctx, url);

    if (strcmp(what, "take") == 0) {
        WANT(lunette_pr_register(lun, 0, KEY_A,
                                 LUNETTE_PR_IGNORE_KEY | (aptpl ? LUNETTE_PR_APTPL : 0), &err),
             0);
        WANT(lunette_pr_reserve(lun, KEY_A, WERO, &err), 0);
    } else {
        WANT(lunette_pr_read_reservation(lun, &held, &err), 0);
        WANT(held.type == WERO && held.key == KEY_A, 1);
        WANT(write_one(lun), strcmp(what, "mine") == 0 ? 0 : -EBADE);
    }
    lunette_close(lun);
}

int
main(int argc, char **argv)
{
    struct lunette_ctx *ctx = NULL;

    if (argc < 3)
        return 2;
    WANT(lunette_ctx_new(NULL, &ctx, &err), 0);
    if (strcmp(argv[1], "check") == 0)
        check(ctx, argv[2]);
    else
        one(ctx, argv[1], argv[2], argc > 3);
    lunette_ctx_free(ctx);
    return 0;
}
