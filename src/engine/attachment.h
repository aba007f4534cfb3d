/* SPDX-License-Identifier: MIT */
/* engine/attachment.h - what the parts of engine/attach.h share. */
#ifndef ENGINE_ATTACHMENT_H
#define ENGINE_ATTACHMENT_H

#include "engine/attach.h"
#include "engine/command.h"
#include "wire/iscsi_params.h"

/* Events that the client has not taken, the oldest first, in a ring. */
struct engine_events {
    struct iscsi_kevent one[ENGINE_EVENTS_MAX];
    uint32_t first, count;
    uint64_t last; /* the number that was given last */
    struct loop_timer retry;
};

enum engine_session_phase {
    ENGINE_SESSION_NEW,
    ENGINE_SESSION_STARTED,  /* it uses a login */
    ENGINE_SESSION_STOPPING, /* its commands end, and then it is NEW, or gone */
};

/* A request that has no answer yet. */
struct engine_ask {
    bool there;
    enum iscsi_uevent_type type;
    uint64_t seq;
    uint16_t cid;
};

/* A client's session: its use of a login. */
struct engine_session {
    struct engine_member m;
    struct engine_use use;
    struct engine_attach *attach;
    enum engine_session_phase phase;
    bool login_told;             /* the event CONN_LOGIN_STATE of the last START_CONN is out */
    bool in_use;                 /* use is with the login */
    bool destroy;                /* it is gone when it has stopped */
    uint16_t cid;                /* of the last START_CONN */
    struct engine_ask stop, end; /* STOP_CONN and DESTROY_SESSION that wait for its commands */

    char target[ISCSI_NAME_MAX + 1], initiator[ISCSI_NAME_MAX + 1];
    struct portal portal; /* host "": not given */
    int32_t recovery_tmo; /* seconds; -2: not given */
};

struct engine_attach {
    struct list node; /* of the site */
    struct engine_site *site;
    struct engine_attach_config cfg;
    struct ipc_client client;
    uint64_t generation;
    bool greeted, gone;
    bool attached;
    enum ipc_engine_class class;
    int fd[IPC_ENGINE_FDS]; /* -1: has not come, or is not needed any more */
    void *region, *arena;   /* mapped while there is a lane */
    size_t region_size, arena_size;
    struct engine_lane *lane; /* NULL: no memory is shared */
    struct engine_session *session[ENGINE_SESSIONS_MAX];
    uint32_t nsessions;
    struct engine_events events;
    struct loop_work end; /* frees it */
};

/* Those of engine/events.c. */
void engine_events_init(struct engine_attach *a);
void engine_events_fini(struct engine_attach *a);
/* Gives ev its number, which is returned, and sends it now or later. */
uint64_t engine_events_send(struct engine_attach *a, struct iscsi_kevent *ev);

/* Those of engine/session.c.  Each answers the request, now or later. */
void engine_session_serve(struct engine_attach *a, const struct iscsi_uevent *ev);
bool engine_session_serves(enum iscsi_uevent_type type);
/* The client is gone. */
void engine_session_drop_all(struct engine_attach *a);

#endif
