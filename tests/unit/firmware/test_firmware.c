/* SPDX-License-Identifier: MIT */
/* test_firmware.c - the iSCSI Boot Firmware Table, as Linux shows it and as it is: what both say is
 * the same, and what makes no sense in one target does not keep the other from being used. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "firmware/firmware.h"
#include "tests/test.h"
#include "tests/unit/firmware/table.h"

/* ---- a tree --------------------------------------------------------------------------------- */

static int
make_dir(void **state)
{
    char *dir = strdup("/tmp/lunette-firmware.XXXXXX");

    *state = dir;
    return dir == NULL || mkdtemp(dir) == NULL;
}

static int
drop_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int
drop_dir(void **state)
{
    int r = nftw(*state, drop_one, 16, FTW_DEPTH | FTW_PHYS);

    free(*state);
    return r;
}

static void
make(const char *dir, const char *path, const void *bytes, size_t len)
{
    char full[512];
    int fd;

    (void)snprintf(full, sizeof(full), "%s/%s", dir, path);
    for (char *p = full + strlen(dir) + 1; (p = strchr(p, '/')) != NULL; p++) {
        *p = '\0';
        assert_true(mkdir(full, 0700) == 0 || errno == EEXIST);
        *p = '/';
    }
    fd = open(full, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0 && write(fd, bytes, len) == (ssize_t)len && close(fd) == 0);
}

static void
put(const char *dir, const char *path, const char *text)
{
    make(dir, path, text, strlen(text));
}

/* What table_make says, as the kernel's module shows it. */
static void
put_tree(const char *dir)
{
    put(dir, "ibft/initiator/index", "0\n");
    put(dir, "ibft/initiator/flags", "3\n");
    put(dir, "ibft/initiator/initiator-name", "iqn.2026-11.example:host\n");
    for (unsigned i = 0; i < 2; i++) {
        char path[64], text[64];
#define PUT(object, name, ...)                                                                     \
    (void)snprintf(path, sizeof(path), "ibft/" object "%u/" name, i);                              \
    (void)snprintf(text, sizeof(text), __VA_ARGS__);                                               \
    put(dir, path, text)
        PUT("ethernet", "index", "%u\n", i);
        PUT("ethernet", "flags", "3\n");
        PUT("ethernet", "ip-addr", "10.0.%u.5\n", i);
        PUT("ethernet", "prefix-len", "24\n");
        PUT("ethernet", "subnet-mask", "255.255.255.0");
        PUT("ethernet", "origin", "%u\n", i == 0 ? 1u : 3u);
        PUT("ethernet", "gateway", "10.0.%u.1\n", i);
        PUT("ethernet", "vlan", "%u\n", i == 0 ? 0u : 100u);
        PUT("ethernet", "mac", "02:00:00:00:00:%02x\n", i + 1);
        PUT("target", "index", "%u\n", i);
        PUT("target", "flags", "3\n");
        PUT("target", "port", "%u\n", 3260 + i);
        PUT("target", "nic-assoc", "%u\n", i);
        PUT("target", "lun", "0%u000000\n", i + 1);
        PUT("target", "chap-type", "0\n");
#undef PUT
    }
    put(dir, "ibft/target0/ip-addr", "10.0.0.9\n");
    put(dir, "ibft/target1/ip-addr", "fd00:0000:0000:0000:0000:0000:0000:0009\n");
    put(dir, "ibft/target0/target-name", "iqn.2026-11.example:a\n");
    put(dir, "ibft/target1/target-name", "iqn.2026-11.example:b\n");
    put(dir, "ibft/target0/chap-name", "joe\n");
    put(dir, "ibft/target0/chap-secret", "a-secret-of-21-bytes\n");
    put(dir, "ibft/target0/rev-chap-name", "target\n");
    put(dir, "ibft/target0/rev-chap-name-secret", "another-of-19-bytes\n");
    put(dir, "ibft/acpi_header/signature", "iBFT\n");
}

/* Reads what has to be good. */
static void
read_good(const char *dir, struct firmware_list *l, size_t n)
{
    struct lunette_error err = LUNETTE_INIT(err);

    if (firmware_read(dir, l, &err) != 0)
        fail_msg("%s", err.msg);
    assert_int_equal(l->n, n);
}

static void
check_both(const struct firmware_list *l)
{
    const struct firmware_target *a = &l->target[0], *b = &l->target[1];

    assert_int_equal(l->left_out, 0);
    assert_string_equal(a->initiator, "iqn.2026-11.example:host");
    assert_string_equal(a->mac, "02:00:00:00:00:01");
    assert_string_equal(a->address, "10.0.0.5");
    assert_string_equal(a->mask, "255.255.255.0");
    assert_string_equal(a->gateway, "10.0.0.1");
    assert_string_equal(a->dns[0], "");
    assert_string_equal(a->vlan, "0");
    assert_int_equal(a->prefix_len, 24);
    assert_false(a->dhcp);
    assert_string_equal(a->device, "");
    assert_string_equal(a->name, "iqn.2026-11.example:a");
    assert_string_equal(a->host, "10.0.0.9");
    assert_int_equal(a->port, 3260);
    assert_string_equal(a->lun, "01000000");
    assert_string_equal(a->user, "joe");
    assert_string_equal(a->secret, "a-secret-of-21-bytes");
    assert_string_equal(a->user_in, "target");
    assert_string_equal(a->secret_in, "another-of-19-bytes");
    assert_string_equal(b->initiator, "iqn.2026-11.example:host");
    assert_string_equal(b->mac, "02:00:00:00:00:02");
    assert_string_equal(b->vlan, "100");
    assert_true(b->dhcp);
    assert_string_equal(b->name, "iqn.2026-11.example:b");
    assert_string_equal(b->host, "fd00:0000:0000:0000:0000:0000:0000:0009");
    assert_int_equal(b->port, 3261);
    assert_string_equal(b->lun, "02000000");
    assert_string_equal(b->user, "");
    assert_string_equal(b->secret, "");
}

static void
test_tree(void **state)
{
    struct firmware_list l;

    put_tree(*state);
    read_good(*state, &l, 2);
    check_both(&l);
    firmware_list_fini(&l);
}

static void
test_table(void **state)
{
    struct firmware_list l, again;
    struct table t;

    table_make(&t);
    make(*state, "acpi/tables/iBFT", t.at, t.len);
    read_good(*state, &l, 2);
    check_both(&l);
    /* The tree counts where there are both. */
    put_tree(*state);
    put(*state, "ibft/target0/port", "3333\n");
    read_good(*state, &again, 2);
    assert_int_equal(again.target[0].port, 3333);
    firmware_list_fini(&again);
    firmware_list_fini(&l);
}

static void
test_none(void **state)
{
    struct lunette_error err = LUNETTE_INIT(err);
    struct firmware_list l;

    assert_int_equal(firmware_read("/nonexistent/firmware", &l, &err), -ENODEV);
    assert_int_equal(firmware_read(*state, &l, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "iscsi_ibft"));
    put(*state, "ibft/initiator/flags", "3\n");
    assert_int_equal(firmware_read(*state, &l, &err), -ENOENT);
    /* Without an initiator, all else is no table. */
    put_tree(*state);
    assert_int_equal(firmware_read(*state, &l, &err), 0);
    firmware_list_fini(&l);
    {
        char from[128], to[128];

        (void)snprintf(from, sizeof(from), "%s/ibft/initiator", (char *)*state);
        (void)snprintf(to, sizeof(to), "%s/ibft/other", (char *)*state);
        assert_int_equal(rename(from, to), 0);
    }
    assert_int_equal(firmware_read(*state, &l, &err), -ENOENT);
}

/* One file of target 0, or of its card, is another: it is left out with the reason, and target 1 is
 * not.  Where why is NULL, it is used all the same. */
static const struct {
    const char *path, *text, *why;
} odd[] = {
    {"ibft/target0/flags", "0\n", "not marked as used"},
    {"ibft/target0/flags", "2\n", NULL},
    {"ibft/target0/flags", "x\n", "a number that is none"},
    {"ibft/target0/target-name", "\n", "has no name"},
    {"ibft/target0/target-name", "(null)\n", "has no name"},
    {"ibft/target0/target-name", "iqn.a b\n", "cannot be sent"},
    {"ibft/target0/target-name", "iqn.a\nnode.name = iqn.b\n", "control character"},
    {"ibft/target0/target-name", "\033[2J\n", "control character"},
    {"ibft/target0/ip-addr", "host.example\n", "has no address"},
    {"ibft/target0/ip-addr", "../../etc\n", "has no address"},
    {"ibft/target0/port", "65536\n", "a number that is none"},
    {"ibft/target0/port", "-1\n", "a number that is none"},
    {"ibft/target0/nic-assoc", "7\n", "a network card that the table does not have"},
    {"ibft/target0/nic-assoc", "\n", "names no network card"},
    {"ibft/target0/chap-secret", "a\rb\n", "control character"},
    {"ibft/target0/lun", "", NULL},
    {"ibft/ethernet0/flags", "0\n", "not marked as used"},
    {"ibft/ethernet0/mac", "", "without a hardware address"},
    {"ibft/ethernet0/index", "9\n", "a network card that the table does not have"},
    {"ibft/ethernet0/gateway", "0123456789012345678901234567890123456789012345678901234567890123\n",
     "too long"},
    {"ibft/initiator/initiator-name", "\n", NULL},
    {"ibft/target0x/flags", "3\n", NULL},
    {"ibft/target-1/flags", "3\n", NULL},
};

static void
test_odd(void **state)
{
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        struct firmware_list l;
        size_t n = odd[i].why != NULL ? 1 : 2;

        put_tree(*state);
        put(*state, odd[i].path, odd[i].text);
        read_good(*state, &l, n);
        assert_string_equal(l.target[n - 1].name, "iqn.2026-11.example:b");
        assert_int_equal(l.left_out, 2 - n);
        if (odd[i].why != NULL && strstr(l.why.msg, odd[i].why) == NULL)
            fail_msg("%s: %s", odd[i].path, l.why.msg);
        firmware_list_fini(&l);
    }
}

static void
test_no_files(void **state)
{
    const char *dir = *state;
    struct firmware_list l;
    char path[128], to[128];

    put_tree(dir);
    (void)snprintf(path, sizeof(path), "%s/ibft/target0/chap-secret", dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0); /* nobody waits at it */
    (void)snprintf(path, sizeof(path), "%s/ibft/target0/lun", dir);
    (void)snprintf(to, sizeof(to), "%s/elsewhere", dir);
    put(dir, "elsewhere", "11111111\n");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink(to, path), 0); /* and nothing outside is read */
    read_good(dir, &l, 2);
    assert_string_equal(l.target[0].secret, "");
    assert_string_equal(l.target[0].lun, "");
    firmware_list_fini(&l);
}

/* A card of PCI has a link to its device, and that has its network device. */
static void
test_device(void **state)
{
    struct firmware_list l;
    char path[128];

    put_tree(*state);
    put(*state, "pci/net/eth7/address", "02:00:00:00:00:01\n");
    (void)snprintf(path, sizeof(path), "%s/ibft/ethernet0/device", (char *)*state);
    assert_int_equal(symlink("../../pci", path), 0);
    put(*state, "bare/vendor", "0x8086\n");
    (void)snprintf(path, sizeof(path), "%s/ibft/ethernet1/device", (char *)*state);
    assert_int_equal(symlink("../../bare", path), 0);
    read_good(*state, &l, 2);
    assert_string_equal(l.target[0].device, "eth7");
    assert_false(l.target[0].device_by_mac);
    assert_string_equal(l.target[1].device, "");
    assert_true(l.target[1].device_by_mac);
    firmware_list_fini(&l);
}

/* ---- the table ------------------------------------------------------------------------------ */

/* A table whose byte at `at` is another, with a checksum that is right. */
static const struct {
    size_t at;
    uint8_t byte;
    int r;    /* what firmware_parse returns, */
    size_t n; /* and how many targets there are */
    const char *why;
} bytes[] = {
    {0, 'X', -EPROTO, 0, "signature"},
    {8, 2, -EPROTO, 0, "revision"},
    {48, 2, -EPROTO, 0, "control structure"},
    {50, 17, -EPROTO, 0, "control structure"},
    {51, 0xff, -EPROTO, 0, "control structure"},
    {57, 0xff, 0, 2, NULL}, /* the initiator is not inside: nobody's name */
    {59, 0xff, 0, 1, "a network card that the table does not have"},
    {60, 0, 0, 1, NULL}, /* where a target is to be, the second card is */
    {TABLE_TARGET(0), 9, 0, 1, NULL},
    {TABLE_TARGET(0) + 2, 55, 0, 1, NULL},
    {TABLE_TARGET(0) + 5, 0, 0, 1, "not marked as used"},
    {TABLE_TARGET(0) + 35, 0xff, 0, 1, "not inside the table"},
    {TABLE_TARGET(0) + 37, 0xff, 0, 1, "not inside the table"},
    {TABLE_TARGET(0) + 34, 0, 0, 1, "has no name"},
    {TABLE_TARGET(0) + 43, 0xff, 0, 1, "not inside the table"},
    {TABLE_CARD(1) + 5, 0, 0, 1, "not marked as used"},
    {TABLE_HEAP, 0x01, 0, 2, NULL},
};

static void
test_bytes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bytes) / sizeof(bytes[0]); i++) {
        struct lunette_error err = LUNETTE_INIT(err);
        struct firmware_list l = {.n = 0};
        struct table t;
        int r;

        table_make(&t);
        t.at[bytes[i].at] = bytes[i].byte;
        table_seal(&t);
        r = firmware_parse(t.at, t.len, &l, &err);
        if (r != bytes[i].r || (r == 0 && l.n != bytes[i].n))
            fail_msg("byte %zu: %d, %zu targets, %s", bytes[i].at, r, l.n, err.msg);
        if (bytes[i].why != NULL && strstr(r < 0 ? err.msg : l.why.msg, bytes[i].why) == NULL)
            fail_msg("byte %zu: %s", bytes[i].at, r < 0 ? err.msg : l.why.msg);
        firmware_list_fini(&l);
    }
}

/* Cut anywhere, with a length and a checksum that fit, and in memory of just that size. */
static void
test_cut(void **state)
{
    struct table t;

    (void)state;
    table_make(&t);
    for (size_t len = 0; len < t.len; len++) {
        struct lunette_error err = LUNETTE_INIT(err);
        struct firmware_list l = {.n = 0};
        struct table cut = t;
        uint8_t *copy;
        int r;

        cut.len = len;
        if (len > 9)
            table_seal(&cut);
        copy = malloc(len + 1);
        assert_non_null(copy);
        memcpy(copy, cut.at, len);
        r = firmware_parse(copy, len, &l, &err);
        assert_true(r == 0 ? len >= 66 && l.n <= 2 : r == -EPROTO && err.msg[0] != '\0');
        firmware_list_fini(&l);
        free(copy);
    }
}

static void
test_checksum(void **state)
{
    struct lunette_error err = LUNETTE_INIT(err);
    struct firmware_list l;
    struct table t;

    table_make(&t);
    t.at[9]++;
    assert_int_equal(firmware_parse(t.at, t.len, &l, &err), -EPROTO);
    assert_non_null(strstr(err.msg, "checksum"));
    make(*state, "acpi/tables/iBFT", t.at, t.len);
    assert_int_equal(firmware_read(*state, &l, &err), -EPROTO);
}

/* A table that cannot be read as a whole is not one with fewer targets, or without a secret. */
static void
no_descriptors(void **state)
{
    struct rlimit was, few;
    unsigned failed = 0;
    int next;

    put_tree(*state);
    put(*state, "ibft/ethernet0/device/net/eth0/address", "02:00:00:00:00:01\n");
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
    next = open("/dev/null", O_RDONLY);
    assert_true(next >= 0 && close(next) == 0);
    for (int more = 0; more < 8; more++) {
        struct lunette_error err = LUNETTE_INIT(err);
        struct firmware_list l;
        int r;

        few = was;
        few.rlim_cur = (rlim_t)(next + more);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
        r = firmware_read(*state, &l, &err);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
        if (r < 0) {
            assert_int_equal(r, -EMFILE);
            failed++;
            continue;
        }
        assert_int_equal(l.n, 2);
        assert_string_equal(l.target[0].device, "eth0");
        assert_string_equal(l.target[0].secret, "a-secret-of-21-bytes");
        firmware_list_fini(&l);
    }
    assert_in_range(failed, 3, 7);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_tree, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(test_table, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(test_none, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(test_odd, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(test_no_files, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(test_device, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(no_descriptors, make_dir, drop_dir),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_cut),
        cmocka_unit_test_setup_teardown(test_checksum, make_dir, drop_dir),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
