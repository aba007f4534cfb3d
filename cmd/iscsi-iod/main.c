/* SPDX-License-Identifier: MIT */
/* iscsi-iod: the data plane as a daemon.  src/iod is the inside; this is what the system sees. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/common/service.h"
#include "cmd/common/stdfds.h"
#include "cmd/iscsi-iod/args.h"
#include "cmd/iscsi-iod/logfile.h"
#include "export/nbd/nbd.h"

#define EXIT_USAGE 2
#define HUNG_MS    5000 /* beyond the times that the loops have for their end */
#define BEATS      4    /* signs of life in the time of the watchdog */
#define LOG_MORE   16   /* bytes of a line beyond its text and its program's name */
#define IOD_ROOM   8 /* descriptors: a control plane, a session and its export, and who uses it */

static const struct export_ops *const kinds[] = {&nbd_export, NULL};

/* What the thread needs that waits for signals. */
struct watched {
    const struct iod_args *args;
    const struct log *log;
    struct iod *iod;
};

static void
iod_is_ready(void *user)
{
    const struct watched *w = user;

    service_tell("READY=1");
    log_line(w->log, LOG_LEVEL_INFO, "ready, %u threads", w->args->threads);
}

static void
iod_is_alive(void *user)
{
    (void)user;
    service_tell("WATCHDOG=1");
}

static void
ending_signals(sigset_t *set)
{
    (void)sigemptyset(set);
    (void)sigaddset(set, SIGTERM);
    (void)sigaddset(set, SIGINT);
}

/* Waits for the first SIGTERM or SIGINT; a second one ends the process as it always does, for which
 * this thread, the only one that does not block it, has to stay.  Each loop ends within a time of
 * its own; where one hangs, the process ends without it. */
static void *
iod_watch_signals(void *arg)
{
    const struct watched *w = arg;
    uint32_t stop_ms = w->args->stop_ms != 0 ? w->args->stop_ms : IOD_STOP_MS;
    sigset_t set;
    int sig;

    ending_signals(&set);
    if (sigwait(&set, &sig) != 0)
        return NULL;
    (void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    service_tell("STOPPING=1");
    iod_stop(w->iod);
    service_end_within(stop_ms + IOD_DROP_MS + HUNG_MS, w->log, "the data plane");
    for (;;)
        (void)pause();
}

/* Whoever reads our stderr may go away; and a session on a full file system is no reason to die. */
static void
set_signals(void)
{
    sigset_t set;

    (void)signal(SIGPIPE, SIG_IGN);
    ending_signals(&set);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/* Where to listen: what was handed over, else the socket of the command line. */
static int
find_listener(const struct iod_args *a, struct iod_config *cfg, struct sock_addr *at,
              struct lunette_error *err)
{
    int r;

    cfg->fd = service_listener();
    if (cfg->fd >= 0)
        return 0;
    if (cfg->fd != -1)
        return lunette_fail(err, cfg->fd, LUNETTE_DOM_USAGE, 0,
                            cfg->fd == -E2BIG
                                ? "the service manager has handed over several sockets: one is "
                                  "wanted%s"
                                : "what the service manager has handed over: %s",
                            cfg->fd == -E2BIG ? "" : errno_text(-cfg->fd));
    if (a->socket == NULL)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "where to listen is not known: --socket PATH");
    r = sock_addr_local(a->socket, strlen(a->socket), at, err);
    cfg->at = r == 0 ? at : NULL;
    return r;
}

static int
serve(const struct iod_args *a, const struct log *log, struct lunette_error *err)
{
    static struct watched w; /* the thread that waits for signals outlives this function */
    struct iod_config cfg = {.fd = -1,
                             .loops = a->threads,
                             .loop = {.kind = a->loop},
                             .kinds = kinds,
                             .log = log,
                             .grace_ms = a->grace_ms,
                             .watch_every = a->watch_every,
                             .stop_ms = a->stop_ms,
                             .ready = iod_is_ready,
                             .alive = iod_is_alive,
                             .beat_ms = service_watchdog_ms() / BEATS,
                             .user = &w};
    struct sock_addr at;
    pthread_t watcher;
    struct iod *d = NULL;
    int r = find_listener(a, &cfg, &at, err);

    if (r == 0)
        r = iod_new(&cfg, &d, err);
    if (r == 0 && stdfds_room(IOD_ROOM) < 0) {
        iod_free(d);
        r = lunette_fail(err, -EMFILE, LUNETTE_DOM_OS, EMFILE,
                         "no descriptors are left for sessions: raise the limit (ulimit -n)");
    }
    if (r < 0)
        return r;
    w = (struct watched){.args = a, .log = log, .iod = d};
    r = pthread_create(&watcher, NULL, iod_watch_signals, &w);
    if (r != 0) {
        iod_free(d);
        return lunette_fail(err, -r, LUNETTE_DOM_OS, (uint32_t)r, "cannot watch signals: %s",
                            errno_text(r));
    }
    (void)pthread_detach(watcher);
    r = iod_run(d, err);
    if (r == 0)
        iod_free(d);
    return r;
}

static void
iod_log(void *user, enum log_level level, const char *line)
{
    logfile_begin();
    service_log(user, level, line);
    logfile_end(strlen(user) + strlen(line) + LOG_MORE);
}

int
main(int argc, char **argv)
{
    struct log log = {
        .level = LOG_LEVEL_WARN, .sink = iod_log, .user = (void *)(uintptr_t) "iscsi-iod"};
    struct lunette_error err = {.code = 0};
    struct iod_args args;
    int r = stdfds_open();

    if (r < 0)
        return EXIT_FAILURE;
    r = iod_args_parse(&args, argc, argv);
    if (r != 0)
        return r > 0 ? stdfds_shown("iscsi-iod") : EXIT_USAGE;
    r = args.log != NULL ? logfile_open(args.log) : 0;
    if (r < 0) {
        log_line(&log, LOG_LEVEL_ERROR, "--log %s: %s", args.log, errno_text(-r));
        return EXIT_FAILURE;
    }
    if (args.verbose > 0)
        log.level = args.verbose > 1 ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO;
    set_signals();
    stdfds_raise();
    r = serve(&args, &log, &err);
    if (r == 0)
        return EXIT_SUCCESS;
    log_line(&log, LOG_LEVEL_ERROR, "%s", err.msg);
    return err.domain == LUNETTE_DOM_USAGE ? EXIT_USAGE : EXIT_FAILURE;
}
