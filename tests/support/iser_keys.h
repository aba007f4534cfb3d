/* SPDX-License-Identifier: MIT */
/* tests/support/iser_keys.h - the STags that commands have told the target of, for whoever reads
 * along: when a command is over, its STags are not valid any more (RFC 7145 7.3.1, 7.3.2). */
#ifndef TESTS_SUPPORT_ISER_KEYS_H
#define TESTS_SUPPORT_ISER_KEYS_H

#include "seam/transport.h"
#include "tests/sim/sim_rdma.h"

#define ISER_KEYS_MAX 1024 /* at a time; those that come first are forgotten first */

struct iser_keys {
    struct iser_key {
        uint32_t conn, itt, stag;
    } key[ISER_KEYS_MAX];
    uint32_t count;
};

/* The initiator has sent a message on a connection, as sim_rdma_tap counts them; that has ended. */
void iser_keys_sent(struct iser_keys *k, uint32_t conn, const uint8_t *msg, uint32_t len);
void iser_keys_closed(struct iser_keys *k, uint32_t conn);

/* Looks at all n sessions that there are.  False: the command with that tag is over in each of
 * them, and an STag of it is valid. */
bool iser_keys_check(struct iser_keys *k, const struct sim *sim,
                     const struct iscsi_session *const *sessions, uint32_t n, uint32_t *ret_itt);

#endif
