/* SPDX-License-Identifier: MIT */
/* iscsi-iod: the data plane as a daemon.  src/iod is the inside; this is what the system sees. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/common/daemon.h"
#include "cmd/common/logfile.h"
#include "cmd/common/service.h"
#include "cmd/common/stdfds.h"
#include "cmd/iscsi-iod/args.h"
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
    struct daemon_watched daemon;
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
iod_end(void *user)
{
    iod_stop(((struct watched *)user)->iod);
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
    struct iod *d = NULL;
    int r = daemon_listener(a->socket, &at, &cfg.at, &cfg.fd, err);

    if (r == 0)
        r = iod_new(&cfg, &d, err);
    if (r == 0 && stdfds_room(IOD_ROOM) < 0) {
        iod_free(d);
        r = lunette_fail(err, -EMFILE, LUNETTE_DOM_OS, EMFILE,
                         "no descriptors are left for sessions: raise the limit (ulimit -n)");
    }
    if (r < 0)
        return r;
    w.args = a;
    w.log = log;
    w.iod = d;
    w.daemon = (struct daemon_watched){.stop = iod_end,
                                       .user = &w,
                                       .end_ms = (a->stop_ms != 0 ? a->stop_ms : IOD_STOP_MS) +
                                                 IOD_DROP_MS + HUNG_MS,
                                       .log = log,
                                       .name = "the data plane"};
    r = daemon_watch(&w.daemon, err);
    if (r < 0) {
        iod_free(d);
        return r;
    }
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
    daemon_set_signals();
    stdfds_raise();
    r = serve(&args, &log, &err);
    if (r == 0)
        return EXIT_SUCCESS;
    log_line(&log, LOG_LEVEL_ERROR, "%s", err.msg);
    return err.domain == LUNETTE_DOM_USAGE ? EXIT_USAGE : EXIT_FAILURE;
}
