/* SPDX-License-Identifier: MIT */
/* Discovery alone: a login and a logout of the test's own, a data plane that answers when it is
 * told to, and the test as the owner. */
#include "discovery/discovery.h"

#include "tests/unit/fake_ipc.h"

#include <errno.h>

#include "tests/support/fake_login.h"
#include "wire/bhs.h"

static struct fake_loop fl;
static struct fake_ipc fi;
static struct ctl *ctl;

static struct {
    struct discovery *d;
    unsigned told;
    struct discovery_result res;
    struct lunette_error err;
    bool free_inside;
} owner;

static void
owner_done(void *user, struct discovery_result *res, const struct lunette_error *err)
{
    assert_ptr_equal(user, &owner);
    assert_true((res == NULL) != (err == NULL));
    owner.told++;
    if (res != NULL)
        owner.res = *res;
    else
        owner.err = *err;
    if (owner.free_inside)
        discovery_free(&owner.d);
}

static int
setup(void **state)
{
    (void)state;
    fake_loop_init(&fl, 1);
    fake_ipc_init(&fi);
    fake_login_reset();
    memset(&owner, 0, sizeof(owner));
    return ctl_new(&fl.l, &fi.ipc, &ctl);
}

/* Nothing is left, whatever happened. */
static int
teardown(void **state)
{
    (void)state;
    discovery_free(&owner.d);
    discovery_result_free(&owner.res);
    ctl_free(&ctl);
    fake_turn(&fl);
    assert_null(timerq_first(&fl.timers));
    assert_false(fake_login.login_there);
    assert_false(fake_login.logout_there);
    return 0;
}

static const struct portal portal = {.host = "10.0.0.1", .port = 3260, .tpgt = -1};

static int
try(const char *what, struct lunette_error *err)
{
    struct discovery_callbacks cb = {owner_done, &owner, 1000};
    struct login_config cfg;
    int r;

    login_config_init(&cfg);
    cfg.portal = portal;
    cfg.kind = LOGIN_REOPEN;
    cfg.expected_tpgt = 4;
    cfg.offer.max_recv_dseg = 0xffffff;
    (void)strcpy(cfg.target_name, "iqn.2026-11.org.example:disk");
    (void)strcpy(cfg.chap.name, "alice");
    cfg.chap.secret_len = 12;
    r = discovery_sendtargets(ctl, &cfg, what, &cb, &owner.d, err);
    login_config_wipe(&cfg);
    return r;
}

/* Logs in, so that the question is request 0. */
static void
ask(const char *what)
{
    assert_int_equal(try(what, NULL), 0);
    assert_int_equal(owner.told, 0);
    fake_login_done(&portal, 3, NULL);
    assert_false(fake_login.login_there);
    assert_int_equal(fi.ngot, 1);
}

static const struct bhs_text_req *
text_req(unsigned i)
{
    assert_true(i < fi.ngot);
    assert_int_equal(fi.got[i].type, ISCSI_UEVENT_SEND_PDU);
    assert_int_equal(fi.got[i].sid, 5);
    return (const void *)&fi.got[i].u.send_pdu.hdr;
}

static void
receive(const void *hdr, const char *text, size_t len)
{
    struct iscsi_kevent ev = {.type = ISCSI_KEVENT_RECV_PDU, .sid = 5};

    memcpy(&ev.u.recv_pdu.hdr, hdr, sizeof(ev.u.recv_pdu.hdr));
    ev.u.recv_pdu.data_len = (uint32_t)len;
    fake_ipc_event(&fi, &ev, text);
}

static void
respond(uint8_t flags, uint32_t ttt, const char *text, size_t len)
{
    struct bhs_text_rsp rsp = {.opcode = ISCSI_OP_TEXT_RSP, .flags = flags, .ttt = put32(ttt)};

    rsp.itt = put32(0x1234);
    rsp.lun[1] = 9;
    receive(&rsp, text, len);
}

static const char two[] = "TargetName=iqn.2001-04.org.example:one\0TargetAddress=10.0.0.9:3260,1\0"
                          "TargetName=iqn.2001-04.org.example:two";

/* The answer, and the session is logged out politely. */
static void
answer_and_log_out(void)
{
    fake_ipc_answer(&fi, 0, 0);
    respond(ISCSI_FLAG_FINAL, ISCSI_TAG_RSVD, two, sizeof(two));
    assert_int_equal(owner.told, 0); /* not before the session is gone */
    assert_true(fake_login.logout_there);
    assert_false(fake_login.logout_cfg.skip_request);
    assert_int_equal(fake_login.logout_cfg.sid, 5);
    assert_int_equal(fake_login.logout_cfg.nconns, 1);
    fake_logout_done(NULL);
}

static void
test_asks_and_tells(void **state)
{
    (void)state;
    ask(NULL);
    /* one response is one message of the ipc, and none may be cut */
    assert_int_equal(fake_login.cfg.offer.max_recv_dseg, IPC_PDU_DATA_MAX);
    assert_int_equal(fake_login.cfg.kind, LOGIN_NEW);
    assert_true(fake_login.cfg.discovery);
    assert_string_equal(fake_login.cfg.target_name, "");
    assert_int_equal(fake_login.cfg.expected_tpgt, -1);
    assert_true(fake_login.had_secret);
    assert_int_equal(text_req(0)->opcode, ISCSI_OP_TEXT_REQ | ISCSI_OP_IMMEDIATE);
    assert_int_equal(text_req(0)->flags, ISCSI_FLAG_FINAL);
    assert_int_equal(get32(text_req(0)->ttt), ISCSI_TAG_RSVD);
    assert_int_equal(fi.data_len[0], sizeof("SendTargets=All"));
    assert_string_equal(fi.data[0], "SendTargets=All");
    answer_and_log_out();
    assert_int_equal(owner.told, 1);
    assert_int_equal(owner.res.ntargets, 2);
    assert_string_equal(owner.res.targets[0].portals[0].host, "10.0.0.9");
    assert_string_equal(owner.res.targets[1].portals[0].host, "10.0.0.1"); /* the one in use */
    assert_int_equal(owner.res.targets[1].portals[0].tpgt, 3);
    assert_true(ctl_idle(ctl));
}

static void
test_one_target_by_name(void **state)
{
    struct lunette_error err;

    (void)state;
    assert_int_equal(try("iqn.2001-04.org.example:a b", &err), -EINVAL);
    assert_int_equal(fake_login.logins, 0);
    ask("iqn.2001-04.org.example:My_One");
    assert_string_equal(fi.data[0], "SendTargets=iqn.2001-04.org.example:My_One");
    fake_ipc_answer(&fi, 0, 0);
}

/* RFC 7143 11.10.4, 11.11.5: the next request bears ITT, TTT and LUN of the response. */
static void
test_asks_on(void **state)
{
    (void)state;
    ask(NULL);
    fake_ipc_answer(&fi, 0, 0);
    respond(0, 77, two, 50);
    assert_int_equal(fi.ngot, 2);
    assert_int_equal(fi.data_len[1], 0);
    assert_int_equal(get32(text_req(1)->ttt), 77);
    assert_int_equal(get32(text_req(1)->itt), 0x1234);
    assert_int_equal(text_req(1)->lun[1], 9);
    fake_ipc_answer(&fi, 1, 0);
    respond(ISCSI_FLAG_FINAL, ISCSI_TAG_RSVD, two + 50, sizeof(two) - 50);
    fake_logout_done(NULL);
    assert_int_equal(owner.res.ntargets, 2);
}

static void
test_login_fails(void **state)
{
    struct lunette_error err = {.code = 0};

    (void)state;
    fake_login.start_error = -EINVAL;
    assert_int_equal(try(NULL, &err), -EINVAL);
    assert_string_equal(err.msg, "refused by the test");
    assert_int_equal(try(NULL, NULL), 0);
    (void)lunette_fail(&err, -EACCES, LUNETTE_DOM_LOGIN, 0x201, "no");
    fake_login_done(&portal, -1, &err);
    assert_int_equal(owner.told, 1);
    assert_int_equal(owner.err.detail, 0x201);
    assert_int_equal(fake_login.logouts, 0);
    assert_int_equal(fi.ngot, 0);
}

/* Each way in which the asking fails; polite: the connection still carries a Logout Request. */
static void
test_asking_fails(void **state)
{
    enum { LOST, LOST_SILENT, TIMEOUT, REFUSED, REJECT, OTHER, NKINDS };
    static const enum lunette_domain domains[NKINDS] = {LUNETTE_DOM_TIMEOUT, LUNETTE_DOM_CONNECT,
                                                        LUNETTE_DOM_TIMEOUT, LUNETTE_DOM_OS,
                                                        LUNETTE_DOM_PROTO,   LUNETTE_DOM_PROTO};

    for (int kind = 0; kind < NKINDS; kind++) {
        struct iscsi_kevent lost = {.type = ISCSI_KEVENT_CONN_ERROR, .sid = 5};
        struct bhs_reject reject = {.opcode = ISCSI_OP_REJECT, .reason = 9};
        struct bhs_text_rsp other = {.opcode = ISCSI_OP_NOP_IN};

        (void)state;
        ask(NULL);
        if (kind != REFUSED)
            fake_ipc_answer(&fi, 0, 0);
        if (kind == LOST)
            (void)lunette_fail(&lost.u.conn_error.why, -ETIMEDOUT, LUNETTE_DOM_TIMEOUT, 0, "why");
        if (kind == LOST || kind == LOST_SILENT)
            fake_ipc_event(&fi, &lost, NULL);
        else if (kind == TIMEOUT)
            fake_advance(&fl, MS(1000));
        else if (kind == REFUSED)
            fake_ipc_answer(&fi, 0, -ENOTCONN);
        else if (kind == REJECT)
            receive(&reject, NULL, 0);
        else
            receive(&other, NULL, 0);
        assert_int_equal(owner.told, 0);
        assert_true(fake_login.logout_cfg.skip_request);
        fake_logout_done(NULL);
        assert_int_equal(owner.told, 1);
        assert_int_equal(owner.err.domain, domains[kind]);
        discovery_free(&owner.d);
        assert_true(ctl_idle(ctl));
        memset(&owner, 0, sizeof(owner));
        fi.ngot = 0;
        memset(fi.answered, 0, sizeof(fi.answered));
    }
}

/* What is not an answer: a warning is passed over, and nothing said for ever is a fault. */
static void
test_async_and_silence(void **state)
{
    struct bhs_text_rsp async = {.opcode = ISCSI_OP_ASYNC};
    unsigned n;

    (void)state;
    ask(NULL);
    receive(&async, NULL, 0);
    assert_int_equal(fake_login.logouts, 0);
    for (n = 0; n < 100 && fake_login.logouts == 0; n++) {
        fake_ipc_answer(&fi, 0, 0);
        fi.ngot = 0;
        memset(fi.answered, 0, sizeof(fi.answered));
        respond(0, 1, NULL, 0);
    }
    assert_int_equal(n, 65);
    fake_logout_done(NULL);
    assert_non_null(strstr(owner.err.msg, "without saying anything"));
}

static void
test_cannot_send(void **state)
{
    (void)state;
    assert_int_equal(try(NULL, NULL), 0);
    fi.fail = -EPIPE;
    fake_login_done(&portal, 3, NULL);
    assert_int_equal(fi.ngot, 0);
    fake_logout_done(NULL);
    assert_int_equal(owner.told, 1);
    assert_int_equal(owner.err.code, -EPIPE);
}

/* A logout that finds no memory is tried again. */
static void
test_cannot_log_out(void **state)
{
    (void)state;
    ask(NULL);
    fake_ipc_answer(&fi, 0, 0);
    fake_login.logout_error = -ENOMEM;
    respond(ISCSI_FLAG_FINAL, ISCSI_TAG_RSVD, two, sizeof(two));
    assert_int_equal(owner.told, 0);
    fake_advance(&fl, MS(LOGOUT_RETRY_MS));
    assert_int_equal(fake_login.logouts, 1);
    fake_logout_done(NULL);
    assert_int_equal(owner.told, 1);
    assert_int_equal(owner.err.code, 0);
}

/* An answer was lost for want of memory. */
static void
test_answer_lost(void **state)
{
    static const struct iscsi_kevent lost = {.type = ISCSI_KEVENT_LOST, .u.lost.count = 1};

    (void)state;
    ask(NULL);
    fake_ipc_answer(&fi, 0, 0);
    fake_ipc_event(&fi, &lost, NULL);
    fake_logout_done(NULL);
    assert_int_equal(owner.told, 1);
    assert_int_equal(owner.err.code, -ENOMEM);
}

/* The targets are told although the logout failed. */
static void
test_logout_fails(void **state)
{
    struct lunette_error err;

    (void)state;
    (void)lunette_fail(&err, -ETIMEDOUT, LUNETTE_DOM_TIMEOUT, 0, "no answer");
    ask(NULL);
    fake_ipc_answer(&fi, 0, 0);
    respond(ISCSI_FLAG_FINAL, ISCSI_TAG_RSVD, two, sizeof(two));
    fake_logout_done(&err);
    assert_int_equal(owner.res.ntargets, 2);
}

static void
test_cancel(void **state)
{
    struct lunette_error err;

    (void)state;
    assert_int_equal(try(NULL, NULL), 0); /* while it logs in */
    discovery_cancel(owner.d);
    assert_int_equal(fake_login.cancels, 0);
    fake_turn(&fl);
    assert_int_equal(fake_login.cancels, 1);
    (void)lunette_fail(&err, -ECANCELED, LUNETTE_DOM_USAGE, 0, "canceled");
    fake_login_done(&portal, -1, &err);
    assert_int_equal(owner.err.code, -ECANCELED);
    discovery_free(&owner.d);
    memset(&owner, 0, sizeof(owner));

    ask(NULL); /* while it asks */
    fake_ipc_answer(&fi, 0, 0);
    discovery_cancel(owner.d);
    fake_turn(&fl);
    assert_true(fake_login.logout_there);
    assert_false(fake_login.logout_cfg.skip_request); /* the connection is fine */
    discovery_cancel(owner.d);                        /* harmless */
    fake_turn(&fl);
    fake_logout_done(NULL);
    assert_int_equal(owner.told, 1);
    assert_int_equal(owner.err.code, -ECANCELED);
    discovery_cancel(owner.d); /* harmless after the end */
    fake_turn(&fl);
}

/* The owner lets go while it logs in, asks, logs out, and inside done; it is told nothing more, and
 * the session goes all the same. */
static void
test_let_go(void **state)
{
    struct lunette_error err;

    (void)state;
    (void)lunette_fail(&err, -ECANCELED, LUNETTE_DOM_USAGE, 0, "canceled");
    for (int when = 0; when < 4; when++) {
        if (when == 0) {
            assert_int_equal(try(NULL, NULL), 0);
            discovery_free(&owner.d);
            assert_int_equal(fake_login.cancels, 1);
            assert_false(ctl_idle(ctl));
            fake_login_done(&portal, -1, &err);
        } else {
            owner.free_inside = when == 3;
            ask(NULL);
            fake_ipc_answer(&fi, 0, 0);
            if (when == 1)
                discovery_free(&owner.d);
            else
                respond(ISCSI_FLAG_FINAL, ISCSI_TAG_RSVD, two, sizeof(two));
            if (when == 2)
                discovery_free(&owner.d);
            assert_true(fake_login.logout_there);
            fake_logout_done(NULL);
        }
        assert_int_equal(owner.told, when == 3 ? 1 : 0);
        assert_true(ctl_idle(ctl));
        assert_false(fake_login.login_there || fake_login.logout_there);
        discovery_result_free(&owner.res);
        memset(&owner, 0, sizeof(owner));
        fi.ngot = 0;
        memset(fi.answered, 0, sizeof(fi.answered));
    }
}

/* The data plane answers SEND_PDU after all is over: the memory stays until then. */
static void
test_late_reply(void **state)
{
    for (int when = 0; when < 2; when++) {
        (void)state;
        ask(NULL);
        respond(ISCSI_FLAG_FINAL, ISCSI_TAG_RSVD, two, sizeof(two));
        fake_logout_done(NULL);
        assert_int_equal(owner.told, 1);
        if (when == 0)
            discovery_free(&owner.d);
        assert_false(ctl_idle(ctl));
        fake_ipc_answer(&fi, 0, 0);
        discovery_free(&owner.d);
        assert_true(ctl_idle(ctl));
        discovery_result_free(&owner.res);
        memset(&owner, 0, sizeof(owner));
        fi.ngot = 0;
        memset(fi.answered, 0, sizeof(fi.answered));
    }
}

/* The control plane ends while an orphan still logs out: teardown sees that nothing is left. */
static void
test_ctl_free_with_orphan(void **state)
{
    (void)state;
    ask(NULL);
    discovery_free(&owner.d);
    assert_true(fake_login.logout_there);
    ctl_free(&ctl);
    assert_false(fake_login.logout_there);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_asks_and_tells, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_target_by_name, setup, teardown),
        cmocka_unit_test_setup_teardown(test_asks_on, setup, teardown),
        cmocka_unit_test_setup_teardown(test_login_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(test_asking_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(test_async_and_silence, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cannot_send, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cannot_log_out, setup, teardown),
        cmocka_unit_test_setup_teardown(test_answer_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(test_logout_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel, setup, teardown),
        cmocka_unit_test_setup_teardown(test_let_go, setup, teardown),
        cmocka_unit_test_setup_teardown(test_late_reply, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ctl_free_with_orphan, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
