/* SPDX-License-Identifier: MIT */
/* lunette-target: an iSCSI target as a program of one thread. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "cmd/common/stdfds.h"
#include "cmd/lunette-target/args.h"
#include "rdma/rdma.h"

#define EXIT_USAGE 2

#define TARGET_ROOM 4 /* descriptors that are left for connections, at least */

struct app {
    struct args args;
    struct log log;
    struct loop *loop;
    struct target *target;
    struct loop_work stop;
    bool stopping, done;
    struct sock_addr addr; /* of a lookup */
    int resolve_err;
    bool resolved;
};

static void
print_line(void *user, enum log_level level, const char *line)
{
    (void)user;
    (void)level;
    (void)fprintf(stderr, "lunette-target: %s\n", line);
}

static void
target_stopped(void *user)
{
    ((struct app *)user)->done = true;
}

static void
stop_target(struct loop_work *w)
{
    struct app *app = container_of(w, struct app, stop);

    if (!app->stopping && app->target != NULL)
        target_stop(app->target, target_stopped, app);
    app->stopping = true;
}

/* The signals that end us in order: not one that whoever started us had ignored, which stays so.
 * sigwait would see it all the same. */
static void
fill_watched(sigset_t *set)
{
    static const int ends[] = {SIGTERM, SIGINT};
    struct sigaction old;

    (void)sigemptyset(set);
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        if (sigaction(ends[i], NULL, &old) < 0 || old.sa_handler != SIG_IGN)
            (void)sigaddset(set, ends[i]);
    }
}

/* Waits for the first SIGTERM or SIGINT; a second one ends the process as it always does. */
static void *
watch_signals(void *arg)
{
    struct app *app = arg;
    sigset_t set;
    int sig;

    fill_watched(&set);
    if (sigwait(&set, &sig) == 0) {
        (void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
        loop_post(app->loop, &app->stop);
    }
    return NULL;
}

/* A file that may not grow, or not be written so far (ulimit -f), is an error of a write and not a
 * reason to die: SIGXFSZ stays blocked. */
static int
start_watching(struct app *app)
{
    pthread_t thread;
    sigset_t set;
    int r;

    fill_watched(&set);
    (void)sigaddset(&set, SIGXFSZ);
    r = pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (r == 0)
        r = pthread_create(&thread, NULL, watch_signals, app);
    if (r == 0)
        r = pthread_detach(thread);
    return -r;
}

static void
resolved(void *user, int err, const struct sock_addr *addr, int count)
{
    struct app *app = user;

    app->resolved = true;
    app->resolve_err = err;
    if (err == 0 && count > 0)
        app->addr = addr[0];
}

/* As portal_parse, and port 0 is allowed: that is not a portal to connect to, but one to choose. */
static int
parse_listen(const char *text, struct portal *ret, struct lunette_error *err)
{
    char copy[PORTAL_TEXT_MAX];
    size_t len = strlen(text);
    bool any = len > 2 && len < sizeof(copy) && strcmp(text + len - 2, ":0") == 0;
    int r;

    if (!any)
        return portal_parse(text, len, ret, err);
    memcpy(copy, text, len);
    copy[len - 1] = '1';
    r = portal_parse(copy, len, ret, err);
    if (r == 0)
        ret->port = 0;
    return r;
}

static int
listen_at(struct app *app, const char *text, bool iser, struct lunette_error *err)
{
    struct resolve *lookup;
    struct sock_addr bound;
    struct portal p;
    char buf[PORTAL_TEXT_MAX];
    int r = parse_listen(text, &p, err);

    if (r < 0)
        return r;
    app->resolved = false;
    r = loop_resolve(app->loop, p.host, p.port, resolved, app, &lookup);
    while (r >= 0 && !app->resolved)
        r = loop_run(app->loop, -1);
    if (r >= 0)
        r = app->resolve_err;
    if (r == -ENOENT || r == -EAGAIN)
        return lunette_fail(err, r, LUNETTE_DOM_USAGE, 0,
                            "%s %s: no address of that name is known; write an address, such as "
                            "127.0.0.1:3260 or [::1]:3260",
                            iser ? "--listen-iser" : "--listen", p.host);
    if (r < 0)
        return lunette_fail(err, r, LUNETTE_DOM_CONNECT, (uint32_t)-r, "%s: %s", p.host,
                            strerror(-r));
    r = iser ? target_listen_rdma(app->target, &app->addr, &bound, err)
             : target_listen(app->target, &app->addr, &bound, err);
    if (r == 0 && stdfds_room(TARGET_ROOM) < 0)
        r = lunette_fail(err, -EMFILE, LUNETTE_DOM_OS, EMFILE,
                         "no descriptors are left for connections: raise the limit (ulimit -n)");
    if (r < 0)
        return r;
    (void)printf("listening %son %s\n", iser ? "for iSER " : "",
                 sock_addr_format(&bound, buf, sizeof(buf)));
    (void)fflush(stdout);
    return 0;
}

/* By default the kernel lets timers be late by 50 us, which is most of a wait of --pace-us. */
static void
want_exact_timers(void)
{
    (void)prctl(PR_SET_TIMERSLACK, 1000ul); /* ns */
}

static int
serve_target(struct app *app)
{
    struct target_config cfg = {.nodes = app->args.cfgs,
                                .nodes_count = app->args.nodes_count,
                                .pace_us = app->args.pace_us,
                                .rdma_keeps_stags = app->args.iser_keep_stags};
    struct lunette_error err = {0};
    struct target_stats stats;
    int r = loop_new(&app->args.loop, &app->loop, &err);

    if (r < 0)
        goto fail;
    app->loop->log = &app->log;
    app->loop->rnic = rdma_verbs;
    rnic_spin(app->loop, app->args.loop.spin_us * 1000ull);
    loop_work_init(&app->stop, stop_target);
    r = start_watching(app);
    if (r < 0) {
        (void)snprintf(err.msg, sizeof(err.msg), "cannot watch signals: %s", strerror(-r));
        goto fail;
    }
    r = target_new(app->loop, &cfg, &app->target, &err);
    for (uint32_t i = 0; r >= 0 && i < app->args.listen_count; i++)
        r = listen_at(app, app->args.listen[i].at, app->args.listen[i].iser, &err);
    if (r < 0)
        goto fail;
    rnic_spin(app->loop, app->args.loop.spin_us * 1000ull);
    while (r >= 0 && !app->done)
        r = loop_run(app->loop, -1);
    target_stats(app->target, &stats);
    if (r >= 0)
        return stats.sync_errors == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    (void)snprintf(err.msg, sizeof(err.msg), "the event loop failed: %s", strerror(-r));
fail:
    (void)fprintf(stderr, "lunette-target: %s\n", err.msg);
    return err.domain == LUNETTE_DOM_USAGE ? EXIT_USAGE : EXIT_FAILURE;
}

int
main(int argc, char **argv)
{
    static struct app app;
    int r = stdfds_open();

    if (r < 0) {
        (void)fprintf(stderr,
                      "lunette-target: /dev/null, in place of a standard descriptor that is "
                      "closed: %s\n",
                      strerror(-r));
        return EXIT_FAILURE;
    }
    r = args_parse(&app.args, argc, argv);
    if (r == 0) {
        app.log = (struct log){.level = LOG_LEVEL_WARN, .sink = print_line};
        if (app.args.verbose > 0)
            app.log.level = app.args.verbose > 1 ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO;
        stdfds_raise();
        want_exact_timers();
        r = serve_target(&app);
        target_free(app.target);
        /* A flush that was just done has its end in the loop still. */
        while (app.loop != NULL && loop_run(app.loop, 0) > 0)
            ;
        loop_free(app.loop);
    } else {
        r = r > 0 ? stdfds_shown("lunette-target") : EXIT_USAGE;
    }
    args_free(&app.args);
    return r;
}
