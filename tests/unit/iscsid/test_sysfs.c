/* SPDX-License-Identifier: MIT */
/* Sessions as files, between a management server and a policy that answer as the test wants. */
#include "tests/test.h"
#include "tests/unit/fake_loop.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "iscsid/sysfs.h"

#define SID 7u

static struct {
    struct fake_loop fl;
    struct iscsid d;
    struct sysfs *s;
    char dir[64];
    bool there; /* the session */
    unsigned asked, scans;
    const char *answer; /* NULL: none comes yet */
    void (*done)(void *user, const json_t *answer);
    void *user;
} w;

/* ---- what stands beside it in the daemon ---- */

void
manage_server_ask(struct manage_server *m, const char *method, const json_t *params,
                  void (*done)(void *user, const json_t *answer), void *user)
{
    (void)m;
    assert_string_equal(method, "session.list");
    assert_int_equal(json_integer_value(json_object_get(params, "sid")), SID);
    assert_null(w.done);
    w.asked++;
    w.done = done;
    w.user = user;
}

struct control_node *
control_find_sid(struct control *c, uint32_t sid)
{
    (void)c;
    return w.there && sid == SID ? (struct control_node *)&w : NULL;
}

void
control_node_get_info(const struct control_node *n, struct control_info *ret)
{
    (void)n;
    *ret = (struct control_info){.sid = SID};
}

int
control_scan(struct control_node *n, struct control_waiter *waiter, struct lunette_error *err)
{
    (void)n;
    (void)waiter;
    (void)err;
    w.scans++;
    return 0;
}

bool
session_is_told(const struct control_node *n, struct control_info *ret)
{
    control_node_get_info(n, ret);
    return w.there;
}

struct control_node *
session_next(struct control *c, struct control_node *n, struct control_info *ret)
{
    struct control_node *next = n == NULL ? control_find_sid(c, SID) : NULL;

    if (next != NULL)
        control_node_get_info(next, ret);
    return next;
}

void
say_no_memory(struct lunette_error *err)
{
    (void)err;
}

/* ---- the tests ---- */

static void
answer(const char *text)
{
    void (*done)(void *user, const json_t *answer) = w.done;
    json_t *o = json_loads(text, 0, NULL);

    assert_non_null(o);
    assert_non_null(done);
    w.done = NULL;
    done(w.user, o);
    json_decref(o);
    fake_turn(&w.fl);
}

static bool
shows(const char *path)
{
    char full[256];
    struct stat st;

    (void)snprintf(full, sizeof(full), "%s/%s", w.dir, path);
    return lstat(full, &st) == 0;
}

static int
begin(void **state)
{
    struct lunette_error err = {.code = 0};

    (void)state;
    memset(&w, 0, sizeof(w));
    fake_loop_init(&w.fl, 1);
    w.d.loop = &w.fl.l;
    (void)snprintf(w.dir, sizeof(w.dir), "/tmp/sysfs-XXXXXX");
    assert_non_null(mkdtemp(w.dir));
    assert_int_equal(sysfs_new(&w.d, w.dir, &w.s, &err), 0);
    w.there = true;
    sysfs_ready(w.s);
    fake_advance(&w.fl, MS(1));
    return 0;
}

static int
end(void **state)
{
    char command[128];

    (void)state;
    sysfs_free(&w.s);
    (void)snprintf(command, sizeof(command), "rm -rf %s", w.dir);
    return system(command);
}

static const char session[] =
    "{\"result\":{\"sessions\":[{\"sid\":7,\"target\":\"iqn.x\",\"luns\":[{\"lun\":1,\"type\":0,"
    "\"size\":1024,\"state\":\"UP\"}]}]}}";
static const char silent[] = "{\"error\":{\"code\":\"TIMEOUT\",\"message\":\"no answer\"}}";

#define UNIT "devices/platform/host7/session7/target7:0:0/7:0:0:1"

static void
test_shown(void **state)
{
    (void)state;
    assert_int_equal(w.asked, 1);
    assert_false(sysfs_is_settled(w.s));
    answer(session);
    fake_advance(&w.fl, MS(300));
    assert_true(sysfs_is_settled(w.s));
    assert_true(shows("class/iscsi_session/session7/device"));
    assert_true(shows(UNIT "/block/lun-7-1-disk/size"));
    w.there = false;
    sysfs_ready(w.s);
    fake_advance(&w.fl, MS(300));
    assert_false(shows("class/iscsi_session/session7"));
    assert_false(shows("devices/platform/host7"));
}

/* The data plane does not answer: what there is to show is asked for again, and until then the tree
 * does not pass for what has happened. */
static void
test_silent(void **state)
{
    (void)state;
    for (unsigned i = 1; i <= 3; i++) {
        assert_int_equal(w.asked, i);
        answer(silent);
        assert_false(sysfs_is_settled(w.s));
        assert_int_equal(w.asked, i); /* not at once, which would be a loop without end */
        fake_advance(&w.fl, SEC(1));
    }
    assert_int_equal(w.asked, 4);
    answer(session);
    fake_advance(&w.fl, SEC(1));
    assert_true(sysfs_is_settled(w.s));
    assert_true(shows(UNIT));
    assert_int_equal(w.asked, 4);
    /* What was shown stays while the next answer does not come. */
    sysfs_ready(w.s);
    fake_advance(&w.fl, MS(1));
    answer(silent);
    assert_true(shows(UNIT));
    /* One that has gone meanwhile is not asked about for ever. */
    fake_advance(&w.fl, SEC(1));
    assert_int_equal(w.asked, 6);
    w.there = false;
    sysfs_event(w.s, &(struct control_event){.type = CONTROL_GONE, .node = (void *)&w});
    answer(silent);
    fake_advance(&w.fl, SEC(2));
    assert_int_equal(w.asked, 6);
    assert_true(sysfs_is_settled(w.s));
    assert_false(shows(UNIT));
}

/* Whoever writes to `rescan` has the session look for units; `delete` takes none away. */
static void
test_knobs(void **state)
{
    static const struct {
        const char *path;
        unsigned scans;
    } knobs[] = {{UNIT "/rescan", 1},
                 {UNIT "/delete", 0},
                 {"devices/platform/host7/scsi_host/host7/scan", 1}};
    char full[256];

    (void)state;
    answer(session);
    for (size_t i = 0; i < sizeof(knobs) / sizeof(knobs[0]); i++) {
        FILE *f;

        (void)snprintf(full, sizeof(full), "%s/%s", w.dir, knobs[i].path);
        f = fopen(full, "w");
        assert_non_null(f);
        assert_int_equal(fputs("1\n", f) >= 0 ? fclose(f) : EOF, 0);
        w.scans = 0;
        fake_advance(&w.fl, SEC(1));
        assert_int_equal(w.scans, knobs[i].scans);
        assert_true(shows(UNIT));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_shown, begin, end),
        cmocka_unit_test_setup_teardown(test_silent, begin, end),
        cmocka_unit_test_setup_teardown(test_knobs, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
