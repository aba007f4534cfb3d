/* SPDX-License-Identifier: MIT */
/* test_sim_isns.c - the iSNS client and a server of the test on the simulated network: questions,
 * registration, changes that are told, inquiries, and servers that refuse, stall or lie. */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "isns/isns.h"
#include "tests/sim/sim_loop.h"
#include "tests/test.h"

#define SEC     LOOP_NS_PER_S
#define ME      "iqn.2026-11.example:me"
#define TARGET  "iqn.2026-11.example:disk"
#define CONNS   64
#define MINUTES (60 * SEC)

struct world;

/* One connection of the server, or of whoever tells the client something. */
struct peer {
    struct world *w;
    struct stream *s;
    struct isns_in in;
    int err;
    uint16_t answered; /* the function of what the client answered */
    size_t answer_len;
};

struct world {
    struct sim *sim;
    struct loop *client, *server;
    struct stream *listener;
    struct sock_addr at;
    struct peer peer[CONNS];
    unsigned npeers;
    unsigned asked[16]; /* messages by their function */
    /* behaviour */
    bool mute, lies, only_known;
    uint32_t refuse_reg, period_s;
    /* what a registration has told */
    bool registered;
    struct sock_addr told_at;
    bool esi;
    uint32_t scn_bitmap;
    /* what the client has told */
    unsigned changed, failed, done, ended;
    struct lunette_error err;
    struct isns_targets found;
    struct isns_query *query;
    struct isns_registration *registration;
};

/* The network takes less than there is room for, now and then. */
static void
send_all(struct peer *p, const struct isns_out *o)
{
    size_t at = 0;

    while (at < o->len) {
        struct iovec iov = {(uint8_t *)(uintptr_t)o->buf + at, o->len - at};
        ssize_t n = stream_sendv(p->s, &iov, 1, iov.iov_len);

        if (n < 0 && n != -EAGAIN)
            return;
        at += n > 0 ? (size_t)n : 0;
    }
}

static void
answer(struct peer *p, uint16_t function, uint32_t status, const struct isns_in *in)
{
    struct world *w = p->w;
    struct isns_out o;

    isns_begin(&o, function | ISNS_ANSWER, ISNS_SERVER, (uint16_t)(in->xid + (w->lies ? 1 : 0)));
    isns_put_status(&o, status);
    if (function == ISNS_DEV_ATTR_REG && w->period_s > 0)
        isns_put_num(&o, ISNS_REGISTRATION_PERIOD, w->period_s);
    if (function == ISNS_DEV_ATTR_QRY && status == ISNS_OK) {
        isns_put_num(&o, ISNS_NODE_TYPE, ISNS_TYPE_TARGET);
        isns_put(&o, ISNS_DELIMITER, NULL, 0);
        isns_put_text(&o, ISNS_GROUP_NODE, TARGET);
        isns_put_portal(&o, ISNS_GROUP_ADDRESS, ISNS_GROUP_PORT, &w->at, 3260);
        isns_put_num(&o, ISNS_GROUP_TAG, 5);
    }
    send_all(p, &o);
}

static void
take_registration(struct world *w, const struct isns_in *in)
{
    struct isns_attr a;
    uint32_t port = 0, type = 0;

    assert_true(isns_find(in, false, ISNS_NODE_TYPE, &a) && isns_num(&a, &type));
    assert_int_equal(type, ISNS_TYPE_INITIATOR);
    assert_true(isns_find(in, false, ISNS_PORTAL_ADDRESS, &a));
    assert_int_equal(a.len, 16);
    w->esi = isns_find(in, false, ISNS_ESI_PORT, &a);
    if (isns_find(in, false, ISNS_SCN_PORT, &a) && isns_num(&a, &port)) {
        w->told_at = w->at;
        ((struct sockaddr_in *)(void *)&w->told_at.ss)->sin_port = htons((uint16_t)port);
    }
    w->registered = true;
}

static void
serve(struct peer *p)
{
    struct world *w = p->w;
    const struct isns_in *in = &p->in;
    uint32_t status = ISNS_OK;
    struct isns_attr a;
    size_t at = 0;

    if (in->function & ISNS_ANSWER) {
        p->answered = in->function;
        p->answer_len = in->len;
        return;
    }
    assert_true(in->function < 16);
    w->asked[in->function]++;
    assert_int_equal(isns_next(in, &at, &a), 1); /* whose message it is */
    assert_string_equal((const char *)a.value, ME);
    if (w->mute)
        return;
    if (in->function == ISNS_DEV_ATTR_REG) {
        status = w->refuse_reg;
        if (status == ISNS_OK)
            take_registration(w, in);
    } else if (in->function == ISNS_DEREG_DEV) {
        w->registered = false;
    } else if (in->function == ISNS_SCN_REG) {
        assert_true(isns_find(in, false, ISNS_SCN_BITMAP, &a) && isns_num(&a, &w->scn_bitmap));
    } else if (w->only_known && !w->registered) {
        status = ISNS_SOURCE_UNKNOWN;
    }
    answer(p, in->function, status, in);
}

static void
on_readable(void *user)
{
    struct peer *p = user;
    uint8_t bytes[512];
    ssize_t n = stream_recvv(p->s, &(struct iovec){bytes, sizeof(bytes)}, 1);
    size_t at = 0, used;

    if (n == -EAGAIN)
        return;
    if (n <= 0) {
        p->err = n < 0 ? (int)n : -EPIPE;
        stream_close(p->s);
        p->s = NULL;
        return;
    }
    while (at < (size_t)n) {
        int r = isns_feed(&p->in, bytes + at, (size_t)n - at, &used, NULL);

        assert_true(r >= 0);
        at += used;
        if (r == 1) {
            serve(p);
            isns_in_reset(&p->in);
        }
    }
}

static void
on_connected(void *user, int err)
{
    struct peer *p = user;

    p->err = err;
    if (err == 0)
        return;
    stream_close(p->s);
    p->s = NULL;
}

static const struct stream_events peer_events = {.connected = on_connected,
                                                 .readable = on_readable};

static struct peer *
peer_new(struct world *w)
{
    struct peer *p = &w->peer[w->npeers++];

    assert_true(w->npeers <= CONNS);
    p->w = w;
    isns_in_init(&p->in);
    return p;
}

static void
on_accepted(void *user, struct stream *s, const struct sock_addr *peer)
{
    struct peer *p = peer_new(user);

    (void)peer;
    p->s = s;
    stream_set_events(s, &peer_events, p);
}

static const struct stream_events listener_events = {.accepted = on_accepted};

static void
world_open(struct world *w, uint64_t seed)
{
    struct sock_addr at = {.len = sizeof(struct sockaddr_in)};

    *w = (struct world){.sim = sim_new(seed, &sim_rough)};
    w->client = sim_loop(w->sim);
    w->server = sim_loop(w->sim);
    ((struct sockaddr_in *)(void *)&at.ss)->sin_family = AF_INET;
    ((struct sockaddr_in *)(void *)&at.ss)->sin_addr.s_addr = htonl(0x0a000001);
    ((struct sockaddr_in *)(void *)&at.ss)->sin_port = htons(ISNS_TCP_PORT);
    assert_int_equal(stream_listen(w->server, &at, &listener_events, w, &w->listener, &w->at), 0);
}

static void
world_close(struct world *w)
{
    isns_query_free(&w->query);
    isns_registration_free(&w->registration);
    isns_targets_free(&w->found);
    for (unsigned i = 0; i < w->npeers; i++) {
        if (w->peer[i].s != NULL)
            stream_close(w->peer[i].s);
        isns_in_reset(&w->peer[i].in);
    }
    stream_close(w->listener);
    sim_free(w->sim);
}

static struct isns_config
config(void)
{
    struct isns_config c = {.server = {.host = "10.0.0.1", .port = ISNS_TCP_PORT}};

    (void)strcpy(c.source, ME);
    return c;
}

/* ---- questions ------------------------------------------------------------------------------ */

static void
on_done(void *user, struct isns_targets *found, const struct lunette_error *err)
{
    struct world *w = user;

    w->done++;
    if (err != NULL)
        w->err = *err;
    else
        w->found = *found;
    isns_query_free(&w->query);
}

static bool
is_done(void *user)
{
    return ((struct world *)user)->done > 0;
}

static void
ask(struct world *w)
{
    struct isns_config c = config();

    assert_int_equal(isns_query(w->client, &c, on_done, w, &w->query, NULL), 0);
    assert_true(sim_run_until(w->sim, is_done, w, 60 * SEC));
    assert_int_equal(w->done, 1);
}

static void
test_question(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 30; seed++) {
        struct world w;

        world_open(&w, seed);
        ask(&w);
        assert_int_equal(w.err.code, 0);
        assert_int_equal(w.found.n, 1);
        assert_string_equal(w.found.portal[0].name, TARGET);
        assert_string_equal(w.found.portal[0].at.host, "10.0.0.1");
        assert_int_equal(w.found.portal[0].at.tpgt, 5);
        assert_int_equal(w.asked[ISNS_DEV_ATTR_QRY], 1);
        assert_int_equal(w.asked[ISNS_DEV_ATTR_REG], 0);
        world_close(&w);
    }
}

/* A server that answers only whom it knows: registered for the question, and no longer. */
static void
test_only_known(void **state)
{
    struct world w;

    (void)state;
    world_open(&w, 1);
    w.only_known = true;
    ask(&w);
    assert_int_equal(w.err.code, 0);
    assert_int_equal(w.found.n, 1);
    assert_int_equal(w.asked[ISNS_DEV_ATTR_QRY], 2);
    assert_int_equal(w.asked[ISNS_DEV_ATTR_REG], 1);
    assert_int_equal(w.asked[ISNS_DEREG_DEV], 1);
    assert_false(w.registered);
    assert_false(w.esi);
    world_close(&w);

    world_open(&w, 2);
    w.only_known = true;
    w.refuse_reg = 3;
    ask(&w);
    assert_int_equal(w.err.code, -EREMOTEIO);
    assert_int_equal(w.err.detail, 3);
    assert_memory_equal(w.err.msg, "registration: ", 14);
    assert_non_null(strstr(w.err.msg, "invalid registration"));
    assert_int_equal(w.asked[ISNS_DEREG_DEV], 0);
    world_close(&w);
}

static void
test_no_answer(void **state)
{
    struct world w;
    uint64_t t0;

    (void)state;
    world_open(&w, 1);
    w.mute = true;
    t0 = sim_now_ns(w.sim);
    ask(&w);
    assert_int_equal(w.err.domain, LUNETTE_DOM_TIMEOUT);
    assert_true(sim_now_ns(w.sim) - t0 >= 10 * SEC && sim_now_ns(w.sim) - t0 < 11 * SEC);
    world_close(&w);

    world_open(&w, 2);
    w.lies = true;
    ask(&w);
    assert_int_equal(w.err.code, -EPROTO);
    world_close(&w);

    world_open(&w, 3);
    stream_close(w.listener);
    ask(&w);
    assert_int_equal(w.err.domain, LUNETTE_DOM_CONNECT);
    assert_int_equal(stream_listen(w.server, &w.at, &listener_events, &w, &w.listener, NULL), 0);
    world_close(&w);
}

/* Freed at any moment. */
static void
test_freed(void **state)
{
    (void)state;
    for (uint64_t ns = 0; ns < 4000000; ns += 50000) {
        struct isns_config c = config();
        struct world w;

        world_open(&w, ns);
        w.only_known = true;
        assert_int_equal(isns_query(w.client, &c, on_done, &w, &w.query, NULL), 0);
        (void)sim_run_until(w.sim, is_done, &w, ns);
        world_close(&w);
    }
}

/* Of two addresses the first is silent. */
static void
test_a_silent_address(void **state)
{
    static const char *const addresses[] = {"10.0.0.9", "10.0.0.1"};
    struct isns_config c = config();
    struct sock_addr silent;
    struct world w;

    (void)state;
    (void)strcpy(c.server.host, "isns.example");
    world_open(&w, 1);
    silent = w.at;
    ((struct sockaddr_in *)(void *)&silent.ss)->sin_addr.s_addr = htonl(0x0a000009);
    sim_host(w.sim, c.server.host, 0, addresses, 2);
    sim_stall(w.sim, &silent, true);
    assert_int_equal(isns_query(w.client, &c, on_done, &w, &w.query, NULL), 0);
    assert_true(sim_run_until(w.sim, is_done, &w, 60 * SEC));
    assert_int_equal(w.err.code, 0);
    assert_int_equal(w.found.n, 1);
    world_close(&w);
}

/* ---- registration --------------------------------------------------------------------------- */

static void
on_changed(void *user)
{
    ((struct world *)user)->changed++;
}

static void
on_failed(void *user, const struct lunette_error *err)
{
    struct world *w = user;

    w->failed++;
    w->err = *err;
}

static const struct isns_registration_events events = {.changed = on_changed, .failed = on_failed};

static void
on_ended(void *user)
{
    ((struct world *)user)->ended++;
}

static bool
has_ended(void *user)
{
    return ((struct world *)user)->ended > 0;
}

static bool
never(void *user)
{
    (void)user;
    return false;
}

static bool
has_changed(void *user)
{
    return ((struct world *)user)->changed > 0;
}

static void
pass(struct world *w, uint64_t ns)
{
    (void)sim_run_until(w->sim, never, w, ns);
}

static void
register_me(struct world *w)
{
    struct isns_config c = config();

    assert_int_equal(isns_register(w->client, &c, &events, w, &w->registration, NULL), 0);
}

/* Connects to where the client listens and sends a message there. */
static struct peer *
tell(struct world *w, const struct stream_opts *opts, uint16_t function, unsigned times)
{
    struct peer *p = peer_new(w);
    struct isns_out o;

    assert_int_equal(stream_connect(w->server, &w->told_at, opts, &peer_events, p, &p->s), 0);
    pass(w, SEC / 10);
    if (p->s == NULL || p->err < 0)
        return p;
    isns_begin(&o, function, ISNS_SERVER, 77);
    isns_put_text(&o, ISNS_NODE_NAME, ME);
    isns_put_num(&o, ISNS_REGISTRATION_PERIOD, 1);
    for (unsigned i = 0; i < times && p->s != NULL; i++) {
        send_all(p, &o);
        pass(w, SEC / 10);
    }
    return p;
}

static void
test_changes(void **state)
{
    struct stream_opts stranger = {.source = {.len = sizeof(struct sockaddr_in)}};
    struct world w;
    struct peer *p;

    (void)state;
    ((struct sockaddr_in *)(void *)&stranger.source.ss)->sin_family = AF_INET;
    ((struct sockaddr_in *)(void *)&stranger.source.ss)->sin_addr.s_addr = htonl(0x0a000063);
    world_open(&w, 1);
    register_me(&w);
    assert_true(sim_run_until(w.sim, has_changed, &w, 10 * SEC));
    assert_true(w.registered && w.esi);
    assert_int_equal(w.scn_bitmap, 0x5c);

    p = tell(&w, NULL, ISNS_ESI, 1);
    assert_int_equal(p->answered, ISNS_ESI | ISNS_ANSWER);
    assert_int_equal(p->answer_len, 4 + 8 + 24 + 12); /* all of it comes back */
    pass(&w, 5 * SEC);
    assert_int_equal(w.changed, 1);

    p = tell(&w, NULL, ISNS_SCN, 5); /* changes that come together are told together */
    assert_int_equal(p->answered, ISNS_SCN | ISNS_ANSWER);
    assert_int_equal(p->answer_len, 4 + 8 + 24);
    pass(&w, 5 * SEC);
    assert_int_equal(w.changed, 2);

    /* Nobody but the server is listened to, and the server only where it speaks of changes. */
    p = tell(&w, &stranger, ISNS_SCN, 1);
    pass(&w, 5 * SEC);
    assert_null(p->s);
    assert_int_equal(w.changed, 2);
    p = tell(&w, NULL, ISNS_DEV_ATTR_REG, 1);
    pass(&w, 5 * SEC);
    assert_null(p->s);
    p = tell(&w, NULL, ISNS_SCN, 0); /* silence is not waited for */
    pass(&w, 2 * MINUTES);
    assert_null(p->s);

    isns_deregister(w.registration, on_ended, &w);
    assert_true(sim_run_until(w.sim, has_ended, &w, 20 * SEC));
    w.registration = NULL;
    assert_int_equal(w.asked[ISNS_DEREG_DEV], 1);
    assert_false(w.registered);
    assert_int_equal(w.failed, 0);
    world_close(&w);
}

/* A lookup that cannot even begin is a failure as any other: it is told, and tried again. */
static void
test_no_lookup(void **state)
{
    struct isns_config c = config();
    struct world w;

    (void)state;
    world_open(&w, 1);
    c.server.host[0] = '\0';
    assert_int_equal(isns_register(w.client, &c, &events, &w, &w.registration, NULL), 0);
    assert_int_equal(w.failed, 0);
    pass(&w, 10 * MINUTES);
    assert_int_equal(w.failed, 1);
    assert_int_equal(w.err.code, -EINVAL);
    assert_int_equal(w.changed, 0);
    isns_deregister(w.registration, on_ended, &w);
    assert_true(sim_run_until(w.sim, has_ended, &w, 20 * SEC));
    w.registration = NULL;
    world_close(&w);
}

/* It is made anew before the server forgets it; after failures with a back-off that is bounded. */
static void
test_renewal(void **state)
{
    struct world w;
    unsigned n;

    (void)state;
    world_open(&w, 1);
    w.period_s = 90;
    register_me(&w);
    pass(&w, 10 * MINUTES);
    n = w.asked[ISNS_DEV_ATTR_REG];
    assert_true(n >= 16 && n <= 25); /* each 30 s */
    assert_int_equal(w.asked[ISNS_SCN_REG], n);
    world_close(&w);

    world_open(&w, 2);
    w.refuse_reg = 12;
    register_me(&w);
    pass(&w, 30 * MINUTES);
    assert_int_equal(w.failed, 1);
    assert_int_equal(w.err.detail, 12);
    n = w.asked[ISNS_DEV_ATTR_REG];
    assert_true(n >= 9 && n <= 16); /* 5, 10, 20 ... 300 s */
    w.refuse_reg = 0;
    pass(&w, 6 * MINUTES);
    assert_true(w.registered && w.changed > 0);
    w.mute = true;
    pass(&w, 30 * MINUTES);
    assert_int_equal(w.failed, 2);
    assert_int_equal(w.err.domain, LUNETTE_DOM_TIMEOUT);
    isns_deregister(w.registration, on_ended,
                    &w); /* which is not waited for any longer than that */
    assert_true(sim_run_until(w.sim, has_ended, &w, 11 * SEC));
    w.registration = NULL;
    world_close(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_question),         cmocka_unit_test(test_only_known),
        cmocka_unit_test(test_no_answer),        cmocka_unit_test(test_freed),
        cmocka_unit_test(test_a_silent_address), cmocka_unit_test(test_changes),
        cmocka_unit_test(test_no_lookup),        cmocka_unit_test(test_renewal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
