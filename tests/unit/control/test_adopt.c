/* SPDX-License-Identifier: MIT */
/* A data plane that answers a new control plane in ways of which it has to make the best: refusals,
 * no memory, sessions that go while they are looked at, many pages, values and notes of nobody.
 */
#include "tests/unit/fake_ipc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/control.h"
#include "control/note.h"

struct aw {
    struct fake_loop f;
    struct fake_ipc ipc;
    struct ctl *ctl;
    struct login_gate gate;
    struct control *c;
    unsigned at; /* the request that is to be answered next */
    unsigned events[CONTROL_GONE + 1];
    struct lunette_error why;
};

static struct aw aw;

static void
aw_event(void *user, const struct control_event *ev)
{
    (void)user;
    aw.events[ev->type]++;
    if (ev->why != NULL)
        aw.why = *ev->why;
}

static void
aw_new(void)
{
    struct control_callbacks cb = {.event = aw_event};

    memset(&aw, 0, sizeof(aw));
    fake_loop_init(&aw.f, 1);
    fake_ipc_init(&aw.ipc);
    login_gate_init(&aw.gate, &aw.f.l, 4);
    assert_int_equal(control_new(&aw.f.l, &aw.gate, &cb, &aw.c), 0);
    assert_int_equal(ctl_new(&aw.f.l, &aw.ipc.ipc, &aw.ctl), 0);
    assert_int_equal(control_loop_set(aw.c, 0, aw.ctl), 0);
}

static void
aw_free(void)
{
    control_free(&aw.c);
    ctl_free(&aw.ctl);
    login_gate_fini(&aw.gate);
}

/* The next request that has no answer is of this type. */
static const struct iscsi_uevent *
aw_asked(enum iscsi_uevent_type type)
{
    assert_true(aw.at < aw.ipc.ngot);
    assert_int_equal(aw.ipc.got[aw.at].type, type);
    return &aw.ipc.got[aw.at];
}

static void
aw_reply(struct iscsi_reply *rep)
{
    const struct iscsi_uevent *ev = &aw.ipc.got[aw.at++];

    rep->type = ev->type;
    rep->seq = ev->seq;
    rep->sid = ev->sid;
    rep->cid = ev->cid;
    if (rep->data == NULL)
        rep->data = "";
    aw.ipc.ipc.ev->reply(aw.ipc.ipc.ev_user, rep);
}

static void
aw_answer(enum iscsi_uevent_type type, int err)
{
    struct iscsi_reply rep = {.err = err};

    (void)aw_asked(type);
    aw_reply(&rep);
}

static void
aw_hello(uint32_t loops)
{
    struct iscsi_reply rep = {.err = 0};

    assert_int_equal(aw_asked(ISCSI_UEVENT_HELLO)->u.hello.max, IPC_VERSION_MAX);
    rep.r.hello.version = 1;
    rep.r.hello.loops = loops;
    aw_reply(&rep);
}

static void
aw_list(uint32_t after, uint32_t count, bool more)
{
    struct iscsi_reply rep = {.err = 0};

    assert_int_equal(aw_asked(ISCSI_UEVENT_LIST_SESSIONS)->u.list.after, after);
    rep.r.sessions.count = count;
    rep.r.sessions.more = more;
    for (uint32_t i = 0; i < count; i++)
        rep.r.sessions.sid[i] = after + 1 + i;
    aw_reply(&rep);
}

static uint32_t
put_value(uint8_t *at, enum iscsi_param p, const char *text)
{
    size_t len = strlen(text);

    at[0] = (uint8_t)p;
    at[1] = (uint8_t)(p >> 8);
    at[2] = (uint8_t)len;
    at[3] = 0;
    memcpy(at + 4, text, len);
    return (uint32_t)(4 + len);
}

/* A session with these values, and a note or what is none. */
static void
aw_session(enum ipc_session_state state, const char *target, const char *isid, const void *note,
           uint32_t note_len)
{
    struct iscsi_reply rep = {.err = 0};
    uint8_t data[IPC_REPLY_DATA_MAX];
    uint32_t len = put_value(data, ISCSI_PARAM_TARGET_NAME, target);

    (void)aw_asked(ISCSI_UEVENT_GET_SESSION);
    len += put_value(data + len, ISCSI_PARAM_ISID, isid);
    len += put_value(data + len, ISCSI_PARAM_TPGT, "1");
    memcpy(data + len, note, note_len);
    rep.data = data;
    rep.r.session.state = state;
    rep.r.session.nconns = 1;
    rep.r.session.values_len = len;
    rep.r.session.note_len = note_len;
    aw_reply(&rep);
}

static void
aw_conn(enum ipc_conn_state state, const char *portal)
{
    struct iscsi_reply rep = {.err = 0};
    uint8_t data[IPC_VALUES_MAX];

    aw_answer(ISCSI_UEVENT_ADOPT, 0);
    (void)aw_asked(ISCSI_UEVENT_GET_CONN);
    rep.r.conn.state = state;
    rep.r.conn.values_len = put_value(data, ISCSI_PARAM_PORTAL, portal);
    rep.data = data;
    aw_reply(&rep);
}

static void
aw_pass(uint64_t ns)
{
    fake_advance(&aw.f, ns);
    fake_turn(&aw.f);
}

/* ---- refusals ------------------------------------------------------------------------------- */

static void
versions_differ(void **state)
{
    (void)state;
    aw_new();
    aw_answer(ISCSI_UEVENT_HELLO, -EPROTONOSUPPORT);
    assert_int_equal(aw.events[CONTROL_TROUBLE], 1);
    assert_int_equal(aw.why.code, -EPROTONOSUPPORT);
    aw_pass(MS(1000));
    assert_int_equal(aw.ipc.ngot, 1); /* it is not asked again */
    assert_false(control_is_ready(aw.c));
    control_loop_lost(aw.c, 0);
    aw_free();
}

static void
too_many_loops(void **state)
{
    (void)state;
    aw_new();
    aw_hello(CONTROL_LOOPS_MAX + 1);
    assert_int_equal(aw.why.code, -ERANGE);
    assert_int_equal(aw.events[CONTROL_LOOP], 0);
    aw_free();
    aw_new();
    aw_hello(0);
    assert_int_equal(aw.why.code, -ERANGE);
    aw_free();
}

/* What finds no memory is asked for again. */
static void
no_memory_passes(void **state)
{
    (void)state;
    aw_new();
    aw_answer(ISCSI_UEVENT_HELLO, -ENOMEM);
    aw_pass(MS(100));
    aw_hello(1);
    aw_answer(ISCSI_UEVENT_LIST_SESSIONS, -ENOMEM);
    aw_pass(MS(100));
    aw_list(0, 1, false);
    aw_answer(ISCSI_UEVENT_GET_SESSION, -ENOMEM);
    aw_pass(MS(100));
    aw_session(IPC_SESSION_RUNNING, "t", "800000000001", "", 0);
    aw_answer(ISCSI_UEVENT_ADOPT, -ENOMEM);
    aw_answer(ISCSI_UEVENT_GET_CONN, -ENOMEM);
    aw.ipc.fail = -ENOMEM; /* nor can the next request be sent */
    aw_pass(MS(60));
    aw_pass(MS(60));
    aw_session(IPC_SESSION_RUNNING, "t", "800000000001", "", 0);
    aw_conn(IPC_CONN_STARTED, "10.0.0.1:3260");
    aw_answer(ISCSI_UEVENT_TAKE_EVENTS, -ENOMEM);
    aw_pass(MS(100));
    while (aw.at < aw.ipc.ngot && aw.ipc.got[aw.at].type == ISCSI_UEVENT_LIST_LUNS)
        aw_answer(ISCSI_UEVENT_LIST_LUNS, -EOPNOTSUPP);
    aw_answer(ISCSI_UEVENT_TAKE_EVENTS, 0);
    assert_true(control_is_ready(aw.c));
    assert_int_equal(aw.events[CONTROL_FOUND], 1);
    aw_free();
}

/* ---- sessions ------------------------------------------------------------------------------- */

static void
sessions_of_nobody(void **state)
{
    static const char *const portals[] = {"10.0.0.1:3260", "10.0.0.1:3260", "nonsense,,"};
    struct control_node *n;
    unsigned found = 0, instances = 0;

    (void)state;
    aw_new();
    aw_hello(1);
    aw_list(0, 6, false);
    aw_answer(ISCSI_UEVENT_GET_SESSION, -ENOENT); /* 1 has just gone */
    aw_session(IPC_SESSION_ENDING, "t", "800000000002", "", 0);
    aw_session(IPC_SESSION_NEW, "t", "800000000003", "", 0);
    assert_int_equal(aw_asked(ISCSI_UEVENT_DESTROY_SESSION)->sid, 3);
    aw_answer(ISCSI_UEVENT_DESTROY_SESSION, 0);
    for (int i = 0; i < 3; i++) {
        aw_session(IPC_SESSION_RUNNING, "t", i == 2 ? "what" : "800000000004", "disk 1", 6);
        aw_conn(IPC_CONN_STARTED, portals[i]);
    }
    aw_answer(ISCSI_UEVENT_TAKE_EVENTS, 0);
    assert_true(control_is_ready(aw.c));
    for (n = control_next(aw.c, NULL); n != NULL; n = control_next(aw.c, n)) {
        struct control_info info;

        control_node_get_info(n, &info);
        assert_int_equal(info.state, CONTROL_IS_UP);
        assert_false(info.has_config);
        assert_ptr_equal(control_find_sid(aw.c, 4 + found), n);
        instances += control_node_name(n)->instance;
        found++;
    }
    assert_int_equal(found, 3);
    assert_int_equal(instances, 1); /* two have the same target and portal */
    aw_free();
}

/* The connection of a session is lost while its disks are closed: nobody is asked any more. */
static void
note_of_a_logout(void **state)
{
    struct control_note note = {.leaving = true};
    uint8_t buf[IPC_NOTE_MAX];
    uint32_t len;

    (void)state;
    strcpy(note.name.target, "iqn.2026-11.example:t");
    len = note_pack(&note, buf);
    aw_new();
    aw_hello(1);
    aw_list(0, 1, false);
    aw_session(IPC_SESSION_RUNNING, "iqn.2026-11.example:t", "800000000001", buf, len);
    aw_conn(IPC_CONN_STARTED, "10.0.0.1:3260");
    aw_answer(ISCSI_UEVENT_UNBIND_SESSION, -EIO); /* it is told, and goes on all the same */
    assert_int_equal(aw.events[CONTROL_TROUBLE], 1);
    aw_answer(ISCSI_UEVENT_TAKE_EVENTS, 0);
    aw_pass(MS(1));
    aw_answer(ISCSI_UEVENT_SEND_PDU, -ENOTCONN);
    aw_answer(ISCSI_UEVENT_STOP_CONN, 0);
    aw_answer(ISCSI_UEVENT_DESTROY_CONN, 0);
    aw_answer(ISCSI_UEVENT_DESTROY_SESSION, 0);
    aw_pass(MS(1));
    assert_null(control_next(aw.c, NULL));
    assert_int_equal(aw.events[CONTROL_GONE], 1);
    aw_free();
}

/* A page that is empty is the last, whatever it says. */
static void
empty_page(void **state)
{
    (void)state;
    aw_new();
    aw_hello(1);
    aw_list(0, 0, true);
    aw_answer(ISCSI_UEVENT_TAKE_EVENTS, 0);
    assert_true(control_is_ready(aw.c));
    aw_free();
}

/* A page after the other is asked for, and the data plane goes in the middle. */
static void
goes_in_the_middle(void **state)
{
    (void)state;
    for (unsigned stop = 0; stop < 8; stop++) {
        aw_new();
        aw_hello(1);
        aw_list(0, 2, true);
        for (unsigned i = 0; i < stop; i++) {
            if (i < 2)
                aw_answer(ISCSI_UEVENT_GET_SESSION, -ENOENT);
            else if (i == 2)
                aw_list(2, 1, false);
            else if (i == 3)
                aw_session(IPC_SESSION_RUNNING, "t", "800000000001", "", 0);
            else if (i == 4)
                aw_answer(ISCSI_UEVENT_ADOPT, 0);
        }
        control_loop_lost(aw.c, 0);
        ctl_free(&aw.ctl);
        aw_pass(MS(1000));
        assert_false(control_is_ready(aw.c));
        fake_ipc_init(&aw.ipc);
        aw.at = 0;
        assert_int_equal(ctl_new(&aw.f.l, &aw.ipc.ipc, &aw.ctl), 0);
        assert_int_equal(control_loop_set(aw.c, 0, aw.ctl), 0);
        aw_hello(1);
        aw_list(0, 0, false);
        aw_answer(ISCSI_UEVENT_TAKE_EVENTS, 0);
        assert_true(control_is_ready(aw.c));
        aw_pass(MS(1));
        assert_null(control_next(aw.c, NULL));
        aw_free();
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions_differ),  cmocka_unit_test(too_many_loops),
        cmocka_unit_test(no_memory_passes), cmocka_unit_test(sessions_of_nobody),
        cmocka_unit_test(note_of_a_logout), cmocka_unit_test(goes_in_the_middle),
        cmocka_unit_test(empty_page),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
