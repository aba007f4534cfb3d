/* SPDX-License-Identifier: MIT */
/* target/face.h - what lies below the full feature code and speaks to the initiator: TCP (tcp/), or
 * RDMA as iSER has it (iser/).
 *
 * A face makes a connection as the first member of a structure of its own, and gives it to
 * tgt_serve (serve.h).  From then on
 *
 *   up     it delivers what has come: a header in c->h, then tgt_deliver_header, tgt_deliver_begin
 *          and tgt_deliver (deliver.h), one PDU after the other.  Any of these may end the
 *          connection, and after that the face does nothing more for it;
 *   down   it takes what c->txq has: control PDUs, and commands in state SEND, which have an
 *          answer and before it perhaps data for the initiator, or in state DATA, which want
 *          r2t_want bursts of data from it.  How those data move is the face's own: TCP has R2T,
 *          Data-Out and Data-In PDUs, iSER has RDMA Reads and Writes.
 *
 * The code above does not know which face a connection has.  What it must know, in login, is in
 * c->rdma.
 *
 * Everything runs on the loop's thread.  No function of a face may end the connection but
 * `receive` and `flush`, which the loop calls; so whoever calls one of the others may go on.
 */
#ifndef TARGET_FACE_H
#define TARGET_FACE_H

#include <stdbool.h>
#include <stdint.h>

struct loop_work;
struct lunette_error;
struct tgt_cmd;
struct tgt_conn;

struct tgt_face {
    const char *name; /* for a person: "TCP" */

    /* Makes ready for that many commands at a time, 0 in discovery, before the last Login Response
     * leaves.  0, or -errno with a sentence: there is no memory for them. */
    int (*prepare)(struct tgt_conn *c, uint32_t commands, struct lunette_error *err);

    /* Deals with what has come and waits, within bounds (flow.h).  Called by the face itself when
     * something comes, when a pause is over, and when the connection has been silent for so long
     * that it is looked at once more.  It may end the connection. */
    void (*receive)(struct tgt_conn *c);

    /* c->flush, which is deferred whenever something is queued and c->blocked is false: sends what
     * is in c->txq.  A face that cannot take more sets c->blocked, and defers c->flush when it can
     * again.  It may end the connection. */
    void (*flush)(struct loop_work *flush);

    /* From now on `receive` is not called by the face, which leaves with its peer what comes, as
     * far as it can; or it is again.  flow.c calls `receive` after that. */
    void (*pause)(struct tgt_conn *c, bool on);

    /* Frees buf, of lu_buf_alloc and not NULL, when all has left that the face was given before.
     */
    void (*release)(struct tgt_conn *c, void *buf);

    /* Called for a command that ends while data that it has asked for (r2t_sn, r2t_done) are still
     * to come: they go nowhere. */
    void (*forget)(struct tgt_cmd *cmd);

    /* Called when the connection dies: nothing that the face has taken leaves any more, and it
     * makes no further calls.  When it returns, nothing of the network refers to memory of commands
     * or units.  What its caller's callers still use stays until `free`. */
    void (*close)(struct tgt_conn *c);

    /* Frees the connection, at the end of the turn in which it died, or when nothing waits for it
     * any more (lost.h). */
    void (*free)(struct tgt_conn *c);
};

#endif
