/* SPDX-License-Identifier: MIT */
/* seam/ipc_lun.h - a logical unit of a session, as the answer to LIST_LUNS describes it.
 *
 * The data of that answer holds one packed unit after the other.  The server packs them, and the
 * client unpacks them; one walk over the fields serves both, so that the two cannot differ.
 */
#ifndef SEAM_IPC_LUN_H
#define SEAM_IPC_LUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "seam/ipc.h"

enum ipc_lun_state {
    IPC_LUN_NEW,      /* a scan has found it; it is no disk, or its disk has not come up */
    IPC_LUN_STARTING, /* its disk is coming up */
    IPC_LUN_UP,       /* a disk that takes I/O, or waits for the session to come back */
    IPC_LUN_OFFLINE,  /* it takes no I/O: err and why say what for; it may come back by itself */
    IPC_LUN_CLOSING,  /* its disk is being flushed and closed */
    IPC_LUN_STATES,
};

#define IPC_LUN_READ_ONLY        (1u << 0) /* the disk refuses to be written */
#define IPC_LUN_THIN             (1u << 1)
#define IPC_LUN_WRITE_CACHE      (1u << 2)
#define IPC_LUN_ROTATIONAL       (1u << 3)
#define IPC_LUN_EXPORT_READ_ONLY (1u << 4)
#define IPC_LUN_EXPORT_STOPPING  (1u << 5)

#define IPC_LUN_IDENT_MAX 256 /* bytes with the NUL */
#define IPC_LUN_WHY_MAX   128

/* Texts are printable and end with a NUL; "" is none. */
struct ipc_lun_info {
    uint32_t index; /* 1, 2, ... in the order in which the session's units were found; LIST_LUNS
                       goes on after it */
    uint8_t lun[8]; /* as on the wire */
    uint8_t pdt;    /* peripheral device type */
    enum ipc_lun_state state;
    uint32_t flags; /* IPC_LUN_... */
    int32_t err;    /* 0, or -errno: why its disk has not come up, or is OFFLINE */
    uint64_t size;  /* bytes; 0 where the disk has not come up yet */
    uint32_t block_size;
    uint32_t export_clients;
    char vendor[9], product[17], revision[5];
    char ident[IPC_LUN_IDENT_MAX]; /* "naa....", "eui....", "t10....": names the unit itself */
    char why[IPC_LUN_WHY_MAX];     /* goes with err */
    char export_kind[IPC_NAME_MAX];
    char export_path[IPC_PATH_MAX];
};

#define IPC_LUN_HEAD       2 /* bytes before the fields: how many follow, low byte first */
#define IPC_LUN_PACKED_MAX 768

/* Where a walk is; bytes are read or written. */
struct ipc_lun_walk {
    uint8_t *at;
    const uint8_t *end;
    bool unpack, bad;
};

static inline void
ipc_lun_bytes(struct ipc_lun_walk *w, void *p, size_t n)
{
    if (w->bad || n > (size_t)(w->end - w->at)) {
        w->bad = true;
        return;
    }
    if (w->unpack)
        memcpy(p, w->at, n);
    else
        memcpy(w->at, p, n);
    w->at += n;
}

static inline uint64_t
ipc_lun_number(struct ipc_lun_walk *w, uint64_t v, unsigned n)
{
    uint8_t b[8];

    for (unsigned i = 0; i < n; i++)
        b[i] = (uint8_t)(v >> (8 * i));
    ipc_lun_bytes(w, b, n);
    if (!w->unpack || w->bad)
        return v;
    v = 0;
    for (unsigned i = 0; i < n; i++)
        v |= (uint64_t)b[i] << (8 * i);
    return v;
}

static inline void
ipc_lun_text(struct ipc_lun_walk *w, char *s, size_t size)
{
    size_t len = w->unpack ? 0 : strnlen(s, size - 1);

    len = (size_t)ipc_lun_number(w, len, 2);
    if (w->bad || len >= size) {
        w->bad = true;
        return;
    }
    ipc_lun_bytes(w, s, len);
    if (w->unpack && !w->bad) {
        s[len] = '\0';
        w->bad = strlen(s) != len;
    }
}

/* Fields are only ever added, at the end. */
static inline void
ipc_lun_fields(struct ipc_lun_walk *w, struct ipc_lun_info *i)
{
    uint32_t state = (uint32_t)i->state;

    i->index = (uint32_t)ipc_lun_number(w, i->index, 4);
    ipc_lun_bytes(w, i->lun, sizeof(i->lun));
    i->pdt = (uint8_t)ipc_lun_number(w, i->pdt, 1);
    state = (uint32_t)ipc_lun_number(w, state, 1);
    w->bad = w->bad || state >= IPC_LUN_STATES;
    i->state = w->bad ? IPC_LUN_NEW : (enum ipc_lun_state)state;
    i->flags = (uint32_t)ipc_lun_number(w, i->flags, 4);
    i->err = (int32_t)(uint32_t)ipc_lun_number(w, (uint32_t)i->err, 4);
    w->bad = w->bad || i->err > 0;
    i->size = ipc_lun_number(w, i->size, 8);
    i->block_size = (uint32_t)ipc_lun_number(w, i->block_size, 4);
    i->export_clients = (uint32_t)ipc_lun_number(w, i->export_clients, 4);
    ipc_lun_text(w, i->vendor, sizeof(i->vendor));
    ipc_lun_text(w, i->product, sizeof(i->product));
    ipc_lun_text(w, i->revision, sizeof(i->revision));
    ipc_lun_text(w, i->ident, sizeof(i->ident));
    ipc_lun_text(w, i->why, sizeof(i->why));
    ipc_lun_text(w, i->export_kind, sizeof(i->export_kind));
    ipc_lun_text(w, i->export_path, sizeof(i->export_path));
}

/* Packs *info at `at`, where there are IPC_LUN_PACKED_MAX bytes, which is enough for any.  Returns
 * the bytes that it took, or 0 where a field holds what no unit has. */
static inline uint32_t
ipc_lun_pack(const struct ipc_lun_info *info, uint8_t *at)
{
    struct ipc_lun_walk w = {.at = at + IPC_LUN_HEAD, .end = at + IPC_LUN_PACKED_MAX};
    struct ipc_lun_info copy = *info;
    uint32_t len;

    ipc_lun_fields(&w, &copy);
    if (w.bad)
        return 0;
    len = (uint32_t)(w.at - at);
    at[0] = (uint8_t)(len - IPC_LUN_HEAD);
    at[1] = (uint8_t)((len - IPC_LUN_HEAD) >> 8);
    return len;
}

/* Unpacks the unit at *at into *ret and moves *at behind it, also where it has fields of a later
 * version, which are left out.  Returns false, and moves nothing, at `end` and where what is there
 * is no unit. */
static inline bool
ipc_lun_next(const uint8_t **at, const uint8_t *end, struct ipc_lun_info *ret)
{
    struct ipc_lun_walk w = {.unpack = true};
    struct ipc_lun_info info;
    const uint8_t *p = *at;
    uint32_t len;

    if (end - p < IPC_LUN_HEAD)
        return false;
    len = (uint32_t)p[0] | (uint32_t)p[1] << 8;
    if ((size_t)(end - p - IPC_LUN_HEAD) < len)
        return false;
    memset(&info, 0, sizeof(info));
    w.at = (uint8_t *)(uintptr_t)(p + IPC_LUN_HEAD); /* is only read */
    w.end = p + IPC_LUN_HEAD + len;
    ipc_lun_fields(&w, &info);
    if (w.bad)
        return false;
    *ret = info;
    *at = p + IPC_LUN_HEAD + len;
    return true;
}

#endif
