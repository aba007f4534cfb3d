/* SPDX-License-Identifier: MIT */
#include "cmd/lunette/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STOP_STEPS 500 /* of 10 ms */

/* posix_spawn does not change argv, although its type allows it. */
union words {
    const char *const *in;
    char *const *out;
};

int
child_start(const char *const *argv, const char *dir, pid_t *ret, int *ret_out)
{
    posix_spawn_file_actions_t fa;
    union words words = {.in = argv};
    int out[2] = {-1, -1};

    if (ret_out != NULL && pipe2(out, O_CLOEXEC) < 0)
        return -errno;
    fflush(NULL);
    int r = posix_spawn_file_actions_init(&fa);
    if (r == 0) {
        r = posix_spawn_file_actions_addchdir_np(&fa, dir);
        if (r == 0)
            r = posix_spawn_file_actions_addopen(&fa, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
        if (r == 0 && ret_out != NULL)
            r = posix_spawn_file_actions_adddup2(&fa, out[1], STDOUT_FILENO);
        if (r == 0)
            r = posix_spawnp(ret, argv[0], &fa, NULL, words.out, environ);
        posix_spawn_file_actions_destroy(&fa);
    }
    if (ret_out != NULL) {
        close(out[1]);
        if (r == 0)
            *ret_out = out[0];
        else
            close(out[0]);
    }
    return -r;
}

static int
code_of(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int
child_wait(pid_t pid)
{
    int status = 0;

    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            return -errno;
    }
    return code_of(status);
}

int
child_stop(pid_t pid)
{
    int status = 0;

    kill(pid, SIGTERM);
    for (int i = 0; i < STOP_STEPS; i++) {
        pid_t p = waitpid(pid, &status, WNOHANG);
        if (p == pid)
            return code_of(status);
        if (p < 0 && errno != EINTR)
            return -errno;
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    kill(pid, SIGKILL);
    return child_wait(pid);
}
