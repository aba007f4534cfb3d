/* SPDX-License-Identifier: MIT */
/* tests/rdma/contract.c - connections, messages, queues and ends, as seam/rdma.h promises them;
 * contract_mem.c has memory. */
#include "tests/rdma/contract.h"

#include <netinet/in.h>

#include "tests/rdma/contract_ends.h"
#include "tests/rdma/contract_tests.h"

static bool
has_ended(void *arg)
{
    return ((const struct end *)arg)->ends > 0;
}

static bool
same_addr(const struct sock_addr *a, const struct sock_addr *b, bool port)
{
    const struct sockaddr_in *x = (const void *)&a->ss, *y = (const void *)&b->ss;

    if (a->ss.ss_family != b->ss.ss_family)
        return false;
    if (a->ss.ss_family == AF_INET)
        return x->sin_addr.s_addr == y->sin_addr.s_addr && (!port || x->sin_port == y->sin_port);
    return memcmp(&((const struct sockaddr_in6 *)(const void *)&a->ss)->sin6_addr,
                  &((const struct sockaddr_in6 *)(const void *)&b->ss)->sin6_addr, 16) == 0;
}

static bool
is_zero(const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (p[i] != 0)
            return false;
    }
    return true;
}

/* Connecting. */

/* Both are told once, in order, what the other has sent along, and who it is. */
static void
connects(const struct rnic_contract *k)
{
    struct sock_addr local, peer;
    struct ends e;

    ends_open(&e, k, NULL);
    CHECK(e.requests == 1 && e.server.ends == 0 && e.client.ends == 0);
    CHECK(e.client.caps.device[0] != '\0' && e.client.caps.max_region >= ENDS_MEM);
    CHECK(e.server.caps.device[0] != '\0');
    CHECK(e.client.private_len >= 4 && memcmp(e.client.private_data, "\x80\4\5\6", 4) == 0);
    CHECK(is_zero(e.client.private_data + 4, e.client.private_len - 4));
    CHECK(rnic_names(e.client.ep, &local, &peer) == 0);
    CHECK(same_addr(&peer, &e.at, true) && same_addr(&e.server.peer, &local, false));
    CHECK(rnic_names(e.server.ep, &local, &peer) == 0 && same_addr(&local, &e.at, true));
    CHECK(same_addr(&peer, &e.server.peer, false));
    ends_moment(k);
    CHECK(e.client.nwc == 0 && e.server.nwc == 0 && e.client.ends == 0 && e.server.ends == 0);
    ends_close(&e);
}

static bool
was_requested(void *arg)
{
    return ((const struct ends *)arg)->requests > 0;
}

static bool
both_up(void *arg)
{
    const struct ends *e = arg;

    return e->client.up && e->server.up;
}

static bool
client_up(void *arg)
{
    return ((const struct ends *)arg)->client.up;
}

/* A request is seen with its private data, and may be taken later. */
static void
accepts_later(const struct rnic_contract *k)
{
    struct ends_setup setup = {.later = true, .recvs = 2};
    struct ends e;

    ends_listen(&e, k, &setup);
    ends_resolve(&e);
    ends_connect(&e);
    ends_until(k, was_requested, &e);
    CHECK(memcmp(e.server.private_data, "\xc0\1\2\3", 4) == 0);
    CHECK(is_zero(e.server.private_data + 4, e.server.private_len - 4));
    ends_moment(k);
    CHECK(!e.client.up && e.client.ends == 0);
    CHECK(rnic_accept(e.server.ep, "\x80\4\5\6", 4, NULL) == 0);
    ends_until(k, both_up, &e);
    ends_close(&e);
}

static void
refused_by_nobody(const struct rnic_contract *k)
{
    struct ends e;

    ends_listen(&e, k, NULL);
    rnic_close(e.listener);
    e.listener = NULL;
    ends_resolve(&e);
    ends_connect(&e);
    ends_until(k, has_ended, &e.client);
    CHECK(e.client.end_err == -ECONNREFUSED && !e.client.up && e.requests == 0);
    ends_close(&e);
}

static void
refused_by_the_listener(const struct rnic_contract *k)
{
    struct ends_setup setup = {.refuse = true};
    struct ends e;

    ends_listen(&e, k, &setup);
    ends_resolve(&e);
    ends_connect(&e);
    ends_until(k, has_ended, &e.client);
    CHECK(e.client.end_err == -ECONNREFUSED && !e.client.up && e.requests == 1);
    ends_close(&e);
}

static void
nobody_has_the_address(const struct rnic_contract *k)
{
    struct ends e;

    if (k->nobody == NULL)
        return;
    ends_listen(&e, k, NULL);
    e.at = *k->nobody;
    ends_resolve(&e);
    CHECK(e.client.ends == 1 && !e.client.resolved);
    CHECK(e.client.end_err == -ETIMEDOUT || e.client.end_err == -EHOSTUNREACH);
    ends_close(&e);
}

/* Messages. */

/* Of every length up to 8 KiB that may matter, both ways, from one piece of memory and from two. */
static void
messages(const struct rnic_contract *k)
{
    static const uint32_t lens[] = {1, 4, 28, 76, 77, 1023, 1024, 1025, 4096, 4097, 8191, 8192};
    struct ends_setup setup = {.recvs = 8};
    struct ends e;

    ends_open(&e, k, &setup);
    for (unsigned i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        for (unsigned way = 0; way < 2; way++) {
            struct end *from = way == 0 ? &e.client : &e.server;
            struct end *to = way == 0 ? &e.server : &e.client;
            struct rnic_wr wr = end_wr(from, RNIC_SEND, i, 0, lens[i]);
            const struct rnic_wc *wc;
            uint32_t at = ENDS_RECVS_AT + (1000 + i) % ENDS_DEPTH * ENDS_RECV;

            if (lens[i] > 1 && i % 2 == 1) {
                wr.nsge = 2;
                wr.sge[0].len = lens[i] / 3;
                wr.sge[1] = wr.sge[0];
                wr.sge[1].addr = from->mem + 16384;
                wr.sge[1].len = lens[i] - lens[i] / 3;
            }
            end_fill(from, 0, lens[i], i);
            memcpy(from->mem + 16384, from->mem + wr.sge[0].len, lens[i] - wr.sge[0].len);
            CHECK(end_do(from, wr) == RNIC_OK);
            wc = end_wait(to, 1000 + i, true);
            CHECK(wc->status == RNIC_OK && wc->len == lens[i] && wc->invalidated == 0);
            CHECK(end_holds(to, at, lens[i], i, 0));
            end_recv(to, 1, 1008 + i, ENDS_RECV);
        }
    }
    ends_close(&e);
}

/* Posted together and one by one, they arrive and complete in the order of their posting. */
static void
messages_in_order(const struct rnic_contract *k)
{
    struct ends_setup setup = {.recvs = 12};
    struct rnic_wr wr[12];
    unsigned sends = 0, recvs = 0;
    struct ends e;

    ends_open(&e, k, &setup);
    for (unsigned i = 0; i < 12; i++) {
        wr[i] = end_wr(&e.client, RNIC_SEND, i, i * 64, 8);
        end_fill(&e.client, i * 64, 8, i);
    }
    end_post(&e.client, wr, 5);
    for (unsigned i = 5; i < 12; i++)
        end_post(&e.client, &wr[i], 1);
    (void)end_wait(&e.client, 11, false);
    (void)end_wait(&e.server, 1011, true);
    for (unsigned i = 0; i < e.client.nwc; i++)
        CHECK(e.client.wc[i].id == sends++ && e.client.wc[i].status == RNIC_OK);
    for (unsigned i = 0; i < e.server.nwc; i++) {
        CHECK(e.server.wc[i].id == 1000 + recvs && e.server.wc[i].len == 8);
        CHECK(end_holds(&e.server, ENDS_RECVS_AT + (1000 + recvs) % ENDS_DEPTH * ENDS_RECV, 8,
                        recvs, 0));
        recvs++;
    }
    CHECK(sends == 12 && recvs == 12);
    ends_close(&e);
}

/* Without a receive what is sent waits, and no harm is done. */
static void
waits_for_a_receive(const struct rnic_contract *k)
{
    struct rnic_wr wr;
    struct ends e;

    ends_open(&e, k, NULL);
    end_fill(&e.client, 0, 100, 3);
    wr = end_wr(&e.client, RNIC_SEND, 1, 0, 100);
    end_post(&e.client, &wr, 1);
    wr.id = 2;
    end_post(&e.client, &wr, 1);
    ends_moment(k);
    CHECK(e.client.nwc == 0 && e.client.ends == 0 && e.server.ends == 0);
    end_recv(&e.server, 1, 7, ENDS_RECV);
    CHECK(end_wait(&e.server, 7, true)->len == 100);
    CHECK(end_wait(&e.client, 1, false)->status == RNIC_OK);
    ends_moment(k);
    CHECK(end_find(&e.client, 2, false) == NULL);
    end_recv(&e.server, 1, 8, ENDS_RECV);
    CHECK(end_wait(&e.client, 2, false)->status == RNIC_OK);
    CHECK(end_wait(&e.server, 8, true)->status == RNIC_OK);
    ends_close(&e);
}

/* The peer may send as soon as it is up; this end is told first that it is up, too. */
static void
up_before_messages(const struct rnic_contract *k)
{
    struct ends_setup setup = {.recvs = 4};
    struct ends e;

    for (int round = 0; round < 3; round++) {
        ends_listen(&e, k, &setup);
        ends_resolve(&e);
        ends_connect(&e);
        ends_until(k, client_up, &e); /* the server's callbacks check the order */
        CHECK(end_do(&e.client, end_wr(&e.client, RNIC_SEND, 1, 0, 16)) == RNIC_OK);
        CHECK(end_wait(&e.server, 1000, true)->len == 16);
        ends_close(&e);
    }
}

static void
receive_too_short(const struct rnic_contract *k)
{
    enum rnic_status theirs, ours;
    struct ends e;

    ends_open(&e, k, NULL);
    end_recv(&e.server, 1, 1, 60);
    end_recv(&e.server, 1, 2, ENDS_RECV);
    memset(e.server.mem + ENDS_RECVS_AT, 0x5a, 2 * ENDS_RECV + 64);
    ours = end_do(&e.client, end_wr(&e.client, RNIC_SEND, 5, 0, 100));
    theirs = end_wait(&e.server, 1, true)->status;
    CHECK(ours != RNIC_OK && theirs != RNIC_OK);
    if (k->exact)
        CHECK(ours == RNIC_REMOTE_ERROR && theirs == RNIC_TOO_LONG);
    CHECK(e.server.mem[ENDS_RECVS_AT + ENDS_RECV + 60] == 0x5a);
    end_disconnect(&e.server);
    CHECK(end_wait(&e.server, 2, true)->status == RNIC_FLUSHED);
    ends_close(&e);
}

/* The queues. */

/* Room is exact: n requests are posted or none; and it is there again with the completion. */
static void
queues_have_room(const struct rnic_contract *k)
{
    struct ends_setup setup = {.depth = {.send = 6, .recv = 5}};
    struct rnic_wr wr[8];
    struct rnic_recv r[8];
    struct ends e;

    ends_open(&e, k, &setup);
    for (unsigned i = 0; i < 8; i++) {
        wr[i] = end_wr(&e.client, RNIC_SEND, i, 0, 8);
        r[i] = (struct rnic_recv){i, {e.server.mem, 64, e.server.mr->lkey}};
    }
    CHECK(rnic_post_send(e.client.ep, wr, 7) == -EAGAIN);
    CHECK(rnic_post_send(e.client.ep, wr, 5) == 0);
    CHECK(rnic_post_send(e.client.ep, &wr[5], 2) == -EAGAIN);
    CHECK(rnic_post_send(e.client.ep, &wr[5], 1) == 0);
    CHECK(rnic_post_send(e.client.ep, &wr[6], 1) == -EAGAIN);
    CHECK(rnic_post_recv(e.server.ep, r, 6) == -EAGAIN);
    CHECK(rnic_post_recv(e.server.ep, r, 5) == 0);
    CHECK(rnic_post_recv(e.server.ep, &r[5], 1) == -EAGAIN);
    for (unsigned i = 0; i < 5; i++)
        CHECK(end_wait(&e.client, i, false)->status == RNIC_OK);
    (void)end_wait(&e.server, 4, true);
    CHECK(rnic_post_recv(e.server.ep, r, 6) == -EAGAIN);
    CHECK(rnic_post_recv(e.server.ep, &r[5], 2) == 0);
    CHECK(end_wait(&e.client, 5, false)->status == RNIC_OK);
    CHECK(rnic_post_send(e.client.ep, &wr[6], 1) == 0);
    CHECK(end_wait(&e.client, 6, false)->status == RNIC_OK);
    ends_close(&e);
}

/* A quiet request says nothing, and holds its place until a later one that is not quiet. */
static void
quiet_requests(const struct rnic_contract *k)
{
    struct ends_setup setup = {.depth = {.send = 6, .recv = 32}};
    struct rnic_wr wr[6];
    struct ends e;

    ends_open(&e, k, &setup);
    for (unsigned round = 0; round < 4; round++) {
        unsigned before = e.client.nwc;

        end_recv(&e.server, 6, 6 * round, 64);
        for (unsigned i = 0; i < 6; i++) {
            wr[i] = end_wr(&e.client, RNIC_SEND, 6 * round + i, 0, 8);
            wr[i].quiet = i < 5;
        }
        end_post(&e.client, wr, 4);
        (void)end_wait(&e.server, 6 * round + 3, true);
        ends_moment(k);
        CHECK(e.client.nwc == before && rnic_post_send(e.client.ep, wr, 3) == -EAGAIN);
        end_post(&e.client, &wr[4], 2);
        CHECK(rnic_post_send(e.client.ep, wr, 1) == -EAGAIN);
        CHECK(end_wait(&e.client, 6 * round + 5, false)->status == RNIC_OK);
        CHECK(e.client.nwc == before + 1); /* and there is room for six again */
        (void)end_wait(&e.server, 6 * round + 5, true);
    }
    ends_close(&e);
}

/* A completion frees the places of those before it, and no other. */
static void
quiet_behind(const struct rnic_contract *k)
{
    struct ends_setup setup = {.depth = {.send = 6, .recv = 32}};
    struct rnic_wr wr[6];
    struct ends e;

    ends_open(&e, k, &setup);
    end_recv(&e.server, 8, 0, 64);
    for (unsigned i = 0; i < 6; i++) {
        wr[i] = end_wr(&e.client, RNIC_SEND, i, 0, 8);
        wr[i].quiet = i != 1;
    }
    end_post(&e.client, wr, 6);
    (void)end_wait(&e.server, 5, true);
    ends_moment(k);
    CHECK(e.client.nwc == 1 && e.client.wc[0].id == 1);
    CHECK(rnic_post_send(e.client.ep, wr, 3) == -EAGAIN);
    wr[0].id = 6;
    wr[1].id = 7;
    end_post(&e.client, wr, 2);
    CHECK(rnic_post_send(e.client.ep, wr, 1) == -EAGAIN);
    CHECK(end_wait(&e.client, 7, false)->status == RNIC_OK);
    ends_close(&e);
}

/* Ends. */

static bool
all_back(void *arg)
{
    return ((const struct end *)arg)->nwc >= 13;
}

/* All that is posted comes back, each queue in its order, and nothing else is told. */
static void
disconnect_flushes(const struct rnic_contract *k)
{
    struct ends_setup setup = {.recvs = 10};
    unsigned sends = 0, recvs = 0;
    struct ends e;

    ends_open(&e, k, &setup);
    for (unsigned i = 0; i < 10; i++) /* the server's receives are taken: three more wait */
        CHECK(end_do(&e.client, end_wr(&e.client, RNIC_SEND, i, 0, 8)) == RNIC_OK);
    e.client.nwc = 0;
    for (unsigned i = 0; i < 3; i++) {
        struct rnic_wr wr = end_wr(&e.client, RNIC_SEND, i, 0, 8);

        end_post(&e.client, &wr, 1);
    }
    ends_moment(k);
    CHECK(e.client.nwc == 0);
    end_disconnect(&e.client);
    rnic_disconnect(e.client.ep);
    CHECK(e.client.nwc == 0); /* not from inside the call */
    ends_until(k, all_back, &e.client);
    for (unsigned i = 0; i < e.client.nwc; i++) {
        const struct rnic_wc *wc = &e.client.wc[i];

        CHECK(wc->status == RNIC_FLUSHED);
        CHECK(wc->id == (wc->recv ? 1000 + recvs : sends));
        recvs += wc->recv;
        sends += !wc->recv;
    }
    CHECK(recvs == 10 && sends == 3);
    end_recv(&e.client, 1, 77, ENDS_RECV); /* what is posted now comes back as well */
    CHECK(end_wait(&e.client, 77, true)->status == RNIC_FLUSHED);
    ends_moment(k);
    CHECK(e.client.ends == 0 && e.client.nwc == 14);
    ends_close(&e);
}

/* A peer that leaves does not flush our queues: we do. */
static void
peer_leaves(const struct rnic_contract *k)
{
    struct ends_setup setup = {.recvs = 4};
    struct ends e;

    ends_open(&e, k, &setup);
    end_disconnect(&e.server);
    ends_moment(k);
    CHECK(e.client.nwc == 0);
    CHECK(e.client.ends == 0 || e.client.end_err < 0);
    end_disconnect(&e.client);
    CHECK(end_wait(&e.client, 1003, true)->status == RNIC_FLUSHED);
    CHECK(end_wait(&e.server, 1003, true)->status == RNIC_FLUSHED);
    CHECK(end_count(&e.client, RNIC_FLUSHED) == 4);
    ends_close(&e);
}

static bool
knows(void *arg)
{
    const struct end *x = arg;

    return x->ends > 0 || x->nwc > 0;
}

/* Of a peer that is gone, who sends something hears in the end. */
static void
peer_is_gone(const struct rnic_contract *k)
{
    struct rnic_wr wr;
    struct ends e;

    ends_open(&e, k, NULL);
    end_close(&e.server);
    ends_moment(k);
    wr = end_wr(&e.client, RNIC_SEND, 1, 0, 8);
    if (rnic_post_send(e.client.ep, &wr, 1) == 0)
        ends_until(k, knows, &e.client);
    if (e.client.nwc > 0)
        CHECK(e.client.wc[0].status != RNIC_OK);
    end_disconnect(&e.client);
    ends_moment(k);
    ends_close(&e);
}

static bool
is_closed(void *arg)
{
    return ((const struct end *)arg)->ep == NULL;
}

/* An owner may close in each callback, and is not called any more. */
static void
close_in_callbacks(const struct rnic_contract *k)
{
    static const struct ends_setup setups[] = {
        {.close_client = CLOSE_RESOLVED},
        {.recvs = 4, .close_client = CLOSE_UP},
        {.recvs = 4, .close_server = CLOSE_UP},
        {.recvs = 4, .close_server = CLOSE_COMPLETED},
        {.recvs = 4, .close_client = CLOSE_COMPLETED},
        {.refuse = true, .close_client = CLOSE_END},
        {.close_listener = true},
    };

    for (unsigned i = 0; i < sizeof(setups) / sizeof(setups[0]); i++) {
        struct ends e;

        ends_listen(&e, k, &setups[i]);
        ends_resolve(&e);
        if (e.client.ep != NULL)
            ends_connect(&e);
        if (setups[i].close_client == CLOSE_UP || setups[i].close_client == CLOSE_END)
            ends_until(k, is_closed, &e.client);
        else if (setups[i].close_server == CLOSE_UP)
            ends_until(k, is_closed, &e.server);
        else if (e.client.ep != NULL)
            ends_until(k, both_up, &e);
        if (setups[i].close_server == CLOSE_COMPLETED ||
            setups[i].close_client == CLOSE_COMPLETED) {
            struct rnic_wr wr[3];

            for (unsigned j = 0; j < 3; j++)
                wr[j] = end_wr(&e.client, RNIC_SEND, j, 0, 8);
            end_post(&e.client, wr, 3);
            ends_until(k, is_closed,
                       setups[i].close_client == CLOSE_COMPLETED ? &e.client : &e.server);
        }
        ends_moment(k);
        ends_close(&e);
    }
}

/* A listener that closes does not end what it has made. */
static void
listener_closes(const struct rnic_contract *k)
{
    struct ends_setup setup = {.recvs = 2};
    struct ends e;

    ends_open(&e, k, &setup);
    rnic_close(e.listener);
    e.listener = NULL;
    CHECK(end_do(&e.client, end_wr(&e.client, RNIC_SEND, 1, 0, 8)) == RNIC_OK);
    CHECK(end_wait(&e.server, 1000, true)->status == RNIC_OK);
    ends_close(&e);
}

/* A client may give up at any time. */
static void
gives_up(const struct rnic_contract *k)
{
    struct ends_setup setup = {.later = true, .recvs = 2};
    struct ends e;

    ends_listen(&e, k, &setup);
    ends_resolve(&e);
    ends_connect(&e);
    ends_until(k, was_requested, &e);
    end_close(&e.client);
    (void)rnic_accept(e.server.ep, "\x80\4\5\6", 4, NULL);
    ends_moment(k);
    end_disconnect(&e.server);
    CHECK(end_wait(&e.server, 1001, true)->status == RNIC_FLUSHED);
    ends_close(&e);
    ends_listen(&e, k, NULL); /* not even connected */
    ends_resolve(&e);
    end_register(&e.client);
    end_recv(&e.client, 2, 1, 64);
    end_disconnect(&e.client);
    CHECK(end_wait(&e.client, 2, true)->status == RNIC_FLUSHED);
    ends_close(&e);
}

/* Several. */

/* Two on one pair of loops: one breaks, and the other does not notice. */
static void
two_connections(const struct rnic_contract *k)
{
    struct ends_setup setup = {.recvs = 4};
    struct ends a, b;

    ends_open(&a, k, &setup);
    ends_open(&b, k, &setup);
    CHECK(end_do(&a.client, end_wr(&a.client, RNIC_SEND, 1, 0, 8)) == RNIC_OK);
    CHECK(end_do(&b.client, end_wr(&b.client, RNIC_SEND, 1, 0, 9)) == RNIC_OK);
    CHECK(end_wait(&a.server, 1000, true)->len == 8 && end_wait(&b.server, 1000, true)->len == 9);
    end_disconnect(&a.server);
    CHECK(end_do(&b.server, end_wr(&b.server, RNIC_SEND, 1, 0, 10)) == RNIC_OK);
    CHECK(end_wait(&b.client, 1000, true)->len == 10);
    end_close(&a.client);
    CHECK(end_do(&b.client, end_wr(&b.client, RNIC_SEND, 2, 0, 11)) == RNIC_OK);
    CHECK(b.client.ends == 0 && b.server.ends == 0);
    ends_close(&a);
    ends_close(&b);
}

#define MANY 64

static void
many_connections(const struct rnic_contract *k)
{
    struct ends_setup setup = {.depth = {.send = 4, .recv = 4}, .recvs = 2};
    struct ends *e = calloc(MANY, sizeof(*e));

    CHECK(e != NULL);
    for (unsigned i = 0; i < MANY; i++)
        ends_open(&e[i], k, &setup);
    for (unsigned i = 0; i < MANY; i++) {
        struct rnic_wr wr = end_wr(&e[i].client, RNIC_SEND, i, 0, 8 + i);

        end_post(&e[i].client, &wr, 1);
    }
    for (unsigned i = 0; i < MANY; i++) {
        CHECK(end_wait(&e[i].server, 1000, true)->len == 8 + i);
        CHECK(end_wait(&e[i].client, i, false)->status == RNIC_OK);
    }
    for (unsigned i = 0; i < MANY; i++)
        ends_close(&e[i]);
    free(e);
}

static void
spins(const struct rnic_contract *k)
{
    struct ends_setup setup = {.recvs = 4};
    struct ends e;

    rnic_spin(k->client, 1000000);
    rnic_spin(k->server, 1000000);
    ends_open(&e, k, &setup);
    CHECK(end_do(&e.client, end_wr(&e.client, RNIC_SEND, 1, 0, 8)) == RNIC_OK);
    rnic_spin(k->client, 0);
    rnic_spin(k->server, 0);
    CHECK(end_do(&e.server, end_wr(&e.server, RNIC_SEND, 1, 0, 8)) == RNIC_OK);
    ends_close(&e);
}

const struct rnic_contract_test rnic_contract_tests[] = {
    {"connects", connects},
    {"accepts_later", accepts_later},
    {"refused_by_nobody", refused_by_nobody},
    {"refused_by_the_listener", refused_by_the_listener},
    {"nobody_has_the_address", nobody_has_the_address},
    {"messages", messages},
    {"messages_in_order", messages_in_order},
    {"waits_for_a_receive", waits_for_a_receive},
    {"up_before_messages", up_before_messages},
    {"receive_too_short", receive_too_short},
    {"queues_have_room", queues_have_room},
    {"quiet_requests", quiet_requests},
    {"quiet_behind", quiet_behind},
    {"disconnect_flushes", disconnect_flushes},
    {"peer_leaves", peer_leaves},
    {"peer_is_gone", peer_is_gone},
    {"close_in_callbacks", close_in_callbacks},
    {"listener_closes", listener_closes},
    {"gives_up", gives_up},
    {"two_connections", two_connections},
    {"many_connections", many_connections},
    {"spins", spins},
    {"writes_and_reads", contract_writes_and_reads},
    {"access_is_checked", contract_access},
    {"keys_of_another", contract_other_keys},
    {"deregistered", contract_deregistered},
    {"windows", contract_windows},
    {"window_and_message", contract_window_and_message},
    {"window_bounds", contract_window_bounds},
    {"invalidated_here", contract_invalidated_here},
    {"invalidated_there", contract_invalidated_there},
    {"invalidated_wrongly", contract_invalidated_wrongly},
    {"bound_wrongly", contract_bound_wrongly},
};
const unsigned rnic_contract_ntests = sizeof(rnic_contract_tests) / sizeof(rnic_contract_tests[0]);
