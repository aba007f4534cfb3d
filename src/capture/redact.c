/* SPDX-License-Identifier: MIT */
#include "capture/redact.h"

#include <string.h>

void
redact_unknown(struct redact *r)
{
    *r = (struct redact){.at = REDACT_IN_SECRET};
}

void
redact_pdu(struct redact *r, bool continued)
{
    if (continued || r->at != REDACT_IN_VALUE)
        return; /* a key or a secret without an end may go on, whatever its sender says */
    *r = (struct redact){.at = REDACT_IN_KEY};
}

/* Adds a byte to the key, of which the last REDACT_KEY bytes are kept, in capitals. */
static void
add(struct redact *r, uint8_t b)
{
    static const char *const methods[] = {"SRP_", "KRB_", "SPKM_"};

    if (r->len == REDACT_KEY) {
        memmove(r->key, r->key + 1, REDACT_KEY - 1);
        r->len--;
    }
    r->key[r->len++] = (char)(b >= 'a' && b <= 'z' ? b - 'a' + 'A' : b);
    for (unsigned i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        size_t n = strlen(methods[i]);

        r->method |= r->len >= n && memcmp(r->key + r->len - n, methods[i], n) == 0;
    }
}

static bool
is_secret(const struct redact *r)
{
    static const char *const names[] = {"CHAP_N", "CHAP_C", "CHAP_R"};

    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (r->len >= 6 && memcmp(r->key + r->len - 6, names[i], 6) == 0)
            return true;
    }
    return r->method;
}

void
redact_text(struct redact *r, const uint8_t *in, uint8_t *out, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++) {
        uint8_t b = in[i];

        out[i] = r->at == REDACT_IN_SECRET && b != '\0' ? 'x' : b;
        if (b == '\0')
            *r = (struct redact){.at = REDACT_IN_KEY};
        else if (r->at == REDACT_IN_KEY && b == '=')
            r->at = is_secret(r) ? REDACT_IN_SECRET : REDACT_IN_VALUE;
        else if (r->at == REDACT_IN_KEY)
            add(r, b);
    }
}
