/* SPDX-License-Identifier: MIT */
/* fuzz_isns.c - what an iSNS server, or anybody at the port where changes are told, sends.
 *
 * The first byte says how large the pieces are in which the rest comes.  Each message that
 * is complete is read as an answer with targets, and attribute by attribute.
 */
#include <errno.h>

#include "fuzz.h"
#include "isns/message.h"

static void
read_all(const struct isns_in *in)
{
    struct isns_targets t = {.n = 0};
    struct lunette_error err = {.code = 0};
    struct isns_attr a;
    uint32_t status, sum = 0;
    size_t at = 0;
    int r;

    CHECK(in->len <= ISNS_MESSAGE_MAX);
    while ((r = isns_next(in, &at, &a)) == 1) {
        CHECK(a.len % 4 == 0 && a.value + a.len <= in->data + in->len);
        for (uint32_t i = 0; i < a.len; i++)
            sum += a.value[i];
    }
    CHECK(r == 0 || r == -EPROTO);
    CHECK(sum < UINT32_MAX);
    if (isns_status(in, &status) == 0)
        fuzz_check_text(isns_status_text(status), 64);
    r = isns_read_targets(in, &t, &err);
    CHECK(r == 0 || err.code == r);
    for (size_t i = 0; r == 0 && i < t.n; i++) {
        CHECK(strnlen(t.portal[i].name, sizeof(t.portal[i].name)) <= ISCSI_NAME_MAX);
        CHECK(t.portal[i].name[0] != '\0' && t.portal[i].at.port != 0);
        CHECK(t.portal[i].at.tpgt >= 0 && t.portal[i].at.tpgt <= 65535);
        CHECK(i == 0 || strcmp(t.portal[i - 1].name, t.portal[i].name) <= 0);
    }
    CHECK((t.bad == 0) == (t.why.code == 0));
    isns_targets_free(&t);
    fuzz_check_text(err.msg, sizeof(err.msg));
}

void
fuzz_one(const uint8_t *data, size_t len)
{
    size_t step = len > 0 ? (size_t)data[0] + 1 : 1, used = 0;
    struct lunette_error err = {.code = 0};
    struct isns_in in;
    int r = 0;

    isns_in_init(&in);
    for (size_t at = 1; at < len && r >= 0; at += used) {
        size_t n = len - at < step ? len - at : step;
        uint8_t *piece = fuzz_copy(data + at, n);

        r = isns_feed(&in, piece, n, &used, &err);
        CHECK(used <= n && (r != 0 || used == n));
        free(piece);
        if (r == 1) {
            read_all(&in);
            isns_in_reset(&in);
        } else if (r == 0 && used == 0) {
            break;
        }
    }
    CHECK(r >= 0 || err.code == r);
    isns_in_reset(&in);
}
