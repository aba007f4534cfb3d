/* SPDX-License-Identifier: MIT */
#include "tests/daemon/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/daemon/plane.h"

#define CHILDREN_MAX 16
#define ARGS_MAX     80

static char folder[] = "/tmp/lunette-daemon-XXXXXX";
static pid_t owner, children[CHILDREN_MAX]; /* 0: none */
static int ready_fd = -1;
static pid_t last_target;

static void
process_clean(void)
{
    if (getpid() != owner)
        return;
    for (unsigned i = 0; i < CHILDREN_MAX; i++) {
        if (children[i] > 0) {
            (void)kill(children[i], SIGKILL);
            (void)waitpid(children[i], NULL, 0);
        }
    }
    (void)unlink("iod");
    (void)unlink("nbd0");
    (void)unlink("nbd1");
    (void)unlink("plain");
    (void)rmdir(folder);
}

void
process_begin(void)
{
    owner = getpid();
    PLANE_CHECK(mkdtemp(folder) != NULL && chdir(folder) == 0);
    (void)signal(SIGPIPE, SIG_IGN);
    PLANE_CHECK(atexit(process_clean) == 0);
}

static pid_t
process_note(pid_t pid)
{
    unsigned i = 0;

    while (i < CHILDREN_MAX && children[i] != 0)
        i++;
    PLANE_CHECK(pid > 0 && i < CHILDREN_MAX);
    children[i] = pid;
    return pid;
}

static void
process_exec(const char *name, const char *const *args)
{
    const char *bin = getenv("LUNETTE_BIN");
    char path[4096];

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)snprintf(path, sizeof(path), "%s/%s", bin != NULL ? bin : ".", name);
    (void)execv(path, (char *const *)(uintptr_t)args);
    _exit(127);
}

uint16_t
process_target(unsigned disks)
{
    const char *args[ARGS_MAX] = {"lunette-target", "--listen", "127.0.0.1:0", "--target",
                                  DAEMON_TARGET};
    unsigned n = 5, port = 0;
    int out[2];
    pid_t pid;
    FILE *f;

    for (unsigned i = 0; i < disks; i++) {
        args[n++] = "--lun";
        args[n++] = "ram:16M,wce=1";
    }
    PLANE_CHECK(n < ARGS_MAX && pipe(out) == 0);
    pid = fork();
    if (pid == 0) {
        (void)dup2(out[1], STDOUT_FILENO);
        (void)close(out[0]);
        (void)close(out[1]);
        process_exec(args[0], args);
    }
    last_target = process_note(pid);
    (void)close(out[1]);
    f = fdopen(out[0], "r");
    PLANE_CHECK(f != NULL && fscanf(f, "listening on 127.0.0.1:%u", &port) == 1);
    (void)fclose(f);
    return (uint16_t)port;
}

pid_t
process_last_target(void)
{
    return last_target;
}

pid_t
process_iod(const char *const *args)
{
    const char *all[ARGS_MAX] = {"iscsi-iod", "--socket", "iod"};
    unsigned n = 3;
    pid_t pid;

    while (*args != NULL && n + 1 < ARGS_MAX)
        all[n++] = *args++;
    pid = fork();
    if (pid == 0)
        process_exec(all[0], all);
    return process_note(pid);
}

pid_t
process_fork(void (*fn)(void *user), void *user)
{
    int ready[2];
    char c = 0;
    pid_t pid;

    PLANE_CHECK(pipe(ready) == 0);
    pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)close(ready[0]);
        ready_fd = ready[1];
        fn(user);
        exit(0);
    }
    (void)process_note(pid);
    (void)close(ready[1]);
    PLANE_CHECK(read(ready[0], &c, 1) == 1);
    (void)close(ready[0]);
    return pid;
}

void
process_say_ready(void)
{
    PLANE_CHECK(write(ready_fd, "r", 1) == 1);
    (void)close(ready_fd);
}

int
process_end(pid_t pid, int signal)
{
    int status = 0;

    PLANE_CHECK(signal == 0 || kill(pid, signal) == 0);
    for (int i = 0; i < 3000; i++) {
        pid_t r = waitpid(pid, &status, WNOHANG);

        if (r == pid) {
            for (unsigned c = 0; c < CHILDREN_MAX; c++)
                children[c] = children[c] == pid ? 0 : children[c];
            return status;
        }
        (void)nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    PLANE_FAIL("process %d does not end", (int)pid);
}
