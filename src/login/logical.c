/* SPDX-License-Identifier: MIT */
#include "login/logical.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wire/bhs.h"
#include "wire/chap.h"

#define LOGICAL_TEXT_START 1024u

int
logical_init(struct text_buf *b)
{
    char *mem = malloc(LOGICAL_TEXT_START);

    text_buf_init(b, mem, mem != NULL ? LOGICAL_TEXT_START : 0);
    return mem != NULL ? 0 : -ENOMEM;
}

void
logical_fini(struct text_buf *b)
{
    if (b->buf != NULL)
        chap_wipe(b->buf, b->size);
    free(b->buf);
    text_buf_init(b, NULL, 0);
}

int
logical_reserve(struct text_buf *b, size_t need, struct lunette_error *err)
{
    size_t size = b->size;
    char *mem;

    assert(size >= LOGICAL_TEXT_START && need <= LOGICAL_TEXT_MAX);
    if (need <= size)
        return 0;
    while (size < need)
        size *= 2;
    mem = malloc(size); /* not realloc, which would leave a copy of the old text behind */
    if (mem == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "out of memory");
    memcpy(mem, b->buf, b->len);
    chap_wipe(b->buf, b->size);
    free(b->buf);
    b->buf = mem;
    b->size = size;
    return 0;
}

int
logical_put(struct text_buf *b, const char *key, const char *value, size_t len,
            struct lunette_error *err)
{
    size_t need = b->len + strlen(key) + len + 2; /* '=' and NUL */
    int r;

    if (need > LOGICAL_TEXT_MAX)
        return lunette_fail(err, -EPROTO, LUNETTE_DOM_PROTO, ISCSI_REJECT_PROTOCOL_ERROR,
                            "the target asks for more answers than fit into %u bytes",
                            LOGICAL_TEXT_MAX);
    r = logical_reserve(b, need, err);
    if (r < 0)
        return r;
    r = text_put_len(b, key, value, len);
    assert(r == 0);
    return r;
}
