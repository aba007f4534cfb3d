/* SPDX-License-Identifier: MIT */
/* login/group.h - the portals of a session's portal group, in the order in which they are tried.
 *
 * The connections of a session may go to all portals of one group (RFC 7143 4.4.1).  A
 * configuration has the portal that the session is known by and those beside it; a login goes
 * through them in that order until one takes a connection (login/connect.c).  What is here brings
 * them into another order, so that the connections of a session spread over them.
 *
 * Internal to login/; any thread.
 */
#ifndef LOGIN_GROUP_H
#define LOGIN_GROUP_H

#include "login/config.h"

/* With the configured portal, and one to which the target has sent us. */
#define GROUP_PORTALS_MAX (LOGIN_GROUP_MAX + 2)

struct portal_group {
    struct portal portal[GROUP_PORTALS_MAX]; /* each once */
    uint32_t conns[GROUP_PORTALS_MAX];       /* connections that use it */
    uint32_t n;
};

/* Takes the portals of cfg, behind `first` where that is not NULL and names one. */
void group_init(struct portal_group *g, const struct login_config *cfg, const struct portal *first);

/* A connection uses this portal, which may be none of the group. */
void group_count(struct portal_group *g, const struct portal *p);

/* Sorts those that fewer connections use before the others; else they stay as they are. */
void group_sort(struct portal_group *g);

/* Has cfg begin with portal number `turn`, counted around, and go on with those behind it. */
void group_store(const struct portal_group *g, uint32_t turn, struct login_config *cfg);

#endif
