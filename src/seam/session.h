/* SPDX-License-Identifier: MIT */
/* seam/session.h - what the data plane asks of a session, whoever owns it.
 *
 * Most sessions are iscsi/'s.  A transport whose adapter runs the whole session
 * by itself (the class of Linux's qla4xxx) brings a struct scsi_host and these
 * operations of its own, in its table, and fits beside it.  dataplane/ calls; it alone knows
 * ids, clients and endpoints.
 *
 * Everything runs on the loop of the session.  A handle (session, conn) points to memory of the
 * owner and is opaque to the data plane.
 */
#ifndef SEAM_SESSION_H
#define SEAM_SESSION_H

#include "base/err.h"
#include "seam/host.h"
#include "seam/transport.h"

/* How a connection was lost. */
struct dp_conn_loss {
    enum iscsi_err err;
    uint32_t time2wait_s, time2retain_s; /* in force for this loss */
    bool served;                         /* the target has answered many requests since the login */
    struct lunette_error why;
};

/* What a session tells the data plane; conn is the handle that create_conn returned. */
struct dp_session_events {
    /* A PDU for the control plane has come; hdr and data are borrowed for the call. */
    void (*recv_pdu)(void *user, void *conn, const struct bhs *hdr, const void *data, uint32_t len);
    /* The connection is lost; once per bind at most, after conn_down.  Not told of one that was
     * logged out in order, or that stop_conn or destroy_conn has ended. */
    void (*conn_error)(void *user, void *conn, const struct dp_conn_loss *loss);
    /* The transport has let go of the connection (stop_conn has ended), so that its endpoint may be
     * disconnected.  Once per bind; may come from inside stop_conn, destroy_conn and teardown. */
    void (*conn_down)(void *user, void *conn);
    /* The host of the session is in another state; why is NULL when it runs.  May come from inside
     * start_conn, stop_conn, destroy_conn and teardown. */
    void (*state)(void *user, enum scsi_host_state state, const struct lunette_error *why);
    /* teardown has ended: the session and all its connections are gone. */
    void (*freed)(void *user);
    /* The connection of a session that logs in by itself (CAP_LOGIN_OFFLOAD) is logged in, and why
     * is NULL; or it could not log in.  Once for each start_conn that returned 0, unless the
     * connection is stopped before; not from inside it.  Where such a session loses its connection
     * and logs in again by itself, `state` tells that, and nothing else. */
    void (*login_state)(void *user, void *conn, const struct lunette_error *why);
};

struct dp_session_config {
    struct loop *loop;
    const struct iscsi_transport *tt;
    struct iscsi_host *host; /* lives as long as the session; NULL: tt has none */
    uint32_t sid;            /* unique in the process while the session lives */
    uint32_t initial_cmdsn;
    uint32_t cmds_max; /* tasks; 0: the owner's default */
    const struct dp_session_events *ev;
    void *user;
};

/* What an owner of sessions implements; only get_param may be NULL.  A function that returns int
 * returns 0, or -errno with a sentence in *err, unless its comment says otherwise. */
struct dp_session_ops {
    size_t size; /* of this table, bytes */
    int (*create)(const struct dp_session_config *cfg, void **ret_session,
                  struct scsi_host **ret_host, struct lunette_error *err);
    /* Ends all connections, then the session; the event freed comes later.  Called once. */
    void (*teardown)(void *session);
    int (*create_conn)(void *session, uint16_t cid, void **ret_conn, struct lunette_error *err);
    /* Ends the connection.  The caller uses the handle no more; where the connection is bound, the
     * owner still passes it to conn_down. */
    void (*destroy_conn)(void *conn);
    /* eph: a descriptor, which the owner takes on success, or ep's id. */
    int (*bind_conn)(void *conn, int64_t eph, struct iscsi_endpoint *ep, bool leading,
                     struct lunette_error *err);
    /* Full feature phase begins; with CAP_LOGIN_OFFLOAD the login does, with what set_param has
     * told, and login_state follows. */
    int (*start_conn)(void *conn, struct lunette_error *err);
    /* Stops the connection; no conn_error event follows.  Harmless on a connection that is down. */
    void (*stop_conn)(void *conn, enum iscsi_stop how);
    int (*set_param)(void *conn, enum iscsi_param p, const char *value, struct lunette_error *err);
    int (*send_pdu)(void *conn, const struct bhs *hdr, const void *data, uint32_t len,
                    struct lunette_error *err);
    void (*get_stats)(void *conn, struct iscsi_stats *ret);
    /* Writes a value that the owner knows without having been told to buf, as text of at most size
     * - 1 bytes and a NUL.  Returns the length, or -ENOENT where it does not know the value. With
     * conn NULL the value is the session's.  The operation may be NULL. */
    int (*get_param)(void *session, void *conn, enum iscsi_param p, char *buf, size_t size);
};

#endif
