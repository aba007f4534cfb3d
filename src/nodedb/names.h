/* SPDX-License-Identifier: MIT */
/* nodedb/names.h - which names may become paths, and what a path says.  Any thread.
 *
 * Names come from targets, iSNS servers and people.  What is not listed as allowed here never
 * becomes part of a path: no "/", no name that begins with ".", no control character, nothing that
 * is longer than a file's name.
 */
#ifndef NODEDB_NAMES_H
#define NODEDB_NAMES_H

#include <stdbool.h>

#include "base/addr.h"
#include "base/err.h"

#define NODEDB_IFACE_NAME_MAX 64
#define NODEDB_FILE_NAME_MAX  255 /* bytes of a name in a directory, as Linux has it */

/* Which node's record is meant. */
struct nodedb_id {
    char target[ISCSI_NAME_MAX + 1];
    struct portal portal; /* tpgt -1: not known */
    char iface[NODEDB_IFACE_NAME_MAX + 1];
};

/* Return 0, or -EINVAL with what is wrong with the name. */
int nodedb_check_target(const char *name, struct lunette_error *err);
int nodedb_check_host(const char *host, struct lunette_error *err);
int nodedb_check_iface(const char *name, struct lunette_error *err);
int nodedb_check_id(const struct nodedb_id *id, struct lunette_error *err);

/* Write "host,port" and "host,port,tpgt", as records' directories are named.  Return 0, or
 * -ENAMETOOLONG. */
int nodedb_portal_file(const struct portal *p, bool with_tpgt, char ret[NODEDB_FILE_NAME_MAX + 1]);
/* Writes "target,host,port,tpgt,iface", as links to a record are named. */
int nodedb_link_file(const struct nodedb_id *id, char ret[NODEDB_FILE_NAME_MAX + 1]);

/* Read such names.  Return 0, or -EINVAL for a name that is not one.  *ret_tpgt tells whether there
 * was a tag.  A portal of port 0 or a host that would not be allowed is none. */
int nodedb_portal_of_file(const char *name, struct portal *ret, bool *ret_tpgt);
int nodedb_id_of_link(const char *name, struct nodedb_id *ret);

/* Compares in the order in which records are listed: target, address, port, tag, interface. */
int nodedb_id_order(const struct nodedb_id *a, const struct nodedb_id *b);
/* Do both name the same node's record? */
bool nodedb_id_same(const struct nodedb_id *a, const struct nodedb_id *b);

#endif
