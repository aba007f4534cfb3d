/* SPDX-License-Identifier: MIT */
/* A disk on a session that login/reopen.h keeps, while connections are cut and the target crashes
 * and restarts under reads and writes.  No request fails, and each block holds what was
 * acknowledged last; until another unit is in the disk's place, which gets no write, or the disk is
 * smaller.
 *
 * One seed: one network, one Time2Wait, a row of troubles, one end.
 */
#include "tests/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/ctl.h"
#include "dataplane/dataplane.h"
#include "login/login.h"
#include "login/logout.h"
#include "login/reopen.h"
#include "stack/stack.h"
#include "target/target.h"
#include "tests/sim/planes.h"
#include "tests/sim/sim_loop.h"
#include "tests/support/ipc_delayed.h"
#include "transport/transport.h"

#define MS       LOOP_NS_PER_MS
#define SEC      LOOP_NS_PER_S
#define NODE     "iqn.2026-11.example:sim"
#define WORKERS  8
#define IO_BYTES 4096u
#define LUN_SIZE (1u << 20)
#define SEEDS    32
#define TROUBLES 8
#define LIMIT_NS (120 * LOOP_NS_PER_S)

enum end { END_CLOSED, END_CLOSED_WITHOUT_A_SESSION, END_REPLACED, END_SHRUNK, ENDS };

struct world;

/* Writes a block of its own and reads it back, again and again. */
struct worker {
    struct bdev_req r;
    struct world *w;
    struct iovec iov;
    uint64_t offset;
    uint8_t version; /* that was acknowledged last */
    bool out, writes;
    int err;
    uint8_t buf[IO_BYTES];
};

struct world {
    struct sim *sim;
    struct loop *loop;
    struct target *target;
    struct sock_addr portal;
    struct transport_registry registry;
    struct dataplane *dp;
    struct ipc_delayed *binding;
    uint64_t generation;
    struct ctl *ctl;
    struct login_gate gate;
    struct login_config cfg;
    const char *time2wait, *serial;
    uint64_t size;
    struct iscsi_reopen *reopen;
    struct login_result res;
    struct stack *stack;
    struct scsi_device *dev;
    struct stack_disk *disk;
    struct bdev_queue *q;
    struct worker workers[WORKERS];
    uint8_t medium[LUN_SIZE]; /* of the target while it is down */
    unsigned good, events[SCSI_NEVENTS];
    bool done, io_stop;
    int close_err;
};

static bool
is_done(void *user)
{
    return ((struct world *)user)->done;
}

static bool
never(void *user)
{
    (void)user;
    return false;
}

static bool
all_are(const uint8_t *p, size_t n, uint8_t what)
{
    return p[0] == what && memcmp(p, p + 1, n - 1) == 0;
}

/* ---- the load ------------------------------------------------------------------------------- */

static void
worker_go(struct worker *k)
{
    if (k->w->io_stop || k->out)
        return;
    k->writes = !k->writes;
    memset(k->buf, k->writes ? k->version + 1 : 0xee, IO_BYTES);
    k->r.op_flags = bdev_op_flags(k->writes ? BDEV_WRITE : BDEV_READ, 0);
    k->out = bdev_submit(k->w->q, &k->r) == 0;
}

static void
worker_done(struct bdev_req *r)
{
    struct worker *k = container_of(r, struct worker, r);

    assert_true(k->out); /* once */
    k->out = false;
    k->err = r->result.err;
    if (k->err != 0)
        return; /* the story says whether it may */
    k->w->good++;
    if (k->writes)
        k->version++;
    assert_true(all_are(k->buf, IO_BYTES, k->version));
    worker_go(k);
}

static void
workers_start(struct world *w)
{
    assert_int_equal(bdev_queue_new(w->disk->bdev, w->loop, 3, &w->q), 0);
    for (int i = 0; i < WORKERS; i++) {
        struct worker *k = &w->workers[i];

        k->w = w;
        k->offset = (uint64_t)i * (LUN_SIZE / WORKERS);
        k->iov = (struct iovec){k->buf, IO_BYTES};
        k->r = (struct bdev_req){
            .offset = k->offset, .len = IO_BYTES, .iov = &k->iov, .iovcnt = 1, .done = worker_done};
        worker_go(k);
    }
}

static bool
all_ended(void *user)
{
    struct world *w = user;

    for (int i = 0; i < WORKERS; i++) {
        if (w->workers[i].out)
            return false;
    }
    return true;
}

/* ---- the target ----------------------------------------------------------------------------- */

static void
target_up(void *user)
{
    struct world *w = user;
    struct lu_config lun = {.kind = LU_RAM, .size = w->size, .block = 512, .lun = 0, .wce = 1};
    struct target_key_value set = {"DefaultTime2Wait", w->time2wait};
    struct target_node_config node = {
        .name = NODE, .luns = &lun, .luns_count = 1, .set = &set, .set_count = 1};
    struct target_config tc = {.nodes = &node, .nodes_count = 1};
    struct sock_addr at = planes_portal();
    struct lunette_error err;

    strcpy(lun.serial, w->serial);
    if (target_new(w->loop, &tc, &w->target, &err) < 0 ||
        target_listen(w->target, &at, &w->portal, &err) < 0)
        fail_msg("%s", err.msg);
    memcpy(target_lun_memory(w->target, NODE, 0, NULL), w->medium, w->size);
}

/* The target is killed, and is back after ns. */
static void
crash(struct world *w, uint64_t ns)
{
    memcpy(w->medium, target_lun_memory(w->target, NODE, 0, NULL), w->size);
    target_free(w->target);
    w->target = NULL;
    sim_at(w->sim, ns, target_up, w);
}

/* ---- the initiator -------------------------------------------------------------------------- */

static void
on_back(void *user, const struct login_result *res, uint64_t down_ns)
{
    (void)down_ns;
    ((struct world *)user)->res = *res;
}

static void
on_gave_up(void *user, const struct lunette_error *why)
{
    (void)user;
    fail_msg("given up: %s", why->msg);
}

static void
on_login(void *user, const struct login_result *res, const struct lunette_error *err)
{
    struct world *w = user;

    if (err != NULL)
        fail_msg("%s", err->msg);
    w->res = *res;
    reopen_attach(w->reopen, res);
    w->done = true;
}

static void
on_found(void *user, struct scsi_device *dev, const struct lunette_error *why)
{
    struct world *w = user;

    if (why != NULL)
        fail_msg("%s", why->msg);
    w->dev = dev;
    w->done = true;
}

static void
on_up(void *user, struct stack_disk *disk, const struct lunette_error *why)
{
    struct world *w = user;

    if (why != NULL)
        fail_msg("%s", why->msg);
    w->disk = disk;
    w->done = true;
}

static void
on_event(void *user, enum stack_event ev, struct scsi_device *dev, enum scsi_event why)
{
    (void)ev;
    (void)dev;
    ((struct world *)user)->events[why]++;
}

static const struct stack_events events = {.event = on_event};

/* Waits for what has been started. */
static void
await(struct world *w, int started)
{
    assert_int_equal(started, 0);
    w->done = false;
    assert_true(sim_run_until(w->sim, is_done, w, LIMIT_NS));
}

static void
session_open(struct world *w)
{
    struct reopen_config rc = {.login = &w->cfg, .reopen_max = REOPEN_MAX_DEFAULT};
    struct reopen_callbacks cb = {.back = on_back, .gave_up = on_gave_up, .user = w};
    struct login_callbacks first = {.done = on_login, .user = w};
    struct login_config *cfg = &w->cfg;
    struct iscsi_login *l;

    planes_login_config(cfg, NODE, 1);
    cfg->offer.time2wait = (uint32_t)(w->time2wait[0] - '0');
    cfg->replacement_timeout_s = 120;
    cfg->ping_interval_ms = 500;
    cfg->ping_timeout_ms = 500;
    assert_int_equal(reopen_new(w->ctl, &w->gate, &rc, &cb, &w->reopen, NULL), 0);
    await(w, login_start(w->ctl, cfg, &first, &l, NULL));
    login_free(&l);
    assert_int_equal(stack_attach(dataplane_host(w->dp, w->res.sid), NULL, &events, w, &w->stack),
                     0);
    await(w, stack_scan_lun(w->stack, (const uint8_t[8]){0}, on_found, w));
    await(w, stack_disk_start(w->stack, w->dev, on_up, w, NULL));
    memset(w->events, 0, sizeof(w->events));
}

static struct world *
world_new(uint64_t seed)
{
    struct world *w = calloc(1, sizeof(*w));
    struct ipc_client client;

    w->sim = sim_new(seed, seed % 3 == 0 ? &sim_rough : NULL);
    w->loop = sim_loop(w->sim);
    w->time2wait = seed % 2 ? "2" : "0";
    w->serial = "MINE";
    w->size = LUN_SIZE;
    target_up(w);
    assert_int_equal(transport_register(&w->registry, &sw_tcp_transport, NULL), 0);
    assert_int_equal(dataplane_new(w->loop, &w->registry, &w->dp, NULL), 0);
    assert_int_equal(ipc_delayed_new(w->loop, seed % 5 == 0 ? MS : 0, &dataplane_server_ops, w->dp,
                                     &w->binding, &client),
                     0);
    w->generation = dataplane_set_client(w->dp, &client);
    assert_int_equal(ctl_new(w->loop, ipc_delayed_ipc(w->binding), &w->ctl), 0);
    login_gate_init(&w->gate, w->loop, 1);
    session_open(w);
    workers_start(w);
    return w;
}

static void
on_closed(void *user, int err)
{
    struct world *w = user;

    w->disk = NULL;
    w->q = NULL;
    w->close_err = err;
    w->done = true;
}

static void
on_logout(void *user, const struct lunette_error *err)
{
    (void)err;
    ((struct world *)user)->done = true;
}

static bool
all_gone(void *user)
{
    const struct world *w = user;

    return planes_gone(w->dp, w->target, w->ctl);
}

static void
world_free(struct world *w)
{
    struct logout_config lc;
    struct iscsi_logout *logout;

    reopen_logout_config(w->reopen, &lc);
    reopen_free(&w->reopen);
    await(w, session_logout_task(w->ctl, &lc, on_logout, w, &logout));
    logout_free(&logout);
    (void)sim_run_until(w->sim, never, w, 30 * SEC); /* what was planned happens */
    assert_true(sim_run_until(w->sim, all_gone, w, LIMIT_NS));
    stack_detach(&w->stack);
    login_gate_fini(&w->gate);
    planes_part(w->dp, w->generation, &w->binding, &w->ctl);
    dataplane_free(w->dp);
    target_free(w->target);
    sim_free(w->sim);
    free(w);
}

/* ---- the story ------------------------------------------------------------------------------ */

static bool
goes_on(void *user)
{
    return ((struct world *)user)->good > 20;
}

static void
trouble(struct world *w)
{
    uint64_t ns = sim_below(w->sim, 3) == 0 ? sim_below(w->sim, 10 * SEC) : sim_below(w->sim, SEC);

    switch (sim_below(w->sim, 4)) {
    case 0:
        (void)sim_cut(w->sim, NULL, SIM_EOF);
        break;
    case 1:
        (void)sim_cut(w->sim, NULL, SIM_RESET);
        break;
    case 2:
        target_drop_connections(w->target);
        break;
    default:
        crash(w, ns);
        (void)sim_run_until(w->sim, never, w, ns);
        break;
    }
    if (sim_below(w->sim, 2) == 0) { /* again, perhaps while it is being looked at */
        (void)sim_run_until(w->sim, never, w, sim_below(w->sim, 3 * SEC));
        (void)sim_cut(w->sim, NULL, SIM_RESET);
    }
    w->good = 0;
    assert_true(sim_run_until(w->sim, goes_on, w, LIMIT_NS));
    stack_check_fast(w->stack);
    for (int i = 0; i < WORKERS; i++)
        assert_int_equal(w->workers[i].err, 0);
}

/* Each block holds what was acknowledged, or what was being written. */
static void
check_medium(struct world *w)
{
    const uint8_t *mem = target_lun_memory(w->target, NODE, 0, NULL);

    for (int i = 0; i < WORKERS; i++) {
        const struct worker *k = &w->workers[i];
        uint8_t is = mem[k->offset], next = (uint8_t)(k->version + 1);

        assert_true(is == k->version || (k->writes && k->err != 0 && is == next));
        assert_true(all_are(mem + k->offset, IO_BYTES, is));
    }
}

static void
end_story(struct world *w, enum end what)
{
    uint64_t asked;

    if (what == END_REPLACED || what == END_SHRUNK) {
        crash(w, SEC);
        if (what == END_REPLACED) {
            w->serial = "OTHER";
            memset(w->medium, 0x77, sizeof(w->medium));
        } else {
            w->size = LUN_SIZE / 2;
        }
        (void)sim_run_until(w->sim, never, w, 8 * SEC);
        w->io_stop = true;
        assert_true(sim_run_until(w->sim, all_ended, w, LIMIT_NS));
    }
    for (int i = 0; what == END_REPLACED && i < WORKERS; i++)
        assert_int_equal(w->workers[i].err, -ENXIO);
    for (int i = 0; what == END_SHRUNK && i < WORKERS; i++)
        assert_int_equal(w->workers[i].err, i < WORKERS / 2 ? 0 : -EINVAL);
    assert_int_equal(w->events[SCSI_EV_REPLACED], what == END_REPLACED);
    assert_int_equal(w->events[SCSI_EV_CAPACITY], what == END_SHRUNK);
    if (what == END_CLOSED_WITHOUT_A_SESSION) {
        crash(w, 20 * SEC);
        (void)sim_run_until(w->sim, never, w, 2 * SEC); /* the loss is noticed */
    }
    w->io_stop = true;
    asked = sim_now_ns(w->sim);
    w->done = false;
    stack_disk_close(w->disk, on_closed, w);
    assert_true(sim_run_until(w->sim, is_done, w, 10 * SEC));
    assert_true(all_ended(w));
    if (what == END_CLOSED_WITHOUT_A_SESSION) {
        assert_true(sim_now_ns(w->sim) - asked < MS);
        assert_int_equal(w->close_err, -ENOTCONN);
    } else if (what == END_CLOSED) {
        assert_int_equal(w->close_err, 0);
        check_medium(w);
    }
    if (what == END_REPLACED)
        assert_true(all_are(target_lun_memory(w->target, NODE, 0, NULL), LUN_SIZE, 0x77));
}

static void
test_replay(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct world *w = world_new(seed);

        for (int i = 0; i < TROUBLES; i++)
            trouble(w);
        end_story(w, (enum end)(seed % ENDS));
        world_free(w);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_replay)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
