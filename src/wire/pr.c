/* SPDX-License-Identifier: MIT */
#include "wire/pr.h"

#include <errno.h>
#include <string.h>

#include "wire/be.h"
#include "wire/clean.h"

#define PR_HEAD_LEN       8u
#define PR_STATUS_LEN     24u /* of a descriptor, before its TransportID */
#define PR_TRANSPORT_HEAD 4u

bool
pr_type_known(unsigned type)
{
    return type == SCSI_PR_WRITE_EXCLUSIVE || type == SCSI_PR_EXCLUSIVE_ACCESS ||
           (type >= SCSI_PR_WRITE_EXCLUSIVE_RO && type <= SCSI_PR_EXCLUSIVE_ACCESS_AR);
}

void
pr_list_build(uint8_t buf[PR_LIST_LEN], const struct pr_list *l)
{
    memset(buf, 0, PR_LIST_LEN);
    st_be64(buf, l->key);
    st_be64(buf + 8, l->service_key);
    buf[20] = l->flags;
}

void
pr_list_parse(const uint8_t buf[PR_LIST_LEN], struct pr_list *ret)
{
    *ret = (struct pr_list){.key = ld_be64(buf), .service_key = ld_be64(buf + 8), .flags = buf[20]};
}

int
pr_status_head(const uint8_t *buf, size_t len, struct pr_head *ret)
{
    if (len < PR_HEAD_LEN)
        return -EINVAL;
    *ret = (struct pr_head){.generation = ld_be32(buf),
                            .total = (uint64_t)PR_HEAD_LEN + ld_be32(buf + 4)};
    return 0;
}

/* The bytes that are there of an answer that may have been cut. */
static size_t
pr_end(const struct pr_head *h, size_t len)
{
    return h->total < len ? (size_t)h->total : len;
}

int
pr_keys_count(const uint8_t *buf, size_t len, struct pr_head *ret)
{
    if (pr_status_head(buf, len, ret) < 0)
        return -EINVAL;
    return (int)((pr_end(ret, len) - PR_HEAD_LEN) / 8);
}

uint64_t
pr_keys_get(const uint8_t *buf, unsigned i)
{
    return ld_be64(buf + PR_HEAD_LEN + 8 * (size_t)i);
}

int
pr_reservation_parse(const uint8_t *buf, size_t len, struct pr_reservation *ret)
{
    struct pr_head h;

    *ret = (struct pr_reservation){0};
    if (pr_status_head(buf, len, &h) < 0)
        return -EINVAL;
    ret->generation = h.generation;
    if (h.total == PR_HEAD_LEN)
        return 0;
    if (pr_end(&h, len) < PR_HEAD_LEN + 14)
        return -EINVAL;
    ret->key = ld_be64(buf + 8);
    ret->scope = buf[21] >> 4;
    ret->type = buf[21] & 0x0f;
    return 0;
}

/* Formats 00b (the node's name) and 01b (that of the port) have the same text at the same place. */
static void
pr_port_name(const uint8_t *id, size_t len, char ret[PR_PORT_MAX])
{
    size_t n;

    ret[0] = '\0';
    if (len < PR_TRANSPORT_HEAD || (id[0] & 0x0f) != PR_PROTOCOL_ISCSI)
        return;
    n = ld_be16(id + 2);
    if (n > len - PR_TRANSPORT_HEAD)
        n = len - PR_TRANSPORT_HEAD;
    clean_text(id + PR_TRANSPORT_HEAD, n, ret, PR_PORT_MAX);
}

bool
pr_status_next(const uint8_t *buf, size_t len, size_t *at, struct pr_registrant *ret)
{
    struct pr_head h;
    const uint8_t *d;
    size_t end, id;

    if (pr_status_head(buf, len, &h) < 0)
        return false;
    end = pr_end(&h, len);
    if (*at > end || end - *at < PR_STATUS_LEN)
        return false;
    d = buf + *at;
    id = ld_be32(d + 20);
    if (id > end - *at - PR_STATUS_LEN)
        return false;
    *ret = (struct pr_registrant){.key = ld_be64(d),
                                  .holder = (d[12] & 0x01) != 0,
                                  .all_ports = (d[12] & 0x02) != 0,
                                  .target_port = ld_be16(d + 18),
                                  .protocol = id > 0 ? d[PR_STATUS_LEN] & 0x0f : 0x0f};
    if (ret->holder) {
        ret->scope = d[13] >> 4;
        ret->type = d[13] & 0x0f;
    }
    pr_port_name(d + PR_STATUS_LEN, id, ret->port);
    *at += PR_STATUS_LEN + id;
    return true;
}

int
pr_status_build(uint8_t *buf, size_t size, const struct pr_registrant *r)
{
    size_t name = (strlen(r->port) + 1 + 3) & ~(size_t)3; /* with its NUL, padded */
    size_t len = PR_STATUS_LEN + PR_TRANSPORT_HEAD + name;
    bool port = strstr(r->port, ",i,0x") != NULL;
    uint8_t *id = buf + PR_STATUS_LEN;

    if (size < len)
        return -ENOBUFS;
    memset(buf, 0, len);
    st_be64(buf, r->key);
    buf[12] = (uint8_t)(r->all_ports << 1 | r->holder);
    if (r->holder)
        buf[13] = (uint8_t)(r->scope << 4 | r->type);
    st_be16(buf + 18, r->target_port);
    st_be32(buf + 20, (uint32_t)(PR_TRANSPORT_HEAD + name));
    id[0] = (uint8_t)((port ? 0x40 : 0) | r->protocol);
    st_be16(id + 2, (uint16_t)name);
    (void)strcpy((char *)id + PR_TRANSPORT_HEAD, r->port);
    return (int)len;
}
