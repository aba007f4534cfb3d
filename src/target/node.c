/* SPDX-License-Identifier: MIT */
#include "target/node.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hex.h"
#include "base/suggest.h"
#include "lu/lu.h"
#include "target/instance.h"
#include "target/router.h"
#include "wire/chap.h"
#include "wire/params.h"
#include "wire/text.h"

#define RECV_DSEG   262144
#define MAX_BURST   1048576
#define FIRST_BURST 262144
#define NOP_MAX_S   3600

#define PROTOCOL_ISCSI 5 /* SPC-4 7.6.1 */
#define ISCSI_LEVEL    2 /* iSCSIProtocolLevel: RFC 7144 */
#define VERSION_ISCSI  (0x0960 + ISCSI_LEVEL)

static uint64_t
name_hash(const struct target *t, const char *name)
{
    return hash_bytes(t->hash_seed, name, strlen(name));
}

struct tgt_node *
tgt_node_find(struct target *t, const char *name)
{
    struct hnode *h = htab_find(&t->node_by_name, name_hash(t, name));

    for (; h != NULL; h = htab_next(h)) {
        struct tgt_node *node = container_of(h, struct tgt_node, hnode);

        if (strcmp(node->name, name) == 0)
            return node;
    }
    return NULL;
}

/* The name of the initiator port (RFC 7143 4.4.2). */
struct lu_nexus *
tgt_node_join(struct tgt_node *node, const char *initiator, const uint8_t isid[6])
{
    char port[ISCSI_NAME_MAX + 32], hex[2 * 6 + 1];

    *hex_put(hex, isid, 6) = '\0';
    (void)snprintf(port, sizeof(port), "%s,i,0x%s", initiator, hex);
    return lu_nexus_join(&node->dev, port);
}

static int
node_bad(struct lunette_error *err, const struct target_node_config *cfg, const char *fmt,
         const char *arg)
{
    char text[160];

    (void)snprintf(text, sizeof(text), fmt, arg);
    return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "target %.100s: %s", cfg->name, text);
}

static int
open_device(struct tgt_node *node, const struct target_node_config *cfg, struct lunette_error *err)
{
    struct loop *loop = node->target->loop;
    char port[ISCSI_NAME_MAX + 16];
    const struct lu_device_config dc = {
        .name = node->name,
        .port = port,
        .protocol = PROTOCOL_ISCSI,
        .protocol_version = VERSION_ISCSI,
        .luns = cfg->luns,
        .luns_count = cfg->luns_count,
        .router = &tgt_router,
        .flusher = node->target->flusher,
        .worker = &node->target->worker,
        .log = loop->log,
        .hash_seed = node->target->hash_seed,
        .start_seed = lu_device_forgets(cfg->luns, cfg->luns_count) ? loop_random(loop) : 0,
    };
    int r;

    (void)snprintf(port, sizeof(port), "%s,t,0x%04x", node->name, TGT_TPGT);
    r = lu_device_open(&node->dev, &dc, err);
    return r < 0 ? lunette_fail_prefix(err, r, "target %.100s", cfg->name) : 0;
}

static int
node_set_secret(struct tgt_chap_secret *s, const char *user, const char *secret,
                const struct target_node_config *cfg, struct lunette_error *err)
{
    if (user == NULL || secret == NULL)
        return 0;
    if (user[0] == '\0' || strlen(user) > CHAP_NAME_MAX)
        return node_bad(err, cfg, "a CHAP user name has 1 to 255 bytes%s", "");
    s->secret_len = strlen(secret);
    if (s->secret_len == 0 || s->secret_len > CHAP_SECRET_MAX)
        return node_bad(err, cfg, "a CHAP secret has 1 to 255 bytes%s", "");
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
        KEY_MAX_CONNECTIONS,     KEY_INITIAL_R2T,
        KEY_IMMEDIATE_DATA,      KEY_MAX_RECV_DSEG,
        KEY_MAX_BURST,           KEY_FIRST_BURST,
        KEY_TIME2WAIT,           KEY_TIME2RETAIN,
        KEY_MAX_OUTSTANDING_R2T, KEY_ERROR_RECOVERY_LEVEL,
        KEY_RDMA_EXTENSIONS,     KEY_TARGET_RECV_DSEG,
        KEY_INITIATOR_RECV_DSEG, KEY_MAX_UNEXPECTED_PDUS,
    };

    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        if (k->id == ids[i])
            return true;
    }
    return false;
}

static bool
is_digest(const struct key *k)
{
    return k->id == KEY_HEADER_DIGEST || k->id == KEY_DATA_DIGEST;
}

static int
not_settable(struct lunette_error *err, const struct target_node_config *cfg, const char *name)
{
    struct suggest s = {.typed = name};
    char text[100];

    suggest_try(&s, "QueueDepth");
    suggest_try(&s, "NopInterval");
    for (unsigned id = 0; id < KEY_COUNT; id++) {
        const struct key *k = key_get((enum key_id)id);

        if (may_set(k) || is_digest(k))
            suggest_try(&s, k->name);
    }
    (void)snprintf(text, sizeof(text), "%.40s cannot be set%s%.40s%s", name,
                   s.best != NULL ? " (did you mean " : "", s.best != NULL ? s.best : "",
                   s.best != NULL ? "?)" : "");
    return node_bad(err, cfg, "%s", text);
}

static int
set_key(struct tgt_node *node, const struct target_node_config *cfg,
        const struct target_key_value *kv, struct lunette_error *err)
{
    const struct key *k = key_find(kv->key, strlen(kv->key));
    struct lunette_error why;
    struct key_value v;

    if (strcmp(kv->key, "QueueDepth") == 0) {
        if (set_number(kv->value, 1, TGT_QUEUE_MAX, &node->queue_depth) < 0)
            return node_bad(err, cfg, "QueueDepth must be 1..1024%s", "");
        return 0;
    }
    if (strcmp(kv->key, "NopInterval") == 0) {
        if (set_number(kv->value, 0, NOP_MAX_S, &node->nop_interval_s) < 0)
            return node_bad(err, cfg, "NopInterval must be 0..3600 seconds%s", "");
        return 0;
    }
    if (k != NULL && is_digest(k)) {
        if (!digests_ok(kv->value))
            return node_bad(err, cfg, "%s takes CRC32C, None, or both with a comma", kv->key);
        (void)snprintf(k->id == KEY_HEADER_DIGEST ? node->header_digests : node->data_digests,
                       sizeof(node->header_digests), "%s", kv->value);
        return 0;
    }
    if (k == NULL || !may_set(k))
        return not_settable(err, cfg, kv->key);
    if (key_check_offer(k, kv->value, strlen(kv->value), &v, &why) < 0)
        return node_bad(err, cfg, "%s", why.msg);
    if (k->id == KEY_MAX_UNEXPECTED_PDUS && v.num > TGT_UNEXPECTED_MAX)
        return node_bad(err, cfg, "%s must be 0, or 2..16", kv->key);
    if (k->irrelevant == KEY_IRR_NOT_ISER && v.num > TGT_RDMA_DSEG_MAX)
        return node_bad(err, cfg, "%s must be 512..8192", kv->key);
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
    node->params.protocol_level = ISCSI_LEVEL;
    node->params.rdma_extensions = true; /* over iSER; elsewhere the answer is No */
    node->params.target_recv_dseg = node->params.initiator_recv_dseg = TGT_RDMA_DSEG_MAX;
    node->params.max_connections = TGT_CONNS_PER_SESSION;
    node->params.max_outstanding_r2t = TGT_R2T_MAX;
    node->queue_depth = TGT_QUEUE_DEPTH;
    (void)snprintf(node->header_digests, sizeof(node->header_digests), "CRC32C,None");
    (void)snprintf(node->data_digests, sizeof(node->data_digests), "CRC32C,None");
}

int
tgt_node_redirect(struct tgt_node *node, const char *to, bool permanent, struct lunette_error *err)
{
    struct portal p;
    int r = to != NULL ? portal_parse(to, strlen(to), &p, err) : 0;

    if (r < 0)
        return r;
    node->redirect[0] = '\0';
    if (to != NULL)
        (void)portal_format(&p, node->redirect, sizeof(node->redirect));
    node->redirect_permanent = permanent;
    return 0;
}

int
tgt_node_init(struct tgt_node *node, const struct target_node_config *cfg,
              struct lunette_error *err)
{
    int r = iscsi_name_normalize(cfg->name, strlen(cfg->name), node->name, err);

    if (r < 0)
        return r;
    if (tgt_node_find(node->target, node->name) != NULL)
        return node_bad(err, cfg, "there are two targets of that name%s", "");
    htab_add(&node->target->node_by_name, &node->hnode, name_hash(node->target, node->name));
    defaults(node);
    for (uint32_t i = 0; i < cfg->set_count && r == 0; i++)
        r = set_key(node, cfg, &cfg->set[i], err);
    if (r == 0 && node->params.first_burst > node->params.max_burst)
        node->params.first_burst = node->params.max_burst;
    if (r == 0)
        r = node_set_secret(&node->chap, cfg->chap_user, cfg->chap_secret, cfg, err);
    if (r == 0)
        r = node_set_secret(&node->mutual, cfg->mutual_user, cfg->mutual_secret, cfg, err);
    if (r == 0 && node->mutual.secret_len > 0 && node->chap.secret_len == 0)
        r = node_bad(err, cfg, "a mutual CHAP secret needs a CHAP secret for initiators, too%s",
                     "");
    if (r == 0 &&
        chap_equal(node->chap.secret, node->chap.secret_len, node->mutual.secret,
                   node->mutual.secret_len) &&
        node->chap.secret_len > 0)
        r = node_bad(err, cfg, "the CHAP secrets of both directions must differ%s", "");
    if (r == 0 && cfg->alias != NULL && strlen(cfg->alias) >= sizeof(node->alias))
        r = node_bad(err, cfg, "an alias has at most 255 bytes%s", "");
    if (r == 0 && cfg->alias != NULL)
        (void)snprintf(node->alias, sizeof(node->alias), "%s", cfg->alias);
    if (r == 0 && cfg->redirect != NULL)
        r = tgt_node_redirect(node, cfg->redirect, cfg->redirect_permanent, err);
    return r < 0 ? r : open_device(node, cfg, err);
}

void
tgt_node_fini(struct tgt_node *node)
{
    lu_device_close(&node->dev);
    chap_wipe(&node->chap, sizeof(node->chap));
    chap_wipe(&node->mutual, sizeof(node->mutual));
}
