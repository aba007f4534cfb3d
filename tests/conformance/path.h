/* SPDX-License-Identifier: MIT */
/* tests/conformance/path.h - the way between initiator and target, which reads along.
 *
 * A path leads each connection that comes to a portal on to the target, PDU by PDU.  It counts what
 * passes and asks the test what to do with each PDU.  There are two kinds.  One listens, connects,
 * and forwards: it is made of streams of the loop, so that it is the same for sockets and in the
 * simulator, and serves every transport whose PDUs go over TCP at last.  The other is a place in
 * the simulated fabric, where the messages of RDMA connections pass.  Everything runs on the loop's
 * thread.
 */
#ifndef TESTS_CONFORMANCE_PATH_H
#define TESTS_CONFORMANCE_PATH_H

#include "seam/loop.h"
#include "wire/bhs.h"

enum conform_way { CONFORM_TO_TARGET, CONFORM_TO_INITIATOR, CONFORM_WAYS };

/* What becomes of a PDU. */
enum conform_verdict {
    CONFORM_PASS,
    CONFORM_DROP,       /* it does not go on, but what follows does */
    CONFORM_CUT_BEFORE, /* both connections are reset, and it does not go on */
    CONFORM_CUT_INSIDE, /* the first half of it goes on, then both connections end */
    CONFORM_CUT_BEHIND, /* all of it goes on, then both connections end */
};

/* Over RDMA, data that the target moves by itself is asked about as well, with the header that the
 * PDU would have which RFC 7145 has it stand for: an RDMA Write is a Data-In (7.3.5), an RDMA Read
 * Request an R2T (7.3.6).  `moved` tells them, and what is changed in the header changes nothing.
 */
struct conform_pdu {
    enum conform_way way;
    unsigned link;    /* the how many-th connection it is on, from 1 on */
    unsigned number;  /* the how many-th PDU of that connection and way, from 1 on */
    bool moved;       /* no PDU, but data that go by themselves */
    union bhs_any *h; /* what is changed here goes on so, where there is no header digest */
    uint32_t data_len;
};

/* PDUs and bytes of their data segments by opcode: those of initiators and targets differ.  Data
 * that go by themselves are not among them. */
struct conform_counts {
    uint64_t pdus[64], bytes[64];
    uint64_t moves[CONFORM_WAYS], moved[CONFORM_WAYS]; /* those, and their bytes, by where the data
                                                          go to */
    uint64_t all_pdus[CONFORM_WAYS];
    uint64_t tmf[16]; /* task management requests by their function */
    unsigned links, cuts;
};

struct conform_path;
struct conform_path_kind;

extern const struct conform_path_kind conform_path_streams, conform_path_fabric;

/* Listens at `at`, whose port may be 0, or, where adopted is >= 0, with that descriptor, which is
 * the path's then; leads to `to`.  *ret_at gets the address.  Only paths of streams take a
 * descriptor, or choose a port.  Returns 0 or -errno. */
int conform_path_new(const struct conform_path_kind *kind, struct loop *l,
                     const struct sock_addr *at, int adopted, const struct sock_addr *to,
                     struct conform_path **ret, struct sock_addr *ret_at);
/* NULL is harmless. */
void conform_path_free(struct conform_path *p);

/* fn is asked about every PDU before it goes on; NULL: all pass.  It may set holds, and is asked
 * about a PDU again that it has held; it must not cut or free the path. */
void conform_path_filter(struct conform_path *p,
                         enum conform_verdict (*fn)(void *user, const struct conform_pdu *pdu),
                         void *user);
/* PDUs after login have these. */
void conform_path_digests(struct conform_path *p, bool header, bool data);

/* While on, the connections of a path take what comes that way and keep it. */
void conform_path_hold(struct conform_path *p, enum conform_way way, bool on);
/* Bytes that have come that way and are kept. */
uint64_t conform_path_kept(const struct conform_path *p, enum conform_way way);
/* While on, what comes from the initiator is not even received, so that its senders wait. */
void conform_path_deafen(struct conform_path *p, bool on);
/* While on, connections are reset as they come. */
void conform_path_refuse(struct conform_path *p, bool on);
/* Resets all connections, or ends them in order. */
void conform_path_cut(struct conform_path *p, bool in_order);
/* Where new connections lead to from now on. */
void conform_path_lead(struct conform_path *p, const struct sock_addr *to);

/* Of paths in a fabric: no STag is valid of a command that is over in each of the n sessions, which
 * are all of the loop (RFC 7145 7.3.1). */
struct iscsi_session;
bool conform_keys_are_closed(struct loop *l, const struct iscsi_session *const *sessions,
                             uint32_t n);

const struct conform_counts *conform_path_counts(const struct conform_path *p);
/* Connections that there are. */
unsigned conform_path_links(const struct conform_path *p);

#endif
