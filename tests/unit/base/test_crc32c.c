/* SPDX-License-Identifier: MIT */
/* CRC32C by table and by ISA-L are the same, for each length, alignment and way to cut. */
#include "tests/test.h"

#include "base/crc32c.h"

static void
check_value(void **state)
{
    (void)state;
    assert_int_equal(crc32c_final(crc32c_by_table(CRC32C_INIT, "123456789", 9)), 0xe3069283);
    assert_int_equal(crc32c_final(crc32c_update(CRC32C_INIT, "123456789", 9)), 0xe3069283);
    assert_int_equal(crc32c_update(0x12345678, NULL, 0), 0x12345678);
    assert_int_equal(crc32c_by_table(0x12345678, NULL, 0), 0x12345678);
}

static void
both_ways(void **state)
{
    uint8_t data[300];
    uint32_t x = 1;

    (void)state;
    for (size_t i = 0; i < sizeof(data); i++) {
        x = x * 1103515245 + 12345;
        data[i] = (uint8_t)(x >> 16);
    }
    for (size_t at = 0; at < 8; at++) {
        for (size_t len = 0; at + len <= sizeof(data); len++) {
            uint32_t want = crc32c_update(CRC32C_INIT, data + at, len);
            uint32_t first = crc32c_by_table(CRC32C_INIT, data + at, len / 3);

            assert_int_equal(crc32c_by_table(CRC32C_INIT, data + at, len), want);
            assert_int_equal(crc32c_by_table(first, data + at + len / 3, len - len / 3), want);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_value),
        cmocka_unit_test(both_ways),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
