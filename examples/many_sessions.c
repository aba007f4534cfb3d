/* SPDX-License-Identifier: MIT */
/* many_sessions - opens a target's LUN many times over, without waiting for one before the next.
 *
 *     many_sessions iscsi://127.0.0.1/iqn.2026-11.example:disk/0 200
 */
#include <lunette/lunette.h>
#include <stdio.h>
#include <stdlib.h>

#define IN_FLIGHT 32 /* more would only queue up at the target */

struct app {
    struct lunette_ctx *ctx;
    const char *url;
    struct lunette_lun **lun;
    unsigned wanted, started, ended, opened, failed;
};

static void open_some(struct app *a);

/* From inside lunette_ctx_run: only calls that do not wait. */
static void
opened(void *user, struct lunette_lun *lun, const struct lunette_error *err)
{
    struct app *a = user;

    a->ended++;
    if (lun != NULL)
        a->lun[a->opened++] = lun;
    else if (a->failed++ == 0)
        fprintf(stderr, "many_sessions: %s\n", err->msg);
    open_some(a);
}

static void
open_some(struct app *a)
{
    struct lunette_error err = LUNETTE_INIT(err);

    while (a->started < a->wanted && a->started - a->ended < IN_FLIGHT && a->failed == 0) {
        a->started++;
        if (lunette_open_start(a->ctx, a->url, 0, opened, a, NULL, &err) < 0) {
            fprintf(stderr, "many_sessions: %s\n", err.msg);
            a->ended++;
            a->failed++;
        }
    }
}

int
main(int argc, char **argv)
{
    struct app a = {0};
    struct lunette_error err = LUNETTE_INIT(err);

    if (argc != 3 || (a.wanted = (unsigned)strtoul(argv[2], NULL, 10)) == 0) {
        fprintf(stderr, "usage: many_sessions URL COUNT\n");
        return 2;
    }
    a.url = argv[1];
    a.lun = calloc(a.wanted, sizeof(*a.lun));
    if (a.lun == NULL || lunette_ctx_new(NULL, &a.ctx, &err) < 0)
        return 1;
    open_some(&a);
    while (a.ended < a.started && lunette_ctx_run(a.ctx, -1) == 0)
        ;
    printf("%u sessions are open\n", a.opened);
    for (unsigned i = 0; i < a.opened; i++)
        lunette_close_start(a.lun[i], NULL, NULL);
    lunette_ctx_free(a.ctx); /* waits for all of them */
    free(a.lun);
    return a.failed > 0;
}
