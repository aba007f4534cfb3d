/* SPDX-License-Identifier: MIT */
#include "tests/unit/rdma/fake_verbs.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/list.h"

#define CQ_MAX 8192

struct fake_verbs fake;

struct fake_cq {
    struct ibv_cq cq; /* first */
    struct ibv_wc wc[CQ_MAX];
    uint32_t head, tail;
    unsigned users, given, acked; /* queue pairs; events */
    bool armed, pending;          /* an event is in the channel */
};

struct fake_id {
    struct rdma_cm_id id; /* first */
    unsigned given;       /* events that are not acknowledged */
};

struct fake_event {
    struct rdma_cm_event e; /* first */
    struct list node;
    uint8_t data[UINT8_MAX];
};

struct fake_pd {
    struct ibv_pd pd; /* first */
    unsigned users;
};

static struct ibv_device device = {.name = "fake0"};
static struct ibv_device *devices[] = {&device, NULL};
static struct verbs_context context;
static struct list events = {&events, &events};
static struct fake_cq *queues[16];
static unsigned nqueues;
static int next_key = 0x1000;

/* Whether a call that makes something is to fail. */
static bool
refused(void)
{
    if (++fake.made != fake.fail_at)
        return false;
    errno = ENOMEM;
    return true;
}

static void
ring(int fd)
{
    uint64_t one = 1;

    assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
}

static void
unring(int fd)
{
    uint64_t n;

    assert_int_equal(read(fd, &n, sizeof(n)), sizeof(n));
}

/* ---- devices ----------------------------------------------------------------------------------
 */

#undef ibv_get_device_list
struct ibv_device **
ibv_get_device_list(int *n)
{
    *n = fake.no_device || fake.no_driver ? 0 : 1;
    return devices;
}

void
ibv_free_device_list(struct ibv_device **list)
{
    assert_ptr_equal(list, devices);
}

int
ibv_fork_init(void)
{
    fake.fork_inits++;
    return 0;
}

int
ibv_query_device(struct ibv_context *ctx, struct ibv_device_attr *attr)
{
    assert_ptr_equal(ctx, &context.context);
    if (refused())
        return ENOMEM;
    *attr = fake.attr;
    return 0;
}

/* ---- completion queues ------------------------------------------------------------------------
 */

struct ibv_comp_channel *
ibv_create_comp_channel(struct ibv_context *ctx)
{
    struct ibv_comp_channel *c;

    if (refused())
        return NULL;
    c = calloc(1, sizeof(*c));
    c->context = ctx;
    c->fd = eventfd(0, EFD_CLOEXEC);
    assert_true(c->fd >= 0);
    fake.comp_channels++;
    return c;
}

int
ibv_destroy_comp_channel(struct ibv_comp_channel *c)
{
    assert_int_equal(c->refcnt, 0);
    (void)close(c->fd);
    free(c);
    fake.comp_channels--;
    return 0;
}

static int
granted(int want)
{
    if (fake.first_cqe != 0)
        return fake.first_cqe;
    return fake.cq_exact ? want : want + 3;
}

struct ibv_cq *
ibv_create_cq(struct ibv_context *ctx, int cqe, void *user, struct ibv_comp_channel *channel,
              int vector)
{
    struct fake_cq *q;

    assert_true(cqe > 0 && cqe <= fake.attr.max_cqe);
    assert_true(vector >= 0 && vector < ctx->num_comp_vectors);
    if (refused())
        return NULL;
    q = calloc(1, sizeof(*q));
    q->cq.context = ctx;
    q->cq.cq_context = user;
    q->cq.channel = channel;
    q->cq.cqe = granted(cqe);
    fake.first_cqe = 0;
    channel->refcnt++;
    assert_true(nqueues < 16);
    queues[nqueues++] = q;
    fake.cqs++;
    return &q->cq;
}

int
ibv_resize_cq(struct ibv_cq *cq, int cqe)
{
    struct fake_cq *q = (struct fake_cq *)(void *)cq;

    assert_true(cqe > 0 && cqe <= fake.attr.max_cqe);
    if (fake.resize_errno != 0)
        return fake.resize_errno;
    assert_true(q->head - q->tail <= (uint32_t)cqe);
    cq->cqe = granted(cqe);
    q->armed = false; /* a device may forget it */
    fake.resizes++;
    return 0;
}

int
ibv_destroy_cq(struct ibv_cq *cq)
{
    struct fake_cq *q = (struct fake_cq *)(void *)cq;

    assert_int_equal(q->users, 0);
    assert_int_equal(q->given, q->acked); /* else it waits for ever */
    if (q->pending)
        unring(cq->channel->fd);
    cq->channel->refcnt--;
    for (unsigned i = 0; i < nqueues; i++) {
        if (queues[i] == q)
            queues[i--] = queues[--nqueues];
    }
    fake.cqs--;
    free(q);
    return 0;
}

static void
cq_signal(struct fake_cq *q)
{
    if (!q->armed || q->pending)
        return;
    q->armed = false;
    q->pending = true;
    ring(q->cq.channel->fd);
}

int
ibv_get_cq_event(struct ibv_comp_channel *c, struct ibv_cq **cq, void **user)
{
    for (unsigned i = 0; i < nqueues; i++) {
        struct fake_cq *q = queues[i];

        if (q->cq.channel != c || !q->pending)
            continue;
        q->pending = false;
        unring(c->fd);
        for (unsigned j = 0; j < nqueues; j++) { /* an eventfd forgets how many there were */
            if (queues[j]->cq.channel == c && queues[j]->pending)
                ring(c->fd);
        }
        q->given++;
        fake.cq_events++;
        *cq = &q->cq;
        *user = q->cq.cq_context;
        return 0;
    }
    errno = EAGAIN;
    return -1;
}

void
ibv_ack_cq_events(struct ibv_cq *cq, unsigned n)
{
    struct fake_cq *q = (struct fake_cq *)(void *)cq;

    q->acked += n;
    assert_true(q->acked <= q->given);
    fake.cq_acks += n;
    fake.ack_calls++;
}

static int
fake_poll(struct ibv_cq *cq, int n, struct ibv_wc *wc)
{
    struct fake_cq *q = (struct fake_cq *)(void *)cq;
    int got = 0;

    fake.polls++;
    if (fake.poll_broken)
        return -1;
    for (; got < n && q->tail != q->head; got++)
        wc[got] = q->wc[q->tail++ % CQ_MAX];
    return got;
}

static int
fake_notify(struct ibv_cq *cq, int solicited)
{
    void (*before)(void) = fake.before_arm;

    assert_int_equal(solicited, 0);
    fake.notifies++;
    fake.before_arm = NULL;
    if (before != NULL)
        before();
    ((struct fake_cq *)(void *)cq)->armed = true;
    return 0;
}

static void
complete(struct ibv_cq *cq, const struct ibv_wc *wc)
{
    struct fake_cq *q = (struct fake_cq *)(void *)cq;

    assert_true(q->head - q->tail < (uint32_t)cq->cqe); /* it would overflow */
    q->wc[q->head++ % CQ_MAX] = *wc;
    cq_signal(q);
}

void
fake_stray(struct ibv_cq *cq, uint64_t wr_id)
{
    const struct ibv_wc wc = {.wr_id = wr_id};

    complete(cq, &wc);
}

/* ---- memory -----------------------------------------------------------------------------------
 */

struct ibv_pd *
ibv_alloc_pd(struct ibv_context *ctx)
{
    struct fake_pd *p;

    if (refused())
        return NULL;
    p = calloc(1, sizeof(*p));
    p->pd.context = ctx;
    fake.pds++;
    return &p->pd;
}

int
ibv_dealloc_pd(struct ibv_pd *pd)
{
    assert_int_equal(((struct fake_pd *)(void *)pd)->users, 0);
    free(pd);
    fake.pds--;
    return 0;
}

static struct ibv_mr *
make_mr(struct ibv_pd *pd, void *addr, size_t len, unsigned access)
{
    struct ibv_mr *m;

    assert_true((access & IBV_ACCESS_LOCAL_WRITE) != 0);
    if (refused())
        return NULL;
    if (fake.reg_errno != 0) {
        errno = fake.reg_errno;
        return NULL;
    }
    m = calloc(1, sizeof(*m));
    *m = (struct ibv_mr){.context = pd->context, .pd = pd, .addr = addr, .length = len};
    m->lkey = (uint32_t)next_key++;
    m->rkey = (uint32_t)next_key++ | access << 24;
    ((struct fake_pd *)(void *)pd)->users++;
    fake.mrs++;
    return m;
}

#undef ibv_reg_mr
struct ibv_mr *
ibv_reg_mr(struct ibv_pd *pd, void *addr, size_t len, int access)
{
    return make_mr(pd, addr, len, (unsigned)access);
}

struct ibv_mr *
ibv_reg_mr_iova2(struct ibv_pd *pd, void *addr, size_t len, uint64_t iova, unsigned access)
{
    assert_int_equal(iova, (uintptr_t)addr);
    return make_mr(pd, addr, len, access);
}

int
ibv_dereg_mr(struct ibv_mr *m)
{
    ((struct fake_pd *)(void *)m->pd)->users--;
    free(m);
    fake.mrs--;
    return 0;
}

static struct ibv_mw *
fake_alloc_mw(struct ibv_pd *pd, enum ibv_mw_type type)
{
    struct ibv_mw *w;

    assert_int_equal(type, IBV_MW_TYPE_2);
    if (refused())
        return NULL;
    w = calloc(1, sizeof(*w));
    *w = (struct ibv_mw){.context = pd->context, .pd = pd, .type = type};
    w->rkey = (uint32_t)next_key++ << 8 | 0xfe;
    ((struct fake_pd *)(void *)pd)->users++;
    fake.mws++;
    return w;
}

static int
fake_dealloc_mw(struct ibv_mw *w)
{
    ((struct fake_pd *)(void *)w->pd)->users--;
    free(w);
    fake.mws--;
    return 0;
}

/* ---- connections ------------------------------------------------------------------------------
 */

struct rdma_event_channel *
rdma_create_event_channel(void)
{
    struct rdma_event_channel *c;

    if (fake.no_device || fake.channel_errno != 0) {
        errno = fake.channel_errno != 0 ? fake.channel_errno : ENODEV;
        return NULL;
    }
    if (refused())
        return NULL;
    c = calloc(1, sizeof(*c));
    c->fd = eventfd(0, EFD_CLOEXEC);
    assert_true(c->fd >= 0);
    fake.channels++;
    return c;
}

void
rdma_destroy_event_channel(struct rdma_event_channel *c)
{
    assert_int_equal(fake.ids, 0);
    (void)close(c->fd);
    free(c);
    fake.channels--;
}

int
rdma_create_id(struct rdma_event_channel *channel, struct rdma_cm_id **ret, void *user,
               enum rdma_port_space ps)
{
    struct fake_id *id;

    assert_int_equal(ps, RDMA_PS_TCP);
    if (refused())
        return -1;
    id = calloc(1, sizeof(*id));
    id->id.channel = channel;
    id->id.context = user;
    fake.ids++;
    *ret = fake.id = &id->id;
    return 0;
}

int
rdma_destroy_id(struct rdma_cm_id *id)
{
    struct fake_id *f = (struct fake_id *)(void *)id;
    struct list keep;
    struct list *n;

    assert_null(id->qp);
    assert_int_equal(f->given, 0); /* else it waits for ever */
    list_init(&keep);
    while ((n = list_pop_front(&events)) != NULL) {
        struct fake_event *e = container_of(n, struct fake_event, node);

        if (e->e.id != id && e->e.listen_id != id) {
            list_push_back(&keep, n);
            continue;
        }
        if (e->e.listen_id == id) { /* a request that nobody has heard of goes with its listener */
            free(e->e.id);
            fake.ids--;
        }
        free(e);
    }
    list_splice(&events, &keep);
    if (list_empty(&events))
        (void)eventfd_read(id->channel->fd, &(eventfd_t){0});
    fake.ids--;
    if (fake.ids == 0) /* librdmacm may close the device now */
        assert_int_equal(fake.cqs + fake.comp_channels + fake.pds, 0);
    free(f);
    return 0;
}

static void
set_addr(struct sockaddr_storage *to, const char *ip, uint16_t port)
{
    struct sockaddr_in *in = (struct sockaddr_in *)to;

    in->sin_family = AF_INET;
    in->sin_port = htons(port);
    assert_int_equal(inet_pton(AF_INET, ip, &in->sin_addr), 1);
}

int
rdma_resolve_addr(struct rdma_cm_id *id, struct sockaddr *from, struct sockaddr *to, int ms)
{
    assert_true(ms > 0);
    if (refused())
        return -1;
    fake.resolves++;
    id->verbs = &context.context;
    if (from != NULL)
        memcpy(&id->route.addr.src_storage, from, sizeof(struct sockaddr_in));
    else
        set_addr(&id->route.addr.src_storage, "192.0.2.1", 1024);
    memcpy(&id->route.addr.dst_storage, to, sizeof(struct sockaddr_in));
    return 0;
}

int
rdma_resolve_route(struct rdma_cm_id *id, int ms)
{
    assert_non_null(id->verbs);
    assert_true(ms > 0);
    return refused() ? -1 : 0;
}

int
rdma_bind_addr(struct rdma_cm_id *id, struct sockaddr *at)
{
    if (refused())
        return -1;
    memcpy(&id->route.addr.src_storage, at, sizeof(struct sockaddr_in));
    if (((struct sockaddr_in *)&id->route.addr.src_storage)->sin_port == 0)
        ((struct sockaddr_in *)&id->route.addr.src_storage)->sin_port = htons(4711);
    return 0;
}

int
rdma_listen(struct rdma_cm_id *id, int backlog)
{
    (void)id;
    if (refused())
        return -1;
    fake.listening = backlog;
    return 0;
}

int
rdma_create_qp(struct rdma_cm_id *id, struct ibv_pd *pd, struct ibv_qp_init_attr *attr)
{
    struct fake_qp *q;

    assert_int_equal(attr->qp_type, IBV_QPT_RC);
    assert_ptr_equal(attr->send_cq, attr->recv_cq);
    assert_int_equal(attr->sq_sig_all, 0);
    assert_true(attr->cap.max_send_sge == 2 && attr->cap.max_recv_sge == 1);
    if (refused())
        return -1;
    q = calloc(1, sizeof(*q));
    q->id = id;
    q->cq = attr->send_cq;
    q->max_send = attr->cap.max_send_wr;
    q->max_recv = attr->cap.max_recv_wr;
    assert_true(q->max_send <= FAKE_QUEUE && q->max_recv <= FAKE_QUEUE);
    q->qp = (struct ibv_qp){.context = &context.context, .pd = pd, .qp_num = 77};
    id->qp = &q->qp;
    id->pd = pd;
    ((struct fake_pd *)(void *)pd)->users++;
    ((struct fake_cq *)(void *)q->cq)->users++;
    fake.qps++;
    return 0;
}

void
rdma_destroy_qp(struct rdma_cm_id *id)
{
    struct fake_qp *q = fake_qp_of(id);

    assert_int_equal(fake.mws, 0); /* else rxe waits for them */
    assert_true(q->error || fake.modify_errno != 0);
    ((struct fake_pd *)(void *)q->qp.pd)->users--;
    ((struct fake_cq *)(void *)q->cq)->users--;
    id->qp = NULL;
    free(q);
    fake.qps--;
}

static void
note_param(const struct rdma_conn_param *p)
{
    fake.param = *p;
    assert_true(p->private_data_len <= sizeof(fake.private_data));
    if (p->private_data_len > 0)
        memcpy(fake.private_data, p->private_data, p->private_data_len);
}

int
rdma_connect(struct rdma_cm_id *id, struct rdma_conn_param *p)
{
    assert_non_null(id->qp);
    if (refused())
        return -1;
    note_param(p);
    fake.connects++;
    return 0;
}

int
rdma_accept(struct rdma_cm_id *id, struct rdma_conn_param *p)
{
    assert_non_null(id->qp);
    if (refused())
        return -1;
    note_param(p);
    fake.accepts++;
    return 0;
}

int
rdma_reject(struct rdma_cm_id *id, const void *data, uint8_t len)
{
    (void)id;
    assert_true(data == NULL && len == 0);
    fake.rejects++;
    return 0;
}

int
rdma_notify(struct rdma_cm_id *id, enum ibv_event_type event)
{
    (void)id;
    assert_int_equal(event, IBV_EVENT_COMM_EST);
    fake.told_up++;
    return 0;
}

int
ibv_modify_qp(struct ibv_qp *qp, struct ibv_qp_attr *attr, int mask)
{
    assert_int_equal(mask, IBV_QP_STATE);
    assert_int_equal(attr->qp_state, IBV_QPS_ERR);
    if (fake.modify_errno != 0)
        return fake.modify_errno;
    ((struct fake_qp *)(void *)qp)->error = true;
    return 0;
}

int
rdma_disconnect(struct rdma_cm_id *id)
{
    assert_non_null(id->qp);
    fake.disconnects++;
    if (fake.modify_errno == 0)
        fake_qp_of(id)->error = true;
    errno = EINVAL; /* as where there is nobody to tell */
    return -1;
}

int
rdma_get_cm_event(struct rdma_event_channel *channel, struct rdma_cm_event **ret)
{
    struct list *n = list_pop_front(&events);
    struct fake_event *e;

    if (n == NULL) {
        errno = EAGAIN;
        return -1;
    }
    if (list_empty(&events))
        unring(channel->fd);
    e = container_of(n, struct fake_event, node);
    ((struct fake_id *)(void *)e->e.id)->given++;
    *ret = &e->e;
    return 0;
}

int
rdma_ack_cm_event(struct rdma_cm_event *e)
{
    ((struct fake_id *)(void *)e->id)->given--;
    memset(e, 0xa5, sizeof(struct fake_event)); /* it is not the caller's any more */
    free(e);
    return 0;
}

void
fake_cm(struct rdma_cm_id *id, enum rdma_cm_event_type event, int status, const void *data,
        uint8_t len)
{
    struct fake_event *e = calloc(1, sizeof(*e));
    bool first = list_empty(&events);

    e->e = (struct rdma_cm_event){.id = id, .event = event, .status = status};
    if (len > 0)
        memcpy(e->data, data, len);
    e->e.param.conn.private_data = len > 0 ? e->data : NULL;
    e->e.param.conn.private_data_len = len;
    list_push_back(&events, &e->node);
    if (first)
        ring(id->channel->fd);
}

struct rdma_cm_id *
fake_cm_request(struct rdma_cm_id *listener, const void *data, uint8_t len)
{
    struct rdma_cm_id *last = fake.id, *id = NULL;
    struct fake_event *e;

    assert_int_equal(rdma_create_id(listener->channel, &id, listener->context, RDMA_PS_TCP), 0);
    fake.id = last;
    id->verbs = &context.context;
    id->route.addr.src_storage = listener->route.addr.src_storage;
    set_addr(&id->route.addr.dst_storage, "192.0.2.9", 700);
    fake_cm(id, RDMA_CM_EVENT_CONNECT_REQUEST, 0, data, len);
    e = container_of(events.prev, struct fake_event, node);
    e->e.listen_id = listener;
    e->e.param.conn.responder_resources = 4;
    e->e.param.conn.initiator_depth = 200;
    return id;
}

/* ---- queue pairs ------------------------------------------------------------------------------
 */

struct fake_qp *
fake_qp_of(struct rdma_cm_id *id)
{
    return (struct fake_qp *)(void *)id->qp;
}

uint32_t
fake_sends(const struct fake_qp *q)
{
    return q->send_head - q->send_tail;
}

uint32_t
fake_recvs(const struct fake_qp *q)
{
    return q->recv_head - q->recv_tail;
}

const struct ibv_send_wr *
fake_send(const struct fake_qp *q, uint32_t n)
{
    assert_true(n < fake_sends(q));
    return &q->send[(q->send_tail + n) % FAKE_QUEUE];
}

/* The library takes a window's rkey when it gets the chain: a second bind of it would be of one
 * that is no more. */
static void
check_bind(const struct ibv_send_wr *first, const struct ibv_send_wr *wr)
{
    assert_int_equal(wr->bind_mw.rkey, ibv_inc_rkey(wr->bind_mw.mw->rkey));
    for (; first != wr; first = first->next)
        assert_true(first->opcode != IBV_WR_BIND_MW || first->bind_mw.mw != wr->bind_mw.mw);
}

static int
fake_post_send(struct ibv_qp *qp, struct ibv_send_wr *wr, struct ibv_send_wr **bad)
{
    struct fake_qp *q = (struct fake_qp *)(void *)qp;
    const struct ibv_send_wr *first = wr;

    for (unsigned n = 0; wr != NULL; wr = wr->next, n++) {
        uint32_t at = q->send_head % FAKE_QUEUE;

        *bad = wr;
        if (fake.post_errno != 0 && n == fake.post_bad)
            return fake.post_errno;
        assert_true(fake_sends(q) + q->send_held < q->max_send);
        if (wr->opcode == IBV_WR_BIND_MW)
            check_bind(first, wr);
        assert_true(wr->num_sge <= 2);
        q->send[at] = *wr;
        for (int i = 0; i < wr->num_sge; i++)
            q->send_sge[at][i] = wr->sg_list[i];
        q->send[at].sg_list = q->send_sge[at];
        q->send_head++;
    }
    return 0;
}

static int
fake_post_recv(struct ibv_qp *qp, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad)
{
    struct fake_qp *q = (struct fake_qp *)(void *)qp;

    for (unsigned n = 0; wr != NULL; wr = wr->next, n++) {
        uint32_t at = q->recv_head % FAKE_QUEUE;

        *bad = wr;
        if (fake.post_errno != 0 && n == fake.post_bad)
            return fake.post_errno;
        assert_true(fake_recvs(q) < q->max_recv);
        assert_int_equal(wr->num_sge, 1);
        q->recv[at] = *wr;
        q->recv_sge[at] = wr->sg_list[0];
        q->recv[at].sg_list = &q->recv_sge[at];
        q->recv_head++;
    }
    return 0;
}

void
fake_send_done(struct fake_qp *q, enum ibv_wc_status status)
{
    const struct ibv_send_wr *wr = fake_send(q, 0);
    /* Of a completion that failed these alone can be relied on. */
    const struct ibv_wc wc = {.wr_id = wr->wr_id,
                              .status = status,
                              .qp_num = q->qp.qp_num,
                              .opcode = status == IBV_WC_SUCCESS ? IBV_WC_SEND : (int)0x5a};
    bool quiet = (wr->send_flags & IBV_SEND_SIGNALED) == 0;

    q->send_tail++;
    if (quiet && status == IBV_WC_SUCCESS) {
        q->send_held++;
        return;
    }
    q->send_held = 0;
    complete(q->cq, &wc);
}

void
fake_recv_done(struct fake_qp *q, enum ibv_wc_status status, uint32_t len, unsigned flags,
               uint32_t rkey)
{
    const struct ibv_recv_wr *wr = &q->recv[q->recv_tail % FAKE_QUEUE];
    struct ibv_wc wc = {.wr_id = wr->wr_id,
                        .status = status,
                        .qp_num = q->qp.qp_num,
                        .opcode = status == IBV_WC_SUCCESS ? IBV_WC_RECV : (int)0x5a,
                        .byte_len = len,
                        .wc_flags = flags};

    assert_true(fake_recvs(q) > 0);
    wc.invalidated_rkey = rkey;
    q->recv_tail++;
    complete(q->cq, &wc);
}

/* ---- all of it --------------------------------------------------------------------------------
 */

void
fake_verbs_nothing_left(void)
{
    assert_int_equal(fake.channels, 0);
    assert_int_equal(fake.ids, 0);
    assert_int_equal(fake.pds, 0);
    assert_int_equal(fake.qps, 0);
    assert_int_equal(fake.cqs, 0);
    assert_int_equal(fake.comp_channels, 0);
    assert_int_equal(fake.mrs, 0);
    assert_int_equal(fake.mws, 0);
    assert_int_equal(fake.cq_acks, fake.cq_events);
    assert_true(list_empty(&events));
}

void
fake_verbs_reset(void)
{
    fake_verbs_nothing_left();
    memset(&fake, 0, sizeof(fake));
    fake.attr = (struct ibv_device_attr){.max_mr_size = UINT64_C(1) << 40,
                                         .max_qp_wr = 512,
                                         .max_cqe = 4096,
                                         .max_mw = 99,
                                         .max_qp_rd_atom = 16,
                                         .max_qp_init_rd_atom = 16,
                                         .device_cap_flags = IBV_DEVICE_MEM_WINDOW_TYPE_2B};
    memset(&context, 0, sizeof(context));
    context.context.device = &device;
    context.context.num_comp_vectors = 3;
    context.context.ops.poll_cq = fake_poll;
    context.context.ops.req_notify_cq = fake_notify;
    context.context.ops.alloc_mw = fake_alloc_mw;
    context.context.ops.dealloc_mw = fake_dealloc_mw;
    context.context.ops.post_send = fake_post_send;
    context.context.ops.post_recv = fake_post_recv;
    context.context.abi_compat = NULL;
}
