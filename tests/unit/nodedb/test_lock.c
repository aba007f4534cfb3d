/* SPDX-License-Identifier: MIT */
/* test_lock.c - the lock, against ourselves and against those who know only the link. */
#include "tests/test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "nodedb/lock.h"

struct locks {
    char dir[64], path[96], file[128], link[128], proc[96];
};

/* All processes of the machine are seen below proc. */
static void
proc_put_namespace(const struct locks *l)
{
    char path[128];

    (void)snprintf(path, sizeof(path), "%s/self", l->proc);
    assert_int_equal(mkdir(path, 0700), 0);
    (void)snprintf(path, sizeof(path), "%s/self/ns", l->proc);
    assert_int_equal(mkdir(path, 0700), 0);
    (void)snprintf(path, sizeof(path), "%s/self/ns/pid", l->proc);
    assert_int_equal(symlink("pid:[4026531836]", path), 0);
}

static void
proc_put(const struct locks *l, long pid, const char *name, const char *text)
{
    char path[128];
    FILE *f;

    (void)snprintf(path, sizeof(path), "%s/%ld", l->proc, pid);
    assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
    (void)snprintf(path, sizeof(path), "%s/%ld/%s", l->proc, pid, name);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* A process called iscsiadm, in a state such as 'D', in a system call; -1: that is not told. */
static void
proc_put_iscsiadm(const struct locks *l, long pid, char state, long call)
{
    char text[256];

    proc_put(l, pid, "comm", "iscsiadm\n");
    (void)snprintf(text, sizeof(text),
                   "%ld (iscsi) adm) %c 1 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 1 1\n",
                   pid, state);
    proc_put(l, pid, "stat", text);
    (void)snprintf(text, sizeof(text), "%ld 0x0 0x0\n", call);
    if (call >= 0)
        proc_put(l, pid, "syscall", text);
}

static int
setup(void **state)
{
    struct locks *l = calloc(1, sizeof(*l));
    int fd;

    assert_non_null(l);
    (void)strcpy(l->dir, "/tmp/nodedb_lock.XXXXXX");
    assert_non_null(mkdtemp(l->dir));
    (void)snprintf(l->path, sizeof(l->path), "%s/run/lock/iscsi", l->dir);
    (void)snprintf(l->file, sizeof(l->file), "%s/lock", l->path);
    (void)snprintf(l->link, sizeof(l->link), "%s/lock.write", l->path);
    (void)snprintf(l->proc, sizeof(l->proc), "%s/proc", l->dir);
    assert_int_equal(mkdir(l->proc, 0700), 0);
    proc_put_namespace(l);
    *state = l;
    /* the file of open-iscsi */
    {
        struct nodedb_lock mine;

        assert_int_equal(nodedb_lock_open(&mine, l->path, NULL), 0);
        nodedb_lock_close(&mine);
    }
    fd = open(l->file, O_RDWR | O_CREAT, 0600);
    assert_true(fd >= 0);
    close(fd);
    return 0;
}

static int
teardown(void **state)
{
    struct locks *l = *state;
    char cmd[128];

    (void)snprintf(cmd, sizeof(cmd), "rm -r '%s'", l->dir);
    assert_int_equal(system(cmd), 0);
    free(l);
    return 0;
}

static void
wait_ms(long ms)
{
    struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

    nanosleep(&ts, NULL);
}

static void
test_alone(void **state)
{
    const struct locks *l = *state;
    struct nodedb_lock a;
    struct stat st;

    assert_int_equal(nodedb_lock_open(&a, l->path, NULL), 0);
    assert_int_equal(nodedb_lock_take(&a, 0, NULL), 0);
    assert_int_equal(stat(l->link, &st), 0);
    assert_int_equal(st.st_nlink, 2);
    /* what open-iscsi does fails as long as we have it */
    assert_int_equal(link(l->file, l->link), -1);
    assert_int_equal(errno, EEXIST);
    assert_int_equal(nodedb_lock_take(&a, 0, NULL), 0);
    nodedb_lock_drop(&a);
    assert_int_equal(stat(l->link, &st), 0);
    nodedb_lock_drop(&a);
    assert_int_equal(stat(l->link, &st), -1);
    assert_int_equal(link(l->file, l->link), 0);
    nodedb_lock_close(&a);
}

static void
test_two(void **state)
{
    const struct locks *l = *state;
    struct lunette_error err = LUNETTE_INIT(err);
    struct nodedb_lock a, b;

    assert_int_equal(nodedb_lock_open(&a, l->path, NULL), 0);
    assert_int_equal(nodedb_lock_open(&b, l->path, NULL), 0);
    assert_int_equal(nodedb_lock_take(&a, 0, NULL), 0);
    assert_int_equal(nodedb_lock_take(&b, 0, &err), -EBUSY);
    assert_non_null(strstr(err.msg, "another program"));
    assert_int_equal(nodedb_lock_take(&b, 30, &err), -EBUSY);
    nodedb_lock_drop(&a);
    assert_int_equal(nodedb_lock_take(&b, 0, NULL), 0);
    nodedb_lock_close(&a);
    nodedb_lock_close(&b);
}

/* A link that was removed by hand while we had it may be somebody else's by now. */
static void
test_removed_by_hand(void **state)
{
    const struct locks *l = *state;
    struct nodedb_lock a;

    assert_int_equal(nodedb_lock_open(&a, l->path, NULL), 0);
    assert_int_equal(nodedb_lock_take(&a, 0, NULL), 0);
    assert_int_equal(unlink(l->link), 0);
    assert_int_equal(link(l->file, l->link), 0);
    nodedb_lock_drop(&a);
    assert_int_equal(access(l->link, F_OK), 0);
    nodedb_lock_close(&a);
}

/* Of ours who has been killed, the lock is free at once. */
static void
test_killed(void **state)
{
    const struct locks *l = *state;
    struct nodedb_lock a;
    int tell[2], status;
    char byte;
    pid_t pid;

    assert_int_equal(pipe(tell), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (nodedb_lock_open(&a, l->path, NULL) == 0 && nodedb_lock_take(&a, 0, NULL) == 0)
            (void)!write(tell[1], "x", 1);
        pause();
        _exit(0);
    }
    assert_int_equal(read(tell[0], &byte, 1), 1);
    assert_int_equal(nodedb_lock_open(&a, l->path, NULL), 0);
    assert_int_equal(nodedb_lock_take(&a, 0, NULL), -EBUSY);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(access(l->link, F_OK), 0);
    assert_int_equal(nodedb_lock_take(&a, 0, NULL), 0);
    nodedb_lock_drop(&a);
    assert_int_equal(access(l->link, F_OK), -1);
    nodedb_lock_close(&a);
    close(tell[0]);
    close(tell[1]);
}

/* Somebody else's lock is waited for, and is ours when it is given back. */
static void
test_foreign(void **state)
{
    const struct locks *l = *state;
    struct nodedb_lock a;
    pid_t pid;

    assert_int_equal(nodedb_lock_open(&a, l->path, NULL), 0);
    assert_int_equal(link(l->file, l->link), 0);
    assert_int_equal(nodedb_lock_take(&a, 0, NULL), -EBUSY);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        wait_ms(100);
        (void)unlink(l->link);
        _exit(0);
    }
    assert_int_equal(nodedb_lock_take(&a, 5000, NULL), 0);
    nodedb_lock_close(&a);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* A link that nobody can have made who still lives is taken away; one that is made anew again and
 * again is not. */
static void
test_foreign_left_over(void **state)
{
    const struct locks *l = *state;
    struct nodedb_lock a;

    assert_int_equal(nodedb_lock_open(&a, l->path, NULL), 0);
    a.proc = l->proc; /* nobody runs */
    assert_int_equal(link(l->file, l->link), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(nodedb_lock_take(&a, NODEDB_LOCK_STALE_MS / 2, NULL), -EBUSY);
        assert_int_equal(unlink(l->link), 0);
        assert_int_equal(link(l->file, l->link), 0);
    }
    assert_int_equal(nodedb_lock_take(&a, NODEDB_LOCK_STALE_MS / 2, NULL), -EBUSY);
    wait_ms(NODEDB_LOCK_STALE_MS / 2 + 100);
    /* whoever does not wait finds it out, too */
    assert_int_equal(nodedb_lock_take(&a, 0, NULL), 0);
    nodedb_lock_drop(&a);
    assert_int_equal(access(l->link, F_OK), -1);
    nodedb_lock_close(&a);
}

/* Nothing is taken from one that may be writing, however long that takes; one that waits for
 * something else has not made the link. */
static void
test_foreign_alive(void **state)
{
    const struct locks *l = *state;
    struct lunette_error err = LUNETTE_INIT(err);
    struct nodedb_lock a;

    proc_put_iscsiadm(l, 4000001, 'D', SYS_fsync);
    proc_put_iscsiadm(l, 4000002, 'S', SYS_ppoll);
    proc_put_iscsiadm(l, 4000003, 'S', SYS_write);
    assert_int_equal(nodedb_lock_open(&a, l->path, NULL), 0);
    a.proc = l->proc;
    assert_int_equal(link(l->file, l->link), 0);
    assert_int_equal(nodedb_lock_take(&a, NODEDB_LOCK_UNSEEN_STALE_MS + 500, &err), -EBUSY);
    assert_non_null(strstr(err.msg, "iscsiadm, process 400000"));
    assert_non_null(strstr(err.msg, "/run/lock/iscsi/lock.write"));
    proc_put_iscsiadm(l, 4000003, 'Z', -1);
    proc_put_iscsiadm(l, 4000001, 'T', -1);
    assert_int_equal(nodedb_lock_take(&a, 2 * NODEDB_LOCK_LOOK_MS, NULL), -EBUSY);
    /* nor can one that began later have made it */
    proc_put_iscsiadm(l, 4000004, 'D', SYS_fsync);
    proc_put_iscsiadm(l, 4000001, 'S', SYS_clock_nanosleep);
    assert_int_equal(nodedb_lock_take(&a, 2 * NODEDB_LOCK_LOOK_MS, NULL), 0);
    nodedb_lock_close(&a);
}

/* Where not all can be seen, it takes longer, but less than callers of the daemon wait. */
static void
test_foreign_unseen(void **state)
{
    const struct locks *l = *state;
    struct nodedb_lock a;
    char path[128];

    (void)snprintf(path, sizeof(path), "%s/self/ns/pid", l->proc);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(nodedb_lock_open(&a, l->path, NULL), 0);
    a.proc = l->proc;
    assert_int_equal(link(l->file, l->link), 0);
    assert_int_equal(nodedb_lock_take(&a, NODEDB_LOCK_STALE_MS + 500, NULL), -EBUSY);
    assert_int_equal(nodedb_lock_take(&a, 9500 - NODEDB_LOCK_STALE_MS - 500, NULL), 0);
    nodedb_lock_close(&a);
}

/* Our own tools have the same names, and wait for the daemon that waits for the lock. */
static void
test_own_caller(void **state)
{
    const struct locks *l = *state;
    struct nodedb_lock a;

    proc_put_iscsiadm(l, 4000001, 'S', SYS_ppoll);
    proc_put_iscsiadm(l, 4000002, 'S', SYS_io_uring_enter);
    assert_int_equal(nodedb_lock_open(&a, l->path, NULL), 0);
    a.proc = l->proc;
    assert_int_equal(link(l->file, l->link), 0);
    assert_int_equal(nodedb_lock_take(&a, NODEDB_LOCK_STALE_MS + 500, NULL), 0);
    nodedb_lock_close(&a);
}

/* A real one that was stopped keeps its lock, and when it is dead the lock is free. */
static void
test_foreign_stopped(void **state)
{
    const struct locks *l = *state;
    struct nodedb_lock a;
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        (void)prctl(PR_SET_NAME, "iscsistart");
        if (link(l->file, l->link) == 0)
            (void)raise(SIGSTOP);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    assert_true(WIFSTOPPED(status));
    assert_int_equal(nodedb_lock_open(&a, l->path, NULL), 0);
    assert_int_equal(nodedb_lock_take(&a, NODEDB_LOCK_UNSEEN_STALE_MS + 500, NULL), -EBUSY);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(nodedb_lock_take(&a, 2000, NULL), 0);
    nodedb_lock_close(&a);
}

/* Who waits in vain is told for whom. */
static void
test_holder(void **state)
{
    const struct locks *l = *state;
    struct lunette_error err = LUNETTE_INIT(err);
    struct nodedb_lock a, b;
    char want[64];

    assert_int_equal(nodedb_lock_open(&a, l->path, NULL), 0);
    assert_int_equal(nodedb_lock_open(&b, l->path, NULL), 0);
    assert_int_equal(nodedb_lock_take(&a, 0, NULL), 0);
    assert_int_equal(nodedb_lock_take(&b, 20, &err), -EBUSY);
    (void)snprintf(want, sizeof(want), "process %ld, has their lock", (long)getpid());
    if (strstr(err.msg, want) == NULL && strstr(err.msg, "is not seen here") == NULL)
        fail_msg("%s", err.msg);
    nodedb_lock_close(&a);
    assert_int_equal(link(l->file, l->link), 0);
    assert_int_equal(nodedb_lock_take(&b, 20, &err), -EBUSY);
    assert_non_null(strstr(err.msg, "of open-iscsi"));
    nodedb_lock_close(&b);
}

/* Where everybody may make directories, one that somebody else has made is not used. */
static void
test_of_another_user(void **state)
{
    const struct locks *l = *state;
    struct lunette_error err = LUNETTE_INIT(err);
    struct nodedb_lock a;
    char path[128];

    (void)snprintf(path, sizeof(path), "%s/linked", l->dir);
    assert_int_equal(symlink(l->path, path), 0);
    assert_int_equal(nodedb_lock_open(&a, path, &err), -ENOTDIR);
    nodedb_lock_close(&a);
    if (geteuid() != 0)
        return; /* only root can give a directory away */
    assert_int_equal(chown(l->path, 65534, 65534), 0);
    assert_int_equal(nodedb_lock_open(&a, l->path, &err), -EPERM);
    assert_non_null(strstr(err.msg, "65534"));
    nodedb_lock_close(&a);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define LOCK_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        LOCK_TEST(test_alone),           LOCK_TEST(test_two),
        LOCK_TEST(test_removed_by_hand), LOCK_TEST(test_killed),
        LOCK_TEST(test_foreign),         LOCK_TEST(test_foreign_left_over),
        LOCK_TEST(test_foreign_alive),   LOCK_TEST(test_foreign_unseen),
        LOCK_TEST(test_own_caller),      LOCK_TEST(test_foreign_stopped),
        LOCK_TEST(test_holder),          LOCK_TEST(test_of_another_user),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
