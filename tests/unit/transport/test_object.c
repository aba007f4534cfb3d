/* SPDX-License-Identifier: MIT */
/* Transports out of shared objects: by path and by name, files that others may change, and what is
 * shown of those that there are.  usage: test_object PLAIN.so PLAIN_UNUSABLE.so */
#include "tests/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "transport/transport.h"

static const char *plain, *unusable;
static struct transport_registry r;
static struct lunette_error err;
static char dir[64];

static void
copy_to(const char *from, const char *to)
{
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    char buf[65536];
    size_t n;

    assert_true(in != NULL && out != NULL);
    while ((n = fread(buf, 1, sizeof(buf), in)) > 0)
        assert_int_equal(fwrite(buf, 1, n, out), n);
    assert_int_equal(fclose(in) + fclose(out), 0);
    assert_int_equal(chmod(to, 0644), 0);
}

static void
write_to(const char *to, const char *text)
{
    FILE *out = fopen(to, "wb");

    assert_non_null(out);
    assert_true(fputs(text, out) >= 0);
    assert_int_equal(fclose(out), 0);
    assert_int_equal(chmod(to, 0644), 0);
}

static const char *
at(const char *name)
{
    static char path[4][128];
    static unsigned next;

    (void)snprintf(path[next % 4], sizeof(path[0]), "%s/%s", dir, name);
    return path[next++ % 4];
}

static int
setup(void **state)
{
    (void)state;
    (void)strcpy(dir, "/tmp/transport.XXXXXX");
    memset(&r, 0, sizeof(r));
    memset(&err, 0, sizeof(err));
    assert_non_null(mkdtemp(dir));
    copy_to(plain, at("plain.so"));
    assert_int_equal(setenv("LUNETTE_TRANSPORT_DIR", dir, 1), 0);
    return 0;
}

static int
teardown(void **state)
{
    char cmd[128];

    (void)state;
    transport_registry_fini(&r);
    (void)snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
    assert_int_equal(system(cmd), 0);
    assert_int_equal(unsetenv("LUNETTE_TRANSPORT_DIR") + unsetenv("LUNETTE_TRANSPORTS"), 0);
    return 0;
}

/* Nothing is registered, and the message says so. */
static void
load_refused(const char *which, int code, const char *why)
{
    assert_int_equal(transport_load(&r, which, &err), code);
    if (strstr(err.msg, why) == NULL)
        fail_msg("%s: %s", which, err.msg);
    assert_int_equal(r.count, 0);
    assert_int_equal(r.nobjects, 0);
}

static void
loaded(const char *which)
{
    if (transport_load(&r, which, &err) < 0)
        fail_msg("%s: %s", which, err.msg);
    assert_non_null(transport_find(&r, "plain"));
    transport_registry_fini(&r);
    assert_null(transport_find(&r, "plain"));
}

static void
by_path_and_by_name(void **state)
{
    char *cwd = getcwd(NULL, 0);

    (void)state;
    loaded(at("plain.so"));
    loaded("plain");
    assert_int_equal(symlink("plain.so", at("link.so")), 0);
    loaded(at("link.so"));
    assert_int_equal(chdir(dir), 0);
    loaded("./plain.so");
    assert_int_equal(chdir(cwd), 0);
    free(cwd);
    copy_to(plain, at("other.so"));
    load_refused("other", -EINVAL, "/other.so: the transport in it is called \"plain\"");
    load_refused("missing", -ELIBACC, "/missing.so cannot be loaded: No such file");
    assert_int_equal(unsetenv("LUNETTE_TRANSPORT_DIR"), 0);
    load_refused("missing", -ELIBACC, "/lunette/transports/missing.so cannot be loaded");
}

static void
names_that_are_none(void **state)
{
    static const char *const none[] = {"",   ".hidden",   "a b",
                                       "..", "libm.so\n", "a-name-of-31-bytes-is-the-longer"};

    (void)state;
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
        load_refused(none[i], -EINVAL, "no transport has such a name, and a path has a slash");
}

/* What is loaded may do all that the program may: nobody else may be able to change it. */
static void
files_that_others_may_change(void **state)
{
    (void)state;
    assert_int_equal(chmod(at("plain.so"), 0664), 0);
    load_refused("plain", -EPERM, "/plain.so (mode 0664): chmod go-w /tmp/transport.");
    assert_int_equal(chmod(at("plain.so"), 0646), 0);
    load_refused(at("plain.so"), -EPERM, "others may write to /tmp/transport.");
    assert_int_equal(chmod(at("plain.so"), 0600), 0);
    loaded("plain");
    assert_int_equal(chmod(dir, 0777), 0);
    load_refused("plain", -EPERM, "(mode 0777)");
    assert_int_equal(chmod(dir, 0770), 0);
    load_refused(at("plain.so"), -EPERM, "(mode 0770)");
    assert_int_equal(chmod(dir, 01777),
                     0); /* as /tmp: others make files, but do not replace ours */
    loaded("plain");
    assert_int_equal(chmod(dir, 0700), 0);
}

/* A folder of others anywhere on the way, also where only a link leads through it. */
static void
ways_that_others_may_change(void **state)
{
    (void)state;
    assert_int_equal(mkdir(at("open"), 0700) + mkdir(at("open/in"), 0700), 0);
    copy_to(plain, at("open/in/plain.so"));
    loaded(at("open/in/plain.so"));
    assert_int_equal(symlink("../plain.so", at("open/link.so")), 0);
    loaded(at("open/link.so"));
    assert_int_equal(chmod(at("open"), 0777), 0);
    load_refused(at("open/in/plain.so"), -EPERM, "/open (mode 0777)");
    load_refused(at("open/link.so"), -EPERM, "/open (mode 0777)");
    load_refused(at("open/../plain.so"), -EPERM, "/open (mode 0777)");
    assert_int_equal(symlink("open/in", at("way")), 0);
    load_refused(at("way/plain.so"), -EPERM, "/open (mode 0777)");
    assert_int_equal(symlink("open/link.so", at("chain.so")), 0); /* ends at plain.so itself */
    load_refused(at("chain.so"), -EPERM, "/open (mode 0777)");
    load_refused("chain", -EPERM, "/open (mode 0777)");
    assert_int_equal(symlink(at("open/link.so"), at("chained.so")), 0);
    load_refused(at("chained.so"), -EPERM, "/open (mode 0777)");
    assert_int_equal(chmod(at("open"), 0700), 0);
    loaded(at("chain.so"));
    loaded(at("chained.so"));
    loaded(at("open/../open/./in//plain.so"));
}

static void
files_of_others(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(chown(at("plain.so"), 12345, 0), 0);
    load_refused("plain", -EPERM, "user 12345 owns /tmp/transport.");
    assert_int_equal(chown(at("plain.so"), 0, 0), 0);
    assert_int_equal(chown(dir, 12345, 0), 0);
    load_refused("plain", -EPERM, "has to belong to root or to the user");
    assert_int_equal(chown(dir, 0, 0), 0);
    assert_int_equal(symlink("plain.so", at("link.so")), 0);
    assert_int_equal(lchown(at("link.so"), 12345, 0), 0);
    load_refused(at("link.so"), -EPERM, "/link.so and could put something else there");
    loaded("plain");
    /* Root's files will do for everybody, and everybody's own. */
    assert_int_equal(chmod(dir, 0755), 0);
    assert_int_equal(seteuid(12345), 0);
    loaded("plain");
    assert_int_equal(seteuid(0), 0);
    assert_int_equal(chown(dir, 12345, 0) + chown(at("plain.so"), 12345, 0), 0);
    assert_int_equal(seteuid(12345), 0);
    loaded("plain");
    assert_int_equal(seteuid(0), 0);
}

/* The message names the file and what is wrong with it. */
static void
objects_that_are_none(void **state)
{
    char fifo[128];

    (void)state;
    assert_int_equal(transport_load(&r, "/nowhere/t.so", &err), -ELIBACC);
    assert_non_null(strstr(err.msg, "transport /nowhere/t.so cannot be loaded: "));
    assert_int_equal(transport_load(&r, "/proc/self/exe", &err), -ELIBACC);
    (void)snprintf(fifo, sizeof(fifo), "%s/fifo", dir);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    (void)alarm(20); /* whoever opens it waits for ever */
    assert_int_equal(transport_load(&r, fifo, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "/fifo: it is no file"));
    assert_int_equal(transport_load(&r, dir, &err), -EINVAL);
    (void)alarm(0);
    assert_int_equal(unlink(fifo), 0);
    assert_int_equal(setenv("LUNETTE_TRANSPORTS", ":/nowhere/t.so", 1), 0);
    assert_int_equal(transport_load_env(&r, &err), -ELIBACC);
    assert_ptr_equal(strstr(err.msg, "LUNETTE_TRANSPORTS: transport /nowhere/t.so"), err.msg);
    assert_int_equal(setenv("LUNETTE_TRANSPORTS", "", 1), 0);
    assert_int_equal(transport_load_env(&r, &err), 0);
    assert_int_equal(unsetenv("LUNETTE_TRANSPORTS"), 0);
    assert_int_equal(transport_load_env(&r, &err), 0);
    assert_int_equal(r.count, 0);
}

struct seen {
    unsigned n;
    struct {
        enum transport_from from;
        char path[128], name[32], why[260];
        int err;
    } f[8];
};

static void
note_found(void *user, const struct transport_found *f)
{
    struct seen *s = user;

    assert_true(s->n < 8);
    s->f[s->n].from = f->from;
    s->f[s->n].err = f->err;
    (void)snprintf(s->f[s->n].path, sizeof(s->f[0].path), "%s", f->path != NULL ? f->path : "");
    (void)snprintf(s->f[s->n].name, sizeof(s->f[0].name), "%s", f->t != NULL ? f->t->name : "");
    if (f->err < 0)
        (void)snprintf(s->f[s->n].why, sizeof(s->f[0].why), "%s", f->why->msg);
    s->n++;
}

static void
saw(const struct seen *s, unsigned i, enum transport_from from, const char *file, const char *name,
    int code, const char *why)
{
    assert_true(i < s->n);
    assert_int_equal(s->f[i].from, from);
    assert_non_null(strstr(s->f[i].path, file));
    assert_string_equal(s->f[i].name, name);
    assert_int_equal(s->f[i].err, code);
    if (strstr(s->f[i].why, why) == NULL)
        fail_msg("%s: %s", s->f[i].path, s->f[i].why);
}

static void
survey(void **state)
{
    struct seen s = {0};

    (void)state;
    assert_int_equal(transport_register(&r, &sw_tcp_transport, NULL), 0);
    copy_to(unusable, at("unusable.so"));
    copy_to(plain, at("tcp.so"));
    copy_to(plain, at(".hidden.so"));
    copy_to(plain, at("plain.so.old"));
    (void)snprintf(err.msg, sizeof(err.msg), "/nowhere/t.so:plain:%s", at("unusable.so"));
    assert_int_equal(setenv("LUNETTE_TRANSPORTS", err.msg, 1), 0);
    transport_survey(&r, note_found, &s);
    assert_int_equal(s.n, 5);
    saw(&s, 0, TRANSPORT_BUILT_IN, "", "tcp", 0, "");
    saw(&s, 1, TRANSPORT_NAMED, "/nowhere/t.so", "", -ELIBACC, "No such file");
    saw(&s, 2, TRANSPORT_NAMED, "/plain.so", "plain", 0, "");
    saw(&s, 3, TRANSPORT_NAMED, "/unusable.so", "", -EEXIST, "\"plain\" is registered already");
    saw(&s, 4, TRANSPORT_INSTALLED, "/tcp.so", "", -EINVAL, "is called \"plain\"");
    assert_int_equal(r.count, 2);
}

/* Of two with one name the one that is named is used; the other is shown with the reason. */
static void
survey_of_a_name_that_is_taken(void **state)
{
    struct seen s = {0};
    const char *elsewhere = at("elsewhere");

    (void)state;
    assert_int_equal(mkdir(elsewhere, 0700), 0);
    copy_to(plain, at("elsewhere/plain.so"));
    assert_int_equal(setenv("LUNETTE_TRANSPORTS", at("elsewhere/plain.so"), 1), 0);
    transport_survey(&r, note_found, &s);
    assert_int_equal(s.n, 2);
    saw(&s, 0, TRANSPORT_NAMED, "/elsewhere/plain.so", "plain", 0, "");
    saw(&s, 1, TRANSPORT_INSTALLED, "/plain.so", "plain", -EEXIST, "is there already");
}

/* What lies there is shown, also why it cannot be used, and stays out of the registry. */
static void
survey_of_the_folder(void **state)
{
    struct seen s = {0};

    (void)state;
    transport_survey(&r, note_found, &s);
    assert_int_equal(s.n, 1);
    saw(&s, 0, TRANSPORT_INSTALLED, "/plain.so", "plain", 0, "");
    assert_int_equal(r.count, 0);
    copy_to(unusable, at("plain.so"));
    s.n = 0;
    transport_survey(&r, note_found, &s);
    assert_int_equal(s.n, 1);
    saw(&s, 0, TRANSPORT_INSTALLED, "/plain.so", "plain", -ENODEV, "this machine has no adapter");
}

/* A folder that somebody has named, and that is none, is shown in the place of what would be there.
 */
static void
survey_of_no_folder(void **state)
{
    struct seen s = {0};

    (void)state;
    assert_int_equal(setenv("LUNETTE_TRANSPORT_DIR", "/nowhere", 1), 0);
    transport_survey(&r, note_found, &s);
    assert_int_equal(s.n, 1);
    saw(&s, 0, TRANSPORT_INSTALLED, "/nowhere", "", -ENOENT, "cannot be read: No such file");
    assert_int_equal(setenv("LUNETTE_TRANSPORT_DIR", at("plain.so"), 1), 0);
    s.n = 0;
    transport_survey(&r, note_found, &s);
    assert_int_equal(s.n, 1);
    saw(&s, 0, TRANSPORT_INSTALLED, "/plain.so", "", -ENOTDIR, "cannot be read: Not a directory");
}

/* What is named by a path that is written in another way than the folder's is shown once, also
 * where it cannot be loaded. */
static void
survey_of_another_way(void **state)
{
    struct seen s = {0};

    (void)state;
    assert_int_equal(mkdir(at("deeper"), 0700), 0);
    write_to(at("bad.so"), "text");
    (void)snprintf(err.msg, sizeof(err.msg), "%s:%s", at("deeper/../bad.so"),
                   at("deeper/../plain.so"));
    assert_int_equal(setenv("LUNETTE_TRANSPORTS", err.msg, 1), 0);
    transport_survey(&r, note_found, &s);
    assert_int_equal(s.n, 2);
    saw(&s, 0, TRANSPORT_NAMED, "/deeper/../bad.so", "", -ELIBACC, "cannot be loaded");
    saw(&s, 1, TRANSPORT_NAMED, "/plain.so", "plain", 0, "");
}

int
main(int argc, char **argv)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(by_path_and_by_name),
        T(names_that_are_none),
        T(files_that_others_may_change),
        T(ways_that_others_may_change),
        T(files_of_others),
        T(objects_that_are_none),
        T(survey),
        T(survey_of_a_name_that_is_taken),
        T(survey_of_the_folder),
        T(survey_of_no_folder),
        T(survey_of_another_way),
    };

    if (argc < 3)
        return 2;
    plain = argv[1];
    unusable = argv[2];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
