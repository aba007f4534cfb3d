/* SPDX-License-Identifier: MIT */
/* test_start.c - one daemon for the same records, also where they may only be read, or have no
 * locks. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/iscsid/start.h"
#include "tests/test.h"

#define NAME ".lunette.iscsid"

static int lock_errno;

int __real_flock(int fd, int how);
int __wrap_flock(int fd, int how);

int
__wrap_flock(int fd, int how)
{
    if (lock_errno == 0)
        return __real_flock(fd, how);
    errno = lock_errno;
    return -1;
}

static char dir[64], plain[96], fixed[96]; /* a folder, and where it may only be read */

static int
setup(void **state)
{
    (void)state;
    (void)strcpy(dir, "/tmp/lunette-start.XXXXXX");
    assert_non_null(mkdtemp(dir));
    (void)snprintf(plain, sizeof(plain), "%s/plain", dir);
    (void)snprintf(fixed, sizeof(fixed), "%s/fixed", dir);
    assert_true(mkdir(plain, 0700) == 0 && mkdir(fixed, 0700) == 0);
    lock_errno = 0;
    return 0;
}

static int
teardown(void **state)
{
    char file[128];

    (void)state;
    (void)snprintf(file, sizeof(file), "%s/" NAME, plain);
    (void)unlink(file);
    return rmdir(plain) + rmdir(fixed) + rmdir(dir);
}

/* Takes the lock in one folder, and then in the other, which is the same.  Ends with what the
 * second try has returned, or 77 where there are no mounts. */
static void
two(const char *first, const char *second)
{
    struct lunette_error err = {.code = 0};
    char want[64];
    int fd;

    if (unshare(CLONE_NEWNS | (geteuid() != 0 ? CLONE_NEWUSER : 0)) < 0 ||
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount(plain, fixed, NULL, MS_BIND, NULL) < 0 ||
        mount(NULL, fixed, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) < 0)
        _exit(77);
    fd = start_lock(first, NAME, true, &err);
    if (fd < 0)
        _exit(1);
    fd = start_lock(second, NAME, true, &err);
    (void)snprintf(want, sizeof(want), "another iscsid, process %ld, works for", (long)getpid());
    _exit(fd == -EBUSY && strstr(err.msg, want) != NULL ? 0 : 2);
}

static void
in_child(const char *first, const char *second)
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0)
        two(first, second);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void
read_only_later(void **state)
{
    (void)state;
    in_child(plain, fixed);
}

static void
read_only_before(void **state)
{
    (void)state;
    in_child(fixed, plain);
}

/* The file tells of one that had the lock when it could be written to. */
static void
read_only_and_told(void **state)
{
    char path[128];
    FILE *f;

    (void)state;
    (void)snprintf(path, sizeof(path), "%s/" NAME, plain);
    f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fprintf(f, "1\n") > 0);
    assert_int_equal(fclose(f), 0);
    in_child(fixed, fixed);
}

static void
no_locks(void **state)
{
    struct lunette_error err = LUNETTE_INIT(err);

    (void)state;
    lock_errno = ENOLCK;
    assert_int_equal(start_lock(plain, NAME, true, &err), -ENOLCK);
    assert_non_null(strstr(err.msg, "two daemons could"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(read_only_later, setup, teardown),
        cmocka_unit_test_setup_teardown(read_only_before, setup, teardown),
        cmocka_unit_test_setup_teardown(read_only_and_told, setup, teardown),
        cmocka_unit_test_setup_teardown(no_locks, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
