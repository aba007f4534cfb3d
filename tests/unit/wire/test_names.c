/* SPDX-License-Identifier: MIT */
#include "tests/test.h"

#include <stdbool.h>
#include <string.h>

#include "wire/login_status.h"
#include "wire/names.h"

static void
check(const char *(*name)(uint8_t), const char *known)
{
    /* exactly the codes in `known` have a name of their own, all different */
    for (int a = 0; a < 256; a++) {
        const char *text = name((uint8_t)a);
        bool is_known = strstr(text, "unknown") == NULL;

        assert_non_null(text);
        assert_int_equal(is_known, memchr(known + 1, a, (size_t)known[0]) != NULL);
        for (int b = 0; b < a && is_known; b++)
            assert_string_not_equal(text, name((uint8_t)b));
    }
}

static void
test_codes(void **state)
{
    (void)state;
    check(iscsi_reject_name, "\x0b\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c");
    check(iscsi_tmf_name, "\x0c\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c");
    check(iscsi_tmf_response_name, "\x09\x00\x01\x02\x03\x04\x05\x06\x07\xff");
    check(iscsi_logout_reason_name, "\x03\x00\x01\x02");
    check(iscsi_logout_response_name, "\x04\x00\x01\x02\x03");
    check(iscsi_snack_name, "\x04\x00\x01\x02\x03");
    assert_string_equal(iscsi_async_name(1), "target asks for logout");
    assert_string_equal(iscsi_async_name(6), "unknown event");
    assert_string_equal(iscsi_async_name(248), "vendor-specific event");
    assert_string_equal(iscsi_tmf_name(5), "LOGICAL UNIT RESET");
    assert_string_equal(iscsi_reject_name(4), "protocol error");
    assert_string_equal(iscsi_stage_name(3), "full feature phase");
    assert_string_equal(iscsi_stage_name(2), "unknown stage");
}

/* LGN-15: every status of 11.13.5, and unknown details by their class */
static void
test_login_status(void **state)
{
    static const uint8_t last[4] = {0, 2, 0x0b, 2};

    (void)state;
    assert_non_null(strstr(login_status_text(2, 1), "authentication failed"));
    assert_non_null(strstr(login_status_text(2, 3), "no such target"));
    assert_non_null(strstr(login_status_text(3, 1), "not available"));
    for (uint8_t c = 0; c < 4; c++) {
        const char *by_class = login_status_text(c, 0x99);

        for (uint8_t d = c == 1 ? 1 : 0; d <= last[c]; d++) {
            assert_string_not_equal(login_status_text(c, d), by_class);
            for (uint8_t e = 0; e < d; e++)
                assert_string_not_equal(login_status_text(c, d), login_status_text(c, e));
        }
        assert_string_equal(login_status_text(c, (uint8_t)(last[c] + 1)), by_class);
    }
    assert_non_null(strstr(login_status_text(9, 0), "unknown"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_codes),
                                       cmocka_unit_test(test_login_status)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
