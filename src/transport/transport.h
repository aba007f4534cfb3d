/* SPDX-License-Identifier: MIT */
/* transport/transport.h - the registry, and the transports that are built in. */
#ifndef TRANSPORT_TRANSPORT_H
#define TRANSPORT_TRANSPORT_H

#include "seam/transport.h"

#define TRANSPORT_MAX      16
#define TRANSPORT_NAME_MAX 31 /* bytes: as much as a request of the control plane holds */

/* Transports by name; filled before the first session, read-only until the last one is gone.  All
 * zero: empty. */
struct transport_registry {
    struct iscsi_transport t[TRANSPORT_MAX]; /* each complete, whatever its size was */
    size_t count;
    void *objects[TRANSPORT_MAX]; /* the shared objects that some of them are in */
    size_t nobjects;
};

/* Adds a transport, whose table is copied; what the table points to must live as long as the
 * registry.  -EINVAL: made for another version, larger than known and not only with zeroes, without
 * operations that its caps promise, or with a name that is missing or too long; -EEXIST: the name
 * is taken; -ENOSPC. */
int transport_register(struct transport_registry *r, const struct iscsi_transport *t,
                       struct lunette_error *err);

/* Loads the shared object at path, which contains a slash, and adds its transport.  -ELIBACC: it
 * cannot be loaded; -EINVAL: the path has no slash or is not of a regular file, or the object has
 * no transport; or as transport_register.  The error names the file. */
int transport_load(struct transport_registry *r, const char *path, struct lunette_error *err);

/* Loads what LUNETTE_TRANSPORTS names, "path[:path...]", if it is set; not in a set-uid program,
 * whose environment is somebody else's. */
int transport_load_env(struct transport_registry *r, struct lunette_error *err);

/* Forgets all transports and unloads their shared objects; nothing refers to them any more. */
void transport_registry_fini(struct transport_registry *r);

/* The transport of that name, which lives as long as the registry; NULL if there is none. */
const struct iscsi_transport *transport_find(const struct transport_registry *r, const char *name);

/* The names of all, with commas between them, cut where there is no room.  Returns buf. */
const char *transport_names(const struct transport_registry *r, char *buf, size_t size);

/* Sockets: "tcp", as iscsiadm calls it. */
extern const struct iscsi_transport sw_tcp_transport;

/* For tests, on a connection of sw_tcp and between two of its operations: asserts that the room in
 * conn->gather, which says that commands may take the fast path, is there for them, and the same of
 * the parser. */
void sw_tcp_check_fast(const struct iscsi_conn *c);

#endif
