/* SPDX-License-Identifier: MIT */
/* test_guard.c - one data plane for the same records, also where there is no lock beside them. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "iscsid/guard.h"
#include "tests/test.h"

/* An errno for locks of the file that has this inode; 0: they are taken. */
static ino_t lockless;
static int lock_errno;

int __real_flock(int fd, int how);
int __wrap_flock(int fd, int how);

int
__wrap_flock(int fd, int how)
{
    struct stat st;

    if (lock_errno == 0 || (lockless != 0 && (fstat(fd, &st) < 0 || st.st_ino != lockless)))
        return __real_flock(fd, how);
    errno = lock_errno;
    return -1;
}

static char dir[64], file[96], instead[96];
static const char nowhere[] = "/sys/lunette.test"; /* no file can be made there, by root neither */

static int
setup(void **state)
{
    (void)state;
    (void)strcpy(dir, "/tmp/lunette-guard.XXXXXX");
    assert_non_null(mkdtemp(dir));
    (void)snprintf(file, sizeof(file), "%s/file", dir);
    (void)snprintf(instead, sizeof(instead), "%s/instead", dir);
    lock_errno = 0;
    lockless = 0;
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    (void)unlink(file);
    (void)unlink(instead);
    return rmdir(dir);
}

static struct guard
take(const char *path)
{
    struct guard g;

    assert_int_equal(guard_take(path, instead, &g), 0);
    assert_true(g.fd >= 0);
    return g;
}

static void
test_one(void **state)
{
    struct guard a = take(file), b;

    (void)state;
    assert_int_equal(a.note.code, 0);
    assert_int_equal(access(instead, F_OK), -1);
    assert_int_equal(guard_take(file, instead, &b), -EBUSY);
    assert_ptr_equal(b.held, file);
    close(a.fd);
    b = take(file);
    close(b.fd);
}

static void
check_holder(const char *path, long pid)
{
    char want[GUARD_PID_MAX] = "", got[GUARD_PID_MAX];

    if (pid > 0)
        (void)snprintf(want, sizeof(want), "%ld", pid);
    guard_holder(path, got);
    assert_string_equal(got, want);
}

/* Who has got the lock from another one has it, whatever the file says. */
static void
test_holder(void **state)
{
    struct guard a = take(file);
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), status;
    pid_t pid;

    (void)state;
    check_holder(file, getpid()); /* it is empty */
    assert_true(dprintf(a.fd, "4711\n") > 0);
    check_holder(file, getpid());
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)pause();
        _exit(0);
    }
    close(a.fd);
    check_holder(file, pid);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    check_holder(file, 4711); /* nobody is seen who has it */
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    check_holder(dir, getpid());
    close(fd);
    check_holder(dir, 0);
    check_holder(nowhere, 0);
}

/* Where nothing can be made beside the records, the run folder has the lock, and whoever has it
 * keeps one out that can make a file beside them by then. */
static void
test_instead(void **state)
{
    struct guard a = take(nowhere), b;

    (void)state;
    assert_true(a.note.code < 0);
    assert_non_null(strstr(a.note.msg, nowhere));
    assert_int_equal(guard_take(nowhere, instead, &b), -EBUSY);
    assert_int_equal(guard_take(file, instead, &b), -EBUSY);
    assert_ptr_equal(b.held, instead);
    close(a.fd);
    b = take(file);
    close(b.fd);
}

static void
test_no_locks(void **state)
{
    static const int errors[] = {ENOLCK, EACCES, EBADF, EOPNOTSUPP};
    struct stat st;
    struct guard a;

    (void)state;
    a = take(file);
    assert_int_equal(fstat(a.fd, &st), 0);
    close(a.fd);
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        lock_errno = errors[i];
        lockless = st.st_ino;
        a = take(file);
        assert_int_equal(a.note.code, -errors[i]);
        close(a.fd);
        lockless = 0; /* nowhere: nothing is started */
        assert_int_equal(guard_take(file, instead, &a), -errors[i]);
        assert_int_equal(a.fd, -1);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one, setup, teardown),
        cmocka_unit_test_setup_teardown(test_holder, setup, teardown),
        cmocka_unit_test_setup_teardown(test_instead, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_locks, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
