/* SPDX-License-Identifier: MIT */
/* nodedb/db.h - the records of nodes, discoveries and interfaces under one directory, in the layout
 * of open-iscsi (docs/design/records.md).
 *
 *   nodes/TARGET/ADDRESS,PORT,TPGT/IFACE    one node's record
 *   nodes/TARGET/ADDRESS,PORT               the same where the tag is not known, and in old trees
 *   send_targets/ADDRESS,PORT/st_config     a discovery record, and beside it
 *   send_targets/ADDRESS,PORT/TARGET,ADDRESS,PORT,TPGT,IFACE    a link for each node that it found
 *   isns/ADDRESS,PORT/isns_config           the same
 *   static/..., fw/...                      links to nodes that people, or the firmware, have named
 *   ifaces/IFACE                            an interface's record
 *
 * Calls are synchronous and touch files only; they take the lock where they write, and wait for it
 * as long as the config says.  What is written is written whole or not at all.  One thread.
 * All fail with -errno and *err: -EINVAL for names and values, -ENOENT where there is no such
 * record, -EBUSY where the lock is not to be had, -ENOMEM, or what the system says.
 */
#ifndef NODEDB_DB_H
#define NODEDB_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/whole_file.h"
#include "nodedb/lock.h"
#include "nodedb/names.h"
#include "nodedb/record.h"

struct nodedb_config {
    const char *root;                /* such as /etc/iscsi or /var/lib/iscsi; made if missing */
    const char *lock_dir;            /* such as /run/lock/iscsi; made if missing */
    uint32_t lock_wait_ms;           /* how long a call may wait for the lock; 0: not at all */
    const struct whole_fileops *ops; /* NULL: those of libc */
};

struct nodedb {
    int root;
    char path[4096]; /* of the root, absolute */
    struct nodedb_lock lock;
    uint32_t lock_wait_ms;
    const struct whole_fileops *ops;
};

/* Opens the records.  Returns 0 and *ret, which the caller ends with nodedb_close. */
int nodedb_open(const struct nodedb_config *cfg, struct nodedb **ret, struct lunette_error *err);
void nodedb_close(struct nodedb **db);

/* Take and give back the lock for several calls together. */
int nodedb_lock(struct nodedb *db, struct lunette_error *err);
/* Says who has it, for who has tried again and again for waited_ms; returns -EBUSY. */
int nodedb_lock_busy(const struct nodedb *db, uint32_t waited_ms, struct lunette_error *err);
void nodedb_unlock(struct nodedb *db);

/* ---- nodes ---- */

/* Where a node has come from.  For the first two also through which discovery record. */
enum nodedb_source {
    NODEDB_BY_SENDTARGETS,
    NODEDB_BY_ISNS,
    NODEDB_BY_STATIC,
    NODEDB_BY_FW,
};

/* Makes the record of a node that is not there yet, in memory: the defaults of conf (NULL: the
 * built-in ones), the interface's record, and the id.  r is not initialized before; the caller ends
 * it with nodedb_record_fini. */
int nodedb_node_init(struct nodedb_record *r, const struct nodedb_id *id,
                     const struct nodedb_record *iface, const struct nodedb_record *conf,
                     struct lunette_error *err);

/* Says in the record where it has come from; via is the portal of the discovery, or NULL. */
int nodedb_node_set_source(struct nodedb_record *r, enum nodedb_source source,
                           const struct portal *via);

/* Fills in which node a record is of. */
void nodedb_node_id(const struct nodedb_record *r, struct nodedb_id *ret);

/* Reads a record.  A torn or empty one is made whole from its path; r->torn tells.  r is not
 * initialized before; it is empty after a failure, else the caller ends it. */
int nodedb_node_read(struct nodedb *db, const struct nodedb_id *id, struct nodedb_record *r,
                     struct lunette_error *err);

/* Writes a record in its place, with the link that its source asks for. */
int nodedb_node_write(struct nodedb *db, const struct nodedb_record *r, struct lunette_error *err);

/* Adds a record as a discovery does: where there is one, what it holds stays, since a person may
 * have set it; only where it was found by another discovery is noted, and never in one that a
 * person or the firmware named.  *ret_added (may be NULL) tells whether it was not there. */
int nodedb_node_add(struct nodedb *db, const struct nodedb_record *r, bool *ret_added,
                    struct lunette_error *err);

/* Changes one key (`-o update`). */
int nodedb_node_update(struct nodedb *db, const struct nodedb_id *id, const char *name,
                       const char *value, struct lunette_error *err);

/* Where a portal is known with its tag, a record of it without the tag, by the same interface, is
 * one too many: open-iscsi removes that when it writes the other, and so does this, unless in_use
 * (may be NULL) says that it is used.  Returns 0, also where there is none. */
int nodedb_untagged_drop(struct nodedb *db, const struct nodedb_id *id,
                         bool (*in_use)(void *user, const struct nodedb_id *id), void *user,
                         struct lunette_error *err);

/* Removes a record, all links to it, and the directories that are empty without it. */
int nodedb_node_delete(struct nodedb *db, const struct nodedb_id *id, struct lunette_error *err);

/* Which nodes are meant.  What is NULL, 0, or -1 for the tag, is not looked at. */
struct nodedb_filter {
    const char *target, *host, *iface;
    uint16_t port;
    int32_t tpgt;
    bool ids_only; /* records are not read: node() gets NULL for them */
};

struct nodedb_visitor {
    /* Called for each node, in the order of nodedb_id_order.  r is borrowed, and may be changed and
     * written; the node may also be deleted.  A return other than 0 ends the walk. */
    int (*node)(void *user, const struct nodedb_id *id, struct nodedb_record *r);
    /* What is not a record or cannot be read, and was left out; may be NULL. */
    void (*skipped)(void *user, const struct lunette_error *why);
    void *user;
};

/* Visits nodes.  Returns 0, also when there are none; what node() has returned; or -errno with
 * *err. */
int nodedb_nodes(struct nodedb *db, const struct nodedb_filter *filter,
                 const struct nodedb_visitor *v, struct lunette_error *err);

/* Lists the targets that have records, in their order, so that who serves others may visit the
 * nodes of some of them at a time; names that are none of a target are among them.  Returns 0, also
 * where there are none, and the caller ends *ret; or -errno. */
int nodedb_targets(struct nodedb *db, struct whole_names *ret, struct lunette_error *err);

/* ---- discovery records ---- */

/* kind is NODEDB_SENDTARGETS or NODEDB_ISNS, which also are the sources of their nodes. */
int nodedb_disc_init(struct nodedb_record *r, enum nodedb_kind kind, const struct portal *at,
                     const struct nodedb_record *conf, struct lunette_error *err);
int nodedb_disc_read(struct nodedb *db, enum nodedb_kind kind, const struct portal *at,
                     struct nodedb_record *r, struct lunette_error *err);
int nodedb_disc_write(struct nodedb *db, const struct nodedb_record *r, struct lunette_error *err);
int nodedb_disc_update(struct nodedb *db, enum nodedb_kind kind, const struct portal *at,
                       const char *name, const char *value, struct lunette_error *err);
/* Removes a discovery record and the nodes that it found, but those for which in_use (may be NULL)
 * says true. */
int nodedb_disc_delete(struct nodedb *db, enum nodedb_kind kind, const struct portal *at,
                       bool (*in_use)(void *user, const struct nodedb_id *id), void *user,
                       struct lunette_error *err);

/* Visits the discovery records of a kind, by address and port.  r is NULL for one that cannot be
 * read. */
int nodedb_discs(struct nodedb *db, enum nodedb_kind kind,
                 int (*disc)(void *user, const struct portal *at, struct nodedb_record *r),
                 void *user, struct lunette_error *err);

/* Visits the nodes that a source has links to: via is the discovery record's portal, NULL for
 * NODEDB_BY_STATIC and NODEDB_BY_FW. */
int nodedb_found(struct nodedb *db, enum nodedb_source source, const struct portal *via,
                 int (*node)(void *user, const struct nodedb_id *id), void *user,
                 struct lunette_error *err);

enum nodedb_discovered_op {                    /* bits */
                            NODEDB_OP_NEW = 1, /* nodes that are not there are added */
                            NODEDB_OP_UPDATE =
                                2, /* of those that are there it is noted that they were found */
                            NODEDB_OP_DELETE = 4, /* nodes that this discovery found before and not
                                                     now are removed */
};

struct nodedb_discovered {
    enum nodedb_source source; /* NODEDB_BY_SENDTARGETS, NODEDB_BY_ISNS or NODEDB_BY_FW */
    const struct portal *via;  /* NULL for NODEDB_BY_FW */
    const struct nodedb_id *ids;
    size_t nids;
    unsigned ops;                                           /* enum nodedb_discovered_op */
    const struct nodedb_record *conf;                       /* may be NULL */
    bool (*in_use)(void *user, const struct nodedb_id *id); /* such are not removed; may be NULL */
    void *user;
    /* Sets in a record that is new what more is known of the node; may be NULL.  Returns 0 or
     * -ENOMEM. */
    int (*fill)(void *user, const struct nodedb_id *id, struct nodedb_record *r);
    void *fill_user;
    /* New records, and removals, are not synced: the caller does it, see nodedb_sync_open.  A
     * record that replaces another is synced all the same. */
    bool later;
    size_t rewritten_max; /* ends before the end of ids behind so many of these; 0: does not */
    /* What has become of it: filled in. */
    size_t added, known, removed;
    size_t refused;           /* names that cannot be stored, and records that cannot be read */
    size_t taken, rewritten;  /* taken: of ids, those that were looked at */
    struct lunette_error why; /* of the first that was refused */
};

/* Takes the answer of a discovery. */
int nodedb_discovered(struct nodedb *db, struct nodedb_discovered *d, struct lunette_error *err);

/* The same in steps, where there may be thousands to remove: visits the nodes that d->source and
 * d->via have links to and that are not among d->ids. */
int nodedb_stale(struct nodedb *db, const struct nodedb_discovered *d,
                 int (*visit)(void *user, const struct nodedb_id *id), void *user,
                 struct lunette_error *err);
/* Opens what syncfs(2), on any thread, makes last what was left for later: the file system of the
 * root, and those of directories in it that are others, as nodes/ may be in a container.  Returns
 * how many descriptors there are, at least one, which the caller closes; or -errno. */
#define NODEDB_SYNC_MAX 7
int nodedb_sync_open(const struct nodedb *db, int ret[NODEDB_SYNC_MAX]);
/* Removes d->ids, which nodedb_stale has told, but those that are in use, or that another source
 * has by now. */
int nodedb_stale_drop(struct nodedb *db, struct nodedb_discovered *d, struct lunette_error *err);
/* Removes ids[0..nids), as nodedb_disc_delete does it with what a discovery found; nothing is
 * synced. */
int nodedb_found_drop(struct nodedb *db, const struct nodedb_id *ids, size_t nids,
                      bool (*in_use)(void *user, const struct nodedb_id *id), void *user,
                      struct lunette_error *err);

/* ---- interfaces ---- */

/* Reads the record of an interface; "default" and "iser" are there without a file. */
int nodedb_iface_read(struct nodedb *db, const char *name, struct nodedb_record *r,
                      struct lunette_error *err);
/* Writes the record of an interface, which is made where it is missing; -EINVAL: it is built in. */
int nodedb_iface_write(struct nodedb *db, const struct nodedb_record *r, struct lunette_error *err);
/* Has nodes follow a change, in steps where thousands are bound to the interface: copies its
 * record, as it is now, to ids[0..nids), each of which is synced.  Nodes that are gone, or cannot
 * be read, are left out; -ENOENT: the interface is gone. */
int nodedb_iface_follow(struct nodedb *db, const char *name, const struct nodedb_id *ids,
                        size_t nids, struct lunette_error *err);
/* Removes an interface alone: no node can be bound to it any more.  Those that are, are left. */
int nodedb_iface_drop(struct nodedb *db, const char *name, struct lunette_error *err);
/* Visits all, in the order of their names; "default" and "iser" come last. */
int nodedb_ifaces(struct nodedb *db, int (*iface)(void *user, struct nodedb_record *r), void *user,
                  struct lunette_error *err);
/* Is it an interface that needs no record and cannot have one? */
bool nodedb_iface_reserved(const char *name);

/* Finds the network device that has a hardware address ("00:11:22:33:44:55"), below sys_net
 * (/sys/class/net), into ret[16]; with several, such as a bond and its parts, the first by name.
 * Returns 0, or -ENODEV with *err. */
int nodedb_iface_device(const char *sys_net, const char *hwaddress, char ret[16],
                        struct lunette_error *err);

#endif
