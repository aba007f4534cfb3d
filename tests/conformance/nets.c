/* SPDX-License-Identifier: MIT */
/* tests/conformance/nets.c - where members run: real loops with sockets, and the simulator. */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loop/loop.h"
#include "tests/conformance/conformance.h"
#include "tests/sim/sim_rdma.h"

static void
ipv4(uint32_t host, uint16_t port, struct sock_addr *ret)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};

    in.sin_addr.s_addr = htonl(host);
    *ret = (struct sock_addr){.len = sizeof(in)};
    memcpy(&ret->ss, &in, sizeof(in));
}

/* ---- sockets --------------------------------------------------------------------------------- */

struct real {
    int nobody, silent, filler; /* descriptors; -1: none */
    struct conform_path *late;  /* what the silent portal has become */
    pid_t child;                /* the target that is apart; 0: none */
};

static int
real_open(struct conform_world *w, enum loop_kind kind)
{
    struct loop_config cfg = {.kind = kind};
    struct real *n;
    int r = loop_new(&cfg, &w->loop, NULL);

    if (r < 0)
        return r;
    n = calloc(1, sizeof(*n));
    assert_non_null(n);
    n->nobody = n->silent = n->filler = -1;
    w->net = n;
    return 0;
}

static int
epoll_open(struct conform_world *w)
{
    return real_open(w, LOOP_EPOLL);
}

static int
uring_open(struct conform_world *w)
{
    return real_open(w, LOOP_URING);
}

static void
close_if_open(int fd)
{
    if (fd >= 0)
        (void)close(fd);
}

static void
real_close(struct conform_world *w)
{
    struct real *n = w->net;

    conform_path_free(n->late);
    close_if_open(n->nobody);
    close_if_open(n->silent);
    close_if_open(n->filler);
    loop_free(w->loop);
    free(n);
}

static void
real_address(struct conform_world *w, struct sock_addr *ret)
{
    (void)w;
    ipv4(INADDR_LOOPBACK, 0, ret);
}

/* A socket that has a port. */
static int
bound_socket(struct sock_addr *ret)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ipv4(INADDR_LOOPBACK, 0, ret);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&ret->ss, ret->len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&ret->ss, &ret->len), 0);
    return fd;
}

static void
real_nobody(struct conform_world *w, struct sock_addr *ret)
{
    ((struct real *)w->net)->nobody = bound_socket(ret);
}

/* The listener's queue has room for one, which has come and is not taken: the kernel drops what
 * else comes, until somebody takes it. */
static void
real_silent(struct conform_world *w, struct sock_addr *ret)
{
    struct real *n = w->net;

    n->silent = bound_socket(ret);
    assert_int_equal(listen(n->silent, 0), 0);
    n->filler = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(n->filler, (struct sockaddr *)&ret->ss, ret->len), 0);
}

static void
real_speak(struct conform_world *w)
{
    struct real *n = w->net;

    close_if_open(n->filler);
    n->filler = -1;
    assert_int_equal(conform_path_new(&conform_path_streams, w->loop, NULL, n->silent,
                                      &w->target_at, &n->late, NULL),
                     0);
    n->silent = -1;
}

/* The process of a target that is apart: it has nothing of its parent's but the medium and the pipe
 * by which it says where it is. */
static void
child_main(struct conform_world *w, int pipe_fd)
{
    struct loop_config cfg = {.kind = LOOP_EPOLL};
    struct lunette_error err = LUNETTE_INIT(err);

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (dup2(pipe_fd, 3) < 0 || loop_new(&cfg, &w->loop, &err) < 0 ||
        conform_target_new(w, &err) < 0) {
        (void)fprintf(stderr, "target: %s\n", err.msg);
        _exit(1);
    }
    if (write(3, &w->target_at, sizeof(w->target_at)) != sizeof(w->target_at))
        _exit(1);
    while (loop_run(w->loop, -1) >= 0) {
    }
    _exit(1);
}

static void
real_revive(struct conform_world *w)
{
    struct real *n = w->net;
    int fds[2];

    assert_int_equal(n->child, 0);
    assert_int_equal(pipe(fds), 0);
    n->child = fork();
    assert_true(n->child >= 0);
    if (n->child == 0) {
        for (int fd = 3; fd < 1024; fd++) {
            if (fd != fds[1])
                (void)close(fd);
        }
        child_main(w, fds[1]);
    }
    (void)close(fds[1]);
    assert_int_equal(read(fds[0], &w->target_at, sizeof(w->target_at)), sizeof(w->target_at));
    (void)close(fds[0]);
}

static void
real_kill(struct conform_world *w)
{
    struct real *n = w->net;

    if (n->child == 0)
        return;
    assert_int_equal(kill(n->child, SIGKILL), 0);
    assert_int_equal(waitpid(n->child, NULL, 0), n->child);
    n->child = 0;
}

const struct conform_net conform_epoll = {.name = "epoll",
                                          .path = &conform_path_streams,
                                          .open = epoll_open,
                                          .close = real_close,
                                          .address = real_address,
                                          .nobody = real_nobody,
                                          .silent = real_silent,
                                          .speak = real_speak,
                                          .revive = real_revive,
                                          .kill = real_kill};
const struct conform_net conform_uring = {.name = "uring",
                                          .path = &conform_path_streams,
                                          .open = uring_open,
                                          .close = real_close,
                                          .address = real_address,
                                          .nobody = real_nobody,
                                          .silent = real_silent,
                                          .speak = real_speak,
                                          .revive = real_revive,
                                          .kill = real_kill};

/* ---- the simulator --------------------------------------------------------------------------- */

struct simulated {
    struct sim *sim;
    uint16_t ports;
    struct sock_addr silent;
    struct conform_path *late;
};

static int
simulated_open(struct conform_world *w)
{
    struct simulated *n = calloc(1, sizeof(*n));

    assert_non_null(n);
    n->sim = sim_new(w->seed, &sim_rough);
    w->loop = sim_loop(n->sim);
    w->net = n;
    return 0;
}

static void
simulated_close(struct conform_world *w)
{
    struct simulated *n = w->net;

    conform_path_free(n->late);
    sim_free(n->sim);
    free(n);
}

static void
simulated_address(struct conform_world *w, struct sock_addr *ret)
{
    struct simulated *n = w->net;

    ipv4(0x0a000001, (uint16_t)(3260 + n->ports++), ret);
}

static void
simulated_silent(struct conform_world *w, struct sock_addr *ret)
{
    struct simulated *n = w->net;

    simulated_address(w, ret);
    assert_int_equal(
        conform_path_new(w->row->net->path, w->loop, ret, -1, &w->target_at, &n->late, ret), 0);
    n->silent = *ret;
    sim_stall(n->sim, &n->silent, true);
}

static void
simulated_speak(struct conform_world *w)
{
    struct simulated *n = w->net;

    sim_stall(n->sim, &n->silent, false);
}

const struct conform_net conform_sim = {.name = "sim",
                                        .path = &conform_path_streams,
                                        .open = simulated_open,
                                        .close = simulated_close,
                                        .address = simulated_address,
                                        .nobody = simulated_address,
                                        .silent = simulated_silent,
                                        .speak = simulated_speak};

/* ---- the simulated fabric -------------------------------------------------------------------- */

static int
fabric_net_open(struct conform_world *w)
{
    int r = simulated_open(w);

    sim_rdma_open(((struct simulated *)w->net)->sim, &sim_rdma_rough);
    return r;
}

/* Somebody has the address, and takes the request to connect without an answer. */
static void
fabric_net_silent(struct conform_world *w, struct sock_addr *ret)
{
    struct simulated *n = w->net;

    simulated_address(w, ret);
    assert_int_equal(
        conform_path_new(w->row->net->path, w->loop, ret, -1, &w->target_at, &n->late, ret), 0);
    n->silent = *ret;
    sim_rdma_set_fate(n->sim, &n->silent, SIM_RDMA_BLACK_HOLE);
}

/* A listener whose one thread is busy, as those of LIO are. */
static void
fabric_net_stuck(struct conform_world *w, struct sock_addr *ret)
{
    simulated_address(w, ret);
    sim_rdma_set_fate(((struct simulated *)w->net)->sim, ret, SIM_RDMA_STUCK);
}

static void
fabric_net_speak(struct conform_world *w)
{
    struct simulated *n = w->net;

    sim_rdma_set_fate(n->sim, &n->silent, SIM_RDMA_NORMAL);
}

struct sim *
conform_simulator(struct conform_world *w)
{
    const struct conform_net *net = w->row->net;

    return net == &conform_sim || net == &conform_sim_rdma ? ((struct simulated *)w->net)->sim
                                                           : NULL;
}

/* Its name in the matrix is that of the simulator, too. */
const struct conform_net conform_sim_rdma = {.name = "sim",
                                             .path = &conform_path_fabric,
                                             .rdma = true,
                                             .open = fabric_net_open,
                                             .close = simulated_close,
                                             .address = simulated_address,
                                             .nobody = simulated_address,
                                             .silent = fabric_net_silent,
                                             .stuck = fabric_net_stuck,
                                             .speak = fabric_net_speak};
