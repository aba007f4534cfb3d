/* SPDX-License-Identifier: MIT */
/* control/lease.c - the leases of a session: who has which, and what the note says of them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/internal.h"

/* ---- leases --------------------------------------------------------------------------------- */

static int
lease_check(const struct control_lease *lease, struct lunette_error *err)
{
    if (lease->owner[0] != '\0' && lease->ttl_ns > 0 &&
        lease->ttl_ns <= CONTROL_LEASE_S_MAX * LOOP_NS_PER_S)
        return 0;
    return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                        "a lease has an owner's name, and a time of %d s at most",
                        CONTROL_LEASE_S_MAX);
}

static struct node_lease *
lease_of(struct node_leases *l, const char *owner)
{
    for (unsigned i = 0; i < l->n; i++) {
        if (strcmp(l->lease[i].owner, owner) == 0)
            return &l->lease[i];
    }
    return NULL;
}

int
lease_put(struct control_node *n, const struct control_lease *lease, struct lunette_error *err)
{
    struct node_leases *l = &n->leases;
    uint64_t now = n->c->loop->now_ns;
    struct node_lease *at = lease_of(l, lease->owner);
    int r = lease_check(lease, err);

    if (r < 0)
        return r;
    if (at == NULL && l->n == CONTROL_LEASES_MAX)
        return lunette_fail(err, -E2BIG, LUNETTE_DOM_USAGE, 0,
                            "a session has %d leases at most; release one first",
                            CONTROL_LEASES_MAX);
    if (at == NULL) {
        at = &l->lease[l->n++];
        *at = (struct node_lease){.told = false};
        memcpy(at->owner, lease->owner, sizeof(at->owner));
    } else if (at->ends_ns <= now) {
        at->told = false; /* it had ended, and nobody has been told yet */
    }
    at->released = false;
    at->uid = lease->uid;
    at->ttl_ns = lease->ttl_ns;
    at->ends_ns = now + lease->ttl_ns;
    return 0;
}

/* ---- life ----------------------------------------------------------------------------------- */

void
leases_init(struct control_node *n)
{
    n->leases.kept = true;
}

void
leases_clear(struct control_node *n)
{
    n->leases.n = 0;
    n->leases.over = false;
    n->leases.last[0] = '\0';
}

void
leases_stop(struct control_node *n)
{
    free(n->leases.look);
    n->leases.look = NULL;
    n->leases.has_count = false;
    n->leases.look_ns = 0;
}

void
leases_on_state(struct control_node *n)
{
    if (!n->leases.kept || n->leases.n > 0 || !list_empty(&n->waiters))
        loop_timer_start(n->c->loop, &n->leases.timer, 0);
}

/* ---- the note ------------------------------------------------------------------------------- */

void
leases_put_note(const struct control_node *n, struct control_note *note)
{
    const struct node_leases *l = &n->leases;

    note->leased = !l->kept;
    note->asker = n->asker;
    for (unsigned i = 0; i < l->n; i++) {
        struct control_note_lease *to = &note->leases[note->nleases];

        if (l->lease[i].ends_ns <= n->c->loop->now_ns)
            continue;
        memcpy(to->owner, l->lease[i].owner, sizeof(to->owner));
        to->uid = l->lease[i].uid;
        to->ttl_ns = l->lease[i].ttl_ns;
        to->ends_ns = l->lease[i].ends_ns;
        note->nleases++;
    }
}

/* A lease holds no longer than it was given for, whatever the clock was when it was written. */
static void
lease_take(struct control_node *n, const struct control_note_lease *from)
{
    struct node_leases *l = &n->leases;
    uint64_t now = n->c->loop->now_ns;
    struct node_lease *to;

    if (l->n == CONTROL_LEASES_MAX || lease_of(l, from->owner) != NULL || from->owner[0] == '\0')
        return;
    to = &l->lease[l->n++];
    *to = (struct node_lease){
        .uid = from->uid, .ttl_ns = from->ttl_ns, .ends_ns = from->ends_ns, .told = true};
    memcpy(to->owner, from->owner, sizeof(to->owner));
    if (to->ends_ns > now && to->ends_ns - now > to->ttl_ns)
        to->ends_ns = now + to->ttl_ns;
}

void
leases_take_note(struct control_node *n, const struct control_note *note)
{
    if (n->leases.known)
        return;
    if (n->wanted == CONTROL_AS_FOUND || !note->leased)
        n->leases.kept = !note->leased;
    for (unsigned i = 0; i < note->nleases; i++)
        lease_take(n, &note->leases[i]);
    if (n->asker.how == CONTROL_ASKED_UNKNOWN)
        n->asker = note->asker;
}
