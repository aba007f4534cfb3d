/* SPDX-License-Identifier: MIT */
/* api/info.c - what is known of a session, and its time limits. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/internal.h"
#include "api/sized.h"
#include "wire/bend.h"

const char *
lunette_bend_text(unsigned n)
{
    return bend_text(n);
}

/* How the session is, and how long that has been so. */
static void
info_state(const struct lunette_session *s, struct lunette_session_info *ret)
{
    struct reopen_info info;
    struct lunette_error why;

    if (!s->logged_in || s->reopen == NULL)
        return;
    reopen_get_info(s->reopen, &info);
    ret->state = api_session_state(s);
    ret->reopens = info.reopens;
    ret->nconnections = 1;
    ret->attempt = info.attempt;
    ret->down_ms = (int64_t)(info.down_ns / LOOP_NS_PER_MS);
    ret->next_try_ms = (int64_t)(info.next_try_ns / LOOP_NS_PER_MS);
    ret->give_up_ms = api_session_give_up_ms(s, info.down_ns);
    api_session_why(s, &why);
    ret->error = why.code;
    if (why.code < 0)
        (void)snprintf(ret->error_text, sizeof(ret->error_text), "%s", why.msg);
}

void
api_session_info(const struct lunette_session *s, struct lunette_session_info *ret)
{
    const struct iscsi_params *p = &s->params;
    const struct iscsi_session *dp = dataplane_session(s->ctx->dp, s->sid);

    memset(ret, 0, sizeof(*ret));
    ret->bends = s->bends | (dp != NULL ? dp->bends : 0);
    (void)snprintf(ret->target_name, sizeof(ret->target_name), "%s", s->target_name);
    (void)snprintf(ret->initiator_name, sizeof(ret->initiator_name), "%s", s->initiator_name);
    if (s->target_alias != NULL)
        (void)log_clean(ret->target_alias, sizeof(ret->target_alias), s->target_alias,
                        strlen(s->target_alias));
    if (s->portal != NULL) { /* it has logged in */
        (void)snprintf(ret->portal, sizeof(ret->portal), "%s", s->portal);
        (void)snprintf(ret->auth_method, sizeof(ret->auth_method), "%s", s->auth_method);
    }
    memcpy(ret->isid, s->isid, sizeof(ret->isid));
    ret->tsih = s->tsih;
    ret->tpgt = (uint16_t)(s->tpgt < 0 ? 0 : s->tpgt);
    ret->header_digest = p->header_digest == ISCSI_DIGEST_CRC32C;
    ret->data_digest = p->data_digest == ISCSI_DIGEST_CRC32C;
    ret->initial_r2t = p->initial_r2t;
    ret->immediate_data = p->immediate_data;
    ret->max_recv_data_segment_length = p->max_recv_dseg;
    ret->max_xmit_data_segment_length = p->max_xmit_dseg;
    ret->max_burst_length = p->max_burst;
    ret->first_burst_length = p->first_burst;
    ret->max_outstanding_r2t = p->max_outstanding_r2t;
    ret->max_connections = p->max_connections;
    ret->error_recovery_level = p->erl;
    ret->time2wait = p->time2wait;
    ret->time2retain = p->time2retain;
    info_state(s, ret);
}

int
lunette_session_get_info(const struct lunette_session *s, struct lunette_session_info *ret)
{
    struct lunette_session_info info;

    api_session_info(s, &info);
    return api_sized_out(ret, API_FIRST_SESSION, &info, sizeof(info));
}

int
lunette_get_session_info(const struct lunette_lun *lun, struct lunette_session_info *ret)
{
    return lunette_session_get_info(lun->s, ret);
}

static enum lunette_conn_state
info_conn_state(enum reopen_state state)
{
    switch (state) {
    case REOPEN_UP:
        return LUNETTE_CONN_LOGGED_IN;
    case REOPEN_LEAVING:
        return LUNETTE_CONN_LEAVING;
    case REOPEN_LOGIN:
        return LUNETTE_CONN_LOGIN;
    case REOPEN_NEW:
    case REOPEN_STOPPING:
    case REOPEN_WAITING:
    case REOPEN_QUEUED:
    case REOPEN_ENDING:
    case REOPEN_GAVE_UP:
    default:
        return LUNETTE_CONN_LOST;
    }
}

int
lunette_session_get_conn(const struct lunette_session *s, size_t i, struct lunette_conn_info *ret)
{
    struct lunette_conn_info conn = {.cid = s->cid};
    struct reopen_info info;

    if (i > 0 || !s->logged_in)
        return -ENOENT;
    reopen_get_info(s->reopen, &info);
    conn.state = info_conn_state(info.state);
    if (s->portal != NULL)
        (void)snprintf(conn.portal, sizeof(conn.portal), "%s", s->portal);
    return api_sized_out(ret, API_FIRST_CONN, &conn, sizeof(conn));
}
