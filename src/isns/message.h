/* SPDX-License-Identifier: MIT */
/* isns/message.h - messages of iSNS (RFC 4171 5): written, and read piece by piece.
 *
 * A message that is read may come in several PDUs, and ends in memory that grows with
 * what has come and never beyond ISNS_MESSAGE_MAX.  Internal to isns/, but for tests.
 * Any thread.
 */
#ifndef ISNS_MESSAGE_H
#define ISNS_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"

#define ISNS_HEAD_LEN    12
#define ISNS_MESSAGE_MAX (4u << 20) /* bytes of a message that is read, without heads */
#define ISNS_SEND_MAX    2048       /* bytes of a message that is written */
#define ISNS_PORTALS_MAX 65536u     /* portals of all targets of an answer */

enum isns_function { /* RFC 4171 4.1 and 5.2; an answer has bit 15 set */
                     ISNS_DEV_ATTR_REG = 1,
                     ISNS_DEV_ATTR_QRY = 2,
                     ISNS_DEREG_DEV = 4,
                     ISNS_SCN_REG = 5,
                     ISNS_SCN = 8,
                     ISNS_ESI = 13,
                     ISNS_ANSWER = 0x8000,
};

enum isns_flag { /* RFC 4171 5.1.4 */
                 ISNS_CLIENT = 0x8000,
                 ISNS_SERVER = 0x4000,
                 ISNS_AUTH = 0x2000,
                 ISNS_REPLACE = 0x1000,
                 ISNS_LAST = 0x0800,
                 ISNS_FIRST = 0x0400,
};

enum isns_tag { /* RFC 4171 6.1 */
                ISNS_DELIMITER = 0,
                ISNS_ENTITY = 1,
                ISNS_ENTITY_PROTOCOL = 2,
                ISNS_REGISTRATION_PERIOD = 6,
                ISNS_PORTAL_ADDRESS = 16,
                ISNS_PORTAL_PORT = 17,
                ISNS_ESI_INTERVAL = 19,
                ISNS_ESI_PORT = 20,
                ISNS_SCN_PORT = 23,
                ISNS_NODE_NAME = 32,
                ISNS_NODE_TYPE = 33,
                ISNS_SCN_BITMAP = 35,
                ISNS_GROUP_NODE = 48,
                ISNS_GROUP_ADDRESS = 49,
                ISNS_GROUP_PORT = 50,
                ISNS_GROUP_TAG = 51,
};

enum isns_status { /* RFC 4171 5.4; those that something depends on */
                   ISNS_OK = 0,
                   ISNS_SOURCE_UNKNOWN = 6,
                   ISNS_SOURCE_ABSENT = 7,
                   ISNS_SOURCE_UNAUTHORIZED = 8,
                   ISNS_NO_SUCH_ENTRY = 9,
};

#define ISNS_PROTOCOL_ISCSI 2u
#define ISNS_TYPE_TARGET    1u
#define ISNS_TYPE_INITIATOR 2u

/* What a status means, in the words of the RFC. */
const char *isns_status_text(uint32_t status);

/* ---- writing -------------------------------------------------------------------------------- */

/* A message that is being written, of one PDU.  What does not fit is left out, and `overflow` is
 * set. */
struct isns_out {
    uint8_t buf[ISNS_SEND_MAX];
    size_t len; /* of the whole, with its head */
    bool overflow;
};

void isns_begin(struct isns_out *o, uint16_t function, uint16_t flags, uint16_t xid);
void isns_put(struct isns_out *o, uint32_t tag, const void *value, size_t len);
void isns_put_text(struct isns_out *o, uint32_t tag, const char *text); /* "": of length 0 */
void isns_put_num(struct isns_out *o, uint32_t tag, uint32_t value);
/* Both attributes of an IPv4 or IPv6 address with its port; port 0: that of the address. */
void isns_put_portal(struct isns_out *o, uint32_t address_tag, uint32_t port_tag,
                     const struct sock_addr *at, uint16_t port);
/* A status stands at the beginning of an answer. */
void isns_put_status(struct isns_out *o, uint32_t status);

/* ---- reading -------------------------------------------------------------------------------- */

struct isns_in {
    uint8_t head[ISNS_HEAD_LEN];
    size_t head_len;
    size_t left;       /* bytes of this PDU that have not come */
    uint16_t sequence; /* the next one */
    uint16_t function, flags, xid;
    uint8_t *data; /* owned; the attributes of all PDUs together */
    size_t len, room;
};

void isns_in_init(struct isns_in *in);
/* Makes it ready for the next message. */
void isns_in_reset(struct isns_in *in);

/* Takes bytes of a stream and sets *ret_used to how many.  Returns 1: a message is complete, and
 * *in describes it until isns_in_reset; 0: all were used, and more is needed; or -EPROTO or -ENOMEM
 * with *err. */
int isns_feed(struct isns_in *in, const void *bytes, size_t len, size_t *ret_used,
              struct lunette_error *err);

/* An attribute.  value is len bytes, a multiple of 4, in the message. */
struct isns_attr {
    uint32_t tag, len;
    const uint8_t *value;
};

/* Reads the attribute at *at, and sets *at to the next one.  Returns 1; 0: there is none any more;
 * or -EPROTO. */
int isns_next(const struct isns_in *in, size_t *at, struct isns_attr *ret);

/* The status of an answer.  Returns 0 or -EPROTO. */
int isns_status(const struct isns_in *in, uint32_t *ret);

/* Finds the first attribute of that tag behind the status (answer) or from the start.  Returns
 * false where there is none, or where the message is malformed before it. */
bool isns_find(const struct isns_in *in, bool answer, uint32_t tag, struct isns_attr *ret);
bool isns_num(const struct isns_attr *a, uint32_t *ret);

/* A portal at which a target is. */
struct isns_portal {
    char name[ISCSI_NAME_MAX + 1];
    struct portal at;
};

struct isns_targets {
    struct isns_portal *portal; /* owned; those of one target stand together, in their order */
    size_t n;
    size_t bad;               /* entries that were left out */
    struct lunette_error why; /* of the first */
};
void isns_targets_free(struct isns_targets *t);

/* Reads the answer to isns_put_query. */
int isns_read_targets(const struct isns_in *in, struct isns_targets *ret,
                      struct lunette_error *err);

/* Writes the question for all targets and their portals that source may know. */
void isns_put_query(struct isns_out *o, uint16_t xid, const char *source);

#endif
