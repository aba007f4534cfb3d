/* SPDX-License-Identifier: MIT */
/* Which field a key has is said in wire/keys.def. */
#include "wire/params.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "wire/bhs.h"
#include "wire/text.h"

static void
params_store(struct iscsi_params *p, const struct key *k, uint64_t num)
{
    char *at = (char *)p + k->field;

    if (k->type == KEY_TYPE_BOOL) {
        assert(num <= 1);
        *(bool *)(void *)at = num != 0;
    } else {
        uint32_t v = (uint32_t)num;

        assert(num <= UINT32_MAX);
        memcpy(at, &v, sizeof(v));
    }
}

static uint64_t
load(const struct iscsi_params *p, const struct key *k)
{
    const char *at = (const char *)p + k->field;
    uint32_t v;

    if (k->type == KEY_TYPE_BOOL)
        return *(const bool *)(const void *)at;
    memcpy(&v, at, sizeof(v));
    return v;
}

void
params_init(struct iscsi_params *p)
{
    memset(p, 0, sizeof(*p));
    for (int id = 0; id < KEY_COUNT; id++) {
        const struct key *k = key_get((enum key_id)id);
        struct key_value v;
        int r;

        if (k->field < 0)
            continue;
        r = key_check_offer(k, k->def, strlen(k->def), &v, NULL);
        assert(r == 0); /* the table's own default */
        (void)r;
        params_store(p, k, v.num);
    }
    p->max_xmit_dseg = p->max_recv_dseg;
}

void
params_set(struct iscsi_params *p, const struct key *k, const struct key_value *v)
{
    if (k->field < 0 || (v->outcome != KEY_AGREED && v->outcome != KEY_DECLARED))
        return;
    if (k->id == KEY_MAX_RECV_DSEG) /* RFC 7143 13.12: each side its own */
        p->max_xmit_dseg = (uint32_t)v->num;
    else if (v->num != KEY_NO_NUM)
        params_store(p, k, v->num);
}

int
params_format(const struct iscsi_params *p, const struct key *k, char *buf, size_t size)
{
    struct text_list l;
    const char *word = "";
    size_t len = 0;
    int n;

    if (k->field < 0)
        return -ENOENT;
    if (k->type == KEY_TYPE_BOOL) {
        n = snprintf(buf, size, "%s", load(p, k) != 0 ? TEXT_YES : TEXT_NO);
    } else if (k->type == KEY_TYPE_LIST) {
        text_list_init(&l, k->values, strlen(k->values));
        for (uint64_t i = 0; i <= load(p, k); i++)
            if (!text_list_next(&l, &word, &len))
                assert(false && "no such word");
        n = snprintf(buf, size, "%.*s", (int)len, word);
    } else {
        n = snprintf(buf, size, "%llu", (unsigned long long)load(p, k));
    }
    return n >= 0 && (size_t)n < size ? n : -ENOBUFS;
}

int
params_check_integrity(const struct iscsi_params *p, struct lunette_error *err)
{
    const struct key *first = key_get(KEY_FIRST_BURST);

    /* RFC 7143 13.14 */
    if (p->first_burst > p->max_burst && !key_irrelevant(first, false, p))
        return lunette_fail(err, -EPROTO, LUNETTE_DOM_PROTO, ISCSI_REJECT_PROTOCOL_ERROR,
                            "FirstBurstLength %u is larger than MaxBurstLength %u", p->first_burst,
                            p->max_burst);
    /* RFC 7143 13.19 */
    if (p->erl > 0 && p->data_sequence_in_order && p->max_outstanding_r2t != 1)
        return lunette_fail(err, -EPROTO, LUNETTE_DOM_PROTO, ISCSI_REJECT_PROTOCOL_ERROR,
                            "MaxOutstandingR2T %u with ErrorRecoveryLevel %u and "
                            "DataSequenceInOrder=Yes must be 1",
                            p->max_outstanding_r2t, p->erl);
    return 0;
}
