/* SPDX-License-Identifier: MIT */
/* gate/peer_priv.h - what the files of the peer share: peer.c moves bytes, peer_scsi.c answers. */
#ifndef GATE_PEER_PRIV_H
#define GATE_PEER_PRIV_H

#include "peer.h"

#include <stdbool.h>
#include <sys/types.h>

#include "wire/bhs.h"

#define BUF_LEN     (4u << 20) /* of what one turn may bring or answer */
#define CONTENT_LEN (1u << 20) /* the disk's content repeats after that */
#define WRITES_MAX  256

/* A write whose data is still coming. */
struct peer_write {
    bool used;
    struct be32 itt;
    uint64_t offset;
    uint32_t len, done, r2t_sn;
};

struct peer {
    uint16_t port;
    int listener, fd;
    int watched; /* the initiator's end */
    pid_t child; /* that serves logins */
    int control; /* to it */
    int kept_fd; /* the connection as it was before the child took it over */

    uint8_t *in, *out, *content;
    size_t in_len, out_len, out_sent;
    uint64_t received, sent; /* bytes of this connection */
    unsigned answered, blocked;

    bool ffp, hdigest, ddigest; /* full feature phase; what was agreed */
    uint32_t stat_sn, exp_cmd_sn;
    uint32_t max_xmit, max_burst;
    struct peer_write writes[WRITES_MAX];
};

void peer_die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* Appends a PDU to the answer. */
void peer_put(struct peer *p, struct bhs *h, const void *data, uint32_t len);

void peer_session_begin(struct peer *p);
void peer_serve(struct peer *p, const struct bhs *h, const uint8_t *data, uint32_t len);

#endif
