/* SPDX-License-Identifier: MIT */
/* iscsi/iscsi.h - sessions, connections and tasks (Linux: libiscsi).
 *
 * dataplane/ makes sessions and connections at the control plane's request;
 * the SCSI midlayer finds the session as a struct scsi_host.  Everything runs
 * on the session's loop.
 */
#ifndef ISCSI_H
#define ISCSI_H

#include "seam/session.h"

#define ISCSI_CMDS_MAX_DEFAULT 128
#define ISCSI_CMDS_MAX_LIMIT   2048
#define ISCSI_HOST_MAX_SG      256 /* iovecs of one command at most */
/* Bytes of one command at most, or less where the transport says so. */
#define ISCSI_HOST_MAX_TRANSFER (16u << 20)

/* What a session tells whoever made it.  All come from the loop; only conn_down may come from
 * inside one of the functions below. */
struct iscsi_session_events {
    /* A PDU for the control plane: login, text and logout responses, answers to its NOP-Out,
     * async messages, rejects.  data is borrowed. */
    void (*recv_pdu)(void *user, struct iscsi_conn *c, const struct bhs *hdr, const void *data,
                     uint32_t len);
    /* The connection is lost, and its transport has none of its tasks any more; once per bind at
     * most.  Not told of one that was logged out in order, or that the control plane has stopped.
     */
    void (*conn_error)(void *user, struct iscsi_conn *c, const struct dp_conn_loss *loss);
    /* The transport has let go of the connection (stop_conn has ended): its endpoint may be
     * disconnected.  Once per bind, before conn_error; may come from inside iscsi_conn_stop,
     * iscsi_conn_teardown and iscsi_session_teardown. */
    void (*conn_down)(void *user, struct iscsi_conn *c);
    /* The host of the session is in another state; why is NULL when it runs. */
    void (*state)(void *user, enum scsi_host_state state, const struct lunette_error *why);
    /* iscsi_session_teardown has ended: s is gone. */
    void (*freed)(void *user, uint32_t sid);
};

struct iscsi_session_config {
    struct iscsi_host *host; /* of the transport; NULL: it has none */
    uint32_t sid;
    uint32_t initial_cmdsn;
    uint32_t cmds_max; /* tasks that the SCSI side may have outstanding, 0: default */
    const struct iscsi_session_events *ev;
    void *user;
};

/* Makes a session without connections, which lives until iscsi_session_teardown has ended. -EINVAL:
 * cmds_max above its limit; -ENOMEM. */
int iscsi_session_setup(struct loop *l, const struct iscsi_transport *tt,
                        const struct iscsi_session_config *cfg, struct iscsi_session **ret,
                        struct lunette_error *err);

/* Ends what is outstanding and all connections, then frees s and calls freed, later: a transport
 * may need time to let go of buffers. */
void iscsi_session_teardown(struct iscsi_session *s);

/* The session as the SCSI midlayer sees it; lives as long as s. */
struct scsi_host *iscsi_session_host(struct iscsi_session *s);

/* How many commands that s has not given back have data in [addr, addr + len). */
unsigned iscsi_session_users(const struct iscsi_session *s, const void *addr, size_t len);

/* Makes a connection, in state XPT_WAIT.  -EEXIST: the session has that cid; -ENOMEM. */
int iscsi_conn_setup(struct iscsi_session *s, uint16_t cid, struct iscsi_conn **ret,
                     struct lunette_error *err);
struct iscsi_conn *iscsi_conn_find(struct iscsi_session *s, uint16_t cid);

/* Ties the connection to a descriptor or an endpoint; from here on it carries PDUs.  One that has
 * been stopped may be bound again.  leading: a new nexus of the session begins
 * (docs/design/nexus.md), as it does where the session has no leading connection.  -EBUSY: it is
 * bound, or another one leads.  -ENOTCONN: it does not lead, and the session is not logged in. */
int iscsi_conn_bind(struct iscsi_conn *c, int64_t eph, struct iscsi_endpoint *ep, bool leading,
                    struct lunette_error *err);

/* Sets a value, which is given as text and checked against RFC 7143 13.  -EINVAL, -ENOTSUP; -EBUSY:
 * it is agreed on at login, which is over. */
int iscsi_set_param(struct iscsi_conn *c, enum iscsi_param p, const char *value,
                    struct lunette_error *err);

/* Full feature phase begins; on the leading connection commands flow from here on.  -ENOTCONN: the
 * connection is not logging in, or the session has no leading connection that is logged in. */
int iscsi_conn_start(struct iscsi_conn *c, struct lunette_error *err);

/* Ends the connection: tasks complete with DID_TRANSPORT_DISRUPTED, and no conn_error event comes.
 * Where it is the last one that serves, STOP_CONN_RECOVER lets the session wait for another as long
 * as RECOVERY_TMO says, and STOP_CONN_TERM makes it fail.  On a connection that is down nothing
 * happens, except that STOP_CONN_TERM ends that waiting. */
void iscsi_conn_stop(struct iscsi_conn *c, enum iscsi_stop how);

/* Takes the connection out of the session and frees it, once its tasks are gone. */
void iscsi_conn_teardown(struct iscsi_conn *c);

/* The last PDUs that it has sent and received, max at most, the oldest first; returns how many. */
unsigned iscsi_conn_flight(struct iscsi_conn *c, struct flight_pdu *ret, unsigned max);

/* A target that asks for a logout (async events 1 and 4) gets no new command on that connection:
 * they go on others, or are refused with -EBUSY until the session has been logged in again.  A
 * Logout Request waits until the commands under way have ended, or half of the time is over that
 * the target gave.
 *
 * Sends a control PDU: ITT, CmdSN and ExpStatSN are filled in; a Login, or a Text Request with a
 * Target Transfer Tag, goes on with the tag of its exchange.  -EINVAL: it is not a Login Request
 * during login, nor a NOP-Out, Text or Logout Request afterwards, or has an AHS.  -EBUSY while a
 * Login, Text or Logout Request waits for the answer to one of its kind, or while as many requests
 * wait as a connection has places for (4); a NOP-Out without a tag has no answer and needs no
 * place. */
int iscsi_conn_send_pdu(struct iscsi_conn *c, const struct bhs *hdr, const void *data, uint32_t len,
                        struct lunette_error *err);

/* For tests: asserts that the flags which let commands and answers take the fast path are right. */
void iscsi_check_fast(const struct iscsi_session *s);
/* For tests: asserts these, and all else that is true of a session between two turns of its loop,
 * in any state, with and without connections. */
void iscsi_session_check(const struct iscsi_session *s);

const char *iscsi_err_name(enum iscsi_err e);

#endif
