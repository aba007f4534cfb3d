/* SPDX-License-Identifier: MIT */
/* A target as initiators name it: its LUs, its secrets, what it negotiates, and which initiator
 * ports it has seen. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "target/session.h"
#include "wire/chap.h"
#include "wire/lun.h"

#define RECV_DSEG   262144
#define MAX_BURST   1048576
#define FIRST_BURST 262144
#define NOP_MAX_S   3600

struct tgt_node *
tgt_node_find(struct target *t, const char *name)
{
    for (uint32_t i = 0; i < t->nodes_count; i++) {
        if (strcmp(t->nodes[i].name, name) == 0)
            return &t->nodes[i];
    }
    return NULL;
}

struct tgt_lu *
tgt_lu_find(const struct tgt_node *node, const uint8_t lun[8])
{
    uint32_t low = 0, high = node->lus_count;
    uint64_t number;

    if (lun_to_number(lun_load(lun), &number) < 0)
        return NULL;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;

        if (node->lus[mid].number == number)
            return &node->lus[mid];
        if (node->lus[mid].number < number)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

uint64_t
tgt_port_hash(const struct target *t, const char *name, const uint8_t isid[6])
{
    return hash_bytes(hash_bytes(t->hash_seed, isid, 6), name, strlen(name));
}

struct tgt_nexus *
tgt_nexus_find(struct tgt_node *node, const char *name, const uint8_t isid[6])
{
    struct hnode *h = htab_find(&node->nexus_by_port, tgt_port_hash(node->target, name, isid));

    for (; h != NULL; h = htab_next(h)) {
        struct tgt_nexus *n = container_of(h, struct tgt_nexus, hnode);

        if (memcmp(n->isid, isid, sizeof(n->isid)) == 0 && strcmp(n->name, name) == 0)
            return n;
    }
    return NULL;
}

static void
nexus_free(struct tgt_nexus *n)
{
    htab_del(&n->node->nexus_by_port, &n->hnode);
    list_del(&n->link);
    free(n->ua);
    free(n);
}

static struct tgt_nexus *
nexus_new(struct tgt_node *node, const char *name, const uint8_t isid[6])
{
    struct tgt_nexus *n = calloc(1, sizeof(*n));

    if (n != NULL)
        n->ua = calloc(node->lus_count + 1, sizeof(*n->ua));
    if (n == NULL || n->ua == NULL) {
        free(n);
        return NULL;
    }
    n->node = node;
    (void)strncpy(n->name, name, ISCSI_NAME_MAX);
    memcpy(n->isid, isid, sizeof(n->isid));
    htab_add(&node->nexus_by_port, &n->hnode, tgt_port_hash(node->target, name, isid));
    for (uint32_t i = 0; i < node->lus_count; i++)
        tgt_ua_set(n, &node->lus[i], TGT_UA_POWER_ON);
    return n;
}

struct tgt_nexus *
tgt_nexus_get(struct tgt_node *node, const char *name, const uint8_t isid[6])
{
    struct tgt_nexus *n = tgt_nexus_find(node, name, isid);

    if (n == NULL) {
        n = nexus_new(node, name, isid);
        if (n == NULL)
            return NULL;
    } else {
        assert(!n->live); /* an older session of the port has been ended */
        list_del(&n->link);
        node->away_count--;
    }
    n->live = true;
    list_push_front(&node->nexuses, &n->link);
    return n;
}

void
tgt_nexus_leave(struct tgt_nexus *n)
{
    struct tgt_node *node = n->node;

    assert(n->live);
    n->live = false;
    list_del(&n->link);
    list_push_front(&node->away, &n->link);
    if (++node->away_count <= TGT_NEXUSES_MAX)
        return;
    node->away_count--;
    nexus_free(container_of(node->away.prev, struct tgt_nexus, link)); /* away longest */
}

static int
bad(struct lunette_error *err, const struct target_node_config *cfg, const char *fmt,
    const char *arg)
{
    char text[160];

    (void)snprintf(text, sizeof(text), fmt, arg);
    return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "target %.100s: %s", cfg->name, text);
}

static uint64_t
fnv1a(uint64_t h, const char *text)
{
    for (; *text != '\0'; text++)
        h = (h ^ (uint8_t)*text) * 0x100000001b3ull;
    return h;
}

/* Serial number and NAA 6 name: the same for the same target name and LUN in every run.  The
 * company part has the locally administered bit of an OUI set. */
static void
identify(struct tgt_lu *lu, const char *serial)
{
    char tail[TARGET_SERIAL_MAX + 16];
    uint64_t a, b;

    (void)snprintf(tail, sizeof(tail), "/%u/%s", lu->number, serial);
    a = fnv1a(fnv1a(0xcbf29ce484222325ull, lu->node->name), tail);
    b = fnv1a(fnv1a(a, tail), lu->node->name);
    if (serial[0] != '\0')
        (void)snprintf(lu->serial, sizeof(lu->serial), "%s", serial);
    else
        (void)snprintf(lu->serial, sizeof(lu->serial), "%016llx", (unsigned long long)a);
    st_be64(lu->naa, a);
    st_be64(lu->naa + 8, b);
    lu->naa[0] = 0x60;
    lu->naa[1] = 0x25;
}

static int
by_number(const void *a, const void *b)
{
    const struct tgt_lu *x = a, *y = b;

    return x->number < y->number ? -1 : x->number > y->number;
}

static bool
number_taken(const struct target_node_config *cfg, const struct tgt_node *node, uint32_t upto,
             int32_t n)
{
    for (uint32_t i = 0; i < cfg->luns_count; i++) {
        if (cfg->luns[i].lun == n)
            return true;
    }
    for (uint32_t i = 0; i < upto; i++) {
        if (node->lus[i].number == (uint32_t)n)
            return true;
    }
    return false;
}

static int
open_luns(struct tgt_node *node, const struct target_node_config *cfg, struct lunette_error *err)
{
    int32_t next = 0;

    if (cfg->luns_count > TARGET_LUNS_MAX)
        return bad(err, cfg, "too many LUNs%s", "");
    node->lus = calloc(cfg->luns_count + 1, sizeof(*node->lus));
    if (node->lus == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < cfg->luns_count; i++) {
        struct tgt_lu *lu = &node->lus[i];
        int r;

        lu->node = node;
        r = tgt_lu_open(lu, &cfg->luns[i], node->target->loop, err);
        node->lus_count++;
        if (r < 0)
            return lunette_fail_prefix(err, r, "target %.100s", cfg->name);
        while (cfg->luns[i].lun < 0 && number_taken(cfg, node, i, next))
            next++;
        lu->number = (uint32_t)(cfg->luns[i].lun < 0 ? next++ : cfg->luns[i].lun);
        for (uint32_t k = 0; k < i; k++) {
            if (node->lus[k].number == lu->number)
                return bad(err, cfg, "two LUNs have the same number%s", "");
        }
        identify(lu, cfg->luns[i].serial);
    }
    qsort(node->lus, node->lus_count, sizeof(*node->lus), by_number);
    for (uint32_t i = 0; i < node->lus_count; i++) {
        node->lus[i].index = i;
        list_init(&node->lus[i].tasks); /* they have moved */
    }
    return 0;
}

static int
set_secret(struct tgt_chap_secret *s, const char *user, const char *secret,
           const struct target_node_config *cfg, struct lunette_error *err)
{
    if (user == NULL || secret == NULL)
        return 0;
    if (user[0] == '\0' || strlen(user) > CHAP_NAME_MAX)
        return bad(err, cfg, "a CHAP user name has 1 to 255 bytes%s", "");
    s->secret_len = strlen(secret);
    if (s->secret_len == 0 || s->secret_len > CHAP_SECRET_MAX)
        return bad(err, cfg, "a CHAP secret has 1 to 255 bytes%s", "");
    (void)snprintf(s->user, sizeof(s->user), "%s", user);
    memcpy(s->secret, secret, s->secret_len);
    return 0;
}

/* A list of digests: a choice of CRC32C and None. */
static bool
digests_ok(const char *value)
{
    struct text_list l;
    const char *item;
    size_t len;

    text_list_init(&l, value, strlen(value));
    while (text_list_next(&l, &item, &len)) {
        if (!text_is(item, len, "CRC32C") && !text_is(item, len, "None"))
            return false;
    }
    return strlen(value) < 32;
}

static int
set_number(const char *value, uint64_t min, uint64_t max, uint32_t *ret)
{
    uint64_t n;

    if (text_parse_num(value, strlen(value), &n) < 0 || n < min || n > max)
        return -EINVAL;
    *ret = (uint32_t)n;
    return 0;
}

/* Keys that --set may change: those whose answer is ours to choose. */
static bool
may_set(const struct key *k)
{
    static const enum key_id ids[] = {
        KEY_MAX_CONNECTIONS, KEY_INITIAL_R2T, KEY_IMMEDIATE_DATA,
        KEY_MAX_RECV_DSEG,   KEY_MAX_BURST,   KEY_FIRST_BURST,
        KEY_TIME2WAIT,       KEY_TIME2RETAIN, KEY_MAX_OUTSTANDING_R2T,
    };

    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        if (k->id == ids[i])
            return true;
    }
    return false;
}

static int
set_key(struct tgt_node *node, const struct target_node_config *cfg,
        const struct target_key_value *kv, struct lunette_error *err)
{
    const struct key *k = key_find(kv->key, strlen(kv->key));
    struct key_value v;

    if (strcmp(kv->key, "QueueDepth") == 0) {
        if (set_number(kv->value, 1, TGT_QUEUE_MAX, &node->queue_depth) < 0)
            return bad(err, cfg, "QueueDepth must be 1..1024%s", "");
        return 0;
    }
    if (strcmp(kv->key, "NopInterval") == 0) {
        if (set_number(kv->value, 0, NOP_MAX_S, &node->nop_interval_s) < 0)
            return bad(err, cfg, "NopInterval must be 0..3600 seconds%s", "");
        return 0;
    }
    if (k != NULL && (k->id == KEY_HEADER_DIGEST || k->id == KEY_DATA_DIGEST)) {
        if (!digests_ok(kv->value))
            return bad(err, cfg, "%s takes CRC32C, None, or both with a comma", kv->key);
        (void)snprintf(k->id == KEY_HEADER_DIGEST ? node->header_digests : node->data_digests,
                       sizeof(node->header_digests), "%s", kv->value);
        return 0;
    }
    if (k == NULL || !may_set(k))
        return bad(err, cfg, "%s cannot be set", kv->key);
    if (key_check_offer(k, kv->value, strlen(kv->value), &v, err) < 0)
        return lunette_fail_prefix(err, -EINVAL, "target %.100s", cfg->name);
    v.outcome = KEY_AGREED;
    if (k->id == KEY_MAX_RECV_DSEG)
        node->params.max_recv_dseg = (uint32_t)v.num;
    else
        params_set(&node->params, k, &v);
    return 0;
}

static void
defaults(struct tgt_node *node)
{
    params_init(&node->params);
    node->params.max_recv_dseg = RECV_DSEG;
    node->params.max_burst = MAX_BURST;
    node->params.first_burst = FIRST_BURST;
    node->params.initial_r2t = false;
    node->params.max_connections = TGT_CONNS_PER_SESSION;
    node->params.max_outstanding_r2t = TGT_R2T_MAX;
    node->queue_depth = TGT_QUEUE_DEPTH;
    (void)snprintf(node->header_digests, sizeof(node->header_digests), "CRC32C,None");
    (void)snprintf(node->data_digests, sizeof(node->data_digests), "CRC32C,None");
}

int
tgt_node_init(struct tgt_node *node, const struct target_node_config *cfg,
              struct lunette_error *err)
{
    int r = iscsi_name_normalize(cfg->name, strlen(cfg->name), node->name, err);

    list_init(&node->nexuses);
    list_init(&node->away);
    htab_init(&node->nexus_by_port);
    if (r < 0)
        return r;
    if (tgt_node_find(node->target, node->name) != node)
        return bad(err, cfg, "there are two targets of that name%s", "");
    defaults(node);
    for (uint32_t i = 0; i < cfg->set_count && r == 0; i++)
        r = set_key(node, cfg, &cfg->set[i], err);
    if (r == 0 && node->params.first_burst > node->params.max_burst)
        node->params.first_burst = node->params.max_burst;
    if (r == 0)
        r = set_secret(&node->chap, cfg->chap_user, cfg->chap_secret, cfg, err);
    if (r == 0)
        r = set_secret(&node->mutual, cfg->mutual_user, cfg->mutual_secret, cfg, err);
    if (r == 0 && node->mutual.secret_len > 0 && node->chap.secret_len == 0)
        r = bad(err, cfg, "a mutual CHAP secret needs a CHAP secret for initiators, too%s", "");
    if (r == 0 &&
        chap_equal(node->chap.secret, node->chap.secret_len, node->mutual.secret,
                   node->mutual.secret_len) &&
        node->chap.secret_len > 0)
        r = bad(err, cfg, "the CHAP secrets of both directions must differ%s", "");
    if (r == 0 && cfg->alias != NULL)
        (void)snprintf(node->alias, sizeof(node->alias), "%s", cfg->alias);
    if (r == 0 && cfg->redirect != NULL) {
        struct portal p;

        r = portal_parse(cfg->redirect, strlen(cfg->redirect), &p, err);
        if (r == 0)
            (void)portal_format(&p, node->redirect, sizeof(node->redirect));
        node->redirect_permanent = cfg->redirect_permanent;
    }
    return r < 0 ? r : open_luns(node, cfg, err);
}

void
tgt_node_fini(struct tgt_node *node)
{
    if (node->nexuses.next != NULL) { /* else tgt_node_init was never called */
        while (!list_empty(&node->nexuses))
            nexus_free(container_of(node->nexuses.next, struct tgt_nexus, link));
        while (!list_empty(&node->away))
            nexus_free(container_of(node->away.next, struct tgt_nexus, link));
        htab_fini(&node->nexus_by_port);
    }
    for (uint32_t i = 0; i < node->lus_count; i++)
        tgt_lu_close(&node->lus[i]);
    free(node->lus);
    chap_wipe(&node->chap, sizeof(node->chap));
    chap_wipe(&node->mutual, sizeof(node->mutual));
}
