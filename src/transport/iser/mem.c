/* SPDX-License-Identifier: MIT */
/* transport/iser/mem.c - memory that the application has registered: a short table, sorted by
 * address, each range of which the device of each connection knows. */
#include <assert.h>
#include <errno.h>

#include "transport/iser/internal.h"

unsigned
iser_access(const struct iser_ep *e)
{
    return e->way == ISER_WAY_WINDOW ? (unsigned)RNIC_WINDOWS
                                     : (unsigned)(RNIC_PEER_READS | RNIC_PEER_WRITES);
}

/* The first range that ends behind addr; nmem: none does. */
static uint32_t
mem_index(const struct iser_session *s, const char *addr)
{
    uint32_t from = 0, to = s->nmem;

    while (from < to) {
        uint32_t mid = (from + to) / 2;

        if ((uintptr_t)addr >= (uintptr_t)s->mem[mid].addr + s->mem[mid].len)
            from = mid + 1;
        else
            to = mid;
    }
    return from;
}

const struct rnic_mr *
iser_mem_find(const struct iser_ep *e, const void *addr, size_t len)
{
    const struct iser_session *s = e->session;
    const struct iser_mem *m;
    uint32_t i;

    if (s->nmem == 0)
        return NULL;
    i = mem_index(s, addr);
    if (i == s->nmem || e->mem[i] == NULL)
        return NULL;
    m = &s->mem[i];
    return (uintptr_t)addr >= (uintptr_t)m->addr &&
                   len <= m->len - ((uintptr_t)addr - (uintptr_t)m->addr)
               ? e->mem[i]
               : NULL;
}

static void
mem_insert(struct iser_session *s, uint32_t i, char *addr, size_t len)
{
    memmove(&s->mem[i + 1], &s->mem[i], (s->nmem - i) * sizeof(s->mem[0]));
    s->mem[i] = (struct iser_mem){addr, len};
    LIST_FOREACH (n, &s->eps) {
        struct iser_ep *e = container_of(n, struct iser_ep, session_node);

        memmove(&e->mem[i + 1], &e->mem[i], (s->nmem - i) * sizeof(e->mem[0]));
        e->mem[i] = NULL;
    }
    s->nmem++;
}

static void
mem_delete(struct iser_session *s, uint32_t i)
{
    s->nmem--;
    memmove(&s->mem[i], &s->mem[i + 1], (s->nmem - i) * sizeof(s->mem[0]));
    LIST_FOREACH (n, &s->eps) {
        struct iser_ep *e = container_of(n, struct iser_ep, session_node);

        if (e->mem[i] != NULL)
            rnic_dereg(e->rnic, e->mem[i]);
        memmove(&e->mem[i], &e->mem[i + 1], (s->nmem - i) * sizeof(e->mem[0]));
        e->mem[s->nmem] = NULL;
    }
}

int
iser_mem_add(struct iscsi_session *pub, void *addr, size_t len, struct lunette_error *err)
{
    struct iser_session *s = pub->dd_data;
    uint32_t i = mem_index(s, addr);
    int r = 0;

    if (len == 0 || (uintptr_t)addr > UINTPTR_MAX - len ||
        (i < s->nmem && (uintptr_t)s->mem[i].addr < (uintptr_t)addr + len))
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "this memory is empty, or some of it is registered already");
    if (s->nmem == ISER_MEM_MAX)
        return lunette_fail(err, -ENOSPC, LUNETTE_DOM_USAGE, 0,
                            "iSER keeps at most %u ranges of registered memory", ISER_MEM_MAX);
    mem_insert(s, i, addr, len);
    LIST_FOREACH (n, &s->eps) {
        struct iser_ep *e = container_of(n, struct iser_ep, session_node);

        if (iser_ep_works(e))
            r = rnic_reg(e->rnic, addr, len, iser_access(e), &e->mem[i], err);
        if (r < 0)
            break;
    }
    if (r < 0)
        mem_delete(s, i);
    return r;
}

void
iser_mem_remove(struct iscsi_session *pub, void *addr, size_t len)
{
    struct iser_session *s = pub->dd_data;
    uint32_t i = mem_index(s, addr);

    assert(i < s->nmem && s->mem[i].addr == addr && s->mem[i].len == len);
    mem_delete(s, i);
}

void
iser_mem_register(struct iser_ep *e)
{
    struct iser_session *s = e->session;
    struct lunette_error err = {.code = 0};

    for (uint32_t i = 0; i < s->nmem; i++) {
        if (e->mem[i] == NULL && rnic_reg(e->rnic, s->mem[i].addr, s->mem[i].len, iser_access(e),
                                          &e->mem[i], &err) < 0) {
            e->mem[i] = NULL;
            log_line(e->pub->loop->log, LOG_LEVEL_WARN,
                     "iser: registered memory cannot be used directly on this connection, and is "
                     "copied: %s",
                     err.msg);
        }
    }
}
