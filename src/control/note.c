/* SPDX-License-Identifier: MIT */
#include "control/note.h"

#include <assert.h>
#include <string.h>

#include "wire/be.h"

/* What a note begins with: who has written it, and how. */
static const uint8_t note_magic[] = {'l', 'u', 'n', 1};

/* Kinds of fields; a number never changes its meaning. */
enum note_field {
    NOTE_TARGET = 1,
    NOTE_HOST = 2,
    NOTE_PORT = 3, /* 16 bits */
    NOTE_TPGT = 4, /* 16 bits; not there: not known */
    NOTE_IFACE = 5,
    NOTE_INSTANCE = 6, /* 32 bits */
    NOTE_OWNER = 7,
    NOTE_ISID = 8,
    NOTE_FLAGS = 9,   /* 8 bits */
    NOTE_EXPORT = 10, /* flags, LUN, kind */
    NOTE_LEASE = 11,  /* end, length, uid, owner */
    NOTE_ASKER = 12,  /* how, uid, pid, time */
};

#define NOTE_LEAVING     1u
#define NOTE_SCAN_MANUAL 2u
#define NOTE_LEASED      4u

#define NOTE_EXPORT_ALL       1u
#define NOTE_EXPORT_READ_ONLY 2u
#define NOTE_EXPORT_HEAD      9 /* bytes before the kind */

#define NOTE_LEASE_HEAD 20 /* bytes before the owner */
#define NOTE_ASKER_LEN  17

/* The most that a note can have: fields with their heads. */
_Static_assert(sizeof(note_magic) + 2 + ISCSI_NAME_MAX + 2 + HOST_MAX + 4 + 4 + 2 +
                       CONTROL_IFACE_MAX + 6 + 2 + CONTROL_OWNER_MAX + 8 + 3 +
                       CONTROL_EXPORTS_MAX * (2 + NOTE_EXPORT_HEAD + CONTROL_KIND_MAX) +
                       CONTROL_LEASES_MAX * (2 + NOTE_LEASE_HEAD + CONTROL_OWNER_MAX) + 2 +
                       NOTE_ASKER_LEN <=
                   IPC_NOTE_MAX,
               "any note fits");

struct note_writer {
    uint8_t *at, *end;
};

static void
note_put(struct note_writer *w, enum note_field kind, const void *p, size_t len)
{
    assert(len <= UINT8_MAX && (size_t)(w->end - w->at) >= 2 + len);
    w->at[0] = (uint8_t)kind;
    w->at[1] = (uint8_t)len;
    memcpy(w->at + 2, p, len);
    w->at += 2 + len;
}

static void
note_put_text(struct note_writer *w, enum note_field kind, const char *s)
{
    if (s[0] != '\0')
        note_put(w, kind, s, strlen(s));
}

static void
note_put_export(struct note_writer *w, const struct control_export *e)
{
    uint8_t b[NOTE_EXPORT_HEAD + CONTROL_KIND_MAX];
    size_t len = strlen(e->kind);

    b[0] = (uint8_t)((e->all ? NOTE_EXPORT_ALL : 0) | (e->read_only ? NOTE_EXPORT_READ_ONLY : 0));
    memcpy(b + 1, e->lun, 8);
    memcpy(b + NOTE_EXPORT_HEAD, e->kind, len);
    note_put(w, NOTE_EXPORT, b, NOTE_EXPORT_HEAD + len);
}

static void
note_put_lease(struct note_writer *w, const struct control_note_lease *l)
{
    uint8_t b[NOTE_LEASE_HEAD + CONTROL_OWNER_MAX];
    size_t len = strlen(l->owner);

    st_be64(b, l->ends_ns);
    st_be64(b + 8, l->ttl_ns);
    st_be32(b + 16, l->uid);
    memcpy(b + NOTE_LEASE_HEAD, l->owner, len);
    note_put(w, NOTE_LEASE, b, NOTE_LEASE_HEAD + len);
}

static void
note_put_asker(struct note_writer *w, const struct control_asker *a)
{
    uint8_t b[NOTE_ASKER_LEN];

    if (a->how == CONTROL_ASKED_UNKNOWN)
        return;
    b[0] = (uint8_t)a->how;
    st_be32(b + 1, a->uid);
    st_be32(b + 5, (uint32_t)a->pid);
    st_be64(b + 9, a->at_ns);
    note_put(w, NOTE_ASKER, b, sizeof(b));
}

uint32_t
note_pack(const struct control_note *note, uint8_t *buf)
{
    struct note_writer w = {buf + sizeof(note_magic), buf + IPC_NOTE_MAX};
    const struct control_name *name = &note->name;
    uint8_t b[4];

    memcpy(buf, note_magic, sizeof(note_magic));
    note_put_text(&w, NOTE_TARGET, name->target);
    note_put_text(&w, NOTE_HOST, name->portal.host);
    st_be16(b, name->portal.port);
    note_put(&w, NOTE_PORT, b, 2);
    if (name->portal.tpgt >= 0) {
        st_be16(b, (uint16_t)name->portal.tpgt);
        note_put(&w, NOTE_TPGT, b, 2);
    }
    note_put_text(&w, NOTE_IFACE, name->iface);
    st_be32(b, name->instance);
    note_put(&w, NOTE_INSTANCE, b, 4);
    note_put_text(&w, NOTE_OWNER, note->owner);
    note_put(&w, NOTE_ISID, note->isid, LOGIN_ISID_LEN);
    b[0] = (uint8_t)((note->leaving ? NOTE_LEAVING : 0) |
                     (note->scan_manual ? NOTE_SCAN_MANUAL : 0) | (note->leased ? NOTE_LEASED : 0));
    note_put(&w, NOTE_FLAGS, b, 1);
    for (unsigned i = 0; i < note->nexports; i++)
        note_put_export(&w, &note->exports[i]);
    for (unsigned i = 0; i < note->nleases; i++)
        note_put_lease(&w, &note->leases[i]);
    note_put_asker(&w, &note->asker);
    return (uint32_t)(w.at - buf);
}

static bool
note_get_text(const uint8_t *p, size_t len, char *ret, size_t max)
{
    if (len > max || memchr(p, '\0', len) != NULL)
        return false;
    memcpy(ret, p, len);
    ret[len] = '\0';
    return true;
}

static bool
note_get_export(const uint8_t *p, size_t len, struct control_note *ret)
{
    struct control_export e = {.all = false};

    if (len < NOTE_EXPORT_HEAD || ret->nexports == CONTROL_EXPORTS_MAX ||
        !note_get_text(p + NOTE_EXPORT_HEAD, len - NOTE_EXPORT_HEAD, e.kind, CONTROL_KIND_MAX))
        return false;
    e.all = (p[0] & NOTE_EXPORT_ALL) != 0;
    e.read_only = (p[0] & NOTE_EXPORT_READ_ONLY) != 0;
    memcpy(e.lun, p + 1, 8);
    ret->exports[ret->nexports++] = e;
    return true;
}

static bool
note_get_lease(const uint8_t *p, size_t len, struct control_note *ret)
{
    struct control_note_lease *l = &ret->leases[ret->nleases];

    if (len <= NOTE_LEASE_HEAD || ret->nleases == CONTROL_LEASES_MAX ||
        !note_get_text(p + NOTE_LEASE_HEAD, len - NOTE_LEASE_HEAD, l->owner, CONTROL_OWNER_MAX))
        return false;
    l->ends_ns = ld_be64(p);
    l->ttl_ns = ld_be64(p + 8);
    l->uid = ld_be32(p + 16);
    ret->nleases++;
    return true;
}

static bool
note_get_asker(const uint8_t *p, size_t len, struct control_asker *ret)
{
    if (len != NOTE_ASKER_LEN)
        return false;
    /* How a later version says it is not known here, and who it was is. */
    ret->how = p[0] < CONTROL_ASKED_WAYS ? (enum control_asked)p[0] : CONTROL_ASKED_UNKNOWN;
    ret->uid = ld_be32(p + 1);
    ret->pid = (int32_t)ld_be32(p + 5);
    ret->at_ns = ld_be64(p + 9);
    return true;
}

/* Takes a field; false: it is not one that note_pack writes. */
static bool
note_get(uint8_t kind, const uint8_t *p, size_t len, struct control_note *ret)
{
    switch (kind) {
    case NOTE_TARGET:
        return note_get_text(p, len, ret->name.target, ISCSI_NAME_MAX);
    case NOTE_HOST:
        return note_get_text(p, len, ret->name.portal.host, HOST_MAX);
    case NOTE_PORT:
        ret->name.portal.port = len == 2 ? ld_be16(p) : 0;
        return len == 2;
    case NOTE_TPGT:
        ret->name.portal.tpgt = len == 2 ? ld_be16(p) : -1;
        return len == 2;
    case NOTE_IFACE:
        return note_get_text(p, len, ret->name.iface, CONTROL_IFACE_MAX);
    case NOTE_INSTANCE:
        ret->name.instance = len == 4 ? ld_be32(p) : 0;
        return len == 4;
    case NOTE_OWNER:
        return note_get_text(p, len, ret->owner, CONTROL_OWNER_MAX);
    case NOTE_ISID:
        if (len == LOGIN_ISID_LEN)
            memcpy(ret->isid, p, len);
        return len == LOGIN_ISID_LEN;
    case NOTE_FLAGS:
        ret->leaving = len == 1 && (p[0] & NOTE_LEAVING) != 0;
        ret->scan_manual = len == 1 && (p[0] & NOTE_SCAN_MANUAL) != 0;
        ret->leased = len == 1 && (p[0] & NOTE_LEASED) != 0;
        return len == 1;
    case NOTE_EXPORT:
        return note_get_export(p, len, ret);
    case NOTE_LEASE:
        return note_get_lease(p, len, ret);
    case NOTE_ASKER:
        return note_get_asker(p, len, &ret->asker);
    default:
        return true; /* of a later version */
    }
}

bool
note_unpack(const uint8_t *buf, uint32_t len, struct control_note *ret)
{
    const uint8_t *at = buf + sizeof(note_magic), *end = buf + len;
    struct control_note note;

    if (len < sizeof(note_magic) || memcmp(buf, note_magic, sizeof(note_magic)) != 0)
        return false;
    memset(&note, 0, sizeof(note));
    note.name.portal.tpgt = -1;
    while (at < end) {
        if (end - at < 2 || end - at - 2 < at[1] || !note_get(at[0], at + 2, at[1], &note))
            return false;
        at += 2 + at[1];
    }
    if (note.name.target[0] == '\0')
        return false;
    *ret = note;
    return true;
}
