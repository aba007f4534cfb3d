/* SPDX-License-Identifier: MIT */
/* manage/manage.h - the server of the management API: JSON objects, one a line, over local sockets.
 *
 * It frames, checks and carries; what a request means is the business of its owner, who
 * gives a table of methods.  docs/api.md is what callers read.  All is bounded: callers,
 * lines, requests under way, what waits for a caller that does not read, and answers that
 * are remembered.  Only its own user and root may call.
 *
 * The loop's thread.  No method may free the server.
 */
#ifndef MANAGE_MANAGE_H
#define MANAGE_MANAGE_H

#include <jansson.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"
#include "manage/call.h"
#include "seam/loop.h"

struct manage_server;

#define MANAGE_LINE_MAX    (1u << 20)  /* bytes of a request */
#define MANAGE_WAITING_MAX (16u << 20) /* bytes that wait for one caller */

/* A method.  It answers call once, now or later.  params is an object or NULL, and borrowed for the
 * call.  members are the names of all parameters, with blanks between them; a request with another
 * one is refused, since a selection of which one member is not understood would be of too much.
 * NULL: all are let through. */
struct manage_method {
    const char *name;
    void (*fn)(void *user, struct manage_call *call, const json_t *params);
    const char *members;
};

/* Bounds; 0 stands for what is told behind it. */
struct manage_limits {
    unsigned peers_max;  /* callers; 512 */
    unsigned calls_max;  /* requests under way of each; 64 */
    unsigned under_way;  /* requests under way of all callers, and of those who have gone; 4096 */
    unsigned silence_ms; /* who was silent for so long, and waits for nothing, makes room; 1000 */
    unsigned tokens_max; /* answers that are remembered, and requests that will be; 1024 */
    size_t kept_max;     /* bytes of the former; 8 MiB */
    size_t waiting_max;  /* bytes that wait for a caller; MANAGE_WAITING_MAX */
    size_t event_max;    /* the same, beyond which events end a caller; 1 MiB */
};

struct manage_config {
    const struct manage_method *methods; /* ends with a NULL name; lives as long as the server */
    void *user;                          /* of all methods */
    uid_t uid;                           /* who may call, besides root */
    double (*unix_time)(void *user);     /* seconds since 1970, for events; NULL: they have none */
    struct manage_limits limits;
};

/* The loop and what config points to outlive the server.  Returns 0 or -ENOMEM. */
int manage_server_new(struct loop *l, const struct manage_config *config,
                      struct manage_server **ret);

/* Ends all callers, when what waits for them has been tried to send once.  Calls that are under way
 * must not be used afterwards.  *m becomes NULL; NULL is harmless. */
void manage_server_free(struct manage_server **m);

/* Takes s, the connected stream of a caller who runs as uid, pid.  A caller who may not call, or
 * for whom there is no room, is told so and ended. */
void manage_server_adopt(struct manage_server *m, struct stream *s, uid_t uid, pid_t pid);

/* Listens at a path, or at a listening descriptor that a service manager has handed over (path
 * NULL; fd is the server's after success).  May be called several times, for MANAGE_LISTEN_MAX
 * sockets. Returns 0 or -errno, with the reason. */
int manage_server_listen(struct manage_server *m, const char *path, int fd,
                         struct lunette_error *err);
#define MANAGE_LISTEN_MAX 4

/* Tells all callers who have asked for events: {"event": name, "time": ..., members of what}.  what
 * is taken; NULL stands for no members. */
void manage_event(struct manage_server *m, const char *name, json_t *what);

/* Makes a request from inside the daemon, as its own user: another binding of the same methods,
 * such as an older protocol.  done is called once, maybe already inside this call: with {"result":
 * ...} or {"error": ...}, borrowed; or with NULL where the server is freed before.  It must not ask
 * again by itself, nor free the server.  params may be NULL, and is borrowed for the call. */
void manage_server_ask(struct manage_server *m, const char *method, const json_t *params,
                       void (*done)(void *user, const json_t *answer), void *user);

/* Whoever has asked with that user by manage_server_ask waits for nothing any more: done is not
 * called, and what is only read for him is given up (manage_call_on_gone). */
void manage_server_forget(struct manage_server *m, const void *user);

/* Callers that are connected, and bytes that wait for them; what ends in an orderly way waits until
 * there are none.  Either pointer may be NULL. */
void manage_server_load(const struct manage_server *m, unsigned *ret_peers, size_t *ret_waiting);

#endif
