/* SPDX-License-Identifier: MIT */
/* The life of an operation: told once, freed at any time, tidy in the end. */
#include "tests/unit/fake_ipc.h"

#include <errno.h>
#include <stdlib.h>

#include "ctl/op.h"

static struct fake_loop fl;
static struct fake_ipc fi;
static struct ctl *ctl;
static unsigned alive; /* errands that are not destroyed */

/* An operation as simple as can be: one request, whose reply ends it. */
struct errand {
    struct ctl_op op;
    bool haste;
    unsigned cancels;
};

/* Its owner. */
static struct {
    struct errand *e;
    unsigned told;
    int err;
    bool free_inside, cancel_inside;
} owner;

static struct errand *
errand_of(struct ctl_op *op)
{
    return container_of(op, struct errand, op);
}

static void
errand_cancel(struct ctl_op *op)
{
    errand_of(op)->cancels++;
    errand_of(op)->haste = true;
}

static void
errand_destroy(struct ctl_op *op)
{
    ctl_op_fini(op);
    free(errand_of(op));
    alive--;
}

static const struct ctl_op_ops errand_ops = {.cancel = errand_cancel, .destroy = errand_destroy};

static void
owner_done(int err)
{
    owner.told++;
    owner.err = err;
    if (owner.cancel_inside)
        ctl_op_cancel(&owner.e->op);
    if (owner.free_inside) {
        ctl_op_free(&owner.e->op);
        owner.e = NULL;
    }
}

static void
errand_replied(void *user, const struct iscsi_reply *rep)
{
    struct errand *e = user;

    ctl_op_enter(&e->op);
    if (ctl_op_tell(&e->op))
        owner_done(e->haste ? -ECANCELED : rep->err);
    ctl_op_end(&e->op);
    e->haste = false; /* entered: still there */
    ctl_op_leave(&e->op);
}

static struct errand *
errand_start(void)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_CREATE_SESSION};
    struct errand *e = calloc(1, sizeof(*e));

    assert_non_null(e);
    alive++;
    ctl_op_init(&e->op, ctl, &errand_ops);
    assert_int_equal(ctl_request(ctl, &ev, NULL, 0, errand_replied, e), 0);
    owner.e = e;
    return e;
}

static int
setup(void **state)
{
    (void)state;
    fake_loop_init(&fl, 1);
    fake_ipc_init(&fi);
    memset(&owner, 0, sizeof(owner));
    alive = 0;
    return ctl_new(&fl.l, &fi.ipc, &ctl);
}

static int
teardown(void **state)
{
    (void)state;
    ctl_free(&ctl);
    fake_turn(&fl);
    assert_int_equal(alive, 0);
    return 0;
}

static void
test_told_then_freed(void **state)
{
    struct errand *e = errand_start();

    (void)state;
    fake_ipc_answer(&fi, 0, -EIO);
    assert_int_equal(owner.told, 1);
    assert_int_equal(owner.err, -EIO);
    assert_int_equal(alive, 1); /* the owner's still */
    ctl_op_cancel(&e->op);      /* harmless */
    fake_turn(&fl);
    assert_int_equal(e->cancels, 0);
    ctl_op_free(&e->op);
    assert_int_equal(alive, 0);
    assert_true(ctl_idle(ctl));
}

static void
test_free_before_done(void **state)
{
    struct errand *e = errand_start();

    (void)state;
    ctl_op_free(&e->op);
    assert_int_equal(e->cancels, 1); /* at once */
    assert_int_equal(alive, 1);
    assert_false(ctl_idle(ctl));
    fake_turn(&fl);
    assert_int_equal(e->cancels, 1);
    fake_ipc_answer(&fi, 0, 0);
    assert_int_equal(alive, 0);
    assert_int_equal(owner.told, 0);
    assert_true(ctl_idle(ctl));
}

static void
test_free_inside_done(void **state)
{
    (void)state;
    (void)errand_start();
    owner.free_inside = true;
    fake_ipc_answer(&fi, 0, 0);
    assert_int_equal(owner.told, 1);
    assert_int_equal(alive, 0);
    assert_true(ctl_idle(ctl));
}

static void
test_cancel_inside_done(void **state)
{
    struct errand *e = errand_start();

    (void)state;
    owner.cancel_inside = true;
    fake_ipc_answer(&fi, 0, 0);
    fake_turn(&fl);
    assert_int_equal(owner.told, 1);
    assert_int_equal(e->cancels, 0);
    ctl_op_free(&e->op);
}

static void
test_cancel(void **state)
{
    struct errand *e = errand_start();

    (void)state;
    assert_false(ctl_op_canceled(&e->op));
    ctl_op_cancel(&e->op);
    assert_true(ctl_op_canceled(&e->op));
    assert_int_equal(e->cancels, 0); /* not from inside */
    ctl_op_cancel(&e->op);
    fake_turn(&fl);
    ctl_op_cancel(&e->op);
    fake_turn(&fl);
    assert_int_equal(e->cancels, 1);
    fake_ipc_answer(&fi, 0, 0);
    assert_int_equal(owner.told, 1);
    assert_int_equal(owner.err, -ECANCELED);
    ctl_op_free(&e->op);
}

/* With the cancel still to be delivered, and with it delivered. */
static void
test_cancel_then_free(void **state)
{
    for (unsigned i = 0; i < 2; i++) {
        struct errand *e = errand_start();

        (void)state;
        ctl_op_cancel(&e->op);
        if (i == 1)
            fake_turn(&fl);
        ctl_op_free(&e->op);
        assert_int_equal(e->cancels, i + 1);
        fake_turn(&fl); /* nothing is left in the loop */
        assert_int_equal(e->cancels, i + 1);
        fake_ipc_answer(&fi, i, 0);
        assert_int_equal(alive, 0);
    }
    assert_int_equal(owner.told, 0);
}

/* The owner was told early, and lets go before and after the end. */
static void
test_told_before_the_end(void **state)
{
    for (unsigned i = 0; i < 2; i++) {
        struct errand *e = errand_start();

        (void)state;
        assert_true(ctl_op_tell(&e->op));
        assert_false(ctl_op_tell(&e->op));
        ctl_op_cancel(&e->op); /* too late */
        if (i == 0)
            ctl_op_free(&e->op);
        fake_turn(&fl);
        assert_int_equal(e->cancels, i == 0 ? 1 : 0);
        assert_int_equal(alive, 1);
        fake_ipc_answer(&fi, i, 0);
        if (i == 1) {
            assert_int_equal(alive, 1);
            ctl_op_free(&e->op);
        }
        assert_int_equal(alive, 0);
    }
    assert_int_equal(owner.told, 0);
}

static void
test_nested_enter(void **state)
{
    struct errand *e = errand_start();

    (void)state;
    ctl_op_enter(&e->op);
    ctl_op_enter(&e->op);
    ctl_op_free(&e->op);
    ctl_op_end(&e->op);
    ctl_op_leave(&e->op);
    assert_int_equal(alive, 1);
    ctl_op_leave(&e->op);
    assert_int_equal(alive, 0);
}

/* Orphans whose replies never come, and a cancel that is still to be delivered. */
static void
test_ctl_free_with_orphans(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct errand *e = errand_start();

        if (i == 1)
            ctl_op_cancel(&e->op);
        ctl_op_free(&e->op);
    }
    assert_int_equal(alive, 3);
    ctl_free(&ctl);
    assert_int_equal(alive, 0);
    fake_turn(&fl);
    assert_null(fi.ipc.ev);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_told_then_freed),     T(test_free_before_done), T(test_free_inside_done),
        T(test_cancel_inside_done),  T(test_cancel),           T(test_cancel_then_free),
        T(test_told_before_the_end), T(test_nested_enter),     T(test_ctl_free_with_orphans),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
