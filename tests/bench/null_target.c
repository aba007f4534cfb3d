/* SPDX-License-Identifier: MIT */
/* tests/bench/null_target.c - the yardstick: an iSCSI target that does as little as it can.
 *
 * It shares no code with the library, so that neither flatters the other.  One thread, epoll (or
 * spinning), one receive of 512 KiB for many PDUs, one send for all answers of a batch.  LUNs 0 to
 * 7 are the same unit: reads give a fixed pattern and writes vanish, or, with -m, memory.  It
 * believes what the initiator says, and is for loopback only.
 */
#include "tests/bench/null_target.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define RECV_SIZE ((size_t)512 * 1024)
#define EVENTS    64

struct options options = {
    .port = 3264,
    .cpu = -1,
    .max_data_in = 1 << 20,
    .max_burst = 1 << 20,
    .first_burst = 262144,
    .window = 256,
    .block_size = 512,
};

uint8_t *memory, *pattern;
uint64_t blocks;

/* ---- connections ---------------------------------------------------------------------------- */

static void
die(const char *what)
{
    perror(what);
    exit(1);
}

static void
new_conn(int listener, int ep)
{
    int one = 1, fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    struct conn *c;

    if (fd < 0)
        return;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    c = calloc(1, sizeof(*c));
    if (c == NULL)
        die("memory");
    c->fd = fd;
    c->header_len = BHS;
    c->max_data_in = 8192; /* what holds until something else is said */
    c->first_burst = 65536;
    c->max_burst = 262144;
    c->initial_r2t = true;
    c->text = malloc(TEXT_MAX + 1);
    c->headers = aligned_alloc(HEADER_SIZE, HEADERS * HEADER_SIZE);
    if (c->text == NULL || c->headers == NULL)
        die("memory");
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) < 0)
        die("epoll_ctl");
}

static void
free_conn(struct conn *c)
{
    (void)close(c->fd);
    free(c->text);
    free(c->headers);
    free(c);
}

static void
readable(struct conn *c, uint8_t *buf)
{
    ssize_t n = recv(c->fd, buf, RECV_SIZE, MSG_DONTWAIT);
    bool goes_on = n < 0 && (errno == EAGAIN || errno == EINTR);

    if (n > 0) {
        goes_on = feed(c, buf, (size_t)n);
        flush(c);
    }
    if (!goes_on)
        free_conn(c);
}

static void __attribute__((noreturn)) run(int listener)
{
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL}, ready[EVENTS];
    uint8_t *buf = aligned_alloc(4096, RECV_SIZE);
    int ep = epoll_create1(EPOLL_CLOEXEC);

    if (buf == NULL || ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, listener, &e) < 0)
        die("epoll");
    for (;;) {
        int n = epoll_wait(ep, ready, EVENTS, options.spin ? 0 : -1);

        for (int i = 0; i < n; i++) {
            if (ready[i].data.ptr == NULL)
                new_conn(listener, ep);
            else
                readable(ready[i].data.ptr, buf);
        }
    }
}

/* ---- start ---------------------------------------------------------------------------------- */

static void __attribute__((noreturn)) usage(int status)
{
    (void)fprintf(status == 0 ? stdout : stderr,
                  "usage: null_target [OPTION...]\n"
                  "  -p PORT   on loopback (3264); 0 takes a free one\n"
                  "  -c CPU    runs there\n"
                  "  -S        spins instead of sleeping\n"
                  "  -m MIB    memory instead of a pattern\n"
                  "  -b BYTES  block size (512)\n"
                  "  -R        InitialR2T=Yes\n"
                  "  -I        ImmediateData=No\n"
                  "  -d BYTES  of one Data-In at most (1 MiB)\n"
                  "  -B BYTES  MaxBurstLength (1 MiB)\n"
                  "  -F BYTES  FirstBurstLength (256 KiB)\n"
                  "  -q N      commands that may be under way (256)\n");
    exit(status);
}

static uint64_t
number(const char *text)
{
    char *end;
    uint64_t n = strtoull(text, &end, 0);

    if (end == text || *end != '\0')
        usage(2);
    return n;
}

static void
read_options(int argc, char **argv)
{
    int o;

    while ((o = getopt(argc, argv, "p:c:Sm:b:RId:B:F:q:h")) != -1) {
        uint64_t n = optarg != NULL && strchr("pcmbdBFq", o) != NULL ? number(optarg) : 0;

        switch (o) {
        case 'p':
            options.port = (int)n;
            break;
        case 'c':
            options.cpu = (int)n;
            break;
        case 'S':
            options.spin = true;
            break;
        case 'm':
            options.memory_size = n << 20;
            break;
        case 'b':
            options.block_size = (uint32_t)n;
            break;
        case 'R':
            options.initial_r2t = true;
            break;
        case 'I':
            options.no_immediate = true;
            break;
        case 'd':
            options.max_data_in = (uint32_t)n;
            break;
        case 'B':
            options.max_burst = (uint32_t)n;
            break;
        case 'F':
            options.first_burst = (uint32_t)n;
            break;
        case 'q':
            options.window = (uint32_t)n;
            break;
        default:
            usage(o == 'h' ? 0 : 2);
        }
    }
    if (options.block_size == 0 || options.window == 0 || options.max_data_in == 0)
        usage(2);
}

static void
make_unit(void)
{
    blocks = (1ull << 40) / options.block_size;
    if (options.memory_size > 0) {
        blocks = options.memory_size / options.block_size;
        memory = mmap(NULL, options.memory_size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED)
            die("memory");
        memset(memory, 0, options.memory_size);
    }
    pattern = aligned_alloc(4096, PATTERN_SIZE);
    if (pattern == NULL)
        die("memory");
    for (uint32_t i = 0; i < PATTERN_SIZE; i++)
        pattern[i] = (uint8_t)(i * 131 >> 3);
}

static int
listen_there(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)options.port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, (void *)&a, len) < 0 || listen(fd, SOMAXCONN) < 0 ||
        getsockname(fd, (void *)&a, &len) < 0)
        die("listen");
    options.port = ntohs(a.sin_port);
    (void)printf("listening on 127.0.0.1:%d\n", options.port);
    (void)fflush(stdout);
    return fd;
}

int
main(int argc, char **argv)
{
    cpu_set_t set;

    read_options(argc, argv);
    (void)signal(SIGPIPE, SIG_IGN);
    CPU_ZERO(&set);
    if (options.cpu >= 0) {
        CPU_SET((size_t)options.cpu, &set);
        if (sched_setaffinity(0, sizeof(set), &set) < 0)
            die("CPU");
    }
    make_unit();
    run(listen_there());
}
