/* SPDX-License-Identifier: MIT */
/* tests/conformance/group_connect.c - groups "connect" and "login": how a session begins, and how
 * it does not. */
#include "tests/conformance/conformance.h"

/* ---- connect --------------------------------------------------------------------------------- */

struct opening {
    struct lunette_open *op;
    struct lunette_lun *lun;
    struct lunette_error err;
    unsigned done;
};

static void
opened(void *user, struct lunette_lun *lun, const struct lunette_error *err)
{
    struct opening *o = user;

    o->done++;
    o->lun = lun;
    if (err != NULL)
        o->err = *err;
}

static void
begin(struct conform_world *w, struct opening *o, const char *url)
{
    struct lunette_error err = LUNETTE_INIT(err);

    memset(o, 0, sizeof(*o));
    CONFORM_OK(lunette_open_start(w->ctx, url, 0, opened, o, &o->op, &err), err);
}

/* The opening has ended well: the unit is used and closed. */
static void
use(struct conform_world *w, struct opening *o)
{
    struct lunette_session_info info = LUNETTE_INIT(info);
    struct lunette_conn_info conn = LUNETTE_INIT(conn);
    struct lunette_error err = LUNETTE_INIT(err);
    uint8_t buf[CONFORM_BLOCK];

    CONFORM_UNTIL(w, o->done > 0);
    if (o->lun == NULL)
        fail_msg("%s", o->err.msg);
    CONFORM_OK(lunette_pread(o->lun, buf, sizeof(buf), 0, &err), err);
    assert_memory_equal(buf, w->disk, sizeof(buf));
    assert_int_equal(lunette_get_session_info(o->lun, &info), 0);
    assert_string_equal(info.transport, conform_tt->name);
    assert_int_equal(lunette_session_get_conn(lunette_lun_session(o->lun), 0, &conn), 0);
    assert_int_equal(conn.carrier[0] == '\0', conform_tt->describe == NULL);
    lunette_close(o->lun);
    assert_int_equal(o->done, 1);
}

/* It has not: nothing came of it, and err says why. */
static void
fails(struct conform_world *w, const char *url, int code, enum lunette_domain domain)
{
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_lun *lun = NULL;

    assert_int_equal(lunette_open(w->ctx, url, 0, &lun, &err), code);
    assert_null(lun);
    assert_int_equal(err.code, code);
    assert_int_equal(err.domain, domain);
    assert_true(strlen(err.msg) > 10);
}

static void
refused(struct conform_world *w)
{
    struct sock_addr at;
    struct opening o;

    w->row->net->nobody(w, &at);
    fails(w, conform_url(w, &at, ""), -ECONNREFUSED, LUNETTE_DOM_CONNECT);
    begin(w, &o, conform_url(w, &at, ""));
    lunette_open_cancel(o.op);
    conform_wait_ms(w, 20);
    assert_int_equal(o.done, 0);
    conform_path_refuse(w->path, true);
    begin(w, &o, conform_url(w, &w->portal, "login_timeout=2000"));
    CONFORM_UNTIL(w, o.done > 0);
    assert_null(o.lun);
    assert_true(o.err.code < 0);
    conform_path_refuse(w->path, false);
    begin(w, &o, conform_url(w, &w->portal, ""));
    use(w, &o);
}

static void
black_holed(struct conform_world *w)
{
    struct sock_addr at;
    struct opening o;
    uint64_t from;

    w->row->net->silent(w, &at);
    from = w->loop->now_ns;
    if (conform_by_itself()) /* how long it tries to connect is its own */
        fails(w, conform_url(w, &at, "login_timeout=150"), -ETIMEDOUT, LUNETTE_DOM_TIMEOUT);
    else
        fails(w, conform_url(w, &at, "connect_timeout=150"), -ETIMEDOUT, LUNETTE_DOM_CONNECT);
    assert_true(w->loop->now_ns - from >= 150 * CONFORM_MS);
    begin(w, &o, conform_url(w, &at, ""));
    conform_wait_ms(w, 20);
    assert_int_equal(o.done, 0);
    lunette_open_cancel(o.op);
    conform_wait_ms(w, 20);
    assert_int_equal(o.done, 0);
}

/* The portal answers after a while, and so does whoever is behind it. */
static void
slow(struct conform_world *w)
{
    struct sock_addr at;
    struct opening o;

    w->row->net->silent(w, &at);
    begin(w, &o, conform_url(w, &at, ""));
    conform_wait_ms(w, 20);
    assert_int_equal(o.done, 0);
    w->row->net->speak(w);
    use(w, &o);

    conform_path_hold(w->path, CONFORM_TO_INITIATOR, true);
    begin(w, &o, conform_url(w, &w->portal, ""));
    CONFORM_UNTIL(w, conform_path_counts(w->path)->pdus[ISCSI_OP_LOGIN_REQ] > 0);
    conform_wait_ms(w, 20);
    assert_int_equal(o.done, 0);
    conform_path_hold(w->path, CONFORM_TO_INITIATOR, false);
    use(w, &o);
}

/* There is somebody who takes the connection and says nothing. */
static void
mute(struct conform_world *w)
{
    struct target_faults f = {.mute_login = true};
    struct opening o;

    target_set_faults(w->target, &f);
    fails(w, conform_url(w, &w->portal, "login_timeout=150"), -ETIMEDOUT, LUNETTE_DOM_TIMEOUT);
    target_set_faults(w->target, NULL);
    begin(w, &o, conform_url(w, &w->portal, ""));
    use(w, &o);
}

/* The connection is there, and nobody has it. */
static void
stuck(struct conform_world *w)
{
    struct sock_addr at;

    if (w->row->net->stuck == NULL)
        return;
    w->row->net->stuck(w, &at);
    fails(w, conform_url(w, &at, "login_timeout=150"), -ETIMEDOUT, LUNETTE_DOM_TIMEOUT);
}

void
conform_group_connect(void)
{
    static void (*const cases[])(struct conform_world * w) = {refused, black_holed, slow, mute,
                                                              stuck};
    struct conform_world w;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        conform_open(&w, NULL);
        cases[i](&w);
        conform_close(&w);
    }
}

/* ---- login ----------------------------------------------------------------------------------- */

static void
logs_in(const struct conform_setup *setup, const char *auth)
{
    struct lunette_session_info info = LUNETTE_INIT(info);
    struct target_stats st;
    struct conform_world w;
    struct lunette_lun *lun;

    conform_open(&w, setup);
    lun = conform_lun(&w);
    assert_int_equal(lunette_get_session_info(lun, &info), 0);
    assert_int_equal(info.state, LUNETTE_SESSION_LOGGED_IN);
    if (!conform_by_itself()) { /* else nobody but the adapter knows */
        assert_string_equal(info.auth_method, auth);
        assert_int_equal(info.header_digest, w.setup.digests);
        assert_int_equal(info.data_digest, w.setup.digests);
    }
    target_stats(w.target, &st);
    assert_int_equal(st.logins, 1);
    lunette_close(lun);
    conform_close(&w);
}

static void
wrong_secret(void)
{
    struct conform_setup setup = {.chap = true};
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_lun *lun = NULL;
    struct conform_world w;

    conform_open(&w, &setup);
    w.secret[0] = "b-secret-of-ours";
    assert_true(lunette_open(w.ctx, conform_url(&w, &w.portal, ""), 0, &lun, &err) < 0);
    assert_int_equal(err.domain, LUNETTE_DOM_LOGIN);
    assert_int_equal(err.detail, ISCSI_LOGIN_AUTH_FAILED);
    assert_null(strstr(err.msg, "secret-of-ours"));
    w.secret[0] = "a-secret-of-ours";
    w.secret[1] = "bnother-secret-1"; /* the target's own is another one than we know */
    assert_true(lunette_open(w.ctx, conform_url(&w, &w.portal, ""), 0, &lun, &err) < 0);
    assert_int_equal(err.domain, LUNETTE_DOM_LOGIN);
    assert_null(lun);
    conform_close(&w);
}

static void
redirected(bool permanent)
{
    struct lunette_session_info info = LUNETTE_INIT(info);
    struct lunette_error err = LUNETTE_INIT(err);
    struct conform_path *other = NULL;
    struct sock_addr target_other, at;
    struct conform_world w;
    struct lunette_lun *lun;
    char text[64];

    conform_open(&w, NULL);
    w.row->net->address(&w, &target_other);
    CONFORM_OK(conform_target_listen(&w, &target_other, &err), err);
    CONFORM_OK(target_redirect(w.target, CONFORM_NODE,
                               sock_addr_format(&target_other, text, sizeof(text)), permanent,
                               &err),
               err);
    lun = conform_lun(&w);
    assert_int_equal(lunette_get_session_info(lun, &info), 0);
    if (!conform_by_itself())
        assert_string_equal(info.portal, text);
    CONFORM_UNTIL(&w, conform_path_links(w.path) == 0); /* the first connection is gone */
    lunette_close(lun);
    conform_forget(&w);
    w.row->net->address(&w, &at);
    assert_int_equal(conform_path_new(w.row->net->path, w.loop, &at, -1, &w.target_at, &other, &at),
                     0);
    CONFORM_OK(target_redirect(w.target, CONFORM_NODE, sock_addr_format(&at, text, sizeof(text)),
                               permanent, &err),
               err);
    /* It is sent to where it is sent on to the same place. */
    assert_true(lunette_open(w.ctx, conform_url(&w, &w.portal, ""), 0, &lun, &err) < 0);
    assert_int_equal(err.domain, LUNETTE_DOM_LOGIN);
    CONFORM_UNTIL(&w, conform_path_links(other) == 0);
    conform_path_free(other);
    conform_close(&w);
}

/* A target that cannot serve us now is asked again, and one that will not is not. */
static void
refused_for_now(void)
{
    struct target_faults f = {.refuse_login = ISCSI_LOGIN_UNAVAILABLE};
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_lun *lun = NULL;
    struct conform_world w;

    conform_open(&w, NULL);
    target_set_faults(w.target, &f);
    assert_true(lunette_open(w.ctx, conform_url(&w, &w.portal, "login_retries=1"), 0, &lun, &err) <
                0);
    assert_int_equal(err.detail, ISCSI_LOGIN_UNAVAILABLE);
    if (!conform_by_itself()) /* else it tries as often as it likes */
        assert_int_equal(conform_path_counts(w.path)->links, 2);
    f.refuse_login = ISCSI_LOGIN_NOT_FOUND;
    target_set_faults(w.target, &f);
    assert_true(lunette_open(w.ctx, w.url, 0, &lun, &err) < 0);
    assert_int_equal(err.detail, ISCSI_LOGIN_NOT_FOUND);
    if (!conform_by_itself())
        assert_int_equal(conform_path_counts(w.path)->links, 3);
    target_set_faults(w.target, NULL);
    lun = conform_lun(&w);
    lunette_close(lun);
    conform_close(&w);
}

void
conform_group_login(void)
{
    static const uint32_t digests = CAP_HDRDGST | CAP_DATADGST;
    const struct conform_setup plain = {0}, chap = {.chap = true},
                               both = {.chap = true, .digests = true};

    logs_in(&plain, "None");
    logs_in(&chap, "CHAP mutual");
    if ((conform_tt->caps & digests) == digests)
        logs_in(&both, "CHAP mutual");
    wrong_secret();
    redirected(false);
    redirected(true);
    refused_for_now();
}
