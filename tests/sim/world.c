/* SPDX-License-Identifier: MIT */
#include "tests/sim/world.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/dataplane.h"
#include "iscsi/iscsi.h"
#include "iscsi/session.h"
#include "transport/transport.h"

#define SIDS_CHECKED 32 /* sessions of a world are numbered from 1 */

static struct ipc *
make_ipc(void *user, struct loop *loop, const struct ipc_server_ops *ops, void *server,
         struct ipc_client *ret_client)
{
    struct world *w = user;

    if (ipc_delayed_new(loop, w->ipc_delay_ns, ops, server, &w->binding, ret_client) < 0)
        return NULL;
    return ipc_delayed_ipc(w->binding);
}

static void
start_target(struct world *w, const struct world_config *cfg)
{
    struct lu_config lun = {
        .kind = LU_RAM, .size = WORLD_LUN_SIZE, .block = cfg->block, .lun = 0, .wce = 1};
    struct target_node_config node = {.name = WORLD_NODE,
                                      .luns = &lun,
                                      .luns_count = 1,
                                      .set = cfg->set,
                                      .set_count = cfg->set_count};
    struct target_config tc = {.nodes = &node, .nodes_count = 1};
    struct sockaddr_in in = {.sin_family = AF_INET};
    uint64_t size = 0;
    struct sock_addr at = {.len = sizeof(in)};
    struct lunette_error err = LUNETTE_INIT(err);

    if (cfg->chap) {
        node.chap_user = "initiator";
        node.chap_secret = "a-secret-of-ours";
        node.mutual_user = "target";
        node.mutual_secret = "another-secret-1";
    }
    in.sin_addr.s_addr = htonl(0x0a000001);
    in.sin_port = htons(3260);
    memcpy(&at.ss, &in, sizeof(in));
    if (target_new(w->tloop, &tc, &w->target, &err) < 0 ||
        (cfg->rdma ? target_listen_rdma(w->target, &at, &w->portal, &err)
                   : target_listen(w->target, &at, &w->portal, &err)) < 0) {
        (void)fprintf(stderr, "world: %s\n", err.msg);
        abort();
    }
    w->disk = target_lun_memory(w->target, WORLD_NODE, 0, &size);
    assert(w->disk != NULL && size == WORLD_LUN_SIZE);
}

static void
after_turn(void *user)
{
    world_check(user);
}

static void
check_transport(const struct iscsi_session *pub)
{
    const struct session *s = (const void *)((const char *)pub - offsetof(struct session, pub));

    LIST_FOREACH (n, &s->conns) {
        const struct conn *c = container_of(n, struct conn, node);

        if (c->pub.tt->xmit_task == sw_tcp_transport.xmit_task)
            sw_tcp_check_fast(&c->pub);
        else
            assert(c->pub.tt->xmit_task == iser_transport.xmit_task && c->pub.gather.end == NULL);
    }
}

void
world_check(struct world *w)
{
    for (uint32_t sid = 1; w->ctx != NULL && sid <= SIDS_CHECKED; sid++) {
        const struct iscsi_session *s = dataplane_session(w->ctx->dp, sid);

        if (s == NULL)
            continue;
        iscsi_session_check(s);
        if (!w->rdma)
            check_transport(s);
    }
    if (w->lun == NULL)
        return;
    w->checks++;
    stack_check_fast(w->lun->s->stack);
}

void
world_new(struct world *w, uint64_t seed, const struct world_config *cfg)
{
    struct lunette_ctx_options opts = {.struct_size = sizeof(opts),
                                       .initiator_name = "iqn.2026-11.example:initiator",
                                       .trace_events = cfg->trace_events};
    struct api_hooks hooks = {.make_ipc = make_ipc, .user = w};
    struct lunette_error err = LUNETTE_INIT(err);
    char portal[64];

    memset(w, 0, sizeof(*w));
    w->ipc_delay_ns = cfg->ipc_delay_ns;
    w->sim = sim_new(seed, &cfg->net);
    w->loop = sim_loop(w->sim);
    w->tloop = cfg->apart ? sim_loop(w->sim) : w->loop;
    w->rdma = cfg->rdma;
    if (cfg->rdma)
        sim_rdma_open(w->sim, cfg->fabric);
    sim_after_turn(w->sim, after_turn, w);
    start_target(w, cfg);
    hooks.loop = w->loop;
    if (api_ctx_new(&opts, &hooks, &w->ctx, &err) < 0) {
        (void)fprintf(stderr, "world: %s\n", err.msg);
        abort();
    }
    if (cfg->rdma && transport_find(&w->ctx->registry, "iser") == NULL)
        assert(transport_register(&w->ctx->registry, &iser_transport, NULL) == 0);
    (void)snprintf(w->url, sizeof(w->url), "iscsi://%s%s/" WORLD_NODE "/0%s%s",
                   cfg->chap ? "initiator%a-secret-of-ours@" : "",
                   sock_addr_format(&w->portal, portal, sizeof(portal)), cfg->options,
                   !cfg->chap ? ""
                   : cfg->options[0] == '\0'
                       ? "?target_user=target&target_password=another-secret-1"
                       : "&target_user=target&target_password=another-secret-1");
}

struct lunette_lun *
world_open_lun(struct world *w)
{
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_lun *lun = NULL;

    if (lunette_open(w->ctx, w->url, 0, &lun, &err) < 0) {
        (void)fprintf(stderr, "world: %s\n", err.msg);
        abort();
    }
    return lun;
}

void
world_free(struct world *w)
{
    lunette_ctx_free(w->ctx);
    ipc_delayed_free(w->binding);
    target_free(w->target);
    sim_free(w->sim);
}
