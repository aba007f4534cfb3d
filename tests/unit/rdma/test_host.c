/* SPDX-License-Identifier: MIT */
/* rdma/ on the machine that runs the test, which in most cases has no device: what it says is a
 * sentence, and it leaves nothing behind in the loop. */
#include "tests/test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "loop/loop.h"
#include "rdma/rdma.h"
#include "tests/support/loop_kind.h"

static enum loop_kind kind;

static void
never_ended(void *user, int err, const char *why)
{
    (void)user;
    (void)err;
    fail_msg("%s", why);
}

static void
test_refusal(void **state)
{
    static const struct rnic_depth depth = {.send = 8, .recv = 8};
    static const struct rnic_events ev = {.ended = never_ended};
    struct loop_config cfg = {.kind = kind};
    struct sock_addr a = {.len = sizeof(struct sockaddr_in)};
    struct sockaddr_in *in = (struct sockaddr_in *)&a.ss;
    struct lunette_error err = {0}, said = {0};
    struct rnic_ep *ep = NULL;
    struct loop *l;
    int r = rdma_usable(&said);

    (void)state;
    if (r == 0)
        skip(); /* there is a device: the contract is held there */
    assert_int_equal(said.code, r);
    assert_true(r == -ENODEV || r == -EACCES || r == -EOPNOTSUPP);
    assert_int_equal(r == -EOPNOTSUPP, rdma_verbs == NULL);
    assert_non_null(strstr(said.msg, rdma_verbs == NULL ? "-Diser"
                                     : r == -ENODEV     ? "this machine has "
                                                        : "may not use"));
    in->sin_family = AF_INET;
    in->sin_port = htons(3260);
    in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(loop_new(&cfg, &l, NULL), 0);
    l->rnic = rdma_verbs;
    for (int i = 0; i < 3; i++) {
        rnic_spin(l, 1000);
        assert_int_equal(rnic_resolve(l, &a, NULL, &depth, &ev, NULL, &ep, &err), r);
        assert_int_equal(rnic_listen(l, &a, &depth, &ev, NULL, &ep, NULL, &err), r);
        assert_int_equal(err.code, r);
        assert_null(ep);
        assert_null(l->rnic_state);
        assert_int_equal(loop_run(l, 0), 0);
    }
    loop_free(l);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_refusal)};
    int r = loop_kind_named(argc, argv, &kind);

    return r != 0 ? r : cmocka_run_group_tests(tests, NULL, NULL);
}
