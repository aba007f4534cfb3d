/* SPDX-License-Identifier: MIT */
/* The note of a session: there and back, the largest, and what is none of ours. */
#include "tests/test.h"

#include <stdlib.h>
#include <string.h>

#include "control/note.h"

static void
fill(char *s, size_t max, char c)
{
    memset(s, c, max);
    s[max] = '\0';
}

static struct control_note
largest(void)
{
    struct control_note note;

    memset(&note, 0, sizeof(note));
    note.leaving = note.scan_manual = note.leased = true;
    fill(note.name.target, ISCSI_NAME_MAX, 't');
    fill(note.name.portal.host, HOST_MAX, 'h');
    note.name.portal.port = 65535;
    note.name.portal.tpgt = 65535;
    fill(note.name.iface, CONTROL_IFACE_MAX, 'i');
    note.name.instance = UINT32_MAX;
    fill(note.owner, CONTROL_OWNER_MAX, 'o');
    memcpy(note.isid, "\x80\x01\x02\x03\x04\x05", LOGIN_ISID_LEN);
    note.nexports = CONTROL_EXPORTS_MAX;
    for (unsigned i = 0; i < CONTROL_EXPORTS_MAX; i++) {
        note.exports[i].all = i == 0;
        note.exports[i].read_only = i % 2 == 1;
        note.exports[i].lun[1] = (uint8_t)i;
        fill(note.exports[i].kind, CONTROL_KIND_MAX, 'k');
    }
    note.nleases = CONTROL_LEASES_MAX;
    for (unsigned i = 0; i < CONTROL_LEASES_MAX; i++) {
        fill(note.leases[i].owner, CONTROL_OWNER_MAX, (char)('a' + i));
        note.leases[i].uid = UINT32_MAX - i;
        note.leases[i].ttl_ns = UINT64_MAX - i;
        note.leases[i].ends_ns = i;
    }
    note.asker.how = CONTROL_ASKED_CALLER;
    note.asker.uid = 1000;
    note.asker.pid = 4711;
    note.asker.at_ns = UINT64_MAX;
    return note;
}

static void
same_again(const struct control_note *note)
{
    uint8_t buf[IPC_NOTE_MAX];
    uint32_t len = note_pack(note, buf);
    struct control_note back;

    assert_true(len <= IPC_NOTE_MAX);
    assert_true(note_unpack(buf, len, &back));
    assert_memory_equal(&back, note, sizeof(back));
}

static void
there_and_back(void **state)
{
    struct control_note note = largest();

    (void)state;
    same_again(&note);
    memset(&note, 0, sizeof(note));
    strcpy(note.name.target, "t");
    note.name.portal.tpgt = -1;
    same_again(&note);
    note.nexports = 1; /* a LUN that is to have none */
    note.exports[0].lun[1] = 3;
    same_again(&note);
}

/* Each beginning of a note, and each with one byte another, is a note or is refused, and nothing is
 * read behind its end. */
static void
torn_and_spoiled(void **state)
{
    struct control_note note = largest(), back;
    uint8_t buf[IPC_NOTE_MAX], *copy;
    uint32_t len = note_pack(&note, buf);
    unsigned taken = 0;

    (void)state;
    for (uint32_t n = 0; n <= len; n++) {
        copy = malloc(n > 0 ? n : 1); /* so that a sanitizer sees the end */
        memcpy(copy, buf, n);
        taken += note_unpack(copy, n, &back);
        free(copy);
    }
    assert_in_range(taken, 10, 40); /* those that end with a field, behind the target's name */
    for (uint32_t i = 0; i < len; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            buf[i] ^= (uint8_t)(1u << bit);
            if (note_unpack(buf, len, &back)) {
                assert_true(strlen(back.name.target) <= ISCSI_NAME_MAX);
                assert_true(back.nexports <= CONTROL_EXPORTS_MAX);
                assert_true(back.nleases <= CONTROL_LEASES_MAX);
                assert_true(back.asker.how < CONTROL_ASKED_WAYS);
            }
            buf[i] ^= (uint8_t)(1u << bit);
        }
    }
}

static void
of_others(void **state)
{
    struct control_note note = {.leaving = false}, back;
    uint8_t buf[IPC_NOTE_MAX];
    uint32_t len;

    (void)state;
    assert_false(note_unpack((const uint8_t *)"disk 1", 6, &back));
    len = note_pack(&note, buf); /* it names no target */
    assert_false(note_unpack(buf, len, &back));
    strcpy(note.name.target, "iqn.2026-11.example:t");
    note.name.portal.tpgt = -1;
    len = note_pack(&note, buf);
    memcpy(buf + len, "\xf0\x03new", 5); /* a field of a later version */
    assert_true(note_unpack(buf, len + 5, &back));
    assert_memory_equal(&back, &note, sizeof(note));
    memcpy(buf + len, "\x01\x03t\0t", 5); /* a name with a NUL */
    assert_false(note_unpack(buf, len + 5, &back));
    memset(buf + len, 0, 22);
    memcpy(buf + len, "\x0b\x14", 2); /* a lease of nobody */
    assert_false(note_unpack(buf, len + 22, &back));
    memcpy(buf + len, "\x0c\x11\xff", 3); /* asked for in a way of a later version */
    memset(buf + len + 3, 0, 16);
    assert_true(note_unpack(buf, len + 19, &back));
    assert_int_equal(back.asker.how, CONTROL_ASKED_UNKNOWN);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(torn_and_spoiled),
        cmocka_unit_test(of_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
