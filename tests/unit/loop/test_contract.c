/* SPDX-License-Identifier: MIT */
/* The real loops against the contract: "test_contract epoll" or "uring". */
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "loop/loop.h"
#include "tests/support/loop_until.h"
#include "tests/test.h"
#include "tests/unit/loop/contract.h"

static bool
make(enum loop_kind kind, struct loop **a, struct loop **b, const char **why)
{
    static struct lunette_error err;
    struct loop_config cfg = {.kind = kind};

    *why = err.msg;
    if (loop_new(&cfg, a, &err) < 0)
        return false;
    if (loop_new(&cfg, b, &err) == 0)
        return true;
    loop_free(*a);
    return false;
}

static bool
make_epoll(struct loop **a, struct loop **b, const char **why)
{
    return make(LOOP_EPOLL, a, b, why);
}

static bool
make_uring(struct loop **a, struct loop **b, const char **why)
{
    return make(LOOP_URING, a, b, why);
}

static void
unmake(struct loop *a, struct loop *b)
{
    loop_free(a);
    loop_free(b);
}

static int
bell(void)
{
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

    assert_true(fd >= 0);
    return fd;
}

static void
bell_ring(int fd)
{
    assert_int_equal(eventfd_write(fd, 1), 0);
}

static uint64_t
bell_read(int fd)
{
    eventfd_t count = 0;

    return eventfd_read(fd, &count) == 0 ? count : 0;
}

static void
bell_free(int fd)
{
    assert_int_equal(close(fd), 0);
}

static bool
closes_on_exec(int fd)
{
    return (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0;
}

#define REAL_BELLS                                                                                 \
    .unmake = unmake, .bell = bell, .ring = bell_ring, .read = bell_read, .bell_free = bell_free,  \
    .closes_on_exec = closes_on_exec, .open_fds = count_fds

int
main(int argc, char **argv)
{
    static const struct loop_factory factories[] = {
        {.name = "epoll", .make = make_epoll, REAL_BELLS},
        {.name = "uring", .make = make_uring, REAL_BELLS},
    };

    for (size_t i = 0; i < 2; i++) {
        struct loop *a = NULL, *b = NULL;
        const char *why = NULL;

        if (argc < 2 || strcmp(argv[1], factories[i].name) != 0)
            continue;
        if (!factories[i].make(&a, &b, &why)) {
            print_message("%s\n", why);
            return 77;
        }
        factories[i].unmake(a, b);
        return contract_run(&factories[i]) + contract_local_run(&factories[i]) +
               contract_watch_run(&factories[i]);
    }
    return 2;
}
