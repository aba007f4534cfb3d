/* SPDX-License-Identifier: MIT */
/* wire/names.h - protocol codes as short phrases for logs and errors.  No function returns NULL: an
 * unknown code yields "unknown ...", and the caller prints the number beside it.  Any thread. */
#ifndef WIRE_NAMES_H
#define WIRE_NAMES_H

#include <stdint.h>

const char *iscsi_reject_name(uint8_t reason);
const char *iscsi_async_name(uint8_t event);
const char *iscsi_tmf_name(uint8_t function);
const char *iscsi_tmf_response_name(uint8_t response);
const char *iscsi_logout_reason_name(uint8_t reason);
const char *iscsi_logout_response_name(uint8_t response);
const char *iscsi_snack_name(uint8_t type);
const char *iscsi_stage_name(unsigned stage);

#endif
