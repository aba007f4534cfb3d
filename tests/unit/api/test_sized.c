/* SPDX-License-Identifier: MIT */
/* Structures that the caller allocates, between versions: a program that knows the first form of a
 * structure and one that knows a third, with a library that knows the second. */
#include "api/sized.h"

#include "tests/test.h"

#include <errno.h>
#include <string.h>

struct form1 {
    size_t struct_size;
    uint64_t a;
};
struct form2 {
    size_t struct_size;
    uint64_t a, b;
};
struct form3 {
    size_t struct_size;
    uint64_t a, b, c;
};
#define FIRST API_FIRST(struct form1, a)

static int
take(const void *from, struct form2 *to)
{
    memset(to, 0xee, sizeof(*to));
    return api_sized_in(to, sizeof(*to), from, FIRST);
}

static void
test_what_comes_in(void **state)
{
    struct form1 old = {.struct_size = sizeof(old), .a = 1};
    struct form3 new = {.struct_size = sizeof(new), .a = 1, .b = 2};
    struct form2 got;

    (void)state;
    assert_int_equal(take(&old, &got), 0); /* what it lacks is zero */
    assert_true(got.struct_size == sizeof(got) && got.a == 1 && got.b == 0);
    assert_int_equal(take(&new, &got), 0); /* what we do not know is not used */
    assert_true(got.struct_size == sizeof(got) && got.a == 1 && got.b == 2);
    new.c = 3; /* it is, and cannot be granted */
    assert_int_equal(take(&new, &got), -E2BIG);
    new.struct_size = 0; /* zero stands for the first form, whatever the memory behind it holds */
    assert_int_equal(take(&new, &got), 0);
    assert_true(got.struct_size == sizeof(got) && got.a == 1 && got.b == 0);
}

static void
test_what_goes_out(void **state)
{
    const struct form2 ours = {.struct_size = 77, .a = 1, .b = 2};
    struct form1 old[2] = {{.struct_size = sizeof(old[0])}, {.a = 5}};
    struct form3 new = {.struct_size = sizeof(new), .c = 9};
    struct form2 same = {.struct_size = 0, .b = 7};

    (void)state;
    assert_int_equal(api_sized_out(&old, FIRST, &ours, sizeof(ours)), 0);
    assert_true(old[0].struct_size == sizeof(old[0]) && old[0].a == 1);
    assert_true(old[1].struct_size == 0 && old[1].a == 5); /* not written behind its end */
    assert_int_equal(api_sized_out(&new, FIRST, &ours, sizeof(ours)), 0);
    assert_true(new.struct_size == sizeof(new) && new.a == 1 && new.b == 2 && new.c == 0);
    assert_int_equal(api_sized_out(&same, FIRST, &ours, sizeof(ours)), 0);
    assert_true(same.struct_size == 0 && same.a == 1 && same.b == 7);
}

static void
test_sizes_of_no_version(void **state)
{
    static const size_t bad[] = {1, sizeof(size_t), FIRST - 1, API_SIZED_MAX + 1, SIZE_MAX};
    const struct form2 ours = {.a = 1};
    struct form3 s = {.a = 7};
    struct form2 got;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        s.struct_size = bad[i];
        assert_int_equal(take(&s, &got), -EINVAL);
        assert_int_equal(api_sized_out(&s, FIRST, &ours, sizeof(ours)), -EINVAL);
        assert_true(s.struct_size == bad[i] && s.a == 7);
    }
}

static void
test_errors(void **state)
{
    struct {
        struct lunette_error err;
        uint64_t more; /* of a later version */
    } e = {.err = {.struct_size = sizeof(e)}, .more = 1};

    (void)state;
    assert_int_equal(api_error_check(NULL), 0);
    assert_int_equal(api_error_check(&e.err), 0);
    assert_int_equal(e.more, 0);
    e.err.struct_size = 0;
    assert_int_equal(api_error_check(&e.err), 0);
    e.err.struct_size = (size_t)0xa5a5a5a5; /* memory that nobody has initialized */
    assert_int_equal(api_error_check(&e.err), -EINVAL);
    assert_int_equal(e.err.code, -EINVAL);
    assert_non_null(strstr(e.err.msg, "LUNETTE_INIT"));
}

/* A structure ends with a member: a new one could stand in padding otherwise, where its size would
 * not tell that it is there.  32-bit ABIs that align numbers of 64 bits to 8 keep to it, too. */
#define ENDS_WITH(type, last)                                                                      \
    _Static_assert(sizeof(type) == offsetof(type, last) + sizeof(((type *)0)->last),               \
                   "the structure ends with padding")

ENDS_WITH(struct lunette_ctx_options, time_every);
ENDS_WITH(struct lunette_ctx_stats, bytes_received);
ENDS_WITH(struct lunette_portal, tpgt);
ENDS_WITH(struct lunette_target, nportals);
ENDS_WITH(struct lunette_info, error);
ENDS_WITH(struct lunette_session_info, transport);
ENDS_WITH(struct lunette_event, nconnections_wanted);
ENDS_WITH(struct lunette_conn_info, carrier);
ENDS_WITH(struct lunette_timeouts, reopen_max);
ENDS_WITH(struct lunette_scsi, sense);
ENDS_WITH(struct lunette_completion, sense);
ENDS_WITH(struct lunette_pr_reservation, type);
ENDS_WITH(struct lunette_pr_registrant, port);
ENDS_WITH(struct lunette_times, bucket);
ENDS_WITH(struct lunette_transport_info, why);
ENDS_WITH(struct lunette_error, msg);

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_comes_in),
        cmocka_unit_test(test_what_goes_out),
        cmocka_unit_test(test_sizes_of_no_version),
        cmocka_unit_test(test_errors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
