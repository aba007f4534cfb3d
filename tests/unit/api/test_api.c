/* SPDX-License-Identifier: MIT */
/* The public API between two fakes: a program above, which is the test; below, logins that end when
 * the test says, a control plane's ipc that only takes notes, and a host with a modelled target. */
#include "tests/unit/scsi/fake_host.h"

#include "api/internal.h"
#include "tests/support/fake_login.h"
#include "wire/bend.h"

#define URL  "iscsi://192.0.2.1/iqn.2026-11.example:fake/0"
#define SID  5u /* of fake_login */
#define FULL 4096

static struct program {
    struct fhost f;
    struct loop_ops ops;
    struct lunette_ctx *ctx;
    struct ipc ipc;
    struct iscsi_uevent asked; /* the last request */
    uint8_t asked_data[FULL];
    uint32_t asked_len;
    unsigned requests;
    void *known;  /* memory that is registered */
    bool no_host; /* the session is gone right after login */
    bool dataplane_there;
    const struct iscsi_session *session; /* as the data plane has it; NULL: not iscsi/'s */
    int echo;                            /* of a ping: 0 as it was sent, 1 altered, 2 none */
    struct lunette_open *op;
    struct lunette_lun *lun;
    struct lunette_error err;
    int opened, closed; /* callbacks */
} p;

/* ---- the data plane, as the API sees it ----------------------------------------------------- */

struct dataplane {
    int nothing;
};

static struct dataplane the_dataplane;
const struct ipc_server_ops dataplane_server_ops = {.serve = NULL};

int
dataplane_new(struct loop *l, const struct transport_registry *registry, struct dataplane **ret,
              struct lunette_error *err)
{
    (void)l;
    (void)registry;
    (void)err;
    p.dataplane_there = true;
    *ret = &the_dataplane;
    return 0;
}

void
dataplane_free(struct dataplane *dp)
{
    if (dp != NULL)
        p.dataplane_there = false;
}

unsigned
dataplane_busy(const struct dataplane *dp)
{
    (void)dp;
    return 0;
}

void
dataplane_shutdown(struct dataplane *dp)
{
    assert_ptr_equal(dp, &the_dataplane);
}

uint64_t
dataplane_set_client(struct dataplane *dp, const struct ipc_client *client)
{
    (void)client;
    assert_ptr_equal(dp, &the_dataplane);
    return 1;
}

struct scsi_host *
dataplane_host(struct dataplane *dp, uint32_t sid)
{
    assert_ptr_equal(dp, &the_dataplane);
    assert_int_equal(sid, SID);
    return p.no_host ? NULL : &p.f.h;
}

const struct iscsi_session *
dataplane_session(struct dataplane *dp, uint32_t sid)
{
    assert_ptr_equal(dp, &the_dataplane);
    assert_int_equal(sid, SID);
    return p.session;
}

const char *
dataplane_transport(struct dataplane *dp, uint32_t sid)
{
    assert_ptr_equal(dp, &the_dataplane);
    assert_int_equal(sid, SID);
    return p.no_host ? NULL : "fake";
}

const char *
dataplane_conn_describe(struct dataplane *dp, uint32_t sid, uint16_t cid, char *buf, size_t size)
{
    assert_ptr_equal(dp, &the_dataplane);
    assert_int_equal(sid, SID);
    (void)cid;
    (void)snprintf(buf, size, "a fake");
    return buf;
}

int
dataplane_mem_add(struct dataplane *dp, void *addr, size_t len, struct lunette_error *err)
{
    assert_ptr_equal(dp, &the_dataplane);
    if (len == 13)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "unlucky");
    p.known = addr;
    return 0;
}

int
dataplane_mem_remove(struct dataplane *dp, const void *addr, struct lunette_error *err)
{
    assert_ptr_equal(dp, &the_dataplane);
    if (addr != p.known)
        return lunette_fail(err, -ENOENT, LUNETTE_DOM_USAGE, 0, "it is not known");
    p.known = NULL;
    return 0;
}

int
dataplane_conn_names(struct dataplane *dp, uint32_t sid, uint16_t cid, struct sock_addr *ret_local,
                     struct sock_addr *ret_peer)
{
    assert_ptr_equal(dp, &the_dataplane);
    assert_int_equal(sid, SID);
    (void)cid;
    (void)ret_local;
    (void)ret_peer;
    return -ENOTCONN;
}

bool
dataplane_conn_is_down(struct dataplane *dp, uint32_t sid, uint16_t cid)
{
    assert_ptr_equal(dp, &the_dataplane);
    assert_int_equal(sid, SID);
    return cid == 0;
}

/* ---- events and requests -------------------------------------------------------------------- */

static int
ask(struct ipc *ipc, struct iscsi_uevent *ev, const void *data, uint32_t len)
{
    static uint64_t seq;

    assert_ptr_equal(ipc, &p.ipc);
    assert_true(len <= sizeof(p.asked_data));
    ev->seq = ++seq;
    p.asked = *ev;
    p.asked_len = len;
    if (len > 0)
        memcpy(p.asked_data, data, len);
    p.requests++;
    return 0;
}

static const struct ipc_ops ipc_ops = {.request = ask};

static struct ipc *
make_ipc(void *user, struct loop *loop, const struct ipc_server_ops *ops, void *server,
         struct ipc_client *ret_client)
{
    (void)user;
    (void)loop;
    assert_ptr_equal(ops, &dataplane_server_ops);
    assert_ptr_equal(server, &the_dataplane);
    *ret_client = (struct ipc_client){0};
    p.ipc.ops = &ipc_ops;
    return &p.ipc;
}

static void
pdu_comes(const struct bhs *h, const void *data, uint32_t len)
{
    struct iscsi_kevent ev = {.type = ISCSI_KEVENT_RECV_PDU, .sid = SID};

    ev.u.recv_pdu.hdr = *h;
    ev.u.recv_pdu.data_len = len;
    p.ipc.ev->event(p.ipc.ev_user, &ev, data);
}

static void
connection_lost(const char *why)
{
    struct iscsi_kevent ev = {.type = ISCSI_KEVENT_CONN_ERROR, .sid = SID};

    ev.u.conn_error.err = ISCSI_ERR_CONN_CLOSED;
    (void)lunette_fail(&ev.u.conn_error.why, -ENOTCONN, LUNETTE_DOM_CONNECT, 0, "%s", why);
    p.ipc.ev->event(p.ipc.ev_user, &ev, NULL);
}

/* The answer to a ping that has been asked for. */
static void
answer_ping(void)
{
    const struct iscsi_uevent was = p.asked;
    struct iscsi_reply rep = {.type = was.type, .seq = was.seq, .sid = SID};
    struct bhs_nop_in h;

    if (p.asked.type != ISCSI_UEVENT_SEND_PDU)
        return;
    p.asked.type = ISCSI_UEVENT_UNKNOWN;
    assert_int_equal(was.u.send_pdu.hdr.opcode & ISCSI_OP_MASK, ISCSI_OP_NOP_OUT);
    p.ipc.ev->reply(p.ipc.ev_user, &rep);
    if (p.echo == 2)
        return;
    p.asked_data[0] ^= (uint8_t)p.echo;
    bhs_init(&h, ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL);
    pdu_comes((const void *)&h, p.asked_data, p.asked_len);
}

/* What the program waits for happens: time passes, and logouts are answered. */
static int
run_loop(struct loop *l, int64_t timeout_ns)
{
    (void)l;
    (void)timeout_ns;
    answer_ping();
    fake_advance(&p.f.loop, MS(100));
    if (fake_login.logout_there) { /* the session ends, and gives back what it had */
        if (p.f.h.ev != NULL)
            fh_state(&p.f, SCSI_HOST_GONE);
        fh_sweep(&p.f, NULL, DID_NO_CONNECT);
        fake_logout_done(NULL);
    }
    fake_turn(&p.f.loop);
    return 1;
}

/* ---- the program ---------------------------------------------------------------------------- */

static void
on_opened(void *user, struct lunette_lun *lun, const struct lunette_error *err)
{
    assert_ptr_equal(user, &p);
    assert_true((lun == NULL) == (err != NULL));
    p.opened++;
    p.lun = lun;
    if (err != NULL)
        p.err = *err;
}

static void
on_closed(void *user)
{
    assert_ptr_equal(user, &p);
    p.closed++;
}

static void
program_start(void)
{
    struct api_hooks hooks = {.make_ipc = make_ipc};

    memset(&p, 0, sizeof(p));
    fake_login_reset();
    fh_init(&p.f);
    (void)fh_add(&p.f, 0, 0);
    p.ops = fake_loop_ops;
    p.ops.run = run_loop;
    p.f.loop.l.ops = &p.ops;
    hooks.loop = &p.f.loop.l;
    assert_int_equal(api_ctx_new(NULL, &hooks, &p.ctx, &p.err), 0);
}

static void
program_end(void)
{
    lunette_ctx_free(p.ctx);
    assert_false(p.dataplane_there);
    assert_false(fake_login.login_there);
    assert_false(fake_login.logout_there);
    assert_int_equal(p.f.nout, 0);
}

static void
log_in(const struct lunette_error *err)
{
    struct portal at = {.host = "192.0.2.1", .port = 3260};

    fake_login_done(&at, 1, err);
    fake_advance(&p.f.loop, SEC(200));
}

static void
open_begin(uint32_t flags)
{
    assert_int_equal(lunette_open_start(p.ctx, URL, flags, on_opened, &p, &p.op, &p.err), 0);
    assert_int_equal(p.opened, 0);
}

static void
open_lun(uint32_t flags)
{
    open_begin(flags);
    log_in(NULL);
    if (p.lun == NULL)
        fail_msg("%s", p.err.msg);
    assert_int_equal(p.opened, 1);
}

/* A failed opening is told when nothing is left, after the logout where one was due. */
static void
open_fails(enum lunette_domain domain, int code, unsigned logouts)
{
    for (int i = 0; i < 10 && p.opened == 0; i++)
        (void)run_loop(NULL, 0);
    assert_int_equal(p.opened, 1);
    assert_null(p.lun);
    assert_int_equal(p.err.domain, domain);
    assert_int_equal(p.err.code, code);
    assert_int_equal(fake_login.logouts, logouts);
}

/* ---- tests ---------------------------------------------------------------------------------- */

static void
test_a_unit_opens_and_closes(void **state)
{
    struct lunette_session_info si = LUNETTE_INIT(si);
    struct lunette_info info = LUNETTE_INIT(info);
    uint8_t buf[FULL];

    (void)state;
    program_start();
    open_lun(0);
    assert_string_equal(fake_login.cfg.target_name, "iqn.2026-11.example:fake");
    (void)lunette_get_info(p.lun, &info);
    assert_int_equal(info.size, (uint64_t)512 << 20);
    assert_int_equal(info.block_size, 512);
    (void)lunette_get_session_info(p.lun, &si);
    assert_string_equal(si.portal, "192.0.2.1:3260");
    assert_string_equal(si.auth_method, "None");
    assert_int_equal(si.tpgt, 1);
    assert_int_equal(lunette_pread(p.lun, buf, sizeof(buf), 0, &p.err), 0);
    assert_int_equal(lunette_pwrite(p.lun, buf, sizeof(buf), 0, 0, &p.err), 0);
    assert_int_equal(fh_count(&p.f, SCSI_SYNC_CACHE_10), 0);
    lunette_close_start(p.lun, on_closed, &p);
    assert_int_equal(fake_login.logouts, 0);
    fake_advance(&p.f.loop, SEC(1));
    assert_int_equal(fh_count(&p.f, SCSI_SYNC_CACHE_10), 1); /* then the logout, then the end */
    assert_int_equal(fake_login.logouts, 1);
    assert_int_equal(fake_login.logout_cfg.sid, SID);
    assert_int_equal(p.closed, 0);
    (void)run_loop(NULL, 0);
    assert_int_equal(p.closed, 1);
    program_end();
}

static int
loop_that_fails(struct loop *l, int64_t timeout_ns)
{
    (void)l;
    (void)timeout_ns;
    return -EIO;
}

static unsigned not_waited;

static void
count_not_waited(void *user, enum log_level level, const char *line)
{
    (void)user;
    (void)level;
    not_waited += strstr(line, "is not waited for") != NULL;
}

/* Where the loop cannot run, a closing returns and says so, and it goes on when the loop does; the
 * next one waits for both. */
static void
test_a_closing_that_cannot_be_waited_for(void **state)
{
    static const struct log log = {.level = LOG_LEVEL_INFO, .sink = count_not_waited};

    (void)state;
    program_start();
    p.f.loop.l.log = &log;
    not_waited = 0;
    open_lun(0);
    p.ops.run = loop_that_fails;
    lunette_close(p.lun);
    p.ops.run = run_loop;
    assert_int_equal(not_waited, 1);
    assert_int_equal(p.ctx->closes, 1);
    for (int i = 0; i < 10; i++)
        (void)run_loop(NULL, 0);
    assert_int_equal(fake_login.logouts, 1);
    assert_int_equal(p.ctx->closes, 0);
    program_end();
}

/* What the target has bent at login and afterwards, in one. */
static void
test_a_target_that_bends(void **state)
{
    const struct iscsi_session after_login = {.bends = BEND_BIT(PING_STATSN)};
    struct lunette_session_info si = LUNETTE_INIT(si);
    unsigned known = 0;

    (void)state;
    program_start();
    fake_login.bends = BEND_BIT(ISID) | BEND_BIT(TSIH_ZERO);
    open_lun(0);
    lunette_get_session_info(p.lun, &si);
    assert_int_equal(si.bends, BEND_BIT(ISID) | BEND_BIT(TSIH_ZERO));
    p.session = &after_login;
    lunette_get_session_info(p.lun, &si);
    assert_int_equal(si.bends, BEND_BIT(ISID) | BEND_BIT(TSIH_ZERO) | BEND_BIT(PING_STATSN));
    for (unsigned i = 0; lunette_bend_text(i) != NULL; i++)
        known |= 1u << i;
    assert_int_equal(si.bends & ~known, 0);
    p.session = NULL;
    lunette_close_start(p.lun, on_closed, &p);
    fake_advance(&p.f.loop, SEC(1));
    (void)run_loop(NULL, 0);
    program_end();
}

static void
test_a_login_that_is_refused(void **state)
{
    struct lunette_error why;

    (void)state;
    program_start();
    open_begin(0);
    (void)lunette_fail(&why, -EACCES, LUNETTE_DOM_LOGIN, 0x0201, "the target says no");
    log_in(&why);
    open_fails(LUNETTE_DOM_LOGIN, -EACCES, 0);
    assert_string_equal(p.err.msg, "the target says no");
    program_end();
}

/* NAME-01: each login says the one name of its context, which is that of this host by default. */
static void
test_one_name(void **state)
{
    const struct lunette_error why = {
        .code = -EACCES, .domain = LUNETTE_DOM_LOGIN, .msg = "the target says no"};
    char name[sizeof(p.ctx->initiator_name)] = "";

    (void)state;
    for (int i = 0; i < 2; i++) {
        program_start();
        open_begin(0);
        assert_string_equal(fake_login.cfg.initiator_name, p.ctx->initiator_name);
        assert_true(name[0] == '\0' || strcmp(name, p.ctx->initiator_name) == 0);
        memcpy(name, p.ctx->initiator_name, sizeof(name));
        assert_int_equal(strncmp(name, "iqn.", 4), 0);
        log_in(&why);
        open_fails(LUNETTE_DOM_LOGIN, -EACCES, 0);
        program_end();
    }
}

static void
test_openings_that_fail_behind_the_login(void **state)
{
    (void)state;
    program_start(); /* the session is gone before anybody has seen it */
    p.no_host = true;
    open_begin(0);
    log_in(NULL);
    open_fails(LUNETTE_DOM_CONNECT, -ENOTCONN, 1);
    program_end();

    program_start(); /* there is no such unit */
    p.f.luns[0].there = false;
    open_begin(0);
    log_in(NULL);
    open_fails(LUNETTE_DOM_NOTFOUND, -ENXIO, 1);
    program_end();

    program_start(); /* it is no disk */
    p.f.luns[0].inq.type = 8;
    open_begin(0);
    log_in(NULL);
    open_fails(LUNETTE_DOM_NOTFOUND, -EMEDIUMTYPE, 1);
    assert_non_null(strstr(p.err.msg, "LUN 0 is not a disk: changer"));
    program_end();
}

static void
test_what_is_no_disk_takes_raw_commands(void **state)
{
    static const uint8_t test_unit_ready[6];
    struct lunette_scsi cmd = {.cdb = test_unit_ready, .cdb_len = 6};
    uint8_t buf[512];

    (void)state;
    program_start();
    p.f.luns[0].inq.type = 8;
    open_lun(LUNETTE_OPEN_RAW);
    assert_int_equal(lunette_scsi(p.lun, &cmd, &p.err), 0);
    assert_int_equal(cmd.status, 0);
    assert_int_equal(lunette_pread(p.lun, buf, sizeof(buf), 0, &p.err), -EOPNOTSUPP);
    lunette_close(p.lun);
    program_end();
}

/* The caller is told why the connection was lost, and not only that the session is gone. */
static void
test_the_reason_behind_the_reason(void **state)
{
    uint8_t buf[512];

    (void)state;
    program_start();
    open_lun(0);
    fh_state(&p.f, SCSI_HOST_GONE);
    connection_lost("the cable was pulled");
    assert_int_equal(lunette_pread(p.lun, buf, sizeof(buf), 0, &p.err), -ENOTCONN);
    assert_non_null(strstr(p.err.msg, "the cable was pulled"));
    lunette_close(p.lun);
    assert_true(fake_login.logout_cfg.skip_request); /* nobody would answer a Logout Request */
    program_end();
}

static void
test_the_target_asks_for_a_logout(void **state)
{
    struct bhs_async a;
    uint64_t ns;

    (void)state;
    program_start();
    open_lun(0);
    bhs_init(&a, ISCSI_OP_ASYNC, ISCSI_FLAG_FINAL);
    a.event = ISCSI_ASYNC_LOGOUT_REQUEST;
    pdu_comes((const void *)&a, NULL, 0);
    assert_int_equal(fake_login.logouts, 1);
    fh_state(&p.f, SCSI_HOST_GONE);
    (void)run_loop(NULL, 0);
    assert_int_equal(lunette_ping(p.lun, 8, &ns, &p.err), -ENOTCONN);
    assert_non_null(strstr(p.err.msg, "asked for a logout"));
    lunette_close(p.lun);
    assert_int_equal(fake_login.logouts, 2); /* one asks, and one takes away what is left */
    assert_true(fake_login.logout_cfg.skip_request);
    program_end();
}

static void
test_pings(void **state)
{
    uint64_t ns;

    (void)state;
    program_start();
    open_lun(LUNETTE_OPEN_SESSION);
    assert_int_equal(lunette_ping(p.lun, 64, &ns, &p.err), 0);
    assert_int_equal(p.asked_len, 64);
    assert_int_equal(lunette_ping(p.lun, 64, NULL, &p.err), 0);
    p.echo = 1;
    assert_int_equal(lunette_ping(p.lun, 64, &ns, &p.err), -EBADMSG);
    p.echo = 2;
    assert_int_equal(lunette_ping(p.lun, 64, &ns, &p.err), -ETIMEDOUT);
    assert_int_equal(lunette_ping(p.lun, 1 << 20, &ns, &p.err), -EINVAL);
    lunette_close(p.lun);
    program_end();
}

/* At each stage: before the login, behind it, and while it is being closed after a failure. */
static void
test_an_opening_is_canceled(void **state)
{
    struct portal at = {.host = "192.0.2.1", .port = 3260};

    (void)state;
    for (int stage = 0; stage < 4; stage++) {
        program_start();
        p.f.luns[0].there = stage != 3;
        p.f.hold = stage == 2; /* the scan waits for the target */
        open_begin(0);
        if (stage > 0)
            fake_login_done(&at, 1, NULL);
        if (stage > 1)
            fake_turn(&p.f.loop);
        assert_int_equal(p.opened, 0);
        lunette_open_cancel(p.op);
        p.f.hold = false;
        for (int i = 0; i < 10; i++)
            (void)run_loop(NULL, 0);
        assert_int_equal(p.opened, 0);
        assert_int_equal(fake_login.logouts, stage > 0 ? 1 : 0);
        program_end();
    }
}

/* The target does not let the session go in order, or there was no memory for the request at first:
 * the reason tells how the session ended. */
static void
test_the_logout_it_asked_for_fails(void **state)
{
    struct lunette_error why = {.code = -ETIMEDOUT, .msg = "no answer, says the test"};
    struct bhs_async a;
    uint64_t ns;

    (void)state;
    program_start();
    open_lun(0);
    bhs_init(&a, ISCSI_OP_ASYNC, ISCSI_FLAG_FINAL);
    a.event = ISCSI_ASYNC_LOGOUT_REQUEST;
    fake_login.logout_error = -ENOMEM;
    pdu_comes((const void *)&a, NULL, 0);
    assert_int_equal(fake_login.logouts, 0);
    fake_advance(&p.f.loop, MS(LOGOUT_RETRY_MS));
    assert_int_equal(fake_login.logouts, 1);
    fh_state(&p.f, SCSI_HOST_GONE);
    fake_logout_done(&why);
    assert_int_equal(lunette_ping(p.lun, 8, &ns, &p.err), -ENOTCONN);
    assert_non_null(strstr(p.err.msg, "asked for a logout"));
    assert_non_null(strstr(p.err.msg, "no answer, says the test"));
    assert_null(strstr(p.err.msg, "in order"));
    lunette_close(p.lun);
    program_end();
}

/* There was no memory for it: it is tried again, and the session is not left behind. */
static void
test_a_logout_that_cannot_begin(void **state)
{
    (void)state;
    program_start();
    open_lun(0);
    fake_login.logout_error = -ENOMEM;
    lunette_close_start(p.lun, on_closed, &p);
    fake_advance(&p.f.loop, MS(10));
    assert_int_equal(fake_login.logouts, 0);
    assert_int_equal(p.closed, 0);
    fake_advance(&p.f.loop, SEC(1));
    assert_int_equal(fake_login.logouts, 1);
    (void)run_loop(NULL, 0);
    assert_int_equal(p.closed, 1);
    program_end();
}

static void
test_a_login_that_cannot_begin(void **state)
{
    (void)state;
    program_start();
    fake_login.start_error = -EINVAL;
    assert_int_equal(lunette_open_start(p.ctx, URL, 0, on_opened, &p, &p.op, &p.err), -EINVAL);
    assert_string_equal(p.err.msg, "refused by the test");
    assert_int_equal(p.opened, 0);
    program_end();
}

static void
test_flags_that_nobody_knows(void **state)
{
    static const uint32_t unknown[] = {32, 1u << 31, LUNETTE_OPEN_RDONLY | 64};
    struct iovec iov = {.iov_base = (uint8_t[512]){0}, .iov_len = 512};
    struct lunette_queue *q = NULL;
    uint8_t buf[512] = {0};

    (void)state;
    program_start();
    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
        assert_int_equal(lunette_open_start(p.ctx, URL, unknown[i], on_opened, &p, &p.op, &p.err),
                         -EINVAL);
        assert_non_null(strstr(p.err.msg, "unknown flags"));
        assert_int_equal(lunette_open(p.ctx, URL, unknown[i], &p.lun, &p.err), -EINVAL);
    }
    assert_int_equal(lunette_open(p.ctx, URL, LUNETTE_OPEN_ANY_LUN, &p.lun, &p.err), -EINVAL);
    assert_non_null(strstr(p.err.msg, "goes with LUNETTE_OPEN_RAW"));
    open_lun(0);
    assert_int_equal(lunette_queue_new(p.lun, 4, &q, &p.err), 0);
    for (uint32_t f = LUNETTE_NO_UNMAP; f != 0; f <<= 1) { /* a write knows only FUA */
        assert_int_equal(lunette_pwrite(p.lun, buf, 512, 0, f, &p.err), -EINVAL);
        assert_non_null(strstr(p.err.msg, "unknown flags"));
        assert_int_equal(lunette_queue_write(q, buf, 512, 0, f, NULL), -EINVAL);
        assert_int_equal(lunette_queue_writev(q, &iov, 1, 0, f | LUNETTE_FUA, NULL), -EINVAL);
        if (f == LUNETTE_NO_UNMAP)
            continue;
        assert_int_equal(lunette_write_zeroes(p.lun, 512, 0, f, &p.err), -EINVAL);
        assert_int_equal(lunette_queue_write_zeroes(q, 512, 0, f, NULL), -EINVAL);
    }
    assert_int_equal(lunette_queue_inflight(q), 0);
    assert_int_equal(lunette_pwrite(p.lun, buf, 512, 0, LUNETTE_FUA, &p.err), 0);
    assert_int_equal(lunette_write_zeroes(p.lun, 512, 0, LUNETTE_FUA | LUNETTE_NO_UNMAP, &p.err),
                     0);
    lunette_queue_free(q);
    lunette_close(p.lun);
    program_end();
}

/* A program that knows a later version of each structure, and one that has initialized none. */
static void
test_structures_of_other_sizes(void **state)
{
    static const uint8_t test_unit_ready[6];
    struct {
        struct lunette_info s;
        uint64_t more;
    } info = {.s = {.struct_size = sizeof(info)}, .more = 1};
    struct {
        struct lunette_session_info s;
        uint64_t more;
    } si = {.s = {.struct_size = sizeof(si)}, .more = 1};
    struct {
        struct lunette_ctx_stats s;
        uint64_t more;
    } stats = {.s = {.struct_size = sizeof(stats)}, .more = 1};
    struct {
        struct lunette_scsi s;
        uint64_t more;
    } cmd = {.s = {.struct_size = sizeof(cmd), .cdb = test_unit_ready, .cdb_len = 6}};
    struct lunette_queue *q = NULL;
    struct lunette_completion c;

    (void)state;
    program_start();
    open_lun(0);
    assert_int_equal(lunette_get_info(p.lun, &info.s), 0);
    assert_true(info.s.struct_size == sizeof(info) && info.s.block_size == 512 && info.more == 0);
    assert_int_equal(lunette_get_session_info(p.lun, &si.s), 0);
    assert_true(si.s.struct_size == sizeof(si) && si.s.tpgt == 1 && si.more == 0);
    assert_int_equal(lunette_ctx_get_stats(p.ctx, &stats.s), 0);
    assert_true(stats.s.struct_size == sizeof(stats) && stats.more == 0);
    info.s.struct_size = si.s.struct_size = stats.s.struct_size = 3;
    assert_int_equal(lunette_get_info(p.lun, &info.s), -EINVAL);
    assert_int_equal(lunette_get_session_info(p.lun, &si.s), -EINVAL);
    assert_int_equal(lunette_ctx_get_stats(p.ctx, &stats.s), -EINVAL);

    assert_int_equal(lunette_queue_new(p.lun, 4, &q, &p.err), 0);
    assert_int_equal(lunette_scsi(p.lun, &cmd.s, &p.err), 0);
    assert_int_equal(lunette_queue_scsi(q, &cmd.s, NULL), 0);
    assert_int_equal(lunette_queue_poll(q, &c, 1, 1, -1), 1);
    cmd.more = 1;
    assert_int_equal(lunette_scsi(p.lun, &cmd.s, &p.err), -E2BIG);
    assert_non_null(strstr(p.err.msg, "newer"));
    assert_int_equal(lunette_queue_scsi(q, &cmd.s, NULL), -E2BIG);
    cmd.s.struct_size = sizeof(cmd.s) - 8;
    assert_int_equal(lunette_scsi(p.lun, &cmd.s, &p.err), -EINVAL);
    assert_int_equal(lunette_queue_scsi(q, &cmd.s, NULL), -EINVAL);
    lunette_queue_free(q);
    lunette_close(p.lun);
    program_end();
}

/* Those of a later version are filled in one after the other, and end with zeroes. */
static void
test_completions_of_other_sizes(void **state)
{
    struct {
        struct lunette_completion c;
        uint64_t more;
    } done[2] = {{.more = 1}, {.more = 2}};
    struct lunette_queue *q = NULL;
    uint8_t buf[1024];

    (void)state;
    program_start();
    open_lun(0);
    assert_int_equal(lunette_queue_new(p.lun, 4, &q, &p.err), 0);
    assert_int_equal(lunette_queue_read(q, buf, 512, 0, buf), 0);
    assert_int_equal(lunette_queue_read(q, buf + 512, 512, 0, buf + 512), 0);
    assert_int_equal(lunette_queue_poll_sized(q, &done[0].c, 8, 2, 2, -1), -EINVAL);
    assert_int_equal(lunette_queue_poll_sized(q, &done[0].c, 1 << 20, 2, 2, -1), -EINVAL);
    assert_int_equal(lunette_queue_poll_sized(q, &done[0].c, sizeof(done[0]), 2, 2, -1), 2);
    for (int i = 0; i < 2; i++) {
        void *which = done[i].c.user_data;

        assert_true(which == buf || which == buf + 512);
        assert_int_equal(done[i].c.err, 0);
        assert_int_equal(done[i].more, 0);
    }
    assert_true(done[0].c.user_data != done[1].c.user_data);
    lunette_queue_free(q);
    lunette_close(p.lun);
    program_end();
}

/* A URL that getenv(3) did not find is an error, not a crash. */
static void
test_no_url(void **state)
{
    struct lunette_targets *targets = NULL;
    struct lunette_luns *luns = NULL;
    struct lunette_lun *lun = NULL;
    char buf[4] = "abc";

    (void)state;
    program_start();
    assert_int_equal(lunette_open(p.ctx, NULL, 0, &lun, &p.err), -EINVAL);
    assert_non_null(strstr(p.err.msg, "there is none"));
    assert_int_equal(lunette_discover(p.ctx, NULL, &targets, &p.err), -EINVAL);
    assert_int_equal(lunette_list_luns(p.ctx, NULL, &luns, NULL, &p.err), -EINVAL);
    assert_string_equal(lunette_url_mask(NULL, buf, sizeof(buf)), "");
    program_end();
}

/* The caller's error keeps its size, and one that was not initialized is told by each call. */
static void
test_errors_of_other_sizes(void **state)
{
    struct {
        struct lunette_error s;
        uint64_t more;
    } e = {.s = {.struct_size = sizeof(e)}, .more = 1};
    struct lunette_targets *targets = NULL;
    struct lunette_ctx *ctx = NULL;
    struct lunette_luns *luns = NULL;
    struct lunette_queue *q = NULL;
    struct lunette_completion c = {0};
    struct lunette_scsi cmd = {0};
    uint8_t buf[512];
    uint64_t ns;

    (void)state;
    program_start();
    open_lun(0);
    assert_int_equal(lunette_pread(p.lun, buf, 512, 1, &e.s), -EINVAL);
    assert_non_null(strstr(e.s.msg, "read: 512 bytes at offset 1 are misaligned"));
    assert_int_equal(lunette_pwrite(p.lun, buf, 512, UINT64_C(1) << 60, 0, &e.s), -EINVAL);
    assert_non_null(strstr(e.s.msg, "reach past the end: the logical unit has "));
    assert_int_equal(lunette_pread(p.lun, buf, 3, 0, &e.s), -EINVAL);
    assert_true(e.s.struct_size == sizeof(e) && e.s.code == -EINVAL && e.more == 0);
    e.s.struct_size = 12345678;
    assert_int_equal(lunette_pread(p.lun, buf, 512, 0, &e.s), -EINVAL);
    assert_non_null(strstr(e.s.msg, "LUNETTE_INIT"));
    assert_int_equal(lunette_pwrite(p.lun, buf, 512, 0, 0, &e.s), -EINVAL);
    assert_int_equal(lunette_flush(p.lun, &e.s), -EINVAL);
    assert_int_equal(lunette_discard(p.lun, 512, 0, &e.s), -EINVAL);
    assert_int_equal(lunette_write_zeroes(p.lun, 512, 0, 0, &e.s), -EINVAL);
    assert_int_equal(lunette_scsi(p.lun, &cmd, &e.s), -EINVAL);
    assert_int_equal(lunette_ping(p.lun, 0, &ns, &e.s), -EINVAL);
    assert_int_equal(lunette_queue_new(p.lun, 1, &q, &e.s), -EINVAL);
    assert_int_equal(lunette_ctx_new(NULL, &ctx, &e.s), -EINVAL);
    assert_int_equal(lunette_open(p.ctx, URL, 0, &p.lun, &e.s), -EINVAL);
    assert_int_equal(lunette_open_start(p.ctx, URL, 0, on_opened, &p, NULL, &e.s), -EINVAL);
    assert_int_equal(lunette_discover(p.ctx, "192.0.2.1", &targets, &e.s), -EINVAL);
    assert_int_equal(lunette_list_luns(p.ctx, URL, &luns, NULL, &e.s), -EINVAL);
    assert_int_equal(lunette_queue_new(p.lun, 1, &q, NULL), 0);
    assert_int_equal(lunette_queue_explain(q, &c, "x", &e.s), -EINVAL);
    assert_int_equal(e.s.struct_size, 12345678);
    lunette_queue_free(q);
    lunette_close(p.lun);
    program_end();
}

struct later_error { /* of a later version */
    struct lunette_error s;
    uint64_t more[32];
};

static void
copy_later_error(void *user, struct lunette_lun *lun, const struct lunette_error *err)
{
    assert_null(lun);
    memcpy(user, err, sizeof(struct later_error));
    p.opened++;
}

/* A program copies the error of a callback as it knows errors: what this library does not know of
 * it is zero, and there. */
static void
test_a_copied_error(void **state)
{
    struct later_error e = {.s = {.struct_size = sizeof(e)}}, got;
    const struct lunette_error why = {.code = -EACCES, .domain = LUNETTE_DOM_LOGIN, .msg = "no"};

    (void)state;
    memset(&got, 0xee, sizeof(got));
    program_start();
    assert_int_equal(lunette_open_start(p.ctx, URL, 0, copy_later_error, &got, NULL, &e.s), 0);
    log_in(&why);
    for (int i = 0; i < 10 && p.opened == 0; i++)
        (void)run_loop(NULL, 0);
    assert_int_equal(p.opened, 1);
    assert_true(got.s.struct_size == sizeof(got) && got.s.code == -EACCES);
    assert_string_equal(got.s.msg, "no");
    for (size_t i = 0; i < sizeof(got.more) / sizeof(got.more[0]); i++)
        assert_int_equal(got.more[i], 0);
    program_end();
}

static void
test_options_of_other_sizes(void **state)
{
    struct {
        struct lunette_ctx_options s;
        uint64_t more;
    } o = {.s = {.struct_size = sizeof(o), .trace_events = 3}};
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_ctx *ctx = NULL;

    (void)state;
    /* It is read as far as it is known. */
    assert_int_equal(lunette_ctx_new(&o.s, &ctx, &err), -EINVAL);
    assert_string_equal(err.msg, "trace_events must be a power of two");
    o.s.struct_size = 0;
    assert_int_equal(lunette_ctx_new(&o.s, &ctx, &err), -EINVAL);
    assert_string_equal(err.msg, "trace_events must be a power of two");
    o.s.struct_size = sizeof(o);
    o.more = 1;
    assert_int_equal(lunette_ctx_new(&o.s, &ctx, &err), -E2BIG);
    assert_non_null(strstr(err.msg, "newer"));
    o.s.struct_size = sizeof(o.s) - 8;
    assert_int_equal(lunette_ctx_new(&o.s, &ctx, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "struct_size"));
    assert_string_equal(lunette_version(), LUNETTE_VERSION_STRING);
    assert_int_equal(lunette_version_number(), LUNETTE_VERSION_NUMBER);
}

/* ---- sessions, their events and time limits -------------------------------------------------- */

static struct heard { /* events, in their order */
    struct lunette_event ev[16];
    unsigned n;
} heard;

static void
on_event(void *user, const struct lunette_event *ev)
{
    struct heard *h = user;

    assert_true(h->n < sizeof(h->ev) / sizeof(h->ev[0]));
    h->ev[h->n++] = *ev;
}

static void
hear(void)
{
    memset(&heard, 0, sizeof(heard));
    assert_int_equal(lunette_ctx_set_events(p.ctx, on_event, &heard), 0);
}

static void
session_state(enum ipc_session_state state)
{
    struct iscsi_kevent ev = {.type = ISCSI_KEVENT_SESSION_STATE, .sid = SID};

    ev.u.session_state.state = state;
    if (state != IPC_SESSION_RUNNING)
        (void)lunette_fail(&ev.u.session_state.why, -ENOTCONN, LUNETTE_DOM_CONNECT, 0, "gone");
    p.ipc.ev->event(p.ipc.ev_user, &ev, NULL);
}

/* Requests to take what is left of a connection out of the data plane are answered. */
static void
answer_requests(void)
{
    while (p.requests > 0) {
        struct iscsi_reply rep = {.type = p.asked.type, .seq = p.asked.seq, .sid = SID};

        p.requests = 0;
        p.ipc.ev->reply(p.ipc.ev_user, &rep);
    }
}

/* One after the other, with what the login layer does in between; then the session is closed. */
static void
test_events_of_a_session(void **state)
{
    struct lunette_session_info si = LUNETTE_INIT(si);
    const struct portal there = {.host = "192.0.2.2", .port = 3261};
    struct lunette_conn_info conn = LUNETTE_INIT(conn);
    struct lunette_session *session;
    struct lunette_error why;

    (void)state;
    program_start();
    hear();
    open_lun(0);
    session = lunette_lun_session(p.lun);
    p.requests = 0;
    session_state(IPC_SESSION_BLOCKED);
    connection_lost("the cable was pulled");
    answer_requests();
    fake_turn(&p.f.loop);
    assert_int_equal(heard.n, 2);
    assert_int_equal(heard.ev[0].type, LUNETTE_EVENT_CONN_LOST);
    assert_int_equal(heard.ev[0].give_up_ms, 120000);
    assert_string_equal(heard.ev[0].why, "the cable was pulled");
    assert_ptr_equal(heard.ev[0].session, session);
    assert_int_equal(heard.ev[1].type, LUNETTE_EVENT_REOPENING);
    assert_int_equal(lunette_session_get_conn(session, 0, &conn), 0);
    assert_int_equal(conn.state, LUNETTE_CONN_LOST);
    (void)lunette_session_get_info(session, &si);
    assert_int_equal(si.state, LUNETTE_SESSION_BLOCKED);
    assert_int_equal(si.error, -ENOTCONN);
    assert_string_equal(si.error_text, "the cable was pulled");

    fake_advance(&p.f.loop, SEC(10));
    assert_int_equal(fake_login.logins, 2);
    assert_int_equal(fake_login.cfg.kind, LOGIN_REOPEN);
    assert_int_equal(fake_login.cfg.replacement_timeout_s, 120);
    (void)lunette_session_get_conn(session, 0, &conn);
    assert_int_equal(conn.state, LUNETTE_CONN_LOGIN);
    (void)lunette_fail(&why, -ECONNREFUSED, LUNETTE_DOM_CONNECT, ECONNREFUSED, "nobody there");
    fake_login_done(NULL, 0, &why);
    session_state(IPC_SESSION_FAILED);
    session_state(IPC_SESSION_FAILED); /* told once */
    fake_turn(&p.f.loop);
    assert_int_equal(heard.n, 4);
    assert_int_equal(heard.ev[2].type, LUNETTE_EVENT_REOPENING);
    assert_int_equal(heard.ev[2].attempt, 2);
    assert_int_equal(heard.ev[2].err, -ECONNREFUSED);
    assert_int_equal(heard.ev[3].type, LUNETTE_EVENT_TIMED_OUT);
    assert_int_equal(heard.ev[3].give_up_ms, 0);
    (void)lunette_session_get_info(session, &si);
    assert_int_equal(si.state, LUNETTE_SESSION_FAILED);
    assert_true(si.attempt == 2 && si.next_try_ms > 0 && si.give_up_ms == 0);

    assert_int_equal(lunette_session_reopen_now(session), 0);
    fake_advance(&p.f.loop, SEC(10));
    assert_int_equal(lunette_session_reopen_now(session), -EALREADY);
    fake_login_done(&there, 1, NULL);
    fake_turn(&p.f.loop);
    assert_int_equal(heard.n, 5);
    assert_int_equal(heard.ev[4].type, LUNETTE_EVENT_RECOVERED);
    assert_true(heard.ev[4].down_ms >= 10000);
    (void)lunette_session_get_info(session, &si);
    assert_int_equal(si.state, LUNETTE_SESSION_LOGGED_IN);
    assert_int_equal(si.reopens, 1);
    assert_string_equal(si.portal, "192.0.2.2:3261");
    assert_string_equal(si.error_text, "the cable was pulled");
    assert_true(si.down_ms == 0 && si.attempt == 0);
    lunette_close(p.lun);
    program_end();
}

/* A target that refuses for good ends the session after as many tries as the user wants. */
static void
test_gone_for_good(void **state)
{
    struct lunette_timeouts t = LUNETTE_INIT(t);
    struct lunette_session_info si = LUNETTE_INIT(si);
    struct lunette_session *session;
    struct lunette_lun *other = NULL;
    struct lunette_error why;
    uint8_t buf[512];

    (void)state;
    program_start();
    hear();
    open_lun(0);
    session = lunette_lun_session(p.lun);
    assert_int_equal(lunette_session_get_timeouts(session, &t), 0);
    t.reopen_max = 2;
    assert_int_equal(lunette_session_set_timeouts(session, &t, &p.err), 0);
    p.requests = 0;
    connection_lost("the cable was pulled");
    answer_requests();
    (void)lunette_fail(&why, -EACCES, LUNETTE_DOM_LOGIN, 0x0201, "who are you");
    for (int i = 0; i < 2; i++) {
        fake_advance(&p.f.loop, SEC(20));
        assert_true(fake_login.login_there);
        fake_login_done(NULL, 0, &why);
    }
    session_state(IPC_SESSION_FAILED); /* is no time that is over */
    fh_state(&p.f, SCSI_HOST_GONE);
    answer_requests();
    fake_turn(&p.f.loop);
    assert_int_equal(heard.ev[heard.n - 1].type, LUNETTE_EVENT_GONE);
    assert_string_equal(heard.ev[heard.n - 1].why, "who are you");
    for (unsigned i = 0; i < heard.n; i++)
        assert_int_not_equal(heard.ev[i].type, LUNETTE_EVENT_TIMED_OUT);
    (void)lunette_session_get_info(session, &si);
    assert_int_equal(si.state, LUNETTE_SESSION_GONE);
    assert_int_equal(lunette_pread(p.lun, buf, sizeof(buf), 0, &p.err), -ENOTCONN);
    assert_string_equal(p.err.msg, "read: the session is gone: who are you");
    assert_int_equal(lunette_session_reopen_now(session), -ENOTCONN);
    assert_int_equal(lunette_session_set_timeouts(session, &t, &p.err), -ENOTCONN);
    assert_int_equal(lunette_session_lun(session, 1, 0, &other, &p.err), -EACCES);
    lunette_close(p.lun);
    assert_true(fake_login.logout_cfg.skip_request);
    program_end();
}

/* The data plane is told of what changes, and of nothing else; what comes later has it, too. */
static void
test_time_limits(void **state)
{
    struct {
        struct lunette_timeouts s;
        uint64_t more;
    } t = {.s = {.struct_size = sizeof(t)}};
    struct lunette_session *session;

    (void)state;
    program_start();
    open_lun(0);
    session = lunette_lun_session(p.lun);
    assert_int_equal(lunette_session_get_timeouts(session, &t.s), 0);
    assert_int_equal(t.s.replacement_s, 120);
    assert_int_equal(t.s.command_ms, 30000);
    assert_int_equal(t.more, 0);
    p.requests = 0;
    assert_int_equal(lunette_session_set_timeouts(session, &t.s, &p.err), 0);
    assert_int_equal(p.requests, 0);
    t.s.replacement_s = -1;
    assert_int_equal(lunette_session_set_timeouts(session, &t.s, &p.err), 0);
    assert_int_equal(p.requests, 1);
    assert_int_equal(p.asked.type, ISCSI_UEVENT_SET_PARAM);
    assert_int_equal(p.asked.u.set_param.param, ISCSI_PARAM_RECOVERY_TMO);
    assert_string_equal(p.asked.u.set_param.value, "-1");
    answer_requests();
    t.s.noop_timeout_ms = 1234;
    assert_int_equal(lunette_session_set_timeouts(session, &t.s, &p.err), 0);
    assert_int_equal(p.asked.u.set_param.param, ISCSI_PARAM_PING_TIMEOUT_MS);
    assert_string_equal(p.asked.u.set_param.value, "1234");
    answer_requests();
    t.more = 1;
    assert_int_equal(lunette_session_set_timeouts(session, &t.s, &p.err), -E2BIG);
    t.s.struct_size = 3;
    assert_int_equal(lunette_session_set_timeouts(session, &t.s, &p.err), -EINVAL);
    assert_int_equal(lunette_session_get_timeouts(session, &t.s), -EINVAL);
    lunette_close(p.lun);
    program_end();
}

/* What the midlayer tells of a unit comes with its handle, once the program has it. */
/* Memory is the data plane's business, and the words for what carries a session are, too. */
static void
test_memory_and_carrier(void **state)
{
    struct lunette_session_info si = LUNETTE_INIT(si);
    struct lunette_conn_info conn = LUNETTE_INIT(conn);
    struct lunette_error err = LUNETTE_INIT(err), odd = {.struct_size = 7};
    char memory[16];

    (void)state;
    program_start();
    open_lun(0);
    assert_int_equal(lunette_register(p.ctx, memory, 13, &err), -ENOMEM);
    assert_string_equal(err.msg, "unlucky");
    assert_int_equal(lunette_register(p.ctx, memory, 16, &odd), -EINVAL);
    assert_null(p.known);
    assert_int_equal(lunette_register(p.ctx, memory, 16, &err), 0);
    assert_ptr_equal(p.known, memory);
    assert_int_equal(lunette_unregister(p.ctx, memory + 1, &err), -ENOENT);
    assert_int_equal(lunette_unregister(p.ctx, memory, NULL), 0);
    assert_null(p.known);
    (void)lunette_get_session_info(p.lun, &si);
    assert_string_equal(si.transport, "fake");
    assert_int_equal(lunette_session_get_conn(lunette_lun_session(p.lun), 0, &conn), 0);
    assert_string_equal(conn.carrier, "a fake");
    lunette_close(p.lun);
    program_end();
}

static void
test_events_of_a_unit(void **state)
{
    struct lunette_info info = LUNETTE_INIT(info);
    uint8_t buf[512];

    (void)state;
    program_start();
    hear();
    open_lun(0);
    assert_int_equal(heard.n, 0);
    p.f.luns[0].cap.blocks += 8;
    fh_script(&p.f, (struct answer){.op = ANY_OP,
                                    .sub = ANY_OP,
                                    .lun = ANY_OP,
                                    .times = 1,
                                    .status = SCSI_CHECK_CONDITION,
                                    .key = SENSE_UNIT_ATTENTION,
                                    .asc = 0x2a,
                                    .ascq = 0x09});
    assert_int_equal(lunette_pread(p.lun, buf, sizeof(buf), 0, &p.err), 0);
    fake_advance(&p.f.loop, SEC(1));
    assert_int_equal(heard.n, 1);
    assert_int_equal(heard.ev[0].type, LUNETTE_EVENT_CAPACITY);
    assert_ptr_equal(heard.ev[0].lun, p.lun);
    assert_ptr_equal(heard.ev[0].session, lunette_lun_session(p.lun));
    assert_string_equal(heard.ev[0].why, "LUN 0 has 536875008 bytes now");
    (void)lunette_get_info(p.lun, &info);
    assert_int_equal(info.size, 536875008);
    lunette_close(p.lun);
    program_end();
}

static void
on_session(void *user, struct lunette_session *s, const struct lunette_error *err)
{
    struct lunette_session **ret = user;

    assert_true((s == NULL) == (err != NULL));
    *ret = s;
    p.opened++;
}

/* Two units of one session: one login, one logout, and each has its own end. */
static void
test_two_units_of_a_session(void **state)
{
    struct lunette_session *session = NULL;
    struct lunette_lun *one, *two;

    (void)state;
    program_start();
    (void)fh_add(&p.f, 1, 1);
    assert_int_equal(lunette_session_open_start(p.ctx, URL, 0, on_session, &session, &p.op, &p.err),
                     0);
    log_in(NULL);
    assert_int_equal(p.opened, 1);
    assert_int_equal(lunette_session_lun_start(session, 0, 0, on_opened, &p, NULL, &p.err), 0);
    assert_int_equal(lunette_session_lun_start(session, 0, 0, on_opened, &p, NULL, &p.err), -EBUSY);
    fake_advance(&p.f.loop, SEC(200));
    one = p.lun;
    assert_int_equal(
        lunette_session_lun_start(session, 1, LUNETTE_OPEN_RDONLY, on_opened, &p, NULL, &p.err), 0);
    fake_advance(&p.f.loop, SEC(200));
    two = p.lun;
    assert_true(one != NULL && two != NULL && one != two);
    assert_ptr_equal(lunette_lun_session(one), session);
    assert_ptr_equal(lunette_lun_session(two), session);
    lunette_close(one);
    assert_int_equal(fake_login.logouts, 0);
    /* an opening that is given up leaves the session alone */
    assert_int_equal(lunette_session_lun_start(session, 0, 0, on_opened, &p, &p.op, &p.err), 0);
    p.opened = 0;
    lunette_open_cancel(p.op);
    fake_advance(&p.f.loop, SEC(10));
    assert_int_equal(p.opened, 0);
    assert_int_equal(fake_login.logouts, 0);
    lunette_close_start(two, on_closed, &p);
    lunette_session_close_start(session, on_closed, &p);
    assert_int_equal(fake_login.logouts, 0); /* not before the unit has been flushed */
    for (int i = 0; i < 10 && p.closed < 2; i++)
        (void)run_loop(NULL, 0);
    assert_int_equal(p.closed, 2);
    assert_int_equal(fake_login.logins, 1);
    assert_int_equal(fake_login.logouts, 1);
    program_end();
}

/* More openings than the gate lets in: the rest wait for their turn, and may be given up there. */
static void
test_the_gate(void **state)
{
    struct lunette_session *session = NULL;
    struct lunette_open *op = NULL;
    struct lunette_error why;

    (void)state;
    program_start();
    login_gate_set_max(&p.ctx->gate, 1);
    open_begin(0);
    assert_int_equal(fake_login.logins, 1);
    assert_int_equal(lunette_session_open_start(p.ctx, URL, 0, on_session, &session, &op, &p.err),
                     0);
    lunette_open_cancel(op);
    assert_int_equal(lunette_session_open_start(p.ctx, URL, 0, on_session, &session, &op, &p.err),
                     0);
    assert_int_equal(
        lunette_session_open_start(p.ctx, URL "?isid=0", 0, on_session, &session, NULL, &p.err),
        -EINVAL); /* told at once, all the same */
    fake_turn(&p.f.loop);
    assert_int_equal(fake_login.logins, 1);
    (void)lunette_fail(&why, -EACCES, LUNETTE_DOM_LOGIN, 0x0201, "the target says no");
    log_in(&why);
    assert_int_equal(fake_login.logins, 2);
    log_in(NULL);
    assert_non_null(session);
    assert_int_equal(p.opened, 2);
    lunette_session_close(session);
    program_end();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_unit_opens_and_closes),
        cmocka_unit_test(test_a_closing_that_cannot_be_waited_for),
        cmocka_unit_test(test_a_target_that_bends),
        cmocka_unit_test(test_a_login_that_is_refused),
        cmocka_unit_test(test_one_name),
        cmocka_unit_test(test_openings_that_fail_behind_the_login),
        cmocka_unit_test(test_what_is_no_disk_takes_raw_commands),
        cmocka_unit_test(test_the_reason_behind_the_reason),
        cmocka_unit_test(test_the_target_asks_for_a_logout),
        cmocka_unit_test(test_pings),
        cmocka_unit_test(test_an_opening_is_canceled),
        cmocka_unit_test(test_a_logout_that_cannot_begin),
        cmocka_unit_test(test_the_logout_it_asked_for_fails),
        cmocka_unit_test(test_a_login_that_cannot_begin),
        cmocka_unit_test(test_flags_that_nobody_knows),
        cmocka_unit_test(test_structures_of_other_sizes),
        cmocka_unit_test(test_completions_of_other_sizes),
        cmocka_unit_test(test_no_url),
        cmocka_unit_test(test_errors_of_other_sizes),
        cmocka_unit_test(test_a_copied_error),
        cmocka_unit_test(test_options_of_other_sizes),
        cmocka_unit_test(test_events_of_a_session),
        cmocka_unit_test(test_gone_for_good),
        cmocka_unit_test(test_time_limits),
        cmocka_unit_test(test_memory_and_carrier),
        cmocka_unit_test(test_events_of_a_unit),
        cmocka_unit_test(test_two_units_of_a_session),
        cmocka_unit_test(test_the_gate),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
