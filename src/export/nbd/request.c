/* SPDX-License-Identifier: MIT */
#include "export/nbd/request.h"

#include <errno.h>
#include <string.h>

#define PREFERRED_MIN 4096u

void
nbd_export_info_make(struct nbd_export_info *x, const struct bdev_limits *l, bool read_only)
{
    uint32_t preferred = l->physical_block > PREFERRED_MIN ? l->physical_block : PREFERRED_MIN;

    if (preferred > NBD_PAYLOAD_MAX || (preferred & (preferred - 1)) != 0)
        preferred = l->block_size > PREFERRED_MIN ? l->block_size : PREFERRED_MIN;
    *x = (struct nbd_export_info){
        .size = l->size, .min = l->block_size, .preferred = preferred, .max = NBD_PAYLOAD_MAX};
    /* All clients submit to one device, and a flush makes stable what was written by any of them.
     */
    x->flags = NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_CAN_MULTI_CONN;
    if (l->rotational)
        x->flags |= NBD_FLAG_ROTATIONAL;
    if (read_only || l->read_only) {
        x->flags |= NBD_FLAG_READ_ONLY;
        return;
    }
    x->flags |= NBD_FLAG_SEND_FUA | NBD_FLAG_SEND_WRITE_ZEROES | NBD_FLAG_SEND_FAST_ZERO;
    if (l->max_discard > 0)
        x->flags |= NBD_FLAG_SEND_TRIM;
}

bool
nbd_request_read(const uint8_t b[sizeof(struct nbd_request)], struct nbd_head *ret)
{
    struct nbd_request r;

    memcpy(&r, b, sizeof(r));
    *ret = (struct nbd_head){.flags = get16(r.flags),
                             .type = get16(r.type),
                             .offset = get64(r.offset),
                             .len = get32(r.len)};
    memcpy(ret->cookie, r.cookie, sizeof(ret->cookie));
    return get32(r.magic) == NBD_REQUEST_MAGIC;
}

/* The flags that go with a command; FUA goes with all. */
static uint16_t
flags_of(uint16_t type, const struct nbd_handshake *h)
{
    switch (type) {
    case NBD_CMD_READ:
        return NBD_CMD_FLAG_FUA | (h->structured ? NBD_CMD_FLAG_DF : 0);
    case NBD_CMD_WRITE_ZEROES:
        return NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FAST_ZERO;
    case NBD_CMD_BLOCK_STATUS:
        return NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_REQ_ONE;
    default:
        return NBD_CMD_FLAG_FUA;
    }
}

#define REFUSE(error, text)                                                                        \
    (struct nbd_refusal)                                                                           \
    {                                                                                              \
        NBD_##error, text                                                                          \
    }

static struct nbd_refusal
check_range(const struct nbd_head *r, const struct bdev_limits *l)
{
    bool write = r->type == NBD_CMD_WRITE || r->type == NBD_CMD_WRITE_ZEROES;

    if (((r->offset | r->len) & (l->block_size - 1)) != 0)
        return REFUSE(EINVAL, "offset or length is no multiple of the minimum block size");
    if (r->len > l->size || r->offset > l->size - r->len)
        return write ? REFUSE(ENOSPC, "the end of the device is before that of the request")
                     : REFUSE(EINVAL, "the end of the device is before that of the request");
    return (struct nbd_refusal){0};
}

struct nbd_refusal
nbd_request_check(const struct nbd_head *r, const struct nbd_handshake *h,
                  const struct bdev_limits *l, bool read_only)
{
    if (r->type > NBD_CMD_BLOCK_STATUS || r->type == NBD_CMD_CACHE || r->type == NBD_CMD_DISC)
        return REFUSE(EINVAL, "no such command here");
    if ((r->flags & ~flags_of(r->type, h)) != 0)
        return REFUSE(EINVAL, "a flag that the command does not have");
    if ((r->type == NBD_CMD_READ || r->type == NBD_CMD_WRITE) && r->len > NBD_PAYLOAD_MAX)
        return REFUSE(EINVAL, "more than the maximum block size");
    if (r->type == NBD_CMD_FLUSH && (r->offset | r->len) != 0)
        return REFUSE(EINVAL, "a flush has neither offset nor length");
    if (r->type == NBD_CMD_FLUSH)
        return (struct nbd_refusal){0};
    if ((read_only || l->read_only) && r->type != NBD_CMD_READ && r->type != NBD_CMD_BLOCK_STATUS)
        return REFUSE(EPERM, "the export is read-only");
    if (r->type == NBD_CMD_BLOCK_STATUS && !h->allocation)
        return REFUSE(EINVAL, "no metadata context was agreed on");
    if (r->type == NBD_CMD_BLOCK_STATUS && r->len == 0)
        return REFUSE(EINVAL, "the status of no block");
    if ((r->flags & NBD_CMD_FLAG_FAST_ZERO) != 0 && l->max_write_zeroes == 0)
        return REFUSE(ENOTSUP, "the device has no fast way to write zeroes");
    return check_range(r, l);
}

uint32_t
nbd_error(int err)
{
    switch (-err) {
    case 0:
        return 0;
    case EPERM:
    case EROFS:
        return NBD_EPERM;
    case ENOMEM:
        return NBD_ENOMEM;
    case EINVAL:
        return NBD_EINVAL;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return NBD_ENOSPC;
    default: /* NBD_ENOTSUP is for fast zeroes alone */
        return NBD_EIO;
    }
}
