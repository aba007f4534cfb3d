/* SPDX-License-Identifier: MIT */
/* lu/lu.h - the seam between a task router (an iSCSI target, a test) and the device server.
 *
 * The router has a struct lu_device for each target device that it offers, and
 * a nexus (nexus.h) for each session.  It hands over a command in five steps:
 *
 *   1. lu_cmd_init, then it fills in nexus, lun, cdb, expect and ordered.
 *   2. lu_cmd_start: afterwards c->failed, or c->dir and c->len say what moves.
 *   3. For c->dir LU_DIR_OUT it hands over the data as they come: it receives them
 *      into the memory that lu_cmd_place returns, or lu_cmd_take copies them.  It may
 *      hand over fewer than c->len bytes, when the initiator sends fewer.
 *   4. lu_cmd_finish.  The device server calls router->complete, in that call or
 *      later; status and sense data are then in c.  For LU_DIR_IN the router sends
 *      c->len bytes, or fewer, from the memory that lu_cmd_source returns; it computes
 *      the residual from c->len and c->expect.
 *   5. lu_cmd_answered, when the answer can no longer be kept back, and lu_cmd_end.
 *
 * The router may end a command early by calling lu_cmd_end at any time, and the device
 * server may ask for that with router->abort.  Between lu_cmd_init and lu_cmd_end the
 * memory of the command belongs to the router, and may not move.  Everything happens on
 * the thread of the device's loop.
 */
#ifndef LU_LU_H
#define LU_LU_H

#include "lu/cmd.h"
#include "lu/device.h"
#include "lu/nexus.h"
#include "lu/tasks.h"

/* What the router does for the device server; one table for all devices of a router. */
struct lu_router {
    /* c has its status and sense data, and perhaps data to send.  The router may call lu_cmd_end in
     * here. */
    void (*complete)(struct lu_cmd *c);

    /* Called once for a command for which lu_cmd_end has returned false: the device server does not
     * use c any more. */
    void (*released)(struct lu_cmd *c);

    /* Asks the router to end c without a response.  The router calls lu_cmd_end for it and returns
     * true; or it returns false and keeps c, because c was sent after the task management function
     * that is being carried out.  ctx is what the router gave to the function of tasks.h; it is
     * NULL for PREEMPT AND ABORT, and then the router must return true. */
    bool (*abort)(struct lu_cmd *c, void *ctx);
};

/* Clears c, which is in no task set. */
void lu_cmd_init(struct lu_cmd *c);

/* Finds the unit and puts c into its task set.  Then, unless c has failed already (the router may
 * fail a command itself, see cmd.h), finds the operation in the table, checks c, and begins it. */
void lu_cmd_start(struct lu_cmd *c);

/* Called once for each command, when all data that will come has come, or when there are none. */
void lu_cmd_finish(struct lu_cmd *c);

/* Returns the memory into which the bytes at offset off < c->len of a LU_DIR_OUT command are to be
 * received, and lowers *len to the bytes that it has there.  Returns NULL when there is no such
 * memory: the caller then gives the data to lu_cmd_take, which drops them if c has failed. */
uint8_t *lu_cmd_place(struct lu_cmd *c, uint32_t off, uint32_t *len);

/* Takes len bytes of a LU_DIR_OUT command at offset off; off + len <= c->len.  Does nothing if c
 * has failed. */
void lu_cmd_take(struct lu_cmd *c, uint32_t off, const uint8_t *data, uint32_t len);

#define LU_PART_MAX (256u << 10) /* bytes that are read from a store without memory at a time */

/* Returns the memory from which the bytes at offset off < c->len of a LU_DIR_IN command are to be
 * sent, and lowers *len to the bytes that are there.  The memory is the unit's, or c->buf.  For a
 * store without memory, c->buf has one part of the data after the other; the router asks for the
 * bytes in their order, and those that end a part come with *ret_owned, a buffer that the router
 * frees (lu_buf_free) when it has sent them and all before them.  Otherwise *ret_owned stays as it
 * was.  Returns NULL when the store has failed, and then c has failed. */
const uint8_t *lu_cmd_source(struct lu_cmd *c, uint32_t off, uint32_t *len, void **ret_owned);

/* Returns how many bytes lu_cmd_source has in a part; 0: it knows no parts. */
uint32_t lu_cmd_part(const struct lu_cmd *c);

/* For a router that sends some of the data again, also after lu_cmd_end: returns the memory with
 * the len bytes at offset off of a LU_DIR_IN command that has not failed, as they are in the unit
 * now. *ret_owned as for lu_cmd_source.  Returns NULL when they cannot be read any more. */
const uint8_t *lu_cmd_again(const struct lu_cmd *c, uint32_t off, uint32_t len, void **ret_owned);

/* Called before lu_cmd_end when the status of c is on its way to the initiator.  A unit attention
 * is over with that, and a failed sync is known.  Where a command ends without an answer, the unit
 * attention that it was to report pends again (SAM-5 5.14). */
void lu_cmd_answered(struct lu_cmd *c);

/* Removes c from its task set.  The router owns c->buf from then on, and frees it (lu_buf_free)
 * when all of it has been sent.  Returns false when a sync for c is under way: c must then stay in
 * memory until router->released. */
bool lu_cmd_end(struct lu_cmd *c);

#endif
