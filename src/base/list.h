/* SPDX-License-Identifier: MIT */
/* base/list.h - an intrusive, circular, doubly linked list.
 *
 * A list is a struct list that is its head, and one struct list in each member.  Both
 * are initialized with list_init before use.
 */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

struct list {
    struct list *next, *prev;
};

static inline void
list_init(struct list *l)
{
    l->next = l->prev = l;
}

static inline bool
list_empty(const struct list *l)
{
    return l->next == l;
}

static inline void
list_add_between(struct list *n, struct list *prev, struct list *next)
{
    n->prev = prev;
    n->next = next;
    prev->next = n;
    next->prev = n;
}

static inline void
list_push_back(struct list *head, struct list *n)
{
    list_add_between(n, head->prev, head);
}

static inline void
list_push_front(struct list *head, struct list *n)
{
    list_add_between(n, head, head->next);
}

/* Removes n and leaves it pointing to itself, so that removing it twice does no harm, and
 * list_empty(n) tells whether n is in no list. */
static inline void
list_del(struct list *n)
{
    n->prev->next = n->next;
    n->next->prev = n->prev;
    list_init(n);
}

/* Removes the first member and returns it, or NULL when the list is empty. */
static inline struct list *
list_pop_front(struct list *head)
{
    struct list *n = head->next;

    if (n == head)
        return NULL;
    list_del(n);
    return n;
}

/* Moves all of `from` to the end of `to`. */
static inline void
list_splice(struct list *to, struct list *from)
{
    if (list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

/* The body of LIST_FOREACH may not remove pos.  The body of LIST_FOREACH_SAFE may remove and free
 * pos, but not the member after it. */
#define LIST_FOREACH(pos, head)                                                                    \
    for (struct list *pos = (head)->next; pos != (head); pos = pos->next)
#define LIST_FOREACH_SAFE(pos, head)                                                               \
    for (struct list *pos = (head)->next, *pos##_next = pos->next; pos != (head);                  \
         pos = pos##_next, pos##_next = pos->next)

#endif
