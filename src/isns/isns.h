/* SPDX-License-Identifier: MIT */
/* isns/isns.h - a client of iSNS (RFC 4171): asks a server for targets, and registers with it to be
 * told when they change.
 *
 * Each message has a connection of its own, so that a server that was started anew is no
 * special case.  On the thread of the loop; callbacks are made from the loop, never from
 * inside a call of this header.
 */
#ifndef ISNS_ISNS_H
#define ISNS_ISNS_H

#include "base/addr.h"
#include "base/err.h"
#include "isns/message.h"
#include "seam/loop.h"

#define ISNS_TCP_PORT 3205 /* RFC 4171 2.2 */

struct isns_config {
    struct portal server;
    char source[ISCSI_NAME_MAX + 1]; /* the initiator that asks */
    struct stream_opts sock;
    uint32_t timeout_ms; /* of one message with its answer; 0: 10 s */
};

/* ---- a question ----------------------------------------------------------------------------- */

struct isns_query;

/* Asks for all targets that the initiator may know.  A server that only answers whom it knows gets
 * the initiator registered first, and deregistered at the end.
 *
 * done is called once: with what was found, which the callee owns; or with NULL and err.  Of err,
 * the domain is CONNECT or TIMEOUT where the server does not answer, PROTO with -EPROTO where it
 * breaks the protocol, and NOTFOUND with -EREMOTEIO where it refuses, detail: its status.  The
 * query has to be freed after that.
 * Returns 0, or -errno with *err. */
int isns_query(struct loop *l, const struct isns_config *cfg,
               void (*done)(void *user, struct isns_targets *found,
                            const struct lunette_error *err),
               void *user, struct isns_query **ret, struct lunette_error *err);
/* Frees it at any time, also inside done; *q may be NULL, and is set to it. */
void isns_query_free(struct isns_query **q);

/* ---- a registration ------------------------------------------------------------------------- */

struct isns_registration;

struct isns_registration_events {
    /* Something has changed, or may have: the targets are to be asked for.  It is called when the
     * registration has succeeded, and then at most once each second. */
    void (*changed)(void *user);
    /* The registration has failed, and is tried again later.  It is called for the first failure
     * after a success, or at the beginning. */
    void (*failed)(void *user, const struct lunette_error *err);
};

/* Registers the initiator with a portal at which it listens, and asks to be told of changes (SCN);
 * answers the server's inquiries (ESI), and registers anew before the server would forget it.
 * Returns 0, or -ENOMEM with *err. */
int isns_register(struct loop *l, const struct isns_config *cfg,
                  const struct isns_registration_events *ev, void *user,
                  struct isns_registration **ret, struct lunette_error *err);

/* Ends it: the initiator is deregistered, and done (may be NULL) is called when that is done or has
 * failed.  No event is told any more. */
void isns_deregister(struct isns_registration *g, void (*done)(void *user), void *user);
/* Ends and frees it at once, without a word to the server; also after isns_deregister, whose done
 * is then not called.  *g may be NULL, and is set to it. */
void isns_registration_free(struct isns_registration **g);

#endif
