/* SPDX-License-Identifier: MIT */
/* Metrics when memory is short for what is asked about a session. */
#include "tests/test.h"

#include <stdlib.h>
#include <unistd.h>

#include "iscsid/scrape.h"
#include "tests/fuzz/mem_loop.h"

#define SESSIONS 3

static unsigned long countdown; /* 0: no allocation of JSON fails */

static void *
short_malloc(size_t size)
{
    return countdown > 0 && --countdown == 0 ? NULL : malloc(size);
}

/* ---- the daemon around it ---- */

static struct mem_stream listener, caller;
static unsigned asked[SESSIONS + 1], asked_of_all;

struct control_node *
session_next(struct control *c, struct control_node *n, struct control_info *ret)
{
    static char nodes[SESSIONS];
    char *next = n == NULL ? nodes : (char *)(void *)n + 1;

    (void)c;
    if (next == nodes + SESSIONS)
        return NULL;
    *ret = (struct control_info){.sid = (uint32_t)(next - nodes) + 1};
    return (void *)next;
}

struct ctl *
control_ctl(const struct control *c, unsigned index)
{
    (void)c;
    (void)index;
    return (void *)&listener;
}

bool
control_is_ready(const struct control *c)
{
    (void)c;
    return true;
}

void
plane_ask(struct plane *p)
{
    (void)p;
}

bool
plane_answers(const struct plane *p, unsigned index)
{
    (void)p;
    (void)index;
    return true;
}

void
say_no_memory(struct lunette_error *err)
{
    (void)err;
}

void
manage_server_forget(struct manage_server *m, const void *user)
{
    (void)m;
    (void)user;
}

void
manage_server_ask(struct manage_server *m, const char *method, const json_t *params,
                  void (*done)(void *user, const json_t *answer), void *user)
{
    json_int_t sid = json_integer_value(json_object_get(params, "sid"));

    (void)m;
    (void)method;
    countdown = 0; /* the answer is another's business */
    asked_of_all += sid == 0;
    if (sid > 0 && sid <= SESSIONS)
        asked[sid]++;
    done(user, NULL);
}

static int
on_listen(struct loop *l, const struct sock_addr *at, const struct stream_events *ev, void *user,
          struct stream **ret, struct sock_addr *ret_bound)
{
    (void)at;
    (void)ret_bound;
    listener = (struct mem_stream){.base.loop = l, .ev = ev, .user = user, .open = true};
    *ret = &listener.base;
    return 0;
}

static int
of_us(struct stream *s, uid_t *ret_uid, pid_t *ret_pid)
{
    (void)s;
    *ret_uid = geteuid();
    *ret_pid = getpid();
    return 0;
}

/* ---- the test ---- */

/* Metrics are asked for once, with the n-th allocation failing.  Returns how many sessions were
 * asked about. */
static unsigned
scrape_short(unsigned long n)
{
    static struct mem_loop loop;
    struct sock_addr nobody = {0};
    struct loop_ops ops = mem_loop_ops;
    struct iscsid *d = calloc(1, sizeof(*d));
    struct scrape *s = NULL;
    unsigned sessions = 0;

    assert_non_null(d);
    memset(asked, 0, sizeof(asked));
    mem_loop_init(&loop);
    ops.listen = on_listen;
    ops.peer_cred = of_us;
    loop.l.ops = &ops;
    d->loop = &loop.l;
    d->cfg.run = "/there";
    d->cfg.version = "1";
    assert_int_equal(scrape_new(d, &s, NULL), 0);
    scrape_listen(s);
    caller = (struct mem_stream){.base.loop = &loop.l, .open = true};
    listener.ev->accepted(listener.user, &caller.base, &nobody);
    countdown = n;
    mem_advance(&loop, 10 * LOOP_NS_PER_S);
    countdown = 0;
    assert_false(caller.open);
    assert_true(caller.out_len > 6);
    assert_memory_equal(caller.out + caller.out_len - 6, "# EOF\n", 6);
    free(caller.out);
    for (unsigned i = 1; i <= SESSIONS; i++) {
        assert_true(asked[i] <= 1);
        sessions += asked[i];
    }
    scrape_free(&s);
    free(d);
    return sessions;
}

/* A session is left out, and is not asked about together with all others. */
static void
a_session_is_left_out(void **state)
{
    unsigned left_out = 0;

    (void)state;
    for (unsigned long n = 1; n <= 20; n++) {
        left_out += SESSIONS - scrape_short(n);
        assert_int_equal(asked_of_all, 0);
    }
    assert_in_range(left_out, 2, 19); /* an allocation for each but the last ones */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_session_is_left_out)};

    json_set_alloc_funcs(short_malloc, free);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
