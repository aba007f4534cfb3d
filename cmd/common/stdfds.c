/* SPDX-License-Identifier: MIT */
#include "cmd/common/stdfds.h"

#include <errno.h>
#include <fcntl.h>
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
