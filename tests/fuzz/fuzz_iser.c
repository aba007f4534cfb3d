/* SPDX-License-Identifier: MIT */
/* fuzz_iser.c - a message as it came into a receive: iSER header, PDU, Hello, HelloReply.
 *
 * The first byte chooses the side and what is expected, the rest is the message.  Whatever comes,
 * it is refused with a sentence, or all that it says lies within it.
 */
#include <errno.h>

#include "fuzz.h"
#include "wire/iser.h"

static void
one_pdu(const uint8_t *p, uint32_t n, enum pdu_side side)
{
    struct lunette_error err = {0};
    struct iser_pdu pdu;
    struct iser_hdr again;
    unsigned sum = 0;

    if (iser_take(p, n, side, ISER_DSEG_MAX, &pdu, &err) < 0) {
        CHECK(err.msg[0] != '\0' && err.code == -EPROTO);
        fuzz_check_text(err.msg, sizeof(err.msg));
        return;
    }
    CHECK(n >= ISER_HDRS_LEN && (const uint8_t *)pdu.hdr == p + ISER_LEN);
    CHECK(pdu.data >= p + ISER_HDRS_LEN && pdu.data + pdu.data_len <= p + n);
    CHECK(pdu.data_len <= ISER_DSEG_MAX && p + n - (pdu.data + pdu.data_len) < 4);
    for (uint32_t i = 0; i < pdu.data_len; i++)
        sum += pdu.data[i];
    CHECK(sum < UINT32_MAX);
    if (side == PDU_FROM_TARGET)
        CHECK(!pdu.has_read && !pdu.has_write && pdu.hdr->ahs_words == 0);
    /* what was understood can be said again */
    iser_put(&again, pdu.has_write ? &pdu.write : NULL, pdu.has_read ? &pdu.read : NULL);
    CHECK(again.flags == (p[0] & ~0x03u));
    if (pdu.has_write)
        CHECK(memcmp(&again.write_stag, p + 4, 12) == 0);
    if (pdu.has_read)
        CHECK(memcmp(&again.read_stag, p + 16, 12) == 0);
}

static void
one_hello(const uint8_t *p, uint32_t n, bool reply)
{
    struct lunette_error err = {0};
    uint16_t depth = 0;
    int r =
        reply ? iser_take_hello_reply(p, n, 16, &depth, &err) : iser_take_hello(p, n, &depth, &err);

    if (r == 0)
        CHECK(n == ISER_LEN && (!reply || depth <= 16));
    else
        fuzz_check_text(err.msg, sizeof(err.msg));
}

void
fuzz_one(const uint8_t *data, size_t len)
{
    uint8_t *p;
    uint32_t n;

    if (len == 0 || len > 65536)
        return;
    n = (uint32_t)len - 1;
    p = fuzz_copy(data + 1, n);
    switch (data[0] % 4) {
    case 0:
        one_pdu(p, n, PDU_FROM_TARGET);
        break;
    case 1:
        one_pdu(p, n, PDU_FROM_INITIATOR);
        break;
    case 2:
        one_hello(p, n, false);
        break;
    default:
        one_hello(p, n, true);
        break;
    }
    (void)iser_private_send_inv(p, n);
    free(p);
}
