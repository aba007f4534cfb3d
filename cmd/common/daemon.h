/* SPDX-License-Identifier: MIT */
/* cmd/common/daemon.h - what daemons with loops on threads have in common: where they listen, and
 * the signals that end them. */
#ifndef CMD_COMMON_DAEMON_H
#define CMD_COMMON_DAEMON_H

#include "base/addr.h"
#include "base/err.h"
#include "base/log.h"

/* Where to listen: at the socket that a service manager has handed over (*ret_fd; *ret_at NULL),
 * else at the path, for which *ret_at is *at; path NULL: none was given.  Returns 0, or -errno with
 * *err. */
int daemon_listener(const char *path, struct sock_addr *at, const struct sock_addr **ret_at,
                    int *ret_fd, struct lunette_error *err);

/* Sets signals as such a daemon wants them; before there are threads.  Whoever reads our stderr may
 * go away, and SIGTERM and SIGINT wait for daemon_watch. */
void daemon_set_signals(void);

struct daemon_watched {
    void (*stop)(void *user); /* called once, on a thread of its own, at the first such signal */
    void *user;
    uint32_t end_ms; /* the process ends after so long, whatever its threads do */
    const struct log *log;
    const char *name; /* of what ends: "the data plane" */
};

/* Waits for SIGTERM and SIGINT on a thread; a second one ends the process as it always does.  w is
 * borrowed for good.  Returns 0, or -errno with *err. */
int daemon_watch(const struct daemon_watched *w, struct lunette_error *err);

#endif
