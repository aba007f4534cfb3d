/* SPDX-License-Identifier: MIT */
/* A session in all states, with all that can happen to it in any order: over the fake adapter.
 * Each command and each wish for error handling ends exactly once, and what is true of a session is
 * true after each step. */
#include "tests/unit/iscsi/world.h"

#include "iscsi/internal.h"
#include "wire/pdu.h"

#define WALK_STEPS 250
#define WALK_CMDS  256
#define WALK_EHS   64

struct walk {
    struct world *w;
    struct session *s;
    struct cmd cmd[WALK_CMDS];
    bool queued[WALK_CMDS];
    bool aborting[WALK_CMDS];
    struct waiter eh[WALK_EHS];
    int of[WALK_EHS]; /* which command is aborted; -1: none */
    unsigned ncmds, nehs;
    uint32_t stat_sn[3]; /* by CID */
};

static struct walk walk;

static uint64_t
rnd(uint64_t n)
{
    return loop_random(&walk.w->fl.l) % n;
}

/* The target speaks on one of the connections from here on, if there is one that is bound. */
static void
choose_conn(void)
{
    uint16_t cid = (uint16_t)(1 + rnd(2));

    if (fake_adapter.conn != NULL)
        walk.stat_sn[fake_adapter.conn->cid] = fake_adapter.stat_sn;
    fake_adapter.conn = NULL;
    for (int i = 0; i < 2 && fake_adapter.conn == NULL; i++, cid = 3 - cid) {
        struct iscsi_conn *c = iscsi_conn_find(&walk.s->pub, cid);

        if (c == NULL || to_conn(c)->down)
            continue;
        fake_adapter.conn = c;
        fake_adapter.stat_sn = walk.stat_sn[cid];
    }
}

/* The target's numbers are those of one that has received all, and opens its window a little. */
static void
target_numbers(void)
{
    fake_adapter.exp_cmdsn = walk.s->win.cmdsn;
    fake_adapter.max_cmdsn = fake_adapter.exp_cmdsn - 1 + (uint32_t)rnd(5);
}

/* One of the PDUs with that opcode that were sent and wait for an answer; NULL: there is none. */
static const struct fake_sent *
unanswered(uint8_t op)
{
    const struct fake_sent *found = NULL;
    uint64_t n = 0;

    if (fake_adapter.conn == NULL)
        return NULL;
    for (unsigned i = 0; i < fake_adapter.nsent; i++) {
        const struct fake_sent *s = &fake_adapter.sent[i];

        if (pdu_opcode(&s->h.h) == op && iscsi_task_of(fake_adapter.conn, s->h.h.itt) != NULL &&
            rnd(++n) == 0)
            found = s;
    }
    return found;
}

static void
walk_queue(void)
{
    struct cmd *c = &walk.cmd[walk.ncmds];

    if (walk.ncmds == WALK_CMDS)
        return;
    cmd_init(c, rnd(2) == 0, 64);
    walk.queued[walk.ncmds] = world_queue(walk.w, c) == 0;
    walk.ncmds += walk.queued[walk.ncmds];
    if (rnd(2) == 0)
        walk.w->host->ops->commit(walk.w->host);
}

static void
walk_answer(void)
{
    const struct fake_sent *s = unanswered(ISCSI_OP_SCSI_CMD);

    target_numbers();
    if (s != NULL)
        (void)fake_answer(s, rnd(4) == 0 ? 8 : 0, NULL, 0, 0);
}

static void
walk_async(void)
{
    union bhs_any h;

    if (fake_adapter.conn == NULL || to_conn(fake_adapter.conn)->state == CONN_IN_LOGIN)
        return;
    bhs_init(&h, ISCSI_OP_ASYNC, ISCSI_FLAG_FINAL);
    h.async.event = (uint8_t)(1 + rnd(4));
    h.async.param1 = put16((uint16_t)(1 + rnd(2)));
    h.async.param2 = put16((uint16_t)rnd(3));
    h.async.param3 = put16((uint16_t)rnd(10));
    (void)fake_pdu(&h, NULL, 0, true);
}

/* Tasks of the unit are over, for somebody else has reset it. */
static void
walk_told(void)
{
    union bhs_any h;

    if (fake_adapter.conn == NULL || to_conn(fake_adapter.conn)->state == CONN_IN_LOGIN ||
        !walk.s->pub.params.fast_abort)
        return;
    target_numbers();
    bhs_init(&h, ISCSI_OP_ASYNC, ISCSI_FLAG_FINAL);
    h.async.event = ISCSI_ASYNC_FAST_ABORT;
    (void)fake_pdu(&h, NULL, 0, true);
}

/* The target asks for data. */
static void
walk_r2t(void)
{
    const struct fake_sent *s = unanswered(ISCSI_OP_SCSI_CMD);
    struct iscsi_task *t = s != NULL ? iscsi_task_of(fake_adapter.conn, s->h.h.itt) : NULL;

    if (t != NULL && t->sc->out.len > 0 && to_task(t)->started)
        fake_adapter.conn->up->requeue_task(t);
}

static void
walk_log_out(void)
{
    struct bhs_logout_req h;

    if (fake_adapter.conn == NULL)
        return;
    bhs_init(&h, ISCSI_OP_LOGOUT_REQ | ISCSI_OP_IMMEDIATE, (uint8_t)(ISCSI_FLAG_FINAL | rnd(3)));
    h.cid = put16((uint16_t)(1 + rnd(2)));
    (void)iscsi_conn_send_pdu(fake_adapter.conn, (const struct bhs *)(const void *)&h, NULL, 0,
                              NULL);
}

static void
walk_logged_out(void)
{
    const struct fake_sent *s = unanswered(ISCSI_OP_LOGOUT_REQ);
    union bhs_any h;

    if (s == NULL)
        return;
    bhs_init(&h, ISCSI_OP_LOGOUT_RSP, ISCSI_FLAG_FINAL);
    h.h.itt = s->h.h.itt;
    h.logout_rsp.response = (uint8_t)(rnd(2) * rnd(4));
    (void)fake_pdu(&h, NULL, 0, true);
}

static void
walk_reject(void)
{
    const struct fake_sent *s = unanswered(ISCSI_OP_SCSI_CMD);
    union bhs_any h;

    if (s == NULL)
        return;
    bhs_init(&h, ISCSI_OP_REJECT, ISCSI_FLAG_FINAL);
    h.h.itt = put32(ISCSI_TAG_RSVD);
    h.reject.reason = ISCSI_REJECT_WAITING_FOR_LOGOUT;
    (void)fake_pdu(&h, &s->h, ISCSI_BHS_LEN, true);
}

static void
walk_lose(void)
{
    if (fake_adapter.conn != NULL)
        iscsi_conn_failure(fake_adapter.conn, ISCSI_ERR_CONN_CLOSED, "cut");
}

static void
walk_stop(void)
{
    if (fake_adapter.conn != NULL)
        iscsi_conn_stop(fake_adapter.conn, rnd(4) == 0 ? STOP_CONN_TERM : STOP_CONN_RECOVER);
}

/* A connection that is down is taken out; the next that is wanted is another one. */
static void
walk_destroy(void)
{
    walk.w->cid = (uint16_t)(1 + rnd(2));
    if (iscsi_conn_find(&walk.s->pub, walk.w->cid) != NULL)
        assert_int_equal(world_do(walk.w, ISCSI_UEVENT_DESTROY_CONN), 0);
}

/* What a login may have agreed on. */
static void
walk_agree(void)
{
    if (rnd(2) == 0)
        assert_int_equal(world_param(walk.w, ISCSI_PARAM_TASK_REPORTING, "FastAbort"), 0);
    if (rnd(2) == 0)
        assert_int_equal(world_param(walk.w, ISCSI_PARAM_PROTOCOL_LEVEL, "2"), 0);
}

/* One connection is enough where the adapter gathers, which it can for one. */
static uint16_t
cid_to_bind(void)
{
    return fake_gathers ? 1 : (uint16_t)(1 + rnd(2));
}

static void
walk_bind(void)
{
    struct iscsi_conn *c;
    int r;

    walk.w->cid = cid_to_bind();
    if (iscsi_conn_find(&walk.s->pub, walk.w->cid) == NULL)
        assert_int_equal(world_do(walk.w, ISCSI_UEVENT_CREATE_CONN), 0);
    c = iscsi_conn_find(&walk.s->pub, walk.w->cid);
    if (!to_conn(c)->down)
        return;
    fake_adapter.full = false;
    walk.w->follows = walk.s->state == ISCSI_STATE_LOGGED_IN;
    r = world_do(walk.w, ISCSI_UEVENT_BIND_CONN);
    if (r < 0) { /* it was lost just now, and another that may lead is not down yet */
        assert_int_equal(r, -EBUSY);
        return;
    }
    if (c == &walk.s->leadconn->pub) {
        world_login(walk.w, walk.s->win.cmdsn, 4);
        walk_agree();
        assert_int_equal(world_do(walk.w, ISCSI_UEVENT_START_CONN), 0);
        assert_int_equal(walk.w->host->state, SCSI_HOST_RUNNING);
    } else if (iscsi_conn_start(c, NULL) == 0) {
        fake_adapter.stat_sn = 1;
    }
}

static void
walk_patience(void)
{
    static const char *const tmo[] = {"0", "-1", "1", "600"};
    struct iscsi_conn *c = fake_adapter.conn;

    if (c != NULL)
        assert_int_equal(iscsi_set_param(c, ISCSI_PARAM_RECOVERY_TMO, tmo[rnd(4)], NULL), 0);
}

static void
walk_eh(void)
{
    const struct scsi_host_ops *ops = walk.w->host->ops;
    static const uint8_t lun[8];
    struct waiter *x = &walk.eh[walk.nehs];
    unsigned n = walk.ncmds > 0 ? (unsigned)rnd(walk.ncmds) : 0;

    if (walk.nehs == WALK_EHS)
        return;
    x->w.done = eh_done;
    walk.of[walk.nehs] = -1;
    switch (rnd(8)) {
    case 4:
        ops->eh_query(walk.w->host, rnd(2) ? SCSI_QUERY_TASK_SET : SCSI_QUERY_ASYNC_EVENT, lun,
                      &x->w);
        break;
    case 0:
        ops->eh_device_reset(walk.w->host, lun, &x->w);
        break;
    case 1:
        ops->eh_target_reset(walk.w->host, &x->w);
        break;
    case 2:
        ops->eh_clear_aca(walk.w->host, lun, &x->w);
        break;
    case 3:
        ops->eh_session_reset(walk.w->host, &x->w);
        break;
    default: /* the midlayer aborts a command once at a time, while the host has it */
        if (walk.ncmds == 0 || walk.cmd[n].done > 0 || walk.aborting[n])
            return;
        walk.aborting[n] = true;
        walk.of[walk.nehs] = (int)n;
        ops->eh_abort(walk.w->host, &walk.cmd[n].sc, &x->w);
        break;
    }
    walk.nehs++;
}

static void
walk_tmf_answer(void)
{
    static const uint8_t responses[] = {ISCSI_TMF_RSP_COMPLETE, ISCSI_TMF_RSP_NO_TASK, 255,
                                        ISCSI_TMF_RSP_SUCCEEDED};
    const struct fake_sent *s = unanswered(ISCSI_OP_TMF_REQ);
    union bhs_any h;

    if (s == NULL)
        return;
    bhs_init(&h, ISCSI_OP_TMF_RSP, ISCSI_FLAG_FINAL);
    h.h.itt = s->h.h.itt;
    h.tmf_rsp.response = responses[rnd(4)];
    (void)fake_pdu(&h, NULL, 0, true);
}

static void
walk_time(void)
{
    static const uint64_t ms[] = {1, 10, 100, 700, 3000, 20000, 70000};

    fake_advance(&walk.w->fl, MS(ms[rnd(7)]));
}

static void
walk_adapter(void)
{
    if (fake_adapter.full && fake_adapter.conn != NULL)
        fake_room();
    else
        fake_adapter.full = rnd(3) == 0;
    fake_adapter.cleanup_delay_ns = rnd(3) == 0 ? MS(700) : 0;
    fake_adapter.control = rnd(2) == 0;
}

static void
walk_step(void)
{
    static void (*const steps[])(void) = {
        walk_queue, walk_queue,   walk_queue,    walk_queue, walk_answer,     walk_answer,
        walk_async, walk_lose,    walk_stop,     walk_bind,  walk_bind,       walk_bind,
        walk_bind,  walk_destroy, walk_log_out,  walk_eh,    walk_reject,     walk_logged_out,
        walk_time,  walk_adapter, walk_patience, walk_eh,    walk_time,       walk_tmf_answer,
        walk_queue, walk_answer,  walk_told,     walk_r2t,   walk_tmf_answer,
    };

    choose_conn();
    steps[rnd(sizeof(steps) / sizeof(steps[0]))]();
    if (rnd(8) != 0) /* else more happens in the same turn */
        fake_turn(&walk.w->fl);
    else
        return;
    iscsi_session_check(&walk.s->pub);
    for (unsigned i = 0; i < walk.nehs; i++) {
        if (walk.eh[i].done > 0 && walk.of[i] >= 0)
            walk.aborting[walk.of[i]] = false;
    }
}

static void
all_that_can_happen(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 400; seed++) {
        memset(&walk, 0, sizeof(walk));
        walk.w = world_new(seed);
        world_logged_in(walk.w);
        walk_agree();
        world_start(walk.w);
        walk.s = container_of(walk.w->host, struct session, host);
        for (int i = 0; i < WALK_STEPS; i++)
            walk_step();
        world_free(walk.w);
        for (unsigned i = 0; i < walk.ncmds; i++)
            assert_int_equal(walk.cmd[i].done, 1);
        for (unsigned i = 0; i < walk.nehs; i++)
            assert_int_equal(walk.eh[i].done, 1);
    }
}

/* "gathers": the adapter gathers, so that the fast path is taken. */
int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_that_can_happen)};
    int r;

    fake_gathers = argc > 1 && strcmp(argv[1], "gathers") == 0;
    r = cmocka_run_group_tests(tests, NULL, NULL);
    return r != 0 || (fake_gathers && fake_fast == 0);
}
