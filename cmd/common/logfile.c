/* SPDX-License-Identifier: MIT */
#include "cmd/common/logfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static struct {
    const char *path; /* NULL: none that could have another name */
    size_t size;      /* bytes in it, as far as we know */
    pthread_mutex_t lock;
} file = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* The descriptor of standard error becomes that of the file in one step, so that a thread which
 * writes meanwhile finds either. */
static int
logfile_take(void)
{
    int fd = open(file.path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    struct stat st;
    int r = 0;

    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) < 0 || dup2(fd, STDERR_FILENO) < 0)
        r = -errno;
    else if (!S_ISREG(st.st_mode))
        file.path = NULL; /* a device does not grow, and is everybody's */
    else
        file.size = (size_t)st.st_size;
    (void)close(fd);
    return r;
}

/* Where that does not work, all goes on in the file that there is, and it is tried again after as
 * many bytes more: a loop must not be busy with a file.  What is not at its place has been removed
 * by somebody, or has its other name already. */
static void
logfile_turn(void)
{
    char old[PATH_MAX];
    int n = snprintf(old, sizeof(old), "%s.1", file.path);

    file.size = 0;
    if (n > 0 && (size_t)n < sizeof(old) && (rename(file.path, old) == 0 || errno == ENOENT))
        (void)logfile_take();
}

int
logfile_open(const char *path)
{
    int r;

    file.path = path;
    r = logfile_take();
    if (r < 0)
        file.path = NULL;
    else if (file.path != NULL && file.size >= LOGFILE_MAX)
        logfile_turn();
    return r;
}

void
logfile_begin(void)
{
    (void)pthread_mutex_lock(&file.lock);
}

void
logfile_end(size_t len)
{
    if (file.path != NULL) {
        file.size += len;
        if (file.size >= LOGFILE_MAX)
            logfile_turn();
    }
    (void)pthread_mutex_unlock(&file.lock);
}
