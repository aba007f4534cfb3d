/* SPDX-License-Identifier: MIT */
/* tests/support/nbd_world.h - an NBD export of a disk in memory, with clients whose bytes the test
 * puts in and takes out, on virtual time. */
#ifndef TESTS_NBD_WORLD_H
#define TESTS_NBD_WORLD_H

#include "tests/fuzz/mem_loop.h"

#include "block/block.h"
#include "export/nbd/nbd.h"
#include "export/nbd/proto.h"
#include "tests/support/ram_driver.h"

#define NBDW_SIZE    (1u << 20)
#define NBDW_CLIENTS 80u

struct nbdw {
    struct mem_loop loop;
    struct loop_ops ops;
    struct ram_driver ram;
    uint8_t *disk;
    struct bdev *b;
    struct export *e;
    struct mem_stream listener;
    struct mem_stream clients[NBDW_CLIENTS];
    unsigned nclients;
    int stopped, ended;
};

static struct nbdw *nbdw_the; /* there is one at a time */

static inline int
nbdw_listen(struct loop *l, const struct sock_addr *at, const struct stream_events *ev, void *user,
            struct stream **ret, struct sock_addr *ret_bound)
{
    struct mem_stream *s = &nbdw_the->listener;

    CHECK(at->ss.ss_family == AF_UNIX && ret_bound == NULL && !s->open);
    *s = (struct mem_stream){.base.loop = l, .ev = ev, .user = user, .open = true};
    *ret = &s->base;
    return 0;
}

static inline void
nbdw_ended(void *user, const struct lunette_error *why)
{
    CHECK(user == nbdw_the && why != NULL && why->code == -ENODEV);
    nbdw_the->ended++;
}

static inline void
nbdw_stopped(void *user)
{
    CHECK(user == nbdw_the);
    nbdw_the->stopped++;
    nbdw_the->e = NULL;
}

static inline void
nbdw_open_of(struct nbdw *w, size_t size, bool read_only, uint32_t block)
{
    static const struct export_events events = {.stopped = nbdw_ended};
    struct bdev_limits limits = {.size = size,
                                 .block_size = 512,
                                 .max_transfer = 65536,
                                 .max_fast = 65536,
                                 .max_sg = 16,
                                 .max_discard = 65536,
                                 .max_write_zeroes = 65536,
                                 .write_cache = true};

    memset(w, 0, sizeof(*w));
    nbdw_the = w;
    mem_loop_init(&w->loop);
    w->ops = mem_loop_ops;
    w->ops.listen = nbdw_listen;
    w->loop.l.ops = &w->ops;
    w->disk = calloc(1, size);
    CHECK(w->disk != NULL);
    ram_init(&w->ram, &w->loop.l, &blk_upcalls, w->disk, size);
    limits.block_size = block;
    CHECK(blk_dev_new(&ram_driver_ops, &w->ram, &limits, &w->b) == 0);
    w->ram.b = w->b;
    CHECK(nbd_export.start(w->b, &w->loop.l, "/there", read_only, &events, w, &w->e, NULL) == 0);
}

static inline void
nbdw_open(struct nbdw *w, bool read_only, uint32_t block)
{
    nbdw_open_of(w, NBDW_SIZE, read_only, block);
}

/* Ends what is left, and sees to it that nothing is. */
static inline void
nbdw_close(struct nbdw *w)
{
    w->ram.hold = false;
    loop_timer_start(&w->loop.l, &w->ram.timer, 0);
    if (w->e != NULL && w->stopped == 0 && w->listener.open)
        nbd_export.stop(w->e, nbdw_stopped, w);
    mem_advance(&w->loop, 1000000000);
    mem_advance(&w->loop, 1000000000);
    CHECK(w->stopped == 1 && !w->listener.open);
    for (unsigned i = 0; i < w->nclients; i++) {
        CHECK(!w->clients[i].open);
        free(w->clients[i].out);
    }
    blk_dev_free(&w->b);
    CHECK(timerq_first(&w->loop.timers) == NULL || !w->ram.hold);
    free(w->disk);
}

/* A client connects; returns its number. */
static inline unsigned
nbdw_connect(struct nbdw *w)
{
    struct mem_stream *s = &w->clients[w->nclients];
    struct sock_addr nobody = {0};

    CHECK(w->nclients < NBDW_CLIENTS && w->listener.open);
    *s = (struct mem_stream){.base.loop = &w->loop.l, .open = true};
    w->listener.ev->accepted(w->listener.user, &s->base, &nobody);
    mem_work(&w->loop);
    return w->nclients++;
}

static inline void
nbdw_send(struct nbdw *w, unsigned c, const void *data, size_t len)
{
    if (w->clients[c].open)
        mem_feed(&w->loop, &w->clients[c], data, len, false);
}

static inline void
nbdw_hang_up(struct nbdw *w, unsigned c)
{
    if (w->clients[c].open)
        mem_feed(&w->loop, &w->clients[c], NULL, 0, true);
}

static inline size_t
nbdw_option(uint8_t *buf, uint32_t option, const void *data, uint32_t len)
{
    struct nbd_option o = {put64(NBD_OPTION_MAGIC), put32(option), put32(len)};

    memcpy(buf, &o, sizeof(o));
    if (len > 0)
        memcpy(buf + sizeof(o), data, len);
    return sizeof(o) + len;
}

/* The whole handshake, as one piece; what it is answered is thrown away. */
static inline void
nbdw_handshake(struct nbdw *w, unsigned c, bool structured)
{
    static const uint8_t go[] = {0, 0, 0, 0, 0, 1, 0, NBD_INFO_BLOCK_SIZE};
    static const uint8_t meta[] = "\0\0\0\0\0\0\0\1\0\0\0\17base:allocation";
    uint8_t buf[256] = {0, 0, 0, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES};
    size_t n = 4;

    if (structured) {
        n += nbdw_option(buf + n, NBD_OPT_STRUCTURED_REPLY, NULL, 0);
        n += nbdw_option(buf + n, NBD_OPT_SET_META_CONTEXT, meta, sizeof(meta) - 1);
    }
    n += nbdw_option(buf + n, NBD_OPT_GO, go, sizeof(go));
    nbdw_send(w, c, buf, n);
    w->clients[c].out_len = 0;
}

static inline struct nbd_request
nbdw_request(uint16_t type, uint16_t flags, uint64_t cookie, uint64_t offset, uint32_t len)
{
    struct nbd_request r = {.magic = put32(NBD_REQUEST_MAGIC),
                            .flags = put16(flags),
                            .type = put16(type),
                            .offset = put64(offset),
                            .len = put32(len)};

    memcpy(r.cookie, &cookie, sizeof(cookie));
    return r;
}

#endif
