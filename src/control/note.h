/* SPDX-License-Identifier: MIT */
/* control/note.h - the note that is left with a session in the data plane (SET_NOTE): what a
 * control plane that comes after this one needs to take the session over, also where the record is
 * gone.
 *
 * It holds no secrets.  Any thread; nothing is allocated.
 */
#ifndef CONTROL_NOTE_H
#define CONTROL_NOTE_H

#include "control/control.h"

/* Times are the loop's clock, which all processes of a host share until it is booted anew; and the
 * note goes with the data plane. */
struct control_note_lease {
    char owner[CONTROL_OWNER_MAX + 1];
    uint32_t uid;
    uint64_t ttl_ns, ends_ns;
};

struct control_note {
    struct control_name name;
    char owner[CONTROL_OWNER_MAX + 1];
    uint8_t isid[LOGIN_ISID_LEN];
    bool leaving; /* the session is being logged out */
    bool scan_manual;
    bool leased; /* leases alone keep the session */
    unsigned nexports;
    struct control_export exports[CONTROL_EXPORTS_MAX];
    unsigned nleases;
    struct control_note_lease leases[CONTROL_LEASES_MAX];
    struct control_asker asker;
};

/* A field is a byte with its kind, one with its length, and that many bytes; those of a kind that
 * is not known are left out.  Packs *note into buf[IPC_NOTE_MAX], which is enough for any, and
 * returns the bytes. */
uint32_t note_pack(const struct control_note *note, uint8_t *buf);

/* Returns false where the bytes are no note of ours, or one that names no target. */
bool note_unpack(const uint8_t *buf, uint32_t len, struct control_note *ret);

#endif
