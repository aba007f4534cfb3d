/* SPDX-License-Identifier: MIT */
/* rnic_contract.c - the contract of seam/rdma.h on this machine's RDMA devices, by libibverbs.
 *
 * usage: rnic_contract [--loop epoll|uring] [--two] ADDRESS [NOBODY] [TEST...]
 *
 * ADDRESS is one of a device's own, to which the program connects from itself; NOBODY is one of the
 * same network that nobody has, or "-".  --two: initiator and target have a loop each.  TEST: only
 * tests whose names begin so.  Exit status 77: no device.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loop/loop.h"
#include "rdma/rdma.h"
#include "tests/rdma/contract.h"

#define TURN_NS (10 * LOOP_NS_PER_MS)

static struct loop *
new_loop(const char *kind)
{
    struct loop_config cfg = {.kind = LOOP_AUTO};
    struct lunette_error err = {.struct_size = sizeof(err)};
    struct loop *l = NULL;

    if (kind != NULL)
        cfg.kind = strcmp(kind, "uring") == 0 ? LOOP_URING : LOOP_EPOLL;
    if (loop_new(&cfg, &l, &err) < 0) {
        fprintf(stderr, "rnic_contract: %s\n", err.msg);
        exit(1);
    }
    l->rnic = rdma_verbs;
    return l;
}

static bool
run(void *user, bool (*done)(void *arg), void *arg, uint64_t ns)
{
    const struct rnic_contract *k = user;
    uint64_t until;

    (void)loop_run(k->client, 0);
    until = k->client->now_ns + ns;
    while (!done(arg)) {
        int r = loop_run(k->client, k->client == k->server ? TURN_NS : 0);

        if (k->client != k->server && r >= 0)
            r = loop_run(k->server, r > 0 ? 0 : LOOP_NS_PER_MS);
        if (r < 0) {
            fprintf(stderr, "rnic_contract: loop_run: %s\n", errno_text(r));
            abort();
        }
        if (k->client->now_ns > until)
            return done(arg);
    }
    return true;
}

static bool
read_address(const char *text, struct sock_addr *ret)
{
    struct sockaddr_in *v4 = (void *)&ret->ss;
    struct sockaddr_in6 *v6 = (void *)&ret->ss;

    memset(ret, 0, sizeof(*ret));
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        ret->len = sizeof(*v4);
    } else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        ret->len = sizeof(*v6);
    }
    return ret->len > 0;
}

static bool
wanted(const char *name, char *const *only)
{
    if (*only == NULL)
        return true;
    for (; *only != NULL; only++) {
        if (strncmp(name, *only, strlen(*only)) == 0)
            return true;
    }
    return false;
}

int
main(int argc, char **argv)
{
    struct rnic_contract k = {
        .run = run, .patience_ns = 60 * LOOP_NS_PER_S, .moment_ns = 300 * LOOP_NS_PER_MS};
    struct lunette_error err = {.struct_size = sizeof(err)};
    const char *kind = NULL;
    struct sock_addr nobody;
    bool two = false;
    unsigned n = 0;
    int i = 1;

    for (; i < argc && argv[i][0] == '-' && argv[i][1] != '\0'; i++) {
        if (strcmp(argv[i], "--two") == 0)
            two = true;
        else if (strcmp(argv[i], "--loop") == 0 && i + 1 < argc)
            kind = argv[++i];
        else
            break;
    }
    if (i >= argc || !read_address(argv[i], &k.at)) {
        fprintf(stderr, "usage: rnic_contract [--loop epoll|uring] [--two] ADDRESS [NOBODY] "
                        "[TEST...]\n");
        return 2;
    }
    if (++i < argc && read_address(argv[i], &nobody))
        k.nobody = &nobody;
    if (rdma_usable(&err) < 0) {
        printf("skipped: %s\n", err.msg);
        return 77;
    }
    k.user = &k;
    k.client = new_loop(kind);
    k.server = two ? new_loop(kind) : k.client;
    for (unsigned t = 0; t < rnic_contract_ntests; t++) {
        const struct rnic_contract_test *test = &rnic_contract_tests[t];

        if (!wanted(test->name, &argv[i + 1 < argc ? i + 1 : argc]))
            continue;
        printf("%s ...\n", test->name);
        (void)fflush(stdout);
        test->run(&k);
        n++;
    }
    if (two)
        loop_free(k.server);
    loop_free(k.client);
    printf("%u tests passed\n", n);
    return 0;
}
