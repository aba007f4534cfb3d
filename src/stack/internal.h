/* SPDX-License-Identifier: MIT */
/* stack/internal.h - what the files of stack/ share. */
#ifndef STACK_INTERNAL_H
#define STACK_INTERNAL_H

#include "block/block.h"
#include "stack/stack.h"

struct stack {
    struct scsi_target *target;
    struct loop *loop;
    uint32_t timeout_ms; /* of disk commands; 0: the default */
    const struct stack_events *ev;
    void *user;
    struct list disks;
    bool detaching; /* in stack_detach: callbacks of the midlayer are ignored */
};

enum stack_disk_state {
    DISK_STARTING, /* the midlayer brings it up */
    DISK_UP,
    DISK_DRAINING, /* requests are outstanding */
    DISK_REMOVING, /* the midlayer flushes and removes the device */
};

struct stack_unit {
    struct stack_disk disk; /* first: a struct stack_disk * points here */
    struct list node;       /* of the stack */
    enum stack_disk_state state;
    struct loop_work work; /* takes the next step where the midlayer had nothing to wait for */
    void (*done)(void *user, struct stack_disk *d, const struct lunette_error *why);
    void *done_user;
    void (*closed)(void *user, int err); /* NULL: nobody has asked for the end */
    void *closed_user;
    int close_err;
};

static inline struct stack_unit *
stack_unit_of(struct stack_disk *d)
{
    return container_of(d, struct stack_unit, disk);
}

/* disk.c: frees u, after the midlayer has let go of its device, and makes the callback that is due.
 */
void stack_unit_end(struct stack_unit *u);

#endif
