/* SPDX-License-Identifier: MIT */
/* dataplane/iscsi_session.c - the sessions of iscsi/ under the operations of seam/session.h. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "dataplane/internal.h"
#include "iscsi/iscsi.h"

struct owned {
    struct iscsi_session *s;
    const struct dp_session_events *ev;
    void *user;
};

static void
up_recv_pdu(void *user, struct iscsi_conn *c, const struct bhs *hdr, const void *data, uint32_t len)
{
    const struct owned *o = user;

    o->ev->recv_pdu(o->user, c, hdr, data, len);
}

static void
up_conn_error(void *user, struct iscsi_conn *c, const struct dp_conn_loss *loss)
{
    const struct owned *o = user;

    o->ev->conn_error(o->user, c, loss);
}

static void
up_state(void *user, enum scsi_host_state state, const struct lunette_error *why)
{
    const struct owned *o = user;

    o->ev->state(o->user, state, why);
}

static void
up_conn_down(void *user, struct iscsi_conn *c)
{
    const struct owned *o = user;

    o->ev->conn_down(o->user, c);
}

static void
up_freed(void *user, uint32_t sid)
{
    struct owned *o = user;

    (void)sid;
    o->ev->freed(o->user);
    free(o);
}

static const struct iscsi_session_events up_events = {
    .recv_pdu = up_recv_pdu,
    .conn_error = up_conn_error,
    .conn_down = up_conn_down,
    .state = up_state,
    .freed = up_freed,
};

static int
owned_create(const struct dp_session_config *cfg, void **ret_session, struct scsi_host **ret_host,
             struct lunette_error *err)
{
    struct owned *o = malloc(sizeof(*o));
    struct iscsi_session_config c = {
        .host = cfg->host,
        .sid = cfg->sid,
        .initial_cmdsn = cfg->initial_cmdsn,
        .cmds_max = cfg->cmds_max,
        .ev = &up_events,
        .user = o,
    };
    int r;

    if (o == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    *o = (struct owned){.ev = cfg->ev, .user = cfg->user};
    r = iscsi_session_setup(cfg->loop, cfg->tt, &c, &o->s, err);
    if (r < 0) {
        free(o);
        return r;
    }
    *ret_session = o;
    *ret_host = iscsi_session_host(o->s);
    return 0;
}

static void
owned_teardown(void *session)
{
    iscsi_session_teardown(((struct owned *)session)->s);
}

static int
owned_create_conn(void *session, uint16_t cid, void **ret_conn, struct lunette_error *err)
{
    struct iscsi_conn *c;
    int r = iscsi_conn_setup(((struct owned *)session)->s, cid, &c, err);

    if (r == 0)
        *ret_conn = c;
    return r;
}

static void
owned_destroy_conn(void *conn)
{
    iscsi_conn_teardown(conn);
}

static int
owned_bind_conn(void *conn, int64_t eph, struct iscsi_endpoint *ep, bool leading,
                struct lunette_error *err)
{
    return iscsi_conn_bind(conn, eph, ep, leading, err);
}

static int
owned_start_conn(void *conn, struct lunette_error *err)
{
    return iscsi_conn_start(conn, err);
}

static void
owned_stop_conn(void *conn, enum iscsi_stop how)
{
    iscsi_conn_stop(conn, how);
}

static int
owned_set_param(void *conn, enum iscsi_param p, const char *value, struct lunette_error *err)
{
    return iscsi_set_param(conn, p, value, err);
}

static int
owned_send_pdu(void *conn, const struct bhs *hdr, const void *data, uint32_t len,
               struct lunette_error *err)
{
    return iscsi_conn_send_pdu(conn, hdr, data, len, err);
}

static void
owned_get_stats(void *conn, struct iscsi_stats *ret)
{
    struct iscsi_conn *c = conn;

    *ret = c->stats;
    if (c->tt->get_stats != NULL)
        c->tt->get_stats(c, ret);
}

const struct dp_session_ops dp_iscsi_session_ops = {
    .size = sizeof(struct dp_session_ops),
    .create = owned_create,
    .teardown = owned_teardown,
    .create_conn = owned_create_conn,
    .destroy_conn = owned_destroy_conn,
    .bind_conn = owned_bind_conn,
    .start_conn = owned_start_conn,
    .stop_conn = owned_stop_conn,
    .set_param = owned_set_param,
    .send_pdu = owned_send_pdu,
    .get_stats = owned_get_stats,
};

struct iscsi_session *
dp_iscsi_session(const void *session)
{
    return ((const struct owned *)session)->s;
}

void
dp_iscsi_conn_fail(void *conn, enum iscsi_err err, const char *why)
{
    struct iscsi_conn *c = conn;

    c->up->conn_failure(c, err, why);
}

bool
dp_conn_describe(const struct dp_conn *c, char *buf, size_t size)
{
    const struct iscsi_transport *tt = c->session->tt;

    if (!c->bound || c->session->ops != &dp_iscsi_session_ops || tt->describe == NULL)
        return false;
    tt->describe(c->handle, buf, size);
    return true;
}

int
dp_conn_names(const struct dp_conn *c, struct sock_addr *ret_local, struct sock_addr *ret_peer)
{
    const struct iscsi_transport *tt = c->session->tt;

    if (!c->bound || c->session->ops != &dp_iscsi_session_ops || tt->get_names == NULL)
        return -ENOTCONN;
    return tt->get_names(c->handle, ret_local, ret_peer);
}
