/* SPDX-License-Identifier: MIT */
#include "base/timerq.h"

#include <assert.h>
#include <stddef.h>

static bool
before(const struct timerq_node *a, const struct timerq_node *b)
{
    return a->when_ns != b->when_ns ? a->when_ns < b->when_ns : a->seq < b->seq;
}

/* Makes one heap of two, whose roots have no siblings; either may be NULL. */
static struct timerq_node *
meld(struct timerq_node *a, struct timerq_node *b)
{
    struct timerq_node *t;

    if (a == NULL)
        return b;
    if (b == NULL)
        return a;
    if (before(b, a)) {
        t = a;
        a = b;
        b = t;
    }
    b->next = a->child;
    if (a->child != NULL)
        a->child->prev = b;
    b->prev = a;
    a->child = b;
    return a;
}

/* Makes one heap of a list of siblings: melds them in pairs from first to last, then the pairs from
 * last to first.  It does not recurse, since lists may be long. */
static struct timerq_node *
merge_siblings(struct timerq_node *n)
{
    struct timerq_node *pairs = NULL, *root = NULL;

    while (n != NULL) {
        struct timerq_node *a = n, *b = n->next;

        n = b != NULL ? b->next : NULL;
        a->next = a->prev = NULL;
        if (b != NULL)
            b->next = b->prev = NULL;
        a = meld(a, b);
        a->next = pairs; /* the list of pairs has the last one first */
        pairs = a;
    }
    while (pairs != NULL) {
        struct timerq_node *a = pairs;

        pairs = a->next;
        a->next = NULL;
        root = meld(root, a);
    }
    return root;
}

void
timerq_add(struct timerq *q, struct timerq_node *n, uint64_t when_ns)
{
    assert(!n->queued);
    *n = (struct timerq_node){.when_ns = when_ns, .seq = q->seq++, .queued = true};
    q->root = meld(q->root, n);
}

void
timerq_del(struct timerq *q, struct timerq_node *n)
{
    struct timerq_node *sub;

    assert(n->queued);
    sub = merge_siblings(n->child);
    if (q->root == n) {
        q->root = sub;
    } else {
        if (n->prev->child == n)
            n->prev->child = n->next;
        else
            n->prev->next = n->next;
        if (n->next != NULL)
            n->next->prev = n->prev;
        q->root = meld(q->root, sub);
    }
    n->child = n->next = n->prev = NULL;
    n->queued = false;
}
