/* SPDX-License-Identifier: MIT */
/* lu/lu.h - the seam between a task router (an iSCSI target, a test) and the device server.
 *
 * The router has a struct lu_device for each target device that it offers, and
 * a nexus (nexus.h) for each session.  It hands over a command in five steps:
 *
 *   1. lu_cmd_init, then it fills in nexus, lun, cdb and expect.
 *   2. lu_cmd_start: afterwards c->failed, or c->dir and c->len say what moves.
 *   3. For c->dir LU_DIR_OUT it takes the data as it comes: lu_cmd_place names
 *      memory for it, or lu_cmd_take copies it.  It may take fewer than c->len
 *      bytes, which is less than the CDB moves.
 *   4. lu_cmd_finish.  router->complete is called, in that call or later: status
 *      and sense data are in c.  For LU_DIR_IN it sends c->len bytes (fewer, if
 *      it likes) from where lu_cmd_source says; the residual is its own to
 *      compute from c->len and c->expect.
 *   5. lu_cmd_end.
 *
 * A command can end before its time: router->abort asks for that, and the
 * router calls lu_cmd_end whenever it wants to.  Between init and end the memory
 * of the command is the router's, and may not move.  Everything happens on the
 * thread of the device's loop.
 */
#ifndef LU_LU_H
#define LU_LU_H

#include "lu/cmd.h"
#include "lu/device.h"
#include "lu/nexus.h"
#include "lu/tasks.h"

/* What the router does for the device server; one table for all devices of a router. */
struct lu_router {
    /* c has status and sense data, and perhaps data to send.  c is as it was in lu_cmd_finish, but
     * for what the server writes.  It may call lu_cmd_end. */
    void (*complete)(struct lu_cmd *c);

    /* lu_cmd_end has said that c was still in use; now it no longer is. */
    void (*released)(struct lu_cmd *c);

    /* End c without a response: call lu_cmd_end for it before returning true.  ctx is what the
     * router gave to the function of tasks.h, NULL for PREEMPT AND ABORT.  False: c stays, as it
     * was sent after the task management function that is carried out; not with ctx NULL. */
    bool (*abort)(struct lu_cmd *c, void *ctx);
};

/* c is zeroed and empty; it is in no task set. */
void lu_cmd_init(struct lu_cmd *c);

/* Finds the unit and enters its task set; unless c has failed already (the router may fail a
 * command itself, see cmd.h), finds the operation, checks, and begins it. */
void lu_cmd_start(struct lu_cmd *c);

/* All data that will come has come, or there was none.  Once for each command. */
void lu_cmd_finish(struct lu_cmd *c);

/* Where the bytes at offset off of a LU_DIR_OUT command belong: memory, and *len is lowered to how
 * much of it; NULL for what only lu_cmd_take understands, or what nobody wants.  off < c->len. */
uint8_t *lu_cmd_place(struct lu_cmd *c, uint32_t off, uint32_t *len);

/* Takes len bytes at offset off; off + len <= c->len.  Nothing happens if c has failed. */
void lu_cmd_take(struct lu_cmd *c, uint32_t off, const uint8_t *data, uint32_t len);

/* Where the bytes at offset off of a LU_DIR_IN command are to be sent from; *len is lowered to how
 * many lie there.  The memory is the unit's, or c->buf.  off < c->len. */
const uint8_t *lu_cmd_source(const struct lu_cmd *c, uint32_t off, uint32_t *len);

/* Takes c out of its task set.  c->buf is the router's to free (lu_buf_free) when all of it has
 * been sent.  False: a sync for c is under way, and c must stay where it is until router->released.
 */
bool lu_cmd_end(struct lu_cmd *c);

#endif
