/* SPDX-License-Identifier: MIT */
/* Persistent reservations of an initiator port: they stay when its connection is cut, when its
 * session is reinstated, and with APTPL when the target is started again. */
#include "tests/unit/target/puppet.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lu/store.h"
#include "wire/pr.h"

#define KEY  0xaaaaaaaa11111111ull
#define WERO SCSI_PR_WRITE_EXCLUSIVE_RO

static uint8_t
pr_out(struct puppet *p, enum scsi_pr_out sa, uint8_t type, uint64_t key, uint64_t service_key,
       uint8_t flags)
{
    struct pr_list l = {key, service_key, flags};
    uint8_t cdb[CDB_MAX], list[PR_LIST_LEN];

    (void)cdb_pr_out(cdb, sa, type, sizeof(list));
    pr_list_build(list, &l);
    (void)puppet_cmd(p, 0, WR, cdb, sizeof(list), list, sizeof(list));
    return puppet_status(p, NULL, NULL, NULL);
}

static uint8_t
writes(struct puppet *p)
{
    static const uint8_t block[512];
    uint8_t cdb[CDB_MAX];

    (void)cdb_write10(cdb, 0, 1, 0);
    (void)puppet_cmd(p, 0, WR, cdb, sizeof(block), block, sizeof(block));
    return puppet_status(p, NULL, NULL, NULL);
}

static struct puppet *
login(struct world *w, uint8_t isid)
{
    struct puppet *p = puppet_new(w, isid);

    assert_int_equal(puppet_login(p, KEYS("")), 0);
    puppet_clear_ua(p);
    return p;
}

static void
take(struct puppet *p, uint8_t flags)
{
    assert_int_equal(pr_out(p, SCSI_PROUT_REGISTER, 0, 0, KEY, flags), SCSI_GOOD);
    assert_int_equal(pr_out(p, SCSI_PROUT_RESERVE, WERO, KEY, 0, 0), SCSI_GOOD);
}

/* It is the port with that ISID that has the reservation, and nobody else. */
static void
is_still_of(struct world *w, struct puppet *p)
{
    struct puppet *stranger = login(w, 77);
    uint8_t cdb[CDB_MAX], buf[1024];
    struct pr_reservation held;
    struct pr_registrant r;
    uint32_t len = 0;
    size_t at = 8;

    assert_int_equal(writes(stranger), SCSI_RESERVATION_CONFLICT);
    puppet_free(stranger);
    assert_int_equal(writes(p), SCSI_GOOD);
    (void)cdb_pr_in(cdb, SCSI_PRIN_READ_RESERVATION, sizeof(buf));
    (void)puppet_cmd(p, 0, RD, cdb, sizeof(buf), NULL, 0);
    assert_int_equal(puppet_status(p, buf, &len, NULL), SCSI_GOOD);
    assert_int_equal(pr_reservation_parse(buf, len, &held), 0);
    assert_true(held.key == KEY && held.type == WERO);
    (void)cdb_pr_in(cdb, SCSI_PRIN_READ_FULL_STATUS, sizeof(buf));
    (void)puppet_cmd(p, 0, RD, cdb, sizeof(buf), NULL, 0);
    assert_int_equal(puppet_status(p, buf, &len, NULL), SCSI_GOOD);
    assert_true(pr_status_next(buf, len, &at, &r));
    assert_true(r.holder && r.key == KEY);
    assert_string_equal(r.port, INITIATOR ",i,0x800000000001");
    assert_false(pr_status_next(buf, len, &at, &r));
}

static void
test_cut(void **state)
{
    struct world *w = *state;
    struct puppet *p = login(w, 1);

    take(p, 0);
    target_drop_connections(w->target);
    puppet_expect_close(p);
    puppet_free(p);
    p = login(w, 1);
    is_still_of(w, p);
    puppet_free(p);
}

static void
test_reinstatement(void **state)
{
    struct world *w = *state;
    struct puppet *old = login(w, 1), *p;

    take(old, 0);
    p = login(w, 1); /* while the target has the old session yet */
    puppet_expect_close(old);
    puppet_free(old);
    is_still_of(w, p);
    puppet_free(p);
}

/* ---- a target that is started again ---- */

static char path[] = "/tmp/lunette-pr-XXXXXX", kept[sizeof(path) + 3];

static void
start(struct world *w)
{
    static struct lu_config luns[2];
    struct target_node_config node = {.name = IQN, .luns = luns, .luns_count = 2};

    luns[0] = (struct lu_config){.kind = LU_FILE, .lun = 0, .wce = -1};
    (void)snprintf(luns[0].path, sizeof(luns[0].path), "%s", path);
    luns[1] = (struct lu_config){.kind = LU_RAM, .size = 1 << 20, .lun = 1, .wce = -1};
    world_new(w, &node, 1);
}

static int
setup(void **state)
{
    static struct world w;
    int fd;

    (void)strcpy(path + sizeof(path) - 7, "XXXXXX");
    fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 1 << 20), 0);
    assert_int_equal(close(fd), 0);
    (void)snprintf(kept, sizeof(kept), "%s.pr", path);
    start(&w);
    *state = &w;
    return 0;
}

static int
teardown(void **state)
{
    world_free(*state);
    (void)unlink(kept);
    return unlink(path);
}

static void
test_restart_with_aptpl(void **state)
{
    struct world *w = *state;
    struct puppet *p = login(w, 1);

    take(p, PR_APTPL);
    puppet_free(p);
    assert_int_equal(access(kept, F_OK), 0);
    for (int i = 0; i < 3; i++) {
        world_free(w);
        start(w);
        p = login(w, 1);
        is_still_of(w, p);
        puppet_free(p);
    }
    p = login(w, 1);
    assert_int_equal(pr_out(p, SCSI_PROUT_CLEAR, 0, KEY, 0, 0), SCSI_GOOD);
    assert_int_equal(access(kept, F_OK), -1);
    puppet_free(p);
}

static void
test_restart_without(void **state)
{
    struct world *w = *state;
    struct puppet *p = login(w, 1);

    take(p, 0);
    puppet_free(p);
    assert_int_equal(access(kept, F_OK), -1);
    world_free(w);
    start(w);
    p = login(w, 2);
    assert_int_equal(writes(p), SCSI_GOOD);
    assert_int_equal(pr_out(p, SCSI_PROUT_RESERVE, WERO, KEY, 0, 0), SCSI_RESERVATION_CONFLICT);
    puppet_free(p);
}

/* Somebody has put other things in the place of what is kept: nothing is written to them, nor is
 * one waited for. */
static void
test_other_things_in_its_place(void **state)
{
    struct lu_config cfg = {.kind = LU_FILE, .wce = -1};
    char fresh[sizeof(kept) + 4], text[64];
    struct lu_store *store = NULL;
    struct stat st;
    uint64_t bytes;

    (void)state;
    (void)snprintf(cfg.path, sizeof(cfg.path), "%s", path);
    (void)snprintf(fresh, sizeof(fresh), "%s.new", kept);
    assert_int_equal(lu_store_open(&cfg, NULL, &store, &bytes, NULL), 0);
    for (int how = 0; how < 3; how++) {
        if (how == 0)
            assert_int_equal(link(path, fresh), 0);
        else if (how == 1)
            assert_int_equal(symlink(path, fresh), 0);
        else
            assert_int_equal(mkfifo(fresh, 0600), 0);
        assert_int_equal(store->ops->keep(store, "text", 4), 0);
        assert_int_equal(store->ops->kept(store, text, sizeof(text)), 4);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_size, 1 << 20);
        assert_int_equal(access(fresh, F_OK), -1);
    }
    assert_int_equal(unlink(kept), 0);
    assert_int_equal(mkfifo(kept, 0600), 0);
    assert_int_equal(store->ops->kept(store, text, sizeof(text)), -EINVAL);
    assert_int_equal(unlink(kept), 0);
    assert_int_equal(symlink(path, kept), 0);
    assert_true(store->ops->kept(store, text, sizeof(text)) < 0);
    lu_store_close(store);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_cut, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_reinstatement, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_restart_with_aptpl, setup, teardown),
        cmocka_unit_test_setup_teardown(test_restart_without, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_things_in_its_place, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
