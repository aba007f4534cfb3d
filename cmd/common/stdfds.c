/* SPDX-License-Identifier: MIT */
#include "cmd/common/stdfds.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

int
stdfds_open(void)
{
    /* The wrong direction for 0 and 1: a command whose input or output is missing has to say so. */
    static const int modes[] = {O_WRONLY, O_RDONLY, O_WRONLY};

    for (int fd = 0; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF)
            continue;
        if (open("/dev/null", modes[fd]) < 0) /* the lowest number that is free is fd */
            return -errno;
    }
    return 0;
}

int
stdfds_room(unsigned n)
{
    int fds[STDFDS_ROOM_MAX], r = 0;
    unsigned i = 0;

    for (; i < n && i < STDFDS_ROOM_MAX; i++) {
        fds[i] = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
        if (fds[i] < 0) {
            r = -errno;
            break;
        }
    }
    while (i > 0)
        (void)close(fds[--i]);
    return r;
}

void
stdfds_raise(void)
{
    struct rlimit l;

    if (getrlimit(RLIMIT_NOFILE, &l) < 0 || l.rlim_cur >= l.rlim_max)
        return;
    l.rlim_cur = l.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &l);
}

int
stdfds_shown(const char *program)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return EXIT_SUCCESS;
    (void)fprintf(stderr, "%s: standard output cannot be written: %s\n", program, strerror(errno));
    return EXIT_FAILURE;
}
