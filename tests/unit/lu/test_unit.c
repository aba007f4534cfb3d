/* SPDX-License-Identifier: MIT */
/* LUNs: their text form, and which blocks count as written. */
#include "tests/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lu/medium.h"
#include "lu/unit.h"

static void
texts(void **state)
{
    struct lu_config c;
    struct lunette_error err;
    static const char *const bad[] = {"",
                                      "disk:1M",
                                      "ram:",
                                      "ram:0",
                                      "ram:1X",
                                      "ram:1.5",
                                      "ram:1M,block=1k",
                                      "ram:1M,max=1.5",
                                      "ram:-1",
                                      "ram:99999999999999P",
                                      "ram:1M,block=513",
                                      "ram:1M,block=8192",
                                      "ram:1M,lun=16384",
                                      "ram:1M,wce=2",
                                      "ram:1M,ro=1",
                                      "ram:1M,serial=",
                                      "ram:1M,serial=a b",
                                      "ram:1M,serial=123456789012345678901234567890123",
                                      "file:"};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(lu_config_parse(bad[i], &c, &err), -EINVAL);
        assert_true(strlen(err.msg) > 10);
    }
    assert_int_equal(lu_config_parse("ram:256M", &c, &err), 0);
    assert_true(c.kind == LU_RAM && c.size == 256u << 20 && c.lun == -1 && c.wce == -1);
    assert_int_equal(
        lu_config_parse("null:1T,block=4096,ro,serial=x1,lun=300,wce=1,max=2T", &c, &err), 0);
    assert_true(c.kind == LU_NULL && c.size == 1ull << 40 && c.block == 4096);
    assert_true(c.read_only && c.lun == 300 && c.wce == 1 && c.max_size == 2ull << 40);
    assert_string_equal(c.serial, "x1");
    assert_int_equal(lu_config_parse("file:/tmp/a,b:c.img:64k,ro", &c, &err), 0);
    assert_string_equal(c.path, "/tmp/a,b:c.img");
    assert_true(c.create && c.size == 65536 && c.read_only);
    /* All sizes have the one grammar of base/size.h. */
    assert_int_equal(lu_config_parse("ram:1.5M,max=64KiB", &c, &err), 0);
    assert_true(c.size == 3u << 19 && c.max_size == 65536);
    assert_int_equal(lu_config_parse("file:/tmp/a:8MiB", &c, &err), 0);
    assert_string_equal(c.path, "/tmp/a");
    assert_true(c.create && c.size == 8u << 20);
    assert_int_equal(lu_config_parse("file:/dev/by-path/wwn:0x5000c500", &c, &err), 0);
    assert_string_equal(c.path, "/dev/by-path/wwn:0x5000c500");
    assert_false(c.create);
    assert_int_equal(lu_config_parse("file:/tmp/a:b", &c, &err), 0);
    assert_string_equal(c.path, "/tmp/a:b");
    assert_false(c.create);
}

static void
written_blocks(void **state)
{
    struct lu_config c = {.kind = LU_RAM, .size = 1 << 20, .wce = -1};
    struct lu lu = {0};
    bool model[2048] = {0};
    unsigned seed = 7;
    uint64_t run;

    (void)state;
    assert_int_equal(lu_open(&lu, &c, NULL, NULL), 0);
    for (int i = 0; i < 2000; i++) {
        uint64_t lba = (uint64_t)rand_r(&seed) % 2048, n = (uint64_t)rand_r(&seed) % 200;
        bool mark = rand_r(&seed) & 1;

        n = lba + n > 2048 ? 2048 - lba : n;
        if (mark) {
            memset(lu.mem + lba * 512, 0xaa, n * 512);
            lu_mark(&lu, lba, n);
        } else {
            assert_int_equal(lu_zero(&lu, lba, n, true), 0);
        }
        for (uint64_t k = 0; k < n; k++)
            model[lba + k] = mark;
        lba = (uint64_t)rand_r(&seed) % 2048;
        assert_int_equal(lu_written(&lu, lba, &run), model[lba]);
        for (uint64_t k = 0; k < run; k++)
            assert_int_equal(model[lba + k], model[lba]);
        assert_true(lba + run == 2048 || model[lba + run] != model[lba]);
    }
    for (uint64_t k = 0; k < 2048; k++)
        assert_int_equal(lu.mem[k * 512 + 511], model[k] ? 0xaa : 0);
    lu_close(&lu);
}

static void
files(void **state)
{
    char path[] = "/tmp/lunette-lu-XXXXXX";
    struct lu_config c = {.kind = LU_FILE, .wce = -1};
    struct lunette_error err;
    struct lu lu = {0};
    struct stat st;
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 5000), 0);
    (void)snprintf(c.path, sizeof(c.path), "%s", path);
    assert_int_equal(lu_open(&lu, &c, NULL, NULL), 0);
    assert_int_equal(lu.blocks, 9); /* the rest is not a block */
    assert_true(lu.mode.wce);
    assert_null(lu.mem); /* a mapping would raise SIGBUS where a call returns an error */
    assert_int_equal(lu_medium_fill(&lu, 0, 4608, "\x11", 1), 0);
    assert_int_equal(lu_zero(&lu, 1, 7, true), 0);
    assert_int_equal(lu_store_sync(lu.store), 0);
    lu_close(&lu);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(close(fd), 0);

    memset(&lu, 0, sizeof(lu));
    assert_int_equal(lu_open(&lu, &c, NULL, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "SIZE"));
    lu_close(&lu);
    c.create = true;
    c.size = 8192;
    memset(&lu, 0, sizeof(lu));
    assert_int_equal(lu_open(&lu, &c, NULL, NULL), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 8192);
    assert_int_equal(st.st_mode & 077, 0);
    lu_close(&lu);
    assert_int_equal(unlink(path), 0);
}

/* Of a file, the file system tells which blocks are written. */
static void
holes_of_a_file(void **state)
{
    char path[] = "/tmp/lunette-lu-XXXXXX";
    struct lu_config c = {.kind = LU_FILE, .wce = -1};
    struct lu lu = {0};
    uint64_t run = 0;
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 1 << 20), 0);
    if (lseek(fd, 0, SEEK_DATA) >= 0) { /* the file system has no holes, or does not tell */
        (void)unlink(path);
        (void)close(fd);
        skip();
    }
    assert_int_equal(pwrite(fd, "x", 1, 65536), 1);
    (void)snprintf(c.path, sizeof(c.path), "%s", path);
    assert_int_equal(lu_open(&lu, &c, NULL, NULL), 0);
    assert_false(lu_written(&lu, 0, &run));
    assert_int_equal(run, 128);
    assert_false(lu_written(&lu, 100, &run));
    assert_int_equal(run, 28);
    assert_true(lu_written(&lu, 128, &run));
    assert_true(run >= 1 && run <= 128);
    assert_false(lu_written(&lu, 128 + run, &run));
    assert_false(lu_written(&lu, 2047, &run));
    assert_int_equal(run, 1);
    assert_int_equal(lu_medium_fill(&lu, 0, 1 << 20, "\x11", 1), 0);
    assert_true(lu_written(&lu, 0, &run));
    assert_int_equal(run, 2048);
    assert_int_equal(lu_zero(&lu, 0, 1024, true), 0);
    assert_false(lu_written(&lu, 0, &run));
    assert_int_equal(run, 1024);
    lu_close(&lu);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(close(fd), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts),
        cmocka_unit_test(written_blocks),
        cmocka_unit_test(files),
        cmocka_unit_test(holes_of_a_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
