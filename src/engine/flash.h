/* SPDX-License-Identifier: MIT */
/* engine/flash.h - the table of targets that an engine keeps over its own death (Linux: the flash
 * of an adapter).
 *
 * One file for each record in DIR/flash, named by its index, of lines "NAME = VALUE" with the names
 * of open-iscsi's flashnode records; its first line tells the version, its last one the CRC32C of
 * the rest.  It is written beside, synced, renamed, and the folder synced, so that a record is
 * there whole or not at all.  One that is torn is set aside and reported, and the others work.
 */
#ifndef ENGINE_FLASH_H
#define ENGINE_FLASH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"
#include "login/config.h"
#include "seam/ipc.h"

struct engine_flash;

#define FLASH_NO_CHAP (-1)

struct flash_record {
    bool used;
    bool boot;    /* is logged in to when the engine starts */
    int32_t chap; /* index of the table of secrets; FLASH_NO_CHAP: none */
    int32_t chap_in;
    /* What to log in to, without secrets: names, portal, ISID (which stays, so that a login takes
     * the place of the session that a dead engine has left), limits and what is offered. */
    struct login_config login;
};

/* dir NULL: the table is in memory only.  Torn records are told to the log.  -errno with *err. */
int engine_flash_open(struct loop *l, const char *dir, struct engine_flash **ret,
                      struct lunette_error *err);
void engine_flash_close(struct engine_flash *f);

/* NULL: there is none at that index. */
const struct flash_record *engine_flash_get(const struct engine_flash *f, uint32_t index);
/* The record of that target and portal, or -ENOENT. */
int engine_flash_find(const struct engine_flash *f, const char *target,
                      const struct portal *portal);
/* Adds a record: its index; -ENOSPC, or -errno with *err. */
int engine_flash_add(struct engine_flash *f, const struct flash_record *r,
                     struct lunette_error *err);
/* Replaces it; on the disk before this returns, or nothing has changed. */
int engine_flash_set(struct engine_flash *f, uint32_t index, const struct flash_record *r,
                     struct lunette_error *err);
int engine_flash_delete(struct engine_flash *f, uint32_t index, struct lunette_error *err);

#endif
