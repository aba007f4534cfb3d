/* SPDX-License-Identifier: MIT */
/* target/login.h - login: PDUs, stages and the decision which session it is (RFC 7143 6.3, 11.12,
 * 11.13). */
#ifndef TARGET_LOGIN_H
#define TARGET_LOGIN_H

#include <stdint.h>

struct tgt_conn;
struct tgt_login;

/* For conn->login, which tgt_login_free takes; NULL without memory. */
struct tgt_login *tgt_login_new(void);
/* NULL is harmless. */
void tgt_login_free(struct tgt_login *l);

/* A PDU, whose header is in c->h, of a connection that has not logged in yet. */
void tgt_login_pdu(struct tgt_conn *c, const uint8_t *data, uint32_t len);

#endif
