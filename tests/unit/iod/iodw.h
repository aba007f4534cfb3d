/* SPDX-License-Identifier: MIT */
/* tests/unit/iod/iodw.h - units between fakes: a data plane whose one session has a fake host with
 * a modelled target, a kind of export whose clients are the test, and a client that keeps what it
 * hears. */
#ifndef TESTS_IODW_H
#define TESTS_IODW_H

#include "tests/unit/scsi/fake_host.h"

#include "iod/units.h"
#include "seam/ipc_lun.h"
#include "seam/session.h"
#include "tests/support/fake_transport.h"
#include "transport/transport.h"

#define IODW_REPLIES 64
#define IODW_EVENTS  256

struct iodw {
    struct fhost f; /* its loop is that of all */
    struct transport_registry registry;
    struct dataplane *dp;
    struct iod_units *units;
    struct ipc_client client;
    uint64_t seq;
    struct iscsi_reply reply[IODW_REPLIES];
    unsigned nreplies;
    struct ipc_lun_info lun[IPC_LUNS_PAGE]; /* of the last LIST_LUNS */
    uint32_t nluns;
    struct iscsi_kevent event[IODW_EVENTS];
    unsigned nevents;
    struct dp_session_config cfg;
    struct loop_work freed;
    uint32_t sid;
};

static struct iodw iodw;

/* ---- the export ----------------------------------------------------------------------------- */

struct export
{
    struct bdev *b;
    struct bdev_queue *q;
    struct bdev_listener listener;
    const struct export_events *ev;
    void *user;
    struct loop_work end;
    struct bdev_req r;
    struct iovec iov;
    uint8_t data[4096];
    bool busy, read_only, stopping;
    unsigned done;
    void (*stopped)(void *user);
    void *stopped_user;
};

static struct fx {
    struct export *last;
    char where[IPC_PATH_MAX];
    bool refuse;    /* start fails */
    bool hold_stop; /* until fx_let_go */
    unsigned starts, stops, there;
} fx;

static inline void
fx_end(struct loop_work *w)
{
    struct export *e = container_of(w, struct export, end);
    void (*stopped)(void *user) = e->stopped;
    void *user = e->stopped_user;

    if (e->busy || fx.hold_stop)
        return;
    bdev_queue_free(&e->q);
    bdev_unlisten(&e->listener);
    fx.there--;
    if (fx.last == e)
        fx.last = NULL;
    free(e);
    stopped(user);
}

static inline void
fx_done(struct bdev_req *r)
{
    struct export *e = container_of(r, struct export, r);

    e->busy = false;
    e->done++;
    if (e->stopping)
        loop_defer(e->q->loop, &e->end);
}

static inline void
fx_event(struct bdev_listener *l, struct bdev *b, enum bdev_event ev)
{
    struct export *e = container_of(l, struct export, listener);
    struct lunette_error why;

    (void)b;
    if (ev != BDEV_EV_GONE || e->stopping)
        return;
    (void)lunette_fail(&why, -ENODEV, LUNETTE_DOM_SCSI, 0, "the device is gone");
    e->ev->stopped(e->user, &why);
}

static inline int
fx_start(struct bdev *b, struct loop *loop, const char *where, bool read_only,
         const struct export_events *ev, void *user, struct export **ret, struct lunette_error *err)
{
    struct export *e;

    fx.starts++;
    (void)snprintf(fx.where, sizeof(fx.where), "%s", where);
    if (fx.refuse)
        return lunette_fail(err, -EACCES, LUNETTE_DOM_OS, EACCES, "%s: not allowed", where);
    e = calloc(1, sizeof(*e));
    if (e == NULL || bdev_queue_new(b, loop, 8, &e->q) < 0) {
        free(e);
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    }
    e->b = b;
    e->ev = ev;
    e->user = user;
    e->read_only = read_only;
    e->listener.event = fx_event;
    bdev_listen(b, &e->listener);
    loop_work_init(&e->end, fx_end);
    fx.there++;
    fx.last = *ret = e;
    return 0;
}

static inline void
fx_stop(struct export *e, void (*done)(void *user), void *user)
{
    assert_false(e->stopping);
    fx.stops++;
    e->stopping = true;
    e->stopped = done;
    e->stopped_user = user;
    loop_defer(e->q->loop, &e->end);
}

static inline void
fx_stats(const struct export *e, struct export_stats *ret)
{
    assert_false(e->stopping);
    *ret = (struct export_stats){.reads = e->done, .bytes_read = 4096ull * e->done, .clients = 2};
}

static const struct export_ops fx_ops = {
    .name = "fake", .start = fx_start, .stop = fx_stop, .stats = fx_stats};
static const struct export_ops *const fx_kinds[] = {&fx_ops, NULL};

/* Submits a request of a client. */
static inline void
fx_submit(struct export *e, enum bdev_op op)
{
    assert_false(e->busy);
    e->busy = true;
    e->iov = (struct iovec){e->data, sizeof(e->data)};
    e->r = (struct bdev_req){
        .op = op, .len = sizeof(e->data), .iov = &e->iov, .iovcnt = 1, .done = fx_done};
    assert_int_equal(bdev_submit(e->q, &e->r), 0);
}

static inline void
fx_let_go(void)
{
    fx.hold_stop = false;
    loop_defer(&iodw.f.loop.l, &fx.last->end);
    fake_advance(&iodw.f.loop, SEC(1));
}

/* ---- the session ---------------------------------------------------------------------------- */

static inline int
iodw_create(const struct dp_session_config *cfg, void **ret_session, struct scsi_host **ret_host,
            struct lunette_error *err)
{
    (void)err;
    iodw.cfg = *cfg;
    *ret_session = &iodw;
    *ret_host = &iodw.f.h;
    return 0;
}

static inline void
iodw_freed(struct loop_work *w)
{
    (void)w;
    if (iodw.f.h.ev != NULL)
        fh_end(&iodw.f);
    iodw.cfg.ev->freed(iodw.cfg.user);
}

static inline void
iodw_teardown(void *session)
{
    (void)session;
    if (iodw.f.h.ev != NULL)
        fh_state(&iodw.f, SCSI_HOST_GONE);
    fh_sweep(&iodw.f, NULL, DID_NO_CONNECT);
    loop_work_init(&iodw.freed, iodw_freed);
    loop_defer(&iodw.f.loop.l, &iodw.freed);
}

static inline int
iodw_create_conn(void *session, uint16_t cid, void **ret_conn, struct lunette_error *err)
{
    (void)cid;
    (void)err;
    *ret_conn = session;
    return 0;
}

static inline void
iodw_destroy_conn(void *conn)
{
    (void)conn;
}

static inline int
iodw_start_conn(void *conn, struct lunette_error *err)
{
    (void)conn;
    (void)err;
    iodw.f.h.state = SCSI_HOST_RUNNING;
    if (iodw.f.h.ev != NULL)
        fh_state(&iodw.f, SCSI_HOST_RUNNING);
    return 0;
}

static const struct dp_session_ops iodw_session_ops = {.size = sizeof(struct dp_session_ops),
                                                       .create = iodw_create,
                                                       .teardown = iodw_teardown,
                                                       .create_conn = iodw_create_conn,
                                                       .destroy_conn = iodw_destroy_conn,
                                                       .start_conn = iodw_start_conn};

/* ---- the client ----------------------------------------------------------------------------- */

static inline void
iodw_reply(void *binding, const struct iscsi_reply *rep)
{
    const uint8_t *at = rep->data;

    (void)binding;
    assert_true(iodw.nreplies < IODW_REPLIES && rep->err <= 0);
    if (rep->err < 0) {
        assert_int_equal(rep->why.code, rep->err);
        assert_true(rep->why.msg[0] != '\0');
    }
    iodw.reply[iodw.nreplies++] = *rep;
    if (rep->type != ISCSI_UEVENT_LIST_LUNS || rep->err < 0)
        return;
    iodw.nluns = rep->r.luns.count;
    for (uint32_t i = 0; i < iodw.nluns; i++)
        assert_true(
            ipc_lun_next(&at, (const uint8_t *)rep->data + rep->r.luns.data_len, &iodw.lun[i]));
    assert_true(rep->r.luns.data_len == 0 ||
                at == (const uint8_t *)rep->data + rep->r.luns.data_len);
}

static inline int
iodw_event(void *binding, const struct iscsi_kevent *ev, const void *data)
{
    (void)binding;
    (void)data;
    assert_true(iodw.nevents < IODW_EVENTS);
    iodw.event[iodw.nevents++] = *ev;
    return 0;
}

/* Sends a request; what is not answered at once may come later. */
static inline void
iodw_send(struct iscsi_uevent *ev, const void *data)
{
    uint32_t len = ev->type == ISCSI_UEVENT_START_EXPORT ? ev->u.start_export.path_len : 0;

    ev->seq = ++iodw.seq;
    if (ev->sid == 0)
        ev->sid = iodw.sid;
    dataplane_server_ops.serve(iodw.dp, &iodw.client, ev, data, len);
}

static inline const struct iscsi_reply *
iodw_answer(uint64_t seq)
{
    for (unsigned i = 0; i < iodw.nreplies; i++) {
        if (iodw.reply[i].seq == seq)
            return &iodw.reply[i];
    }
    return NULL;
}

static inline int
iodw_ask(struct iscsi_uevent *ev, const void *data)
{
    iodw_send(ev, data);
    fake_advance(&iodw.f.loop, SEC(20));
    assert_non_null(iodw_answer(ev->seq));
    assert_int_equal(iodw_answer(ev->seq)->type, ev->type);
    return iodw_answer(ev->seq)->err;
}

static inline int
iodw_do(enum iscsi_uevent_type type)
{
    struct iscsi_uevent ev = {.type = type};

    return iodw_ask(&ev, NULL);
}

static inline struct iscsi_uevent
iodw_lun_request(enum iscsi_uevent_type type, unsigned lun)
{
    struct iscsi_uevent ev = {.type = type};

    lun_store(type == ISCSI_UEVENT_SCAN_HOST      ? ev.u.scan.lun
              : type == ISCSI_UEVENT_START_EXPORT ? ev.u.start_export.lun
                                                  : ev.u.lun.lun,
              lun_from_number(lun));
    if (type == ISCSI_UEVENT_SCAN_HOST)
        ev.u.scan.one = true;
    return ev;
}

/* SCAN_HOST for one unit, STOP_EXPORT, GET_LUN_STATS. */
static inline int
iodw_lun(enum iscsi_uevent_type type, unsigned lun)
{
    struct iscsi_uevent ev = iodw_lun_request(type, lun);

    return iodw_ask(&ev, NULL);
}

static inline int
iodw_export(unsigned lun, const char *kind, const char *path)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_START_EXPORT};

    (void)snprintf(ev.u.start_export.kind, IPC_NAME_MAX, "%s", kind);
    lun_store(ev.u.start_export.lun, lun_from_number(lun));
    ev.u.start_export.path_len = (uint32_t)strlen(path);
    return iodw_ask(&ev, path);
}

static inline unsigned
iodw_events_of(enum iscsi_kevent_type type)
{
    unsigned n = 0;

    for (unsigned i = 0; i < iodw.nevents; i++)
        n += iodw.event[i].type == type;
    return n;
}

static inline void
iodw_list(void)
{
    assert_int_equal(iodw_do(ISCSI_UEVENT_LIST_LUNS), 0);
}

/* A session that has not been started; LUN 0 is a disk. */
static inline void
iodw_new(void)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_CREATE_SESSION};

    memset(&iodw, 0, sizeof(iodw));
    memset(&fx, 0, sizeof(fx));
    fake_adapter_reset();
    fh_init(&iodw.f);
    iodw.f.h.state = SCSI_HOST_BLOCKED;
    (void)fh_add(&iodw.f, 0, 0);
    assert_int_equal(transport_register(&iodw.registry, &fake_transport, NULL), 0);
    assert_int_equal(dataplane_new(&iodw.f.loop.l, &iodw.registry, &iodw.dp, NULL), 0);
    iodw.registry.t[0].session_ops = &iodw_session_ops;
    assert_int_equal(iod_units_new(&iodw.f.loop.l, iodw.dp, fx_kinds, &iodw.units), 0);
    iodw.client = (struct ipc_client){.reply = iodw_reply, .event = iodw_event, .binding = &iodw};
    (void)dataplane_set_client(iodw.dp, &iodw.client);
    strcpy(ev.u.create_session.transport, "fake");
    assert_int_equal(iodw_ask(&ev, NULL), 0);
    iodw.sid = iodw_answer(ev.seq)->sid;
}

static inline void
iodw_start(void)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_CREATE_CONN, .cid = 1};

    assert_int_equal(iodw_ask(&ev, NULL), 0);
    ev = (struct iscsi_uevent){.type = ISCSI_UEVENT_START_CONN, .cid = 1};
    assert_int_equal(iodw_ask(&ev, NULL), 0);
}

static inline void
iodw_free(void)
{
    dataplane_shutdown(iodw.dp);
    fake_advance(&iodw.f.loop, SEC(1));
    assert_int_equal(dataplane_busy(iodw.dp), 0);
    assert_int_equal(fx.there, 0);
    assert_int_equal(iod_units_exports(iodw.units), 0);
    dataplane_free(iodw.dp);
    iod_units_free(iodw.units);
    fake_advance(&iodw.f.loop, SEC(1000));
}

#endif
