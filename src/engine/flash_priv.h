/* SPDX-License-Identifier: MIT */
/* engine/flash_priv.h - what flash.c and chap.c have in common. */
#ifndef ENGINE_FLASH_PRIV_H
#define ENGINE_FLASH_PRIV_H

#include "base/whole_file.h"
#include "engine/flash.h"
#include "engine/sealed.h"

struct engine_flash {
    struct loop *loop;
    const struct whole_fileops *ops;
    int state, dir;                 /* DIR and DIR/flash; -1: in memory only */
    uint32_t loop_index, loops;     /* whose records these are */
    bool taken[IPC_FLASHNODES_MAX]; /* there is a file that is not ours, or that we cannot read */
    struct flash_record *record[IPC_FLASHNODES_MAX]; /* owned */
    bool has_identity;
    uint64_t identity;          /* the hash of its text */
    struct login_account *chap; /* ENGINE_CHAPS_MAX of them where in memory only, else NULL */
};

#define FLASH_KIND "flashnode"

/* Reads DIR/flash/NAME.  As sealed_read and flash_text_take. */
int flash_read_record(const struct engine_flash *f, const char *name, struct flash_record *ret,
                      struct lunette_error *err);

/* Gives what could not be read another name, NAME.torn, and tells the log why. */
void flash_set_aside(const struct engine_flash *f, int dir, const char *name,
                     const struct lunette_error *why);

/* Fails with a sentence about a change of the tables that could not be written. */
int flash_not_written(int code, const char *what, struct lunette_error *err);

#endif
