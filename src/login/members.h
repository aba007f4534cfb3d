/* SPDX-License-Identifier: MIT */
/* login/members.h - the connections of a session beside the leading one (docs/design/mcs.md).
 *
 * The leading connection is the reopen's own.  When it is logged in, its members are added, each by
 * a login that names the session (RFC 7143 6.3.1), and a member that is lost while another
 * connection is up logs in again with its CID.  Each goes to the portal of the group at which the
 * session has the fewest connections.  A member that cannot be added is tried again for as
 * long as the session is up, and is no failure of it.  When the session is lost, all members end
 * with it.  The reopen and one of its members change places when the leading connection ends and
 * the session goes on.
 *
 *   OFF       the session is not up
 *   WAITING   for Time2Wait, or for the next try
 *   QUEUED    at the gate
 *   LOGIN     a login is under way
 *   UP        in full feature phase
 *   STOPPING  what is left of it is taken out of the data plane
 *
 * Internal to login/; on the loop's thread.
 */
#ifndef LOGIN_MEMBERS_H
#define LOGIN_MEMBERS_H

#include "login/reopen_task.h"

/* The leading connection is logged in. */
void members_up(struct iscsi_reopen *r, const struct login_result *res);
/* The leading connection has logged in to the session, which had lost all: they come again. */
void members_resume(struct iscsi_reopen *r);
/* The session is lost, or its owner lets go: logins are given up, watches end. */
void members_down(struct iscsi_reopen *r);
/* The leading connection has ended, and waits for wait_s; stop: the data plane may not know.  True:
 * a member has taken its place, and it is a member now. */
bool members_take_lead(struct iscsi_reopen *r, uint32_t wait_s, bool stop);
/* It is not known of some whether they are up: it will be soon. */
bool members_are_asked(const struct iscsi_reopen *r);
/* The data plane cannot take the connection that was to log in to the session, which has lost all:
 * another one is to do so in its place.  False where there is none that has not been tried since
 * the loss. */
bool members_try_another(struct iscsi_reopen *r);
/* A member that is UP and the leading connection, which is up as well, change places. */
void members_change_places(struct iscsi_reopen *r, struct login_member *m);
/* One that the target wants to be logged out leads from now on, if there is one: see leave_ns. */
bool members_lead_to_leave(struct iscsi_reopen *r);
/* The session was found, and not logged in to: members may be up. */
void members_found(struct iscsi_reopen *r, const struct reopen_found *found);
/* Takes the portal of a connection from the reply to GET_CONN that tells of it. */
void members_take_portal(struct portal *p, const struct iscsi_reply *rep);
/* Connections that are up, with the leading one where that is. */
uint32_t members_count_up(const struct iscsi_reopen *r);
void members_free(struct iscsi_reopen *r);

#endif
