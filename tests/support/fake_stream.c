/* SPDX-License-Identifier: MIT */
/* tests/support/fake_stream.c - the interface of fake_transport.h over the parser of byte streams:
 * what a test answers goes through transport/stream as bytes with digests, which can be spoilt.
 * FAKE_WHOLE: the adapter frames PDUs and keeps digests and padding to itself, as one of class tcp
 * does: it hands over whole PDUs, and says of those that are spoilt that they are. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/fake_adapter.h"
#include "tests/support/fake_stream.h"
#include "transport/stream/iscsi_tcp.h"
#include "wire/pdu.h"

#ifndef FAKE_WHOLE
#define FAKE_WHOLE 0
#endif

bool fake_spoil;
uint32_t fake_cleanup_later;

void
fake_adapter_reset(void)
{
    memset(&fake_adapter, 0, sizeof(fake_adapter));
    fake_spoil = false;
    fake_cleanup_later = 0;
}

static int
stream_bind(struct iscsi_conn *c, int64_t eph, struct iscsi_endpoint *ep, bool leading,
            struct lunette_error *err)
{
    (void)eph;
    (void)ep;
    (void)leading;
    (void)err;
    fake_adapter.conn = c;
    return 0;
}

static int
stream_stop(struct iscsi_conn *c, enum iscsi_stop how)
{
    (void)how;
    iscsi_tcp_conn_reset(c->dd_data);
    return 0;
}

static struct iscsi_task *late[8];

void
fake_cleaned(void)
{
    while (fake_cleanup_later > 0) {
        struct iscsi_task *t = late[--fake_cleanup_later];

        t->conn->up->task_cleaned(t);
    }
}

/* Records the PDU whose header is at t->hdr, with its first bytes of data. */
static int
stream_init_pdu(struct iscsi_task *t, uint32_t offset, uint32_t count)
{
    struct fake_sent *s = fake_sent_next(t->conn);
    struct sg_cursor at;

    memcpy(&s->h, t->hdr, sizeof(s->h));
    s->task = t;
    s->data_len = count < sizeof(s->data) ? count : (uint32_t)sizeof(s->data);
    if (s->data_len == 0)
        return 0;
    if (t->sc == NULL) {
        memcpy(s->data, (const uint8_t *)t->data + offset, s->data_len);
        return 0;
    }
    sg_cursor_init(&at, &t->sc->out);
    sg_cursor_seek(&at, &t->sc->out, offset);
    sg_copy_from(&at, &t->sc->out, s->data, s->data_len);
    return 0;
}

static int
stream_xmit_pdu(struct iscsi_task *t)
{
    (void)t;
    return 0;
}

static const struct iscsi_tcp_ops pdus = {.init_pdu = stream_init_pdu, .xmit_pdu = stream_xmit_pdu};

static int
stream_create_conn(struct iscsi_conn *c, struct lunette_error *err)
{
    (void)err;
    iscsi_tcp_conn_init(c->dd_data, c, &pdus);
    return 0;
}

static int
stream_start_conn(struct iscsi_conn *c, struct lunette_error *err)
{
    (void)err;
    ((struct iscsi_tcp_conn *)c->dd_data)->hold = false;
    return 0;
}

static int
stream_init_task(struct iscsi_task *t)
{
    return stream_init_pdu(t, 0, iscsi_tcp_task_init(t));
}

static int
stream_xmit_task(struct iscsi_task *t)
{
    struct iscsi_tcp_task *tt = t->dd_data;

    if (!tt->cmd_sent && !iscsi_tcp_task_sent(t))
        return 0;
    return iscsi_tcp_xmit_data(t);
}

static int
stream_cleanup(struct iscsi_task *t)
{
    iscsi_tcp_cleanup_task(t);
    if (fake_adapter.cleanup_delay_ns == 0 || t->sc == NULL)
        return 0;
    late[fake_cleanup_later++] = t;
    return -EINPROGRESS;
}

const struct iscsi_transport fake_transport = {
    .version = ISCSI_TRANSPORT_VERSION,
    .size = sizeof(struct iscsi_transport),
    .name = "fake",
    .caps = CAP_RECOVERY_L0 | CAP_RECOVERY_L1 | CAP_MULTI_R2T | CAP_HDRDGST | CAP_DATADGST |
            (FAKE_WHOLE ? CAP_DIGEST_OFFLOAD | CAP_PADDING_OFFLOAD : 0),
    .max_recv_dlength = 65536,
    .conn_size = sizeof(struct iscsi_tcp_conn),
    .task_size = sizeof(struct iscsi_tcp_task),
    .ep_size = sizeof(struct fake_ep),
    .ep_connect = fake_ep_connect,
    .ep_poll = fake_ep_poll,
    .ep_why = fake_ep_why,
    .ep_disconnect = fake_ep_disconnect,
    .bind_conn = stream_bind,
    .stop_conn = stream_stop,
    .create_conn = stream_create_conn,
    .start_conn = stream_start_conn,
    .init_task = stream_init_task,
    .xmit_task = stream_xmit_task,
    .cleanup_task = stream_cleanup,
};

/* The PDU as the adapter has framed it, or as bytes. */
static void
fake_receive(struct iscsi_conn *c, const union bhs_any *h, const void *data, uint32_t len)
{
    struct iscsi_tcp_conn *tcp = c->dd_data;
    uint8_t *b = malloc(48 + 8 + len + 8);
    size_t n = 48;

    assert(b != NULL);
    if (FAKE_WHOLE) {
        assert(!c->hdrdgst_en && !c->datadgst_en);
        if (len > 0)
            memcpy(b, data, len);
        (void)iscsi_tcp_recv_pdu(tcp, &h->h, len > 0 ? b : NULL, len,
                                 fake_spoil && c->datadgst_offload ? ISCSI_TCP_BAD_DATA : 0);
        free(b);
        return;
    }
    memcpy(b, h, 48);
    if (c->hdrdgst_en) {
        pdu_header_digest(b, 48, b + n);
        n += PDU_DIGEST_LEN;
    }
    if (len > 0) {
        memcpy(b + n, data, len);
        memset(b + n + len, 0, pdu_pad(len));
        if (c->datadgst_en)
            pdu_digest_put(b + n + len + pdu_pad(len),
                           crc32c_update(CRC32C_INIT, b + n, len + pdu_pad(len)));
        if (fake_spoil)
            b[n + len / 2] ^= 0x40;
        n += len + pdu_pad(len) + (c->datadgst_en ? PDU_DIGEST_LEN : 0);
    }
    (void)iscsi_tcp_recv(tcp, b, n);
    free(b);
}

int
fake_bytes(union bhs_any *h, const void *data, uint32_t len)
{
    struct iscsi_conn *c = fake_adapter.conn;
    struct iscsi_tcp_conn *tcp = c->dd_data;

    h->h.dseg_len = put24(len);
    c->last_recv_ns = c->loop->now_ns;
    fake_receive(c, h, data, len);
    fake_spoil = false;
    iscsi_tcp_check_fast(tcp);
    return tcp->hold ? ISCSI_RX_HOLD : c->failed ? -EPROTO : 0;
}

int
fake_pdu(union bhs_any *h, const void *data, uint32_t len, bool numbered)
{
    fake_set_numbers(h, numbered);
    return fake_bytes(h, data, len);
}
