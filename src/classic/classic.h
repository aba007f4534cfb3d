/* SPDX-License-Identifier: MIT */
/* classic/classic.h - the server of open-iscsi's management socket: one request on a connection,
 * and its reply.
 *
 * It frames, checks and carries; what a request means is its owner's business.  All is bounded:
 * callers, what they send, and the time that they take for it.  Only its own user and root may
 * call.  The loop's thread.
 */
#ifndef CLASSIC_CLASSIC_H
#define CLASSIC_CLASSIC_H

#include <sys/types.h>

#include "classic/form.h"
#include "seam/loop.h"

/* The abstract name, without the NUL before it. */
#define CLASSIC_SOCKET_NAME "ISCSIADM_ABSTRACT_NAMESPACE"

struct classic_server;
struct classic_caller;

struct classic_config {
    /* A request has come, which is borrowed for the call.  It is answered once by classic_answer,
     * now or later. */
    void (*request)(void *user, struct classic_caller *c, const struct classic_request *rq);
    void *user;
    uid_t uid;            /* who may call, besides root */
    unsigned callers_max; /* who were not answered yet; 0: 4096 */
    unsigned reading_max; /* of which so many may not have sent their request yet; 0: 64 */
    uint32_t timeout_ms;  /* for a request to come; 0: 5000 */
};

/* The loop outlives the server; cfg is copied.  Returns 0 or -ENOMEM. */
int classic_server_new(struct loop *l, const struct classic_config *cfg,
                       struct classic_server **ret);

/* Closes all connections and sets *s to NULL; NULL is harmless.  Callers that were not answered
 * must not be used afterwards. */
void classic_server_free(struct classic_server **s);

/* Listens at the abstract name, of which each network namespace has its own; where it listens
 * already, it goes on.  Returns 0 or -errno with the reason. */
int classic_server_listen(struct classic_server *s, struct lunette_error *err);

/* Takes the connected stream of a caller who runs as uid. */
void classic_server_adopt(struct classic_server *s, struct stream *stream, uid_t uid);

/* Sends the reply and forgets c; harmless where the caller has gone meanwhile. */
void classic_answer(struct classic_caller *c, const struct classic_reply *rep);

/* Callers who were not answered yet; what those have asked for who have gone meanwhile goes on. */
unsigned classic_server_callers(const struct classic_server *s);

#endif
