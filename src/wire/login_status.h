/* SPDX-License-Identifier: MIT */
/* wire/login_status.h - what a Login Response's Status-Class and Status-Detail mean, RFC 7143
 * 11.13.5, for a person. */
#ifndef WIRE_LOGIN_STATUS_H
#define WIRE_LOGIN_STATUS_H

#include <stdint.h>

/* A sentence without full stop, never NULL.  A detail that the RFC does not name gets the sentence
 * of its class. */
const char *login_status_text(uint8_t status_class, uint8_t detail);

#endif
