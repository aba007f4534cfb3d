/* SPDX-License-Identifier: MIT */
/* fuzz_ipc.c - the messages of the other plane, as they come out of a carrier.
 *
 * Packet after packet: a byte that says where it goes, 0 to the server's end, 1 to the client's end
 * as a reply, 2 as an event; the length of the message and that of its data, two bytes each, low
 * byte first; the message; its data.  What the decoder takes is what an encoder writes, byte for
 * byte.  The server answers most requests at once and those that end something later, with the
 * longest answer that there is.
 */
#include "fuzz.h"
#include "ipc/ipc.h"
#include "seam/ipc_latency.h"
#include "seam/ipc_lun.h"

#define HEAD      5
#define LATER_MAX 64

struct run {
    struct ipc_carrier carrier;
    struct ipc_encoded_client *client_end;
    struct ipc_encoded_server *server_end;
    struct ipc_client client;
    uint64_t later[LATER_MAX];
    unsigned nlater, served, answered, broken_client, broken_server;
};

/* ---- the codec ------------------------------------------------------------------------------ */

static void
check_uevent(const uint8_t *p, size_t len)
{
    struct iscsi_uevent ev;
    uint8_t again[IPC_MSG_MAX];

    if (ipc_decode_uevent(p, len, &ev) < 0)
        return;
    CHECK(len <= sizeof(again) && ipc_encode_uevent(&ev, again, sizeof(again)) == (int)len);
    CHECK(memcmp(p, again, len) == 0);
    (void)ipc_uevent_data_len(&ev);
}

static void
check_reply(const uint8_t *p, size_t len)
{
    struct iscsi_reply rep;
    uint8_t again[IPC_MSG_MAX];

    if (ipc_decode_reply(p, len, &rep) < 0)
        return;
    CHECK(len <= sizeof(again) && ipc_encode_reply(&rep, again, sizeof(again)) == (int)len);
    CHECK(memcmp(p, again, len) == 0);
    CHECK(rep.err <= 0 && ipc_reply_data_len(&rep) <= ipc_reply_room(rep.type));
}

static void
check_kevent(const uint8_t *p, size_t len)
{
    struct iscsi_kevent ev;
    uint8_t again[IPC_MSG_MAX];

    if (ipc_decode_kevent(p, len, &ev) < 0)
        return;
    CHECK(len <= sizeof(again) && ipc_encode_kevent(&ev, again, sizeof(again)) == (int)len);
    CHECK(memcmp(p, again, len) == 0);
    CHECK(ev.type != ISCSI_KEVENT_EP_EVENT || ev.u.ep_event.err <= 0);
    CHECK(ev.type != ISCSI_KEVENT_SESSION_STATE || ev.u.session_state.state < IPC_SESSION_STATES);
    (void)ipc_kevent_data_len(&ev);
}

/* What is unpacked is packed again into the same bytes, or fewer where it had fields of a later
 * version. */
static void
check_luns(const uint8_t *p, size_t len)
{
    const uint8_t *at = p, *before = p;
    struct ipc_lun_info info;
    uint8_t again[IPC_LUN_PACKED_MAX];

    while (ipc_lun_next(&at, p + len, &info)) {
        uint32_t n = ipc_lun_pack(&info, again);

        CHECK(at > before && n > IPC_LUN_HEAD && n <= (size_t)(at - before));
        CHECK(memcmp(again + IPC_LUN_HEAD, before + IPC_LUN_HEAD, n - IPC_LUN_HEAD) == 0);
        before = at;
    }
    CHECK(at == before);
}

/* What is unpacked comes back from what it is packed into, in the room that there is. */
static void
check_latency(const uint8_t *p, size_t len)
{
    static uint8_t again[IPC_LATENCY_DATA_MAX];
    static struct bdev_latency l, back;
    uint32_t n;

    if (!ipc_latency_unpack(p, (uint32_t)len, &l))
        return;
    n = ipc_latency_pack(&l, again);
    CHECK(n <= sizeof(again) && ipc_latency_unpack(again, n, &back));
    for (int c = 0; c < BDEV_CLASSES; c++) {
        CHECK(memcmp(l.total[c].bucket, back.total[c].bucket, sizeof(back.total[c].bucket)) == 0);
        for (int s = 0; s < IO_STAGES; s++)
            CHECK(memcmp(l.stage[c][s].bucket, back.stage[c][s].bucket,
                         sizeof(back.stage[c][s].bucket)) == 0);
    }
}

/* ---- the two ends --------------------------------------------------------------------------- */

static int
run_send(struct ipc_carrier *c, struct ipc_packet *p)
{
    struct run *r = (struct run *)((char *)c - offsetof(struct run, carrier));

    CHECK(p->len <= p->room && p->data_len <= p->room - p->len);
    CHECK(p->lane != IPC_LANE_REPLIES || ++r->answered <= r->served);
    free(p);
    return 0;
}

static const struct ipc_carrier_ops carrier_ops = {.send = run_send};

static void
answer(struct run *r, const struct iscsi_uevent *ev, uint64_t seq)
{
    static uint8_t data[IPC_LUNS_DATA_MAX];
    struct iscsi_reply rep = {.type = ev->type, .seq = seq, .sid = ev->sid, .data = data};

    if (ev->type == ISCSI_UEVENT_GET_SESSION) {
        rep.r.session.nconns = IPC_CONNS_MAX;
        rep.r.session.values_len = IPC_VALUES_MAX;
        rep.r.session.note_len = IPC_NOTE_MAX;
    } else if (ev->type == ISCSI_UEVENT_GET_CONN) {
        rep.r.conn.values_len = IPC_VALUES_MAX;
    } else if (ev->type == ISCSI_UEVENT_LIST_SESSIONS) {
        rep.r.sessions.count = IPC_SESSIONS_PAGE;
    } else if (ev->type == ISCSI_UEVENT_LIST_ENDPOINTS) {
        rep.r.endpoints.count = IPC_ENDPOINTS_PAGE;
    } else if (ev->type == ISCSI_UEVENT_LIST_LUNS) {
        rep.r.luns.count = IPC_LUNS_PAGE;
        rep.r.luns.data_len = IPC_LUNS_DATA_MAX;
    } else if (ev->type == ISCSI_UEVENT_GET_LUN_STATS) {
        rep.r.lun_stats.data_len = IPC_LATENCY_DATA_MAX;
    }
    r->client.reply(r->client.binding, &rep);
}

static void
serve(void *server, const struct ipc_client *from, const struct iscsi_uevent *ev, const void *data,
      uint32_t data_len)
{
    struct run *r = server;
    uint8_t sum = 0;

    CHECK(from->binding == r->client.binding && ev->type < ISCSI_UEVENT_COUNT);
    CHECK(data_len == ipc_uevent_data_len(ev) && data_len <= IPC_PDU_DATA_MAX);
    for (uint32_t i = 0; i < data_len; i++) /* every byte is there */
        sum ^= ((const uint8_t *)data)[i];
    (void)sum;
    r->served++;
    if (ev->type == ISCSI_UEVENT_DESTROY_SESSION && r->nlater < LATER_MAX)
        r->later[r->nlater++] = ev->seq;
    else
        answer(r, ev, ev->seq);
}

static void
on_reply(void *user, const struct iscsi_reply *rep)
{
    const uint8_t *data = rep->data;
    uint32_t len = ipc_reply_data_len(rep);
    void *copy = fuzz_copy(data, len);

    (void)user;
    CHECK(rep->err <= 0 && data != NULL);
    if (rep->type == ISCSI_UEVENT_LIST_LUNS)
        check_luns(data, len);
    if (rep->type == ISCSI_UEVENT_GET_LUN_STATS)
        check_latency(data, len);
    if (rep->err < 0)
        CHECK(strnlen(rep->why.msg, sizeof(rep->why.msg)) < sizeof(rep->why.msg));
    free(copy);
}

static void
on_event(void *user, const struct iscsi_kevent *ev, const void *data)
{
    uint32_t len = ipc_kevent_data_len(ev);
    void *copy = fuzz_copy(data, len);

    (void)user;
    CHECK(len <= IPC_RECV_DATA_MAX);
    free(copy);
}

static const struct ipc_server_ops server_ops = {.serve = serve};
static const struct ipc_events client_events = {.reply = on_reply, .event = on_event};

static void
on_broken_client(void *user, int err)
{
    struct run *r = user;

    CHECK(err < 0 && r->broken_client++ == 0);
}

static void
on_broken_server(void *user, int err)
{
    struct run *r = user;

    CHECK(err < 0 && r->broken_server++ == 0);
}

/* A packet as a carrier makes it, in memory of exactly its size at the client's end. */
static void
deliver(struct run *r, unsigned to, const uint8_t *p, uint32_t len, uint32_t data_len)
{
    uint32_t room = to == 0 ? IPC_MSG_MAX + IPC_LUNS_DATA_MAX + data_len + len : len + data_len;
    struct ipc_packet *pkt = ipc_packet_new(room);
    const struct ipc_receiver *at = to == 0 ? &r->carrier.server : &r->carrier.client;

    CHECK(pkt != NULL);
    memcpy(pkt->bytes, p, len + data_len);
    pkt->lane = (enum ipc_lane)to;
    pkt->len = len;
    pkt->data_len = data_len;
    at->take(at->user, pkt);
}

void
fuzz_one(const uint8_t *data, size_t len)
{
    struct iscsi_uevent gone = {.type = ISCSI_UEVENT_DESTROY_SESSION};
    struct run r = {.carrier = {.ops = &carrier_ops}};

    check_uevent(data, len);
    check_reply(data, len);
    check_kevent(data, len);
    check_luns(data, len);
    check_latency(data, len);
    CHECK(ipc_encoded_client_new(&r.carrier, on_broken_client, &r, &r.client_end) == 0);
    CHECK(ipc_encoded_server_new(&r.carrier, &server_ops, &r, on_broken_server, &r, &r.server_end,
                                 &r.client) == 0);
    ipc_encoded_client_ipc(r.client_end)->ev = &client_events;
    while (len >= HEAD) {
        size_t msg = (size_t)data[1] | (size_t)data[2] << 8;
        size_t behind = (size_t)data[3] | (size_t)data[4] << 8;
        unsigned to = data[0] % 3;

        data += HEAD;
        len -= HEAD;
        msg = msg < len ? msg : len;
        behind = behind < len - msg ? behind : len - msg;
        check_uevent(data, msg);
        check_reply(data, msg);
        check_kevent(data, msg);
        deliver(&r, to, data, (uint32_t)msg, (uint32_t)behind);
        data += msg + behind;
        len -= msg + behind;
    }
    while (r.nlater > 0)
        answer(&r, &gone, r.later[--r.nlater]);
    CHECK(r.answered == r.served);
    ipc_encoded_client_free(r.client_end);
    ipc_encoded_server_free(r.server_end);
}
