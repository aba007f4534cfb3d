/* SPDX-License-Identifier: MIT */
/* firmware/internal.h - what the tree and the table are both read into: the objects of an iBFT,
 * which name each other by numbers. */
#ifndef FIRMWARE_INTERNAL_H
#define FIRMWARE_INTERNAL_H

#include "firmware/firmware.h"

/* The structure is valid, or was booted from.  Either is enough, since there are firmwares that set
 * the one without the other. */
#define FIRMWARE_FLAGS_USED  3u
#define FIRMWARE_ORIGIN_DHCP 3u

/* A network card or a target: t holds what that object says. */
struct firmware_object {
    unsigned number; /* its index in the table */
    unsigned flags;
    unsigned card;   /* of a target: the number of its network card */
    const char *bad; /* what is wrong with it, as words behind "target N"; NULL: nothing */
    struct firmware_target t;
};

struct firmware_objects {
    char initiator[ISCSI_NAME_MAX + 1], isid[16];
    struct firmware_object *cards, *targets; /* FIRMWARE_OBJECTS_MAX of each */
    size_t ncards, ntargets;
};

/* Returns 0, or -ENOMEM with *err; the caller ends it with firmware_objects_fini. */
int firmware_objects_init(struct firmware_objects *o, struct lunette_error *err);
void firmware_objects_fini(struct firmware_objects *o);

/* Copies text[0..len) up to its first NUL with a NUL into ret of size bytes.  What is too long, or
 * holds a control character, leaves ret empty and sets *bad, unless that is set. */
void firmware_text(const char *text, size_t len, char *ret, size_t size, const char **bad);

/* Puts each target together with its network card and the initiator.  Returns 0 and *ret, or
 * -ENOMEM with *err. */
int firmware_join(const struct firmware_objects *o, struct firmware_list *ret,
                  struct lunette_error *err);

#endif
