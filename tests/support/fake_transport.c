/* SPDX-License-Identifier: MIT */
#include "tests/support/fake_adapter.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/pdu.h"

bool fake_gathers;
unsigned fake_fast;

struct fake_task {
    struct loop_timer timer;
    struct iscsi_task *task;
    bool owned; /* the adapter may touch the task's buffers */
};

struct fake_conn {
    uint8_t room[64 * ISCSI_BHS_LEN + ISCSI_GATHER_MIN]; /* what conn->gather is */
};

void
fake_adapter_reset(void)
{
    memset(&fake_adapter, 0, sizeof(fake_adapter));
}

static int
fake_bind(struct iscsi_conn *c, int64_t eph, struct iscsi_endpoint *ep, bool leading,
          struct lunette_error *err)
{
    (void)leading;
    if (ep == NULL || ep->id != (uint64_t)eph)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "an endpoint is wanted");
    if (fake_adapter.bind_result < 0)
        return lunette_fail(err, fake_adapter.bind_result, LUNETTE_DOM_OS, 0, "as the test wants");
    fake_adapter.conn = c;
    if (fake_bridge != NULL)
        fake_bridge->bound(c, ep);
    return 0;
}

static int
fake_start(struct iscsi_conn *c, struct lunette_error *err)
{
    (void)err;
    c->all_or_none = fake_adapter.all_or_none;
    if (fake_bridge != NULL)
        fake_bridge->started(c);
    return 0;
}

static int
fake_stop(struct iscsi_conn *c, enum iscsi_stop how)
{
    (void)how;
    if (fake_adapter.conn == c)
        fake_adapter.conn = NULL;
    c->gather = (struct iscsi_gather){NULL, NULL};
    if (fake_bridge != NULL)
        return fake_bridge->stopped(c);
    return fake_adapter.stops ? -EINPROGRESS : 0;
}

static bool
is_full(const struct iscsi_conn *c)
{
    return fake_adapter.full && (fake_adapter.full_cid == 0 || fake_adapter.full_cid == c->cid);
}

/* It goes to the target, where there is one. */
static void
pass_on(struct iscsi_conn *c, const struct fake_sent *s, bool fast)
{
    if (fake_bridge == NULL)
        return;
    fake_bridge->sent(c, s, fast);
    fake_adapter.nsent = 0;
}

/* Headers that were put where the adapter gathers leave now. */
static void
take_gathered(struct iscsi_conn *c)
{
    struct fake_conn *fc = c->dd_data;

    for (uint8_t *h = fc->room; c->gather.next != NULL && h < c->gather.next; h += ISCSI_BHS_LEN) {
        struct fake_sent *s = fake_sent_next(c);

        memcpy(&s->h, h, sizeof(s->h));
        s->task = iscsi_task_of(c, s->h.h.itt);
        s->data_len = 0;
        assert(pdu_opcode(&s->h.h) == ISCSI_OP_SCSI_CMD && s->task != NULL);
        fake_fast++;
        pass_on(c, s, true);
    }
    c->gather = (struct iscsi_gather){NULL, NULL};
}

static int
fake_lend(struct iscsi_conn *c)
{
    struct fake_conn *fc = c->dd_data;

    if (!fake_gathers || is_full(c) || fake_adapter.cleanup_delay_ns > 0)
        return -EAGAIN;
    take_gathered(c);
    c->gather = (struct iscsi_gather){fc->room, fc->room + sizeof(fc->room)};
    return 0;
}

static int
fake_xmit_whole(struct iscsi_task *t)
{
    struct iscsi_conn *c = t->conn;

    assert(t->imm_count == t->sc->out.len && t->sc->out.len > 0 && t->sc->in.len == 0);
    c->gather.next += ISCSI_BHS_LEN; /* its data would follow */
    return 0;
}

static int
fake_xmit_task(struct iscsi_task *t)
{
    struct fake_sent *s;
    struct fake_task *ft = t->dd_data;

    if (is_full(t->conn))
        return -EAGAIN;
    (void)fake_lend(t->conn);
    s = fake_sent_next(t->conn);
    memcpy(&s->h, t->hdr, sizeof(s->h));
    memcpy(s->ahs, t->hdr + 1, (size_t)t->hdr_len - 48);
    s->task = t;
    s->data_len = t->data_len < sizeof(s->data) ? t->data_len : (uint32_t)sizeof(s->data);
    if (s->data_len > 0)
        memcpy(s->data, t->data, s->data_len);
    ft->owned = true;
    pass_on(t->conn, s, false);
    return 0;
}

static void
fake_flush(struct iscsi_conn *c)
{
    take_gathered(c);
    fake_adapter.flushes++;
}

static void
cleaned(struct loop_timer *timer)
{
    struct fake_task *ft = container_of(timer, struct fake_task, timer);
    struct iscsi_task *t = ft->task;

    /* The adapter may have used the buffers until now: say so by writing.  Data that came from a
     * target are kept. */
    if (fake_bridge == NULL && t->sc != NULL && t->sc->in.len > 0) {
        struct sg_cursor at;
        uint8_t last = 0xee;

        sg_cursor_init(&at, &t->sc->in);
        sg_cursor_seek(&at, &t->sc->in, t->sc->in.len - 1);
        sg_copy_to(&at, &t->sc->in, &last, 1);
    }
    ft->owned = false;
    fake_adapter.late_cleanups++;
    t->conn->up->task_cleaned(t);
}

static int
fake_cleanup(struct iscsi_task *t)
{
    struct fake_task *ft = t->dd_data;

    fake_adapter.cleanups++;
    if (fake_adapter.cleanup_delay_ns == 0 || (t->sc == NULL && !fake_adapter.control)) {
        ft->owned = false;
        return 0;
    }
    ft->task = t;
    loop_timer_init(&ft->timer, cleaned);
    loop_timer_start(t->conn->loop, &ft->timer, fake_adapter.cleanup_delay_ns);
    return -EINPROGRESS;
}

/* What a session knows; addr NULL: nothing. */
struct fake_session {
    struct {
        char *addr;
        size_t len;
    } known[64];
};

static int
fake_mem_add(struct iscsi_session *s, void *addr, size_t len, struct lunette_error *err)
{
    struct fake_session *fs = s->dd_data;
    int place = -1;

    if (fake_adapter.mem_result < 0 &&
        (fake_adapter.mem_sid == 0 || fake_adapter.mem_sid == s->sid))
        return lunette_fail(err, fake_adapter.mem_result, LUNETTE_DOM_OS, 0,
                            "the adapter has no room");
    assert(addr != NULL && len > 0);
    for (int i = 64; i-- > 0;) {
        const char *at = fs->known[i].addr;

        assert(at == NULL || at >= (char *)addr + len || (char *)addr >= at + fs->known[i].len);
        if (at == NULL)
            place = i;
    }
    assert(place >= 0);
    fs->known[place].addr = addr;
    fs->known[place].len = len;
    fake_adapter.mem_adds++;
    return 0;
}

/* The adapter has no command with memory there: it would move data where it may not any more. */
static void
fake_mem_remove(struct iscsi_session *s, void *addr, size_t len)
{
    struct fake_session *fs = s->dd_data;
    int place = 0;

    while (place < 64 && (fs->known[place].addr != addr || fs->known[place].len != len))
        place++;
    assert(place < 64);
    for (uint32_t slot = 0; slot < s->tasks.made; slot++) {
        const struct iscsi_task *t = iscsi_task_in(&s->tasks, slot);
        const struct fake_task *ft = t->dd_data;

        assert(!ft->owned || t->sc == NULL ||
               (!sg_touches(&t->sc->in, addr, len) && !sg_touches(&t->sc->out, addr, len)));
    }
    fs->known[place].addr = NULL;
    fake_adapter.mem_removes++;
}

static void
fake_get_moved(struct iscsi_conn *c, struct iscsi_moved *ret)
{
    (void)c;
    *ret = fake_adapter.moved;
}

static void
fake_describe(const struct iscsi_conn *c, char *buf, size_t size)
{
    (void)snprintf(buf, size, "fake%u", c->cid);
}

const struct iscsi_transport fake_transport = {
    .version = ISCSI_TRANSPORT_VERSION,
    .size = sizeof(struct iscsi_transport),
    .name = "fake",
    .caps = CAP_RECOVERY_L0 | CAP_DATA_PATH_OFFLOAD | CAP_MULTI_R2T,
    .max_recv_dlength = 65536,
    .session_size = sizeof(struct fake_session),
    .conn_size = sizeof(struct fake_conn),
    .task_size = sizeof(struct fake_task),
    .ep_size = sizeof(struct fake_ep),
    .ep_connect = fake_ep_connect,
    .ep_poll = fake_ep_poll,
    .ep_why = fake_ep_why,
    .ep_disconnect = fake_ep_disconnect,
    .bind_conn = fake_bind,
    .start_conn = fake_start,
    .stop_conn = fake_stop,
    .gather_room = fake_lend,
    .xmit_fast = fake_xmit_whole,
    .xmit_task = fake_xmit_task,
    .xmit_flush = fake_flush,
    .cleanup_task = fake_cleanup,
    .get_moved = fake_get_moved,
    .mem_add = fake_mem_add,
    .mem_remove = fake_mem_remove,
    .describe = fake_describe,
};

void
fake_room(void)
{
    fake_adapter.full = false;
    fake_adapter.conn->up->queue_xmit(fake_adapter.conn);
}

int
fake_pdu(union bhs_any *h, const void *data, uint32_t len, bool numbered)
{
    struct iscsi_conn *c = fake_adapter.conn;

    h->h.dseg_len = put24(len);
    fake_set_numbers(h, numbered);
    c->last_recv_ns = c->loop->now_ns;
    return c->up->complete_pdu(c, &h->h, data, len);
}

int
fake_answer(const struct fake_sent *s, uint8_t status, const void *sense, uint16_t sense_len,
            uint32_t underflow)
{
    union bhs_any h;
    uint8_t data[2 + SCSI_SENSE_MAX];
    struct iscsi_task *t = iscsi_task_of(fake_adapter.conn, s->h.h.itt);

    bhs_init(&h, ISCSI_OP_SCSI_RSP, ISCSI_FLAG_FINAL);
    h.h.itt = s->h.h.itt;
    h.scsi_rsp.status = status;
    if (underflow > 0) {
        h.scsi_rsp.flags |= ISCSI_RSP_UNDERFLOW;
        h.scsi_rsp.residual = put32(underflow);
    }
    if (t != NULL && t->sc != NULL && t->sc->in.len > 0 && status == 0) {
        struct sg_cursor at;

        sg_cursor_init(&at, &t->sc->in);
        for (uint32_t i = 0; i < t->sc->in.len - underflow; i++) {
            uint8_t b = (uint8_t)(i * 7);

            sg_copy_to(&at, &t->sc->in, &b, 1);
        }
        t->in_done = t->sc->in.len - underflow;
    }
    if (sense_len > 0) {
        st_be16(data, sense_len);
        memcpy(data + 2, sense, sense_len);
    }
    return fake_pdu(&h, data, sense_len > 0 ? sense_len + 2u : 0, true);
}
