/* SPDX-License-Identifier: MIT */
/* CHAP responses against values that Python's hashlib computed (RFC 7143 12.1.3). */
#include "tests/test.h"

#include <errno.h>
#include <string.h>

#include "wire/chap.h"

static const char secret[] = "a secret of 17 by";

static const struct {
    unsigned alg;
    size_t len;
    uint8_t digest[CHAP_RESPONSE_MAX];
} vectors[] = {
    {5,
     16,
     {0x28, 0x93, 0x07, 0xe8, 0xa3, 0xa2, 0x46, 0xc1, 0x32, 0x4c, 0xa3, 0xc5, 0xa1, 0x88, 0x1c,
      0x72}},
    {6, 20, {0x57, 0x6b, 0xdc, 0x5f, 0x4f, 0x23, 0xdc, 0x10, 0x05, 0x6f,
             0x68, 0x25, 0x1b, 0x7a, 0x1a, 0xee, 0x07, 0xbc, 0x0d, 0xc9}},
    {7, 32, {0x76, 0x36, 0x4d, 0x03, 0x5f, 0x04, 0x38, 0x3c, 0xe4, 0x64, 0x81,
             0x3e, 0xf3, 0x57, 0xc9, 0x9d, 0xc6, 0xb4, 0x21, 0x4e, 0xbc, 0xf2,
             0x4c, 0x1c, 0x21, 0xc0, 0xd7, 0x31, 0x9b, 0x09, 0x3f, 0x7d}},
    {8, 32, {0x4e, 0x26, 0x73, 0xd2, 0x0c, 0x1d, 0xa3, 0x44, 0x0d, 0x4c, 0x3a,
             0x2f, 0x64, 0xa4, 0x55, 0xbf, 0x47, 0xf7, 0xd9, 0x01, 0x4b, 0x67,
             0x3d, 0x1d, 0x69, 0x3a, 0xe4, 0xb1, 0x45, 0x5d, 0x45, 0x1f}},
};

static void
responses(void **state)
{
    uint8_t challenge[16], out[CHAP_RESPONSE_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof(challenge); i++)
        challenge[i] = (uint8_t)i;
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        if (!chap_alg_usable(vectors[i].alg))
            continue; /* the library's policy bars it */
        assert_int_equal(chap_response_len(vectors[i].alg), vectors[i].len);
        memset(out, 0, sizeof(out));
        assert_int_equal(chap_response(vectors[i].alg, 0x2a, secret, strlen(secret), challenge,
                                       sizeof(challenge), out),
                         0);
        assert_true(chap_equal(out, vectors[i].len, vectors[i].digest, vectors[i].len));
    }
}

static void
unknown_algorithm(void **state)
{
    uint8_t out[CHAP_RESPONSE_MAX] = {0x55};

    (void)state;
    for (unsigned alg = 0; alg < 256; alg++) {
        if (alg >= 5 && alg <= 8)
            continue;
        assert_int_equal(chap_response_len(alg), 0);
        assert_false(chap_alg_usable(alg));
        assert_int_equal(chap_response(alg, 1, "x", 1, "y", 1, out), -ENOTSUP);
        assert_int_equal(out[0], 0x55);
    }
}

static void
compare_and_wipe(void **state)
{
    char a[4] = "abc", b[4] = "abd";

    (void)state;
    assert_true(chap_equal(a, 3, "abc", 3));
    assert_false(chap_equal(a, 3, b, 3));
    assert_false(chap_equal(a, 3, a, 2));
    assert_true(chap_equal(a, 0, b, 0));
    chap_wipe(a, sizeof(a));
    assert_memory_equal(a, "\0\0\0", 4);
    chap_wipe(NULL, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(responses),
        cmocka_unit_test(unknown_algorithm),
        cmocka_unit_test(compare_and_wipe),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
