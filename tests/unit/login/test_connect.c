/* SPDX-License-Identifier: MIT */
/* Connecting, redirection, time limits, cancel and failure at every step, random delays, and
 * responses mutated by seed.  CONFORMANCE ids in brackets. */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "login/task.h"
#include "tests/test.h"
#include "tests/unit/login/fake.h"

#define END                                                                                        \
    {                                                                                              \
        NULL, NULL                                                                                 \
    }
#define SEC                                                                                        \
    {                                                                                              \
        "AuthMethod=None T CSG0", "AuthMethod=None TargetPortalGroupTag=1"                         \
    }
#define OPER                                                                                       \
    {                                                                                              \
        "CSG1 T", "@answer"                                                                        \
    }

static const struct step plain[] = {SEC, OPER, END};

static void
check_tidy(struct world *w)
{
    assert_true(ctl_idle(w->ctl));
    assert_int_equal(w->sessions_made, w->sessions_gone);
    assert_int_equal(w->open_fds, 0);
    assert_int_equal(w->open_eps, 0);
    assert_int_equal(w->open_streams, 0);
    for (int i = 0; i < w->nconn; i++)
        assert_false(w->conn[i].there);
}

static struct world *
new_plain(uint64_t seed, struct login_config *cfg)
{
    struct world *w = world_new(seed);

    world_config(w, cfg);
    w->scripts[0] = plain;
    w->nscripts = 1;
    return w;
}

static void
end_failed(struct world *w, enum lunette_domain dom, uint32_t detail, const char *text)
{
    if (w->err.code == 0)
        fail_msg("logged in, expected \"%s\"", text);
    if (strstr(w->err.msg, text) == NULL)
        fail_msg("\"%s\" should hold \"%s\"", w->err.msg, text);
    assert_int_equal(w->err.domain, dom);
    assert_int_equal(w->err.detail, detail);
    check_tidy(w);
    world_free(w);
}

/* The transport connects by itself. */
static void
own_endpoints(struct login_config *cfg)
{
    (void)strcpy(cfg->transport, "own");
}

/* Each address in turn, for both kinds of transport. */
static void
addresses(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct login_config cfg;
        struct world *w = new_plain(seed, &cfg);

        if (seed % 2 != 0)
            own_endpoints(&cfg);
        (void)strcpy(cfg.portal.host, "multi");
        world_login(w, &cfg);
        assert_int_equal(w->err.code, 0);
        assert_int_equal(w->nconnects, 3);
        assert_int_equal(w->connected_to[2], 1);
        assert_true(w->l.now_ns >= 5 * LOOP_NS_PER_S); /* a third of 15 s for the silent one */
        assert_true(w->l.now_ns < 7 * LOOP_NS_PER_S);
        assert_int_equal(w->open_eps, seed % 2);
        /* Each endpoint is asked once at most: the rest is told by events.  One that has failed is
         * asked why. */
        assert_int_equal(w->requests[ISCSI_UEVENT_TRANSPORT_EP_CONNECT], seed % 2 != 0 ? 3 : 0);
        assert_true(w->requests[ISCSI_UEVENT_TRANSPORT_EP_POLL] <= 4);
        world_logout(w);
        check_tidy(w);
        world_free(w);
    }
}

/* An endpoint that is up before it is watched: the one EP_POLL sees it. */
static void
endpoint_event_missed(void **state)
{
    unsigned up = 0;

    (void)state;
    for (uint64_t seed = 1; seed < 41; seed++) {
        struct login_config cfg;
        struct world *w = new_plain(seed, &cfg);

        own_endpoints(&cfg);
        w->no_ep_events = true;
        world_login(w, &cfg);
        assert_int_equal(w->requests[ISCSI_UEVENT_TRANSPORT_EP_POLL], 1);
        if (w->err.code == 0) {
            up++;
            world_logout(w);
        } else {
            assert_int_equal(w->err.domain, LUNETTE_DOM_CONNECT);
            assert_int_equal(w->err.detail, ETIMEDOUT);
        }
        check_tidy(w);
        world_free(w);
    }
    assert_true(up > 10 && up < 40);
}

/* What the data plane says of the transport decides, before anything is connected. */
static void
transport_asked_first(void **state)
{
    struct login_config cfg;
    struct world *w = new_plain(1, &cfg);

    (void)state;
    (void)strcpy(cfg.transport, "pigeon");
    world_login(w, &cfg);
    assert_int_equal(w->nconnects, 0);
    assert_int_equal(w->err.code, -ENOENT);
    end_failed(w, LUNETTE_DOM_OS, ENOENT, "refused");

    w = new_plain(1, &cfg);
    w->caps &= ~(uint32_t)CAP_DATADGST;
    (void)strcpy(cfg.data_digest, "CRC32C");
    world_login(w, &cfg);
    assert_int_equal(w->nconnects, 0);
    assert_int_equal(w->err.code, -EINVAL);
    end_failed(w, LUNETTE_DOM_USAGE, 0, "DataDigest: this transport cannot do CRC32C");
}

static void
no_connection(void **state)
{
    static const struct {
        const char *host;
        uint32_t detail;
        const char *text;
    } t[] = {
        {"nohost", ENOENT, "nohost"},
        {"fe80::1%nope", ENOENT, "no interface of the name"},
        {"fe80::1", EINVAL, "needs the interface behind it"},
        {"slow", ETIMEDOUT, "slow"},
        {"10.0.0.100", ECONNREFUSED, "refused"},
        {"10.0.0.200", ETIMEDOUT, "no answer in time"},
    };
    const size_t count = sizeof(t) / sizeof(t[0]);

    (void)state;
    for (size_t i = 0; i < 2 * count; i++) {
        struct login_config cfg;
        struct world *w = new_plain(i, &cfg);

        if (i >= count)
            own_endpoints(&cfg);
        (void)strcpy(cfg.portal.host, t[i % count].host);
        world_login(w, &cfg);
        assert_true(login_error_retryable(&w->err));
        assert_true(w->l.now_ns <= 16 * LOOP_NS_PER_S);
        end_failed(w, LUNETTE_DOM_CONNECT, t[i % count].detail, t[i % count].text);
    }
}

/* An endpoint's own sentence is told, whether its event comes before or after it was asked. */
static void
endpoint_says_why(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct login_config cfg;
        struct world *w = new_plain(seed, &cfg);

        own_endpoints(&cfg);
        w->ep_why = "nobody listens there for RDMA";
        (void)strcpy(cfg.portal.host, "10.0.0.100");
        world_login(w, &cfg);
        end_failed(w, LUNETTE_DOM_CONNECT, ECONNREFUSED, w->ep_why);
    }
}

/* What a login is bound to reaches the socket, and what keeps it from that is said. */
static void
bound(void **state)
{
    static const struct {
        int err;
        bool device, source;
        const char *text;
    } t[] = {
        {ENODEV, true, false, "no network device eth7, to which"},
        {EPERM, true, false, "Linux 5.7"},
        {EADDRNOTAVAIL, false, true, "does not have the address"},
        {EAFNOSUPPORT, false, true, "IPv4 and IPv6 do not mix"},
        {EADDRNOTAVAIL, false, false, "assign requested address"},
    };
    struct login_config cfg;
    struct world *w = new_plain(1, &cfg);

    (void)state;
    (void)strcpy(cfg.sock.device, "eth7");
    cfg.sock.source.len = sizeof(struct sockaddr_in);
    world_login(w, &cfg);
    assert_int_equal(w->err.code, 0);
    assert_string_equal(w->connected_with.device, "eth7");
    assert_int_equal(w->connected_with.source.len, sizeof(struct sockaddr_in));
    world_logout(w);
    check_tidy(w);
    world_free(w);

    w = new_plain(2, &cfg);
    own_endpoints(&cfg);
    (void)strcpy(cfg.sock.device, "eth7");
    world_login(w, &cfg);
    end_failed(w, LUNETTE_DOM_USAGE, 0, "cannot be bound to a network device");

    /* The data plane is told of the address. */
    w = new_plain(3, &cfg);
    own_endpoints(&cfg);
    cfg.sock.source.len = sizeof(struct sockaddr_in);
    world_login(w, &cfg);
    assert_int_equal(w->err.code, 0);
    assert_int_equal(w->ep_source.len, sizeof(struct sockaddr_in));
    world_logout(w);
    check_tidy(w);
    world_free(w);

    for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        w = new_plain(i, &cfg);
        w->connect_err = -t[i].err;
        (void)strcpy(cfg.sock.device, t[i].device ? "eth7" : "");
        cfg.sock.source.len = t[i].source ? sizeof(struct sockaddr_in) : 0;
        world_login(w, &cfg);
        assert_true(login_error_retryable(&w->err));
        end_failed(w, LUNETTE_DOM_CONNECT, (uint32_t)t[i].err, t[i].text);
    }
}

/* ---- redirection --------------------------------------------------------------------------- */

static struct world *
redirected(const struct step *const *scripts, int n, struct login_config *cfg)
{
    struct world *w = world_new((uint64_t)n);

    world_config(w, cfg);
    for (int i = 0; i < n; i++)
        w->scripts[i] = scripts[i];
    w->nscripts = n;
    world_login(w, cfg);
    return w;
}

/* LGN-16, LGN-17: both kinds, before and after security, every form of address. */
static void
redirects(void **state)
{
    static const struct step temp[] = {{"", "@status=0101 TargetAddress=10.0.0.2:3261"}, END};
    static const struct step perm[] = {SEC, {"", "@status=0102 TargetAddress=10.0.0.3"}, END};
    static const struct step unknown[] = {{"", "@status=01ff TargetAddress=10.0.0.5,1"}, END};
    static const struct step two[] = {
        {"", "@status=0101 TargetAddress=10.0.0.9:0 TargetAddress=10.0.0.4 TargetAddress=10.0.0.6"},
        END};
    static const struct step *const a[] = {temp, plain}, *const b[] = {perm, plain},
                                    *const c[] = {perm, temp, plain}, *const d[] = {unknown, plain},
                                    *const e[] = {two, plain}, *const f[] = {temp, perm, plain};
    struct login_config cfg;
    struct world *w;

    (void)state;
#define CASE(scripts, octet, port_, moved_, hops)                                                  \
    do {                                                                                           \
        w = redirected(scripts, sizeof(scripts) / sizeof(scripts[0]), &cfg);                       \
        assert_int_equal(w->err.code, 0);                                                          \
        assert_int_equal(w->connected_to[w->nconnects - 1], octet);                                \
        assert_int_equal(w->res.portal.port, port_);                                               \
        assert_int_equal(w->res.moved, moved_);                                                    \
        assert_int_equal(w->res.redirects, hops);                                                  \
        assert_int_equal(w->sessions_made, (hops) + 1);                                            \
        if (moved_)                                                                                \
            assert_string_equal(w->res.moved_to.host, "10.0.0.3");                                 \
        world_logout(w);                                                                           \
        check_tidy(w);                                                                             \
        world_free(w);                                                                             \
    } while (0)
    CASE(a, 2, 3261, false, 1);
    CASE(b, 3, 3260, true, 1);
    CASE(c, 2, 3261, true, 2);
    CASE(d, 5, 3260, false, 1);
    CASE(e, 4, 3260, false, 1);
    CASE(f, 3, 3260, false, 2); /* what a temporary address says for good is not for us */
}

/* A link-local address is on the link over which it was told. */
static void
redirects_on_a_link(void **state)
{
    static const struct step to2[] = {{"", "@status=0101 TargetAddress=[fe80::2]:3261"}, END};
    struct login_config cfg;
    struct world *w = world_new(1);

    (void)state;
    world_config(w, &cfg);
    (void)strcpy(cfg.portal.host, "fe80::1%lan");
    w->scripts[0] = to2;
    w->scripts[1] = plain;
    w->nscripts = 2;
    world_login(w, &cfg);
    assert_int_equal(w->err.code, 0);
    assert_string_equal(w->res.portal.host, "fe80::2%lan");
    world_logout(w);
    check_tidy(w);
    world_free(w);
}

static void
bad_redirects(void **state)
{
    static const struct step to2[] = {{"", "@status=0101 TargetAddress=10.0.0.2"}, END};
    static const struct step to1[] = {{"", "@status=0101 TargetAddress=10.0.0.1:3260"}, END};
    static const struct step self[] = {{"", "@status=0101 TargetAddress=10.0.0.1"}, END};
    static const struct step nowhere[] = {{"", "@status=0101"}, END};
    static const struct step bad[] = {{"", "@status=0102 TargetAddress=10.0.0.1:0"}, END};
    static const struct step broken[] = {{"", "@status=0102 TargetAddress=10.0.0.9 @nonul"}, END};
    static const struct step *const circle[] = {to2, to1}, *const s[] = {self},
                                    *const n[] = {nowhere}, *const b[] = {bad},
                                    *const k[] = {broken};
    struct login_config cfg;

    (void)state;
    end_failed(redirected(circle, 2, &cfg), LUNETTE_DOM_LOGIN, 0x0101, "circle");
    end_failed(redirected(s, 1, &cfg), LUNETTE_DOM_LOGIN, 0x0101, "circle");
    end_failed(redirected(n, 1, &cfg), LUNETTE_DOM_LOGIN, 0x0101, "where");
    end_failed(redirected(b, 1, &cfg), LUNETTE_DOM_LOGIN, 0x0102, "where");
    end_failed(redirected(k, 1, &cfg), LUNETTE_DOM_PROTO, 4, "");
}

static void
endless_redirects(void **state)
{
    static char say[12][64];
    static struct step steps[12][2];
    struct login_config cfg;
    struct world *w = world_new(1);

    (void)state;
    world_config(w, &cfg);
    for (int i = 0; i < 12; i++) {
        (void)snprintf(say[i], sizeof(say[i]), "@status=0101 TargetAddress=10.0.0.%d", i + 2);
        steps[i][0] = (struct step){"", say[i]};
        w->scripts[i] = steps[i];
    }
    w->nscripts = 12;
    world_login(w, &cfg);
    assert_int_equal(w->nbound, 9);
    end_failed(w, LUNETTE_DOM_LOGIN, 0x0101, "8 hops");
}

/* ---- every step may fail, stall, be late, or be canceled ----------------------------------- */

static void
stalled_config(struct login_config *cfg, int variant)
{
    if (variant & 1)
        own_endpoints(cfg);
}

/* The reply to request n never comes, or comes long after (LGN-18, LGN-19). */
static void
stall_each_request(void **state)
{
    (void)state;
    for (int variant = 0; variant < 4; variant++) {
        for (uint32_t n = 1;; n++) {
            struct login_config cfg;
            struct world *w = new_plain(n, &cfg);

            stalled_config(&cfg, variant);
            w->stall_at = n;
            w->stall = variant & 2 ? STALL_LATE : STALL_FOREVER;
            world_login(w, &cfg);
            if (w->nrequests < n) {
                assert_int_equal(w->err.code, 0);
                w->stall_at = w->refuse_at = w->send_fails_at = 0;
                world_logout(w);
                world_free(w);
                assert_true(n > 25);
                break;
            }
            assert_true(w->err.domain == LUNETTE_DOM_TIMEOUT ||
                        w->err.domain == LUNETTE_DOM_CONNECT);
            assert_non_null(strstr(w->err.msg, "time"));
            if (w->stall == STALL_LATE)
                check_tidy(w); /* tidied up when the late reply came */
            world_free(w);
        }
    }
}

/* Request n is answered with an error, or cannot be sent. */
static void
refuse_each_request(void **state)
{
    (void)state;
    for (int variant = 0; variant < 4; variant++) {
        for (uint32_t n = 1;; n++) {
            struct login_config cfg;
            struct world *w = new_plain(n, &cfg);
            uint32_t made;

            stalled_config(&cfg, variant);
            if (variant & 2)
                w->send_fails_at = n;
            else
                w->refuse_at = n;
            world_login(w, &cfg);
            made = w->nrequests;
            if (made < n) {
                assert_int_equal(w->err.code, 0);
                w->stall_at = w->refuse_at = w->send_fails_at = 0;
                world_logout(w);
                world_free(w);
                assert_true(n > 25);
                break;
            }
            assert_true(w->err.code < 0);
            check_tidy(w);
            world_free(w);
        }
    }
}

/* The target is silent at each Login Request; the connection breaks there. */
static void
silence(void **state)
{
    static const struct step at0[] = {{"", "@silent"}, END};
    static const struct step at1[] = {SEC, {"", "@silent"}, END};
    static const struct step cut0[] = {{"", "@silent @cut"}, END};
    static const struct step cut1[] = {SEC, {"", "@silent @cut"}, END};
    static const struct step cut2[] = {SEC, {"", "@answer @cut"}, END}; /* before START_CONN */
    static const struct step *const all[] = {at0, at1, cut0, cut1, cut2};

    (void)state;
    for (int i = 0; i < 5; i++) {
        struct login_config cfg;
        struct world *w = redirected(&all[i], 1, &cfg);

        if (i < 2)
            end_failed(w, LUNETTE_DOM_TIMEOUT, 30000, "no answer to a Login Request");
        else
            end_failed(w, LUNETTE_DOM_CONNECT, ECONNRESET, "closed");
    }
}

/* Canceled, or freed, after each number of turns. */
static void
cancel_each_step(void **state)
{
    (void)state;
    for (int variant = 0; variant < 8; variant++) {
        bool over = false;

        for (uint32_t turns = 0; !over; turns++) {
            struct login_config cfg;
            struct world *w = new_plain(turns + 1, &cfg);
            struct iscsi_login *l;

            stalled_config(&cfg, variant);
            assert_int_equal(
                login_start(w->ctl, &cfg,
                            &(struct login_callbacks){.done = world_login_done, .user = w}, &l,
                            NULL),
                0);
            for (uint32_t i = 0; i < turns && !w->done; i++)
                assert_true(world_step(w));
            over = w->done;
            if (over) {
                assert_int_equal(w->err.code, 0);
                login_cancel(l); /* harmless */
                login_free(&l);
                world_logout(w);
                world_free(w);
                continue;
            }
            if (variant & 2) {
                login_free(&l);
                assert_null(l);
            } else {
                login_cancel(l);
                login_cancel(l);
                assert_int_equal(w->dones, 0); /* not from inside */
                world_run(w, &w->done);
                assert_int_equal(w->dones, 1);
                assert_int_equal(w->err.code, -ECANCELED);
                login_free(&l);
            }
            if (variant & 4) { /* the ipc goes away while it tidies up */
                for (uint32_t i = 0; i < turns % 5; i++)
                    (void)world_step(w);
                ctl_free(&w->ctl);
                w->open_fds = w->open_eps = 0;
                world_free(w);
                continue;
            }
            world_drain(w);
            assert_int_equal(w->dones, variant & 2 ? 0 : 1);
            check_tidy(w);
            world_free(w);
        }
    }
}

/* ---- adapters that log in by themselves ------------------------------------------------------ */

static struct world *
adapter_world(uint64_t seed, struct login_config *cfg)
{
    struct world *w = new_plain(seed, cfg);

    own_endpoints(cfg);
    w->caps |= CAP_LOGIN_OFFLOAD;
    cfg->abort_timeout_ms = 1234;
    return w;
}

/* No Login Request leaves: the adapter is told who logs in to whom, and tells how it went, perhaps
 * before START_CONN is answered. */
static void
adapter_logs_in(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 101; seed++) {
        struct login_config cfg;
        struct world *w = adapter_world(seed, &cfg);
        const struct fake_conn *c;

        world_login(w, &cfg);
        if (w->err.code < 0)
            fail_msg("%s", w->err.msg);
        assert_int_equal(w->dones, 1);
        assert_int_equal(w->requests[ISCSI_UEVENT_SEND_PDU], 0);
        assert_int_equal(w->requests[ISCSI_UEVENT_START_CONN], 1);
        c = fake_conn(w, w->res.sid, w->res.cid);
        assert_true(c->started);
        assert_string_equal(c->names[ISCSI_PARAM_TARGET_NAME], "iqn.2026-11.org.example:disk");
        assert_string_equal(c->names[ISCSI_PARAM_INITIATOR_NAME], "iqn.2026-11.org.example:host");
        assert_string_equal(c->names[ISCSI_PARAM_PORTAL], "10.0.0.1:3260");
        assert_string_equal(c->names[ISCSI_PARAM_ABORT_TIMEOUT_MS], "1234");
        assert_int_equal(strlen(c->names[ISCSI_PARAM_ISID]), 12);
        assert_string_equal(c->names[ISCSI_PARAM_TSIH], ""); /* it is the adapter's to find out */
        assert_string_equal(c->names[ISCSI_PARAM_MAX_BURST], "");
        world_logout(w);
        check_tidy(w);
        world_free(w);
    }
}

static void
adapter_cannot_log_in(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 41; seed++) {
        struct login_config cfg;
        struct world *w = adapter_world(seed, &cfg);

        w->adapter_fails = "the target refuses the secret of entry 3";
        world_login(w, &cfg);
        end_failed(w, LUNETTE_DOM_LOGIN, 0x0201, "the target refuses the secret of entry 3");
    }
}

static void
adapter_says_nothing(void **state)
{
    struct login_config cfg;
    struct world *w = adapter_world(1, &cfg);

    (void)state;
    w->adapter_silent = true;
    world_login(w, &cfg);
    end_failed(w, LUNETTE_DOM_TIMEOUT, 30000, "the adapter has not logged in");
}

/* The connection breaks, or the login is canceled, at each step of it. */
static void
adapter_is_given_up(void **state)
{
    unsigned failed = 0;
    bool over = false;

    (void)state;
    for (uint32_t turns = 0; !over; turns++) {
        for (int lost = 0; lost < 2; lost++) {
            struct login_config cfg;
            struct world *w = adapter_world(turns + 1, &cfg);
            struct iscsi_login *l;
            struct fake_conn *c;

            assert_int_equal(
                login_start(w->ctl, &cfg,
                            &(struct login_callbacks){.done = world_login_done, .user = w}, &l,
                            NULL),
                0);
            for (uint32_t i = 0; i < turns && !w->done; i++)
                assert_true(world_step(w));
            over = w->done;
            c = w->nconn > 0 ? fake_conn(w, w->conn[0].sid, w->conn[0].cid) : NULL;
            w->gone_is_ok = true;
            if (!over && lost && c != NULL && c->bound)
                fake_lose(w, c, 0, 0);
            else if (!over)
                login_cancel(l);
            world_run(w, &w->done);
            assert_int_equal(w->dones, 1);
            login_free(&l);
            assert_true(lost || over || w->err.code == -ECANCELED);
            failed += w->err.code < 0;
            if (w->err.code == 0) /* it had logged in before the loss was told */
                world_logout(w);
            world_drain(w);
            check_tidy(w);
            world_free(w);
        }
    }
    assert_true(failed > 40);
}

/* Canceled while the data plane is late: done does not wait for it, tidying up does. */
static void
cancel_late(void **state)
{
    struct login_config cfg;
    struct world *w = new_plain(1, &cfg);
    struct iscsi_login *l;

    (void)state;
    w->stall_at = 2; /* CREATE_SESSION */
    w->stall = STALL_LATE;
    assert_int_equal(login_start(w->ctl, &cfg,
                                 &(struct login_callbacks){.done = world_login_done, .user = w}, &l,
                                 NULL),
                     0);
    while (w->nrequests < 2)
        assert_true(world_step(w));
    login_cancel(l);
    world_run(w, &w->done);
    assert_int_equal(w->err.code, -ECANCELED);
    assert_true(w->l.now_ns < 6 * LOOP_NS_PER_S);
    login_free(&l);
    assert_false(ctl_idle(w->ctl));
    world_drain(w);
    assert_int_equal(w->sessions_made, 1);
    check_tidy(w);
    world_free(w);
}

/* A pair that login/fsm.def does not have is counted and ends the login. */
static void
missing_cell(void **state)
{
    struct login_config cfg;
    struct world *w = new_plain(1, &cfg);
    struct iscsi_login *l;

    (void)state;
    assert_int_equal(login_start(w->ctl, &cfg,
                                 &(struct login_callbacks){.done = world_login_done, .user = w}, &l,
                                 NULL),
                     0);
    assert_true(world_step(w));
    assert_int_equal(l->state, LOGIN_TRANSPORT);
    login_post(l, LOGIN_EV_FINAL);
    assert_int_equal(l->refused, 1);
    world_run(w, &w->done);
    assert_int_equal(w->err.domain, LUNETTE_DOM_PROTO);
    login_post(l, LOGIN_EV_FINAL); /* after the end: counted only */
    assert_int_equal(l->refused, 2);
    login_free(&l);
    world_drain(w);
    check_tidy(w);
    world_free(w);
}

/* What each kind of state must have a row for, whatever states there will be. */
static void
table_is_closed(void **state)
{
    static const enum login_event tidying[] = {LOGIN_EV_PDU, LOGIN_EV_FAIL, LOGIN_EV_CANCEL,
                                               LOGIN_EV_DEADLINE, LOGIN_EV_STEP};

    (void)state;
    for (unsigned s = 0; s < LOGIN_NSTATES; s++) {
        unsigned flags = fsm_state(&login_fsm, s)->flags, rows = 0;

        for (unsigned e = 0; e < LOGIN_NEVENTS; e++) {
            const struct fsm_row *row = fsm_find(&login_fsm, s, e);

            rows += row != NULL;
            /* An attempt ends by way of DRAIN, and only what has been tidied up is given up. */
            if (row != NULL && fsm_state(&login_fsm, row->to)->flags == LOGIN_IS_TIDYING)
                assert_true(flags == LOGIN_IS_TIDYING || row->to == LOGIN_DRAIN);
            if (row != NULL && row->to == LOGIN_DOWN)
                assert_int_equal(flags, LOGIN_IS_TIDYING);
        }
        if (flags == LOGIN_IS_WORKING) {
            assert_int_equal(fsm_find(&login_fsm, s, LOGIN_EV_CANCEL)->to, LOGIN_DRAIN);
            if (s != LOGIN_IDLE)
                assert_int_equal(fsm_find(&login_fsm, s, LOGIN_EV_DEADLINE)->to, LOGIN_DRAIN);
        } else if (flags == LOGIN_IS_TIDYING) {
            for (size_t i = 0; i < sizeof(tidying) / sizeof(tidying[0]); i++)
                assert_int_equal(fsm_find(&login_fsm, s, tidying[i])->to, s);
        } else {
            assert_int_equal(flags, LOGIN_IS_ENDED);
            assert_int_equal(rows, 0);
        }
    }
}

/* ---- chance -------------------------------------------------------------------------------- */

/* Many logins at once on one ctl, all with their own delays and fates. */
static void
many_at_once(void **state)
{
    static const struct step no[] = {{"", "@status=0202"}, END};
    static const struct step cut[] = {SEC, {"", "@silent @cut"}, END};
    static const struct step slow[] = {{"T", "@noT"}, {"T", "AuthMethod=None"}, OPER, END};

    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct world *w = world_new(seed);
        struct iscsi_login *l[8] = {NULL};
        struct login_config cfg;
        uint32_t steps;

        w->scripts[0] = plain;
        w->scripts[1] = no;
        w->scripts[2] = cut;
        w->scripts[3] = slow;
        w->scripts[4] = plain;
        w->nscripts = 5;
        for (int i = 0; i < 8; i++) {
            world_config(w, &cfg);
            if (world_random(w) % 2)
                own_endpoints(&cfg);
            assert_int_equal(
                login_start(w->ctl, &cfg,
                            &(struct login_callbacks){.done = world_login_done, .user = w}, &l[i],
                            NULL),
                0);
        }
        steps = (uint32_t)(world_random(w) % 400);
        for (uint32_t i = 0; i < steps; i++)
            (void)world_step(w);
        for (int i = 0; i < 8; i++) {
            if (world_random(w) % 3 == 0)
                login_free(&l[i]);
        }
        world_drain(w);
        assert_true(ctl_idle(w->ctl));
        for (int i = 0; i < 8; i++)
            login_free(&l[i]);
        for (int i = 0; i < w->nconn; i++) /* what is there is logged in */
            assert_true(!w->conn[i].there || w->conn[i].started);
        assert_int_equal(w->open_streams, 0);
        world_free(w);
    }
}

/* Responses mutated by seed: ends, and leaves nothing behind. */
static void
mutations(void **state)
{
    static const struct step chap[] = {{"", "AuthMethod=CHAP TargetPortalGroupTag=1 @noT"},
                                       {"", "@chap=7 @noT"},
                                       {"", "@T"},
                                       {"", "@answer"},
                                       {"", ""},
                                       {"", ""},
                                       {"", ""},
                                       {"", ""},
                                       {"", ""},
                                       {"", ""},
                                       END};
    static const struct step redirect[] = {{"", "@status=0101 TargetAddress=10.0.0.2:3261"},
                                           {"", "AuthMethod=None"},
                                           {"", "@answer"},
                                           {"", ""},
                                           {"", ""},
                                           {"", ""},
                                           {"", ""},
                                           {"", ""},
                                           END};
    static const struct step open_[] = {{"", "AuthMethod=None TargetPortalGroupTag=1"},
                                        {"", "@answer"},
                                        {"", ""},
                                        {"", ""},
                                        {"", ""},
                                        {"", ""},
                                        {"", ""},
                                        {"", ""},
                                        {"", ""},
                                        {"", ""},
                                        END};
    /* In one exchange, or refused and tried in another way, by a target that bends. */
    static const struct step straight[] = {
        {"", "@answer TargetPortalGroupTag=1 TargetPortalGroupTag=1 @isid=zero @TSIH=0 @nuls=3"},
        {"", "@status=0200"},
        {"", "@answer"},
        {"", ""},
        {"", ""},
        {"", ""},
        {"", ""},
        {"", ""},
        END};
    static const struct step *const all[] = {chap, redirect, open_, straight};
    uint32_t good = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 4000; seed++) {
        struct world *w = world_new(seed);
        struct login_config cfg;

        world_config(w, &cfg);
        cfg.security_first = (seed & 4) != 0;
        if (seed % 4 == 0) {
            (void)strcpy(cfg.chap.name, "alice");
            memcpy(cfg.chap.secret, "initiator-secret", 16);
            cfg.chap.secret_len = 16;
        }
        w->strict = false;
        w->mutate = seed << 8;
        w->scripts[0] = all[seed % 4];
        w->nscripts = 1;
        world_login(w, &cfg);
        if (w->err.code == 0) {
            good++;
            world_logout(w);
        }
        check_tidy(w);
        world_free(w);
    }
    assert_true(good > 10); /* some come through */
}

/* ---- logout -------------------------------------------------------------------------------- */

static void
logouts(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct login_config cfg;
        struct world *w = new_plain((uint64_t)i, &cfg);

        world_login(w, &cfg);
        w->silent_logout = i == 1;
        w->logout_response = i == 2 ? 3 : 0;
        world_logout(w); /* LOR-01 */
        assert_int_equal(w->err.code<0, i> 0);
        if (i == 1)
            assert_int_equal(w->err.domain, LUNETTE_DOM_TIMEOUT);
        if (i == 2)
            assert_int_equal(w->err.detail, 3);
        check_tidy(w);
        world_free(w);
    }
}

/* The reply to each of the logout's requests is late or missing; the owner leaves early, waits as
 * long as it must, or until the session is gone. */
static void
logout_stalls(void **state)
{
    enum { WAITS, LEAVES, UNTIL_GONE, OWNERS };
    unsigned going = 0;

    (void)state;
    for (uint32_t n = 1; n <= 4; n++) {
        for (int owner = 0; owner < OWNERS; owner++) {
            struct login_config cfg;
            struct world *w = new_plain(n, &cfg);
            struct logout_config lc = {.nconns = 1, .until_gone = owner == UNTIL_GONE};
            struct iscsi_logout *l;

            world_login(w, &cfg);
            lc.sid = w->res.sid;
            w->stall = STALL_LATE;
            w->stall_at = w->nrequests + n;
            assert_int_equal(session_logout_task(w->ctl, &lc, world_logout_done, w, &l), 0);
            w->done = false;
            if (owner != LEAVES) {
                world_run(w, &w->done);
                going += owner == WAITS && !logout_is_over(l);
                if (owner == UNTIL_GONE)
                    assert_true(logout_is_over(l));
            }
            logout_free(&l);
            world_drain(w);
            assert_int_equal(w->done, owner != LEAVES);
            check_tidy(w);
            world_free(w);
        }
    }
    assert_true(going > 0);
}

/* The connection is lost, or events are, before the logout has sent anything. */
static void
logout_overtaken(void **state)
{
    static const enum iscsi_kevent_type events[] = {ISCSI_KEVENT_CONN_ERROR, ISCSI_KEVENT_LOST};

    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        struct login_config cfg;
        struct world *w = new_plain(i, &cfg);
        struct logout_config lc = {.nconns = 1, .skip_request = i / 2 == 1};
        struct iscsi_kevent ev = {.type = events[i % 2]};
        struct iscsi_logout *l;

        world_login(w, &cfg);
        ev.sid = lc.sid = w->res.sid;
        w->done = false;
        assert_int_equal(session_logout_task(w->ctl, &lc, world_logout_done, w, &l), 0);
        ctl_dispatch(w->ctl, &ev, NULL);
        if (i / 2 == 2)
            logout_free(&l);
        else
            world_run(w, &w->done);
        logout_free(&l);
        world_drain(w);
        check_tidy(w);
        world_free(w);
    }
}

/* ---- several portals ------------------------------------------------------------------------ */

static void
further(struct login_config *cfg, const char *host)
{
    struct portal *p = &cfg->group[cfg->ngroup++];

    (void)strcpy(p->host, host);
    p->port = ISCSI_PORT;
}

/* Portals that take no connection are passed over, and share the time for connecting. */
static void
dead_portals_are_passed_over(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct login_config cfg;
        struct world *w = new_plain(seed, &cfg);

        if (seed % 2 != 0)
            own_endpoints(&cfg);
        cfg.connect_timeout_ms = 8000;
        (void)strcpy(cfg.portal.host, "10.0.0.100");
        further(&cfg, "nohost");
        further(&cfg, "10.0.0.200");
        further(&cfg, "10.0.0.1");
        further(&cfg, "10.0.0.2");
        world_login(w, &cfg);
        assert_int_equal(w->err.code, 0);
        assert_int_equal(w->nconnects, 3);
        assert_int_equal(w->connected_to[1], 200);
        assert_string_equal(w->res.portal.host, "10.0.0.1");
        assert_false(w->res.moved);
        assert_int_equal(w->res.redirects, 0);
        assert_in_range(w->l.now_ns, 2 * LOOP_NS_PER_S, 4 * LOOP_NS_PER_S);
        assert_int_equal(w->sessions_made, 1);
        assert_int_equal(w->open_eps, seed % 2);
        world_logout(w);
        check_tidy(w);
        world_free(w);
    }
}

/* Where all are dead, the error is that of the last one; the time is that of one. */
static void
all_portals_dead(void **state)
{
    struct login_config cfg;
    struct world *w = new_plain(3, &cfg);

    (void)state;
    cfg.connect_timeout_ms = 8000;
    (void)strcpy(cfg.portal.host, "10.0.0.200");
    further(&cfg, "10.0.0.201");
    further(&cfg, "10.0.0.202");
    further(&cfg, "10.0.0.203");
    world_login(w, &cfg);
    assert_int_equal(w->err.code, -ETIMEDOUT);
    assert_int_equal(w->err.domain, LUNETTE_DOM_CONNECT);
    assert_non_null(strstr(w->err.msg, "10.0.0.203:3260"));
    assert_int_equal(w->nconnects, 4);
    assert_in_range(w->l.now_ns, 8 * LOOP_NS_PER_S, 8200 * LOOP_NS_PER_MS);
    check_tidy(w);
    world_free(w);
}

/* A first login also passes over portals that take the connection and say nothing; they share the
 * time for the login. */
static void
silent_portals_are_passed_over(void **state)
{
    static const struct step silent[] = {{"", "@silent"}, END};

    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct login_config cfg;
        struct world *w = new_plain(seed, &cfg);
        bool all = seed % 4 == 3;

        if (seed % 2 != 0)
            own_endpoints(&cfg);
        w->scripts[2] = w->scripts[0];
        w->scripts[0] = w->scripts[1] = silent;
        if (all)
            w->scripts[2] = silent;
        w->nscripts = 3;
        cfg.login_timeout_ms = 30000;
        further(&cfg, "10.0.0.2");
        further(&cfg, "10.0.0.3");
        world_login(w, &cfg);
        assert_int_equal(w->nconnects, 3);
        assert_int_equal(w->connected_to[2], 3);
        assert_in_range(w->connected_ns[1], 10 * LOOP_NS_PER_S, 10100 * LOOP_NS_PER_MS);
        assert_in_range(w->connected_ns[2], 20 * LOOP_NS_PER_S, 20100 * LOOP_NS_PER_MS);
        if (all) {
            assert_int_equal(w->err.domain, LUNETTE_DOM_TIMEOUT);
            assert_non_null(strstr(w->err.msg, "10.0.0.3:3260 timed out after 30000 ms"));
        } else {
            assert_int_equal(w->err.code, 0);
            assert_string_equal(w->res.portal.host, "10.0.0.3");
            world_logout(w);
        }
        check_tidy(w);
        world_free(w);
    }
}

/* What a portal answers counts: only one that takes no connection is passed over. */
static void
refusals_are_not_passed_over(void **state)
{
    static const struct step no[] = {{"", "@status=0201"}, END};
    struct login_config cfg;
    struct world *w = new_plain(4, &cfg);

    (void)state;
    w->scripts[0] = no;
    further(&cfg, "10.0.0.2");
    world_login(w, &cfg);
    assert_int_equal(w->err.domain, LUNETTE_DOM_LOGIN);
    assert_int_equal(w->nconnects, 1);
    check_tidy(w);
    world_free(w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses),
        cmocka_unit_test(dead_portals_are_passed_over),
        cmocka_unit_test(all_portals_dead),
        cmocka_unit_test(silent_portals_are_passed_over),
        cmocka_unit_test(refusals_are_not_passed_over),
        cmocka_unit_test(endpoint_event_missed),
        cmocka_unit_test(transport_asked_first),
        cmocka_unit_test(no_connection),
        cmocka_unit_test(endpoint_says_why),
        cmocka_unit_test(bound),
        cmocka_unit_test(redirects),
        cmocka_unit_test(redirects_on_a_link),
        cmocka_unit_test(bad_redirects),
        cmocka_unit_test(endless_redirects),
        cmocka_unit_test(stall_each_request),
        cmocka_unit_test(refuse_each_request),
        cmocka_unit_test(silence),
        cmocka_unit_test(cancel_each_step),
        cmocka_unit_test(adapter_logs_in),
        cmocka_unit_test(adapter_cannot_log_in),
        cmocka_unit_test(adapter_says_nothing),
        cmocka_unit_test(adapter_is_given_up),
        cmocka_unit_test(cancel_late),
        cmocka_unit_test(missing_cell),
        cmocka_unit_test(table_is_closed),
        cmocka_unit_test(many_at_once),
        cmocka_unit_test(mutations),
        cmocka_unit_test(logouts),
        cmocka_unit_test(logout_stalls),
        cmocka_unit_test(logout_overtaken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
