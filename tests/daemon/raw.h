/* SPDX-License-Identifier: MIT */
/* tests/daemon/raw.h - a client that sends whatever packets it likes (ipc/socket.h says what good
 * ones look like). */
#ifndef TESTS_DAEMON_RAW_H
#define TESTS_DAEMON_RAW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "seam/ipc.h"

/* A connected descriptor, or -errno. */
int raw_connect(const char *path);

/* Sends a packet, with a copy of fd where that is not -1.  0, or -errno; with flags as of send(2).
 */
int raw_send(int s, const void *p, size_t len, int fd, int flags);

/* Sends a request with that many bytes of data, in one packet.  0, or -errno. */
int raw_request(int s, struct iscsi_uevent *ev, const void *data, uint32_t len, int fd, int flags);

/* Waits for a reply, for 10 s: its err; -EPIPE where the connection is closed before. */
int raw_reply(int s, struct iscsi_reply *ret);

/* HELLO for a loop, and its answer. */
int raw_hello(int s, uint32_t loop);

#endif
