/* SPDX-License-Identifier: MIT */
/* dataplane/list.c - answers that describe what is there, for a control plane that has just come.
 *
 * Each names the event number from which events go on: what had a lower number
 * is in the answer.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "dataplane/internal.h"
#include "iscsi/iscsi.h"

/* Where a page after that id begins to look: behind the session itself, which the client was told
 * of last, since to go through thousands for each page would take long; at the first where it has
 * gone. */
static struct list *
sessions_after(struct dataplane *dp, uint64_t id)
{
    struct dp_session *ds = id <= UINT32_MAX ? dp_session_even_dying(dp, (uint32_t)id) : NULL;

    return ds != NULL ? ds->node.next : dp->sessions.next;
}

static struct list *
endpoints_after(struct dataplane *dp, uint64_t id)
{
    struct dp_endpoint *e = dp_ep_find(dp, id);

    return e != NULL ? e->node.next : dp->endpoints.next;
}

int
dp_serve_list_sessions(struct dataplane *dp, const struct iscsi_uevent *ev, struct iscsi_reply *rep)
{
    uint32_t n = 0;

    rep->r.sessions.next_event = dp->last_event + 1;
    for (struct list *l = sessions_after(dp, ev->u.list.after); l != &dp->sessions; l = l->next) {
        const struct dp_session *ds = container_of(l, struct dp_session, node);

        if (ds->sid <= ev->u.list.after)
            continue;
        if (n == IPC_SESSIONS_PAGE) {
            rep->r.sessions.more = true;
            break;
        }
        rep->r.sessions.sid[n++] = ds->sid;
    }
    rep->r.sessions.count = n;
    return 0;
}

static struct ipc_endpoint_info
endpoint_info(const struct dp_endpoint *e)
{
    struct ipc_endpoint_info info = {.ep = e->pub.id, .owner = e->half.owner, .state = e->state};

    if (e->conn != NULL) {
        info.sid = e->conn->session->sid;
        info.cid = e->conn->cid;
    }
    return info;
}

int
dp_serve_list_endpoints(struct dataplane *dp, const struct iscsi_uevent *ev,
                        struct iscsi_reply *rep)
{
    uint32_t n = 0;

    rep->r.endpoints.next_event = dp->last_event + 1;
    for (struct list *l = endpoints_after(dp, ev->u.list.after); l != &dp->endpoints; l = l->next) {
        const struct dp_endpoint *e = container_of(l, struct dp_endpoint, node);

        if (e->closing || e->pub.id <= ev->u.list.after)
            continue;
        if (n == IPC_ENDPOINTS_PAGE) {
            rep->r.endpoints.more = true;
            break;
        }
        rep->r.endpoints.ep[n++] = endpoint_info(e);
    }
    rep->r.endpoints.count = n;
    return 0;
}

static enum ipc_session_state
session_state(const struct dp_session *ds)
{
    if (ds->dying)
        return IPC_SESSION_ENDING;
    return ds->started ? dp_state_of_host(ds->host->state) : IPC_SESSION_NEW;
}

/* Puts the values that the control plane has told into buf, and behind them those that the owner
 * knows by itself and was not told, as far as there is room.  Returns the bytes. */
static uint32_t
put_values(const struct dp_session *ds, const struct dp_conn *c, uint8_t *buf)
{
    const struct dp_values *told = c != NULL ? &c->values : &ds->values;
    struct dp_values all = {.bytes = buf, .room = IPC_VALUES_MAX};

    if (told->len > 0)
        memcpy(buf, told->bytes, told->len);
    all.len = told->len;
    for (enum iscsi_param p = 0; ds->ops->get_param != NULL && p < ISCSI_PARAM_COUNT; p++) {
        char text[IPC_VALUE_MAX];
        int len;

        if (dp_param_of_conn(p) != (c != NULL) || dp_values_has(told, p))
            continue;
        len = ds->ops->get_param(ds->s, c != NULL ? c->handle : NULL, p, text, sizeof(text));
        assert(len < (int)sizeof(text));
        if (len >= 0 && all.room - all.len >= IPC_VALUE_HEAD + (uint32_t)len)
            dp_values_set(&all, p, text, (uint32_t)len);
    }
    return all.len;
}

/* At least 1, since 0 says that it runs. */
static uint32_t
down_ms(uint64_t ns)
{
    uint64_t ms = ns / LOOP_NS_PER_MS;

    return ms == 0 ? 1 : ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX;
}

int
dp_serve_get_session(struct dataplane *dp, const struct iscsi_uevent *ev,
                     uint8_t buf[IPC_SESSION_DATA_MAX], struct iscsi_reply *rep)
{
    struct dp_session *ds = dp_session_even_dying(dp, ev->sid);

    if (ds == NULL)
        return dp_session_missing(ev, rep);
    rep->r.session.next_event = dp->last_event + 1;
    rep->r.session.owner = ds->half.owner;
    rep->r.session.state = session_state(ds);
    if (ds->lost_ns != 0)
        rep->r.session.down_ms = down_ms(dp->loop->now_ns + 1 - ds->lost_ns);
    (void)strncpy(rep->r.session.transport, ds->tt->name, IPC_NAME_MAX - 1);
    LIST_FOREACH (n, &ds->conns) {
        const struct dp_conn *c = container_of(n, struct dp_conn, node);

        if (!c->dying)
            rep->r.session.cid[rep->r.session.nconns++] = c->cid;
    }
    if (!ds->dying)
        rep->r.session.values_len = put_values(ds, NULL, buf);
    rep->r.session.note_len = ds->note_len;
    if (ds->note_len > 0)
        memcpy(buf + rep->r.session.values_len, ds->note, ds->note_len);
    rep->data = buf;
    return 0;
}

int
dp_serve_get_conn(struct dataplane *dp, const struct iscsi_uevent *ev,
                  uint8_t buf[IPC_SESSION_DATA_MAX], struct iscsi_reply *rep)
{
    struct dp_session *ds = dp_session_find(dp, ev->sid);
    const struct dp_conn *c = ds != NULL ? dp_conn_find(ds, ev->cid) : NULL;

    if (c == NULL)
        return dp_conn_missing(ev, rep);
    rep->r.conn.next_event = dp->last_event + 1;
    rep->r.conn.owner = c->half.owner;
    rep->r.conn.state = c->state == IPC_CONN_STARTED && c->leaving ? IPC_CONN_LEAVING : c->state;
    if (c->ep != NULL) {
        rep->r.conn.ep = c->ep->pub.id;
        rep->r.conn.peer = c->ep->to;
    }
    (void)dp_conn_names(c, &rep->r.conn.local, &rep->r.conn.peer);
    rep->r.conn.values_len = put_values(ds, c, buf);
    rep->data = buf;
    return 0;
}

/* The answer is longer than those of others, and goes out from here. */
int
dp_serve_get_flight(struct dataplane *dp, const struct iscsi_uevent *ev, struct iscsi_reply *rep)
{
    struct dp_session *ds = dp_session_find(dp, ev->sid);
    const struct dp_conn *c = ds != NULL ? dp_conn_find(ds, ev->cid) : NULL;
    struct iscsi_conn *conn = c != NULL ? c->handle : NULL;
    struct dp_call call = dp_call_of(dp, ev);
    struct flight_pdu pdus[IPC_FLIGHT_MAX];
    uint8_t bytes[IPC_FLIGHT_MAX * IPC_FLIGHT_PDU];

    if (c == NULL)
        return dp_conn_missing(ev, rep);
    if (ds->ops != &dp_iscsi_session_ops)
        return lunette_fail(&rep->why, -EOPNOTSUPP, LUNETTE_DOM_USAGE, 0,
                            "transport %s has its sessions for itself: their PDUs are not seen",
                            ds->tt->name);
    rep->r.flight.count = iscsi_conn_flight(conn, pdus, IPC_FLIGHT_MAX);
    for (uint32_t i = 0; i < rep->r.flight.count; i++)
        ipc_flight_put(bytes + (size_t)i * IPC_FLIGHT_PDU, &pdus[i], dp->loop->now_ns);
    rep->data = bytes;
    dp_call_answer(dp, &call, rep);
    return DP_ANSWERED_LATER;
}
