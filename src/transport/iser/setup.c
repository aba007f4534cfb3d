/* SPDX-License-Identifier: MIT */
/* transport/iser/setup.c - the memory of an endpoint: made when a connection is bound, and gone
 * when it is closed.
 *
 * What a login needs is one region of a megabyte or so, of which the peer sees nothing.  What
 * commands need is made when full feature phase begins.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "transport/iser/internal.h"

static int
setup_no_memory(struct lunette_error *err)
{
    return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM,
                        "no memory for the messages of an iSER connection");
}

/* Slots, text slots, receives: in this order in one piece. */
static void
lay_out_arena(struct iser_ep *e)
{
    uint8_t *at = e->arena;

    for (uint32_t i = 0; i < e->ntx; i++, at += ISER_TX_BYTES) {
        e->tx[i].hdr = at;
        e->free_tx[e->nfree_tx++] = i;
    }
    for (e->ntext = 0; e->ntext < ISER_TEXTS; e->ntext++, at += ISER_DSEG_MAX)
        e->text[e->ntext] = at;
    for (uint32_t i = 0; i < e->nrx; i++, at += ISER_RECV_BYTES) {
        e->rx[i].msg = at;
        e->back[e->nback++] = i;
    }
}

/* How many commands are out at a time: no more than there are receives for their answers (RFC 7145
 * 5.1.3).  With fewer places to send than that all of them go, too, but some wait for a moment. */
static uint32_t
commands_at_a_time(const struct iser_ep *e, uint32_t cmds_max)
{
    uint32_t most = cmds_max < ISER_CMDS_MAX ? cmds_max : ISER_CMDS_MAX;

    assert(e->caps.recvs > ISER_RECV_EXTRA);
    if (most <= e->caps.recvs - ISER_RECV_EXTRA)
        return most;
    log_line(e->pub->loop->log, LOG_LEVEL_INFO,
             "iser: the RDMA device %s has queues of %u requests, so that %u commands go at a time "
             "and not %u",
             e->caps.device, e->caps.recvs, e->caps.recvs - ISER_RECV_EXTRA, most);
    return e->caps.recvs - ISER_RECV_EXTRA;
}

int
iser_setup_login(struct iser_ep *e, uint32_t cmds_max, struct lunette_error *err)
{
    size_t bytes;

    e->limit = commands_at_a_time(e, cmds_max);
    e->ntx = e->limit + ISER_TX_EXTRA;
    e->nrx = e->limit + ISER_RECV_EXTRA;
    e->tx = calloc(e->ntx, sizeof(e->tx[0]));
    e->free_tx = calloc(e->ntx, sizeof(e->free_tx[0]));
    e->sent = calloc(e->ntx, sizeof(e->sent[0]));
    e->rx = calloc(e->nrx, sizeof(e->rx[0]));
    e->back = calloc(e->nrx, sizeof(e->back[0]));
    bytes = (size_t)e->ntx * ISER_TX_BYTES + (size_t)ISER_TEXTS * ISER_DSEG_MAX +
            (size_t)e->nrx * ISER_RECV_BYTES;
    bytes = (bytes + ISER_PAGE - 1) / ISER_PAGE * ISER_PAGE;
    e->arena = aligned_alloc(ISER_PAGE, bytes);
    if (e->tx == NULL || e->free_tx == NULL || e->sent == NULL || e->rx == NULL ||
        e->back == NULL || e->arena == NULL)
        return setup_no_memory(err);
    memset(e->arena, 0, bytes);
    lay_out_arena(e);
    return rnic_reg(e->rnic, e->arena, bytes, 0, &e->arena_mr, err);
}

int
iser_make_windows(struct iser_ep *e, uint32_t want, struct lunette_error *err)
{
    const uint32_t most = ISER_CMDS_MAX + ISER_WINDOWS_MIN;
    int r = 0;

    if (e->mw == NULL)
        e->mw = calloc(most, sizeof(e->mw[0]));
    if (e->mw == NULL)
        return setup_no_memory(err);
    assert(want <= most && e->nfree_mw == e->nmw);
    while (e->nmw < want && (r = rnic_mw_new(e->rnic, &e->mw[e->nmw], err)) == 0)
        e->nmw++;
    e->nfree_mw = e->nmw;
    return r;
}

/* A pool of the size that was asked for, or else the largest that can be had: what is in the way is
 * mostly the limit of locked memory, and with less of it fewer commands go at a time. */
static int
setup_pool(struct iser_ep *e, struct lunette_error *err)
{
    uint32_t bytes = e->options.pool != 0 ? e->options.pool : ISER_POOL_DEFAULT;
    struct lunette_error why = {.code = 0};
    int r;

    for (;;) {
        r = iser_pool_init(&e->pool, bytes);
        if (r == 0)
            r = rnic_reg(e->rnic, e->pool.base, bytes, iser_access(e), &e->pool_mr, &why);
        else
            (void)setup_no_memory(&why);
        if (r == 0)
            break;
        iser_pool_fini(&e->pool);
        if (e->options.pool != 0 || bytes == ISER_POOL_MIN)
            return lunette_fail_as(err, &why);
        bytes /= 2;
    }
    if (bytes < ISER_POOL_DEFAULT && e->options.pool == 0)
        log_line(e->pub->loop->log, LOG_LEVEL_INFO,
                 "iser: the pool of this connection has only %u KiB: %s", bytes >> 10, why.msg);
    return 0;
}

int
iser_setup_commands(struct iser_ep *e, struct lunette_error *err)
{
    struct lunette_error why = {.code = 0};
    int r = setup_pool(e, err);

    if (r < 0)
        return r;
    if (e->way == ISER_WAY_WINDOW && iser_make_windows(e, e->limit + 1, &why) < 0)
        log_line(e->pub->loop->log, LOG_LEVEL_INFO,
                 "iser: this connection has only %u memory windows, and so many commands at a "
                 "time: %s",
                 e->nmw, why.msg);
    iser_mem_register(e);
    return 0;
}

void
iser_close(struct iser_ep *e)
{
    if (e->rnic != NULL)
        rnic_close(e->rnic); /* the fence; regions and windows are gone with it */
    e->rnic = NULL;
    e->arena_mr = e->pool_mr = NULL;
    memset(e->mem, 0, sizeof(e->mem));
    list_del(&e->session_node);
    iser_pool_fini(&e->pool);
    free(e->arena);
    free(e->tx);
    free(e->free_tx);
    free(e->sent);
    free(e->rx);
    free(e->back);
    free(e->mw);
    e->arena = NULL;
    e->tx = NULL;
    e->free_tx = e->sent = e->back = NULL;
    e->rx = NULL;
    e->mw = NULL;
    e->nfree_tx = e->nsent = e->nback = e->nmw = e->nfree_mw = e->ntext = e->posted = 0;
    list_init(&e->came);
}
