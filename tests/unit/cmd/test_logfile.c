/* SPDX-License-Identifier: MIT */
/* The log of a daemon that nobody else looks after: it goes on, and does not grow for ever. */
#include "cmd/common/logfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/test.h"

static char dir[] = "/tmp/logfile-XXXXXX", path[64], old[64];

static off_t
size_of(const char *name)
{
    struct stat st;

    return lstat(name, &st) == 0 ? st.st_size : -1;
}

static void
say(const char *line)
{
    size_t len = strlen(line);

    logfile_begin();
    assert_int_equal(write(STDERR_FILENO, line, len), len);
    logfile_end(len);
}

static void
test_bounded(void **state)
{
    char line[1024];
    struct stat st;

    (void)state;
    memset(line, 'x', sizeof(line) - 1);
    line[sizeof(line) - 1] = '\0';
    assert_int_equal(logfile_open(path), 0);
    assert_int_equal(lstat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    for (unsigned i = 0; i < 3 * (LOGFILE_MAX >> 10); i++) {
        say(line);
        assert_true(size_of(path) <= LOGFILE_MAX);
        assert_true(size_of(old) <= LOGFILE_MAX + 1024);
    }
    assert_true(size_of(old) >= LOGFILE_MAX); /* all but the latest is there */
    say("the end\n");
    assert_true(size_of(path) > 0);
}

/* What another has left behind is gone on with, and bounded, too. */
static void
test_left_behind(void **state)
{
    (void)state;
    (void)unlink(old);
    assert_int_equal(truncate(path, 10), 0);
    assert_int_equal(logfile_open(path), 0);
    say("more");
    assert_int_equal(size_of(path), 14);
    assert_int_equal(truncate(path, 5 << 20), 0);
    assert_int_equal(logfile_open(path), 0);
    assert_int_equal(size_of(path), 0);
    assert_int_equal(size_of(old), 5 << 20);
    say("new");
    assert_int_equal(size_of(path), 3);
}

/* Where there can be no new file all goes to the one that there is. */
static void
test_no_other(void **state)
{
    (void)state;
    (void)unlink(old);
    assert_int_equal(mkdir(old, 0700), 0);
    assert_int_equal(truncate(path, LOGFILE_MAX - 2), 0);
    assert_int_equal(logfile_open(path), 0);
    say("abcd");
    say("efgh");
    assert_int_equal(size_of(path), LOGFILE_MAX + 6);
    assert_int_equal(rmdir(old), 0);
    assert_int_equal(logfile_open("/nowhere/log"), -ENOENT);
    assert_int_equal(symlink("/nowhere", old), 0);
    assert_int_equal(logfile_open(old), -ELOOP);
    say("nowhere"); /* harmless, and not lost */
    assert_int_equal(size_of(path), LOGFILE_MAX + 13);
}

/* It begins anew also where there was no descriptor for that the last time, or somebody has removed
 * the file. */
static void
test_again(void **state)
{
    char line[LOGFILE_MAX / 4 + 1];
    struct rlimit was, none;

    (void)state;
    memset(line, 'x', sizeof(line) - 1);
    line[sizeof(line) - 1] = '\0';
    (void)unlink(old);
    (void)unlink(path);
    assert_int_equal(logfile_open(path), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = was.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    for (unsigned i = 0; i < 4; i++)
        say(line);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
    assert_int_equal(size_of(old), LOGFILE_MAX);
    assert_int_equal(size_of(path), -1);
    for (unsigned i = 0; i < 5; i++)
        say(line);
    assert_int_equal(size_of(old), 2 * LOGFILE_MAX);
    assert_int_equal(size_of(path), LOGFILE_MAX / 4);
    assert_int_equal(unlink(path), 0);
    for (unsigned i = 0; i < 4; i++)
        say(line);
    assert_int_equal(size_of(path), LOGFILE_MAX / 4);
}

/* What is no file keeps its name, which others have it by. */
static void
test_device(void **state)
{
    int err = dup(STDERR_FILENO), fd;

    (void)state;
    (void)unlink(old);
    (void)unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    fd = open(path, O_RDWR | O_NONBLOCK);
    assert_true(fd >= 0);
    assert_int_equal(logfile_open(path), 0);
    logfile_begin();
    logfile_end(LOGFILE_MAX);
    assert_int_equal(dup2(err, STDERR_FILENO), STDERR_FILENO);
    (void)close(err);
    assert_int_equal(size_of(old), -1);
    assert_int_equal(size_of(path), 0);
    (void)close(fd);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bounded),  cmocka_unit_test(test_left_behind),
        cmocka_unit_test(test_no_other), cmocka_unit_test(test_again),
        cmocka_unit_test(test_device),
    };
    int err = dup(STDERR_FILENO), r;

    if (mkdtemp(dir) == NULL)
        return EXIT_FAILURE;
    (void)snprintf(path, sizeof(path), "%s/log", dir);
    (void)snprintf(old, sizeof(old), "%s/log.1", dir);
    r = cmocka_run_group_tests(tests, NULL, NULL);
    (void)dup2(err, STDERR_FILENO);
    (void)unlink(path);
    (void)unlink(old);
    (void)rmdir(dir);
    return r;
}
