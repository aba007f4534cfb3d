/* SPDX-License-Identifier: MIT */
/* manage/peer.h - one end of a connection that carries lines: bytes in become lines, lines out
 * become bytes.  It knows nothing of JSON.  The loop's thread.
 *
 * Both directions are bounded: a line that does not end, and an other end that does not read, both
 * end the connection.  What is sent during a turn of the loop leaves at its end.
 */
#ifndef MANAGE_PEER_H
#define MANAGE_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/list.h"
#include "seam/loop.h"

struct manage_peer;

/* What the owner of a peer is told.  line is called with a line without its newline, borrowed for
 * the call; an empty one is not told.  gone is called once, never from within manage_peer_send, and
 * the peer is not used by this code afterwards: the owner frees it then or later.  why says who
 * ended it and why, as half a sentence.  Within line the owner may send and call manage_peer_end,
 * but must not free the peer. */
struct manage_peer_ops {
    void (*line)(struct manage_peer *p, const char *text, size_t len);
    void (*gone)(struct manage_peer *p, const char *why);
};

struct manage_buf {
    char *data;
    size_t at, end, size; /* data[at..end) is what waits */
};

struct manage_peer {
    struct list node; /* the owner's */
    const struct manage_peer_ops *ops;
    void *user;
    uid_t uid; /* of the other end */
    pid_t pid;
    bool subscribed;    /* the owner's: wants events */
    unsigned calls;     /* the owner's: requests under way */
    uint64_t active_ns; /* when the last line came or left */

    struct loop *loop;
    struct stream *s;
    size_t line_max, waiting_max; /* bytes */
    struct manage_buf in, out;
    struct loop_work work; /* sends what waits, or tells that the peer is gone */
    bool in_line, stuck, told;
    const char *ended; /* why no more is received or sent, or NULL */
};

/* Takes s, a connected stream.  line_max bounds the bytes of a line that comes; waiting_max those
 * that wait to be sent, but one line of any length may wait alone.  uid and pid become the peer's.
 * Returns 0, or -ENOMEM and s stays the caller's. */
int manage_peer_new(struct loop *l, struct stream *s, size_t line_max, size_t waiting_max,
                    const struct manage_peer_ops *ops, void *user, struct manage_peer **ret);

/* Sends what can be sent at once, closes the stream and frees *p, which becomes NULL; NULL is
 * harmless. */
void manage_peer_free(struct manage_peer **p);

/* Sends text[0..len) and a newline, which is copied.  Where it cannot, since too much waits or
 * memory is short, the peer ends soon. */
void manage_peer_send(struct manage_peer *p, const char *text, size_t len);

/* Bytes that wait to be sent. */
size_t manage_peer_waiting(const struct manage_peer *p);

/* Ends the connection when what waits has been tried to send once; gone is told later in this turn.
 * why lives for ever.  Does nothing for a peer that has ended. */
void manage_peer_end(struct manage_peer *p, const char *why);

#endif
