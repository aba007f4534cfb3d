/* SPDX-License-Identifier: MIT */
/* fuzz_ibft.c - a firmware's table of iSCSI targets, with the length and the checksum that it says
 * it has, and again with those that are right. */
#include <errno.h>

#include "firmware/firmware.h"
#include "fuzz.h"

#define CHECK_TEXT(field)                                                                          \
    do {                                                                                           \
        CHECK(strnlen(field, sizeof(field)) < sizeof(field));                                      \
        for (const char *p = field; *p != '\0'; p++)                                               \
            CHECK((unsigned char)*p >= 0x20 && *p != 0x7f);                                        \
    } while (0)

static void
read_table(const uint8_t *data, size_t len)
{
    struct firmware_list l = {.n = 0};
    struct lunette_error err = {.code = 0};
    uint8_t *copy = fuzz_copy(data, len);
    int r = firmware_parse(copy, len, &l, &err);

    free(copy);
    CHECK(r == 0 || r == -EPROTO);
    CHECK(r == err.code);
    CHECK(l.n + l.left_out <= FIRMWARE_OBJECTS_MAX);
    CHECK((l.left_out == 0) == (l.why.code == 0));
    for (size_t i = 0; i < l.n; i++) {
        const struct firmware_target *t = &l.target[i];
        char name[ISCSI_NAME_MAX + 1];

        CHECK_TEXT(t->initiator);
        CHECK_TEXT(t->name);
        CHECK_TEXT(t->host);
        CHECK_TEXT(t->mac);
        CHECK_TEXT(t->address);
        CHECK_TEXT(t->mask);
        CHECK_TEXT(t->user);
        CHECK_TEXT(t->secret);
        CHECK_TEXT(t->user_in);
        CHECK_TEXT(t->secret_in);
        CHECK_TEXT(t->lun);
        CHECK(t->host[0] != '\0' && t->mac[0] != '\0');
        CHECK(iscsi_name_take(t->name, strlen(t->name), name, NULL) == 0);
    }
    fuzz_check_text(err.msg, sizeof(err.msg));
    fuzz_check_text(l.why.msg, sizeof(l.why.msg));
    firmware_list_fini(&l);
}

void
fuzz_one(const uint8_t *data, size_t len)
{
    uint8_t *sealed = fuzz_copy(data, len), sum = 0;

    read_table(data, len);
    if (len >= 10) {
        for (size_t i = 0; i < 4; i++)
            sealed[4 + i] = (uint8_t)(len >> 8 * i);
        sealed[8] = 1;
        sealed[9] = 0;
        for (size_t i = 0; i < len; i++)
            sum = (uint8_t)(sum + sealed[i]);
        sealed[9] = (uint8_t)-sum;
        read_table(sealed, len);
    }
    free(sealed);
}
