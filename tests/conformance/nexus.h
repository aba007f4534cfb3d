/* SPDX-License-Identifier: MIT */
/* tests/conformance/nexus.h - a session on the row's transport, without control plane and midlayer:
 * a test connects, binds, logs in, sends commands and ends all of it in whatever order it likes.
 * The session is the iSCSI layer's, or the transport's own where that has session_ops. */
#ifndef TESTS_CONFORMANCE_NEXUS_H
#define TESTS_CONFORMANCE_NEXUS_H

#include "dataplane/internal.h"
#include "tests/conformance/conformance.h"

struct conform_nexus {
    struct conform_world *w;
    const struct dp_session_ops *ops;
    void *s; /* handle of the session; NULL: it is gone, or has been told to go */
    void *c; /* the same of its connection */
    struct scsi_host *host;
    struct iscsi_host adapter; /* where the transport has hosts */
    struct iscsi_endpoint ep;  /* where the transport connects by itself */
    bool ep_there;
    int ep_err;            /* 1: not known yet */
    unsigned binds, downs; /* of the connection, and how often it was told that it is down */
    unsigned errors, freed, answers, running, blocked, gone, restarts;
    unsigned logins, refusals; /* of a transport that logs in by itself */
    uint8_t text[2048];        /* of the Login Response */
    uint32_t text_len;
    union bhs_any answer;
};

struct conform_cmd {
    struct scsi_cmd sc;
    struct iovec iov;
    uint8_t *mem;
    unsigned done;
    void (*then)(struct conform_cmd *c); /* may be NULL: called when it is done */
    void *user;
};

/* A session that has one connection, which is not bound. */
void conform_nexus_new(struct conform_nexus *n, struct conform_world *w);
/* Connects, by way of the path, and returns what bind_conn is to be called with: a descriptor, or
 * the id of n->ep, which is there then, in the place of one that was there before. */
int64_t conform_nexus_connect(struct conform_nexus *n);
void conform_nexus_disconnect(struct conform_nexus *n);
/* Connects and binds the connection. */
void conform_nexus_bind(struct conform_nexus *n);
/* Logs in with one request and starts full feature phase, or has the transport log in by itself;
 * the unit is ready then. */
void conform_nexus_login(struct conform_nexus *n);
/* Those of seam/session.h; harmless where there is no connection or session any more. */
void conform_nexus_stop(struct conform_nexus *n, enum iscsi_stop how);
void conform_nexus_drop_conn(struct conform_nexus *n);
void conform_nexus_drop(struct conform_nexus *n);
int conform_nexus_set(struct conform_nexus *n, enum iscsi_param p, const char *value,
                      struct lunette_error *err);
/* Ends what is left and waits until nothing is. */
void conform_nexus_end(struct conform_nexus *n);

/* The keys of a login of one request, which must fit; returns their length. */
uint32_t conform_login_text(char *buf, size_t size, uint32_t max_recv_dlength);

/* READ (10) or WRITE (10) of len bytes at block lba, or with len 0 TEST UNIT READY. */
void conform_cmd_init(struct conform_cmd *c, bool write, uint32_t lba, uint8_t *mem, uint32_t len);
void conform_cmd_send(struct conform_nexus *n, struct conform_cmd *c);
/* Sends it, and it must go well. */
void conform_cmd_run(struct conform_nexus *n, struct conform_cmd *c);

/* The first len bytes of the medium, which were zeroes, are those or what conform_fill makes of
 * them with salt 0, whatever commands have written of that. */
void conform_medium_is_sound(const struct conform_world *w, size_t len);

/* ---- group_table.c: the operations themselves, for the groups "order" and "params" ------------
 */

void conform_table_orders(struct conform_world *w);
void conform_table_params(struct conform_world *w);

#endif
