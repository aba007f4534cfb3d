/* SPDX-License-Identifier: MIT */
/* wire/pr.h - the parameter list of PERSISTENT RESERVE OUT, and the data of PERSISTENT RESERVE IN
 * (SPC-4 6.15, 6.16).  The CDBs are in wire/scsi.h.  Any thread. */
#ifndef WIRE_PR_H
#define WIRE_PR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PR_LIST_LEN       24    /* bytes of the parameter list without TransportIDs */
#define PR_IN_MAX         65535 /* bytes of data that the CDB can ask for */
#define PR_PORT_MAX       256   /* bytes of a port's name with its NUL */
#define PR_APTPL          0x01u /* activate persist through power loss */
#define PR_ALL_TG_PT      0x04u
#define PR_SPEC_I_PT      0x08u
#define PR_PROTOCOL_ISCSI 5u

/* Types of a reservation. */
enum scsi_pr_type {
    SCSI_PR_NONE = 0, /* in structures of this header: there is no reservation */
    SCSI_PR_WRITE_EXCLUSIVE = 1,
    SCSI_PR_EXCLUSIVE_ACCESS = 3,
    SCSI_PR_WRITE_EXCLUSIVE_RO = 5, /* registrants only */
    SCSI_PR_EXCLUSIVE_ACCESS_RO = 6,
    SCSI_PR_WRITE_EXCLUSIVE_AR = 7, /* all registrants */
    SCSI_PR_EXCLUSIVE_ACCESS_AR = 8,
};

/* True for 1, 3 and 5..8: the types that there are. */
bool pr_type_known(unsigned type);

struct pr_list {
    uint64_t key;         /* the caller's registration; 0: it has none */
    uint64_t service_key; /* the new one; with PREEMPT the one that goes */
    uint8_t flags;        /* PR_APTPL ... */
};

void pr_list_build(uint8_t buf[PR_LIST_LEN], const struct pr_list *l);
void pr_list_parse(const uint8_t buf[PR_LIST_LEN], struct pr_list *ret);

/* What the answers of READ KEYS, READ RESERVATION and READ FULL STATUS begin with. */
struct pr_head {
    uint32_t generation; /* counts changes of registrations */
    uint64_t total;      /* bytes of the whole answer, which may be more than came */
};

/* Returns how many keys of READ KEYS data lie within both len and the ADDITIONAL LENGTH, or -EINVAL
 * when len is less than the 8 bytes of the header. */
int pr_keys_count(const uint8_t *buf, size_t len, struct pr_head *ret);
/* Returns key i, which is less than what pr_keys_count() returned. */
uint64_t pr_keys_get(const uint8_t *buf, unsigned i);

struct pr_reservation {
    uint32_t generation;
    uint64_t key;  /* 0 with the all-registrants types, or without a reservation */
    uint8_t scope; /* 0: of the whole unit */
    uint8_t type;  /* enum scsi_pr_type; what the device told, also where there is no such type */
};

/* Returns 0, or -EINVAL when the data end before what they announce. */
int pr_reservation_parse(const uint8_t *buf, size_t len, struct pr_reservation *ret);

/* A registration, as READ FULL STATUS tells it. */
struct pr_registrant {
    uint64_t key;
    bool holder;         /* of the reservation */
    bool all_ports;      /* registered at all target ports; else target_port is the one */
    uint8_t scope, type; /* where it is a holder; else 0 */
    uint16_t target_port;
    uint8_t protocol;
    char port[PR_PORT_MAX]; /* iSCSI: the initiator port, "iqn.…,i,0x…", or only the node's name;
                               printable.  "" for other protocols */
};

/* Returns 0, or -EINVAL when len is less than the 8 bytes of the header. */
int pr_status_head(const uint8_t *buf, size_t len, struct pr_head *ret);
/* Gets the descriptor at buf[*at] and moves *at on to the next; the first is at 8.  True: *ret is
 * set; false: there is none that is all there. */
bool pr_status_next(const uint8_t *buf, size_t len, size_t *at, struct pr_registrant *ret);

/* Writes data of READ FULL STATUS for one iSCSI port to buf, of which size bytes are there.
 * Returns the length of the descriptor, or -ENOBUFS. */
int pr_status_build(uint8_t *buf, size_t size, const struct pr_registrant *r);

#endif
