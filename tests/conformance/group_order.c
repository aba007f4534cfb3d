/* SPDX-License-Identifier: MIT */
/* tests/conformance/group_order.c - groups "order" and "unbind": stop, unbind and destroy in any
 * order and twice, with commands under way and as they complete.
 *
 * Each command ends once, the connection is told to be down once for each bind, and nothing is sent
 * from a command's memory when it has ended. */
#include <stdlib.h>

#include "tests/conformance/nexus.h"

#define CMDS 12
#define LEN  (16u << 10)

enum point { UNBOUND, BOUND, LOGGED_IN, BUSY, ENDING, POINTS };
enum op { STOP_RECOVER, STOP_TERM, DESTROY_CONN, DESTROY_SESSION, OPS };

static struct order {
    struct conform_world w;
    struct conform_nexus n;
    struct conform_cmd cmd[CMDS];
    uint8_t mem[CMDS][LEN];
    enum op ops[3];
    bool spaced; /* time passes between them */
    struct loop_work work;
    bool ran;
} o;

static void
perform(enum op op)
{
    switch (op) {
    case STOP_RECOVER:
    case STOP_TERM:
        conform_nexus_stop(&o.n, op == STOP_TERM ? STOP_CONN_TERM : STOP_CONN_RECOVER);
        break;
    case DESTROY_CONN:
        conform_nexus_drop_conn(&o.n);
        break;
    case DESTROY_SESSION:
        conform_nexus_drop(&o.n);
        break;
    case OPS:
        break;
    }
}

static void
perform_all(void)
{
    for (int i = 0; i < 3; i++) {
        perform(o.ops[i]);
        if (o.spaced)
            conform_turn(&o.w);
    }
    o.ran = true;
}

static void
in_the_turn(struct loop_work *w)
{
    (void)w;
    perform_all();
}

/* What a command that is over has in its memory is nobody's business. */
static void
scribble(struct conform_cmd *c)
{
    memset(c->mem, 0xee, LEN);
}

static void
scribble_and_perform(struct conform_cmd *c)
{
    scribble(c);
    if (!o.ran && list_empty(&o.work.node))
        loop_defer(o.w.loop, &o.work);
}

static void
send_commands(void (*then)(struct conform_cmd *c))
{
    for (uint32_t i = 0; i < CMDS; i++) {
        conform_fill(o.mem[i], LEN, (uint64_t)i * LEN, 0);
        conform_cmd_init(&o.cmd[i], i % 3 != 2, i * (LEN / CONFORM_BLOCK), o.mem[i], LEN);
        o.cmd[i].then = then;
        conform_cmd_send(&o.n, &o.cmd[i]);
    }
}

static void
commands_are_over(void)
{
    for (int i = 0; i < CMDS; i++) {
        CONFORM_UNTIL(&o.w, o.cmd[i].done > 0);
        assert_int_equal(o.cmd[i].done, 1);
    }
}

/* It may be bound again, and works as before. */
static void
once_more(void)
{
    struct conform_cmd c;

    CONFORM_UNTIL(&o.w, o.n.downs == o.n.binds);
    conform_nexus_bind(&o.n);
    conform_nexus_login(&o.n);
    conform_fill(o.mem[0], LEN, 0, 0);
    conform_cmd_init(&c, true, 0, o.mem[0], LEN);
    conform_cmd_run(&o.n, &c);
    assert_memory_equal(o.w.disk, o.mem[0], LEN);
}

static void
run_order(enum point point, unsigned code, bool spaced)
{
    memset(o.w.disk, 0, CMDS * LEN);
    memset(o.cmd, 0, sizeof(o.cmd));
    o.ran = false;
    o.spaced = spaced && point != ENDING;
    for (int i = 0; i < 3; i++, code /= OPS)
        o.ops[i] = code % OPS;
    loop_work_init(&o.work, in_the_turn);
    conform_nexus_new(&o.n, &o.w);
    if (point >= BOUND)
        conform_nexus_bind(&o.n);
    if (point >= LOGGED_IN)
        conform_nexus_login(&o.n);
    if (point >= BUSY)
        send_commands(point == ENDING ? scribble_and_perform : scribble);
    if (point == BUSY) {
        for (uint64_t turns = conform_random(&o.w, 6); turns > 0; turns--)
            conform_turn(&o.w);
    }
    if (point == ENDING)
        CONFORM_UNTIL(&o.w, o.ran);
    else
        perform_all();
    if (o.n.s != NULL && o.n.c == NULL && point >= BUSY)
        perform(DESTROY_SESSION); /* its commands wait for a connection that nobody makes */
    if (point >= BUSY && o.n.s != NULL && o.n.host->state == SCSI_HOST_RUNNING)
        fail_msg("a session without a connection runs");
    if (o.n.c != NULL && point >= LOGGED_IN)
        once_more();
    if (point >= BUSY)
        commands_are_over();
    conform_nexus_end(&o.n);
    conform_wait_ms(&o.w, 1);
    if (point >= BUSY)
        conform_medium_is_sound(&o.w, (size_t)CMDS * LEN);
}

void
conform_group_order(void)
{
    static const struct target_key_value set[] = {{"MaxRecvDataSegmentLength", "4096"},
                                                  {"MaxBurstLength", "8192"},
                                                  {"FirstBurstLength", "4096"},
                                                  {"QueueDepth", "32"}};
    const struct conform_setup setup = {.set = set, .set_count = 4};

    conform_open(&o.w, &setup);
    for (enum point point = UNBOUND; point < POINTS; point++) {
        for (unsigned code = 0; code < OPS * OPS * OPS; code++) {
            run_order(point, code, false);
            run_order(point, code, true);
        }
    }
    if (conform_tt->session_ops == NULL)
        conform_table_orders(&o.w);
    conform_close(&o.w);
}

/* ---- unbind ---------------------------------------------------------------------------------- */

#define WRITES 64
#define LARGE  (256u << 10)

/* Far more is queued than the way to the target holds, as it takes nothing: when the connection is
 * stopped, all of it comes back, and what is in its memory later goes nowhere. */
static void
unbind(enum iscsi_stop how, const char *zero_copy)
{
    static const struct target_key_value set[] = {{"MaxRecvDataSegmentLength", "262144"},
                                                  {"MaxBurstLength", "262144"},
                                                  {"FirstBurstLength", "262144"},
                                                  {"InitialR2T", "No"},
                                                  {"QueueDepth", "64"}};
    const struct conform_setup setup = {.set = set, .set_count = 5};
    static struct conform_cmd cmd[WRITES];
    struct lunette_error err = LUNETTE_INIT(err);
    struct conform_cmd after;
    uint8_t *mem;

    conform_open(&o.w, &setup);
    memset(o.w.disk, 0, CONFORM_DISK);
    conform_nexus_new(&o.n, &o.w);
    conform_nexus_bind(&o.n);
    CONFORM_OK(conform_nexus_set(&o.n, ISCSI_PARAM_ZERO_COPY, zero_copy, &err), err);
    conform_nexus_login(&o.n);
    conform_path_deafen(o.w.path, true);
    mem = malloc((size_t)WRITES * LARGE);
    assert_non_null(mem);
    memset(mem, 0x11, (size_t)WRITES * LARGE);
    for (uint32_t i = 0; i < WRITES; i++) {
        conform_cmd_init(&cmd[i], true, i * (LARGE / CONFORM_BLOCK), mem + (size_t)i * LARGE,
                         LARGE);
        conform_cmd_send(&o.n, &cmd[i]);
    }
    conform_wait_ms(&o.w, 5);
    for (uint32_t i = 0; i < WRITES; i++)
        assert_int_equal(cmd[i].done, 0);
    conform_nexus_stop(&o.n, how);
    conform_nexus_stop(&o.n, how);
    if (how == STOP_CONN_RECOVER) { /* the session waits: its end ends them */
        CONFORM_UNTIL(&o.w, o.n.downs == 1);
        conform_nexus_stop(&o.n, STOP_CONN_TERM);
    }
    for (uint32_t i = 0; i < WRITES; i++) {
        CONFORM_UNTIL(&o.w, cmd[i].done > 0);
        assert_int_equal(cmd[i].done, 1);
        assert_int_not_equal(cmd[i].sc.host_result, DID_OK);
        assert_int_equal(cmd[i].sc.resid_out, LARGE);
    }
    memset(mem, 0xee, (size_t)WRITES * LARGE);
    conform_path_deafen(o.w.path, false);
    conform_wait_ms(&o.w, 150);
    for (uint32_t i = 0; i < CONFORM_DISK; i++)
        assert_true(o.w.disk[i] == 0x11 || o.w.disk[i] == 0);
    CONFORM_UNTIL(&o.w, o.n.downs == o.n.binds);
    conform_nexus_bind(&o.n);
    conform_nexus_login(&o.n);
    conform_cmd_init(&after, true, 0, mem, LARGE);
    conform_cmd_run(&o.n, &after);
    assert_memory_equal(o.w.disk, mem, LARGE);
    conform_nexus_end(&o.n);
    free(mem);
    conform_close(&o.w);
}

void
conform_group_unbind(void)
{
    unbind(STOP_CONN_TERM, "No");
    unbind(STOP_CONN_RECOVER, "No");
    unbind(STOP_CONN_TERM, "Yes");
    unbind(STOP_CONN_RECOVER, "Yes");
}
