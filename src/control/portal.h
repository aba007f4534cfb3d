/* SPDX-License-Identifier: MIT */
/* control/portal.h - which portals do not answer, so that the logins to them stand behind.
 *
 * Internal to control/; loop's thread.
 */
#ifndef CONTROL_PORTAL_H
#define CONTROL_PORTAL_H

#include <stdbool.h>

#include "base/addr.h"
#include "base/htab.h"
#include "base/list.h"

/* One for each host and port that a node has. */
struct portal_entry {
    struct hnode hnode;
    char *host;
    uint16_t port;
    unsigned refs;
    bool silent; /* the last try did not get an answer */
};

struct portal_table {
    struct htab entries;
};

void portals_init(struct portal_table *t);
void portals_fini(struct portal_table *t); /* all have been put back */
/* Returns the entry, with a reference, or NULL: no memory. */
struct portal_entry *portals_get(struct portal_table *t, const struct portal *p);
void portals_put(struct portal_table *t, struct portal_entry *e); /* e may be NULL */

#endif
