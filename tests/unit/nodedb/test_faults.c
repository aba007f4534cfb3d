/* SPDX-License-Identifier: MIT */
/* test_faults.c - the program dies at any call that changes something, or any such call fails, or
 * any allocation: what was committed is there afterwards, and the next change goes through. */
#include "tests/unit/nodedb/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "nodedb/conf.h"

#define A       "iqn.2026-11.example:a"
#define MAX_OPS 200
#define DIED    99

/* ---- calls that fail ---- */

static int fault_at, fault_errno, ops_made; /* fault_errno 0: the program dies there */

static int
fault(void)
{
    if (++ops_made != fault_at)
        return 0;
    if (fault_errno == 0)
        _exit(DIED);
    errno = fault_errno;
    return -1;
}

static int
f_open(int dir, const char *name, int flags, mode_t mode)
{
    return fault() < 0 ? -1 : whole_fileops_libc.open(dir, name, flags, mode);
}

/* A write that fails has written half of it, and one that does not takes two turns. */
static ssize_t
f_write(int fd, const void *buf, size_t len)
{
    if (len > 1)
        len /= 2;
    if (ops_made + 1 == fault_at && fault_errno != EINTR)
        (void)!write(fd, buf, len);
    return fault() < 0 ? -1 : write(fd, buf, len);
}

static int
f_fsync(int fd)
{
    (void)fd; /* no power fails here, and it would take minutes */
    return fault();
}

static int
f_rename(int from_dir, const char *from, int to_dir, const char *to)
{
    return fault() < 0 ? -1 : whole_fileops_libc.rename(from_dir, from, to_dir, to);
}

static int
f_unlink(int dir, const char *name, int flags)
{
    return fault() < 0 ? -1 : whole_fileops_libc.unlink(dir, name, flags);
}

static int
f_mkdir(int dir, const char *name, mode_t mode)
{
    return fault() < 0 ? -1 : whole_fileops_libc.mkdir(dir, name, mode);
}

static int
f_symlink(const char *target, int dir, const char *name)
{
    return fault() < 0 ? -1 : whole_fileops_libc.symlink(target, dir, name);
}

static const struct whole_fileops faulty = {f_open,   f_write,  f_fsync, f_fsync,
                                            f_rename, f_unlink, f_mkdir, f_symlink};

/* ---- allocations that fail ---- */

static int alloc_fails_at, allocs;

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
char *__real_strdup(const char *s);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
char *__wrap_strdup(const char *s);

static bool
alloc_fails(void)
{
    return alloc_fails_at > 0 && ++allocs == alloc_fails_at;
}

void *
__wrap_malloc(size_t size)
{
    return alloc_fails() ? NULL : __real_malloc(size);
}

void *
__wrap_calloc(size_t n, size_t size)
{
    return alloc_fails() ? NULL : __real_calloc(n, size);
}

void *
__wrap_realloc(void *p, size_t size)
{
    return alloc_fails() ? NULL : __real_realloc(p, size);
}

char *
__wrap_strdup(const char *s)
{
    return alloc_fails() ? NULL : __real_strdup(s);
}

/* ---- the changes ---- */

static struct nodedb_id id_a, id_flat, id_new;
static struct portal via = {.host = "192.0.2.9", .port = 3260, .tpgt = -1};

static int
change_update(struct nodedb *db, struct lunette_error *err)
{
    return nodedb_node_update(db, &id_a, "node.session.cmds_max", "512", err);
}

static int
change_convert(struct nodedb *db, struct lunette_error *err)
{
    return nodedb_node_update(db, &id_flat, "node.session.cmds_max", "512", err);
}

static int
change_iface(struct nodedb *db, struct lunette_error *err)
{
    struct nodedb_id eth = tree_id(A, "192.0.2.1", 3260, 1, "eth");
    int e = tree_iface(db, "eth", "iface.net_ifacename", "eth7", err);

    return e == 0 ? nodedb_iface_follow(db, "eth", &eth, 1, err) : e;
}

static int
change_delete(struct nodedb *db, struct lunette_error *err)
{
    return nodedb_node_delete(db, &id_a, err);
}

static int
change_discover(struct nodedb *db, struct lunette_error *err)
{
    struct nodedb_id ids[] = {id_new, id_a};
    struct nodedb_discovered d = {.source = NODEDB_BY_SENDTARGETS,
                                  .via = &via,
                                  .ids = ids,
                                  .nids = 2,
                                  .ops = NODEDB_OP_NEW | NODEDB_OP_UPDATE | NODEDB_OP_DELETE};

    return nodedb_discovered(db, &d, err);
}

static int
change_disc(struct nodedb *db, struct lunette_error *err)
{
    struct nodedb_record r;
    int e = nodedb_disc_init(&r, NODEDB_SENDTARGETS, &via, NULL, err);

    if (e == 0)
        e = nodedb_disc_write(db, &r, err);
    nodedb_record_fini(&r);
    return e;
}

static int
change_disc_delete(struct nodedb *db, struct lunette_error *err)
{
    return nodedb_disc_delete(db, NODEDB_SENDTARGETS, &via, NULL, NULL, err);
}

static int
change_initiator(struct nodedb *db, struct lunette_error *err)
{
    static const uint8_t random[NODEDB_INITIATOR_RANDOM] = {1, 2, 3, 4, 5, 6};
    struct nodedb_initiator who;
    char path[5000];

    (void)snprintf(path, sizeof(path), "%s/initiatorname.iscsi", db->path);
    return nodedb_initiator_read(path, random, db->ops, &who, err);
}

static int (*const changes[])(struct nodedb *db, struct lunette_error *err) = {
    change_update,   change_convert, change_iface,       change_delete,
    change_discover, change_disc,    change_disc_delete, change_initiator,
};

#define CHANGES (sizeof(changes) / sizeof(changes[0]))

/* The tree before a change. */
static void
prepare(const struct tree *t)
{
    struct nodedb_id eth = tree_id(A, "192.0.2.1", 3260, 1, "eth");
    struct lunette_error err = LUNETTE_INIT(err);

    id_a = tree_id(A, "192.0.2.1", 3260, 1, "default");
    id_flat = tree_id(A, "192.0.2.2", 3260, 3, "default");
    id_new = tree_id("iqn.2026-11.example:new", "192.0.2.1", 3260, 1, "default");
    (void)tree_iface(t->db, "eth", NULL, NULL, &err);
    (void)nodedb_node_delete(t->db, &id_new, &err);
    (void)nodedb_node_delete(t->db, &id_flat, &err);
    tree_add(t, &eth);
    tree_add(t, &id_a);
    assert_int_equal(nodedb_node_update(t->db, &id_a, "node.startup", "automatic", &err), 0);
    assert_int_equal(change_disc(t->db, &err), 0);
    tree_put(t, "nodes/" A "/192.0.2.2,3260",
             "# BEGIN RECORD 2.0\nnode.name = " A "\nnode.tpgt = 3\nnode.startup = automatic\n"
             "node.conn[0].address = 192.0.2.2\n# END RECORD\n");
}

/* Whatever has happened: what a record holds is what it held, or what was to be written. */
static void
check_node(const struct tree *t, const struct nodedb_id *id, bool may_be_gone)
{
    struct lunette_error err = LUNETTE_INIT(err);
    struct nodedb_record r;
    int e = nodedb_node_read(t->db, id, &r, &err);
    int64_t cmds;

    if (e == -ENOENT && may_be_gone)
        return;
    if (e < 0)
        fail_msg("%s", err.msg);
    cmds = nodedb_record_num(&r, NODEDB_CMDS_MAX);
    assert_false(r.torn);
    assert_true(cmds == 128 || cmds == 512);
    assert_int_equal(nodedb_record_word(&r, NODEDB_NODE_STARTUP), 1);
    nodedb_record_fini(&r);
}

static int
count_nodes(void *user, const struct nodedb_id *id, struct nodedb_record *r)
{
    (void)id;
    assert_false(r->torn);
    ++*(unsigned *)user;
    return 0;
}

static void
check_all(const struct tree *t, size_t change)
{
    static const struct nodedb_filter all = {.tpgt = -1};
    bool deletes = changes[change] == change_delete;
    unsigned n = 0;
    struct nodedb_visitor v = {.node = count_nodes, .user = &n};
    struct lunette_error err = LUNETTE_INIT(err);

    check_node(t, &id_a, deletes);
    check_node(t, &id_flat, false);
    assert_int_equal(nodedb_nodes(t->db, &all, &v, &err), 0);
    assert_true(n >= 2 && n <= 4);
}

/* Runs a change with a fault at its k-th call.  Returns whether it had so many. */
static bool
run_dying(const struct tree *t, size_t change, int k)
{
    struct lunette_error err = LUNETTE_INIT(err);
    int status;
    pid_t pid;

    prepare(t);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct nodedb_config cfg = {.root = t->root, .lock_dir = t->locks, .ops = &faulty};
        struct nodedb *db;

        if (nodedb_open(&cfg, &db, NULL) < 0)
            _exit(1);
        ops_made = 0;
        fault_at = k;
        fault_errno = 0;
        _exit(changes[change](db, NULL) == 0 ? 0 : 2);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_true(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == DIED);
    check_all(t, change);
    /* its lock and its temporary file are in nobody's way */
    if (changes[change](t->db, &err) < 0 && changes[change] != change_delete &&
        changes[change] != change_disc_delete)
        fail_msg("change %zu, died at %d: %s", change, k, err.msg);
    assert_false(tree_has(t, WHOLE_TEMP) && WEXITSTATUS(status) == 0);
    /* a removal leaves nothing, if only it is made again */
    if (changes[change] == change_disc_delete)
        assert_int_equal(tree_count(t, "send_targets"), 0);
    if (changes[change] == change_delete)
        assert_int_equal(tree_count(t, "static"), 1); /* that of eth */
    return WEXITSTATUS(status) == DIED;
}

static void
test_dying(void **state)
{
    struct tree *t = *state;
    int deaths = 0;

    for (size_t c = 0; c < CHANGES; c++) {
        char path[128];
        int k = 1;

        (void)snprintf(path, sizeof(path), "%s/initiatorname.iscsi", t->root);
        do {
            if (changes[c] == change_initiator)
                (void)unlink(path);
            assert_true(k < MAX_OPS);
        } while (run_dying(t, c, k++));
        assert_true(k > 4); /* there are calls at all */
        deaths += k - 2;
    }
    print_message("died at %d calls\n", deaths);
}

/* ---- a record that moves to where its tag is told ---- */

#define UNTAGGED "192.0.2.7,3260"

static struct nodedb_id id_untagged, id_tagged;

static int
change_tag(struct nodedb *db, struct lunette_error *err)
{
    struct nodedb_id ids[] = {id_tagged, id_a};
    struct nodedb_discovered d = {.source = NODEDB_BY_SENDTARGETS,
                                  .via = &via,
                                  .ids = ids,
                                  .nids = 2,
                                  .ops = NODEDB_OP_NEW | NODEDB_OP_UPDATE};

    return nodedb_discovered(db, &d, err);
}

static void
prepare_tag(const struct tree *t)
{
    struct lunette_error err = LUNETTE_INIT(err);

    prepare(t);
    id_untagged = tree_id(A, "192.0.2.7", 3260, -1, "default");
    id_tagged = tree_id(A, "192.0.2.7", 3260, 1, "default");
    (void)nodedb_node_delete(t->db, &id_tagged, NULL);
    (void)nodedb_node_delete(t->db, &id_untagged, NULL);
    tree_add(t, &id_untagged);
    assert_int_equal(nodedb_node_update(t->db, &id_untagged, "node.startup", "automatic", &err), 0);
    assert_int_equal(nodedb_node_update(t->db, &id_untagged, "node.session.cmds_max", "512", &err),
                     0);
}

/* What was set is in one of the two. */
static void
check_tag(const struct tree *t)
{
    struct lunette_error err = LUNETTE_INIT(err);
    struct nodedb_record r;

    if (nodedb_node_read(t->db, &id_tagged, &r, &err) < 0 &&
        nodedb_node_read(t->db, &id_untagged, &r, &err) < 0)
        fail_msg("the record is lost: %s", err.msg);
    assert_false(r.torn);
    assert_int_equal(nodedb_record_num(&r, NODEDB_CMDS_MAX), 512);
    assert_int_equal(nodedb_record_word(&r, NODEDB_NODE_STARTUP), 1);
    nodedb_record_fini(&r);
}

static void
test_tag_dying(void **state)
{
    struct tree *t = *state;
    bool died = true;
    int k;

    for (k = 1; died; k++) {
        struct lunette_error err = LUNETTE_INIT(err);
        int status;
        pid_t pid;

        prepare_tag(t);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            struct nodedb_config cfg = {.root = t->root, .lock_dir = t->locks, .ops = &faulty};
            struct nodedb *db;

            if (nodedb_open(&cfg, &db, NULL) < 0)
                _exit(1);
            ops_made = 0;
            fault_at = k;
            fault_errno = 0;
            _exit(change_tag(db, NULL) == 0 ? 0 : 2);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        died = WEXITSTATUS(status) == DIED;
        assert_true(died || WEXITSTATUS(status) == 0);
        check_tag(t);
        check_node(t, &id_a, false);
        assert_int_equal(change_tag(t->db, &err), 0);
        check_tag(t);
        assert_false(tree_has(t, "nodes/" A "/" UNTAGGED));
        assert_true(tree_has(t, "nodes/" A "/" UNTAGGED ",1/default"));
    }
    assert_in_range(k, 8, MAX_OPS);
}

/* Power fails: the old record goes when the new one lasts, with each directory on the way to it. */
static ino_t of_target, of_portal;
static bool target_lasts, portal_lasts, file_lasts, gone;

static int
f_fsync_seen(int fd)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return -1;
    if (S_ISREG(st.st_mode))
        file_lasts = true;
    else if (st.st_ino == of_portal)
        portal_lasts = true;
    else if (st.st_ino == of_target && of_portal != 0)
        target_lasts = true;
    return 0;
}

static int
f_mkdir_seen(int dir, const char *name, mode_t mode)
{
    struct stat st;
    int r = mkdirat(dir, name, mode);

    if (r == 0 && strcmp(name, UNTAGGED ",1") == 0) {
        assert_int_equal(fstat(dir, &st), 0);
        of_target = st.st_ino;
        assert_int_equal(fstatat(dir, name, &st, 0), 0);
        of_portal = st.st_ino;
    }
    return r;
}

static int
f_unlink_seen(int dir, const char *name, int flags)
{
    if (strcmp(name, UNTAGGED) == 0) {
        assert_true(file_lasts);
        assert_true(portal_lasts);
        assert_true(target_lasts);
        gone = true;
    }
    return unlinkat(dir, name, flags);
}

static void
test_tag_lasts(void **state)
{
    struct tree *t = *state;
    const struct whole_fileops *good = t->db->ops;
    struct whole_fileops seen = *good;
    struct lunette_error err = LUNETTE_INIT(err);

    prepare_tag(t);
    seen.fsync = f_fsync_seen;
    seen.mkdir = f_mkdir_seen;
    seen.unlink = f_unlink_seen;
    t->db->ops = &seen;
    assert_int_equal(change_tag(t->db, &err), 0);
    t->db->ops = good;
    assert_true(gone);
}

static void
test_failing(void **state)
{
    static const int errors[] = {ENOSPC, EACCES, EIO, EROFS, EINTR};
    struct tree *t = *state;
    const struct whole_fileops *good = t->db->ops;
    char path[128];

    (void)snprintf(path, sizeof(path), "%s/initiatorname.iscsi", t->root);
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        for (size_t c = 0; c < CHANGES; c++) {
            for (int k = 1;; k++) {
                struct lunette_error err = LUNETTE_INIT(err);
                int e;

                assert_true(k < MAX_OPS);
                prepare(t);
                (void)unlink(path);
                t->db->ops = &faulty;
                ops_made = 0;
                fault_at = k;
                fault_errno = errors[i];
                e = changes[c](t->db, &err);
                t->db->ops = good;
                if (e < 0) {
                    /* a person can see what it was */
                    assert_non_null(strstr(err.msg, errno_text(errors[i])));
                    assert_int_equal(err.code, e);
                    assert_null(strstr(err.msg, "old record")); /* there may have been none */
                }
                check_all(t, c);
                assert_int_equal(t->db->lock.depth, 0);
                if (ops_made < k)
                    break;
            }
        }
    }
}

/* A write that is interrupted goes on. */
static void
test_interrupted(void **state)
{
    struct tree *t = *state;
    const struct whole_fileops *good = t->db->ops;
    struct whole_fileops only_writes = *good;

    only_writes.write = f_write;
    only_writes.fsync = f_fsync;
    for (int k = 1; k < 20; k++) {
        struct lunette_error err = LUNETTE_INIT(err);

        prepare(t);
        t->db->ops = &only_writes;
        ops_made = 0;
        fault_at = k;
        fault_errno = EINTR;
        assert_int_equal(change_update(t->db, &err), 0);
        t->db->ops = good;
    }
}

/* Records on a file system of their own, as in containers: the root's temporary file cannot be
 * renamed into it. */
static int crossings;

static int
f_rename_across(int from_dir, const char *from, int to_dir, const char *to)
{
    if (from_dir != to_dir) {
        crossings++;
        errno = EXDEV;
        return -1;
    }
    return renameat(from_dir, from, to_dir, to);
}

static void
test_other_file_system(void **state)
{
    struct tree *t = *state;
    const struct whole_fileops *good = t->db->ops;
    struct whole_fileops across = *good;
    struct lunette_error err = LUNETTE_INIT(err);

    prepare(t);
    across.rename = f_rename_across;
    t->db->ops = &across;
    assert_int_equal(change_update(t->db, &err), 0);
    assert_int_equal(crossings, 1);
    t->db->ops = good;
    assert_false(tree_has(t, WHOLE_TEMP));
    assert_int_equal(tree_count(t, "nodes/" A "/192.0.2.1,3260,1"), 2); /* default and eth */
    check_node(t, &id_a, false);
}

/* What many changes have left for later is synced wherever it is. */
static dev_t synced[8];
static unsigned syncs;

static int
f_syncfs(int fd)
{
    struct stat st;

    if (syncs < 8 && fstat(fd, &st) == 0)
        synced[syncs++] = st.st_dev;
    return 0;
}

static int
sync_on_two(const struct tree *t)
{
    struct whole_fileops counted = *t->db->ops;
    struct nodedb_config cfg = {.root = t->root, .lock_dir = t->locks, .ops = &counted};
    struct nodedb *db;
    char nodes[128];
    struct stat root, own;

    (void)snprintf(nodes, sizeof(nodes), "%s/nodes", t->root);
    if (unshare(CLONE_NEWNS | (geteuid() != 0 ? CLONE_NEWUSER : 0)) < 0 ||
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("none", nodes, "tmpfs", 0, NULL) < 0)
        return 77;
    counted.syncfs = f_syncfs;
    if (nodedb_open(&cfg, &db, NULL) < 0 || stat(t->root, &root) < 0 || stat(nodes, &own) < 0 ||
        root.st_dev == own.st_dev || change_discover(db, NULL) < 0)
        return 1;
    nodedb_close(&db);
    /* additions, and then removals */
    for (unsigned i = 0; i + 1 < syncs; i += 2) {
        if (synced[i] != root.st_dev || synced[i + 1] != own.st_dev)
            return 2;
    }
    return syncs == 2 || syncs == 4 ? 0 : 3;
}

static void
test_sync_each(void **state)
{
    struct tree *t = *state;
    int status;
    pid_t pid;

    prepare(t);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(sync_on_two(t));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void
test_no_memory(void **state)
{
    struct tree *t = *state;
    char path[128];

    (void)snprintf(path, sizeof(path), "%s/initiatorname.iscsi", t->root);
    for (size_t c = 0; c < CHANGES; c++) {
        for (int k = 1;; k++) {
            struct lunette_error err = LUNETTE_INIT(err);
            int e;

            assert_true(k < 20000);
            prepare(t);
            (void)unlink(path);
            allocs = 0;
            alloc_fails_at = k;
            e = changes[c](t->db, &err);
            alloc_fails_at = 0;
            assert_true(e == 0 || e == -ENOMEM);
            if (e < 0 && err.code != -ENOMEM)
                fail_msg("change %zu, allocation %d: no error is told", c, k);
            check_all(t, c);
            assert_int_equal(t->db->lock.depth, 0);
            if (allocs < k)
                break;
            if (k > 40)
                k += 13; /* those of each key are alike */
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define TREE_TEST(f) cmocka_unit_test_setup_teardown(f, tree_setup, tree_teardown)
        TREE_TEST(test_tag_dying), TREE_TEST(test_tag_lasts),   TREE_TEST(test_dying),
        TREE_TEST(test_failing),   TREE_TEST(test_interrupted), TREE_TEST(test_other_file_system),
        TREE_TEST(test_sync_each), TREE_TEST(test_no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
