/* SPDX-License-Identifier: MIT */
/* target/login.h - login: PDUs, stages and the decision which session it is (RFC 7143 6.3, 11.12,
 * 11.13). */
#ifndef TARGET_LOGIN_H
#define TARGET_LOGIN_H

#include <stdint.h>

struct tgt_conn;
struct tgt_login;

/* Frees what conn->login is, which the first PDU has made; does nothing for NULL. */
void tgt_login_free(struct tgt_login *l);

/* Handles a PDU of a connection that has not logged in yet; its header is in c->h. */
void tgt_login_pdu(struct tgt_conn *c, const uint8_t *data, uint32_t len);

#endif
