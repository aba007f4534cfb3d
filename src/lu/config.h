/* SPDX-License-Identifier: MIT */
/* lu/config.h - the configuration of a logical unit: its store, its size, its name.  Any thread. */
#ifndef LU_CONFIG_H
#define LU_CONFIG_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct lu_store;

#define LU_NUMBER_MAX 16383 /* flat space addressing ends there */
#define LU_SERIAL_MAX 32
#define LU_BLOCK_MIN  512
#define LU_BLOCK_MAX  4096

enum lu_kind { LU_RAM, LU_FILE, LU_NULL };

struct lu_config {
    enum lu_kind kind;
    struct lu_store *store; /* a store of the caller's in place of kind, size, path and create, or
                               NULL; lu_device_open takes it, and closes it if it fails */
    uint64_t size;          /* bytes; a file: 0 takes the file's own size */
    uint64_t max_size;      /* bytes; RAM and null only: how far lu_resize may go; 0: size */
    uint32_t block;         /* bytes of a logical block, a power of 2, 512..4096; 0: 512 */
    int32_t lun;            /* the LUN, 0..LU_NUMBER_MAX; -1: the next free one */
    bool read_only;
    uint8_t alua;                   /* its ALUA state: enum alua_state (wire/capacity.h) */
    bool create;                    /* makes the file, `size` bytes, if it is not there */
    int wce;                        /* write cache: 0 or 1; -1: on for files, off else */
    char serial[LU_SERIAL_MAX + 1]; /* "": derived from the names of device and LUN; for RAM, which
                                       forgets, another one with each start */
    char path[PATH_MAX];
};

/* Reads "ram:SIZE", "null:SIZE", "file:PATH" or "file:PATH:SIZE", with options behind it, each
 * after a comma: block=N ro serial=TEXT lun=N wce=0|1 max=SIZE
 * alua=STATE.  Sizes take K M G T P.  Returns 0,
 * or -EINVAL with a sentence for a person in err, and then leaves *ret as it was. */
int lu_config_parse(const char *text, struct lu_config *ret, struct lunette_error *err);

#endif
