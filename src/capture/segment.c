/* SPDX-License-Identifier: MIT */
#include "capture/segment.h"

#include <assert.h>
#include <netinet/in.h>
#include <string.h>

#include "wire/be.h"

#define TCP_BYTES  20
#define IPV4_BYTES 20
#define IPV6_BYTES 40
#define TCP_PROTO  6
#define HOPS       64

static void
make_up(struct sock_addr *a, uint32_t host, uint16_t port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};

    in.sin_addr.s_addr = htonl(host);
    memset(a, 0, sizeof(*a));
    memcpy(&a->ss, &in, sizeof(in));
    a->len = sizeof(in);
}

static bool
is_ip(const struct sock_addr *a)
{
    return (a->ss.ss_family == AF_INET && a->len >= sizeof(struct sockaddr_in)) ||
           (a->ss.ss_family == AF_INET6 && a->len >= sizeof(struct sockaddr_in6));
}

void
conversation_init(struct conversation *v, const struct sock_addr *local,
                  const struct sock_addr *peer, uint16_t made_up_port)
{
    *v = (struct conversation){.next = {1, 1}};
    if (is_ip(local) && is_ip(peer) && local->ss.ss_family == peer->ss.ss_family) {
        v->local = *local;
        v->peer = *peer;
        return;
    }
    make_up(&v->local, 0xc0000201, made_up_port); /* 192.0.2.1 */
    make_up(&v->peer, 0xc0000202, ISCSI_PORT);
}

static uint16_t
segment_port(const struct sock_addr *a)
{
    const struct sockaddr_in *in = (const void *)&a->ss;
    const struct sockaddr_in6 *in6 = (const void *)&a->ss;

    return ntohs(a->ss.ss_family == AF_INET6 ? in6->sin6_port : in->sin_port);
}

/* RFC 1071. */
static uint16_t
checksum(const uint8_t *p, uint32_t len)
{
    uint32_t sum = 0;

    for (uint32_t i = 0; i < len; i += 2)
        sum += ld_be16(p + i);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t) ~(sum + (sum >> 16));
}

static uint32_t
put_ip4(const struct sock_addr *from, const struct sock_addr *to, uint32_t len, uint8_t *p)
{
    const struct sockaddr_in *a = (const void *)&from->ss, *b = (const void *)&to->ss;

    memset(p, 0, IPV4_BYTES);
    p[0] = 0x45;
    st_be16(p + 2, (uint16_t)(IPV4_BYTES + len));
    st_be16(p + 6, 0x4000); /* don't fragment */
    p[8] = HOPS;
    p[9] = TCP_PROTO;
    memcpy(p + 12, &a->sin_addr, 4);
    memcpy(p + 16, &b->sin_addr, 4);
    st_be16(p + 10, checksum(p, IPV4_BYTES));
    return IPV4_BYTES;
}

static uint32_t
put_ip6(const struct sock_addr *from, const struct sock_addr *to, uint32_t len, uint8_t *p)
{
    const struct sockaddr_in6 *a = (const void *)&from->ss, *b = (const void *)&to->ss;

    memset(p, 0, IPV6_BYTES);
    p[0] = 0x60;
    st_be16(p + 4, (uint16_t)len);
    p[6] = TCP_PROTO;
    p[7] = HOPS;
    memcpy(p + 8, &a->sin6_addr, 16);
    memcpy(p + 24, &b->sin6_addr, 16);
    return IPV6_BYTES;
}

uint32_t
segment_head(struct conversation *v, bool sent, uint8_t flags, uint32_t payload,
             uint8_t out[SEGMENT_HEAD_MAX])
{
    const struct sock_addr *from = sent ? &v->local : &v->peer;
    const struct sock_addr *to = sent ? &v->peer : &v->local;
    bool ip6 = from->ss.ss_family == AF_INET6;
    uint32_t n = ip6 ? put_ip6(from, to, TCP_BYTES + payload, out)
                     : put_ip4(from, to, TCP_BYTES + payload, out);
    uint8_t *p = out + n;

    assert(payload <= SEGMENT_PAYLOAD_MAX);
    memset(p, 0, TCP_BYTES); /* without a checksum: "not computed", as with offloading */
    st_be16(p, segment_port(from));
    st_be16(p + 2, segment_port(to));
    st_be32(p + 4, v->next[sent]);
    st_be32(p + 8, flags & SEGMENT_ACK ? v->next[!sent] : 0);
    p[12] = TCP_BYTES / 4 << 4;
    p[13] = flags;
    st_be16(p + 14, 0xffff); /* window */
    v->next[sent] += payload + ((flags & (SEGMENT_SYN | SEGMENT_FIN)) != 0);
    return n + TCP_BYTES;
}
