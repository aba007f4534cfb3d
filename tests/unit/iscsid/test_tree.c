/* SPDX-License-Identifier: MIT */
/* A directory tree that changes while others read it. */
#include "tests/test.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "iscsid/tree.h"

static unsigned strdups_left = UINT_MAX; /* that succeed */

char *__real_strdup(const char *s);
char *__wrap_strdup(const char *s);

char *
__wrap_strdup(const char *s)
{
    if (strdups_left == 0)
        return NULL;
    strdups_left -= strdups_left != UINT_MAX;
    return __real_strdup(s);
}

static const char *const dirs[] = {"class", "class/c", "devices", NULL};
static char at[64];
static struct tree *tree;

static int
begin(void **state)
{
    struct lunette_error err = {.code = 0};

    (void)state;
    /* Thousands of files are no test of a disk. */
    (void)snprintf(at, sizeof(at), "%s/tree-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(at));
    assert_int_equal(tree_open(at, dirs, &tree, &err), 0);
    return 0;
}

static int
end(void **state)
{
    char command[128];

    (void)state;
    tree_close(&tree);
    (void)snprintf(command, sizeof(command), "rm -rf %s", at);
    return system(command);
}

/* What an object `id` with n parts has: a file and a link of each part, and the same of itself. */
static void
fill(struct tree_set *s, unsigned id, unsigned n, const char *text)
{
    tree_put(s, TREE_FILE, text, "devices/o%u/text", id);
    for (unsigned i = n; i > 0; i--) {
        tree_put(s, TREE_FILE, text, "devices/o%u/part%u/a", id, i);
        tree_put(s, TREE_FILE, text, "devices/o%u/part%u/b", id, i);
        tree_put(s, TREE_FILE, text, "devices/o%u/part%u/more/c", id, i);
        tree_put(s, TREE_LINK, "../../devices", "class/c/part%u-%u", id, i);
    }
    tree_put(s, TREE_LINK, "../../devices", "class/c/o%u", id);
}

static bool
holds(const char *path, const char *text)
{
    char buf[64] = "", full[200];
    FILE *f;
    bool same;

    (void)snprintf(full, sizeof(full), "%s/%s", at, path);
    f = fopen(full, "r");
    if (f == NULL)
        return text == NULL;
    same =
        fread(buf, 1, sizeof(buf) - 1, f) < sizeof(buf) && text != NULL && strcmp(buf, text) == 0;
    (void)fclose(f);
    return same;
}

static void
change(struct tree_set *old, struct tree_set *now)
{
    struct lunette_error err = {.code = 0};

    assert_int_equal(tree_change(tree, old, now, &err), 0);
    tree_set_fini(old);
    *old = *now;
    *now = (struct tree_set){.n = 0};
}

static void
comes_and_goes(void **state)
{
    struct tree_set was = {.n = 0}, now = {.n = 0};

    (void)state;
    fill(&now, 1, 2, "x");
    change(&was, &now);
    assert_true(holds("devices/o1/part2/more/c", "x"));
    fill(&now, 1, 1, "y");
    change(&was, &now);
    assert_true(holds("devices/o1/part1/a", "y"));
    assert_true(holds("devices/o1/part2/a", NULL));
    fill(&now, 1, 3, "y");
    change(&was, &now);
    assert_true(holds("devices/o1/part3/more/c", "y"));
    change(&was, &now);
    assert_true(holds("devices/o1/text", NULL));
    tree_set_fini(&was);
}

/* Of thousands of parts each is looked at a few times, not as often as there are others. */
static void
many(void **state)
{
    struct tree_set was = {.n = 0}, now = {.n = 0};
    struct rusage before, after;

    (void)state;
    assert_int_equal(getrusage(RUSAGE_SELF, &before), 0);
    fill(&now, 1, 12000, "x");
    change(&was, &now);
    fill(&now, 1, 12001, "x");
    change(&was, &now);
    assert_true(holds("devices/o1/part12001/a", "x"));
    fill(&now, 1, 12000, "x");
    change(&was, &now);
    assert_true(holds("devices/o1/part12001/a", NULL));
    assert_int_equal(getrusage(RUSAGE_SELF, &after), 0);
    assert_true(after.ru_utime.tv_sec - before.ru_utime.tv_sec < 10);
    change(&was, &now);
    tree_set_fini(&was);
}

/* Where memory is short what is there stays, and comes to be as it shall be later. */
static void
no_memory(void **state)
{
    struct tree_set was = {.n = 0}, now = {.n = 0}, none = {.n = 0};
    struct lunette_error err = {.code = 0};

    (void)state;
    fill(&now, 1, 2, "x");
    change(&was, &now);
    for (unsigned n = 0; n < 20; n++) {
        strdups_left = n;
        fill(&now, 1, 2, "y");
        strdups_left = UINT_MAX;
        assert_true(now.failed);
        assert_int_equal(tree_change(tree, &was, &now, &err), -ENOMEM);
        assert_int_equal(tree_change(tree, &now, &none, &err), 0); /* it can be taken away again */
        tree_set_fini(&now);
    }
    fill(&now, 1, 2, "z");
    change(&was, &now);
    assert_true(holds("devices/o1/part2/more/c", "z"));
    change(&was, &now);
    tree_set_fini(&was);
}

/* A change that could not be made is made whole by the next one. */
static void
no_room(void **state)
{
    struct tree_set was = {.n = 0}, now = {.n = 0};
    struct rlimit limit, none;
    struct lunette_error err = {.code = 0};

    (void)state;
    fill(&now, 1, 2, "x");
    change(&was, &now);
    fill(&now, 1, 0, "y");
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    none = limit;
    none.rlim_cur = 0;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    assert_int_equal(tree_change(tree, &was, &now, &err), -EFBIG);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    tree_set_fini(&now);
    fill(&now, 1, 2, "x");
    change(&was, &now);
    assert_true(holds("devices/o1/part1/a", "x"));
    assert_true(holds("devices/o1/part2/more/c", "x"));
    change(&was, &now);
    tree_set_fini(&was);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_and_goes),
        cmocka_unit_test(many),
        cmocka_unit_test(no_memory),
        cmocka_unit_test(no_room),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
