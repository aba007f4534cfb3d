/* SPDX-License-Identifier: MIT */
/* iscsi-engine: an adapter as a daemon.  src/engine is the inside; this is what the system sees. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/common/daemon.h"
#include "cmd/common/logfile.h"
#include "cmd/common/service.h"
#include "cmd/common/stdfds.h"
#include "cmd/iscsi-engine/args.h"
#include "cmd/iscsi-engine/confine.h"

#define EXIT_USAGE   2
#define IDENTITY_MAX 4352 /* bytes: a path, and that of a socket behind it */
#define HUNG_MS      5000 /* beyond the time that the loops have for their end */
#define BEATS        4    /* signs of life in the time of the watchdog */
#define LOG_MORE     16   /* bytes of a line beyond its text and its program's name */
#define ENGINE_ROOM  8    /* descriptors: a client with its memory and bells, and a session */

/* What the thread needs that waits for signals, and what is told of the loops. */
struct engine_watched {
    const struct engine_args *args;
    const struct log *log;
    struct engine *engine;
    struct daemon_watched daemon;
};

/* All threads are there, and what is started later is a thread of them. */
static void
engine_is_ready(void *user)
{
    const struct engine_watched *w = user;
    int r = w->args->unconfined ? 0 : engine_confine();

    if (r == -EOPNOTSUPP)
        log_line(w->log, LOG_LEVEL_WARN,
                 "system calls that are not needed stay allowed: not done for this machine");
    else if (r < 0)
        log_line(w->log, LOG_LEVEL_WARN, "system calls that are not needed stay allowed: %s",
                 errno_text(r));
    service_tell("READY=1");
    log_line(w->log, LOG_LEVEL_INFO, "ready, %u threads", w->args->threads);
}

static void
engine_is_alive(void *user)
{
    (void)user;
    service_tell("WATCHDOG=1");
}

static void
engine_end(void *user)
{
    engine_stop(((struct engine_watched *)user)->engine);
}

static int
engine_make(const struct engine_config *cfg, struct engine **ret, struct lunette_error *err)
{
    int r = engine_new(cfg, ret, err);

    if (r < 0 || stdfds_room(ENGINE_ROOM) == 0)
        return r;
    engine_free(*ret);
    return lunette_fail(err, -EMFILE, LUNETTE_DOM_OS, EMFILE,
                        "no descriptors are left for sessions: raise the limit (ulimit -n)");
}

/* The path of the socket, from the root: what the engine that comes after this one has as well. */
static const char *
engine_identity(const struct engine_config *cfg, struct sock_addr *at, char text[IDENTITY_MAX])
{
    const char *path;
    size_t len = 0;

    if (cfg->at == NULL) {
        at->len = sizeof(at->ss);
        if (getsockname(cfg->fd, (void *)&at->ss, &at->len) < 0)
            return NULL;
    }
    path = sock_addr_path(at);
    if (path == NULL)
        return NULL;
    if (path[0] != '/') {
        if (getcwd(text, IDENTITY_MAX - SOCK_PATH_MAX - 2) == NULL)
            return NULL;
        len = strlen(text);
        text[len++] = '/';
    }
    memcpy(text + len, path, strlen(path) + 1);
    return text;
}

static int
engine_serve(const struct engine_args *a, const struct log *log, struct lunette_error *err)
{
    static struct engine_watched w; /* the thread that waits for signals outlives this function */
    struct engine_config cfg = {.loops = a->threads,
                                .loop = {.kind = a->loop},
                                .state = a->state,
                                .fixed = a->fixed,
                                .allow = a->allow,
                                .nallow = a->nallow,
                                .log = log,
                                .stop_ms = a->stop_ms,
                                .pid = (uint32_t)getpid(),
                                .version = LUNETTE_VERSION,
                                .ready = engine_is_ready,
                                .alive = engine_is_alive,
                                .beat_ms = service_watchdog_ms() / BEATS,
                                .user = &w};
    static char identity[IDENTITY_MAX];
    struct sock_addr at = {.len = 0};
    int r = daemon_listener(a->socket, &at, &cfg.at, &cfg.fd, err);

    if (r == 0)
        cfg.identity = engine_identity(&cfg, &at, identity);
    if (r == 0)
        r = engine_make(&cfg, &w.engine, err);
    if (r < 0)
        return r;
    w.args = a;
    w.log = log;
    w.daemon = (struct daemon_watched){.stop = engine_end,
                                       .user = &w,
                                       .end_ms = a->stop_ms + HUNG_MS,
                                       .log = log,
                                       .name = "the engine"};
    r = daemon_watch(&w.daemon, err);
    if (r == 0)
        r = engine_run(w.engine, err);
    if (r == 0)
        engine_free(w.engine);
    return r;
}

static void
engine_log(void *user, enum log_level level, const char *line)
{
    logfile_begin();
    service_log(user, level, line);
    logfile_end(strlen(user) + strlen(line) + LOG_MORE);
}

int
main(int argc, char **argv)
{
    struct log log = {
        .level = LOG_LEVEL_WARN, .sink = engine_log, .user = (void *)(uintptr_t) "iscsi-engine"};
    struct lunette_error err = {.code = 0};
    struct engine_args args;
    int r = stdfds_open();

    if (r < 0)
        return EXIT_FAILURE;
    r = engine_args_parse(&args, argc, argv);
    if (r != 0)
        return r > 0 ? stdfds_shown("iscsi-engine") : EXIT_USAGE;
    /* Files of the tables and the log have modes of their own; whom --allow lets in has to be able
     * to connect to the socket. */
    (void)umask(args.nallow > 0 ? 0 : 077);
    r = args.log != NULL ? logfile_open(args.log) : 0;
    if (r < 0) {
        log_line(&log, LOG_LEVEL_ERROR, "--log %s: %s", args.log, errno_text(-r));
        return EXIT_FAILURE;
    }
    if (args.verbose > 0)
        log.level = args.verbose > 1 ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO;
    daemon_set_signals();
    stdfds_raise();
    r = engine_serve(&args, &log, &err);
    if (r == 0)
        return EXIT_SUCCESS;
    log_line(&log, LOG_LEVEL_ERROR, "%s", err.msg);
    /* That another engine has the tables is no mistake of the command line. */
    return err.domain == LUNETTE_DOM_USAGE && r != -EBUSY ? EXIT_USAGE : EXIT_FAILURE;
}
