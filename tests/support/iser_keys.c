/* SPDX-License-Identifier: MIT */
#include "tests/support/iser_keys.h"

#include <string.h>

#include "iscsi/task.h"
#include "wire/iser.h"

static void
key_del(struct iser_keys *k, uint32_t i)
{
    k->key[i] = k->key[--k->count];
}

static void
key_put(struct iser_keys *k, uint32_t conn, uint32_t itt, uint32_t stag)
{
    if (k->count == ISER_KEYS_MAX) {
        memmove(k->key, k->key + 1, (ISER_KEYS_MAX - 1) * sizeof(k->key[0]));
        k->count--;
    }
    k->key[k->count++] = (struct iser_key){conn, itt, stag};
}

void
iser_keys_sent(struct iser_keys *k, uint32_t conn, const uint8_t *msg, uint32_t len)
{
    const struct iser_hdr *h = (const void *)msg;
    uint32_t itt;

    if (len < ISER_HDRS_LEN)
        return;
    itt = ld_be32(msg + ISER_LEN + offsetof(struct bhs, itt));
    if (h->flags & ISER_WSV)
        key_put(k, conn, itt, get32(h->write_stag));
    if (h->flags & ISER_RSV)
        key_put(k, conn, itt, get32(h->read_stag));
}

void
iser_keys_closed(struct iser_keys *k, uint32_t conn)
{
    for (uint32_t i = k->count; i-- > 0;) {
        if (k->key[i].conn == conn)
            key_del(k, i);
    }
}

static bool
is_running(const struct iscsi_session *s, uint32_t itt)
{
    uint32_t slot = itt & ((1u << ISCSI_SLOT_BITS) - 1);
    const struct iscsi_task *t;

    if (slot >= s->tasks.made)
        return false;
    t = iscsi_task_in(&s->tasks, slot);
    return t->state != ISCSI_TASK_FREE && t->itt == itt;
}

bool
iser_keys_check(struct iser_keys *k, const struct sim *sim,
                const struct iscsi_session *const *sessions, uint32_t n, uint32_t *ret_itt)
{
    for (uint32_t i = k->count; i-- > 0;) {
        const struct iser_key *key = &k->key[i];
        bool running = false;

        for (uint32_t j = 0; j < n && !running; j++)
            running = is_running(sessions[j], key->itt);
        if (running)
            continue;
        if (sim_rdma_key_is_open(sim, key->conn, SIM_RDMA_TO_SERVER, key->stag)) {
            *ret_itt = key->itt;
            return false;
        }
        key_del(k, i);
    }
    return true;
}
