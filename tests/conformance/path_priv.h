/* SPDX-License-Identifier: MIT */
/* tests/conformance/path_priv.h - what both kinds of path have. */
#ifndef TESTS_CONFORMANCE_PATH_PRIV_H
#define TESTS_CONFORMANCE_PATH_PRIV_H

#include "tests/conformance/path.h"

struct conform_path {
    const struct conform_path_kind *kind;
    struct loop *loop;
    struct sock_addr at, to;
    enum conform_verdict (*filter)(void *user, const struct conform_pdu *pdu);
    void *filter_user;
    bool header_digest, data_digest, refuse;
    bool held[CONFORM_WAYS];
    struct conform_counts counts;
};

/* The functions of path.h that differ.  refuse and lead may be NULL: the members of the path say
 * so. */
struct conform_path_kind {
    int (*open)(struct loop *l, const struct sock_addr *at, int adopted, struct conform_path **ret,
                struct sock_addr *ret_at);
    void (*free)(struct conform_path *p);
    void (*go_on)(struct conform_path *p); /* nothing is held any more in one direction */
    uint64_t (*kept)(const struct conform_path *p, enum conform_way way);
    void (*deafen)(struct conform_path *p, bool on);
    void (*refuse)(struct conform_path *p);
    void (*cut)(struct conform_path *p, bool in_order);
    void (*lead)(struct conform_path *p);
    unsigned (*links)(const struct conform_path *p);
};

/* A PDU is about to go on.  False: it is held.  Else it is counted, and *ret says what becomes of
 * it. */
bool conform_path_ask(struct conform_path *p, const struct conform_pdu *pdu,
                      enum conform_verdict *ret);

#endif
