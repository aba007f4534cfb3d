/* SPDX-License-Identifier: MIT */
/* manage/codes.h - how a request of the management API ends: names for programs, numbers that are
 * exit codes of iscsiadm, and the words that iscsiadm puts behind a number.  Any thread. */
#ifndef MANAGE_CODES_H
#define MANAGE_CODES_H

enum manage_code {
#define CODE(number, name, text) MANAGE_##name = number,
#include "manage/codes.def"
#undef CODE
    MANAGE_CODES
};

/* The name in the "code" member of an error, such as "NOT_FOUND".  A number that no code has is
 * "ERROR".  Never NULL, never freed; so is the text, such as "no objects found". */
const char *manage_code_name(int number);
const char *manage_code_text(int number);

/* The code that fits an -errno best; MANAGE_ERROR where none does. */
enum manage_code manage_code_of_errno(int err);

#endif
