/* SPDX-License-Identifier: MIT */
/* The end of a login: it makes a session or joins one (RFC 7143 6.3). */
#include <stdio.h>
#include <string.h>

#include "target/conn.h"
#include "target/fence.h"
#include "target/hole.h"
#include "target/instance.h"
#include "target/keep.h"
#include "target/login_state.h"
#include "target/lost.h"
#include "target/node.h"
#include "target/session.h"
#include "target/tmf.h"
#include "wire/login_status.h"
#include "wire/params.h"

/* Unnamed discovery sessions through different portals live side by side (7.4.2.1). */
static bool
same_portal(const struct tgt_session *s, const struct tgt_conn *c)
{
    const struct tgt_conn *o = container_of(s->conns.next, struct tgt_conn, sess_link);

    return o->local.len == c->local.len && memcmp(&o->local.ss, &c->local.ss, c->local.len) == 0;
}

/* Makes a session of its own, after ending an older one of the same initiator port. */
static uint16_t
new_session(struct tgt_conn *c)
{
    struct tgt_login *l = c->login;
    struct target *t = c->target;
    struct tgt_session *old = tgt_session_find(t, l->node, l->initiator, l->isid), *s;

    while (old != NULL && l->node == NULL && !same_portal(old, c))
        old = tgt_session_find_next(old);
    if (old != NULL)
        tgt_session_kill(old, "the initiator logged in again");
    if (t->sessions_count >= t->sessions_max)
        return ISCSI_LOGIN_OUT_OF_RESOURCES;
    s = tgt_session_new(t, l->node, l->initiator, l->isid);
    if (s == NULL)
        return ISCSI_LOGIN_OUT_OF_RESOURCES;
    tgt_hole_init(s);
    tgt_fence_init(s);
    s->fence_answer = tgt_tmf_fence_answer;
    s->discovery = l->discovery;
    (void)snprintf(s->user, sizeof(s->user), "%s", l->user);
    s->params = l->params;
    s->exp_cmd_sn = l->cmd_sn;
    s->max_cmd_sn = s->told_max = l->cmd_sn + s->depth - 1;
    if (!l->discovery) {
        s->nexus = tgt_node_join(l->node, l->initiator, l->isid);
        if (s->nexus == NULL) { /* nobody may join a session that cannot run a command */
            tgt_session_end(s);
            return ISCSI_LOGIN_OUT_OF_RESOURCES;
        }
    }
    tgt_session_add_conn(s, c);
    return ISCSI_LOGIN_OK;
}

/* Adds the connection to the session that it names, in place of an old one with its CID. */
static uint16_t
join_session(struct tgt_conn *c)
{
    struct tgt_login *l = c->login;
    struct tgt_session *s = tgt_session_find(c->target, l->node, l->initiator, l->isid);
    uint32_t max;
    struct tgt_conn *old;

    if (s == NULL || s->tsih != l->tsih)
        return ISCSI_LOGIN_NO_SESSION;
    if (s->discovery || l->discovery || s->params.rdma_extensions != l->rdma)
        return ISCSI_LOGIN_CANNOT_INCLUDE;
    if (strcmp(s->user, l->user) != 0)
        return ISCSI_LOGIN_AUTH_FAILED; /* all connections are of one identity */
    old = tgt_session_conn(s, l->cid);
    max = s->params.max_connections + (s->params.erl == 2); /* one more, to clean up (6.3.4) */
    if (old == NULL && s->conns_count >= max)
        return ISCSI_LOGIN_TOO_MANY_CONNECTIONS;
    tgt_session_add_conn(s, c);
    if (old != NULL) {
        old->asked = true;
        old->recovers = s->params.erl == 2;
        tgt_conn_kill(old, "the initiator reinstates the connection");
    }
    old = tgt_lost_find(s, l->cid);
    if (old != NULL) { /* which logs it out (6.3.4), and tells what of it was read (11.12.9) */
        tgt_lost_logged_out(old);
        (void)tgt_keep_ack(old, l->exp_stat_sn);
    }
    return ISCSI_LOGIN_OK;
}

/* Whether the digests that the target insists on, since it does not offer None, were agreed on. */
static bool
digests_suffice(const struct tgt_conn *c)
{
    const struct tgt_login *l = c->login;
    const struct tgt_node *n = l->node;
    const char *missing = NULL;

    if (n == NULL || l->discovery || l->rdma) /* RFC 7145 6.1: whatever was set */
        return true;
    if (l->params.header_digest == ISCSI_DIGEST_NONE && strstr(n->header_digests, "None") == NULL)
        missing = "HeaderDigest";
    else if (l->params.data_digest == ISCSI_DIGEST_NONE && strstr(n->data_digests, "None") == NULL)
        missing = "DataDigest";
    if (missing != NULL)
        tgt_conn_log(c, LOG_LEVEL_WARN, "%s=CRC32C is required here, and was not agreed on",
                     missing);
    return missing == NULL;
}

/* Whether the connection may be used as it came: over RDMA a session that is no discovery speaks
 * iSER, or there is none (RFC 7145 3.3).  Hello messages are not made here (5.1.3). */
static bool
rdma_agreed(const struct tgt_conn *c)
{
    const struct tgt_login *l = c->login;
    const char *why = NULL;

    if (!l->rdma)
        return true;
    if (l->leading && !l->discovery && !l->params.rdma_extensions)
        why = "RDMAExtensions=Yes was not agreed on";
    else if (l->params.iser_hello_required)
        why = "the initiator asks for Hello messages (iSERHelloRequired=Yes), which are not made "
              "here";
    if (why != NULL)
        tgt_conn_log(c, LOG_LEVEL_WARN, "a login over iSER: %s", why);
    return why == NULL;
}

/* How long the data of PDUs may be, either way. */
static void
agree_on_lengths(struct tgt_conn *c)
{
    const struct tgt_login *l = c->login;
    struct iscsi_params *p = &c->params;

    if (!l->rdma) {
        p->max_recv_dseg = l->node != NULL ? l->node->params.max_recv_dseg : ISCSI_LOGIN_DSEG_MAX;
        return;
    }
    p->max_recv_dseg = l->discovery ? TGT_RDMA_DSEG_MAX : p->target_recv_dseg;
    p->max_xmit_dseg = l->discovery ? TGT_RDMA_DSEG_MAX : p->initiator_recv_dseg;
}

uint16_t
tgt_login_session(struct tgt_conn *c)
{
    struct tgt_login *l = c->login;
    uint16_t status;

    if (l->params.first_burst > l->params.max_burst)
        l->params.first_burst = l->params.max_burst;
    if (params_check_integrity(&l->params, NULL) < 0 || !digests_suffice(c) || !rdma_agreed(c))
        return ISCSI_LOGIN_BAD_REQUEST;
    status = l->tsih == 0 ? new_session(c) : join_session(c);
    c->params = l->params;
    agree_on_lengths(c);
    return status;
}
