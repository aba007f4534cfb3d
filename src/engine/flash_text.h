/* SPDX-License-Identifier: MIT */
/* engine/flash_text.h - a record of the table (engine/flash.h), and its text.  Any thread. */
#ifndef ENGINE_FLASH_TEXT_H
#define ENGINE_FLASH_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "login/config.h"

#define FLASH_TEXT_MAX 4096 /* bytes of any record's text, with the NUL */

#define FLASH_NO_CHAP    (-1)
#define ENGINE_CHAPS_MAX 256 /* names with secrets: indices 0..255 */

struct flash_record {
    bool used;
    bool boot;    /* is logged in to when the engine starts */
    int32_t chap; /* index of the table of secrets; FLASH_NO_CHAP: none */
    int32_t chap_in;
    /* What to log in to, without secrets: names, portal, ISID (which stays, so that a login takes
     * the place of the session that a dead engine has left), limits and what is offered.  Of it
     * the table keeps what has a name in engine/flash_text.c; all else is as login_config_init has
     * it. */
    struct login_config login;
};

/* A record with defaults, over tcp, without names and portal; its ISID is of zeroes, which gets it
 * one of its own as soon as it has all of these. */
void engine_flash_record_init(struct flash_record *r);

/* Writes a line "NAME = VALUE" for each setting, with the NUL, into buf of FLASH_TEXT_MAX bytes.
 * Returns the length. */
size_t flash_text_format(const struct flash_record *r, char *buf);

/* Takes the lines of text[0..len) into *r; what has no line stays as it is.  Empty lines and those
 * that begin with '#' say nothing.  Returns 0, or -EINVAL with the line, what is wrong, and what to
 * do, and then leaves *r as it was. */
int flash_text_take(const char *text, size_t len, struct flash_record *r,
                    struct lunette_error *err);

#endif
