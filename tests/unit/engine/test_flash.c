/* SPDX-License-Identifier: MIT */
/* The tables of an engine: records as text, in files that may be torn or of another version, shared
 * by loops, and names with secrets. */
#include "tests/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/whole_file.h"
#include "engine/flash.h"
#include "engine/flash_text.h"
#include "offload/entry.h"
#include "tests/unit/fake_loop.h"

#define A      "iqn.2026-11.example:a"
#define B      "iqn.2026-11.example:b"
#define ME     "iqn.2026-11.example:me"
#define SECRET "a secret of some length"

static struct fake_loop loop;
static char dir[64], said[1024];
static unsigned lines;

static void
note_line(void *user, enum log_level level, const char *line)
{
    (void)user;
    (void)level;
    lines++;
    (void)snprintf(said, sizeof(said), "%s", line);
}

static const struct log to_note = {LOG_LEVEL_DEBUG, note_line, NULL};

static int
no_fsync(int fd)
{
    (void)fd; /* no power fails here, and it would take minutes */
    return 0;
}

static struct whole_fileops quick;

static int
make_dir(void **state)
{
    (void)state;
    quick = whole_fileops_libc;
    quick.fsync = no_fsync;
    strcpy(dir, "/tmp/lunette-flash.XXXXXX");
    assert_non_null(mkdtemp(dir));
    fake_loop_init(&loop, 1);
    loop.l.log = &to_note;
    lines = 0;
    said[0] = '\0';
    return 0;
}

static int
drop_dir(void **state)
{
    char cmd[128];

    (void)state;
    (void)snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
    return system(cmd) == 0 ? 0 : -1;
}

static struct flash_record
record_of(const char *target, const char *host)
{
    struct flash_record r;

    engine_flash_record_init(&r);
    strcpy(r.login.target_name, target);
    strcpy(r.login.initiator_name, ME);
    strcpy(r.login.portal.host, host);
    return r;
}

static struct engine_flash *
open_flash(void)
{
    struct engine_flash *f;
    struct lunette_error err;

    if (engine_flash_open_with(&loop.l, dir, &quick, &f, &err) < 0)
        fail_msg("%s", err.msg);
    return f;
}

static size_t
read_file(const char *name, char *buf, size_t size)
{
    char path[128];
    ssize_t n;
    int fd;

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    fd = open(path, O_RDONLY);
    if (fd < 0)
        return 0;
    n = read(fd, buf, size);
    close(fd);
    assert_true(n >= 0);
    return (size_t)n;
}

static void
write_file(const char *name, const char *text, size_t len, mode_t mode)
{
    char path[128];
    int fd;

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
    assert_true(fd >= 0);
    assert_int_equal(fchmod(fd, mode), 0);
    assert_int_equal(write(fd, text, len), len);
    close(fd);
}

static bool
has_file(const char *name)
{
    char path[128];

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    return access(path, F_OK) == 0;
}

/* ---- text ----------------------------------------------------------------------------------- */

static void
test_text(void **state)
{
    static const char all[] = "flashnode.session.targetname = " A "\n"
                              "flashnode.session.tpgt = 7\n"
                              "flashnode.session.initiatorname = " ME "\n"
                              "flashnode.session.isid = 80aabbccddee\n"
                              "flashnode.session.is_boot_target = 1\n"
                              "flashnode.session.chap_out_idx = 3\n"
                              "flashnode.session.chap_in_idx = 4\n"
                              "flashnode.session.immediate_data = 0\n"
                              "flashnode.session.initial_r2t = 1\n"
                              "flashnode.session.data_seq_in_order = 1\n"
                              "flashnode.session.data_pdu_in_order = 1\n"
                              "flashnode.session.erl = 1\n"
                              "flashnode.session.first_burst_len = 4096\n"
                              "flashnode.session.max_burst_len = 8192\n"
                              "flashnode.session.max_outstanding_r2t = 2\n"
                              "flashnode.session.def_time2wait = 3\n"
                              "flashnode.session.def_time2retain = 4\n"
                              "flashnode.session.def_taskmgmt_tmo = 5\n"
                              "flashnode.session.recovery_tmo = -1\n"
                              "flashnode.conn[0].ipaddress = fe80::1%eth0\n"
                              "flashnode.conn[0].port = 3261\n"
                              "flashnode.conn[0].transport_name = iser\n"
                              "flashnode.conn[0].header_digest_en = 1\n"
                              "flashnode.conn[0].data_digest_en = 0\n"
                              "flashnode.conn[0].max_recv_dlength = 65536\n"
                              "flashnode.conn[0].keepalive_tmo = 9\n"
                              "flashnode.conn[0].login_tmo = 11\n"
                              "flashnode.conn[0].tcp_nagle_disable = 0\n"
                              "flashnode.conn[0].ipv4_tos = 40\n";
    struct flash_record r;
    struct lunette_error err;
    char text[FLASH_TEXT_MAX];

    (void)state;
    engine_flash_record_init(&r);
    if (flash_text_take(all, sizeof(all) - 1, &r, &err) < 0)
        fail_msg("%s", err.msg);
    assert_string_equal(r.login.target_name, A);
    assert_int_equal(r.login.expected_tpgt, 7);
    assert_memory_equal(r.login.isid, "\x80\xaa\xbb\xcc\xdd\xee", 6);
    assert_true(r.boot);
    assert_int_equal(r.chap, 3);
    assert_int_equal(r.chap_in, 4);
    assert_int_equal(r.login.offer.erl, 1);
    assert_int_equal(r.login.abort_timeout_ms, 5000);
    assert_int_equal(r.login.replacement_timeout_s, -1);
    assert_string_equal(r.login.portal.host, "fe80::1%eth0");
    assert_int_equal(r.login.portal.port, 3261);
    assert_string_equal(r.login.transport, "iser");
    assert_string_equal(r.login.header_digest, "CRC32C,None");
    assert_int_equal(r.login.ping_interval_ms, 9000);
    assert_false(r.login.sock.nodelay);
    assert_int_equal(r.login.sock.dscp, 10);
    assert_int_equal(flash_text_format(&r, text), sizeof(all) - 1);
    assert_string_equal(text, all);
}

static void
test_text_refused(void **state)
{
    static const struct {
        const char *line, *says;
    } bad[] = {
        {"flashnode.session.erl = 3", "0 to 2"},
        {"flashnode.session.erl = ", "number"},
        {"flashnode.session.erl = 1x", "number"},
        {"flashnode.session.targetname = a b", "targetname"},
        {"flashnode.session.isid = 80aabbccdd", "12 hex"},
        {"flashnode.session.isid = 80aabbccddeeff", "12 hex"},
        {"flashnode.session.isid = ", "12 hex"},
        {"flashnode.session.chap_out_idx = 256", "0 to 255"},
        {"flashnode.conn[0].port = 0", "1 to 65535"},
        {"flashnode.conn[0].data_digest_en = 1", "only 0 is possible"},
        {"flashnode.conn[0].port = 65536", "1 to 65535"},
        {"flashnode.conn[0].ipaddress = 1.2.3.4 x", "blanks"},
        {"flashnode.conn[0].transport_name = ", "transport"},
        {"flashnode.session.password = x", "chap_out_idx"},
        {"flashnode.session.password_in = x", "chap_in_idx"},
        {"flashnode.session.tagetname = x", "flashnode.session.targetname meant"},
        {"flashnode.session.erl", "NAME = VALUE"},
    };
    struct lunette_error err;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct flash_record r = record_of(A, "192.0.2.1"), was = r;
        char text[512];

        (void)snprintf(text, sizeof(text), "flashnode.session.erl = 2\n%s\n", bad[i].line);
        assert_int_equal(flash_text_take(text, strlen(text), &r, &err), -EINVAL);
        if (strstr(err.msg, bad[i].says) == NULL || strstr(err.msg, "line 2") == NULL)
            fail_msg("%s: %s", bad[i].line, err.msg);
        assert_memory_equal(&r, &was, sizeof(r)); /* all or nothing */
    }
    {
        struct flash_record r = record_of(A, "192.0.2.1");
        char text[600];

        memset(text, 'a', sizeof(text));
        assert_int_equal(flash_text_take(text, sizeof(text), &r, &err), -EINVAL);
        assert_int_equal(flash_text_take("a = \0b", 6, &r, &err), -EINVAL);
        assert_int_equal(flash_text_take("", 0, &r, &err), 0);
        assert_int_equal(flash_text_take("# a comment\n\n", 13, &r, &err), 0);
    }
}

/* ---- the table ------------------------------------------------------------------------------ */

static void
test_table(void **state)
{
    static const uint8_t none[LOGIN_ISID_LEN];
    struct engine_flash *f = open_flash();
    struct flash_record r = record_of(A, "192.0.2.1"), b = record_of(B, "192.0.2.1");
    struct portal p = r.login.portal;
    uint8_t isid[LOGIN_ISID_LEN];
    struct lunette_error err;

    (void)state;
    assert_int_equal(engine_flash_add(f, &r, &err), 0);
    assert_int_equal(engine_flash_add(f, &b, &err), 1);
    assert_int_equal(engine_flash_add(f, &r, &err), -EEXIST);
    assert_int_equal(engine_flash_find(f, B, &p), 1);
    p.port++;
    assert_int_equal(engine_flash_find(f, B, &p), -ENOENT);
    memcpy(isid, engine_flash_get(f, 0)->login.isid, sizeof(isid));
    assert_memory_not_equal(isid, none, sizeof(isid));
    assert_int_equal(isid[0] & 0xc0, 0x80); /* RFC 7143 11.12.5: random */
    b = *engine_flash_get(f, 1);
    b.boot = true;
    b.login.offer.erl = 2;
    assert_int_equal(engine_flash_set(f, 1, &b, &err), 0);
    b.login.offer.first_burst = 1 << 20;
    b.login.offer.max_burst = 512;
    assert_int_equal(engine_flash_set(f, 1, &b, &err), -EINVAL); /* not possible together */
    b.chap_in = 3;
    assert_int_equal(engine_flash_set(f, 1, &b, &err), -EINVAL);
    assert_int_equal(engine_flash_set(f, 7, &r, &err), -ENOENT);
    assert_int_equal(engine_flash_set(f, 1 << 20, &r, &err), -ENOENT);
    assert_null(engine_flash_get(f, IPC_FLASHNODES_MAX));
    engine_flash_close(f);

    f = open_flash();
    assert_memory_equal(engine_flash_get(f, 0)->login.isid, isid, sizeof(isid)); /* it stays */
    assert_true(engine_flash_get(f, 1)->boot);
    assert_int_equal(engine_flash_get(f, 1)->login.offer.erl, 2);
    assert_int_equal(engine_flash_delete(f, 0, &err), 0);
    assert_int_equal(engine_flash_delete(f, 0, &err), -ENOENT);
    assert_int_equal(engine_flash_add(f, &r, &err), 0);
    assert_memory_not_equal(engine_flash_get(f, 0)->login.isid, isid, sizeof(isid));
    engine_flash_close(f);
    assert_int_equal(lines, 0);
    assert_true(has_file("flash/000"));
    assert_true(has_file("flash/001"));
}

static void
test_full(void **state)
{
    struct engine_flash *f;
    struct flash_record r = record_of("", "");
    struct lunette_error err;

    (void)state;
    assert_int_equal(engine_flash_open(&loop.l, NULL, &f, &err), 0);
    for (int i = 0; i < IPC_FLASHNODES_MAX; i++)
        assert_int_equal(engine_flash_add(f, &r, &err),
                         i); /* those without a target are no twins */
    assert_int_equal(engine_flash_add(f, &r, &err), -ENOSPC);
    assert_int_equal(engine_flash_delete(f, 77, &err), 0);
    assert_int_equal(engine_flash_add(f, &r, &err), 77);
    engine_flash_close(f);
}

/* Wherever a file is cut, and whichever byte of it is another, the record is set aside and told of,
 * its index is free again, and the other one works. */
static void
test_torn(void **state)
{
    struct engine_flash *f = open_flash();
    struct flash_record r = record_of(A, "192.0.2.1"), b = record_of(B, "192.0.2.1");
    char good[FLASH_TEXT_MAX], bad[FLASH_TEXT_MAX];
    struct lunette_error err;
    size_t len;

    (void)state;
    assert_int_equal(engine_flash_add(f, &r, &err), 0);
    assert_int_equal(engine_flash_add(f, &b, &err), 1);
    engine_flash_close(f);
    len = read_file("flash/000", good, sizeof(good));
    assert_true(len > 500);
    for (size_t i = 0; i < 2 * len; i++) {
        size_t n = i < len ? i : len;

        memcpy(bad, good, len);
        if (i >= len)
            bad[i - len] ^= 0x01;
        write_file("flash/000", bad, n, 0600);
        lines = 0;
        f = open_flash();
        if (engine_flash_get(f, 0) != NULL)
            fail_msg("byte %zu: it was taken", i);
        assert_non_null(engine_flash_get(f, 1));
        assert_int_equal(lines, 1);
        if (i < len || bad[i - len] != '2') { /* version 1 that has become another */
            assert_true(has_file("flash/000.torn"));
            assert_false(has_file("flash/000"));
            assert_non_null(strstr(said, "set aside as 000.torn"));
            assert_int_equal(engine_flash_add(f, &r, &err), 0);
        }
        engine_flash_close(f);
    }
}

/* A record that a newer program has written, and what is no record, are left as they are. */
static void
test_others(void **state)
{
    static const char newer[] = "# lunette flashnode version 2\nwho knows\n";
    struct flash_record r = record_of(A, "192.0.2.1");
    struct engine_flash *f = open_flash();
    struct lunette_error err;
    char text[256];

    (void)state;
    engine_flash_close(f);
    write_file("flash/000", newer, sizeof(newer) - 1, 0600);
    write_file("flash/999", "x", 1, 0600);
    write_file("flash/0001", "x", 1, 0600);
    write_file("flash/README", "x", 1, 0600);
    f = open_flash();
    assert_int_equal(lines, 1);
    assert_non_null(strstr(said, "newer version"));
    assert_null(engine_flash_get(f, 0));
    assert_int_equal(engine_flash_add(f, &r, &err), 1); /* 0 is taken */
    engine_flash_close(f);
    assert_int_equal(read_file("flash/000", text, sizeof(text)), sizeof(newer) - 1);
    assert_true(has_file("flash/README") && has_file("flash/0001") && has_file("flash/999"));
}

static void
test_share(void **state)
{
    enum { LOOPS = 3, RECORDS = 24 };
    struct engine_flash *f[LOOPS];
    struct lunette_error err;
    unsigned total = 0;

    (void)state;
    for (uint32_t i = 0; i < LOOPS; i++) {
        f[i] = open_flash();
        engine_flash_share(f[i], i, LOOPS);
    }
    for (int i = 0; i < RECORDS; i++) {
        struct flash_record r = record_of(A, "192.0.2.1");
        uint32_t of;
        int index;

        (void)snprintf(r.login.target_name, sizeof(r.login.target_name), "%s%d", A, i);
        of = offload_loop_of(r.login.target_name, LOOPS);
        assert_int_equal(engine_flash_add(f[(of + 1) % LOOPS], &r, &err), -EXDEV);
        index = engine_flash_add(f[of], &r, &err);
        assert_true(index >= 0);
        assert_int_equal(index % LOOPS, of);
    }
    {
        struct flash_record r = record_of("", "");
        int index = engine_flash_add(f[1], &r, &err);

        assert_int_equal(index % LOOPS, 1);
        strcpy(r.login.target_name, A "0"); /* it goes to whoever it belongs to, or is refused */
        assert_int_equal(engine_flash_set(f[1], (uint32_t)index, &r, &err),
                         offload_loop_of(A "0", LOOPS) == 1 ? 0 : -EXDEV);
    }
    for (uint32_t i = 0; i < LOOPS; i++)
        engine_flash_close(f[i]);
    /* Another number of loops: each record is still one's alone, and no index is used twice. */
    for (uint32_t i = 0; i < 2; i++) {
        f[i] = open_flash();
        engine_flash_share(f[i], i, 2);
        for (uint32_t k = 0; k < IPC_FLASHNODES_MAX; k++)
            total += engine_flash_get(f[i], k) != NULL;
    }
    assert_int_equal(total, RECORDS + 1);
    for (uint32_t i = 0; i < 2; i++) {
        for (int k = 0; k < 100; k++) {
            struct flash_record r = record_of("", "");
            int index = engine_flash_add(f[i], &r, &err);

            assert_true(index >= 0);
            assert_null(engine_flash_get(f[1 - i], (uint32_t)index));
        }
    }
    engine_flash_close(f[0]);
    engine_flash_close(f[1]);
    {
        struct engine_flash *one = open_flash();

        total = 0;
        for (uint32_t k = 0; k < IPC_FLASHNODES_MAX; k++)
            total += engine_flash_get(one, k) != NULL;
        assert_int_equal(total, RECORDS + 1 + 200);
        engine_flash_close(one);
    }
}

/* Two engines of one identity, each with its tables in memory, are the same initiator port to a
 * target; one of another identity is another, and so is another target's or portal's record. */
static void
test_identity(void **state)
{
    static const char *const of[] = {"/run/a.sock", "/run/a.sock", "/run/b.sock", NULL, NULL};
    enum { ENGINES = sizeof(of) / sizeof(of[0]) };
    uint8_t isid[ENGINES][3][LOGIN_ISID_LEN];
    struct lunette_error err;

    (void)state;
    for (int i = 0; i < ENGINES; i++) {
        struct flash_record a = record_of(A, "192.0.2.1"), b = record_of(B, "192.0.2.1"),
                            other = record_of(A, "192.0.2.2"), empty = record_of("", "");
        struct engine_flash *f;

        assert_int_equal(engine_flash_open(&loop.l, NULL, &f, &err), 0);
        if (of[i] != NULL)
            engine_flash_set_identity(f, of[i]);
        if (i == 1) { /* made in two steps, as a person does it */
            assert_int_equal(engine_flash_add(f, &empty, &err), 0);
            assert_int_equal(engine_flash_set(f, 0, &a, &err), 0);
        } else {
            assert_int_equal(engine_flash_add(f, &a, &err), 0);
        }
        assert_int_equal(engine_flash_add(f, &b, &err), 1);
        assert_int_equal(engine_flash_add(f, &other, &err), 2);
        for (uint32_t k = 0; k < 3; k++) {
            memcpy(isid[i][k], engine_flash_get(f, k)->login.isid, LOGIN_ISID_LEN);
            assert_int_equal(isid[i][k][0], 0x80);
        }
        /* It stays while the record is changed. */
        b = *engine_flash_get(f, 1);
        b.login.portal.port = 3261;
        assert_int_equal(engine_flash_set(f, 1, &b, &err), 0);
        assert_memory_equal(engine_flash_get(f, 1)->login.isid, isid[i][1], LOGIN_ISID_LEN);
        engine_flash_close(f);
    }
    for (int k = 0; k < 3; k++) {
        assert_memory_equal(isid[0][k], isid[1][k], LOGIN_ISID_LEN);
        assert_memory_not_equal(isid[0][k], isid[2][k], LOGIN_ISID_LEN);
        assert_memory_not_equal(isid[3][k], isid[4][k], LOGIN_ISID_LEN);
        assert_memory_not_equal(isid[0][k], isid[0][(k + 1) % 3], LOGIN_ISID_LEN);
    }
}

static void
test_lock(void **state)
{
    struct lunette_error err;
    char pid[32];
    int fd = engine_flash_lock(dir, &err), status;
    pid_t child;

    (void)state;
    assert_true(fd >= 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(engine_flash_lock(dir, &err) == -EBUSY ? 0 : 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(engine_flash_lock(dir, &err), -EBUSY);
    (void)snprintf(pid, sizeof(pid), "process %ld,", (long)getpid());
    assert_non_null(strstr(err.msg, pid));
    close(fd);
    fd = engine_flash_lock(dir, &err);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(chmod(dir, 0770), 0);
    assert_int_equal(engine_flash_lock(dir, &err), -EPERM);
    assert_int_equal(engine_flash_lock("/proc/none/x", &err), -ENOENT);
    assert_int_equal(chmod(dir, 0700), 0);
}

/* ---- names and secrets ---------------------------------------------------------------------- */

static struct login_account
account_of(const char *name, const char *secret)
{
    struct login_account a = {.secret_len = (uint16_t)strlen(secret)};

    strcpy(a.name, name);
    memcpy(a.secret, secret, a.secret_len);
    return a;
}

static bool
note_name(void *user, uint32_t index, const char *name)
{
    char *list = user;
    size_t n = strlen(list);

    (void)snprintf(list + n, 256 - n, "%u=%s;", index, name);
    return true;
}

static void
check_chap(struct engine_flash *f)
{
    struct login_account a = account_of("alice", SECRET), b = account_of("bob:x", "another one"),
                         got;
    struct lunette_error err;
    char list[256] = "";

    memset(&got, 0, sizeof(got));
    assert_int_equal(engine_chap_get(f, 3, &got, &err), -ENOENT);
    assert_int_equal(engine_chap_get(f, 1 << 20, &got, &err), -ENOENT);
    assert_int_equal(engine_chap_set(f, 3, &a, &err), 0);
    assert_int_equal(engine_chap_set(f, 255, &b, &err), 0);
    assert_int_equal(engine_chap_set(f, 256, &b, &err), -EINVAL);
    assert_int_equal(engine_chap_get(f, 3, &got, &err), 0);
    assert_memory_equal(&got, &a, sizeof(a));
    assert_int_equal(engine_chap_list(f, note_name, list, &err), 0);
    assert_string_equal(list, "3=alice;255=bob:x;");
    a = account_of("", "x");
    assert_int_equal(engine_chap_set(f, 3, &a, &err), -EINVAL);
    a = account_of("alice", "");
    assert_int_equal(engine_chap_set(f, 3, &a, &err), -EINVAL);
    a = account_of("alice", "two\nlines");
    assert_int_equal(engine_chap_set(f, 3, &a, &err), -EINVAL);
    a = account_of("al\033[2Jice", SECRET);
    assert_int_equal(engine_chap_set(f, 3, &a, &err), -EINVAL);
    a = account_of("al\xffice", SECRET);
    assert_int_equal(engine_chap_set(f, 3, &a, &err), -EINVAL);
    assert_int_equal(engine_chap_get(f, 3, &got, &err), 0); /* as it was */
    assert_int_equal(got.secret_len, strlen(SECRET));
    assert_int_equal(engine_chap_delete(f, 255, &err), 0);
    assert_int_equal(engine_chap_delete(f, 255, &err), -ENOENT);
    assert_int_equal(engine_chap_get(f, 255, &got, &err), -ENOENT);
}

static void
test_chap(void **state)
{
    struct engine_flash *f = open_flash(), *other = open_flash();
    struct flash_record r = record_of(A, "192.0.2.1");
    char text[8192], path[128];
    struct login_account got;
    struct lunette_error err;
    struct stat st;
    size_t n;

    (void)state;
    check_chap(f);
    assert_int_equal(engine_chap_get(other, 3, &got, &err), 0); /* the folder is one */
    r.chap = 3;
    assert_int_equal(engine_flash_add(f, &r, &err), 0);
    assert_int_equal(engine_chap_delete(f, 3, &err), -EBUSY);
    engine_flash_share(other, 0, 2); /* it looks at all files, whosever they are */
    assert_int_equal(engine_chap_delete(other, 3, &err), -EBUSY);
    assert_non_null(strstr(err.msg, "record 0"));
    /* The secret is nowhere but there. */
    n = read_file("flash/000", text, sizeof(text));
    assert_null(memmem(text, n, SECRET, strlen(SECRET)));
    n = read_file("chap", text, sizeof(text));
    assert_non_null(memmem(text, n, SECRET, strlen(SECRET)));
    (void)snprintf(path, sizeof(path), "%s/chap", dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(engine_chap_get(f, 3, &got, &err), -EPERM);
    assert_non_null(strstr(err.msg, "0600"));
    /* One that is torn gives no secret, and none is written over. */
    write_file("chap", text, n - 1, 0600);
    assert_int_equal(engine_chap_get(f, 3, &got, &err), -EBADMSG);
    {
        struct login_account a = account_of("carol", SECRET);

        assert_int_equal(engine_chap_set(f, 4, &a, &err), -EBADMSG);
    }
    write_file("chap", text, n, 0600);
    assert_int_equal(engine_chap_get(f, 3, &got, &err), 0);
    engine_flash_close(f);
    engine_flash_close(other);
}

/* Who may read the folder, and no more, holds nobody up by locking it. */
static void
test_chap_folder_locked(void **state)
{
    struct login_account a = account_of("alice", SECRET);
    struct engine_flash *f = open_flash();
    int folder = open(dir, O_RDONLY | O_DIRECTORY);
    struct lunette_error err;

    (void)state;
    assert_true(folder >= 0);
    assert_int_equal(flock(folder, LOCK_EX), 0);
    (void)alarm(10); /* in place of a test that hangs */
    assert_int_equal(engine_chap_set(f, 0, &a, &err), 0);
    (void)alarm(0);
    close(folder);
    engine_flash_close(f);
}

static void
test_chap_in_memory(void **state)
{
    struct engine_flash *f;
    struct lunette_error err;

    (void)state;
    assert_int_equal(engine_flash_open(&loop.l, NULL, &f, &err), 0);
    check_chap(f);
    engine_flash_close(f);
}

/* ---- writes that fail ----------------------------------------------------------------------- */

static int fault_at, fault_errno, ops_made; /* fault_errno 0: the program dies there */

#define DIED 99

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
f_open(int at, const char *name, int flags, mode_t mode)
{
    return fault() < 0 ? -1 : whole_fileops_libc.open(at, name, flags, mode);
}

/* A write that fails has written half of it, and one that does not takes two turns. */
static ssize_t
f_write(int fd, const void *buf, size_t len)
{
    if (len > 1)
        len /= 2;
    if (ops_made + 1 == fault_at)
        (void)!write(fd, buf, len);
    return fault() < 0 ? -1 : write(fd, buf, len);
}

static int
f_fsync(int fd)
{
    (void)fd;
    return fault();
}

static int
f_rename(int from_dir, const char *from, int to_dir, const char *to)
{
    return fault() < 0 ? -1 : whole_fileops_libc.rename(from_dir, from, to_dir, to);
}

static int
f_unlink(int at, const char *name, int flags)
{
    return fault() < 0 ? -1 : whole_fileops_libc.unlink(at, name, flags);
}

static int
f_mkdir(int at, const char *name, mode_t mode)
{
    return fault() < 0 ? -1 : whole_fileops_libc.mkdir(at, name, mode);
}

static const struct whole_fileops faulty = {.open = f_open,
                                            .write = f_write,
                                            .fsync = f_fsync,
                                            .rename = f_rename,
                                            .unlink = f_unlink,
                                            .mkdir = f_mkdir};

static int
change_add(struct engine_flash *f, struct lunette_error *err)
{
    struct flash_record r = record_of(B, "192.0.2.1");
    int e = engine_flash_add(f, &r, err);

    return e < 0 ? e : 0;
}

static int
change_set(struct engine_flash *f, struct lunette_error *err)
{
    struct flash_record r = *engine_flash_get(f, 0);

    r.login.offer.erl = 2;
    return engine_flash_set(f, 0, &r, err);
}

static int
change_delete(struct engine_flash *f, struct lunette_error *err)
{
    return engine_flash_delete(f, 0, err);
}

static int
change_chap(struct engine_flash *f, struct lunette_error *err)
{
    struct login_account a = account_of("bob", "the other secret");

    return engine_chap_set(f, 0, &a, err);
}

/* What there is: the old state (0), the new one (1); anything else fails. */
static int
state_of(struct engine_flash *f, size_t change)
{
    const struct flash_record *a = engine_flash_get(f, 0), *b = engine_flash_get(f, 1);
    struct login_account got;
    struct lunette_error err;

    if (engine_chap_get(f, 0, &got, &err) < 0)
        fail_msg("%s", err.msg);
    if (change == 3)
        return strcmp(got.name, "bob") == 0;
    assert_string_equal(got.name, "alice");
    if (change == 2)
        return a == NULL;
    assert_non_null(a);
    if (change == 1)
        return a->login.offer.erl == 2;
    return b != NULL && strcmp(b->login.target_name, B) == 0;
}

static int (*const changes[])(struct engine_flash *f, struct lunette_error *err) = {
    change_add, change_set, change_delete, change_chap};
#define CHANGES (sizeof(changes) / sizeof(changes[0]))

static void
prepare(void)
{
    struct flash_record r = record_of(A, "192.0.2.1");
    struct login_account a = account_of("alice", SECRET);
    struct engine_flash *f;
    struct lunette_error err;

    assert_int_equal(drop_dir(NULL), 0);
    assert_int_equal(mkdir(dir, 0700), 0);
    f = open_flash();
    assert_int_equal(engine_flash_add(f, &r, &err), 0);
    assert_int_equal(engine_chap_set(f, 0, &a, &err), 0);
    engine_flash_close(f);
}

/* A change that fails at any step is told of and has changed nothing, in memory and for whoever
 * reads the files next; one that went well is there. */
static void
test_failing(void **state)
{
    static const int errors[] = {ENOSPC, EIO, EROFS};

    (void)state;
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        for (size_t c = 0; c < CHANGES; c++) {
            for (int k = 1;; k++) {
                struct engine_flash *f;
                struct lunette_error err;
                int e, made;

                assert_true(k < 50);
                prepare();
                fault_at = 0;
                assert_int_equal(engine_flash_open_with(&loop.l, dir, &faulty, &f, &err), 0);
                ops_made = 0;
                fault_at = k;
                fault_errno = errors[i];
                e = changes[c](f, &err);
                made = ops_made;
                fault_at = 0;
                if (e < 0) {
                    assert_int_equal(err.code, e);
                    if (strstr(err.msg, errno_text(errors[i])) == NULL)
                        fail_msg("%s", err.msg);
                }
                assert_int_equal(state_of(f, c), e == 0);
                engine_flash_close(f);
                f = open_flash();
                /* A file that is gone, but perhaps not for good, is what cannot be taken back. */
                if (!(c == 2 && e < 0))
                    assert_int_equal(state_of(f, c), e == 0);
                assert_int_equal(
                    changes[c](f, &err) == 0 || e == 0 || (c == 2 && err.code == -ENOENT), true);
                engine_flash_close(f);
                if (made < k)
                    break;
            }
        }
    }
    assert_int_equal(lines, 0);
}

/* The program dies at any step: the old state or the new one is there, whole. */
static void
test_dying(void **state)
{
    (void)state;
    for (size_t c = 0; c < CHANGES; c++) {
        bool died = true, seen[2] = {false, false};
        int k;

        for (k = 1; died; k++) {
            struct engine_flash *f;
            struct lunette_error err;
            int status;
            pid_t pid;

            prepare();
            pid = fork();
            assert_true(pid >= 0);
            if (pid == 0) {
                fault_at = 0;
                fault_errno = 0;
                if (engine_flash_open_with(&loop.l, dir, &faulty, &f, &err) < 0)
                    _exit(1);
                ops_made = 0;
                fault_at = k;
                _exit(changes[c](f, &err) == 0 ? 0 : 2);
            }
            assert_int_equal(waitpid(pid, &status, 0), pid);
            assert_true(WIFEXITED(status));
            died = WEXITSTATUS(status) == DIED;
            assert_true(died || WEXITSTATUS(status) == 0);
            f = open_flash();
            seen[state_of(f, c)] = true;
            if (!died)
                assert_int_equal(state_of(f, c), 1);
            engine_flash_close(f);
        }
        assert_true(k > 2 && seen[0] && seen[1]);
    }
    assert_int_equal(lines, 0);
}

int
main(void)
{
#define WITH_DIR(t) cmocka_unit_test_setup_teardown(t, make_dir, drop_dir)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),   cmocka_unit_test(test_text_refused),
        WITH_DIR(test_table),          WITH_DIR(test_full),
        WITH_DIR(test_torn),           WITH_DIR(test_others),
        WITH_DIR(test_share),          WITH_DIR(test_lock),
        WITH_DIR(test_identity),       WITH_DIR(test_chap),
        WITH_DIR(test_chap_in_memory), WITH_DIR(test_chap_folder_locked),
        WITH_DIR(test_failing),        WITH_DIR(test_dying),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
