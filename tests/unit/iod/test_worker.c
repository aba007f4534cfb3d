/* SPDX-License-Identifier: MIT */
/* A loop of the data plane comes to its end in time, whoever does not read. */
#include "iod/worker.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/test.h"

static const struct export_ops *const no_kinds[] = {NULL};

static struct {
    struct worker *w;
    struct loop_timer watch;
} late;

/* The deadline of the drop is over before the reader's. */
static void
hurry(struct loop_timer *t)
{
    struct worker *w = late.w;

    if (w->phase == WORKER_DROPPING)
        loop_timer_start(w->loop, &w->deadline, 50 * LOOP_NS_PER_MS);
    else
        loop_timer_start(w->loop, t, LOOP_NS_PER_MS);
}

/* A socket that takes no byte more. */
static void
full_socket(int sv[2])
{
    static const char bytes[4096];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
    while (send(sv[0], bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
        ;
    while (send(sv[0], bytes, 1, MSG_DONTWAIT) > 0)
        ;
}

/* Somebody reads a capture and has stopped reading: the loop ends in order all the same. */
static void
test_a_reader_that_stalls(void **state)
{
    struct iod_config cfg = {.loops = 1, .loop = {.kind = LOOP_EPOLL}, .kinds = no_kinds};
    struct transport_registry reg;
    struct dp_ids *ids = dp_ids_new();
    int sv[2];

    (void)state;
    memset(&reg, 0, sizeof(reg));
    assert_non_null(ids);
    full_socket(sv);
    assert_int_equal(worker_new(&cfg, 0, &reg, ids, &late.w, NULL), 0);
    assert_int_equal(dataplane_capture_all(late.w->dp, sv[0], 1, false, NULL), 0);
    loop_timer_init(&late.watch, hurry);
    loop_timer_start(late.w->loop, &late.watch, LOOP_NS_PER_MS);
    worker_stop(late.w);
    assert_int_equal(worker_run(late.w), 0);
    worker_free(late.w);
    dp_ids_free(ids);
    transport_registry_fini(&reg);
    (void)close(sv[1]);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_reader_that_stalls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
