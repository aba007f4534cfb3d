/* SPDX-License-Identifier: MIT */
#include "cmd/iscsid/start.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "iscsid/guard.h"

#define START_READY_FD 3
/* For a daemon that was just killed, which has its lock until the kernel is done with it. */
#define LOCK_WAIT_MS 3000
#define LOCK_POLL_MS 10

static int
start_fail(struct lunette_error *err, int errnum, const char *what, const char *path)
{
    return lunette_fail(err, -errnum, LUNETTE_DOM_OS, (uint32_t)errnum, "%s %s: %s", what, path,
                        errno_text(errnum));
}

int
start_folder(const char *path, char *ret, struct lunette_error *err)
{
    char part[START_PATH_MAX];
    size_t len = strlen(path);

    if (len >= sizeof(part))
        return start_fail(err, ENAMETOOLONG, "cannot use", path);
    for (size_t i = 1; i <= len; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        (void)snprintf(part, sizeof(part), "%.*s", (int)i, path);
        if (mkdir(part, 0700) < 0 && errno != EEXIST)
            return start_fail(err, errno, "cannot make", part);
    }
    if (realpath(path, part) == NULL)
        return start_fail(err, errno, "cannot use", path);
    memcpy(ret, part, strlen(part) + 1);
    return 0;
}

int
start_absolute(const char *path, char *ret, struct lunette_error *err)
{
    char here[START_PATH_MAX] = "";
    int n;

    if (path[0] != '/' && getcwd(here, sizeof(here)) == NULL)
        return start_fail(err, errno, "cannot tell from where to take", path);
    n = snprintf(ret, START_PATH_MAX, "%s%s%s", here, path[0] != '/' ? "/" : "", path);
    return n < START_PATH_MAX ? 0 : start_fail(err, ENAMETOOLONG, "cannot use", path);
}

/* Opens what is to be locked.  A file in a folder that may only be read can be locked, too; without
 * one, the folder. */
static int
lock_open(const char *folder, const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0 && (errno == EROFS || errno == EACCES || errno == EPERM)) {
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
            fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    return fd;
}

/* Was the file removed, or replaced, before it was locked?  Then the lock says nothing. */
static bool
lock_is_of(int fd, const char *path)
{
    struct stat is, named;

    if (fstat(fd, &is) < 0 || S_ISDIR(is.st_mode))
        return true;
    return stat(path, &named) == 0 && is.st_ino == named.st_ino && is.st_dev == named.st_dev;
}

static int
lock_held(const char *path, const char *folder, struct lunette_error *err)
{
    char pid[GUARD_PID_MAX];

    guard_holder(path, pid);
    return lunette_fail(err, -EBUSY, LUNETTE_DOM_USAGE, 0,
                        "another iscsid%s%s%s works for %s already; end it%s%s%s, or give this one "
                        "another --root",
                        pid[0] != '\0' ? ", process " : "", pid, pid[0] != '\0' ? "," : "", folder,
                        pid[0] != '\0' ? " (kill " : "", pid, pid[0] != '\0' ? ")" : "");
}

/* Locks the folder beside the file, for a daemon that may come when there is no file for it: the
 * folder may be one that is written to from elsewhere only.  The descriptor is kept until the
 * process ends.  Returns 0, also where folders have no locks, or EBUSY. */
static int
lock_folder(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;

    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0) {
        r = errno == EWOULDBLOCK ? EBUSY : 0;
        (void)close(fd);
    }
    return r;
}

/* Takes the lock of what is open.  Returns 0 or an errno: EWOULDBLOCK where somebody else has it,
 * EBUSY where somebody has that of the folder. */
static int
lock_both(int fd, const char *folder, const char *path, bool both)
{
    struct stat is;

    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return errno;
    if (!lock_is_of(fd, path))
        return EINTR;
    return !both || (fstat(fd, &is) == 0 && S_ISDIR(is.st_mode)) ? 0 : lock_folder(folder);
}

int
start_lock(const char *folder, const char *name, bool both, struct lunette_error *err)
{
    char path[START_PATH_MAX + 32];
    int fd, r;

    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    for (unsigned waited = 0;; waited += LOCK_POLL_MS) {
        fd = lock_open(folder, path);
        if (fd < 0)
            return start_fail(err, errno, "cannot open", path);
        r = lock_both(fd, folder, path, both);
        if (r == 0)
            break;
        if ((r == EWOULDBLOCK || r == EBUSY) && waited >= LOCK_WAIT_MS)
            r = lock_held(r == EBUSY || access(path, F_OK) < 0 ? folder : path, folder, err);
        else if (r != EWOULDBLOCK && r != EBUSY && r != EINTR)
            r = lunette_fail(
                err, -r, LUNETTE_DOM_OS, (uint32_t)r,
                "cannot lock %s: %s; without that two daemons could log in to the same "
                "targets and write over each other: use a file system with locks",
                path, errno_text(r));
        (void)close(fd);
        if (r < 0)
            return r;
        (void)usleep(LOCK_POLL_MS * 1000);
    }
    if (ftruncate(fd, 0) == 0)
        (void)dprintf(fd, "%ld\n", (long)getpid());
    return fd;
}

int
start_become(long uid, long gid, struct lunette_error *err)
{
    static const char *const of_user[] = {"HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME",
                                          "XDG_RUNTIME_DIR"};

    if (geteuid() == 0 && (gid >= 0 || uid > 0) && setgroups(0, NULL) < 0)
        return start_fail(err, errno, "cannot leave", "the groups of root for --uid and --gid");
    if (gid >= 0 && setgid((gid_t)gid) < 0)
        return start_fail(err, errno, "cannot become", "the group of --gid");
    if (uid >= 0 && (uid_t)uid != geteuid()) {
        if (setuid((uid_t)uid) < 0)
            return start_fail(err, errno, "cannot become", "the user of --uid");
        /* Where the instance is follows from the user, not from who has started us. */
        for (size_t i = 0; i < sizeof(of_user) / sizeof(of_user[0]); i++)
            (void)unsetenv(of_user[i]);
    }
    return 0;
}

/* In the parent: waits until the daemon is ready, or has ended, and ends as it says. */
static void
start_end_parent(int ready, pid_t daemon)
{
    int status = 0;
    char told = 0;

    while (read(ready, &told, 1) < 0 && errno == EINTR)
        ;
    if (told == 1)
        _exit(EXIT_SUCCESS);
    while (waitpid(daemon, &status, 0) < 0 && errno == EINTR)
        ;
    _exit(WIFEXITED(status) && WEXITSTATUS(status) != 0 ? WEXITSTATUS(status) : EXIT_FAILURE);
}

int
start_background(int *ret_ready, struct lunette_error *err)
{
    int pipes[2];
    pid_t pid;

    if (pipe2(pipes, O_CLOEXEC) < 0)
        return start_fail(err, errno, "cannot go to", "the background");
    pid = fork();
    if (pid < 0)
        return start_fail(err, errno, "cannot go to", "the background");
    if (pid > 0) {
        (void)close(pipes[1]);
        start_end_parent(pipes[0], pid);
    }
    (void)setsid();
    /* What the caller has open, such as a lock or a pipe, is not kept by a daemon that stays. */
    if (dup3(pipes[1], START_READY_FD, O_CLOEXEC) < 0 && pipes[1] != START_READY_FD)
        return start_fail(err, errno, "cannot go to", "the background");
    (void)close_range(START_READY_FD + 1, ~0u, 0);
    *ret_ready = START_READY_FD;
    return 0;
}

void
start_ready(int ready)
{
    int null;

    if (ready < 0)
        return;
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; null >= 0 && fd <= 2; fd++)
        (void)dup2(null, fd);
    if (null > 2)
        (void)close(null);
    if (chdir("/") < 0 || write(ready, "\1", 1) != 1)
        (void)fprintf(stderr, "iscsid: the parent is gone\n");
    (void)close(ready);
}

int
start_pid_file(const char *path, struct lunette_error *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);

    if (fd < 0 || dprintf(fd, "%ld\n", (long)getpid()) < 0) {
        int e = errno;

        if (fd >= 0)
            (void)close(fd);
        return start_fail(err, e, "cannot write", path);
    }
    (void)close(fd);
    return 0;
}

void
start_pid_file_remove(const char *path)
{
    char text[32] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;

    if (fd >= 0)
        (void)close(fd);
    if (n > 0 && strtol(text, NULL, 10) == (long)getpid())
        (void)unlink(path);
}

void
start_program(const char *name, char *ret)
{
    ssize_t n = readlink("/proc/self/exe", ret, START_PATH_MAX - 64);
    char *slash;

    ret[n > 0 ? n : 0] = '\0';
    slash = strrchr(ret, '/');
    if (slash != NULL) {
        (void)snprintf(slash + 1, 64, "%s", name);
        if (access(ret, X_OK) == 0)
            return;
    }
    (void)snprintf(ret, START_PATH_MAX, "%s", name);
}
