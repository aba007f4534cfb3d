/* SPDX-License-Identifier: MIT */
/* test_kept.c - a session of a target that only the firmware knows goes by what its table has said,
 * also while that cannot be read. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "iscsid/internal.h"
#include "tests/test.h"
#include "tests/unit/firmware/table.h"

struct kept {
    char dir[64], root[96], locks[96], firmware[96], table[160];
    struct table is;
    unsigned warnings;
    struct log log;
    struct loop loop;
    struct iscsid d;
};

static void
on_log(void *user, enum log_level level, const char *line)
{
    struct kept *k = user;

    (void)line;
    k->warnings += level == LOG_LEVEL_WARN;
}

static void
make_dirs(const char *path)
{
    char part[192];

    (void)snprintf(part, sizeof(part), "%s", path);
    for (char *p = part + 1; (p = strchr(p, '/')) != NULL; p++) {
        *p = '\0';
        (void)mkdir(part, 0700);
        *p = '/';
    }
}

static void
put_table(const struct kept *k, const struct table *t)
{
    int fd = open(k->table, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0 && write(fd, t->at, t->len) == (ssize_t)t->len && close(fd) == 0);
}

static int
setup(void **state)
{
    struct kept *k = calloc(1, sizeof(*k));
    struct nodedb_config cfg = {.root = NULL};

    assert_non_null(k);
    (void)strcpy(k->dir, "/tmp/lunette-kept.XXXXXX");
    assert_non_null(mkdtemp(k->dir));
    (void)snprintf(k->root, sizeof(k->root), "%s/iscsi", k->dir);
    (void)snprintf(k->locks, sizeof(k->locks), "%s/locks", k->dir);
    (void)snprintf(k->firmware, sizeof(k->firmware), "%s/firmware", k->dir);
    (void)snprintf(k->table, sizeof(k->table), "%s/acpi/tables/iBFT", k->firmware);
    make_dirs(k->table);
    table_make(&k->is);
    put_table(k, &k->is);
    cfg.root = k->root;
    cfg.lock_dir = k->locks;
    assert_int_equal(nodedb_open(&cfg, &k->d.db, NULL), 0);
    nodedb_record_init(&k->d.conf, NODEDB_CONF);
    k->log = (struct log){.level = LOG_LEVEL_INFO, .sink = on_log, .user = k};
    k->loop.log = &k->log;
    k->d.loop = &k->loop;
    k->d.cfg.firmware = k->firmware;
    *state = k;
    return 0;
}

static int
teardown(void **state)
{
    struct kept *k = *state;
    char cmd[128];

    (void)snprintf(cmd, sizeof(cmd), "rm -r '%s'", k->dir);
    assert_int_equal(system(cmd), 0);
    firmware_list_fini(&k->d.firmware);
    nodedb_record_fini(&k->d.conf);
    nodedb_close(&k->d.db);
    free(k);
    return 0;
}

/* Has the target's session a configuration? */
static int
record_of(struct kept *k, const char *target)
{
    struct lunette_error err = LUNETTE_INIT(err);
    struct nodedb_record r, iface;
    struct firmware_list l;
    struct nodedb_id id;
    int e = -ENOENT;

    assert_int_equal(firmware_parse(k->is.at, k->is.len, &l, &err), 0);
    for (size_t i = 0; i < l.n; i++) {
        if (strcmp(l.target[i].name, target) != 0)
            continue;
        firmware_id(&l.target[i], "default", &id);
        e = firmware_record(&k->d, &id, NULL, &r, &iface, &err);
    }
    firmware_list_fini(&l);
    if (e < 0)
        return e;
    assert_string_equal(nodedb_record_text(&r, NODEDB_NODE_NAME), target);
    assert_string_equal(nodedb_record_text(&iface, NODEDB_IFACE_INITIATORNAME),
                        "iqn.2026-11.example:host");
    nodedb_record_fini(&r);
    nodedb_record_fini(&iface);
    return 0;
}

#define A "iqn.2026-11.example:a"
#define B "iqn.2026-11.example:b"

/* The module that shows the table is gone for a while, or what it shows is cut. */
static void
table_comes_and_goes(void **state)
{
    struct kept *k = *state;
    struct table cut = k->is;

    assert_int_equal(unlink(k->table), 0);
    assert_int_equal(record_of(k, A), -ENOENT); /* never seen */
    put_table(k, &k->is);
    assert_int_equal(record_of(k, A), 0);
    assert_int_equal(unlink(k->table), 0);
    assert_int_equal(record_of(k, A), 0);
    assert_int_equal(record_of(k, B), 0);
    assert_int_equal(k->warnings, 1);
    cut.len /= 2;
    put_table(k, &cut);
    assert_int_equal(record_of(k, B), 0);
    assert_int_equal(k->warnings, 1);
    put_table(k, &k->is);
    assert_int_equal(record_of(k, B), 0);
    assert_int_equal(unlink(k->table), 0);
    assert_int_equal(record_of(k, B), 0);
    assert_int_equal(k->warnings, 2); /* of each time */
}

/* A target that makes no sense now has its place in what was read before; one that the table does
 * not name any more is gone. */
static void
target_goes(void **state)
{
    struct kept *k = *state;
    struct table other = k->is;

    assert_int_equal(record_of(k, B), 0);
    memset(other.at + TABLE_TARGET(1) + 6, 0, 16); /* no address */
    table_seal(&other);
    put_table(k, &other);
    assert_int_equal(record_of(k, A), 0);
    assert_int_equal(record_of(k, B), 0);
    assert_int_equal(k->warnings, 1);
    other = k->is;
    table_u16(&other, 64, 0); /* there is no second target */
    table_seal(&other);
    put_table(k, &other);
    assert_int_equal(record_of(k, A), 0);
    assert_int_equal(record_of(k, B), -ENOENT);
}

/* Whether the firmware knows a target is not known where its table cannot be read for a moment, and
 * nothing of it was read before: what is said to have no record loses its session. */
static void
table_not_read_now(void **state)
{
    struct kept *k = *state;
    struct lunette_error err = LUNETTE_INIT(err);
    struct nodedb_id id = {.iface = "default"};
    struct setup s;
    char too_long[PATH_MAX + 2];

    (void)snprintf(id.target, sizeof(id.target), "%s", A);
    (void)snprintf(id.portal.host, sizeof(id.portal.host), "192.0.2.1");
    id.portal.port = 3260;
    assert_int_equal(records_setup(&k->d, &id, NULL, &s, &err), -ENOENT);
    memset(too_long, 'x', sizeof(too_long) - 1);
    too_long[sizeof(too_long) - 1] = '\0';
    firmware_list_fini(&k->d.firmware);
    k->d.cfg.firmware = too_long;
    assert_int_equal(record_of(k, A), -ENAMETOOLONG);
    assert_int_equal(records_setup(&k->d, &id, NULL, &s, &err), -ENAMETOOLONG);
    assert_non_null(strstr(err.msg, "the firmware's targets"));
    k->d.cfg.firmware = "/nowhere";
    assert_int_equal(records_setup(&k->d, &id, NULL, &s, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "record"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(table_comes_and_goes, setup, teardown),
        cmocka_unit_test_setup_teardown(target_goes, setup, teardown),
        cmocka_unit_test_setup_teardown(table_not_read_now, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
