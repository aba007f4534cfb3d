/* SPDX-License-Identifier: MIT */
/* The daemon: found by the path of its socket, and started where none answers there. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "cmd/iscsiadm/adm.h"
#include "loop/loop.h"

#define CONNECT_MS   10000
#define START_MS     15000 /* until a daemon that was started answers */
#define START_GAP_MS 20
#define SAID_MAX     400 /* bytes of what a daemon said before it died */

extern char **environ;

/* The iscsid beside this program, that of the sbin folder beside its own, which not everybody has
 * in PATH, or else that of PATH. */
static const char *
daemon_program(char *buf, size_t size)
{
    static const char *const places[] = {"iscsid", "../sbin/iscsid"};
    ssize_t n = readlink("/proc/self/exe", buf, size);
    char *slash;
    size_t room;

    if (n <= 0 || (size_t)n >= size)
        return "iscsid";
    buf[n] = '\0';
    slash = strrchr(buf, '/');
    if (slash == NULL)
        return "iscsid";
    room = size - (size_t)(slash + 1 - buf);
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        if (strlen(places[i]) >= room)
            continue;
        (void)memcpy(slash + 1, places[i], strlen(places[i]) + 1);
        if (access(buf, X_OK) == 0)
            return buf;
    }
    return "iscsid";
}

/* Its standard output must not be ours, for which a shell may wait; what it says on standard error
 * before it has detached is kept in `said`. */
static int
spawn_daemon(const char *program, const struct instance *at, int said, pid_t *ret)
{
    char *argv[] = {(char *)(uintptr_t)program, (char *)(uintptr_t)at->which[0],
                    (char *)(uintptr_t)at->which[1], NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none;
    int r;

    (void)sigemptyset(&none);
    r = posix_spawn_file_actions_init(&files);
    if (r != 0)
        return -r;
    r = posix_spawnattr_init(&attr);
    if (r != 0) {
        (void)posix_spawn_file_actions_destroy(&files);
        return -r;
    }
    (void)posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    (void)posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
    if (said >= 0)
        (void)posix_spawn_file_actions_adddup2(&files, said, 2);
    else
        (void)posix_spawn_file_actions_addopen(&files, 2, "/dev/null", O_WRONLY, 0);
    (void)posix_spawnattr_setsigmask(&attr, &none);
    (void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK);
    r = posix_spawnp(ret, program, &files, &attr, argv, environ);
    (void)posix_spawnattr_destroy(&attr);
    (void)posix_spawn_file_actions_destroy(&files);
    return -r;
}

static int
try_connect(struct adm *adm, const char *path, struct lunette_error *err)
{
    return manage_client_connect(adm->loop, path, geteuid(), CONNECT_MS, &adm->client, err);
}

static bool
no_daemon(int r)
{
    return r == -ENOENT || r == -ECONNREFUSED;
}

/* Says why a daemon that was started is not there: its own last words, where it has any. */
static int
start_failed(const struct adm *adm, const char *program, const char *path, int said, bool ended,
             int status)
{
    char words[SAID_MAX] = "", text[SAID_MAX], options[INSTANCE_OPTIONS_MAX];
    ssize_t n = said >= 0 ? pread(said, words, sizeof(words) - 1, 0) : 0;

    words[n > 0 ? n : 0] = '\0';
    words[strcspn(words, "\n")] = '\0';
    (void)log_clean(text, sizeof(text), words, strlen(words));
    if (!ended)
        adm_error("%s was started, but does not answer at %s for %d s", program, path,
                  START_MS / 1000);
    else if (WIFEXITED(status))
        adm_error("%s was started and ended with status %d%s%s", program, WEXITSTATUS(status),
                  text[0] != '\0' ? ": " : "", text);
    else
        adm_error("%s was started and killed by signal %d", program, WTERMSIG(status));
    adm_error("start it by hand to see why: iscsid -f%s", instance_options(&adm->at, options));
    return MANAGE_DAEMON_NOT_FOUND;
}

/* Waits until the daemon answers, or has failed.  One that another program has started meanwhile is
 * as good: so a daemon that ends is waited for a little longer. */
static int
await_daemon(struct adm *adm, const char *program, const char *path, pid_t pid, int said)
{
    const struct timespec gap = {.tv_nsec = START_GAP_MS * 1000000l};
    int status = 0, left = START_MS / START_GAP_MS, r = -ENOENT;
    struct lunette_error err;
    bool ended = false;

    while (left-- > 0) {
        r = try_connect(adm, path, &err);
        if (!no_daemon(r))
            break;
        if (!ended && waitpid(pid, &status, WNOHANG) == pid) {
            ended = true;
            /* Success is what remains of a daemon that has detached itself. */
            if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
                left = left < 50 ? left : 50;
        }
        (void)nanosleep(&gap, NULL);
    }
    if (r == 0)
        return 0;
    if (no_daemon(r))
        return start_failed(adm, program, path, said, ended, status);
    adm_error("%s", err.msg);
    return MANAGE_DAEMON_LOST;
}

static int
start_daemon(struct adm *adm, const char *path)
{
    char buf[INSTANCE_PATH_MAX], options[INSTANCE_OPTIONS_MAX];
    const char *program = daemon_program(buf, sizeof(buf));
    int said = memfd_create("iscsid-says", MFD_CLOEXEC), r;
    pid_t pid;

    r = spawn_daemon(program, &adm->at, said, &pid);
    if (r < 0) {
        adm_error("no iscsid runs, and %s cannot be started: %s", program, strerror(-r));
        adm_error("start it by hand (iscsid%s), or install it beside iscsiadm",
                  instance_options(&adm->at, options));
        r = MANAGE_DAEMON_NOT_FOUND;
    } else {
        r = await_daemon(adm, program, path, pid, said);
    }
    if (said >= 0)
        (void)close(said);
    return r;
}

int
adm_connect(struct adm *adm)
{
    char path[INSTANCE_PATH_MAX + 16], options[INSTANCE_OPTIONS_MAX];
    struct lunette_error err;
    int r;

    if (adm->client != NULL)
        return 0;
    (void)snprintf(path, sizeof(path), "%s/iscsid.sock", adm->at.run);
    if (loop_new(NULL, &adm->loop, &err) < 0) {
        adm_error("%s", err.msg);
        return MANAGE_INTERNAL;
    }
    r = try_connect(adm, path, &err);
    if (r == 0)
        return 0;
    if (no_daemon(r) && !adm->args.no_start)
        return start_daemon(adm, path);
    adm_error("%s", err.msg);
    if (no_daemon(r) && adm->args.kill)
        adm_error("no daemon runs there: there is nothing to end");
    else if (no_daemon(r))
        adm_error("no daemon runs there; start it (iscsid%s), or leave --no-start out",
                  instance_options(&adm->at, options));
    else if ((r == -EACCES || r == -EPERM) && err.domain == LUNETTE_DOM_CONNECT)
        adm_error("only its own user and root may use it; for a daemon of your own take another "
                  "--root or --instance");
    return r == -EACCES || r == -EPERM ? MANAGE_ACCESS : MANAGE_DAEMON_NOT_FOUND;
}
