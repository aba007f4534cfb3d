/* SPDX-License-Identifier: MIT */
/* engine/flash.h - the table of targets that an engine keeps over its own death (Linux: the flash
 * of an adapter), and the table of names and secrets beside it.
 *
 * One file for each record in DIR/flash, named by its index, of lines "NAME = VALUE" with the names
 * of open-iscsi's flashnode records; its first line tells the version, its last one the CRC32C of
 * the rest.  It is written beside, synced, renamed, and the folder synced, so that a record is
 * there whole or not at all.  One that is torn is set aside and reported, and the others work.
 *
 * Names and secrets are in DIR/chap, which its owner alone may read, and records refer to them by
 * index.  That file is read when one is needed.  A login that has it wipes it, and only what keeps
 * a session logged in (login/reopen.h) has a copy for as long; where the tables are in memory only,
 * secrets stay there until they are deleted.
 *
 * Changes wait for the disk, also on an engine's loop: they are few, and who asked for one is told
 * after it is there.  docs/design/flash.md says why.
 */
#ifndef ENGINE_FLASH_H
#define ENGINE_FLASH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"
#include "engine/flash_text.h"
#include "seam/ipc.h"

struct engine_flash;
struct whole_fileops;

/* Makes the folder dir where it is missing, and takes it for this process: before the first
 * engine_flash_open of it.  Returns a descriptor, which gives it back when it is closed, by the end
 * of the process as well; or -errno with *err: -EBUSY: another engine has it. */
int engine_flash_lock(const char *dir, struct lunette_error *err);

/* dir NULL: the tables are in memory only.  Torn records are told to the log.  -errno with *err. */
int engine_flash_open(struct loop *l, const char *dir, struct engine_flash **ret,
                      struct lunette_error *err);
/* The same with calls that tests let fail. */
int engine_flash_open_with(struct loop *l, const char *dir, const struct whole_fileops *ops,
                           struct engine_flash **ret, struct lunette_error *err);
/* Before the first use: this is the table of loop `loop` of `loops`, each of which has one of the
 * same folder.  It keeps the records whose target belongs to its loop (offload_loop_of), and those
 * without a target whose index modulo loops is `loop`, as the index of each new one is.  All others
 * are the other tables'. */
void engine_flash_share(struct engine_flash *f, uint32_t loop, uint32_t loops);
/* Before the first record is made: ISIDs are made of this text, which names the engine (its
 * socket's path, say), and of the record's names and portal, and not at random.  So an engine whose
 * tables are in memory only comes back as the same initiator port, and its login ends the session
 * that its dead predecessor has left (docs/design/nexus.md).  Borrowed for the call. */
void engine_flash_set_identity(struct engine_flash *f, const char *text);
/* NULL is harmless. */
void engine_flash_close(struct engine_flash *f);

/* NULL: there is none at that index, or it is another loop's. */
const struct flash_record *engine_flash_get(const struct engine_flash *f, uint32_t index);
/* The record of that target and portal (its host and port), or -ENOENT. */
int engine_flash_find(const struct engine_flash *f, const char *target,
                      const struct portal *portal);
/* Adds a record: its index; -ENOSPC, or -errno with *err as engine_flash_set. */
int engine_flash_add(struct engine_flash *f, const struct flash_record *r,
                     struct lunette_error *err);
/* Replaces it; on the disk before this returns, or nothing has changed.  -ENOENT; -EINVAL: a value;
 * -EEXIST: another one has that target and portal; -EXDEV: the target is another loop's. */
int engine_flash_set(struct engine_flash *f, uint32_t index, const struct flash_record *r,
                     struct lunette_error *err);
int engine_flash_delete(struct engine_flash *f, uint32_t index, struct lunette_error *err);

/* Copies a name and its secret, which the caller wipes (login_config_wipe, chap_wipe).  -ENOENT, or
 * -errno with *err, and then *ret is untouched. */
int engine_chap_get(struct engine_flash *f, uint32_t index, struct login_account *ret,
                    struct lunette_error *err);
/* Replaces or adds one; on the disk before this returns.  -EINVAL: what a line cannot hold, or a
 * name with bytes that a terminal would take as more than a letter. */
int engine_chap_set(struct engine_flash *f, uint32_t index, const struct login_account *a,
                    struct lunette_error *err);
/* -ENOENT; -EBUSY: a record has it, of any loop. */
int engine_chap_delete(struct engine_flash *f, uint32_t index, struct lunette_error *err);
/* Calls fn for each name, ascending by index, until it returns false.  0, or -errno with *err. */
int engine_chap_list(struct engine_flash *f,
                     bool (*fn)(void *user, uint32_t index, const char *name), void *user,
                     struct lunette_error *err);

#endif
