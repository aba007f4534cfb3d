/* SPDX-License-Identifier: MIT */
#include "target/session.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "lu/nexus.h"
#include "target/conn.h"
#include "target/instance.h"
#include "target/state/node.h"

static uint64_t
session_hash(const struct target *t, const char *initiator, const uint8_t isid[6])
{
    return hash_bytes(hash_bytes(t->hash_seed, isid, 6), initiator, strlen(initiator));
}

static struct tgt_session *
find_from(struct hnode *h, const struct tgt_node *node, const char *initiator,
          const uint8_t isid[6])
{
    for (; h != NULL; h = htab_next(h)) {
        struct tgt_session *s = container_of(h, struct tgt_session, hnode);

        if (s->node == node && memcmp(s->isid, isid, sizeof(s->isid)) == 0 &&
            strcmp(s->initiator, initiator) == 0)
            return s;
    }
    return NULL;
}

struct tgt_session *
tgt_session_find(struct target *t, const struct tgt_node *node, const char *initiator,
                 const uint8_t isid[6])
{
    return find_from(htab_find(&t->session_by_port, session_hash(t, initiator, isid)), node,
                     initiator, isid);
}

struct tgt_session *
tgt_session_find_next(struct tgt_session *s)
{
    return find_from(htab_next(&s->hnode), s->node, s->initiator, s->isid);
}

static uint16_t
new_tsih(struct target *t)
{
    uint16_t n;

    assert(t->sessions_count < TGT_TSIHS - 1);
    do {
        n = ++t->next_tsih;
    } while (n == 0 || (t->tsih_taken[n / 64] & 1ull << n % 64) != 0);
    t->tsih_taken[n / 64] |= 1ull << n % 64;
    return n;
}

struct tgt_session *
tgt_session_new(struct target *t, struct tgt_node *node, const char *initiator,
                const uint8_t isid[6])
{
    struct tgt_session *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return NULL;
    s->target = t;
    s->node = node;
    (void)strncpy(s->initiator, initiator, ISCSI_NAME_MAX);
    memcpy(s->isid, isid, sizeof(s->isid));
    s->tsih = new_tsih(t);
    s->depth = node != NULL ? node->queue_depth : TGT_QUEUE_DEPTH;
    list_init(&s->conns);
    list_init(&s->lost);
    list_init(&s->held);
    list_init(&s->cmds);
    list_init(&s->tmfs);
    s->live = true;
    htab_add(&t->session_by_port, &s->hnode, session_hash(t, s->initiator, isid));
    list_push_back(&t->sessions, &s->link);
    t->sessions_count++;
    t->stats.sessions++;
    return s;
}

void
tgt_session_add_conn(struct tgt_session *s, struct tgt_conn *c)
{
    c->sess = s;
    list_push_back(&s->conns, &c->sess_link);
    s->conns_count++;
}

struct tgt_conn *
tgt_session_conn(struct tgt_session *s, uint16_t cid)
{
    LIST_FOREACH (i, &s->conns) {
        struct tgt_conn *c = container_of(i, struct tgt_conn, sess_link);

        if (c->cid == cid)
            return c;
    }
    return NULL;
}

void
tgt_session_end(struct tgt_session *s)
{
    struct target *t = s->target;

    assert(s->live && list_empty(&s->conns) && list_empty(&s->lost) && list_empty(&s->cmds) &&
           list_empty(&s->tmfs));
    s->live = false;
    if (s->nexus != NULL)
        lu_nexus_leave(s->nexus);
    s->nexus = NULL;
    loop_timer_stop(t->loop, &s->hole);
    loop_timer_stop(t->loop, &s->fence_timer);
    t->tsih_taken[s->tsih / 64] &= ~(1ull << s->tsih % 64);
    htab_del(&t->session_by_port, &s->hnode);
    list_del(&s->link);
    list_push_back(&t->dead_sessions, &s->link);
    t->sessions_count--;
    t->stats.sessions--;
    loop_defer(t->loop, &t->reap);
}

void
tgt_session_forget(struct tgt_session *s)
{
    LIST_FOREACH_SAFE (i, &s->lost) {
        struct tgt_conn *c = container_of(i, struct tgt_conn, sess_link);

        c->ops->forget(c);
    }
}

void
tgt_session_kill(struct tgt_session *s, const char *why)
{
    tgt_session_forget(s);
    LIST_FOREACH_SAFE (i, &s->conns) {
        struct tgt_conn *c = container_of(i, struct tgt_conn, sess_link);

        c->recovers = false;
        c->asked = true; /* for the others end, too */
        tgt_conn_kill(c, why);
    }
    assert(!s->live);
}

void
tgt_format_error(struct tgt_conn *c, const char *why)
{
    if (c->sess != NULL)
        tgt_session_kill(c->sess, why);
    else
        tgt_conn_kill(c, why);
}

uint32_t
tgt_session_ttt(struct tgt_session *s)
{
    if (++s->next_ttt == ISCSI_TAG_RSVD)
        s->next_ttt = 0;
    return s->next_ttt;
}
