/* SPDX-License-Identifier: MIT */
/* Logins over iSER between our own two sides: whatever each of them was told to offer, both mean
 * the same by what they agree on, as data that goes over shows; or one of them says why not. */
#include "tests/test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world.h"

#define LEN (256u << 10)

static void
start(struct world *w, uint64_t seed, const struct target_key_value *set, uint32_t n,
      const char *more, bool chap)
{
    static char options[300];
    struct world_config cfg = {
        .block = 512, .options = options, .rdma = true, .set = set, .set_count = n, .chap = chap};

    (void)snprintf(options, sizeof(options), "?transport=iser%s", more);
    world_new(w, seed, &cfg);
}

static void
stop(struct world *w)
{
    struct lunette_lun *lun = w->lun;

    w->lun = NULL;
    if (lun != NULL)
        lunette_close(lun);
    world_free(w);
}

/* Writes of any length come back as they were, and pings of any length. */
static void
use(struct world *w, const char *what)
{
    static const uint32_t lens[] = {512, 1024, 4096, 8192, 8704, 65536, LEN};
    uint8_t *out = malloc(LEN), *in = malloc(LEN);
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_session_info s = LUNETTE_INIT(s);

    assert_true(out != NULL && in != NULL);
    for (uint32_t i = 0; i < LEN; i++)
        out[i] = (uint8_t)(i * 2654435761u >> 13);
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        memset(in, 0, lens[i]);
        if (lunette_pwrite(w->lun, out, lens[i], 512 * i, 0, &err) != 0 ||
            lunette_pread(w->lun, in, lens[i], 512 * i, &err) != 0)
            fail_msg("%s: %u bytes: %s", what, lens[i], err.msg);
        assert_memory_equal(in, out, lens[i]);
        assert_memory_equal(w->disk + 512 * i, out, lens[i]);
    }
    assert_int_equal(lunette_get_session_info(w->lun, &s), 0);
    for (size_t len = 0; len <= 4096 && len <= s.max_xmit_data_segment_length; len += 127) {
        if (lunette_ping(w->lun, len, NULL, &err) != 0)
            fail_msg("%s: ping of %zu: %s", what, len, err.msg);
    }
    free(out);
    free(in);
}

static const struct agreement {
    struct target_key_value set[2];
    const char *options;
    uint32_t recv, xmit; /* of the initiator */
    bool immediate_data;
} agreements[] = {
    {{{NULL, NULL}}, "", 8192, 8192, true},
    {{{"ImmediateData", "No"}}, "", 8192, 8192, false},
    {{{NULL, NULL}}, "&immediate_data=no", 8192, 8192, false},
    {{{"TargetRecvDataSegmentLength", "512"}}, "", 8192, 512, true},
    {{{"InitiatorRecvDataSegmentLength", "512"}}, "", 512, 8192, true},
    {{{"TargetRecvDataSegmentLength", "1536"}, {"InitiatorRecvDataSegmentLength", "1024"}},
     "",
     1024,
     1536,
     true},
    {{{NULL, NULL}}, "&max_recv_data_segment_length=512", 512, 8192, true},
    {{{NULL, NULL}}, "&max_recv_data_segment_length=1048576", 8192, 8192, true},
    {{{"InitialR2T", "No"}}, "&initial_r2t=no", 8192, 8192, true},
    {{{"FirstBurstLength", "1024"}}, "", 8192, 8192, true},
    {{{"MaxBurstLength", "4096"}}, "&first_burst_length=512", 8192, 8192, true},
    {{{"HeaderDigest", "CRC32C"}, {"DataDigest", "CRC32C"}}, "", 8192, 8192, true},
    {{{"HeaderDigest", "CRC32C"}},
     "&header_digest=crc32c,none&data_digest=none,crc32c",
     8192,
     8192,
     true},
    {{{"ErrorRecoveryLevel", "2"}}, "&error_recovery_level=2", 8192, 8192, true},
    {{{"MaxConnections", "4"}}, "&nr_connections=3", 8192, 8192, true},
    {{{"MaxOutstandingUnexpectedPDUs", "2"}}, "&ping_interval=1", 8192, 8192, true},
    {{{"MaxOutstandingUnexpectedPDUs", "16"}}, "", 8192, 8192, true},
    {{{"MaxOutstandingR2T", "16"}}, "&max_outstanding_r2t=16&protocol_level=yes", 8192, 8192, true},
};

static void
all_agreements(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(agreements) / sizeof(agreements[0]); i++) {
        for (unsigned chap = 0; chap < 2; chap++) {
            const struct agreement *a = &agreements[i];
            uint32_t n = a->set[0].key == NULL ? 0 : a->set[1].key == NULL ? 1 : 2;
            struct lunette_error err = LUNETTE_INIT(err);
            struct lunette_session_info s = LUNETTE_INIT(s);
            char what[200];
            struct world w;

            (void)snprintf(what, sizeof(what), "%s=%s %s", n > 0 ? a->set[0].key : "",
                           n > 0 ? a->set[0].value : "", a->options);
            start(&w, i + 1, a->set, n, a->options, chap);
            if (lunette_open(w.ctx, w.url, 0, &w.lun, &err) < 0)
                fail_msg("%s: %s", what, err.msg);
            assert_int_equal(lunette_get_session_info(w.lun, &s), 0);
            if (s.max_recv_data_segment_length != a->recv ||
                s.max_xmit_data_segment_length != a->xmit)
                fail_msg("%s: lengths are %u and %u", what, s.max_recv_data_segment_length,
                         s.max_xmit_data_segment_length);
            assert_int_equal(s.immediate_data, a->immediate_data);
            assert_true(s.initial_r2t);
            assert_false(s.header_digest || s.data_digest);
            assert_int_equal(s.error_recovery_level, 0);
            use(&w, what);
            stop(&w);
        }
    }
}

static void
refused(const struct target_key_value *set, const char *options, const char *why)
{
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_lun *lun = NULL;
    struct world w;

    start(&w, 5, set, set != NULL, options, false);
    if (lunette_open(w.ctx, w.url, 0, &lun, &err) == 0)
        fail_msg("logged in, expected \"%s\"", why);
    if (strstr(err.msg, why) == NULL)
        fail_msg("\"%s\" should hold \"%s\"", err.msg, why);
    stop(&w);
}

static void
refusals(void **state)
{
    static const struct target_key_value no = {"RDMAExtensions", "No"};

    (void)state;
    refused(&no, "", "does not agree to iSER (it answers No to RDMAExtensions=Yes)");
    refused(NULL, "&header_digest=crc32c", "this transport cannot do CRC32C");
    refused(NULL, "&iser_stag=mine", "iser_stag=mine: window, pool or register is wanted");
    refused(NULL, "&iser_poll_us=-1", "iser_poll_us=-1: microseconds");
    refused(NULL, "&iser_colour=red", "unknown option iser_colour");
}

/* A target that does not want iSER has discoveries over RDMA all the same (RFC 7145 6.3). */
static void
discovery(void **state)
{
    static const struct target_key_value no = {"RDMAExtensions", "No"};

    (void)state;
    for (unsigned unwilling = 0; unwilling < 2; unwilling++) {
        struct lunette_error err = LUNETTE_INIT(err);
        struct lunette_targets *targets = NULL;
        char where[128], portal[64];
        struct world w;

        start(&w, 6, &no, unwilling, "", false);
        (void)snprintf(where, sizeof(where), "iser://%s/",
                       sock_addr_format(&w.portal, portal, sizeof(portal)));
        if (lunette_discover(w.ctx, where, &targets, &err) < 0)
            fail_msg("%s", err.msg);
        assert_int_equal(lunette_targets_count(targets), 1);
        lunette_targets_free(targets);
        stop(&w);
    }
}

/* ---- pings ---------------------------------------------------------------------------------- */

/* The answer to a ping as LIO gives it over iSER, before that of our target has come. */
struct empty_answer {
    struct world *w;
    struct loop_timer t;
};

static void
answer_without_data(struct loop_timer *t)
{
    struct empty_answer *a = container_of(t, struct empty_answer, t);
    struct lunette_session *s = a->w->lun->s;
    struct iscsi_kevent ev = {.type = ISCSI_KEVENT_RECV_PDU, .sid = s->sid, .cid = s->cid};

    bhs_init(&ev.u.recv_pdu.hdr, ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL);
    ctl_dispatch(a->w->ctx->ctl, &ev, NULL);
}

/* Over iSER an echo may be empty, and nowhere else; one that is another is none in either case. */
static void
pings_that_come_back_empty(void **state)
{
    (void)state;
    for (unsigned rdma = 0; rdma < 2; rdma++) {
        struct world_config cfg = {
            .block = 512, .options = rdma ? "?transport=iser" : "", .rdma = rdma};
        struct lunette_error err = LUNETTE_INIT(err);
        struct empty_answer a;
        struct world w;
        int r;

        world_new(&w, 7, &cfg);
        w.lun = world_open_lun(&w);
        a.w = &w;
        loop_timer_init(&a.t, answer_without_data);
        loop_timer_start(w.loop, &a.t, 0);
        r = lunette_ping(w.lun, 100, NULL, &err);
        assert_int_equal(r, rdma ? 0 : -EBADMSG);
        stop(&w);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_agreements),
        cmocka_unit_test(refusals),
        cmocka_unit_test(discovery),
        cmocka_unit_test(pings_that_come_back_empty),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
