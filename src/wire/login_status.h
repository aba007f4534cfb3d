/* SPDX-License-Identifier: MIT */
/* wire/login_status.h - what a Login Response's Status-Class and Status-Detail mean, RFC 7143
 * 11.13.5, for a person. */
#ifndef WIRE_LOGIN_STATUS_H
#define WIRE_LOGIN_STATUS_H

#include <stdint.h>

/* Returns a sentence without a full stop, never NULL.  For a detail that the RFC does not name it
 * is the sentence of the class.  Any thread. */
const char *login_status_text(uint8_t status_class, uint8_t detail);

#endif
