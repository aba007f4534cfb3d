/* SPDX-License-Identifier: MIT */
/* export/nbd/proto.h - the numbers and the structures of the NBD protocol (doc/proto.md of the NBD
 * project), as they are on the wire. */
#ifndef EXPORT_NBD_PROTO_H
#define EXPORT_NBD_PROTO_H

#include <stddef.h>

#include "wire/be.h"

/* ---- the handshake ---- */

#define NBD_INIT_MAGIC         0x4e42444d41474943ull /* "NBDMAGIC" */
#define NBD_OPTION_MAGIC       0x49484156454f5054ull /* "IHAVEOPT" */
#define NBD_OPTION_REPLY_MAGIC 0x0003e889045565a9ull

struct nbd_greeting {
    struct be64 init, option;
    struct be16 flags;
};
_Static_assert(sizeof(struct nbd_greeting) == 18, "wire");

/* The handshake flags of the server, and those with which a client answers. */
#define NBD_FLAG_FIXED_NEWSTYLE 1u
#define NBD_FLAG_NO_ZEROES      2u

struct nbd_option {
    struct be64 magic;
    struct be32 option, len;
};
_Static_assert(sizeof(struct nbd_option) == 16, "wire");
_Static_assert(offsetof(struct nbd_option, len) == 12, "wire");

struct nbd_option_reply {
    struct be64 magic;
    struct be32 option, type, len;
};
_Static_assert(sizeof(struct nbd_option_reply) == 20, "wire");
_Static_assert(offsetof(struct nbd_option_reply, type) == 12, "wire");

enum nbd_option_number {
    NBD_OPT_EXPORT_NAME = 1,
    NBD_OPT_ABORT = 2,
    NBD_OPT_LIST = 3,
    NBD_OPT_STARTTLS = 5,
    NBD_OPT_INFO = 6,
    NBD_OPT_GO = 7,
    NBD_OPT_STRUCTURED_REPLY = 8,
    NBD_OPT_LIST_META_CONTEXT = 9,
    NBD_OPT_SET_META_CONTEXT = 10,
};

#define NBD_REP_ACK          1u
#define NBD_REP_SERVER       2u
#define NBD_REP_INFO         3u
#define NBD_REP_META_CONTEXT 4u
#define NBD_REP_ERR_UNSUP    0x80000001u
#define NBD_REP_ERR_POLICY   0x80000002u
#define NBD_REP_ERR_INVALID  0x80000003u
#define NBD_REP_ERR_UNKNOWN  0x80000006u
#define NBD_REP_ERR_SHUTDOWN 0x80000007u
#define NBD_REP_ERR_TOO_BIG  0x80000009u

#define NBD_INFO_EXPORT     0u
#define NBD_INFO_NAME       1u
#define NBD_INFO_BLOCK_SIZE 3u

/* NBD_INFO_EXPORT; its last two members also answer NBD_OPT_EXPORT_NAME. */
struct nbd_info_export {
    struct be16 type;
    struct be64 size;
    struct be16 flags;
};
_Static_assert(sizeof(struct nbd_info_export) == 12, "wire");

struct nbd_info_block_size {
    struct be16 type;
    struct be32 min, preferred, max;
};
_Static_assert(sizeof(struct nbd_info_block_size) == 14, "wire");

/* The transmission flags. */
#define NBD_FLAG_HAS_FLAGS         0x0001u
#define NBD_FLAG_READ_ONLY         0x0002u
#define NBD_FLAG_SEND_FLUSH        0x0004u
#define NBD_FLAG_SEND_FUA          0x0008u
#define NBD_FLAG_ROTATIONAL        0x0010u
#define NBD_FLAG_SEND_TRIM         0x0020u
#define NBD_FLAG_SEND_WRITE_ZEROES 0x0040u
#define NBD_FLAG_SEND_DF           0x0080u
#define NBD_FLAG_CAN_MULTI_CONN    0x0100u
#define NBD_FLAG_SEND_FAST_ZERO    0x0800u

#define NBD_NAME_MAX    4096u /* bytes of a name, or of any other string */
#define NBD_CONTEXT     "base:allocation"
#define NBD_CONTEXT_LEN 15u
#define NBD_CONTEXT_ID  1u

/* ---- transmission ---- */

#define NBD_REQUEST_MAGIC      0x25609513u
#define NBD_SIMPLE_REPLY_MAGIC 0x67446698u
#define NBD_CHUNK_MAGIC        0x668e33efu

struct nbd_request {
    struct be32 magic;
    struct be16 flags, type;
    uint8_t cookie[8]; /* the client's, which the reply repeats */
    struct be64 offset;
    struct be32 len;
};
_Static_assert(sizeof(struct nbd_request) == 28, "wire");
_Static_assert(offsetof(struct nbd_request, cookie) == 8, "wire");
_Static_assert(offsetof(struct nbd_request, len) == 24, "wire");

struct nbd_simple_reply {
    struct be32 magic, error;
    uint8_t cookie[8];
};
_Static_assert(sizeof(struct nbd_simple_reply) == 16, "wire");

/* A chunk of a structured reply. */
struct nbd_chunk {
    struct be32 magic;
    struct be16 flags, type;
    uint8_t cookie[8];
    struct be32 len; /* of what follows */
};
_Static_assert(sizeof(struct nbd_chunk) == 20, "wire");

struct nbd_chunk_data {
    struct nbd_chunk h;
    struct be64 offset;
};
_Static_assert(sizeof(struct nbd_chunk_data) == 28, "wire");

struct nbd_chunk_error {
    struct nbd_chunk h;
    struct be32 error;
    struct be16 text_len;
};
_Static_assert(sizeof(struct nbd_chunk_error) == 26, "wire");

struct nbd_descriptor {
    struct be32 len, state;
};
_Static_assert(sizeof(struct nbd_descriptor) == 8, "wire");

enum nbd_command {
    NBD_CMD_READ,
    NBD_CMD_WRITE,
    NBD_CMD_DISC,
    NBD_CMD_FLUSH,
    NBD_CMD_TRIM,
    NBD_CMD_CACHE,
    NBD_CMD_WRITE_ZEROES,
    NBD_CMD_BLOCK_STATUS,
};

#define NBD_CMD_FLAG_FUA       0x01u
#define NBD_CMD_FLAG_NO_HOLE   0x02u
#define NBD_CMD_FLAG_DF        0x04u
#define NBD_CMD_FLAG_REQ_ONE   0x08u
#define NBD_CMD_FLAG_FAST_ZERO 0x10u

#define NBD_CHUNK_FLAG_DONE    1u
#define NBD_CHUNK_NONE         0u
#define NBD_CHUNK_OFFSET_DATA  1u
#define NBD_CHUNK_BLOCK_STATUS 5u
#define NBD_CHUNK_ERROR        0x8001u

#define NBD_STATE_HOLE 1u
#define NBD_STATE_ZERO 2u

/* The only errors that there are on the wire, whatever errno says here. */
#define NBD_EPERM     1u
#define NBD_EIO       5u
#define NBD_ENOMEM    12u
#define NBD_EINVAL    22u
#define NBD_ENOSPC    28u
#define NBD_EOVERFLOW 75u
#define NBD_ENOTSUP   95u
#define NBD_ESHUTDOWN 108u

#endif
