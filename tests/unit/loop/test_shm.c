/* SPDX-License-Identifier: MIT */
/* seam/shm.h on real loops: the contract, and what another process may try: "test_shm epoll" or
 * "uring". */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loop/loop.h"
#include "seam/shm.h"
#include "tests/support/alloc_fail.h"
#include "tests/support/loop_kind.h"
#include "tests/support/loop_until.h"
#include "tests/test.h"
#include "tests/unit/loop/contract.h"

#define LIMIT_NS (20 * LOOP_NS_PER_S)
#define SIZE     ((size_t)65536)
#define FULL     0xfffffffffffffffeull /* the most that write(2) puts into an eventfd */

static enum loop_kind kind;

/* The contract. */

static pid_t child;
static bool no_peerpidfd; /* as kernels before 6.5 */

int __real_getsockopt(int fd, int level, int name, void *value, socklen_t *len);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *len);

int
__wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
    if (no_peerpidfd && level == SOL_SOCKET && name == 77) {
        errno = ENOPROTOOPT;
        return -1;
    }
    return __real_getsockopt(fd, level, name, value, len);
}

static struct loop *
new_loop(void)
{
    struct loop_config cfg = {.kind = kind};
    struct lunette_error err;
    struct loop *l = NULL;

    assert_int_equal(loop_new(&cfg, &l, &err), 0);
    return l;
}

static bool
make(struct loop **a, struct loop **b, const char **why)
{
    (void)why;
    *a = new_loop();
    *b = new_loop();
    return true;
}

static void
unmake(struct loop *a, struct loop *b)
{
    loop_free(a);
    loop_free(b);
}

static int
unsealed(struct loop *l, size_t size, int seals)
{
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    (void)l;
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
    return fd;
}

static void
process(struct loop *b, void (*begin)(struct loop *l), void (*step)(void))
{
    struct loop *l;

    (void)b;
    child = fork();
    assert_true(child >= 0);
    if (child > 0)
        return;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    l = new_loop();
    begin(l);
    for (;;) {
        if (loop_run(l, (int64_t)LOOP_NS_PER_MS) < 0)
            _exit(1);
        step();
    }
}

static void
kill_child(void)
{
    assert_int_equal(kill(child, SIGKILL), 0);
}

/* A zombie runs no more; it is left one. */
static bool
child_ended(void)
{
    siginfo_t info = {.si_pid = 0};

    if (waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
        return true;
    return info.si_pid == child;
}

static void
reap_child(void (*end)(void))
{
    (void)end; /* the program was the child's */
    assert_int_equal(waitpid(child, NULL, 0), child);
}

static bool
always_runs(struct loop *b)
{
    return b != NULL;
}

/* Bells of a hostile process. */

/* Does something to a descriptor again and again until it is told to stop, as the other process
 * could, which has the same file description. */
struct spoiler {
    pthread_t thread;
    int fd;
    atomic_bool stop;
    void (*spoil)(int fd);
};

static void *
spoiler_run(void *arg)
{
    struct spoiler *s = arg;

    while (!atomic_load(&s->stop))
        s->spoil(s->fd);
    return NULL;
}

static void
spoiler_start(struct spoiler *s, int fd, void (*spoil)(int fd))
{
    s->fd = fd;
    s->spoil = spoil;
    atomic_store(&s->stop, false);
    assert_int_equal(pthread_create(&s->thread, NULL, spoiler_run, s), 0);
}

static void
spoiler_end(struct spoiler *s)
{
    atomic_store(&s->stop, true);
    (void)fcntl(s->fd, F_SETFL, O_NONBLOCK);
    assert_int_equal(pthread_join(s->thread, NULL), 0);
}

static void
block_and_fill(int fd)
{
    uint64_t count;

    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    (void)!read(fd, &count, sizeof(count));
    count = FULL;
    (void)!write(fd, &count, sizeof(count));
    (void)fcntl(fd, F_SETFL, 0);
}

static void
block_and_empty(int fd)
{
    uint64_t count;

    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    (void)!read(fd, &count, sizeof(count));
    (void)fcntl(fd, F_SETFL, 0);
}

/* An alarm ends the test if a call blocks. */
static void
test_hostile_bell_never_blocks(void **state)
{
    static void (*const spoil[])(int fd) = {block_and_fill, block_and_empty};
    struct loop *l = new_loop();
    struct spoiler s;
    int fd = -1;

    (void)state;
    (void)alarm(60);
    for (size_t i = 0; i < sizeof(spoil) / sizeof(spoil[0]); i++) {
        assert_int_equal(shm_bell_make(l, &fd), 0);
        spoiler_start(&s, fd, spoil[i]);
        for (int n = 0; n < 30000; n++) {
            shm_bell_ring(l, fd);
            shm_bell_clear(l, fd);
            shm_bell_clear(l, fd);
        }
        spoiler_end(&s);
        loop_close_fd(l, fd);
    }
    (void)alarm(0);
    loop_free(l);
}

/* The same without luck: each call with the flag cleared, and the counter full or empty. */
static void
test_bell_that_would_block(void **state)
{
    struct loop *l = new_loop();
    uint64_t full = FULL;
    int fd = -1;

    (void)state;
    (void)alarm(60);
    assert_int_equal(shm_bell_make(l, &fd), 0);
    assert_int_equal(write(fd, &full, sizeof(full)), sizeof(full));
    assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
    for (int i = 0; i < 1000; i++) /* beyond all that a counter holds, and all that is kept of it */
        shm_bell_ring(l, fd);
    assert_int_equal(shm_bell_check_wait(l, fd), 0);
    for (int i = 0; i < 1000; i++)
        shm_bell_clear(l, fd);
    assert_int_equal(shm_bell_check_wait(l, fd), 0);
    assert_int_equal(shm_bell_check(l, fd), 0);
    (void)alarm(0);
    loop_close_fd(l, fd);
    loop_free(l);
}

/* A counter that reads only count down would keep the loop awake for years. */
static void
test_what_is_no_bell(void **state)
{
    struct loop *l = new_loop();
    int pair[2], fds[6], n = 0;

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    fds[n++] = eventfd(100, EFD_SEMAPHORE | EFD_NONBLOCK);
    fds[n++] = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    fds[n++] = memfd_create("test", 0);
    fds[n++] = open("/dev/null", O_RDWR);
    fds[n++] = pair[0];
    fds[n++] = pair[1];
    for (int i = 0; i < n; i++) {
        assert_true(fds[i] >= 0);
        assert_int_equal(shm_bell_check_wait(l, fds[i]), -EINVAL);
        assert_int_equal(shm_bell_check(l, fds[i]), i > 0 ? -EINVAL : 0); /* it rings */
        assert_int_equal(close(fds[i]), 0);
        assert_int_equal(shm_bell_check_wait(l, fds[i]), -EINVAL);
        assert_int_equal(shm_bell_check(l, fds[i]), -EINVAL);
    }
    loop_free(l);
}

/* One that its maker has not made non-blocking is as good as any. */
static void
test_bell_of_a_careless_process(void **state)
{
    struct loop *l = new_loop();
    int fd = eventfd(0, 0);

    (void)state;
    (void)alarm(60);
    assert_int_equal(shm_bell_check_wait(l, fd), 0);
    shm_bell_clear(l, fd);
    shm_bell_clear(l, fd);
    (void)alarm(0);
    loop_close_fd(l, fd);
    loop_free(l);
}

/* Memory of a hostile process. */

static void
test_memory_that_is_not_ours(void **state)
{
    struct loop *l = new_loop();
    char path[64];
    void *map = NULL;
    int fd, ro;

    (void)state;
    /* It cannot be written to, now or ever. */
    fd = unsealed(l, SIZE, F_SEAL_SHRINK | F_SEAL_GROW);
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    ro = open(path, O_RDONLY);
    assert_true(ro >= 0);
    assert_int_equal(shm_map(l, ro, SIZE, &map), -EPERM);
    assert_int_equal(close(ro), 0);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
    assert_int_equal(shm_map(l, fd, SIZE, &map), -EPERM);
    loop_close_fd(l, fd);
    /* A file. */
    fd = open("/tmp", O_TMPFILE | O_RDWR, 0600);
    assert_true(fd >= 0 && ftruncate(fd, (off_t)SIZE) == 0);
    assert_int_equal(shm_map(l, fd, SIZE, &map), -EPERM);
    loop_close_fd(l, fd);
    fd = open("/dev/zero", O_RDWR);
    assert_int_equal(shm_map(l, fd, SIZE, &map), -EPERM);
    loop_close_fd(l, fd);
    assert_int_equal(shm_map(l, fd, SIZE, &map), -EPERM);
    assert_null(map);
    loop_free(l);
}

/* Pages that are given back and cannot be had again kill whoever touches them. */
static void
test_memory_of_huge_pages(void **state)
{
    int fd = memfd_create("test", MFD_ALLOW_SEALING | MFD_HUGETLB);
    size_t size = (size_t)1 << 30; /* a multiple of all their sizes on the machines that we know */
    struct loop *l;
    void *map = NULL;

    (void)state;
    if (fd < 0)
        skip();
    l = new_loop();
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
    assert_int_equal(shm_map(l, fd, size, &map), -EPERM);
    loop_close_fd(l, fd);
    loop_free(l);
}

/* Nobody makes ours smaller or larger, or takes the seals away; what is given back is zero. */
static void
test_memory_is_sealed(void **state)
{
    struct loop *l = new_loop();
    volatile uint8_t *p;
    void *map = NULL;
    int fd = -1;

    (void)state;
    assert_int_equal(shm_make(l, SIZE, &fd, &map), 0);
    p = map;
    p[SIZE - 1] = 7;
    assert_true(ftruncate(fd, 0) < 0 && errno == EPERM);
    assert_true(ftruncate(fd, (off_t)SIZE * 2) < 0 && errno == EPERM);
    assert_true(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) < 0 && errno == EPERM);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)SIZE), 0);
    assert_int_equal(p[SIZE - 1], 0);
    p[0] = 1;
    shm_unmap(l, map, SIZE);
    loop_close_fd(l, fd);
    loop_free(l);
}

/* A child of fork would go on to write when we are gone. */
static void
test_memory_is_not_inherited(void **state)
{
    struct loop *l = new_loop();
    void *map = NULL;
    int fd = -1, status = 0;
    pid_t pid;

    (void)state;
    assert_int_equal(shm_make(l, SIZE, &fd, &map), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct rlimit none = {0, 0};

        (void)setrlimit(RLIMIT_CORE, &none);
        (void)signal(SIGSEGV, SIG_DFL);
        *(volatile uint8_t *)map = 1;
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    /* A sanitizer may turn the signal into an exit. */
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) != 0);
    assert_int_equal(*(uint8_t *)map, 0);
    shm_unmap(l, map, SIZE);
    loop_close_fd(l, fd);
    loop_free(l);
}

/* Shortage. */

static void
test_no_descriptors(void **state)
{
    struct loop *l = new_loop();
    struct rlimit old, few;
    unsigned before;
    void *map = NULL;
    int fd = -1, bell = -1;

    (void)state;
    assert_int_equal(shm_bell_make(l, &bell), 0);
    before = count_fds();
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    few = (struct rlimit){0, old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    assert_int_equal(shm_make(l, SIZE, &fd, &map), -EMFILE);
    assert_int_equal(shm_bell_make(l, &fd), -EMFILE);
    assert_int_equal(shm_bell_check(l, bell), 0); /* which needs none */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_true(fd == -1 && map == NULL);
    assert_int_equal(count_fds(), before);
    loop_close_fd(l, bell);
    loop_free(l);
}

static void
test_no_memory(void **state)
{
    struct loop *l = new_loop();
    unsigned before = count_fds();
    int fd = -1;

    (void)state;
    alloc_none = true;
    assert_int_equal(shm_bell_make(l, &fd), -ENOMEM);
    assert_int_equal(shm_bell_check(l, 0), -ENOMEM);
    alloc_none = false;
    assert_int_equal(count_fds(), before);
    assert_int_equal(shm_bell_make(l, &fd), 0);
    loop_close_fd(l, fd);
    loop_free(l);
}

/* Memory of which the address space has no room is no memory. */
static void
test_no_address_space(void **state)
{
    struct loop *l = new_loop();
    struct rlimit old, few;
    unsigned before = count_fds();
    void *map = NULL;
    int fd = -1, r;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_AS, &old), 0);
    few = (struct rlimit){(rlim_t)1 << 30, old.rlim_max};
    if (setrlimit(RLIMIT_AS, &few) < 0 || (size_t)SHM_SIZE_MAX != SHM_SIZE_MAX)
        skip();
    r = shm_make(l, (size_t)SHM_SIZE_MAX, &fd, &map);
    assert_int_equal(setrlimit(RLIMIT_AS, &old), 0);
    assert_int_equal(r, -ENOMEM);
    assert_int_equal(count_fds(), before);
    loop_free(l);
}

/* Has a system call fail in this process with that error, as a policy may. */
static void
forbid(long number, int err)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)err),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog prog = {.len = sizeof(code) / sizeof(code[0]), .filter = code};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) < 0)
        _exit(77);
}

/* What bells need, forbidden or used up. */
static void
test_nothing_to_ring_with(void **state)
{
    static const struct {
        int err, want;
    } rows[] = {{ENOSYS, EOPNOTSUPP}, {EPERM, EOPNOTSUPP}, {EAGAIN, EAGAIN}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        pid_t pid = fork();
        int status = 0;

        assert_true(pid >= 0);
        if (pid == 0) {
            struct loop *l = new_loop();
            unsigned before = count_fds();
            int fd = -1;

            forbid(SYS_io_setup, rows[i].err);
            if (shm_bell_make(l, &fd) != -rows[i].want || shm_bell_check(l, 0) != -rows[i].want)
                _exit(1);
            _exit(fd == -1 && count_fds() == before ? 0 : 2);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        if (WEXITSTATUS(status) == 77)
            skip();
        assert_int_equal(WEXITSTATUS(status), 0);
    }
}

/* Nothing is left open. */
static void
test_nothing_is_left(void **state)
{
    unsigned before = count_fds();
    struct loop *l = new_loop();
    void *map = NULL;
    int fd = -1, bell = -1, copy = -1;

    (void)state;
    assert_int_equal(shm_make(l, SIZE, &fd, &map), 0);
    assert_int_equal(shm_bell_make(l, &bell), 0);
    assert_int_equal(shm_dup(l, bell, &copy), 0);
    assert_true(fcntl(copy, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(shm_dup(l, 1 << 20, &copy), -EBADF);
    shm_bell_ring(l, bell);
    loop_close_fd(l, copy);
    loop_close_fd(l, bell);
    loop_close_fd(l, fd);
    shm_unmap(l, map, SIZE);
    loop_free(l);
    assert_int_equal(count_fds(), before);
}

/* Emulators of other processors do not have what rings them. */
static bool
has_bells(void)
{
    struct loop *l = new_loop();
    int fd = -1, r = shm_bell_make(l, &fd);

    assert_true(r == 0 || r == -EOPNOTSUPP);
    loop_close_fd(l, fd);
    loop_free(l);
    return r == 0;
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hostile_bell_never_blocks),
        cmocka_unit_test(test_bell_that_would_block),
        cmocka_unit_test(test_what_is_no_bell),
        cmocka_unit_test(test_bell_of_a_careless_process),
        cmocka_unit_test(test_memory_that_is_not_ours),
        cmocka_unit_test(test_memory_of_huge_pages),
        cmocka_unit_test(test_memory_is_sealed),
        cmocka_unit_test(test_memory_is_not_inherited),
        cmocka_unit_test(test_no_descriptors),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_no_address_space),
        cmocka_unit_test(test_nothing_to_ring_with),
        cmocka_unit_test(test_nothing_is_left),
    };
    struct loop_factory factory = {.make = make,
                                   .unmake = unmake,
                                   .unsealed = unsealed,
                                   .process = process,
                                   .kill = kill_child,
                                   .ended = child_ended,
                                   .reap = reap_child,
                                   .runs = always_runs};

    int failed, r = loop_kind_named(argc, argv, &kind);

    if (r != 0)
        return r;
    if (!has_bells()) {
        print_message("io_submit is not there, or forbidden: no bells\n");
        return 77;
    }
    factory.name = argv[1];
    failed = contract_shm_run(&factory);
    factory.name = "kernels before 6.5";
    no_peerpidfd = true;
    failed += contract_shm_run(&factory);
    return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
