/* SPDX-License-Identifier: MIT */
/* iscsid: the control plane as a daemon.  src/iscsid is the inside; this is what the system sees.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "base/list.h"
#include "cmd/common/instance.h"
#include "cmd/common/service.h"
#include "cmd/common/stdfds.h"
#include "cmd/iscsid/args.h"
#include "cmd/iscsid/start.h"
#include "iscsid/iscsid.h"

#define EXIT_USAGE  2
#define LEAVE_MS    2000  /* for servers that are told that this host goes */
#define END_MS      10000 /* for the daemon to end when it is told to */
#define BEATS       4     /* signs of life in the time of the watchdog */
#define DAEMON_ROOM 24    /* descriptors: loop, sockets, data plane, records, and some callers */

struct program {
    struct iscsid_args args;
    struct instance at;
    char conf[START_PATH_MAX], records[START_PATH_MAX], run[START_PATH_MAX];
    char conf_file[START_PATH_MAX + 32], initiator[START_PATH_MAX + 32], lock[START_PATH_MAX + 32];
    char pid_file[START_PATH_MAX + 32], socket[START_PATH_MAX + 32], iod_log[START_PATH_MAX + 32];
    char iod_lock[START_PATH_MAX + 32], iod_lock_run[START_PATH_MAX + 32];
    char options[INSTANCE_OPTIONS_MAX];
    char iod_program[START_PATH_MAX];
    char given[6][START_PATH_MAX]; /* paths of the command line */
    int lock_fd, records_fd, ready_fd;
    struct loop *loop;
    struct iscsid *d;
    bool ended;
    struct lunette_error failed; /* why it has ended, where nobody has asked for that */
    atomic_bool signalled;       /* signal_work is posted and has not run */
    atomic_bool terminate, reload;
    struct loop_work signal_work;
    struct loop_timer pulse; /* signs of life for the service manager */
    uint32_t pulse_ms;
};

/* ---- signals and log ------------------------------------------------------------------------ */

static void
iscsid_signals(sigset_t *set)
{
    (void)sigemptyset(set);
    (void)sigaddset(set, SIGTERM);
    (void)sigaddset(set, SIGINT);
    (void)sigaddset(set, SIGHUP);
}

static void
daemon_on_signal(struct loop_work *w)
{
    struct program *p = container_of(w, struct program, signal_work);
    struct lunette_error err = {.code = 0};

    atomic_store(&p->signalled, false);
    if (atomic_exchange(&p->reload, false)) {
        service_tell("RELOADING=1");
        if (iscsid_reload(p->d, &err) < 0)
            log_line(p->loop->log, LOG_LEVEL_ERROR, "all stays as it was: %s", err.msg);
        service_tell("READY=1");
    }
    p->ended |= atomic_load(&p->terminate);
}

static void
daemon_on_pulse(struct loop_timer *t)
{
    struct program *p = container_of(t, struct program, pulse);

    service_tell("WATCHDOG=1");
    loop_timer_start(p->loop, t, p->pulse_ms * LOOP_NS_PER_MS);
}

static void
daemon_start_pulse(struct program *p)
{
    p->pulse_ms = service_watchdog_ms() / BEATS;
    loop_timer_init(&p->pulse, daemon_on_pulse);
    if (p->pulse_ms > 0)
        loop_timer_start(p->loop, &p->pulse, p->pulse_ms * LOOP_NS_PER_MS);
}

/* Files are read and written by the loop's thread, and a file system may hang: the process ends all
 * the same, and sessions stay where they are. */
static void *
await_signals(void *arg)
{
    struct program *p = arg;
    sigset_t set;
    int sig;

    iscsid_signals(&set);
    while (sigwait(&set, &sig) == 0) {
        atomic_store(sig == SIGHUP ? &p->reload : &p->terminate, true);
        if (!atomic_exchange(&p->signalled, true))
            loop_post(p->loop, &p->signal_work);
        if (atomic_load(&p->terminate))
            service_end_within(END_MS, p->loop->log, "the control plane");
    }
    return NULL;
}

static void
log_to_syslog(void *user, enum log_level level, const char *line)
{
    static const int priorities[] = {[LOG_LEVEL_ERROR] = LOG_ERR,
                                     [LOG_LEVEL_WARN] = LOG_WARNING,
                                     [LOG_LEVEL_INFO] = LOG_INFO,
                                     [LOG_LEVEL_DEBUG] = LOG_DEBUG};

    (void)user;
    syslog(priorities[level], "%s", line);
}

static void
daemon_stderr(void *user, enum log_level level, const char *line)
{
    (void)user;
    service_log((void *)(uintptr_t) "iscsid", level, line);
}

static struct log daemon_log = {.level = LOG_LEVEL_INFO, .sink = daemon_stderr};

/* ---- the daemon ----------------------------------------------------------------------------- */

static void
on_ready(void *user)
{
    struct program *p = user;

    if (p->ready_fd >= 0) {
        openlog("iscsid", LOG_PID | LOG_CONS, LOG_DAEMON);
        daemon_log.sink = log_to_syslog;
    }
    start_ready(p->ready_fd);
    p->ready_fd = -1;
    service_tell("READY=1");
}

static void
on_ended(void *user, const struct lunette_error *why)
{
    struct program *p = user;

    if (why != NULL)
        (void)lunette_fail_as(&p->failed, why);
    p->ended = true;
}

static int
find_given(struct program *p, struct lunette_error *err)
{
    const char **const paths[] = {&p->args.config,     &p->args.initiatorname, &p->args.pid_file,
                                  &p->args.iod_socket, &p->args.sysfs,         &p->args.firmware};
    int r = 0;

    for (size_t i = 0; r == 0 && i < sizeof(paths) / sizeof(paths[0]); i++) {
        if (*paths[i] == NULL)
            continue;
        r = start_absolute(*paths[i], p->given[i], err);
        *paths[i] = p->given[i];
    }
    return r;
}

/* Where all files of the instance are. */
static int
find_files(struct program *p, struct lunette_error *err)
{
    const struct iscsid_args *a = &p->args;
    bool system = a->root == NULL && strcmp(p->at.run, "/run/lunette") == 0;
    int r = start_folder(p->at.conf, p->conf, err);

    if (r == 0)
        r = start_folder(a->records != NULL ? a->records : p->at.records, p->records, err);
    if (r == 0)
        r = start_folder(p->at.run, p->run, err);
    if (r < 0)
        return r;
    (void)snprintf(p->conf_file, sizeof(p->conf_file), "%s/iscsid.conf", p->conf);
    (void)snprintf(p->initiator, sizeof(p->initiator), "%s/initiatorname.iscsi", p->conf);
    (void)snprintf(p->pid_file, sizeof(p->pid_file), "%s/iscsid.pid", p->run);
    (void)snprintf(p->socket, sizeof(p->socket), "%s/iod.sock", p->run);
    (void)snprintf(p->iod_log, sizeof(p->iod_log), "%s/iscsi-iod.log", p->run);
    (void)snprintf(p->iod_lock, sizeof(p->iod_lock), "%s/.lunette.iod", p->records);
    (void)snprintf(p->iod_lock_run, sizeof(p->iod_lock_run), "%s/iscsi-iod.lock", p->run);
    /* Tools of open-iscsi lock the records of the system there. */
    (void)snprintf(p->lock, sizeof(p->lock), "%s%s", system ? "/run/lock/iscsi" : p->run,
                   system ? "" : "/lock");
    start_program("iscsi-iod", p->iod_program);
    return 0;
}

static int
make_daemon(struct program *p, struct lunette_error *err)
{
    const struct iscsid_args *a = &p->args;
    struct iscsid_config cfg = {
        .conf_file = a->config != NULL ? a->config : p->conf_file,
        .initiator_file = a->initiatorname != NULL ? a->initiatorname : p->initiator,
        .records = p->records,
        .lock_dir = p->lock,
        .run = p->run,
        .root = p->at.which[1] != NULL ? p->at.which[1] : p->conf,
        .options = instance_options(&p->at, p->options),
        .version = LUNETTE_VERSION,
        .listen_fd = service_listener(),
        .iod_socket = a->iod_socket != NULL ? a->iod_socket : p->socket,
        .iod_program = a->iod_socket != NULL ? NULL : p->iod_program,
        .iod_log = a->foreground ? NULL : p->iod_log,
        .iod_lock = p->iod_lock,
        .iod_lock_run = p->iod_lock_run,
        .iod_threads = a->threads,
        .iod_time_every = a->time_every,
        .classic_socket = a->classic_socket,
        .sysfs = a->sysfs,
        .firmware = a->firmware != NULL ? a->firmware : "/sys/firmware",
        .ready = on_ready,
        .ended = on_ended,
        .user = p,
    };

    if (cfg.listen_fd < -1)
        return lunette_fail(err, cfg.listen_fd, LUNETTE_DOM_USAGE, 0,
                            "the service manager is to hand over one socket: %s",
                            errno_text(cfg.listen_fd));
    return iscsid_new(p->loop, &cfg, &p->d, err);
}

/* Servers that do not answer are not waited for. */
static void
tell_of_end(struct program *p)
{
    uint64_t until_ns = p->loop->now_ns + LEAVE_MS * LOOP_NS_PER_MS;

    while (iscsid_leave(p->d) && p->loop->now_ns < until_ns) {
        if (loop_run(p->loop, LEAVE_MS * (int64_t)LOOP_NS_PER_MS / 10) < 0)
            return;
    }
}

static int
run_daemon(struct program *p, struct lunette_error *err)
{
    struct loop_config cfg = {.kind = p->args.loop};
    pthread_t watcher;
    int r = loop_new(&cfg, &p->loop, err);

    if (r < 0)
        return r;
    p->loop->log = &daemon_log;
    loop_work_init(&p->signal_work, daemon_on_signal);
    r = make_daemon(p, err);
    if (r < 0)
        return r;
    r = pthread_create(&watcher, NULL, await_signals, p);
    if (r != 0)
        return lunette_fail(err, -r, LUNETTE_DOM_OS, (uint32_t)r, "cannot watch signals: %s",
                            errno_text(r));
    daemon_start_pulse(p);
    while (!p->ended && r >= 0)
        r = loop_run(p->loop, -1);
    service_tell("STOPPING=1");
    tell_of_end(p);
    iscsid_free(&p->d);
    if (r < 0)
        return lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r, "the loop has failed: %s",
                            errno_text(r));
    return p->failed.code < 0 ? lunette_fail_as(err, &p->failed) : 0;
}

static int
prepare(struct program *p, struct lunette_error *err)
{
    const struct iscsid_args *a = &p->args;
    sigset_t set;
    int r = start_become(a->uid, a->gid, err);

    if (r == 0)
        r = instance_find(a->root, a->instance, &p->at, err);
    if (r == 0)
        r = find_given(p, err);
    if (r == 0)
        r = find_files(p, err);
    if (r == 0 && !a->foreground)
        r = start_background(&p->ready_fd, err);
    if (r < 0)
        return r;
    /* The sockets and the records have a lock each: run folders are removed, by those who tidy up
     * and at the end of a user's session, while daemons run on. */
    p->lock_fd = start_lock(p->run, "iscsid.lock", false, err);
    if (p->lock_fd < 0)
        return p->lock_fd;
    p->records_fd = start_lock(p->records, ".lunette.iscsid", true, err);
    if (p->records_fd < 0)
        return p->records_fd;
    if (faccessat(AT_FDCWD, p->records, W_OK, AT_EACCESS) < 0)
        log_line(&daemon_log, LOG_LEVEL_WARN,
                 "the records in %s may only be read (%s): what changes them fails, and nothing "
                 "that is discovered is kept",
                 p->records, errno_text(errno));
    if (a->pid_file == NULL && !a->no_pid_file && !a->foreground)
        p->args.pid_file = p->pid_file;
    if (a->pid_file != NULL)
        r = start_pid_file(a->pid_file, err);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGCHLD, SIG_DFL); /* else iscsi-iod ends without a word, where it was ignored */
    iscsid_signals(&set);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    stdfds_raise();
    if (r == 0 && stdfds_room(DAEMON_ROOM) < 0)
        r = lunette_fail(err, -EMFILE, LUNETTE_DOM_OS, EMFILE,
                         "there are too few descriptors for the daemon and who asks it: raise the "
                         "limit (ulimit -n)");
    return r;
}

int
main(int argc, char **argv)
{
    static struct program p = {.lock_fd = -1, .records_fd = -1, .ready_fd = -1};
    struct lunette_error err = {.code = 0};
    int r = stdfds_open();

    if (r < 0)
        return EXIT_FAILURE;
    r = iscsid_args_parse(&p.args, argc, argv);
    if (r != 0)
        return r > 0 ? stdfds_shown("iscsid") : EXIT_USAGE;
    if (p.args.debug > 0)
        daemon_log.level = LOG_LEVEL_DEBUG;
    r = prepare(&p, &err);
    if (r == 0)
        r = run_daemon(&p, &err);
    if (p.lock_fd >= 0 && p.args.pid_file != NULL)
        start_pid_file_remove(p.args.pid_file);
    if (r == 0)
        return EXIT_SUCCESS;
    log_line(&daemon_log, LOG_LEVEL_ERROR, "%s", err.msg);
    return err.domain == LUNETTE_DOM_USAGE ? EXIT_USAGE : EXIT_FAILURE;
}
