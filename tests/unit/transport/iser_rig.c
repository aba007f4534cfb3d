/* SPDX-License-Identifier: MIT */
#include "tests/unit/transport/iser_rig.h"

struct rig r;
uint32_t rig_sends, rig_recvs;
FAKE_RNIC_OPS;

static const struct iscsi_transport *const tt = &iser_transport;

/* ---- the layer above ---- */

static void
ep_event(struct iscsi_endpoint *ep, int err)
{
    assert_ptr_equal(ep, r.ep);
    r.events++;
    r.ep_err = err;
}

static void
conn_failure(struct iscsi_conn *c, enum iscsi_err err, const char *why)
{
    assert_ptr_equal(c, r.conn);
    assert_true(why[0] != '\0');
    if (r.failures++ > 0)
        return;
    r.err = err;
    (void)snprintf(r.why, sizeof(r.why), "%s", why);
    c->failed = true;
}

static void
queue_xmit(struct iscsi_conn *c)
{
    (void)c;
    r.xmits++;
}

static void
conn_stopped(struct iscsi_conn *c)
{
    (void)c;
    r.stopped++;
}

static void
let_go(struct rig_cmd *c)
{
    assert_false(c->cleaned);
    c->cleaned = true;
    r.cmd[c->task->itt] = NULL;
    c->task->sc = NULL;
    c->task->state = ISCSI_TASK_FREE;
    c->task = NULL;
}

static void
task_cleaned(struct iscsi_task *t)
{
    r.cleaned++;
    let_go(container_of(t->sc, struct rig_cmd, sc));
}

/* As iscsi_complete_task. */
static void
complete(struct iscsi_task *t)
{
    struct rig_cmd *c = container_of(t->sc, struct rig_cmd, sc);
    int err;

    c->answered = true;
    c->in_done = t->in_done;
    t->state = ISCSI_TASK_COMPLETED;
    err = tt->cleanup_task(t);
    assert_true(err == 0 || err == -EINPROGRESS);
    if (err == 0)
        let_go(c);
}

static int
complete_pdu(struct iscsi_conn *c, const struct bhs *h, const void *data, uint32_t len)
{
    struct iscsi_task *t = iscsi_task_of(c, h->itt);

    r.pdus++;
    r.last = *h;
    r.data_len = len;
    memcpy(r.data, data, len);
    if (pdu_opcode(h) != ISCSI_OP_SCSI_RSP)
        return r.answer;
    if (t != NULL)
        complete(t);
    return 0;
}

static const struct iscsi_upcalls upcalls = {
    .version = ISCSI_TRANSPORT_VERSION,
    .size = sizeof(struct iscsi_upcalls),
    .complete_pdu = complete_pdu,
    .conn_failure = conn_failure,
    .queue_xmit = queue_xmit,
    .task_cleaned = task_cleaned,
    .conn_stopped = conn_stopped,
    .ep_event = ep_event,
};

/* ---- life ---- */

static void
make_tasks(void)
{
    uint32_t bytes = (uint32_t)(sizeof(struct iscsi_task) + tt->task_size + 63) / 64 * 64;

    for (size_t i = 0; i < RIG_TASKS / ISCSI_TASK_CHUNK; i++) {
        r.chunk[i] = calloc(ISCSI_TASK_CHUNK, bytes);
        assert_non_null(r.chunk[i]);
    }
    r.session->tasks = (struct iscsi_tasks){.chunk = r.chunk, .made = RIG_TASKS, .bytes = bytes};
    for (uint32_t i = 0; i < RIG_TASKS; i++) {
        struct iscsi_task *t = iscsi_task_in(&r.session->tasks, i);

        t->itt = i;
        t->dd_data = t + 1;
        list_init(&t->node);
    }
    r.user = calloc(1, sizeof(*r.user) + tt->task_size);
    assert_non_null(r.user);
    r.user->dd_data = r.user + 1;
}

int
rig_connect(bool windows, const char *options, uint32_t cmds_max)
{
    struct sock_addr to = {.len = sizeof(struct sockaddr_in)};

    memset(&r, 0, sizeof(r));
    fake_rnic_caps = (struct rnic_caps){.windows = windows,
                                        .max_windows = FAKE_REGIONS,
                                        .max_region = 1u << 30,
                                        .device = "fake0",
                                        .sends = rig_sends,
                                        .recvs = rig_recvs};
    fake_loop_init(&r.fl, 1);
    r.fl.l.rnic = &fake_rnic_ops;
    r.session = calloc(1, sizeof(*r.session) + tt->session_size);
    r.conn = calloc(1, sizeof(*r.conn) + tt->conn_size);
    r.ep = calloc(1, sizeof(*r.ep) + tt->ep_size);
    assert_true(r.session != NULL && r.conn != NULL && r.ep != NULL);
    *r.session = (struct iscsi_session){
        .tt = tt,
        .loop = &r.fl.l,
        .cmds_max = cmds_max,
        .dd_data = r.session + 1,
        .params = {
            .imm_data = true, .initial_r2t = true, .first_burst = 65536, .max_burst = 262144}};
    make_tasks();
    assert_int_equal(tt->create_session(r.session, NULL), 0);
    *r.conn = (struct iscsi_conn){.session = r.session,
                                  .tt = tt,
                                  .up = &upcalls,
                                  .loop = &r.fl.l,
                                  .max_recv_dlength = 8192,
                                  .max_xmit_dlength = 8192,
                                  .dd_data = r.conn + 1};
    assert_int_equal(tt->create_conn(r.conn, NULL), 0);
    *r.ep = (struct iscsi_endpoint){
        .tt = tt, .loop = &r.fl.l, .id = 7, .dd_data = r.ep + 1, .options = options};
    return tt->ep_connect(r.ep, &to, &upcalls, NULL);
}

void
rig_up(bool windows, const char *options, uint32_t cmds_max)
{
    assert_int_equal(rig_connect(windows, options, cmds_max), 0);
    fake_rnic->ev->resolved(fake_rnic->user);
    fake_rnic->ev->established(fake_rnic->user, "", 0);
    assert_int_equal(r.events, 1);
    assert_int_equal(r.ep_err, 0);
}

void
rig_bind(bool windows, const char *options)
{
    struct lunette_error err = {.code = 0};

    rig_up(windows, options, RIG_TASKS);
    if (tt->bind_conn(r.conn, 7, r.ep, true, &err) != 0)
        fail_msg("%s", err.msg);
}

void
rig_start(bool windows, const char *options)
{
    struct lunette_error err = {.code = 0};

    rig_bind(windows, options);
    if (tt->start_conn(r.conn, &err) != 0)
        fail_msg("%s", err.msg);
    fake_turn(&r.fl);
}

void
rig_free(void)
{
    if (tt->stop_conn(r.conn, STOP_CONN_TERM) == -EINPROGRESS) {
        unsigned stopped = r.stopped;

        fake_rnic_flush(fake_rnic);
        assert_int_equal(r.stopped, stopped + 1);
    }
    for (uint32_t i = 0; i < RIG_TASKS; i++) {
        if (r.cmd[i] != NULL)
            assert_int_equal(tt->cleanup_task(r.cmd[i]->task), 0);
    }
    if (fake_rnic_resolve_err == 0)
        tt->ep_disconnect(r.ep);
    if (fake_rnic != NULL)
        assert_false(fake_rnic->open);
    fake_turn(&r.fl);
    fake_advance(&r.fl, SEC(100));
    tt->destroy_conn(r.conn);
    tt->destroy_session(r.session);
    for (size_t i = 0; i < RIG_TASKS / ISCSI_TASK_CHUNK; i++)
        free(r.chunk[i]);
    free(r.user);
    free(r.conn);
    free(r.session);
    free(r.ep);
    free(fake_rnic);
    fake_rnic = NULL;
}

/* ---- PDUs ---- */

int
rig_queue(struct rig_cmd *c)
{
    uint32_t slot = 0, in = c->sc.in.len, out = c->sc.out.len;
    struct iscsi_task *t;
    int err;

    while (r.cmd[slot] != NULL)
        assert_true(++slot < RIG_TASKS);
    t = iscsi_task_in(&r.session->tasks, slot);
    t->conn = r.conn;
    t->sc = &c->sc;
    t->in_done = t->imm_count = 0;
    err = tt->alloc_pdu(t, ISCSI_OP_SCSI_CMD);
    if (err < 0)
        return err;
    c->task = t;
    r.cmd[slot] = c;
    t->state = ISCSI_TASK_RUNNING;
    assert_true(t->hdr_max >= ISCSI_HDR_MAX - 4);
    if (iscsi_is_immediate(r.conn, &c->sc)) /* as split_unsolicited, with all_or_none */
        t->imm_count = out;
    bhs_init(t->hdr, ISCSI_OP_SCSI_CMD,
             (uint8_t)(ISCSI_FLAG_FINAL | (in > 0 ? ISCSI_CMD_READ : 0) |
                       (out > 0 ? ISCSI_CMD_WRITE : 0)));
    t->hdr->itt = put32(t->itt);
    t->hdr->dseg_len = put24(t->imm_count);
    t->hdr_len = ISCSI_BHS_LEN;
    assert_int_equal(tt->init_task(t), 0);
    assert_int_equal(tt->xmit_task(t), 0);
    return 0;
}

int
rig_command(struct rig_cmd *c, void *in, uint32_t in_len, void *out, uint32_t out_len)
{
    memset(c, 0, sizeof(*c));
    c->iov[0] = (struct iovec){in, in_len};
    c->iov[1] = (struct iovec){out, out_len};
    if (in_len > 0)
        c->sc.in = sg_from_iov(&c->iov[0], 1, 0, in_len);
    if (out_len > 0)
        c->sc.out = sg_from_iov(&c->iov[1], 1, 0, out_len);
    return rig_queue(c);
}

int
rig_control(uint8_t opcode, const void *data, uint32_t len)
{
    struct iscsi_task *t = r.user;
    int err;

    t->conn = r.conn;
    t->data = data;
    t->data_len = len;
    err = tt->alloc_pdu(t, opcode);
    if (err < 0)
        return err;
    bhs_init(t->hdr, opcode, ISCSI_FLAG_FINAL);
    t->hdr->dseg_len = put24(len);
    t->hdr_len = ISCSI_BHS_LEN;
    assert_int_equal(tt->init_task(t), 0);
    assert_int_equal(tt->xmit_task(t), 0);
    return tt->cleanup_task(t);
}

void
rig_flush(void)
{
    tt->xmit_flush(r.conn);
}

const struct iser_hdr *
rig_sent(const struct rnic_wr **ret_wr)
{
    uint32_t n = fake_rnic->nsent;

    while (n > 0 && fake_rnic->sent[n - 1].op != RNIC_SEND)
        n--;
    assert_true(n > 0);
    if (ret_wr != NULL)
        *ret_wr = &fake_rnic->sent[n - 1];
    return fake_rnic->sent[n - 1].sge[0].addr;
}

void
rig_answer(struct rig_cmd *c, uint32_t underflow, uint32_t invalidate)
{
    uint8_t msg[ISER_HDRS_LEN];
    struct bhs_scsi_rsp h;

    iser_put((struct iser_hdr *)(void *)msg, NULL, NULL);
    bhs_init(&h, ISCSI_OP_SCSI_RSP, ISCSI_FLAG_FINAL | (underflow ? ISCSI_RSP_UNDERFLOW : 0));
    h.itt = put32(c->task->itt);
    h.residual = put32(underflow);
    memcpy(msg + ISER_LEN, &h, sizeof(h));
    fake_rnic_message(fake_rnic, msg, sizeof(msg), invalidate);
}

void
rig_message(uint8_t opcode, uint32_t itt, uint32_t invalidate)
{
    uint8_t msg[ISER_HDRS_LEN];
    struct bhs h;

    iser_put((struct iser_hdr *)(void *)msg, NULL, NULL);
    bhs_init(&h, opcode, ISCSI_FLAG_FINAL);
    h.itt = put32(itt);
    memcpy(msg + ISER_LEN, &h, sizeof(h));
    fake_rnic_message(fake_rnic, msg, sizeof(msg), invalidate);
}
