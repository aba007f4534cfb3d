/* SPDX-License-Identifier: MIT */
/* Secrets of logins never get into a capture, wherever PDUs cut them and whatever flags say. */
#include "tests/test.h"

#include <stdio.h>
#include <string.h>

#include "capture/redact.h"

#define LEN(s) (uint32_t)(sizeof(s) - 1)

static struct redact r;
static char out[512];

static void
clean(const char *text, uint32_t len)
{
    memset(out, 0, sizeof(out));
    redact_text(&r, (const uint8_t *)text, (uint8_t *)out, len);
}

static const char login[] = "InitiatorName=iqn.x:CHAP_N\0CHAP_A=5\0CHAP_I=12\0CHAP_C=0xabcd\0"
                            "CHAP_N=user\0CHAP_R=0x1234\0SessionType=Normal";
static const char cleaned[] = "InitiatorName=iqn.x:CHAP_N\0CHAP_A=5\0CHAP_I=12\0CHAP_C=xxxxxx\0"
                              "CHAP_N=xxxx\0CHAP_R=xxxxxx\0SessionType=Normal";

static void
test_whole(void **state)
{
    (void)state;
    r = (struct redact){.len = 0};
    redact_pdu(&r, false);
    clean(login, sizeof(login));
    assert_memory_equal(out, cleaned, sizeof(cleaned));
}

/* Cut at each two places: by what was received, and by PDUs of one text. */
static void
test_cuts(void **state)
{
    (void)state;
    for (uint32_t a = 0; a < sizeof(login); a++) {
        for (uint32_t b = a; b < sizeof(login); b++) {
            r = (struct redact){.len = 0};
            redact_pdu(&r, false);
            clean(login, a);
            assert_memory_equal(out, cleaned, a);
            redact_pdu(&r, true);
            clean(login + a, b - a);
            assert_memory_equal(out, cleaned + a, b - a);
            clean(login + b, (uint32_t)sizeof(login) - b);
            assert_memory_equal(out, cleaned + b, sizeof(login) - b);
        }
    }
}

static bool
has(const char *what)
{
    return memmem(out, sizeof(out), what, strlen(what)) != NULL;
}

/* A sender that does not say that its text goes on, or does not end it, gives nothing away. */
static void
test_broken(void **state)
{
    static const char text[] = "CHAP_R=0xSECRET";

    (void)state;
    for (uint32_t cut = 1; cut < LEN(text); cut++) { /* the C bit is missing */
        r = (struct redact){.len = 0};
        redact_pdu(&r, false);
        clean(text, cut);
        assert_false(has("S"));
        redact_pdu(&r, false);
        clean(text + cut, LEN(text) - cut);
        assert_false(has("S") || has("T"));
    }
    r = (struct redact){.len = 0}; /* a value without an end before it */
    redact_pdu(&r, false);
    clean("X-a=b", 5);
    redact_pdu(&r, false);
    clean(text, sizeof(text));
    assert_false(has("SECRET"));
    r = (struct redact){.len = 0}; /* a key without a value before it */
    redact_pdu(&r, false);
    clean("X-a", 3);
    redact_pdu(&r, false);
    clean(text, sizeof(text));
    assert_false(has("SECRET"));
    redact_unknown(&r); /* the capture begins in the middle */
    redact_pdu(&r, false);
    clean("SECRET\0CHAP_A=5", 16);
    assert_false(has("SECRET"));
    assert_memory_equal(out + 7, "CHAP_A=5", 9);
}

static void
test_keys(void **state)
{
    static const char *const secret[] = {"CHAP_N", "CHAP_C",     "CHAP_R",   "chap_r", "SRP_A",
                                         "SRP_U",  "KRB_AP_REQ", "SPKM_REQ", "xCHAP_R"};
    static const char *const open[] = {"CHAP_A",     "CHAP_I",  "AuthMethod",
                                       "TargetName", "CHAP_Nx", "R"};
    char text[64];

    (void)state;
    for (unsigned i = 0; i < sizeof(secret) / sizeof(secret[0]); i++) {
        r = (struct redact){.len = 0};
        clean(text, (uint32_t)snprintf(text, sizeof(text), "%s=CHAP=SRP_", secret[i]) + 1);
        assert_string_equal(out + strlen(secret[i]), "=xxxxxxxxx");
    }
    for (unsigned i = 0; i < sizeof(open) / sizeof(open[0]); i++) {
        r = (struct redact){.len = 0};
        clean(text, (uint32_t)snprintf(text, sizeof(text), "%s=CHAP_R=0x1", open[i]) + 1);
        assert_string_equal(out, text);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_cuts),
        cmocka_unit_test(test_broken),
        cmocka_unit_test(test_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
