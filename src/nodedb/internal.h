/* SPDX-License-Identifier: MIT */
/* nodedb/internal.h - what the files of nodedb/ share. */
#ifndef NODEDB_INTERNAL_H
#define NODEDB_INTERNAL_H

#include "nodedb/db.h"

/* Fills in *err for a failed file: what was tried with ROOT/a/b/c (a, b and c may be NULL), and
 * what to do about the usual reasons. */
int nodedb_fault(const struct nodedb *db, struct lunette_error *err, int code, const char *did,
                 const char *a, const char *b, const char *c);

/* Opens ROOT/a/b/c, as far as they are not NULL.  Returns the descriptor or -errno. */
int nodedb_walk(const struct nodedb *db, bool make, const char *a, const char *b, const char *c);

/* Writes a record to dir/name. */
int nodedb_put(struct nodedb *db, const struct whole_fileops *ops, int dir, const char *name,
               const struct nodedb_record *r);

/* Reads dir/name, which errors call ROOT/a/b/c, into r, which is not initialized. */
int nodedb_get(const struct nodedb *db, enum nodedb_kind kind, int dir, const char *name,
               const char *a, const char *b, const char *c, struct nodedb_record *r);

/* Makes all last that was written without fsync.  Returns 0 or -errno. */
int nodedb_sync(const struct nodedb *db);

/* Writes a node's record, without its link. */
int nodedb_node_put(struct nodedb *db, const struct whole_fileops *ops,
                    const struct nodedb_record *r, struct lunette_error *err);

/* Is there a record of the node?  Returns 1, 0, or -errno where that cannot be told. */
int nodedb_node_exists(const struct nodedb *db, const struct nodedb_id *id);

/* Makes the link of a source to a node; that it is there already is a success. */
int nodedb_link_add(struct nodedb *db, enum nodedb_source source, const struct portal *via,
                    const struct nodedb_id *id, struct lunette_error *err);
/* Removes the link of one source. */
void nodedb_link_remove(struct nodedb *db, enum nodedb_source source, const struct portal *via,
                        const struct nodedb_id *id);
/* Removes all links to a node. */
void nodedb_links_remove(struct nodedb *db, const struct nodedb_id *id);

/* The source that a node's record names, and *ret_via with it: host "" for one without. */
enum nodedb_source nodedb_node_source(const struct nodedb_record *r, struct portal *ret_via);

/* Gives a node's record a copy of an interface's. */
int nodedb_iface_copy(struct nodedb_record *node, const struct nodedb_record *iface);

/* Copies a name into an array of its greatest length, which the caller has checked. */
#define NODEDB_COPY(to, from) (void)snprintf(to, sizeof(to), "%s", from)

#endif
