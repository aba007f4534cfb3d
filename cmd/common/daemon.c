/* SPDX-License-Identifier: MIT */
#include "cmd/common/daemon.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "cmd/common/service.h"

int
daemon_listener(const char *path, struct sock_addr *at, const struct sock_addr **ret_at,
                int *ret_fd, struct lunette_error *err)
{
    int r;

    *ret_at = NULL;
    *ret_fd = service_listener();
    if (*ret_fd >= 0)
        return 0;
    if (*ret_fd != -1)
        return lunette_fail(err, *ret_fd, LUNETTE_DOM_USAGE, 0,
                            *ret_fd == -E2BIG
                                ? "the service manager has handed over several sockets: one is "
                                  "wanted%s"
                                : "what the service manager has handed over: %s",
                            *ret_fd == -E2BIG ? "" : errno_text(-*ret_fd));
    if (path == NULL)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "where to listen is not known: --socket PATH");
    r = sock_addr_local(path, strlen(path), at, err);
    if (r == 0)
        *ret_at = at;
    return r;
}

static void
ending_signals(sigset_t *set)
{
    (void)sigemptyset(set);
    (void)sigaddset(set, SIGTERM);
    (void)sigaddset(set, SIGINT);
}

void
daemon_set_signals(void)
{
    sigset_t set;

    (void)signal(SIGPIPE, SIG_IGN);
    ending_signals(&set);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/* This thread, the only one that does not block the signals after the first, has to stay for the
 * second one.  Each loop ends within a time of its own; where one hangs, the process ends without
 * it. */
static void *
daemon_watch_main(void *arg)
{
    const struct daemon_watched *w = arg;
    sigset_t set;
    int sig;

    ending_signals(&set);
    if (sigwait(&set, &sig) != 0)
        return NULL;
    (void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    service_tell("STOPPING=1");
    w->stop(w->user);
    service_end_within(w->end_ms, w->log, w->name);
    for (;;)
        (void)pause();
}

int
daemon_watch(const struct daemon_watched *w, struct lunette_error *err)
{
    pthread_t watcher;
    int r = pthread_create(&watcher, NULL, daemon_watch_main, (void *)(uintptr_t)w);

    if (r != 0)
        return lunette_fail(err, -r, LUNETTE_DOM_OS, (uint32_t)r, "cannot watch signals: %s",
                            errno_text(r));
    (void)pthread_detach(watcher);
    return 0;
}
