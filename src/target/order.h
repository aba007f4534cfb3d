/* SPDX-License-Identifier: MIT */
/* target/order.h - the numbers of a session (RFC 7143 4.2.2).
 *
 * Commands run in the order of their CmdSN, whatever connection they came on,
 * and only inside the window.  ffp.c asks here what has its turn and runs it.
 */
#ifndef TARGET_ORDER_H
#define TARGET_ORDER_H

#include <stdbool.h>
#include <stdint.h>

struct tgt_cmd;
struct tgt_conn;
struct tgt_session;

enum tgt_order { TGT_ORDER_NOW, TGT_ORDER_LATER, TGT_ORDER_DROP };

/* Tells whether a request with that CmdSN runs now, waits for those before it, or is dropped
 * because it is outside the window. */
enum tgt_order tgt_order_check(const struct tgt_session *s, uint32_t cmd_sn);

/* Called when the request with CmdSN == ExpCmdSN has been taken: advances ExpCmdSN. */
void tgt_order_advance(struct tgt_session *s);

/* Keeps c, whose turn is later, in s->held. */
void tgt_order_hold(struct tgt_session *s, struct tgt_cmd *c);

/* Takes the next held request whose turn has come, or is past, out of s->held; NULL: none.  The
 * caller advances. */
struct tgt_cmd *tgt_order_next(struct tgt_session *s);

/* Writes StatSN, ExpCmdSN and MaxCmdSN where every PDU of a target has them; numbered: it takes a
 * StatSN. */
void tgt_order_stamp(struct tgt_conn *c, void *bhs, bool numbered);
/* The same for a PDU that is sent again, with the StatSN that it had (11.4.9). */
void tgt_order_stamp_again(struct tgt_conn *c, void *bhs, uint32_t stat_sn);

#endif
