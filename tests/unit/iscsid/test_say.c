/* SPDX-License-Identifier: MIT */
/* What callers are told of errors. */
#include "tests/test.h"

#include <errno.h>

#include "iscsid/internal.h"

static void
codes(void **state)
{
    static const struct {
        enum lunette_domain domain;
        uint32_t detail;
        int code;
        enum manage_code told;
    } rows[] = {
        {LUNETTE_DOM_LOGIN, 0x0201, -EACCES, MANAGE_LOGIN_AUTH},
        {LUNETTE_DOM_LOGIN, 0x0202, -EACCES,
         MANAGE_LOGIN_AUTH}, /* not allowed access to the target */
        {LUNETTE_DOM_LOGIN, 0x0203, -ENOENT, MANAGE_LOGIN_FATAL},
        {LUNETTE_DOM_LOGIN, 0x0301, -EIO, MANAGE_LOGIN},
        {LUNETTE_DOM_CONNECT, 0, -ECONNREFUSED, MANAGE_CONNECT},
        {LUNETTE_DOM_CONNECT, 0, -ETIMEDOUT, MANAGE_CONNECT_TIMEOUT},
        {LUNETTE_DOM_TIMEOUT, 15000, -ETIMEDOUT, MANAGE_PDU_TIMEOUT}, /* no Login Response */
        {LUNETTE_DOM_TIMEOUT, 1000, -EBUSY, MANAGE_AGAIN},            /* the lock of the records */
        {LUNETTE_DOM_NOTFOUND, 0, -ENOENT, MANAGE_NOT_FOUND},
        {LUNETTE_DOM_USAGE, 0, -EINVAL, MANAGE_INVALID},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct lunette_error err = {
            .domain = rows[i].domain, .detail = rows[i].detail, .code = rows[i].code};

        assert_int_equal(say_code(&err), rows[i].told);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(codes)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
