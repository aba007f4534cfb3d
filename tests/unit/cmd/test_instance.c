/* SPDX-License-Identifier: MIT */
/* Where an instance keeps what it has. */
#include "tests/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/common/instance.h"

static uid_t as_user;

uid_t __wrap_geteuid(void);

uid_t
__wrap_geteuid(void)
{
    return as_user;
}

static const char *folder_of_7; /* that is there, and belongs to user 7 */

int __wrap_stat(const char *path, struct stat *st);

int
__wrap_stat(const char *path, struct stat *st)
{
    if (folder_of_7 == NULL || strcmp(path, folder_of_7) != 0) {
        errno = ENOENT;
        return -1;
    }
    *st = (struct stat){.st_mode = S_IFDIR | 0700, .st_uid = 7};
    return 0;
}

/* The name that large files give it. */
int __wrap_stat64(const char *path, struct stat *st);

int
__wrap_stat64(const char *path, struct stat *st)
{
    return __wrap_stat(path, st);
}

static int
begin(void **state)
{
    (void)state;
    folder_of_7 = NULL;
    (void)unsetenv("LUNETTE_ROOT");
    (void)unsetenv("LUNETTE_INSTANCE");
    (void)setenv("HOME", "/home/joe", 1);
    (void)unsetenv("XDG_CONFIG_HOME");
    (void)unsetenv("XDG_STATE_HOME");
    (void)setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
    return 0;
}

static void
expect_paths(uid_t uid, const char *root, const char *name, const char *conf, const char *records,
             const char *run)
{
    struct lunette_error err = {.msg = ""};
    struct instance at;

    as_user = uid;
    assert_int_equal(instance_find(root, name, &at, &err), 0);
    assert_string_equal(at.conf, conf);
    if (records != NULL)
        assert_string_equal(at.records, records);
    assert_string_equal(at.run, run);
}

static void
paths(void **state)
{
    struct lunette_error err;
    struct instance at;

    (void)state;
    expect_paths(7, "/x", NULL, "/x", "/x", "/x/run");
    expect_paths(0, "/x", NULL, "/x", "/x", "/x/run");
    expect_paths(0, NULL, NULL, "/etc/iscsi", NULL, "/run/lunette");
    expect_paths(0, NULL, "a", "/etc/lunette/a", "/var/lib/lunette/a", "/run/lunette/a");
    expect_paths(7, NULL, NULL, "/home/joe/.config/lunette/default",
                 "/home/joe/.local/state/lunette/default", "/run/user/7/lunette/default");
    (void)setenv("XDG_CONFIG_HOME", "/c", 1);
    (void)setenv("XDG_STATE_HOME", "relative", 1); /* which the specification has ignored */
    (void)unsetenv("XDG_RUNTIME_DIR");
    expect_paths(7, NULL, "b", "/c/lunette/b", "/home/joe/.local/state/lunette/b",
                 "/home/joe/.local/state/lunette/b/run");
    folder_of_7 = "/run/user/7"; /* which XDG_RUNTIME_DIR would say after a login */
    expect_paths(7, NULL, "b", "/c/lunette/b", "/home/joe/.local/state/lunette/b",
                 "/run/user/7/lunette/b");
    folder_of_7 = "/run/user/8"; /* somebody else's */
    expect_paths(8, NULL, "b", "/c/lunette/b", "/home/joe/.local/state/lunette/b",
                 "/home/joe/.local/state/lunette/b/run");
    (void)setenv("LUNETTE_INSTANCE", "e", 1);
    expect_paths(0, NULL, NULL, "/etc/lunette/e", "/var/lib/lunette/e", "/run/lunette/e");
    assert_int_equal(instance_find(NULL, NULL, &at, &err), 0);
    assert_string_equal(at.which[0], "--instance");
    assert_string_equal(at.which[1], "e");
    /* what is given goes before the environment */
    expect_paths(0, "/x", NULL, "/x", "/x", "/x/run");
}

static void
names_that_are_no_instances(void **state)
{
    static const char *const names[] = {"", ".", "..", ".a", "a/b", "a b", "a\n", "\xc3\xa4"};
    char text[2000];
    struct lunette_error err;
    struct instance at;

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        assert_int_equal(instance_find(NULL, names[i], &at, &err), -EINVAL);
    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    assert_int_equal(instance_find(NULL, text, &at, &err), -EINVAL);
    assert_int_equal(instance_find(text, NULL, &at, &err), -ENAMETOOLONG);
    assert_int_equal(instance_find("", NULL, &at, &err), -EINVAL);
    assert_int_equal(instance_find("/a", "b", &at, &err), -EINVAL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(paths, begin),
        cmocka_unit_test_setup(names_that_are_no_instances, begin),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
