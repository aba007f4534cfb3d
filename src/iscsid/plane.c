/* SPDX-License-Identifier: MIT */
#include "iscsid/plane.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "iscsid/guard.h"

#define PLANE_RETRY_FIRST_MS 10
#define PLANE_RETRY_MOST_MS  1000
#define PLANE_HELD_NS        LOOP_NS_PER_S
#define PLANE_START_FIRST_MS 100
#define PLANE_START_MOST_MS  30000 /* where it dies before it has answered */
#define PLANE_AGAIN_MOST_MS  1000  /* where it dies after that: somebody waits for its sessions */
#define PLANE_LIVED_NS       (10 * LOOP_NS_PER_S) /* a process that did so is started again at once */
#define PLANE_WATCH_NS       LOOP_NS_PER_S
#define PLANE_SILENT_NS      (5 * LOOP_NS_PER_S) /* one that does not listen or answer is told of */
#define PLANE_LOCK_FD        3 /* what the process that is started knows the lock by */
#define PLANE_LOCK_AGAIN_NS  (50 * LOOP_NS_PER_MS)
#define PLANE_LOCK_TELL_NS   (2 * LOOP_NS_PER_S) /* one that was killed has it for a moment */

extern char **environ;

/* ---- the process ---------------------------------------------------------------------------- */

/* Variables of the service manager that are meant for us alone. */
static bool
plane_is_ours_alone(const char *var)
{
    static const char *const names[] = {"LISTEN_PID=",    "LISTEN_FDS=",   "LISTEN_FDNAMES=",
                                        "NOTIFY_SOCKET=", "WATCHDOG_PID=", "WATCHDOG_USEC="};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strncmp(var, names[i], strlen(names[i])) == 0)
            return true;
    }
    return false;
}

static char **
plane_environ(void)
{
    size_t n = 0, kept = 0;
    char **env;

    while (environ[n] != NULL)
        n++;
    env = calloc(n + 1, sizeof(*env));
    for (size_t i = 0; env != NULL && i < n; i++) {
        if (!plane_is_ours_alone(environ[i]))
            env[kept++] = environ[i];
    }
    return env;
}

/* It gets a session of its own, so that no signal of a terminal reaches it, and signals as they are
 * at the start of a program. */
static int
plane_spawn_attr(posix_spawnattr_t *attr)
{
    sigset_t none, all;
    int r = posix_spawnattr_init(attr);

    if (r != 0)
        return -r;
    (void)sigemptyset(&none);
    (void)sigfillset(&all);
    /* These only refuse flags that there are not. */
    (void)posix_spawnattr_setsigmask(attr, &none);
    (void)posix_spawnattr_setsigdefault(attr, &all);
    (void)posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK |
                                             POSIX_SPAWN_SETSIGDEF);
    return 0;
}

/* It also leaves the folder in which we were started, and what our caller had open, so that it
 * keeps neither a file system nor a lock. */
static int
plane_spawn_files(posix_spawn_file_actions_t *files, const char *log, int lock)
{
    int r = posix_spawn_file_actions_init(files);

    if (r != 0)
        return -r;
    r = posix_spawn_file_actions_addopen(files, 0, "/dev/null", O_RDONLY, 0);
    if (r == 0)
        r = posix_spawn_file_actions_addopen(files, 1, "/dev/null", O_WRONLY, 0);
    if (r == 0 && log != NULL)
        r = posix_spawn_file_actions_addopen(files, 2, log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (r == 0 && lock >= 0)
        r = posix_spawn_file_actions_adddup2(files, lock, PLANE_LOCK_FD);
    if (r == 0)
        r = posix_spawn_file_actions_addclosefrom_np(files, lock >= 0 ? PLANE_LOCK_FD + 1 : 3);
    if (r == 0)
        r = posix_spawn_file_actions_addchdir_np(files, "/");
    if (r != 0)
        (void)posix_spawn_file_actions_destroy(files);
    return -r;
}

static int
plane_spawn(struct plane *p, char **env, int lock)
{
    char threads[16], time_every[16];
    char *argv[] = {(char *)(uintptr_t)p->cfg.program,
                    "--socket",
                    (char *)(uintptr_t)p->cfg.socket,
                    "--threads",
                    threads,
                    "--time-every",
                    time_every,
                    p->cfg.log != NULL ? "--log" : NULL, /* which is bounded so */
                    (char *)(uintptr_t)p->cfg.log,
                    NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    int r = plane_spawn_attr(&attr);

    if (r < 0)
        return r;
    (void)snprintf(threads, sizeof(threads), "%u", p->cfg.threads);
    (void)snprintf(time_every, sizeof(time_every), "%u", p->cfg.time_every);
    r = plane_spawn_files(&files, p->cfg.log, lock);
    if (r == 0) {
        r = -posix_spawnp(&p->child, p->cfg.program, &files, &attr, argv, env);
        (void)posix_spawn_file_actions_destroy(&files);
    }
    (void)posix_spawnattr_destroy(&attr);
    return r;
}

static void
plane_tell_ended(const struct plane *p, int status)
{
    const char *log = p->cfg.log != NULL ? p->cfg.log : "";
    const char *where = log[0] != '\0' ? "; what it has said is in " : "";

    if (WIFSIGNALED(status))
        log_line(p->loop->log, LOG_LEVEL_ERROR,
                 "the data plane, process %ld, was killed by signal %d%s%s", (long)p->child,
                 WTERMSIG(status), where, log);
    else
        log_line(p->loop->log, p->stopping ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR,
                 "the data plane, process %ld, has ended with status %d%s%s", (long)p->child,
                 WEXITSTATUS(status), where, log);
}

/* The next start is made later, and each time later than before. */
static void
plane_start_later(struct plane *p)
{
    uint32_t most_ms = p->answered ? PLANE_AGAIN_MOST_MS : PLANE_START_MOST_MS;

    p->may_start_ns = p->loop->now_ns + p->start_delay_ms * LOOP_NS_PER_MS;
    p->start_delay_ms = p->start_delay_ms == 0 ? PLANE_START_FIRST_MS : 2 * p->start_delay_ms;
    if (p->start_delay_ms > most_ms)
        p->start_delay_ms = most_ms;
}

/* Has the process that was started here ended?  Says why. */
static void
plane_reap(struct plane *p)
{
    int status;

    if (p->child == 0 || waitpid(p->child, &status, WNOHANG) != p->child)
        return;
    plane_tell_ended(p, status);
    p->child = 0;
    if (p->loop->now_ns - p->started_ns > PLANE_LIVED_NS)
        p->start_delay_ms = 0;
    plane_start_later(p);
}

/* Somebody else has the lock: a data plane that lives and that nobody reaches, or one that is about
 * to be gone. */
static void
plane_lock_held(struct plane *p, const char *lock)
{
    char pid[GUARD_PID_MAX];

    p->may_start_ns = p->loop->now_ns + PLANE_LOCK_AGAIN_NS;
    if (p->held_ns == 0)
        p->held_ns = p->loop->now_ns;
    if (p->held_told || p->loop->now_ns - p->held_ns < PLANE_LOCK_TELL_NS)
        return;
    p->held_told = true;
    guard_holder(lock, pid);
    log_line(p->loop->log, LOG_LEVEL_ERROR,
             "the data plane of these records, process %s, lives but does not answer at %s; no "
             "second one is started beside it: wait until it does, or end it",
             pid[0] != '\0' ? pid : "unknown", p->cfg.socket);
}

/* Takes the lock that the process is to have: its sessions must not be logged in to a second time
 * while it lives, whatever has become of its socket.  *ret gets a descriptor to close, or -1 where
 * none is asked for.  Returns -EBUSY where somebody else has it, or another -errno where there is
 * no lock to be had. */
static int
plane_lock(struct plane *p, int *ret)
{
    struct guard g;
    int r;

    *ret = -1;
    if (p->cfg.lock == NULL)
        return 0;
    r = guard_take(p->cfg.lock, p->cfg.lock_instead, &g);
    if (r == -EBUSY)
        plane_lock_held(p, g.held);
    if (r < 0)
        return r;
    if (g.note.code < 0 && !p->guard_told)
        log_line(
            p->loop->log, LOG_LEVEL_WARN,
            "the data plane has its lock in %s, and not beside the records, where it cannot be "
            "(%s): see that this file stays while it lives",
            p->cfg.lock_instead, g.note.msg);
    p->guard_told = g.note.code < 0;
    p->held_ns = 0;
    p->held_told = false;
    *ret = g.fd;
    return 0;
}

/* Makes the folder of the socket where it is gone: it was there when we began. */
static int
plane_need_folder(const struct plane *p)
{
    char part[SOCK_PATH_MAX + 1];

    (void)snprintf(part, sizeof(part), "%s", p->cfg.socket);
    for (char *slash = strchr(part + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(part, 0700) < 0 && errno != EEXIST)
            return -errno;
        *slash = '/';
    }
    return 0;
}

/* Starts the process with the lock. */
static int
plane_begin(struct plane *p, int lock)
{
    char **env = plane_environ();
    int r = env != NULL ? plane_spawn(p, env, lock) : -ENOMEM;

    free(env);
    if (r == 0 && lock >= 0 && ftruncate(lock, 0) == 0)
        (void)dprintf(lock, "%ld\n", (long)p->child);
    return r;
}

/* Starts the process where it is ours to start and does not run. */
static void
plane_need_process(struct plane *p)
{
    const char *what = "cannot be started";
    int r, lock;

    plane_reap(p);
    if (p->cfg.program == NULL || p->child != 0 || p->stopping || p->loop->now_ns < p->may_start_ns)
        return;
    r = plane_need_folder(p);
    if (r < 0) {
        what = "is not started: the run folder is gone and cannot be made anew";
    } else {
        r = plane_lock(p, &lock);
        if (r == -EBUSY)
            return;
        if (r < 0)
            what = "is not started: neither beside the records nor in the run folder can a file be "
                   "locked, and two of them would write over each other";
        else
            r = plane_begin(p, lock);
        if (lock >= 0)
            (void)close(lock);
    }
    p->started_ns = p->loop->now_ns;
    p->answered = p->told = false;
    if (r == 0) {
        log_line(p->loop->log, LOG_LEVEL_INFO, "%s is started as process %ld", p->cfg.program,
                 (long)p->child);
        return;
    }
    p->child = 0;
    plane_start_later(p);
    log_line(p->loop->log, LOG_LEVEL_ERROR, "%s %s (%s): %s; the next try follows in %u ms",
             p->cfg.program, what, p->cfg.socket, errno_text(r),
             (unsigned)((p->may_start_ns - p->loop->now_ns) / LOOP_NS_PER_MS));
}

/* ---- connections ---------------------------------------------------------------------------- */

static void plane_connect(struct plane_link *k);

static void
plane_again(struct plane_link *k)
{
    k->delay_ms = k->delay_ms == 0 ? PLANE_RETRY_FIRST_MS : 2 * k->delay_ms;
    if (k->delay_ms > PLANE_RETRY_MOST_MS)
        k->delay_ms = PLANE_RETRY_MOST_MS;
    loop_timer_start(k->p->loop, &k->retry, k->delay_ms * LOOP_NS_PER_MS);
}

static void
plane_on_retry(struct loop_timer *t)
{
    plane_connect(container_of(t, struct plane_link, retry));
}

/* Says once that nobody answers; of a process that was started here, when it should have come up.
 */
static void
plane_tell_refused(struct plane *p, int r, bool startable)
{
    if (p->told)
        return;
    if (!startable || p->cfg.program == NULL)
        log_line(p->loop->log, LOG_LEVEL_ERROR, "no data plane answers at %s: %s", p->cfg.socket,
                 errno_text(r));
    else if (p->child != 0 && p->loop->now_ns - p->started_ns > PLANE_SILENT_NS)
        log_line(p->loop->log, LOG_LEVEL_ERROR,
                 "process %ld, the data plane that was started, does not listen at %s; end it, and "
                 "another one is started",
                 (long)p->child, p->cfg.socket);
    else
        return;
    p->told = true;
}

/* Nobody answers. */
static void
plane_refused(struct plane_link *k, int r)
{
    bool none = r == -ENOENT || r == -ENOTDIR || r == -ECONNREFUSED;
    struct plane *p = k->p;

    plane_reap(p);
    plane_tell_refused(p, r, none);
    if (k->index == 0 && none)
        plane_need_process(p);
    plane_again(k);
}

/* Frees what the connection has; the control plane forgets the loop first. */
static void
plane_close(struct plane_link *k)
{
    bool was = k->ctl != NULL;

    if (was && k->p->control != NULL)
        control_loop_lost(k->p->control, k->index);
    ctl_free(&k->ctl);
    k->probing = k->unasked = k->silent = false;
    ipc_encoded_client_free(k->end);
    k->end = NULL;
    ipc_socket_free(k->socket);
    k->socket = NULL;
    if (k->stream != NULL)
        stream_close(k->stream);
    k->stream = NULL;
    if (was)
        k->p->cfg.changed(k->p->cfg.user, k->index, false);
}

static void
plane_on_gone(void *user, const struct lunette_error *why)
{
    struct plane_link *k = user;

    log_line(k->p->loop->log, LOG_LEVEL_WARN, "loop %u of the data plane is lost: %s", k->index,
             why->msg);
    plane_close(k);
    plane_reap(k->p);
    /* Of two control planes the newer one wins, each time: they shall not take turns for ever at
     * the speed of the machine. */
    if (k->p->loop->now_ns - k->since_ns > PLANE_HELD_NS)
        k->delay_ms = 0;
    plane_again(k);
}

/* Makes the ends on the connection. */
static int
plane_attach(struct plane_link *k)
{
    int r = ipc_socket_client_new(k->stream, plane_on_gone, k, &k->socket);

    if (r < 0)
        return r;
    k->stream = NULL;
    r = ipc_encoded_client_new(ipc_socket_carrier(k->socket), ipc_socket_broken, k->socket,
                               &k->end);
    if (r == 0)
        r = ctl_new(k->p->loop, ipc_encoded_client_ipc(k->end), &k->ctl);
    if (r == 0)
        r = control_loop_set(k->p->control, k->index, k->ctl);
    if (r < 0)
        ctl_free(&k->ctl);
    return r;
}

static void
plane_on_connected(void *user, int err)
{
    struct plane_link *k = user;
    struct plane *p = k->p;
    uid_t uid = 0;
    pid_t pid = 0;

    if (err == 0)
        err = stream_peer_cred(k->stream, &uid, &pid);
    if (err == 0 && uid != 0 && uid != geteuid()) {
        if (!p->told)
            log_line(p->loop->log, LOG_LEVEL_ERROR,
                     "%s belongs to user %lu, who may not have our sessions", p->cfg.socket,
                     (unsigned long)uid);
        p->told = true;
        err = -EPERM;
    }
    if (err == 0)
        err = plane_attach(k);
    if (err < 0) {
        plane_close(k);
        plane_refused(k, err);
        return;
    }
    p->pid = pid;
    p->told = false;
    p->answered = true;
    k->since_ns = k->heard_ns = p->loop->now_ns;
    k->heard = 0;
    p->cfg.changed(p->cfg.user, k->index, true);
}

static void
plane_connect(struct plane_link *k)
{
    static const struct stream_events events = {.connected = plane_on_connected};
    int r = stream_connect_packets(k->p->loop, &k->p->at, &events, k, &k->stream);

    if (r < 0) {
        k->stream = NULL;
        plane_refused(k, r);
    }
}

static int
plane_add_link(struct plane *p)
{
    struct plane_link *k = calloc(1, sizeof(*k));

    if (k == NULL)
        return -ENOMEM;
    k->p = p;
    k->index = p->nlinks;
    loop_timer_init(&k->retry, plane_on_retry);
    p->links[p->nlinks++] = k;
    loop_timer_start(p->loop, &k->retry, 0);
    return 0;
}

static void
plane_drop_link(struct plane *p)
{
    struct plane_link *k = p->links[--p->nlinks];

    p->links[p->nlinks] = NULL;
    loop_timer_stop(p->loop, &k->retry);
    plane_close(k);
    free(k);
}

/* ---- is it there? --------------------------------------------------------------------------- */

static void
plane_on_probed(void *user, const struct iscsi_reply *rep)
{
    struct plane_link *k = user;

    (void)rep; /* that there is no such session is the answer */
    k->probing = false;
}

static void
plane_probe(struct plane_link *k)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_GET_SESSION};

    if (k->probing)
        return;
    k->probing = ctl_request(k->ctl, &ev, NULL, 0, plane_on_probed, k) == 0;
    k->unasked = !k->probing;
    k->heard_ns = k->p->loop->now_ns; /* before, it had nothing to answer */
}

/* How long it has said nothing, though it was asked. */
static uint64_t
plane_silence(struct plane_link *k)
{
    const struct ctl_stats *stats = ctl_get_stats(k->ctl);
    uint64_t heard = stats->replies + stats->events, now = k->p->loop->now_ns;

    if (heard != k->heard || !k->probing) {
        if (k->silent)
            log_line(k->p->loop->log, LOG_LEVEL_WARN, "loop %u of the data plane answers again",
                     k->index);
        k->silent = false;
        k->heard = heard;
        k->heard_ns = now;
    }
    plane_probe(k);
    if (now - k->heard_ns < PLANE_SILENT_NS)
        return 0;
    if (!k->silent)
        log_line(k->p->loop->log, LOG_LEVEL_ERROR,
                 "loop %u of the data plane, process %ld, has not answered for %u s", k->index,
                 (long)k->p->pid, (unsigned)(PLANE_SILENT_NS / LOOP_NS_PER_S));
    k->silent = true;
    return now - k->heard_ns;
}

static void
plane_on_watch(struct loop_timer *t)
{
    struct plane *p = container_of(t, struct plane, watch);
    bool wanted = p->cfg.silent(p->cfg.user, 0, 0);

    for (unsigned i = 0; i < p->nlinks; i++) {
        uint64_t ns = p->links[i]->ctl != NULL ? plane_silence(p->links[i]) : 0;

        if (ns > 0)
            (void)p->cfg.silent(p->cfg.user, i, ns);
    }
    if (wanted)
        loop_timer_start(p->loop, t, PLANE_WATCH_NS);
}

void
plane_watch(struct plane *p)
{
    if (!loop_timer_running(&p->watch))
        loop_timer_start(p->loop, &p->watch, PLANE_WATCH_NS);
}

/* ---- for others ----------------------------------------------------------------------------- */

int
plane_start(struct plane *p, struct loop *loop, struct control *control,
            const struct plane_config *cfg, struct lunette_error *err)
{
    int r;

    *p = (struct plane){.loop = loop, .control = control, .cfg = *cfg};
    loop_timer_init(&p->watch, plane_on_watch);
    r = sock_addr_local(cfg->socket, strlen(cfg->socket), &p->at, err);
    if (r < 0)
        return r;
    r = plane_add_link(p);
    return r == 0 ? 0
                  : lunette_fail(err, r, LUNETTE_DOM_OS, ENOMEM, "no memory for the data plane");
}

void
plane_set_loops(struct plane *p, unsigned loops)
{
    if (loops > CONTROL_LOOPS_MAX)
        loops = CONTROL_LOOPS_MAX;
    while (p->nlinks > loops && p->nlinks > 1)
        plane_drop_link(p);
    while (p->nlinks < loops && plane_add_link(p) == 0)
        ;
}

void
plane_ask(struct plane *p)
{
    for (unsigned i = 0; i < p->nlinks; i++) {
        if (p->links[i]->ctl != NULL)
            plane_probe(p->links[i]);
    }
}

bool
plane_answers(const struct plane *p, unsigned index)
{
    const struct plane_link *k = index < p->nlinks ? p->links[index] : NULL;

    return k != NULL && k->ctl != NULL && !k->probing && !k->unasked;
}

bool
plane_is_silent(const struct plane *p, unsigned index)
{
    const struct plane_link *k = index < p->nlinks ? p->links[index] : NULL;

    return k != NULL && k->silent && k->probing;
}

bool
plane_is_up(const struct plane *p)
{
    for (unsigned i = 0; i < p->nlinks; i++) {
        if (p->links[i]->ctl == NULL)
            return false;
    }
    return p->nlinks > 0;
}

void
plane_end_process(struct plane *p)
{
    pid_t pid = plane_is_up(p) ? p->pid : p->child; /* one that has not come up yet is ours */

    p->stopping = true;
    if (p->cfg.program == NULL || pid <= 1)
        return;
    if (kill(pid, SIGTERM) < 0)
        log_line(p->loop->log, LOG_LEVEL_WARN, "the data plane, process %ld, cannot be ended: %s",
                 (long)pid, errno_text(errno));
}

void
plane_stop(struct plane *p)
{
    p->control = NULL;
    p->stopping = true;
    if (p->loop != NULL)
        loop_timer_stop(p->loop, &p->watch);
    while (p->nlinks > 0)
        plane_drop_link(p);
}
