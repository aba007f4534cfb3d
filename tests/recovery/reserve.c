/* SPDX-License-Identifier: MIT */
/* tests/recovery/reserve.c - a persistent reservation outlives the connections that it is held
 * over.
 *
 *     reserve URL OTHER-URL CUTS COMMAND
 *
 * Registers a key and reserves the unit of URL (Write Exclusive - Registrants Only).  Then COMMAND
 * cuts the connection, so many times, and after each the reservation is to be ours: we write, the
 * initiator of OTHER-URL, the same unit under another name, may not.  At the end it is given up,
 * and the other one writes.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lunette/lunette.h>

#define KEY   0x6c756e6574746521u
#define TYPE  LUNETTE_PR_WRITE_EXCLUSIVE_REGISTRANTS_ONLY
#define BLOCK 4096

static struct lunette_ctx *ctx;
static const char *step = "";

static void __attribute__((format(printf, 1, 2), noreturn)) die(const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    fprintf(stderr, "reserve: %s: ", step);
    vfprintf(stderr, format, ap);
    fputc('\n', stderr);
    va_end(ap);
    exit(1);
}

static struct lunette_lun *
open_lun(const char *url)
{
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_lun *lun = NULL;

    if (lunette_open(ctx, url, 0, &lun, &err) < 0)
        die("%s", err.msg);
    return lun;
}

static void
ok(int r, const struct lunette_error *err)
{
    if (r < 0)
        die("%s", err->msg);
}

static void
still_ours(struct lunette_lun *lun)
{
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_pr_reservation held = LUNETTE_INIT(held);

    ok(lunette_pr_read_reservation(lun, &held, &err), &err);
    if (held.key != KEY || held.type != TYPE)
        die("the reservation is not ours any more");
}

static void
writes(struct lunette_lun *lun, int want)
{
    static char block[BLOCK];
    struct lunette_error err = LUNETTE_INIT(err);
    int r = lunette_pwrite(lun, block, sizeof(block), 0, 0, &err);

    if (r != want)
        die("a write gives %s, %s; wanted %s", strerrorname_np(-r), err.msg,
            strerrorname_np(-want));
}

int
main(int argc, char **argv)
{
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_lun *ours, *theirs;
    int cuts = argc == 5 ? (int)strtol(argv[3], NULL, 10) : 0;

    if (cuts <= 0) {
        fprintf(stderr, "usage: reserve URL OTHER-URL CUTS COMMAND\n");
        return 2;
    }
    if (lunette_ctx_new(NULL, &ctx, &err) < 0)
        die("%s", err.msg);
    step = "at first";
    ours = open_lun(argv[1]);
    theirs = open_lun(argv[2]);
    ok(lunette_pr_register(ours, 0, KEY, 0, &err), &err);
    ok(lunette_pr_reserve(ours, KEY, TYPE, &err), &err);
    still_ours(ours);
    writes(ours, 0);
    writes(theirs, -EBADE);
    step = "after a cut";
    for (int i = 0; i < cuts; i++) {
        if (system(argv[4]) != 0)
            die("%s does not cut", argv[4]);
        writes(ours, 0); /* waits for the session */
        writes(theirs, -EBADE);
        still_ours(ours);
    }
    step = "at the end";
    ok(lunette_pr_release(ours, KEY, TYPE, &err), &err);
    ok(lunette_pr_register(ours, KEY, 0, 0, &err), &err);
    writes(theirs, 0);
    lunette_close(theirs);
    lunette_close(ours);
    lunette_ctx_free(ctx);
    printf("reserved over %d cuts\n", cuts);
    return 0;
}
