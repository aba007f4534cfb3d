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
    /* The shared objects that some of them are in. */
    struct {
        void *handle;
        char *path; /* the real one */
    } objects[TRANSPORT_MAX];
    size_t nobjects;
};

/* Adds a transport, whose table is copied; what the table points to must live as long as the
 * registry.  -EINVAL: made for another version, larger than known and not only with zeroes, without
 * operations that its caps promise, or with a name that is missing or too long; -EEXIST: the name
 * is taken; -ENOSPC. */
int transport_register(struct transport_registry *r, const struct iscsi_transport *t,
                       struct lunette_error *err);

/* Adds those that are built in, which are below.  iser_usable is the `usable` of iSER, which asks
 * what this machine has; NULL: the loops have something else. */
int transport_register_built_in(struct transport_registry *r,
                                int (*iser_usable)(struct lunette_error *err),
                                struct lunette_error *err);

/* Loads a shared object and adds its transport.  `which` is the object's path, which contains a
 * slash; or the name of a transport, which is in the file NAME.so of transport_dir().  Nobody but
 * root and this user may be able to change the file or what leads to it, since it will run with all
 * that this program may do.  -ELIBACC: it cannot be loaded; -EPERM: others might change it;
 * -EINVAL: there can be no such name, the path is not of a regular file, the object has no
 * transport or one of another name; or as transport_register.  The error names the file and says
 * why. */
int transport_load(struct transport_registry *r, const char *which, struct lunette_error *err);

/* Loads what LUNETTE_TRANSPORTS names, "WHICH[:WHICH...]", if it is set; not in a set-uid program,
 * whose environment is somebody else's. */
int transport_load_env(struct transport_registry *r, struct lunette_error *err);

/* Where transports are that go by their names: the folder of the installation, or the one that
 * LUNETTE_TRANSPORT_DIR names, under the same condition. */
const char *transport_dir(void);

enum transport_from {
    TRANSPORT_BUILT_IN,
    TRANSPORT_NAMED,     /* LUNETTE_TRANSPORTS names it */
    TRANSPORT_INSTALLED, /* it lies in transport_dir(), and nobody has named it */
};

/* What transport_survey has found: a transport, or something that should be one. */
struct transport_found {
    enum transport_from from;
    const char *path;                /* of the shared object, or what names it; NULL: built in */
    const struct iscsi_transport *t; /* NULL: none could be got, and why says why */
    int err;                         /* 0: it can be used here and now; or -errno with why */
    const struct lunette_error *why;
};

/* Shows all transports that there are and could be: those of r, what LUNETTE_TRANSPORTS names,
 * which is loaded into r as far as that can be done, and what is installed beside it, in the order
 * of the file names, which is loaded for the call of fn only.  A folder that cannot be read is
 * shown in the place of what would be in it.  What fn gets is borrowed for the call. */
void transport_survey(struct transport_registry *r,
                      void (*fn)(void *user, const struct transport_found *f), void *user);

/* Forgets all transports and unloads their shared objects; nothing refers to them any more. */
void transport_registry_fini(struct transport_registry *r);

/* The transport of that name, which lives as long as the registry; NULL if there is none. */
const struct iscsi_transport *transport_find(const struct transport_registry *r, const char *name);

/* The names of all, with commas between them, cut where there is no room.  Returns buf. */
const char *transport_names(const struct transport_registry *r, char *buf, size_t size);

/* What the caps of a transport say, as words in lower case with blanks between them, in the order
 * of the bits, cut where there is no room.  Returns buf. */
const char *transport_cap_words(uint32_t caps, char *buf, size_t size);

/* Sockets: "tcp", as iscsiadm calls it. */
extern const struct iscsi_transport sw_tcp_transport;
/* RDMA: "iser" (RFC 7145), on what the loop has of seam/rdma.h. */
extern const struct iscsi_transport iser_transport;

/* For tests, on a connection of sw_tcp and between two of its operations: asserts that the room in
 * conn->gather, which says that commands may take the fast path, is there for them, and the same of
 * the parser. */
void sw_tcp_check_fast(const struct iscsi_conn *c);

#endif
