/* SPDX-License-Identifier: MIT */
#include "cmd/common/service.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#if HAVE_SYSTEMD

#include <systemd/sd-daemon.h>

int
service_listener(void)
{
    int n = sd_listen_fds(1);

    if (n <= 0)
        return n < 0 && n != -1 ? n : -1;
    return n == 1 ? SD_LISTEN_FDS_START : -E2BIG;
}

void
service_tell(const char *state)
{
    (void)sd_notify(0, state);
}

uint32_t
service_watchdog_ms(void)
{
    uint64_t usec = 0;

    if (sd_watchdog_enabled(0, &usec) <= 0)
        return 0;
    return usec / 1000 < UINT32_MAX ? (uint32_t)(usec / 1000) : UINT32_MAX;
}

#else

uint32_t
service_watchdog_ms(void)
{
    return 0;
}

int
service_listener(void)
{
    return -1;
}

void
service_tell(const char *state)
{
    (void)state;
}

#endif

void
service_end_within(uint32_t ms, const struct log *log, const char *name)
{
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

    while (nanosleep(&left, &left) < 0 && errno == EINTR)
        ;
    log_line(log, LOG_LEVEL_ERROR,
             "%s has not come to its end within %u ms, since a thread hangs: it ends as it is",
             name, ms);
    _exit(EXIT_FAILURE);
}

/* Tells whether stderr is what the service manager says that the journal reads. */
static bool
stderr_is_journal(void)
{
    const char *text = getenv("JOURNAL_STREAM");
    uintmax_t dev, ino;
    struct stat st;

    return text != NULL && sscanf(text, "%" SCNuMAX ":%" SCNuMAX, &dev, &ino) == 2 &&
           fstat(2, &st) == 0 && st.st_dev == dev && st.st_ino == ino;
}

void
service_log(void *user, enum log_level level, const char *line)
{
    static const int priorities[] = {
        [LOG_LEVEL_ERROR] = 3, [LOG_LEVEL_WARN] = 4, [LOG_LEVEL_INFO] = 6, [LOG_LEVEL_DEBUG] = 7};

    if (stderr_is_journal())
        (void)fprintf(stderr, "<%d>%s\n", priorities[level], line);
    else
        (void)fprintf(stderr, "%s: %s\n", (const char *)user, line);
}
