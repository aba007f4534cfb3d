/* SPDX-License-Identifier: MIT */
/* tests/conformance/group_data.c - groups "sizes" and "window": data both ways, and commands that
 * wait for the target. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "tests/conformance/conformance.h"

/* ---- sizes ----------------------------------------------------------------------------------- */

#define MIB  (1u << 20)
#define SETS 8

struct profile {
    struct conform_setup setup;
    uint32_t largest; /* bytes */
    bool registered;  /* the memory of requests is */
    bool keep_stags;  /* where the target could invalidate STags, it does not */
};

static uint8_t *out, *in;

/* What was written is on the medium and comes back, and nothing beside it is touched. */
static void
there_and_back(struct conform_world *w, struct lunette_lun *lun, size_t len)
{
    struct lunette_error err = LUNETTE_INIT(err);
    uint64_t at = CONFORM_BLOCK * (1 + conform_random(w, 64));
    unsigned salt = (unsigned)conform_random(w, 256);

    memset(w->disk, 0xa5, CONFORM_DISK);
    conform_fill(out, len, at, salt);
    memset(in, 0x5a, len + 64);
    CONFORM_OK(lunette_pwrite(lun, out, len, at, 0, &err), err);
    assert_memory_equal(w->disk + at, out, len);
    assert_int_equal(w->disk[at - 1], 0xa5);
    assert_int_equal(w->disk[at + len], 0xa5);
    CONFORM_OK(lunette_pread(lun, in, len, at, &err), err);
    assert_memory_equal(in, out, len);
    for (int i = 0; i < 64; i++)
        assert_int_equal(in[len + (size_t)i], 0x5a);
}

/* The memory of requests is registered, before or after there is a session, and is taken away again
 * when nothing uses it. */
static void
know_memory(struct conform_world *w, void *p)
{
    struct lunette_error err = LUNETTE_INIT(err);

    CONFORM_OK(lunette_register(w->ctx, p, CONFORM_DISK, &err), err);
    assert_int_equal(lunette_register(w->ctx, (char *)p + 1, 1, &err), -EEXIST);
}

static void
forget_memory(struct conform_world *w, struct lunette_lun *lun)
{
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_queue *q = NULL;
    struct lunette_completion c;

    conform_fill(w->disk, MIB, 0, 3);
    CONFORM_OK(lunette_queue_new(lun, 1, &q, &err), err);
    assert_int_equal(lunette_queue_read(q, in, MIB, 0, q), 0);
    assert_int_equal(lunette_queue_submit(q), 0);
    if (conform_tt->session_ops == NULL) /* else no session has a use for it */
        assert_int_equal(lunette_unregister(w->ctx, in, &err), -EBUSY);
    CONFORM_OK(lunette_unregister(w->ctx, out, &err), err);
    assert_int_equal(lunette_queue_poll(q, &c, 1, 1, -1), 1);
    assert_int_equal(c.err, 0);
    assert_memory_equal(in, w->disk, MIB);
    CONFORM_OK(lunette_unregister(w->ctx, in, &err), err);
    assert_int_equal(lunette_unregister(w->ctx, in, &err), -ENOENT);
    lunette_queue_free(q);
    there_and_back(w, lun, CONFORM_BLOCK * 8); /* it is memory as any other */
}

/* Memory whose address is that of registered memory but for 4 GiB is memory as any other. */
static void
far_apart(struct conform_world *w, struct lunette_lun *lun)
{
    const size_t gap = (size_t)1 << 32, len = 32 * CONFORM_BLOCK;
    struct lunette_error err = LUNETTE_INIT(err);
    uint8_t *all =
        mmap(NULL, gap + len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    assert_ptr_not_equal(all, MAP_FAILED);
    for (unsigned i = 0; i < 2; i++) {
        uint8_t *known = i == 0 ? all + gap : all, *other = i == 0 ? all : all + gap;

        assert_int_equal(mprotect(known, len, PROT_READ | PROT_WRITE), 0);
        assert_int_equal(mprotect(other, len, PROT_READ | PROT_WRITE), 0);
        CONFORM_OK(lunette_register(w->ctx, known, len, &err), err);
        memset(known, 0x5a, len);
        conform_fill(other, len, 0, 40 + i);
        CONFORM_OK(lunette_pwrite(lun, other, len, 0, 0, &err), err);
        assert_memory_equal(w->disk, other, len);
        memset(other, 0, len);
        CONFORM_OK(lunette_pread(lun, other, len, 0, &err), err);
        assert_memory_equal(w->disk, other, len);
        for (size_t k = 0; k < len; k++)
            assert_int_equal(known[k], 0x5a);
        CONFORM_OK(lunette_unregister(w->ctx, known, &err), err);
    }
    (void)munmap(all, gap + len);
}

/* The same in pieces of any length at any address, several at a time. */
static void
scattered(struct conform_world *w, struct lunette_lun *lun)
{
    static const size_t each[] = {1, 3, 511, 513, 4093};
    static struct iovec iov[2][4096];
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_queue *q = NULL;

    CONFORM_OK(lunette_queue_new(lun, 4, &q, &err), err);
    for (size_t k = 0; k < sizeof(each) / sizeof(each[0]); k++) {
        size_t len = each[k] < 511 ? CONFORM_BLOCK * 4 : CONFORM_BLOCK * 128;
        size_t piece = each[k] < 3 ? 2 : each[k]; /* a block has 256 pieces at most */
        struct lunette_completion c;
        int n = 0;

        conform_fill(out, len, 0, (unsigned)k);
        memset(in, 0, len + 1);
        for (size_t at = 0; at < len; at += piece, n++) {
            size_t take = len - at < piece ? len - at : piece;

            iov[0][n] = (struct iovec){out + at, take};
            iov[1][n] = (struct iovec){in + 1 + at, take};
        }
        assert_int_equal(lunette_queue_writev(q, iov[0], n, 0, 0, q), 0);
        assert_int_equal(lunette_queue_poll(q, &c, 1, 1, -1), 1);
        assert_int_equal(c.err, 0);
        assert_memory_equal(w->disk, out, len);
        assert_int_equal(lunette_queue_readv(q, iov[1], n, 0, q), 0);
        assert_int_equal(lunette_queue_poll(q, &c, 1, 1, -1), 1);
        assert_int_equal(c.err, 0);
        assert_memory_equal(in + 1, out, len);
    }
    lunette_queue_free(q);
}

/* A command that expects more than there is: the rest of its memory is left alone. */
static void
less_than_expected(struct conform_world *w, struct lunette_lun *lun)
{
    static const uint8_t cdb[10] = {0x28, [8] = 1}; /* READ (10) of a block */
    struct lunette_scsi cmd = LUNETTE_INIT(cmd);
    struct lunette_error err = LUNETTE_INIT(err);

    memset(in, 0x5a, 8192);
    cmd.cdb = cdb;
    cmd.cdb_len = sizeof(cdb);
    cmd.in = in;
    cmd.in_len = 8192;
    CONFORM_OK(lunette_scsi(lun, &cmd, &err), err);
    assert_int_equal(cmd.status, 0);
    assert_false(cmd.overflow);
    assert_int_equal(cmd.in_done, CONFORM_BLOCK);
    assert_memory_equal(in, w->disk, CONFORM_BLOCK);
    for (unsigned i = CONFORM_BLOCK; i < 8192; i++)
        assert_int_equal(in[i], 0x5a);
}

/* Commands that expect less than a block, and PDUs of any length with data both ways. */
static void
odd_lengths(struct conform_world *w, struct lunette_lun *lun)
{
    static const size_t lens[] = {1, 2, 3, 511, 513, 4096};
    static const uint8_t cdb[10] = {0x28, [8] = 9}; /* READ (10) of 9 blocks */
    struct lunette_session_info info = LUNETTE_INIT(info);
    struct lunette_error err = LUNETTE_INIT(err);
    char most[64];

    assert_int_equal(lunette_get_session_info(lun, &info), 0);
    (void)snprintf(most, sizeof(most), " %u bytes", info.max_xmit_data_segment_length);
    conform_fill(w->disk, (size_t)9 * CONFORM_BLOCK, 0, 77);
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        struct lunette_scsi cmd = LUNETTE_INIT(cmd);

        memset(in, 0x5a, 8192);
        cmd.cdb = cdb;
        cmd.cdb_len = sizeof(cdb);
        cmd.in = in;
        cmd.in_len = lens[i];
        CONFORM_OK(lunette_scsi(lun, &cmd, &err), err);
        assert_int_equal(cmd.status, 0);
        assert_true(cmd.overflow);
        assert_int_equal(cmd.in_done, lens[i]);
        assert_memory_equal(in, w->disk, lens[i]);
        assert_int_equal(in[lens[i]], 0x5a);
        if (lens[i] <= info.max_xmit_data_segment_length || conform_by_itself()) {
            conform_ping(lun, lens[i]);
        } else {
            assert_int_equal(lunette_ping(lun, lens[i], NULL, &err), -EINVAL);
            assert_non_null(strstr(err.msg, most));
        }
    }
    conform_ping(lun, 0);
    less_than_expected(w, lun);
}

static void
profile_run(const struct profile *p)
{
    static const uint32_t sizes[] = {0,    512,         1024, 4096,      8192,
                                     8704, 65536 + 512, MIB,  MIB + 512, 16 * MIB};
    static const struct target_faults keeps = {.keep_stags = true};
    struct conform_world w;
    struct lunette_lun *lun;

    conform_open(&w, &p->setup);
    target_set_faults(w.target, p->keep_stags ? &keeps : NULL);
    if (p->registered)
        know_memory(&w, out);
    lun = conform_lun(&w);
    if (p->registered)
        know_memory(&w, in);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        if (sizes[i] <= p->largest)
            there_and_back(&w, lun, sizes[i]);
    }
    scattered(&w, lun);
    odd_lengths(&w, lun);
    if (p->registered) {
        forget_memory(&w, lun);
        far_apart(&w, lun);
    }
    lunette_close(lun);
    conform_close(&w);
}

/* Bursts and segments of random length, so that R2Ts come at random places. */
static void
random_profile(unsigned n)
{
    static const char *const yes_no[] = {"Yes", "No"};
    struct conform_world dice = {.seed = conform_seed * 1000 + n};
    char text[3][16];
    uint32_t max = 600 + (uint32_t)conform_random(&dice, 70000);
    struct target_key_value set[] = {
        {"InitialR2T", yes_no[conform_random(&dice, 2)]},
        {"ImmediateData", yes_no[conform_random(&dice, 2)]},
        {"MaxBurstLength", text[0]},
        {"FirstBurstLength", text[1]},
        {"MaxRecvDataSegmentLength", text[2]},
    };
    struct profile p = {.setup = {.options = "max_transfer=1M", .set = set, .set_count = 5},
                        .largest = 65536 + 512,
                        .registered = n % 2 == 0,
                        .keep_stags = n % 4 < 2};

    (void)snprintf(text[0], sizeof(text[0]), "%u", max);
    (void)snprintf(text[1], sizeof(text[1]), "%u",
                   512 + (uint32_t)conform_random(&dice, max - 512 + 1));
    (void)snprintf(text[2], sizeof(text[2]), "%u", 512 + (uint32_t)conform_random(&dice, 9000));
    profile_run(&p);
}

void
conform_group_sizes(void)
{
    static const struct target_key_value asked[] = {{"InitialR2T", "Yes"},
                                                    {"ImmediateData", "No"},
                                                    {"MaxRecvDataSegmentLength", "513"},
                                                    {"MaxBurstLength", "1027"},
                                                    {"FirstBurstLength", "515"}};
    static const struct target_key_value unasked[] = {{"InitialR2T", "No"},
                                                      {"ImmediateData", "No"},
                                                      {"MaxRecvDataSegmentLength", "1001"},
                                                      {"MaxBurstLength", "5003"},
                                                      {"FirstBurstLength", "3001"},
                                                      {"MaxOutstandingR2T", "4"}};
    static const struct target_key_value at_once[] = {{"InitialR2T", "No"},
                                                      {"ImmediateData", "Yes"},
                                                      {"MaxRecvDataSegmentLength", "4096"},
                                                      {"FirstBurstLength", "16384"}};
    const bool digests = conform_tt->caps & CAP_DATADGST;
    const struct profile profiles[] = {
        {.setup = {.options = "max_transfer=16M"}, .largest = 16 * MIB},
        {.setup = {.set = asked, .set_count = 5, .options = "max_recv_data_segment_length=515"},
         .largest = MIB,
         .registered = true},
        {.setup = {.set = unasked,
                   .set_count = 6,
                   .options = "initial_r2t=no&max_outstanding_r2t=4"},
         .largest = MIB + 512,
         .keep_stags = true},
        {.setup = {.set = at_once, .set_count = 4, .options = "initial_r2t=no", .digests = digests},
         .largest = MIB + 512,
         .registered = true},
        {.setup = {.options = "max_transfer=16M", .digests = digests},
         .largest = 16 * MIB,
         .registered = true,
         .keep_stags = true},
    };

    out = malloc(CONFORM_DISK);
    in = malloc(CONFORM_DISK);
    assert_non_null(out);
    assert_non_null(in);
    for (size_t i = 0; i < sizeof(profiles) / sizeof(profiles[0]); i++)
        profile_run(&profiles[i]);
    for (unsigned i = 0; i < SETS; i++)
        random_profile(i);
    free(out);
    free(in);
}

/* ---- window ---------------------------------------------------------------------------------- */

#define DEPTH 16

static struct {
    struct conform_world w;
    struct lunette_queue *q;
    uint8_t buf[DEPTH][CONFORM_BLOCK];
    unsigned ended[DEPTH];
} win;

/* Takes what has ended, without waiting; each request ends once and well. */
static unsigned
collect(void)
{
    struct lunette_completion c[DEPTH];
    int n = lunette_queue_poll(win.q, c, DEPTH, 0, 0);

    assert_true(n >= 0);
    for (int i = 0; i < n; i++) {
        unsigned *k = c[i].user_data;

        assert_int_equal(c[i].err, 0);
        assert_int_equal(++*k, 1);
    }
    return (unsigned)n;
}

static uint64_t
commands(void)
{
    return conform_path_counts(win.w.path)->pdus[ISCSI_OP_SCSI_CMD];
}

/* The target takes so many commands and no more until it opens its window again: none is sent
 * beyond it, none is lost, and pings go on meanwhile. */
void
conform_group_window(void)
{
    static const struct target_key_value set[] = {{"QueueDepth", "4"}};
    struct conform_setup setup = {.set = set, .set_count = 1};
    struct target_faults f = {.shut_window = true};
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_lun *lun;

    memset(&win, 0, sizeof(win));
    conform_open(&win.w, &setup);
    lun = conform_lun(&win.w);
    CONFORM_OK(lunette_queue_new(lun, DEPTH, &win.q, &err), err);
    for (unsigned round = 0; round < 3; round++) {
        unsigned done = 0;
        uint64_t sent;

        memset(win.ended, 0, sizeof(win.ended));
        target_set_faults(win.w.target, &f);
        sent = commands();
        for (unsigned i = 0; i < DEPTH; i++) {
            conform_fill(win.buf[i], CONFORM_BLOCK, i, round);
            assert_int_equal(lunette_queue_write(win.q, win.buf[i], CONFORM_BLOCK,
                                                 (uint64_t)i * CONFORM_BLOCK, 0, &win.ended[i]),
                             0);
        }
        assert_int_equal(lunette_queue_submit(win.q), 0);
        CONFORM_UNTIL(&win.w, (done += collect()) == 4);
        conform_ping(lun, 100);
        conform_wait_ms(&win.w, 50);
        done += collect();
        assert_int_equal(done, 4);
        assert_int_equal(commands() - sent, 4);
        target_set_faults(win.w.target, NULL);
        conform_ping(lun, 0); /* its answer opens the window, or a ping of the target */
        CONFORM_UNTIL(&win.w, (done += collect()) == DEPTH);
        assert_int_equal(commands() - sent, DEPTH);
        for (unsigned i = 0; i < DEPTH; i++)
            assert_memory_equal(win.w.disk + (size_t)i * CONFORM_BLOCK, win.buf[i], CONFORM_BLOCK);
    }
    lunette_queue_free(win.q);
    lunette_close(lun);
    conform_close(&win.w);
}
