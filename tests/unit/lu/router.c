/* SPDX-License-Identifier: MIT */
#include "tests/unit/lu/router.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lu/buf.h"
#include "wire/lun.h"

#define PIECE 700 /* bytes that data is handed over in */

/* The loop. */

static struct world *
world_of_loop(struct loop *l)
{
    return container_of(l, struct world, loop);
}

static void
fake_post(struct loop *l, struct loop_work *w)
{
    struct world *world = world_of_loop(l);

    (void)pthread_mutex_lock(&world->lock);
    list_push_back(&world->posted, &w->node);
    (void)pthread_mutex_unlock(&world->lock);
}

/* The only timers are those of the worker, for the next turn. */
static void
fake_timer_start(struct loop *l, struct loop_timer *t, uint64_t delay_ns)
{
    struct world *w = world_of_loop(l);

    assert_true(delay_ns == 0 && w->timer == NULL);
    t->node.queued = true;
    w->timer = t;
}

static void
fake_timer_stop(struct loop *l, struct loop_timer *t)
{
    if (t->node.queued)
        world_of_loop(l)->timer = NULL;
    t->node.queued = false;
}

static const struct loop_ops loop_ops = {
    .name = "fake",
    .post = fake_post,
    .defer = fake_post, /* at the end of this turn, or in the next */
    .timer_start = fake_timer_start,
    .timer_stop = fake_timer_stop};

unsigned
world_turn(struct world *w)
{
    struct loop_timer *t = w->timer;
    unsigned n = t != NULL;

    if (t != NULL) {
        fake_timer_stop(&w->loop, t);
        t->fn(t);
    }
    for (;;) {
        struct list *l;

        (void)pthread_mutex_lock(&w->lock);
        l = list_pop_front(&w->posted);
        (void)pthread_mutex_unlock(&w->lock);
        if (l == NULL)
            return n;
        n++;
        container_of(l, struct loop_work, node)->fn(container_of(l, struct loop_work, node));
    }
}

/* The store. */

static struct fake_store *
fake_of_store(struct lu_store *s)
{
    return container_of(s, struct fake_store, store);
}

static int
fake_prepare(struct lu_store *s, uint64_t off, uint64_t len, bool write)
{
    struct fake_store *f = fake_of_store(s);

    assert_true(off < s->size && len > 0 && len <= s->size - off);
    if (write)
        f->writes++;
    else
        f->reads++;
    return write ? f->fail_write : f->fail_read;
}

static int
fake_discard(struct lu_store *s, uint64_t off, uint64_t len)
{
    struct fake_store *f = fake_of_store(s);

    assert_true(off < s->size && len > 0 && len <= s->size - off);
    f->discards++;
    if (f->no_discard)
        return -EOPNOTSUPP;
    if (f->fail_discard == 0)
        memset(s->mem + off, 0, len);
    return f->fail_discard;
}

static int
fake_sync(struct lu_store *s)
{
    struct fake_store *f = fake_of_store(s);

    int r;

    f->arrived++;
    (void)pthread_mutex_lock(&f->gate);
    f->syncs++;
    r = f->fail_next_sync != 0 ? f->fail_next_sync : f->fail_sync;
    f->fail_next_sync = 0;
    (void)pthread_mutex_unlock(&f->gate);
    return r;
}

static int
fake_keep(struct lu_store *s, const void *data, size_t len)
{
    struct fake_store *f = fake_of_store(s);

    assert_true(len <= sizeof(f->kept));
    if (f->fail_keep != 0)
        return f->fail_keep;
    if (len > 0)
        memcpy(f->kept, data, len);
    f->kept_len = len;
    return 0;
}

static int
fake_kept(struct lu_store *s, void *buf, size_t size)
{
    struct fake_store *f = fake_of_store(s);

    if (f->fail_keep != 0)
        return f->fail_keep;
    if (f->kept_len > size)
        return -EFBIG;
    memcpy(buf, f->kept, f->kept_len);
    return (int)f->kept_len;
}

static void
fake_close(struct lu_store *s)
{
    fake_of_store(s)->closes++;
    free(s->mem);
    s->mem = NULL;
}

static const struct lu_store_ops store_ops = {.product = "fake disk",
                                              .prepare = fake_prepare,
                                              .discard = fake_discard,
                                              .sync = fake_sync,
                                              .keep = fake_keep,
                                              .kept = fake_kept,
                                              .close = fake_close};

/* The router. */

static struct req *
req_of(struct lu_cmd *c)
{
    return container_of(c, struct req, c);
}

static void
complete(struct lu_cmd *c)
{
    struct req *r = req_of(c);

    assert_false(r->completed || r->aborted);
    r->completed = true;
    r->w->completed++;
}

static void
released(struct lu_cmd *c)
{
    struct req *r = req_of(c);

    assert_false(r->released || r->completed);
    r->released = true;
    r->w->released++;
}

static bool
abort_cmd(struct lu_cmd *c, void *ctx)
{
    struct req *r = req_of(c);

    assert_false(r->aborted);
    if (r->keep)
        return false;
    r->aborted = true;
    r->abort_ctx = ctx;
    r->w->aborted++;
    if (lu_cmd_end(c))
        lu_buf_free(c->buf);
    c->buf = NULL;
    return true;
}

static const struct lu_router router = {
    .complete = complete, .released = released, .abort = abort_cmd};

void
req_begin(struct req *r, struct world *w, struct lu_nexus *n, uint32_t lun, const uint8_t *cdb,
          uint32_t expect)
{
    memset(r, 0, sizeof(*r));
    r->w = w;
    lu_cmd_init(&r->c);
    r->c.nexus = n;
    r->c.expect = expect;
    lun_store(r->c.lun, lun_from_number(lun));
    memcpy(r->c.cdb, cdb, sizeof(r->c.cdb));
    lu_cmd_start(&r->c);
    assert_true(!r->c.failed || (r->c.dir == LU_DIR_NONE && r->c.len == 0));
}

void
req_finish(struct req *r, const void *data, uint32_t len)
{
    const struct timespec moment = {.tv_nsec = 1000000};

    if (r->c.dir == LU_DIR_OUT)
        assert_int_equal(len, r->c.len);
    for (uint32_t at = 0; at < len; at += PIECE)
        lu_cmd_take(&r->c, at, (const uint8_t *)data + at, len - at < PIECE ? len - at : PIECE);
    lu_cmd_finish(&r->c);
    for (int i = 0; i < 5000 && !r->completed; i++) {
        if (world_turn(r->w) == 0)
            (void)nanosleep(&moment, NULL);
    }
    assert_true(r->completed);
    assert_true(r->c.status != SCSI_CHECK_CONDITION || r->c.sense_len > 0);
}

uint32_t
req_read(struct req *r, void *buf, uint32_t size)
{
    uint32_t at = 0;

    if (r->c.failed || r->c.dir != LU_DIR_IN)
        return 0;
    while (at < r->c.len) {
        uint32_t n = r->c.len - at;
        void *owned = NULL;
        const uint8_t *p = lu_cmd_source(&r->c, at, &n, &owned);

        if (p == NULL)
            return at;
        assert_true(n > 0 && at + n <= r->c.len);
        if (at < size)
            memcpy((uint8_t *)buf + at, p, n < size - at ? n : size - at);
        lu_buf_free(owned);
        at += n;
    }
    return r->c.len;
}

void
req_end(struct req *r)
{
    lu_cmd_answered(&r->c);
    assert_true(lu_cmd_end(&r->c));
    lu_buf_free(r->c.buf);
    r->c.buf = NULL;
}

uint8_t
do_cmd(struct world *w, struct lu_nexus *n, const uint8_t *cdb, const void *out, uint32_t out_len,
       void *in, uint32_t in_size, uint32_t *ret_len, struct scsi_sense *ret_sense)
{
    struct req r;
    uint32_t len;

    req_begin(&r, w, n, 0, cdb, out_len > 0 ? out_len : in_size);
    req_finish(&r, out, r.c.dir == LU_DIR_OUT ? out_len : 0);
    len = req_read(&r, in, in_size);
    if (ret_len != NULL)
        *ret_len = len;
    if (ret_sense != NULL && r.c.sense_len > 0)
        assert_true(sense_parse(r.c.sense, r.c.sense_len, ret_sense));
    req_end(&r);
    return r.c.status;
}

uint32_t
do_code(struct world *w, struct lu_nexus *n, const uint8_t *cdb, const void *out, uint32_t out_len)
{
    struct scsi_sense s = {0};
    uint8_t status = do_cmd(w, n, cdb, out, out_len, NULL, 0, NULL, &s);

    if (status != SCSI_CHECK_CONDITION)
        return (uint32_t)status << 24;
    return (uint32_t)s.key << 16 | sense_code(&s);
}

uint16_t
next_ua(struct world *w, struct lu_nexus *n)
{
    uint8_t cdb[CDB_MAX];
    uint32_t code;

    (void)cdb_test_unit_ready(cdb);
    code = do_code(w, n, cdb, NULL, 0);
    assert_true(code == 0 || code >> 16 == SENSE_UNIT_ATTENTION);
    return (uint16_t)code;
}

int
world_setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    struct lu_config luns[] = {
        {.size = STORE_SIZE, .lun = 0, .wce = 1, .serial = "disk0"},
        {.kind = LU_NULL, .size = 1ull << 40, .block = 4096, .lun = 5, .wce = -1},
    };
    struct lu_device_config cfg = {.name = "iqn.2026-11.example:disk",
                                   .port = "iqn.2026-11.example:disk,t,0x0001",
                                   .protocol = 5,
                                   .protocol_version = 0x0961,
                                   .luns = luns,
                                   .luns_count = 2,
                                   .router = &router,
                                   .hash_seed = 42};

    assert_non_null(w);
    w->loop.ops = &loop_ops;
    list_init(&w->posted);
    (void)pthread_mutex_init(&w->lock, NULL);
    (void)pthread_mutex_init(&w->disk.gate, NULL);
    w->disk.store =
        (struct lu_store){.ops = &store_ops, .mem = calloc(1, STORE_ROOM), .size = STORE_ROOM};
    assert_non_null(w->disk.store.mem);
    luns[0].store = &w->disk.store;
    assert_int_equal(lu_flusher_new(&w->loop, &w->flusher), 0);
    cfg.flusher = w->flusher;
    lu_worker_init(&w->worker, &w->loop);
    cfg.worker = &w->worker;
    assert_int_equal(lu_device_open(&w->dev, &cfg, NULL), 0);
    w->lu = lu_device_number(&w->dev, 0);
    w->a = lu_nexus_join(&w->dev, PORT_A);
    w->b = lu_nexus_join(&w->dev, PORT_B);
    w->c = lu_nexus_join(&w->dev, PORT_C);
    assert_int_equal(next_ua(w, w->a), 0x2900);
    assert_int_equal(next_ua(w, w->b), 0x2900);
    assert_int_equal(next_ua(w, w->c), 0x2900);
    *state = w;
    return 0;
}

int
world_teardown(void **state)
{
    struct world *w = *state;

    lu_worker_fini(&w->worker);
    lu_flusher_free(w->flusher);
    lu_device_close(&w->dev);
    (void)world_turn(w);
    assert_int_equal(w->disk.closes, 1);
    (void)pthread_mutex_destroy(&w->lock);
    (void)pthread_mutex_destroy(&w->disk.gate);
    free(w);
    return 0;
}
