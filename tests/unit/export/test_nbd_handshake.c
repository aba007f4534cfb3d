/* SPDX-License-Identifier: MIT */
/* The handshake of NBD and the checks of its requests, as bytes: no I/O. */
#include "tests/test.h"

#include <errno.h>
#include <string.h>

#include "export/nbd/handshake.h"
#include "export/nbd/request.h"

static struct nbd_handshake h;
static uint8_t in[4 * NBD_HANDSHAKE_IN], out[NBD_HANDSHAKE_OUT];
static size_t in_len, out_len;
static struct nbd_export_info info;

static const struct bdev_limits limits = {.size = 1 << 20,
                                          .block_size = 512,
                                          .physical_block = 512,
                                          .max_discard = 4096,
                                          .max_write_zeroes = 4096,
                                          .write_cache = true};

static void
add(const void *data, size_t len)
{
    assert_true(in_len + len <= sizeof(in));
    memcpy(in + in_len, data, len);
    in_len += len;
}

static void
add32(uint32_t v)
{
    struct be32 b = put32(v);

    add(&b, sizeof(b));
}

static void
add_option(uint32_t option, uint32_t len)
{
    struct nbd_option o = {put64(NBD_OPTION_MAGIC), put32(option), put32(len)};

    add(&o, sizeof(o));
}

static void
add_text(const char *text)
{
    add32((uint32_t)strlen(text));
    add(text, strlen(text));
}

/* Takes a step; with every part of the input first, of which none may be enough. */
static enum nbd_step
step(void)
{
    size_t used = 0;
    enum nbd_step s = NBD_STEP_MORE;

    for (size_t n = 0; n < in_len && h.drop == 0; n++) {
        s = nbd_handshake_step(&h, &info, in, n, &used, out, &out_len);
        if (s != NBD_STEP_MORE || used > 0) {
            assert_true(s != NBD_STEP_MORE);
            break;
        }
        assert_int_equal(out_len, 0);
    }
    if (s == NBD_STEP_MORE)
        s = nbd_handshake_step(&h, &info, in, in_len, &used, out, &out_len);
    memmove(in, in + used, in_len - used);
    in_len -= used;
    return s;
}

/* Reply number i in out; returns its type. */
static uint32_t
reply(unsigned i, uint32_t option, const uint8_t **ret_data, uint32_t *ret_len)
{
    size_t at = 0;

    for (;; i--) {
        struct nbd_option_reply r;

        assert_true(at + sizeof(r) <= out_len);
        memcpy(&r, out + at, sizeof(r));
        assert_true(get64(r.magic) == NBD_OPTION_REPLY_MAGIC);
        assert_int_equal(get32(r.option), option);
        at += sizeof(r);
        assert_true(get32(r.len) <= out_len - at);
        if (i == 0) {
            if (ret_data != NULL)
                *ret_data = out + at;
            if (ret_len != NULL)
                *ret_len = get32(r.len);
            return get32(r.type);
        }
        at += get32(r.len);
    }
}

static void
begin(uint32_t flags)
{
    in_len = 0;
    nbd_export_info_make(&info, &limits, false);
    assert_int_equal(nbd_handshake_begin(&h, out), 18);
    assert_memory_equal(out, "NBDMAGICIHAVEOPT\0\3", 18);
    add32(flags);
    assert_int_equal(step(), flags > 3 ? NBD_STEP_END : NBD_STEP_REPLY);
    assert_int_equal(out_len, 0);
    assert_int_equal(in_len, 0);
}

static void
structured(void)
{
    add_option(NBD_OPT_STRUCTURED_REPLY, 0);
    assert_int_equal(step(), NBD_STEP_REPLY);
    assert_int_equal(reply(0, NBD_OPT_STRUCTURED_REPLY, NULL, NULL), NBD_REP_ACK);
}

static void
meta(uint32_t option, const char *name, const char *const *queries, uint32_t n)
{
    size_t at = in_len;

    add_option(option, 0);
    add_text(name);
    add32(n);
    for (uint32_t i = 0; i < n; i++)
        add_text(queries[i]);
    st_be32(in + at + offsetof(struct nbd_option, len), (uint32_t)(in_len - at - 16));
}

static void
go(uint32_t option, const char *name, const uint16_t *infos, uint16_t n)
{
    struct be16 v = put16(n);

    add_option(option, (uint32_t)(4 + strlen(name) + 2 + 2u * n));
    add_text(name);
    add(&v, 2);
    for (uint16_t i = 0; i < n; i++) {
        v = put16(infos[i]);
        add(&v, 2);
    }
}

static void
test_go(void **state)
{
    static const char *const queries[] = {"qemu:x", "base:allocation"};
    static const uint16_t infos[] = {NBD_INFO_NAME, NBD_INFO_BLOCK_SIZE, 77};
    const uint8_t *d = NULL;
    uint32_t len = 0;

    (void)state;
    begin(3);
    structured();
    meta(NBD_OPT_SET_META_CONTEXT, "", queries, 2);
    assert_int_equal(step(), NBD_STEP_REPLY);
    assert_int_equal(reply(0, NBD_OPT_SET_META_CONTEXT, &d, &len), NBD_REP_META_CONTEXT);
    assert_int_equal(len, 4 + 15);
    assert_memory_equal(d + 4, "base:allocation", 15);
    assert_int_equal(reply(1, NBD_OPT_SET_META_CONTEXT, NULL, NULL), NBD_REP_ACK);
    assert_true(h.allocation);
    go(NBD_OPT_INFO, "", infos, 3);
    assert_int_equal(step(), NBD_STEP_REPLY);
    go(NBD_OPT_GO, "", infos, 3);
    assert_int_equal(step(), NBD_STEP_TRANSMIT);
    assert_int_equal(reply(0, NBD_OPT_GO, &d, &len), NBD_REP_INFO);
    assert_true(len == 2 && ld_be16(d) == NBD_INFO_NAME);
    assert_int_equal(reply(1, NBD_OPT_GO, &d, &len), NBD_REP_INFO);
    assert_true(len == 14 && ld_be16(d) == NBD_INFO_BLOCK_SIZE && ld_be32(d + 2) == 512 &&
                ld_be32(d + 6) == 4096 && ld_be32(d + 10) == NBD_PAYLOAD_MAX);
    assert_int_equal(reply(2, NBD_OPT_GO, &d, &len), NBD_REP_INFO);
    assert_true(len == 12 && ld_be16(d) == NBD_INFO_EXPORT && ld_be64(d + 2) == 1 << 20);
    assert_int_equal(ld_be16(d + 10), 0x9ed | 0); /* all but read-only and rotational */
    assert_int_equal(reply(3, NBD_OPT_GO, NULL, NULL), NBD_REP_ACK);
    assert_true(h.allocation && h.structured);
}

static void
test_names(void **state)
{
    static const uint16_t none[1];
    const uint8_t *d = NULL;
    uint32_t len = 0;

    (void)state;
    begin(3);
    go(NBD_OPT_GO, "other", none, 0);
    assert_int_equal(step(), NBD_STEP_REPLY);
    assert_int_equal(reply(0, NBD_OPT_GO, NULL, NULL), NBD_REP_ERR_UNKNOWN);
    add_option(NBD_OPT_EXPORT_NAME, 0);
    assert_int_equal(step(), NBD_STEP_TRANSMIT);
    assert_int_equal(out_len, 10); /* without the zeroes, as agreed, and without DF */
    assert_int_equal(ld_be16(out + 8), 0x96d);
    begin(0);
    add_option(NBD_OPT_EXPORT_NAME, 0);
    assert_int_equal(step(), NBD_STEP_TRANSMIT);
    assert_int_equal(out_len, 134);
    begin(1);
    add_option(NBD_OPT_EXPORT_NAME, 1);
    add("x", 1);
    assert_int_equal(step(), NBD_STEP_END);
    begin(4);
    begin(1);
    go(NBD_OPT_GO, "", none, 0);
    assert_int_equal(step(), NBD_STEP_TRANSMIT);
    assert_int_equal(reply(0, NBD_OPT_GO, &d, &len), NBD_REP_INFO);
    assert_int_equal(ld_be16(d), NBD_INFO_EXPORT);
    assert_int_equal(reply(1, NBD_OPT_GO, NULL, NULL), NBD_REP_ACK);
    begin(1);
    info.min = 4096; /* a client that has not asked is told, and may go on */
    go(NBD_OPT_GO, "", none, 0);
    assert_int_equal(step(), NBD_STEP_TRANSMIT);
    assert_int_equal(reply(0, NBD_OPT_GO, &d, &len), NBD_REP_INFO);
    assert_true(len == 14 && ld_be16(d) == NBD_INFO_BLOCK_SIZE && ld_be32(d + 2) == 4096);
    assert_int_equal(reply(2, NBD_OPT_GO, NULL, NULL), NBD_REP_ACK);
}

static void
test_other_options(void **state)
{
    static const struct {
        uint32_t option, len, type;
    } rows[] = {
        {NBD_OPT_LIST, 0, NBD_REP_SERVER},
        {NBD_OPT_LIST, 1, NBD_REP_ERR_INVALID},
        {NBD_OPT_STARTTLS, 0, NBD_REP_ERR_POLICY},
        {NBD_OPT_STRUCTURED_REPLY, 1, NBD_REP_ERR_INVALID},
        {NBD_OPT_LIST_META_CONTEXT, 8, NBD_REP_ERR_INVALID},
        {4, 0, NBD_REP_ERR_UNSUP},
        {0xffffffff, 8000, NBD_REP_ERR_UNSUP},
        {11, 0, NBD_REP_ERR_UNSUP},
        {NBD_OPT_GO, 0, NBD_REP_ERR_INVALID},
        {NBD_OPT_GO, 5, NBD_REP_ERR_INVALID},
        {NBD_OPT_GO, 7, NBD_REP_ERR_INVALID},
    };
    static const uint8_t zeroes[8192];

    (void)state;
    begin(3);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        add_option(rows[i].option, rows[i].len);
        add(zeroes, rows[i].len);
        assert_int_equal(step(), NBD_STEP_REPLY);
        assert_int_equal(reply(0, rows[i].option, NULL, NULL), rows[i].type);
        assert_int_equal(in_len, 0);
    }
    add_option(NBD_OPT_ABORT, 0);
    assert_int_equal(step(), NBD_STEP_END);
    assert_int_equal(reply(0, NBD_OPT_ABORT, NULL, NULL), NBD_REP_ACK);
}

static void
test_meta_contexts(void **state)
{
    static const char *const base[] = {"base:"}, *const other[] = {"base:allocatio", "", "x"},
                             *const right[] = {"base:allocation"};

    (void)state;
    begin(3);
    structured();
    meta(NBD_OPT_LIST_META_CONTEXT, "", NULL, 0);
    assert_int_equal(step(), NBD_STEP_REPLY);
    assert_int_equal(reply(0, NBD_OPT_LIST_META_CONTEXT, NULL, NULL), NBD_REP_META_CONTEXT);
    meta(NBD_OPT_LIST_META_CONTEXT, "", base, 1);
    assert_int_equal(step(), NBD_STEP_REPLY);
    assert_int_equal(reply(0, NBD_OPT_LIST_META_CONTEXT, NULL, NULL), NBD_REP_META_CONTEXT);
    assert_false(h.allocation);
    meta(NBD_OPT_SET_META_CONTEXT, "", right, 1);
    assert_int_equal(step(), NBD_STEP_REPLY);
    assert_true(h.allocation);
    meta(NBD_OPT_SET_META_CONTEXT, "", base, 1);
    assert_int_equal(step(), NBD_STEP_REPLY);
    assert_int_equal(reply(0, NBD_OPT_SET_META_CONTEXT, NULL, NULL), NBD_REP_ACK);
    assert_false(h.allocation);
    meta(NBD_OPT_SET_META_CONTEXT, "", other, 3);
    assert_int_equal(step(), NBD_STEP_REPLY);
    assert_int_equal(reply(0, NBD_OPT_SET_META_CONTEXT, NULL, NULL), NBD_REP_ACK);
    meta(NBD_OPT_SET_META_CONTEXT, "other", right, 1);
    assert_int_equal(step(), NBD_STEP_REPLY);
    assert_int_equal(reply(0, NBD_OPT_SET_META_CONTEXT, NULL, NULL), NBD_REP_ERR_UNKNOWN);
    assert_false(h.allocation);
    meta(NBD_OPT_SET_META_CONTEXT, "", right, 1);
    st_be32(in + 20, 1000000); /* more queries than there are */
    assert_int_equal(step(), NBD_STEP_REPLY);
    assert_int_equal(reply(0, NBD_OPT_SET_META_CONTEXT, NULL, NULL), NBD_REP_ERR_INVALID);
    assert_false(h.allocation);
    meta(NBD_OPT_SET_META_CONTEXT, "", right, 1);
    st_be32(in + 24, 0xffffffff); /* a length that wraps */
    assert_int_equal(step(), NBD_STEP_REPLY);
    assert_int_equal(reply(0, NBD_OPT_SET_META_CONTEXT, NULL, NULL), NBD_REP_ERR_INVALID);
}

/* An option that is too long to be looked at does what can be done without its data. */
static void
test_long_options(void **state)
{
    static const struct {
        uint32_t option, type;
    } rows[] = {
        {NBD_OPT_LIST, NBD_REP_ERR_TOO_BIG},
        {NBD_OPT_STARTTLS, NBD_REP_ERR_TOO_BIG},
        {NBD_OPT_INFO, NBD_REP_ERR_TOO_BIG},
        {NBD_OPT_GO, NBD_REP_ERR_TOO_BIG},
        {NBD_OPT_STRUCTURED_REPLY, NBD_REP_ERR_TOO_BIG},
        {NBD_OPT_LIST_META_CONTEXT, NBD_REP_ERR_TOO_BIG},
        {NBD_OPT_SET_META_CONTEXT, NBD_REP_ERR_TOO_BIG},
        {4, NBD_REP_ERR_UNSUP},
        {11, NBD_REP_ERR_UNSUP},
        {0xffffffff, NBD_REP_ERR_UNSUP},
        {NBD_OPT_ABORT, NBD_REP_ACK}, /* "a server SHOULD ignore any data" */
    };
    static const char *const right[] = {"base:allocation"};

    (void)state;
    begin(3);
    structured();
    meta(NBD_OPT_SET_META_CONTEXT, "", right, 1);
    assert_int_equal(step(), NBD_STEP_REPLY);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        bool last = rows[i].option == NBD_OPT_ABORT;

        assert_true(h.allocation == (i < 7));
        add_option(rows[i].option, NBD_OPTION_MAX + 1);
        assert_int_equal(step(), NBD_STEP_REPLY);
        in_len = NBD_OPTION_MAX + 1;
        assert_int_equal(step(), last ? NBD_STEP_END : NBD_STEP_REPLY);
        assert_int_equal(reply(0, rows[i].option, NULL, NULL), rows[i].type);
    }
    begin(3);
    add_option(NBD_OPT_EXPORT_NAME, NBD_OPTION_MAX + 1);
    assert_int_equal(step(), NBD_STEP_END);
    begin(3);
    add_option(NBD_OPT_ABORT, 1);
    add("x", 1);
    assert_int_equal(step(), NBD_STEP_END);
    assert_int_equal(reply(0, NBD_OPT_ABORT, NULL, NULL), NBD_REP_ACK);
}

/* Nobody gets in any more, but all may leave. */
static void
test_stopping(void **state)
{
    static const uint32_t options[] = {NBD_OPT_LIST, NBD_OPT_INFO, NBD_OPT_GO,
                                       NBD_OPT_STRUCTURED_REPLY, 99};

    (void)state;
    begin(3);
    info.stopping = true;
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        add_option(options[i], 0);
        assert_int_equal(step(), NBD_STEP_REPLY);
        assert_int_equal(reply(0, options[i], NULL, NULL), NBD_REP_ERR_SHUTDOWN);
    }
    add_option(NBD_OPT_ABORT, 0);
    assert_int_equal(step(), NBD_STEP_END);
    assert_int_equal(reply(0, NBD_OPT_ABORT, NULL, NULL), NBD_REP_ACK);
    begin(3);
    info.stopping = true;
    add_option(NBD_OPT_EXPORT_NAME, 0);
    assert_int_equal(step(), NBD_STEP_END);
    assert_int_equal(out_len, 0);
}

static void
test_bounds(void **state)
{
    (void)state;
    begin(3);
    add_option(NBD_OPT_LIST, NBD_OPTION_MAX + 1);
    assert_int_equal(step(), NBD_STEP_REPLY); /* nothing is told before all of it is here */
    assert_int_equal(out_len, 0);
    in_len = NBD_OPTION_MAX;
    assert_int_equal(step(), NBD_STEP_MORE);
    assert_int_equal(in_len, 0);
    in_len = 1;
    assert_int_equal(step(), NBD_STEP_REPLY);
    assert_int_equal(reply(0, NBD_OPT_LIST, NULL, NULL), NBD_REP_ERR_TOO_BIG);
    add_option(NBD_OPT_LIST, 0xffffffff);
    assert_int_equal(step(), NBD_STEP_END);
    begin(3);
    for (unsigned i = 0; i < NBD_OPTIONS_MAX; i++) {
        add_option(NBD_OPT_LIST, 0);
        assert_int_equal(step(), NBD_STEP_REPLY);
    }
    add_option(NBD_OPT_LIST, 0);
    assert_int_equal(step(), NBD_STEP_END);
    begin(3);
    add_option(NBD_OPT_LIST, 0);
    in[0] ^= 1;
    assert_int_equal(step(), NBD_STEP_END);
}

static void
test_requests(void **state)
{
    static const struct {
        uint16_t type, flags;
        uint64_t offset;
        uint32_t len, error;
    } rows[] = {
        {NBD_CMD_READ, 0, 0, 4096, 0},
        {NBD_CMD_READ, NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_DF, 1 << 20, 0, 0},
        {NBD_CMD_READ, 0, 1, 512, NBD_EINVAL},
        {NBD_CMD_READ, 0, 0, 511, NBD_EINVAL},
        {NBD_CMD_READ, 0, 1 << 20, 512, NBD_EINVAL},
        {NBD_CMD_READ, 0, UINT64_MAX - 511, 512, NBD_EINVAL},
        {NBD_CMD_READ, NBD_CMD_FLAG_NO_HOLE, 0, 512, NBD_EINVAL},
        {NBD_CMD_READ, 0, 0, NBD_PAYLOAD_MAX + 512, NBD_EINVAL},
        {NBD_CMD_READ, 0, 0, 0xfffffe00, NBD_EINVAL},
        {NBD_CMD_WRITE, NBD_CMD_FLAG_FUA, 0, 512, 0},
        {NBD_CMD_WRITE, NBD_CMD_FLAG_DF, 0, 512, NBD_EINVAL},
        {NBD_CMD_WRITE, 0x20, 0, 512, NBD_EINVAL},
        {NBD_CMD_WRITE, 0, (1 << 20) - 512, 1024, NBD_ENOSPC},
        {NBD_CMD_DISC, 0, 0, 0, NBD_EINVAL},
        {NBD_CMD_FLUSH, NBD_CMD_FLAG_FUA, 0, 0, 0},
        {NBD_CMD_FLUSH, 0, 0, 512, NBD_EINVAL},
        {NBD_CMD_TRIM, NBD_CMD_FLAG_FUA, 0, 1 << 20, 0},
        {NBD_CMD_TRIM, 0, 512, 1 << 20, NBD_EINVAL},
        {NBD_CMD_CACHE, 0, 0, 512, NBD_EINVAL},
        {NBD_CMD_WRITE_ZEROES, 0x13, 0, 1 << 20, 0},
        {NBD_CMD_WRITE_ZEROES, 0, 512, 1 << 20, NBD_ENOSPC},
        {NBD_CMD_BLOCK_STATUS, NBD_CMD_FLAG_REQ_ONE, 0, 1 << 20, 0},
        {NBD_CMD_BLOCK_STATUS, 0, 0, 0, NBD_EINVAL},
        {8, 0, 0, 0, NBD_EINVAL},
        {0xffff, 0, 0, 0, NBD_EINVAL},
    };
    struct bdev_limits l = limits;
    struct nbd_head r;

    (void)state;
    h = (struct nbd_handshake){.structured = true, .allocation = true};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct nbd_request w = {put32(NBD_REQUEST_MAGIC), put16(rows[i].flags),
                                put16(rows[i].type),      "12345678",
                                put64(rows[i].offset),    put32(rows[i].len)};
        struct nbd_refusal why;
        bool writes = rows[i].type == NBD_CMD_WRITE || rows[i].type == NBD_CMD_TRIM ||
                      rows[i].type == NBD_CMD_WRITE_ZEROES;

        assert_true(nbd_request_read((const uint8_t *)&w, &r));
        assert_memory_equal(r.cookie, "12345678", 8);
        why = nbd_request_check(&r, &h, &limits, false);
        assert_int_equal(why.error, rows[i].error);
        assert_true((why.text != NULL) == (why.error != 0));
        why = nbd_request_check(&r, &h, &limits, true);
        if (rows[i].error == 0)
            assert_int_equal(why.error, writes ? NBD_EPERM : 0);
        w.magic = put32(NBD_REQUEST_MAGIC + 1);
        assert_false(nbd_request_read((const uint8_t *)&w, &r));
    }
    h = (struct nbd_handshake){0};
    r = (struct nbd_head){.type = NBD_CMD_BLOCK_STATUS, .len = 512};
    assert_int_equal(nbd_request_check(&r, &h, &l, false).error, NBD_EINVAL);
    r = (struct nbd_head){.type = NBD_CMD_READ, .flags = NBD_CMD_FLAG_DF, .len = 512};
    assert_int_equal(nbd_request_check(&r, &h, &l, false).error, NBD_EINVAL);
    l.max_write_zeroes = 0;
    r = (struct nbd_head){
        .type = NBD_CMD_WRITE_ZEROES, .flags = NBD_CMD_FLAG_FAST_ZERO, .len = 512};
    assert_int_equal(nbd_request_check(&r, &h, &l, false).error, NBD_ENOTSUP);
    r.flags = 0;
    assert_int_equal(nbd_request_check(&r, &h, &l, false).error, 0);
}

static void
test_errors_and_info(void **state)
{
    struct nbd_export_info x;
    struct bdev_limits l = limits;

    (void)state;
    assert_int_equal(nbd_error(0), 0);
    assert_int_equal(nbd_error(-EROFS), NBD_EPERM);
    assert_int_equal(nbd_error(-ENOSPC), NBD_ENOSPC);
    assert_int_equal(nbd_error(-EINVAL), NBD_EINVAL);
    assert_int_equal(nbd_error(-ENOTCONN), NBD_EIO);
    assert_int_equal(nbd_error(-ENOLINK), NBD_EIO);
    assert_int_equal(nbd_error(-EBADE), NBD_EIO);
    assert_int_equal(nbd_error(-EOPNOTSUPP), NBD_EIO);
    l.read_only = l.rotational = true;
    l.block_size = l.physical_block = 4096;
    nbd_export_info_make(&x, &l, false);
    assert_int_equal(x.flags, NBD_FLAG_HAS_FLAGS | NBD_FLAG_READ_ONLY | NBD_FLAG_ROTATIONAL |
                                  NBD_FLAG_SEND_FLUSH | NBD_FLAG_CAN_MULTI_CONN);
    assert_int_equal(x.min, 4096);
    assert_int_equal(x.preferred, 4096);
    l.physical_block = 1 << 30;
    nbd_export_info_make(&x, &l, true);
    assert_int_equal(x.preferred, 4096);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_go),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_other_options),
        cmocka_unit_test(test_meta_contexts),
        cmocka_unit_test(test_long_options),
        cmocka_unit_test(test_stopping),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_errors_and_info),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
