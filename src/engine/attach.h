/* SPDX-License-Identifier: MIT */
/* engine/attach.h - one client of an engine: what it asks for on its socket, and the memory that it
 * shares.
 *
 * A client says HELLO, sends the descriptors of its memory and bells, and attaches; its sessions
 * then are its use of logins of the engine (engine/login.h), and its commands come by its rings
 * (engine/command.h).  One that only asks for the tables (class admin) sends no descriptors.
 * Events flow from ENGINE_ATTACH on.
 *
 * Whatever a client does wrong on its socket is answered with an error; whatever it does wrong in
 * its rings ends its attachment, with the reason in the log.  When it is gone its commands are
 * aborted, and what it has shared stays mapped until the hosts have given the last one back.
 *
 * Everything runs on the loop of the site.
 */
#ifndef ENGINE_ATTACH_H
#define ENGINE_ATTACH_H

#include "engine/login.h"
#include "seam/ipc.h"

#define ENGINE_CLIENTS_MAX 256 /* of one loop, with those that are gone and still have commands */
#define ENGINE_EVENTS_MAX  64  /* that wait for a client that does not take them */

struct engine_attach;

/* What the clients of one loop have in common.  Whoever makes it fills in the first part, and calls
 * engine_site_init. */
struct engine_site {
    struct loop *loop;
    struct engine_flash *flash;
    struct engine_logins *logins;
    uint32_t index, loops; /* this loop, and how many the process has */
    bool fixed;            /* a client cannot add to the table of targets */
    uint32_t pid;
    const char *version;
    /* Called, later, when the last client and all that it has left is gone.  May be NULL. */
    void (*empty)(void *user);
    void *user;

    struct list shares;      /* engine/share.h */
    struct list attachments; /* those that are gone included */
    uint32_t nattachments;
    uint64_t generations;
    struct log_limit broken; /* of clients that broke the rules, in the log */
};

struct engine_attach_config {
    /* The client has broken the rules of its rings: its connection is to be closed.  Called once,
     * from the loop; engine_attach_leave may be called inside. */
    void (*close)(void *user, const struct lunette_error *why);
    void *user;
    uint32_t client_pid, client_uid; /* for the log */
};

/* Serves a client; the server is a struct engine_attach. */
extern const struct ipc_server_ops engine_attach_ops;

void engine_site_init(struct engine_site *s);
/* 0; -EAGAIN: there are ENGINE_CLIENTS_MAX; -ENOMEM. */
int engine_attach_new(struct engine_site *s, const struct engine_attach_config *cfg,
                      struct engine_attach **ret);
/* How to talk back; before the first request.  *client is copied. */
void engine_attach_set_client(struct engine_attach *a, const struct ipc_client *client);
/* The client is gone, or is sent away: nothing is told to it any more, and the attachment ends by
 * itself. */
void engine_attach_leave(struct engine_attach *a);

#endif
