/* SPDX-License-Identifier: MIT */
/* Captures: blocks of pcapng that can be read again, TCP whose numbers fit, what stays out, and
 * what is said of it.  tests/daemon/tape.py has tshark read captures of true sessions. */
#include "tests/test.h"
#include "tests/unit/fake_loop.h"

#include <errno.h>
#include <stdlib.h>

#include "capture/capture.h"
#include "wire/pdu.h"

#define START_NS (1764460800ull * LOOP_NS_PER_S)

static struct {
    struct fake_loop fl;
    struct iscsi_conn conn;
    struct capture *k;
    unsigned wakes;
    uint8_t *file;
    size_t len;
} w;

struct packet {
    uint64_t ns;
    uint32_t captured, length, flags;
    const uint8_t *bytes;
    char comment[512];
};

static int
get_names(struct iscsi_conn *c, struct sock_addr *local, struct sock_addr *peer)
{
    (void)c;
    memset(local, 0, sizeof(*local));
    memset(peer, 0, sizeof(*peer));
    local->ss.ss_family = peer->ss.ss_family = AF_INET6;
    local->len = peer->len = 28;
    return 0;
}

static const struct iscsi_transport plain, with_names = {.get_names = get_names};

static void
on_wake(void *user)
{
    (void)user;
    w.wakes++;
}

static void
begin(const struct capture_config *more, bool fresh, const struct iscsi_transport *tt)
{
    struct capture_config cfg = *more;

    memset(&w, 0, sizeof(w));
    fake_loop_init(&w.fl, 1);
    w.conn.loop = &w.fl.l;
    w.conn.tt = tt;
    cfg.loop = &w.fl.l;
    cfg.unix_ns = START_NS;
    cfg.about = "about";
    cfg.wake = on_wake;
    assert_int_equal(capture_new(&cfg, &w.k), 0);
    assert_int_equal(capture_add(w.k, &w.conn, fresh), 0);
    assert_int_equal(capture_add(w.k, &w.conn, fresh), -EBUSY);
    assert_non_null(w.conn.tap);
}

static void
end(void)
{
    capture_free(w.k);
    assert_null(w.conn.tap);
    free(w.file);
}

/* A PDU with that many bytes of data, `data` or as many 'd', which comes in pieces. */
static void
pdu(bool sent, uint8_t opcode, uint8_t flags, const char *data, uint32_t len, uint32_t piece)
{
    struct bhs h = {.opcode = opcode, .flags = flags, .dseg_len = put24(len), .itt = put32(5)};
    uint32_t rest = len + pdu_pad(len);
    uint8_t *p = malloc(rest + 1);

    assert_non_null(p);
    memset(p, 'd', rest + 1);
    if (data != NULL)
        memcpy(p, data, len);
    w.conn.tap->begin(w.conn.tap->user, &w.conn, sent, &h, sizeof(h), rest);
    for (uint32_t at = 0, n; at < rest; at += n) {
        n = rest - at < piece ? rest - at : piece;
        w.conn.tap->more(w.conn.tap->user, &w.conn, sent, p + at, n);
    }
    free(p);
}

/* Takes out what waits. */
static void
drain(void)
{
    struct iovec iov[2];
    size_t len;

    while (capture_peek(w.k, iov, &len) > 0) {
        w.file = realloc(w.file, w.len + iov[0].iov_len);
        assert_non_null(w.file);
        memcpy(w.file + w.len, iov[0].iov_base, iov[0].iov_len);
        w.len += iov[0].iov_len;
        capture_took(w.k, iov[0].iov_len);
    }
}

static uint32_t
number(size_t at)
{
    uint32_t v;

    assert_true(at + 4 <= w.len);
    memcpy(&v, w.file + at, 4);
    return v;
}

/* Looks for a comment among options. */
static void
comment_of(size_t at, size_t to, char text[512])
{
    text[0] = '\0';
    while (at + 4 <= to) {
        uint32_t code = number(at) & 0xffff, len = number(at) >> 16;

        at += 4;
        assert_true(at + len <= to);
        if (code == 0)
            return;
        if (code == 1)
            (void)snprintf(text, 512, "%.*s", (int)len, (const char *)w.file + at);
        at += (len + 3) & ~3u;
    }
    fail_msg("options without an end");
}

/* Reads the file: every block is whole and ends with its length, and the kinds come in order. */
static unsigned
read_file(struct packet *ret, unsigned max, char last[512])
{
    unsigned n = 0;

    last[0] = '\0';
    assert_int_equal(number(0), 0x0a0d0d0a);
    for (size_t at = 0, i = 0; at < w.len; i++) {
        uint32_t type = number(at), len = number(at + 4);

        assert_true(len % 4 == 0 && len >= 12 && at + len <= w.len);
        assert_int_equal(number(at + len - 4), len);
        assert_int_equal(last[0], '\0'); /* the last block is the last */
        assert_int_equal(type, i == 0 ? 0x0a0d0d0a : i == 1 ? 1 : type == 5 ? 5 : 6);
        if (type == 5)
            comment_of(at + 20, at + len - 4, last);
        if (type == 6) {
            struct packet p = {.ns = (uint64_t)number(at + 12) << 32 | number(at + 16),
                               .captured = number(at + 20),
                               .length = number(at + 24),
                               .bytes = w.file + at + 28};

            assert_true(p.captured <= p.length && p.length <= 65535);
            comment_of(at + 28 + ((p.captured + 3) & ~3u), at + len - 4, p.comment);
            assert_true(n < max);
            ret[n++] = p;
        }
        at += len;
    }
    return n;
}

static uint32_t
be32_at(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* The numbers of TCP in both directions have no hole, and each byte that is acknowledged was sent.
 */
static void
check_tcp(const struct packet *p, unsigned n, bool fresh)
{
    uint32_t next[2] = {fresh ? 0 : 1, fresh ? 0 : 1};

    for (unsigned i = 0; i < n; i++) {
        bool ip6 = p[i].bytes[0] >> 4 == 6, sent = p[i].bytes[15] == 1;
        const uint8_t *tcp = p[i].bytes + (ip6 ? 40 : 20);
        uint32_t head = ip6 ? 60 : 40;

        assert_int_equal(p[i].bytes[0], ip6 ? 0x60 : 0x45);
        assert_int_equal((uint32_t)(p[i].bytes[ip6 ? 4 : 2] << 8 | p[i].bytes[ip6 ? 5 : 3]),
                         ip6 ? p[i].length - 40 : p[i].length);
        if (ip6)
            continue; /* both ends have the same address there */
        assert_int_equal(be32_at(tcp + 4), next[sent]);
        if (tcp[13] & 0x10)
            assert_int_equal(be32_at(tcp + 8), next[!sent]);
        next[sent] += p[i].length - head + ((tcp[13] & 3) != 0);
    }
}

static struct packet packets[20000];
static char last[512];

static void
test_conversation(void **state)
{
    unsigned n;

    (void)state;
    begin(&(struct capture_config){.room = 0}, true, &plain);
    assert_int_equal(w.wakes, 0); /* the head of the file waits from the beginning */
    drain();
    w.fl.l.now_ns += 1500;
    pdu(true, ISCSI_OP_SCSI_CMD, 0xa0, NULL, 0, 1);
    pdu(false, ISCSI_OP_DATA_IN, 0x81, NULL, 4096, 1000);
    pdu(false, ISCSI_OP_DATA_IN, 0x81, NULL, 200001, 1000000);
    assert_int_equal(w.wakes, 1);
    capture_del(w.k, &w.conn);
    assert_null(w.conn.tap);
    capture_end(w.k, "why it ended");
    drain();
    n = read_file(packets, 20000, last);
    assert_string_equal(last, "why it ended");
    check_tcp(packets, n, true);
    assert_int_equal(n, 3 + 1 + 5 + 4 + 1);
    assert_true(packets[0].ns == START_NS && packets[3].ns == START_NS + 1500);
    assert_int_equal(packets[3].length, 40 + 48);
    assert_int_equal(packets[4].length, 40 + 48 + 1000);
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(packets[i].captured, packets[i].length);
    end();
}

static void
test_ip6(void **state)
{
    unsigned n;

    (void)state;
    begin(&(struct capture_config){.room = 0}, false, &with_names);
    pdu(true, ISCSI_OP_SCSI_CMD, 0xa0, NULL, 70000, 1000000);
    capture_end(w.k, "x");
    drain();
    n = read_file(packets, 20000, last);
    assert_int_equal(n, 2);
    check_tcp(packets, n, false);
    end();
}

static bool
file_has(const char *what)
{
    return memmem(w.file, w.len, what, strlen(what)) != NULL;
}

/* Without payload lengths stay true; sense, text and rejects are no payload. */
static void
test_no_payload(void **state)
{
    unsigned n;

    (void)state;
    begin(&(struct capture_config){.no_payload = true}, true, &plain);
    pdu(true, ISCSI_OP_SCSI_CMD, 0xa0, "PAYLOAD", 7, 3);
    pdu(true, ISCSI_OP_DATA_OUT, 0x80, "PAYLOAD", 7, 100);
    pdu(false, ISCSI_OP_DATA_IN, 0x80, "PAYLOAD", 7, 100);
    pdu(false, 0x3e, 0x80, "PAYLOAD", 7, 100); /* a vendor's */
    pdu(false, ISCSI_OP_DATA_IN, 0x80, NULL, 100000, 50000);
    pdu(false, ISCSI_OP_SCSI_RSP, 0x80, "SENSE", 5, 100);
    pdu(true, ISCSI_OP_TEXT_REQ, 0x80, "SendTargets=All", 16, 100);
    capture_end(w.k, "x");
    drain();
    n = read_file(packets, 20000, last);
    check_tcp(packets, n, true);
    assert_false(file_has("PAYLOAD") || file_has("dddd"));
    assert_true(file_has("SENSE") && file_has("SendTargets=All"));
    assert_int_equal(packets[3].length, 40 + 48 + 3);
    assert_int_equal(packets[3].captured, 40 + 48);
    end();
}

/* Secrets stay out, however their PDUs are cut, with payload and without. */
static void
test_secrets(void **state)
{
    static const char text[] = "CHAP_A=5\0CHAP_N=THE-USER\0CHAP_R=0xTHE-SECRET";

    (void)state;
    for (uint32_t cut = 0; cut <= sizeof(text); cut++) {
        for (uint32_t piece = 1; piece < sizeof(text) + 4; piece += 5) {
            begin(&(struct capture_config){.no_payload = (cut & 1) != 0}, true, &plain);
            pdu(true, ISCSI_OP_LOGIN_REQ, ISCSI_LOGIN_CONTINUE, text, cut, piece);
            pdu(true, ISCSI_OP_LOGIN_REQ, 0x80, text + cut, (uint32_t)sizeof(text) - cut, piece);
            capture_end(w.k, "x");
            drain();
            assert_false(file_has("SECRET") || file_has("USER") || file_has("-U"));
            end();
        }
    }
    /* It begins in the middle of a login. */
    begin(&(struct capture_config){.room = 0}, false, &plain);
    pdu(true, ISCSI_OP_LOGIN_REQ, 0x80, text + 28, (uint32_t)sizeof(text) - 28, 1000);
    capture_end(w.k, "x");
    drain();
    assert_false(file_has("SECRET"));
    end();
}

/* A Reject quotes the header of a PDU, and perhaps what followed it: secrets of that stay out, too.
 */
static void
test_quoted_secrets(void **state)
{
    char text[48 + 64] = "\x43\x87";
    static const char said[] = "CHAP_N=THE-USER\0CHAP_R=0xTHE-SECRET";

    (void)state;
    memset(text + 8, '=', 24); /* whatever a header holds */
    memcpy(text + 48, said, sizeof(said));
    for (uint32_t piece = 1; piece < 120; piece += 7) {
        begin(&(struct capture_config){.no_payload = (piece & 1) != 0}, true, &plain);
        pdu(false, ISCSI_OP_REJECT, 0x80, text, 48 + sizeof(said), piece);
        pdu(false, ISCSI_OP_REJECT, 0x80, text, 48, piece);
        capture_end(w.k, "x");
        drain();
        assert_true(piece < 100 || file_has("CHAP_R="));
        assert_false(file_has("SECRET") || file_has("USER"));
        end();
    }
}

/* Bytes of a PDU whose beginning nobody saw are no PDU. */
static void
test_middle(void **state)
{
    (void)state;
    begin(&(struct capture_config){.room = 0}, false, &plain);
    w.conn.tap->more(w.conn.tap->user, &w.conn, false, "half", 4);
    pdu(false, ISCSI_OP_SCSI_RSP, 0x80, NULL, 0, 1);
    capture_end(w.k, "x");
    drain();
    assert_int_equal(read_file(packets, 20000, last), 1);
    assert_false(file_has("half"));
    end();
}

/* What finds no room is left out and counted, there is always room for the last block, and the room
 * that comes back is used. */
static void
test_room(void **state)
{
    struct capture_stats st;
    unsigned n, said = 0;

    (void)state;
    begin(&(struct capture_config){.room = 65536}, false, &plain);
    for (unsigned i = 0; i < 100; i++)
        pdu(true, ISCSI_OP_SCSI_CMD, 0x80, NULL, 1000 + i, 100000);
    drain();
    for (unsigned i = 0; i < 100; i++)
        pdu(false, ISCSI_OP_DATA_IN, 0x80, NULL, 2000 + i, 100000);
    capture_get_stats(w.k, &st);
    assert_true(st.dropped_segments > 50 && st.dropped_bytes > 100000);
    assert_int_equal(st.segments + st.dropped_segments, 200);
    capture_end(w.k, "the end");
    drain();
    n = read_file(packets, 20000, last);
    assert_int_equal(n, st.segments);
    for (unsigned i = 0; i < n; i++)
        said += strstr(packets[i].comment, "bytes are left out before this one") != NULL &&
                strstr(packets[i].comment, " packets with ") != NULL;
    assert_int_equal(said, 1);
    assert_non_null(strstr(last, "the end; "));
    assert_non_null(strstr(last, " packets with "));
    assert_non_null(strstr(last, "left out"));
    assert_int_equal(w.wakes, 1);
    end();
}

static void
test_count(void **state)
{
    (void)state;
    begin(&(struct capture_config){.segments_max = 3}, false, &plain);
    for (unsigned i = 0; i < 10; i++)
        pdu(true, ISCSI_OP_SCSI_CMD, 0x80, NULL, 0, 1);
    assert_true(capture_full(w.k));
    capture_end(w.k, "full");
    drain();
    assert_int_equal(read_file(packets, 20000, last), 3);
    end();
}

/* Long texts are cut and never overflow the last block. */
static void
test_long_texts(void **state)
{
    char why[2000];

    (void)state;
    memset(why, 'w', sizeof(why) - 1);
    why[sizeof(why) - 1] = '\0';
    begin(&(struct capture_config){.room = 8192}, false, &plain);
    for (unsigned i = 0; i < 1000; i++)
        pdu(true, ISCSI_OP_SCSI_CMD, 0x80, NULL, 0, 1);
    capture_end(w.k, why);
    drain();
    assert_true(read_file(packets, 20000, last) > 10);
    assert_true(strlen(last) > 400);
    end();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conversation),   cmocka_unit_test(test_ip6),
        cmocka_unit_test(test_no_payload),     cmocka_unit_test(test_secrets),
        cmocka_unit_test(test_quoted_secrets), cmocka_unit_test(test_middle),
        cmocka_unit_test(test_room),           cmocka_unit_test(test_count),
        cmocka_unit_test(test_long_texts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
