/* SPDX-License-Identifier: MIT */
/* tests/conformance/group_table.c - the operations of the transport themselves, between a target
 * and up-calls that only count: each may come in any state, and twice where the header says so. */
#include <stdlib.h>

#include "tests/conformance/nexus.h"
#include "wire/pdu.h"

struct table_task {
    struct iscsi_task t;
    union bhs_any hdr;
    unsigned cleaned;
};

static struct table {
    struct conform_world *w;
    const struct iscsi_transport *tt;
    struct iscsi_session s;
    struct iscsi_conn c;
    struct table_task task;
    void *chunk[1];
    struct conform_nexus peer; /* for its descriptor or endpoint only */
    unsigned failures, stopped, answers;
    bool bound;
    union bhs_any answer;
} t;

/* ---- up-calls -------------------------------------------------------------------------------- */

/* A connection that is not bound is not heard of. */
static void
must_be_bound(void)
{
    assert_true(t.bound);
}

static bool
up_ended(struct iscsi_conn *c, struct be32 itt)
{
    (void)c;
    (void)itt;
    must_be_bound();
    return false;
}

static int
up_pdu(struct iscsi_conn *c, const struct bhs *hdr, const void *data, uint32_t len)
{
    (void)data;
    (void)len;
    must_be_bound();
    assert_ptr_equal(c, &t.c);
    memcpy(&t.answer, hdr, sizeof(t.answer));
    t.answers++;
    return pdu_opcode(hdr) == ISCSI_OP_LOGIN_RSP ? ISCSI_RX_HOLD : 0;
}

static void
up_data_in(struct iscsi_task *task, const struct bhs_data_in *h)
{
    (void)task;
    (void)h;
    fail_msg("there is no SCSI command");
}

static void
up_response(struct iscsi_conn *c, const struct bhs_scsi_rsp *h)
{
    (void)c;
    (void)h;
    fail_msg("there is no SCSI command");
}

static void
up_cmdsn(struct iscsi_conn *c, struct be32 exp_cmdsn, struct be32 max_cmdsn)
{
    (void)c;
    (void)exp_cmdsn;
    (void)max_cmdsn;
    must_be_bound();
}

static void
up_failure(struct iscsi_conn *c, enum iscsi_err err, const char *why)
{
    assert_true(err != ISCSI_OK && why[0] != '\0');
    c->failed = true;
    t.failures++;
}

static void
up_requeue(struct iscsi_task *task)
{
    (void)task;
    must_be_bound();
}

static void
up_xmit(struct iscsi_conn *c)
{
    (void)c;
    must_be_bound();
}

static void
up_cleaned(struct iscsi_task *task)
{
    assert_ptr_equal(task, &t.task.t);
    t.task.cleaned++;
}

static void
up_stopped(struct iscsi_conn *c)
{
    (void)c;
    t.stopped++;
}

static const struct iscsi_upcalls upcalls = {.version = ISCSI_TRANSPORT_VERSION,
                                             .size = sizeof(struct iscsi_upcalls),
                                             .itt_ended = up_ended,
                                             .complete_pdu = up_pdu,
                                             .complete_data_in = up_data_in,
                                             .complete_scsi_rsp = up_response,
                                             .update_cmdsn = up_cmdsn,
                                             .conn_failure = up_failure,
                                             .requeue_task = up_requeue,
                                             .queue_xmit = up_xmit,
                                             .task_cleaned = up_cleaned,
                                             .conn_stopped = up_stopped};

/* ---- operations ------------------------------------------------------------------------------ */

static void *
part_of(size_t size)
{
    void *p = calloc(1, size + 1);

    assert_non_null(p);
    return p;
}

static void
create(struct conform_world *w)
{
    struct lunette_error err = LUNETTE_INIT(err);

    memset(&t, 0, sizeof(t));
    t.w = t.peer.w = w;
    t.tt = conform_tt;
    t.chunk[0] = &t.task;
    t.s = (struct iscsi_session){.tt = t.tt, .loop = w->loop, .sid = 1, .cmds_max = 1};
    t.s.tasks = (struct iscsi_tasks){t.chunk, 1, sizeof(t.task)};
    t.s.params = (struct iscsi_session_params){.initial_r2t = true,
                                               .pdu_inorder = true,
                                               .dataseq_inorder = true,
                                               .first_burst = 65536,
                                               .max_burst = 262144,
                                               .max_r2t = 1};
    t.s.dd_data = part_of(t.tt->session_size);
    t.c = (struct iscsi_conn){.session = &t.s,
                              .tt = t.tt,
                              .up = &upcalls,
                              .loop = w->loop,
                              .cid = 1,
                              .max_recv_dlength = 8192,
                              .max_xmit_dlength = 8192};
    t.c.dd_data = part_of(t.tt->conn_size);
    t.task.t.dd_data = part_of(t.tt->task_size);
    if (t.tt->create_session != NULL)
        CONFORM_OK(t.tt->create_session(&t.s, &err), err);
    if (t.tt->create_conn != NULL)
        CONFORM_OK(t.tt->create_conn(&t.c, &err), err);
}

static void
bind_it(void)
{
    struct lunette_error err = LUNETTE_INIT(err);
    int64_t eph = conform_nexus_connect(&t.peer);

    t.c.failed = false;
    CONFORM_OK(t.tt->bind_conn(&t.c, eph, t.peer.ep_there ? &t.peer.ep : NULL, true, &err), err);
    t.bound = true;
}

static void
stop_it(enum iscsi_stop how)
{
    unsigned before = t.stopped;
    int r = t.tt->stop_conn(&t.c, how);

    assert_true(r == 0 || r == -EINPROGRESS);
    if (r == -EINPROGRESS)
        CONFORM_UNTIL(t.w, t.stopped > before);
    t.bound = false;
}

static void
destroy(void)
{
    if (t.tt->destroy_conn != NULL)
        t.tt->destroy_conn(&t.c);
    if (t.tt->destroy_session != NULL)
        t.tt->destroy_session(&t.s);
    conform_nexus_disconnect(&t.peer);
    free(t.c.dd_data);
    free(t.s.dd_data);
    free(t.task.t.dd_data);
    CONFORM_UNTIL(t.w, conform_path_links(t.w->path) == 0);
    assert_int_equal(t.failures, 0);
}

/* Sends a control PDU of the task. */
static void
send_task(const union bhs_any *h, const void *data, uint32_t len)
{
    struct iscsi_task *task = &t.task.t;
    uint32_t was = task->itt;
    void *dd = task->dd_data;

    *task = (struct iscsi_task){.conn = &t.c,
                                .dd_data = dd,
                                .itt = was + 4096,
                                .data = data,
                                .data_len = len,
                                .hdr = &t.task.hdr.h,
                                .hdr_max = sizeof(t.task.hdr),
                                .hdr_len = ISCSI_BHS_LEN,
                                .state = ISCSI_TASK_RUNNING};
    if (t.tt->alloc_pdu != NULL)
        assert_int_equal(t.tt->alloc_pdu(task, pdu_opcode(&h->h)), 0);
    memcpy(task->hdr, h, sizeof(*h));
    task->hdr->itt = put32(task->itt);
    task->hdr->dseg_len = put24(len);
    if (t.tt->init_task != NULL)
        assert_int_equal(t.tt->init_task(task), 0);
    assert_int_equal(t.tt->xmit_task(task), 0);
    if (t.tt->xmit_flush != NULL)
        t.tt->xmit_flush(&t.c);
}

static void
clean_task(void)
{
    unsigned before = t.task.cleaned;
    int r;

    t.task.t.state = ISCSI_TASK_COMPLETED;
    r = t.tt->cleanup_task(&t.task.t);
    assert_true(r == 0 || r == -EINPROGRESS);
    assert_int_equal(t.task.cleaned, before); /* never from inside */
    if (r == -EINPROGRESS)
        CONFORM_UNTIL(t.w, t.task.cleaned > before);
    t.task.t.state = ISCSI_TASK_FREE;
}

static void
send_login(void)
{
    static char text[1024];
    union bhs_any h;

    bhs_init(&h, ISCSI_OP_LOGIN_REQ | ISCSI_OP_IMMEDIATE,
             bhs_login_flags(ISCSI_STAGE_OPERATIONAL, ISCSI_STAGE_FFP, ISCSI_LOGIN_TRANSIT));
    memcpy(h.login_req.isid, "\x80\0\0\0\0\2", 6);
    h.login_req.cid = put16(1);
    h.login_req.cmd_sn = put32(1);
    send_task(&h, text, conform_login_text(text, sizeof(text), 8192));
}

static void
log_in(void)
{
    struct lunette_error err = LUNETTE_INIT(err);
    unsigned before = t.answers;

    send_login();
    CONFORM_UNTIL(t.w, t.answers > before);
    assert_int_equal(pdu_opcode(&t.answer.h), ISCSI_OP_LOGIN_RSP);
    assert_int_equal(t.answer.login_rsp.status_class, 0);
    clean_task();
    t.c.exp_statsn = get32(t.answer.login_rsp.stat_sn) + 1;
    t.c.fast_write_limit = UINT32_MAX;
    if (t.tt->start_conn != NULL)
        CONFORM_OK(t.tt->start_conn(&t.c, &err), err);
}

static void
send_ping(void)
{
    static uint8_t data[512];
    union bhs_any h;

    conform_fill(data, sizeof(data), 0, 1);
    bhs_init(&h, ISCSI_OP_NOP_OUT | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL);
    h.nop_out.ttt = put32(ISCSI_TAG_RSVD);
    h.nop_out.cmd_sn = put32(1);
    h.nop_out.exp_stat_sn = put32(t.c.exp_statsn);
    send_task(&h, data, sizeof(data));
}

static void
ping_comes_back(void)
{
    unsigned before = t.answers;

    send_ping();
    CONFORM_UNTIL(t.w, t.answers > before);
    assert_int_equal(pdu_opcode(&t.answer.h), ISCSI_OP_NOP_IN);
    t.c.exp_statsn = get32(t.answer.nop_in.stat_sn) + 1;
    clean_task();
}

/* ---- endpoints ------------------------------------------------------------------------------- */

static struct waiting {
    struct iscsi_endpoint ep;
    unsigned events;
    int err;
} e;

static void
on_endpoint(struct iscsi_endpoint *ep, int err)
{
    assert_ptr_equal(ep, &e.ep);
    e.events++;
    e.err = err;
}

static const struct iscsi_upcalls endpoint_upcalls = {.version = ISCSI_TRANSPORT_VERSION,
                                                      .size = sizeof(struct iscsi_upcalls),
                                                      .ep_event = on_endpoint};

static void
endpoint_connect(struct conform_world *w, const struct sock_addr *to)
{
    struct lunette_error err = LUNETTE_INIT(err);

    memset(&e, 0, sizeof(e));
    e.ep = (struct iscsi_endpoint){.tt = conform_tt, .loop = w->loop, .id = 99};
    e.ep.dd_data = part_of(e.ep.tt->ep_size);
    CONFORM_OK(e.ep.tt->ep_connect(&e.ep, to, &endpoint_upcalls, &err), err);
    assert_int_equal(e.events, 0); /* never from inside */
    assert_int_equal(e.ep.tt->ep_poll(&e.ep), 0);
}

/* It is told of once at most, and never again afterwards. */
static void
endpoint_disconnect(struct conform_world *w)
{
    unsigned events = e.events;

    assert_true(events <= 1);
    e.ep.tt->ep_disconnect(&e.ep);
    memset(e.ep.dd_data, 0xee, e.ep.tt->ep_size);
    free(e.ep.dd_data);
    conform_wait_ms(w, 5);
    assert_int_equal(e.events, events);
}

static void
endpoints(struct conform_world *w)
{
    struct sock_addr nobody, silent;

    w->row->net->nobody(w, &nobody);
    w->row->net->silent(w, &silent);
    endpoint_connect(w, &w->portal); /* up, and given back unused */
    CONFORM_UNTIL(w, e.events > 0);
    assert_int_equal(e.err, 0);
    assert_int_equal(e.ep.tt->ep_poll(&e.ep), 1);
    endpoint_disconnect(w);
    endpoint_connect(w, &w->portal); /* given back before it is up */
    endpoint_disconnect(w);
    endpoint_connect(w, &nobody);
    CONFORM_UNTIL(w, e.events > 0);
    assert_true(e.err < 0);
    assert_int_equal(e.ep.tt->ep_poll(&e.ep), e.err);
    endpoint_disconnect(w);
    endpoint_connect(w, &silent);
    conform_wait_ms(w, 5);
    assert_int_equal(e.events, 0);
    assert_int_equal(e.ep.tt->ep_poll(&e.ep), 0);
    endpoint_disconnect(w);
}

/* ---- what the groups ask for ----------------------------------------------------------------- */

void
conform_table_orders(struct conform_world *w)
{
    if ((conform_tt->caps & CAP_BIND_DESCRIPTOR) == 0)
        endpoints(w);
    for (enum iscsi_stop how = STOP_CONN_TERM; how <= STOP_CONN_RECOVER; how++) {
        create(w); /* never bound */
        stop_it(how);
        stop_it(how);
        destroy();

        create(w); /* bound, again and again */
        for (int i = 0; i < 3; i++) {
            bind_it();
            stop_it(how);
            stop_it(STOP_CONN_TERM);
        }
        destroy();

        create(w); /* with a PDU on its way, or its answer */
        for (unsigned turns = 0; turns < 6; turns++) {
            bind_it();
            send_login();
            for (unsigned i = 0; i < turns; i++)
                conform_turn(w);
            stop_it(how);
            clean_task();
            stop_it(how);
        }
        destroy();

        create(w); /* in full feature phase, with a ping out */
        for (unsigned turns = 0; turns < 6; turns++) {
            bind_it();
            log_in();
            ping_comes_back();
            send_ping();
            for (unsigned i = 0; i < turns; i++)
                conform_turn(w);
            if (turns % 2 == 0)
                clean_task();
            stop_it(how);
            if (turns % 2 != 0)
                clean_task();
        }
        destroy();
    }
}

void
conform_table_params(struct conform_world *w)
{
    static const char *const values[] = {"CRC32C", "None", "8192", "Yes", "No", "0", "-1", "", "x"};

    create(w);
    bind_it();
    log_in();
    for (int p = 0; p < ISCSI_PARAM_COUNT && t.tt->set_param != NULL; p++) {
        for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
            struct lunette_error err = LUNETTE_INIT(err);
            int r = t.tt->set_param(&t.c, (enum iscsi_param)p, values[i], &err);

            assert_true(r == 0 || (r < 0 && err.msg[0] != '\0'));
        }
        assert_int_equal(t.failures, 0);
    }
    ping_comes_back();
    stop_it(STOP_CONN_TERM);
    destroy();
}
