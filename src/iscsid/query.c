/* SPDX-License-Identifier: MIT */
/* What only the data plane knows of sessions: what was negotiated, LUNs, counters.  One session is
 * asked about after the other, one request at a time. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "iscsid/internal.h"
#include "seam/ipc_latency.h"
#include "seam/ipc_lun.h"
#include "wire/lun.h"

#define QUERY_HELD_MS 20 /* between looks whether a loop answers again */

struct query {
    struct job job;
    unsigned parts;
    int64_t detail;
    bool show_secrets;
    uint32_t *sids;
    size_t n, at;
    json_t *sessions;
    json_t *now; /* the session that is asked about */
    unsigned loop;
    uint16_t cids[IPC_CONNS_MAX]; /* of its connections; the leading one is the first */
    uint32_t nconns, at_conn;
    struct iscsi_stats stats; /* of all of them, */
    uint32_t nstats;          /* as far as they were told */
    struct loop_timer go;
    bool asking;
    bool over;     /* nobody waits for the answer any more */
    bool held;     /* the loop is known to hang, and is not asked */
    json_t *luns;  /* of now */
    size_t lun_at; /* whose counters come next */
    uint8_t (*lun)[8];
    size_t nlun;
    struct bdev_latency *one, *sum; /* of a LUN, of all LUNs of now; NULL: not asked for */
};

static void query_next(struct query *q);
static void query_ask_luns(struct query *q, uint32_t after);
static void query_ask_lun_stats(struct query *q);

/* Gives back all that was found. */
static void
query_clear(struct query *q)
{
    json_decref(q->sessions);
    json_decref(q->now);
    json_decref(q->luns);
    free(q->sids);
    free(q->lun);
    free(q->one);
    free(q->sum);
    q->one = q->sum = NULL;
    q->sessions = q->now = q->luns = NULL;
    q->sids = NULL;
    q->lun = NULL;
}

static void
query_free(struct query *q)
{
    loop_timer_stop(q->job.d->loop, &q->go);
    job_finish(&q->job);
    query_clear(q);
    free(q);
}

static void
query_drop(struct job *j)
{
    query_free(container_of(j, struct query, job));
}

/* What the data plane would have told of the session stays out; the next one follows. */
static void
query_lost(struct job *j, unsigned index)
{
    struct query *q = container_of(j, struct query, job);

    if (!q->asking || q->loop != index)
        return;
    q->asking = false;
    loop_timer_start(j->d->loop, &q->go, 0);
}

static bool
query_waits_for(struct job *j, unsigned index)
{
    struct query *q = container_of(j, struct query, job);

    return (q->asking || q->held) && q->loop == index;
}

/* Ends it without what was asked for. */
static void
query_give_up(struct query *q)
{
    manage_fail(q->job.call, MANAGE_TIMEOUT, "nobody waits for it");
    query_free(q);
}

/* Nobody waits any more.  An answer of the data plane that is on its way finds q and its call,
 * which so counts among those that are under way; all else is given back. */
static void
query_on_gone(void *user, struct manage_call *call)
{
    struct query *q = user;

    (void)call;
    q->over = true;
    if (q->asking)
        query_clear(q);
    else
        query_give_up(q);
}

/* An answer has come.  False: nobody waits for what it would be a part of, and q is gone. */
static bool
query_heard(struct query *q)
{
    q->asking = false;
    if (!q->over)
        return true;
    query_give_up(q);
    return false;
}

static bool
query_ask(struct query *q, struct iscsi_uevent *ev,
          void (*fn)(void *user, const struct iscsi_reply *rep))
{
    struct ctl *ctl = control_ctl(q->job.d->control, q->loop);

    ev->sid = q->sids[q->at];
    q->asking = ctl != NULL && ctl_request(ctl, ev, NULL, 0, fn, q) == 0;
    return q->asking;
}

/* ---- values --------------------------------------------------------------------------------- */

static void
query_number(json_t *to, const char *name, const char *text, int64_t divisor)
{
    say_put(to, name, json_integer(strtoll(text, NULL, 10) / divisor));
}

static const char *
query_param_name(uint32_t param, bool *ret_number)
{
    static const struct {
        uint32_t param;
        bool number;
        const char *name;
    } rows[] = {
        {ISCSI_PARAM_HEADER_DIGEST, false, "HeaderDigest"},
        {ISCSI_PARAM_DATA_DIGEST, false, "DataDigest"},
        {ISCSI_PARAM_MAX_RECV_DLENGTH, true, "MaxRecvDataSegmentLength"},
        {ISCSI_PARAM_MAX_XMIT_DLENGTH, true, "MaxXmitDataSegmentLength"},
        {ISCSI_PARAM_FIRST_BURST, true, "FirstBurstLength"},
        {ISCSI_PARAM_MAX_BURST, true, "MaxBurstLength"},
        {ISCSI_PARAM_MAX_R2T, true, "MaxOutstandingR2T"},
        {ISCSI_PARAM_IMM_DATA, false, "ImmediateData"},
        {ISCSI_PARAM_INITIAL_R2T, false, "InitialR2T"},
        {ISCSI_PARAM_ERL, true, "ErrorRecoveryLevel"},
        {ISCSI_PARAM_MAX_CONNECTIONS, true, "MaxConnections"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].param != param)
            continue;
        *ret_number = rows[i].number;
        return rows[i].name;
    }
    return NULL;
}

static void
query_value(struct query *q, uint32_t param, const char *text)
{
    json_t *timeouts = json_object_get(q->now, "timeouts");
    bool number = false;
    const char *name = query_param_name(param, &number);

    if (name != NULL && number)
        query_number(json_object_get(q->now, "params"), name, text, 1);
    else if (name != NULL)
        say_put(json_object_get(q->now, "params"), name, say_text(text));
    else if (param == ISCSI_PARAM_RECOVERY_TMO)
        query_number(timeouts, "recovery", text, 1);
    else if (param == ISCSI_PARAM_ABORT_TIMEOUT_MS)
        query_number(timeouts, "abort", text, 1000);
    else if (param == ISCSI_PARAM_LU_RESET_TIMEOUT_MS)
        query_number(timeouts, "lun_reset", text, 1000);
    else if (param == ISCSI_PARAM_TGT_RESET_TIMEOUT_MS)
        query_number(timeouts, "target_reset", text, 1000);
    else if (param == ISCSI_PARAM_INITIATOR_NAME)
        say_put(json_object_get(q->now, "iface"), "initiatorname", say_text(text));
    else if (param == ISCSI_PARAM_TSIH)
        query_number(q->now, "tsih", text, 1);
    else if (param == ISCSI_PARAM_TPGT)
        query_number(q->now, "tpgt", text, 1);
    else if (param == ISCSI_PARAM_PORTAL)
        say_put(q->now, "portal", say_text(text));
}

static void
query_values(struct query *q, const uint8_t *at, uint32_t len)
{
    const uint8_t *end = at + len;
    char text[IPC_VALUE_MAX];
    struct ipc_value v;

    while (ipc_value_next(&at, end, &v)) {
        (void)snprintf(text, sizeof(text), "%.*s", (int)v.len, v.text);
        query_value(q, v.param, text);
    }
}

static const char *
query_conn_state(enum ipc_conn_state state)
{
    static const char *const states[] = {[IPC_CONN_NEW] = "FREE",
                                         [IPC_CONN_BOUND] = "IN LOGIN",
                                         [IPC_CONN_STARTED] = "LOGGED IN",
                                         [IPC_CONN_DOWN] = "TRANSPORT WAIT",
                                         [IPC_CONN_LEAVING] = "LOGOUT REQUESTED"};

    return state < IPC_CONN_STATES ? states[state] : "";
}

/* The portal of a connection as its values tell it; "": they do not. */
static void
query_conn_portal(const struct iscsi_reply *rep, char portal[IPC_VALUE_MAX])
{
    const uint8_t *at = rep->data, *end = at + rep->r.conn.values_len;
    struct ipc_value v;

    portal[0] = '\0';
    while (ipc_value_next(&at, end, &v)) {
        if (v.param == ISCSI_PARAM_PORTAL)
            (void)snprintf(portal, IPC_VALUE_MAX, "%.*s", (int)v.len, v.text);
    }
}

static void
query_say_conn(struct query *q, const struct iscsi_reply *rep)
{
    json_t *conn = json_pack("{s:i}", "cid", (int)rep->cid);
    char portal[IPC_VALUE_MAX], local[64];

    query_conn_portal(rep, portal);
    say_put(conn, "portal", say_text(portal));
    say_put(conn, "state", json_string(query_conn_state(rep->r.conn.state)));
    if (rep->r.conn.local.len > 0)
        say_put(conn, "local",
                say_text(sock_addr_format(&rep->r.conn.local, local, sizeof(local))));
    (void)json_array_append_new(json_object_get(q->now, "connections"), conn);
}

static void query_conn(struct query *q);

/* The session and its connections have been told of. */
static void
query_ended(struct query *q)
{
    if (q->nstats > 0)
        stats_say_conn(json_object_get(q->now, "iscsi_stats"), &q->stats);
    if (q->parts & QUERY_LUNS)
        query_ask_luns(q, 0);
    else
        query_next(q);
}

static void
query_conn_over(struct query *q)
{
    q->at_conn++;
    query_conn(q);
}

static void
query_on_stats(void *user, const struct iscsi_reply *rep)
{
    struct query *q = user;

    if (!query_heard(q))
        return;
    if (rep->err == 0) {
        stats_add_conn(&q->stats, &rep->r.stats);
        q->nstats++;
    }
    query_conn_over(q);
}

/* The values of the leading connection are shown as those of the session; of the others it is told
 * where they are and how. */
static void
query_on_conn(void *user, const struct iscsi_reply *rep)
{
    struct query *q = user;
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_GET_STATS, .cid = rep->cid};

    if (!query_heard(q))
        return;
    if (rep->err == 0 && q->at_conn == 0)
        query_values(q, rep->data, rep->r.conn.values_len);
    if (rep->err == 0)
        query_say_conn(q, rep);
    if (!(q->parts & QUERY_STATS) || !query_ask(q, &ev, query_on_stats))
        query_conn_over(q);
}

/* Asks about the connection whose turn it is. */
static void
query_conn(struct query *q)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_GET_CONN};

    if (q->at_conn < q->nconns) {
        ev.cid = q->cids[q->at_conn];
        if (query_ask(q, &ev, query_on_conn))
            return;
    }
    query_ended(q);
}

static void
query_on_session(void *user, const struct iscsi_reply *rep)
{
    struct query *q = user;

    if (!query_heard(q))
        return;
    if (rep->err == 0) {
        say_put(json_object_get(q->now, "iface"), "transport", say_text(rep->r.session.transport));
        query_values(q, rep->data, rep->r.session.values_len);
    }
    for (uint32_t i = 0; rep->err == 0 && i < rep->r.session.nconns; i++) {
        if (rep->r.session.cid[i] != q->cids[0] && q->nconns < IPC_CONNS_MAX)
            q->cids[q->nconns++] = rep->r.session.cid[i];
    }
    query_conn(q);
}

/* ---- LUNs ----------------------------------------------------------------------------------- */

static void
query_trimmed(json_t *to, const char *name, const char *text)
{
    char copy[64];
    size_t len = strlen(text);

    while (len > 0 && text[len - 1] == ' ')
        len--;
    (void)snprintf(copy, sizeof(copy), "%.*s", (int)len, text);
    say_put(to, name, say_text(copy));
}

static json_t *
query_lun(const struct ipc_lun_info *info)
{
    static const char *const states[] = {[IPC_LUN_NEW] = "NEW",
                                         [IPC_LUN_STARTING] = "STARTING",
                                         [IPC_LUN_UP] = "UP",
                                         [IPC_LUN_OFFLINE] = "OFFLINE",
                                         [IPC_LUN_CLOSING] = "CLOSING"};
    json_t *o = json_object(), *exports = json_array(), *e;
    uint64_t number = lun_to_view(lun_load(info->lun));

    (void)lun_to_number(lun_load(info->lun), &number);
    say_put(o, "lun", json_integer((json_int_t)number));
    say_put(o, "type", json_integer(info->pdt));
    say_put(o, "state", json_string(states[info->state]));
    say_put(o, "size", json_integer((json_int_t)info->size));
    say_put(o, "block_size", json_integer(info->block_size));
    query_trimmed(o, "vendor", info->vendor);
    query_trimmed(o, "product", info->product);
    query_trimmed(o, "revision", info->revision);
    say_put(o, "ident", say_text(info->ident));
    if (info->why[0] != '\0')
        say_put(o, "error", say_text(info->why));
    if (info->export_kind[0] != '\0') {
        e = json_object();
        say_put(e, "kind", say_text(info->export_kind));
        say_put(e, "path", say_text(info->export_path));
        say_put(e, "read_only", json_boolean(info->flags & IPC_LUN_EXPORT_READ_ONLY));
        say_put(e, "clients", json_integer(info->export_clients));
        (void)json_array_append_new(exports, e);
    }
    say_put(o, "exports", exports);
    return o;
}

static void
query_take_lun(struct query *q, const struct ipc_lun_info *info)
{
    uint8_t(*more)[8];

    if (!(q->parts & QUERY_STATS)) {
        (void)json_array_append_new(q->luns, query_lun(info));
        return;
    }
    more = realloc(q->lun, (q->nlun + 1) * sizeof(*more));
    if (more == NULL)
        return;
    q->lun = more;
    memcpy(q->lun[q->nlun++], info->lun, 8);
    (void)json_array_append_new(q->luns, query_lun(info));
}

static void
query_luns_done(struct query *q)
{
    say_put(q->now, "luns", json_incref(q->luns));
    if (q->parts & QUERY_STATS)
        query_ask_lun_stats(q);
    else
        query_next(q);
}

static void
query_on_luns(void *user, const struct iscsi_reply *rep)
{
    struct query *q = user;
    const uint8_t *at = rep->data, *end;
    struct ipc_lun_info info;
    uint32_t last = 0;

    if (!query_heard(q))
        return;
    end = rep->err == 0 ? at + rep->r.luns.data_len : at;
    while (ipc_lun_next(&at, end, &info)) {
        last = info.index;
        query_take_lun(q, &info);
    }
    if (rep->err == 0 && rep->r.luns.more && last > 0)
        query_ask_luns(q, last);
    else
        query_luns_done(q);
}

static void
query_ask_luns(struct query *q, uint32_t after)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_LIST_LUNS};

    ev.u.list_luns.after = after;
    if (!query_ask(q, &ev, query_on_luns))
        query_luns_done(q);
}

static void
query_on_lun_stats(void *user, const struct iscsi_reply *rep)
{
    struct query *q = user;
    const struct ipc_lun_stats *s = &rep->r.lun_stats;
    json_t *o = json_array_get(q->luns, q->lun_at++);

    if (!query_heard(q))
        return;
    if (rep->err == 0)
        stats_say_lun(o, s);
    if (rep->err == 0 && (q->parts & QUERY_HISTOGRAMS) &&
        ipc_latency_unpack(rep->data, ipc_reply_data_len(rep), q->one)) {
        q->one->timed = s->timed;
        say_put(o, "latency", stats_say_latency(q->one));
        stats_merge_latency(q->sum, q->one);
    }
    query_ask_lun_stats(q);
}

static void
query_ask_lun_stats(struct query *q)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_GET_LUN_STATS};

    if (q->lun_at < q->nlun) {
        memcpy(ev.u.lun.lun, q->lun[q->lun_at], 8);
        if (query_ask(q, &ev, query_on_lun_stats))
            return;
    }
    if (q->parts & QUERY_HISTOGRAMS)
        say_put(q->now, "latency", stats_say_latency(q->sum));
    query_next(q);
}

/* ---- a session ------------------------------------------------------------------------------ */

struct query_states {
    const char *session, *connection, *internal;
};

/* In the words of open-iscsi, as its tools print them. */
static struct query_states
query_states(enum control_state s)
{
    static const struct query_states states[CONTROL_STATES] = {
        [CONTROL_IS_UP] = {"LOGGED_IN", "LOGGED IN", "NO CHANGE"},
        [CONTROL_IS_LOST] = {"FAILED", "TRANSPORT WAIT", "REOPEN"},
        [CONTROL_IS_LOGOUT] = {"LOGGED_IN", "IN LOGOUT", "NO CHANGE"},
        [CONTROL_IS_GAVE_UP] = {"FREE", "CLEANUP WAIT", "CLEANUP"},
    };
    static const struct query_states other = {"FREE", "FREE", "NO CHANGE"};

    return states[s].session != NULL ? states[s] : other;
}

/* What the record says: the iface, and who logs in. */
static void
query_record(struct query *q, json_t *o, const struct control_name *name)
{
    static const enum nodedb_key_id chap[] = {NODEDB_USERNAME, NODEDB_PASSWORD, NODEDB_USERNAME_IN,
                                              NODEDB_PASSWORD_IN};
    static const char *const names[] = {"username", "password", "username_in", "password_in"};
    json_t *iface = json_object_get(o, "iface"), *to = json_object();
    struct nodedb_record r;
    struct nodedb_id id;

    id_of_name(name, &id);
    if (nodedb_node_read(q->job.d->db, &id, &r, NULL) == 0) {
        say_put(iface, "transport", say_text(nodedb_record_text(&r, NODEDB_IFACE_TRANSPORT)));
        say_put(iface, "hwaddress", say_text(nodedb_record_text(&r, NODEDB_IFACE_HWADDRESS)));
        say_put(iface, "ipaddress", say_text(nodedb_record_text(&r, NODEDB_IFACE_IPADDRESS)));
        say_put(iface, "netdev", say_text(nodedb_record_text(&r, NODEDB_IFACE_NETDEV)));
        for (size_t i = 0; i < sizeof(chap) / sizeof(chap[0]); i++) {
            const char *v = nodedb_record_text(&r, chap[i]);

            say_put(to, names[i],
                    say_text(v[0] != '\0' && i % 2 == 1 && !q->show_secrets ? "********" : v));
        }
        nodedb_record_fini(&r);
    }
    say_put(o, "chap", to);
}

static json_t *
query_session(struct query *q, struct control_node *n, const struct control_info *info)
{
    const struct control_name *name = control_node_name(n);
    struct query_states states = query_states(info->state);
    json_t *o = json_object(), *iface = json_object();
    char isid[2 * LOGIN_ISID_LEN + 1];

    for (unsigned i = 0; i < LOGIN_ISID_LEN; i++)
        (void)snprintf(isid + 2 * i, 3, "%02x", info->isid[i]);
    say_put(o, "sid", json_integer(info->sid));
    say_put(o, "target", say_text(name->target));
    say_portal(o, "portal", &name->portal);
    say_portal(o, "persistent_portal", &name->portal);
    say_put(o, "tpgt", json_integer(name->portal.tpgt));
    say_put(iface, "name", say_text(name->iface[0] != '\0' ? name->iface : "default"));
    say_put(iface, "transport", say_text(info->transport[0] != '\0' ? info->transport : "tcp"));
    say_put(o, "iface", iface);
    say_put(o, "state", json_string(states.session));
    say_put(o, "connection_state", json_string(states.connection));
    say_put(o, "internal_state", json_string(states.internal));
    say_put(o, "wanted", json_boolean(info->wanted == CONTROL_UP));
    if (info->why.code != 0)
        say_put(o, "reason", say_text(info->why.msg));
    say_put(o, "next_try_ms", json_integer((json_int_t)(info->next_try_ns / LOOP_NS_PER_MS)));
    say_put(o, "down_ms", json_integer((json_int_t)(info->down_ns / LOOP_NS_PER_MS)));
    say_put(o, "reopens", json_integer(info->reopens));
    say_put(o, "connections_up", json_integer(info->conns));
    say_put(o, "connections_wanted", json_integer(info->conns_wanted));
    say_put(o, "kept", json_boolean(info->kept || info->kept_by_record));
    say_put(o, "leases", say_leases(n));
    say_put(o, "isid", json_string(isid));
    say_put(o, "host",
            json_pack("{s:I,s:s}", "number", (json_int_t)info->sid, "state",
                      info->state == CONTROL_IS_UP ? "running" : "recovery"));
    say_put(o, "params", json_object());
    say_put(o, "timeouts", json_object());
    say_put(o, "connections", json_array());
    if (q->parts & QUERY_STATS)
        say_put(o, "iscsi_stats", json_object());
    return o;
}

/* Begins with the next session.  A loop that is known to hang is not asked before it answers again:
 * each request would be kept, by it and by us. */
static void
query_begin_session(struct query *q)
{
    struct control_node *n = control_find_sid(q->job.d->control, q->sids[q->at]);
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_GET_SESSION};
    struct control_info info;

    if (n == NULL) { /* it has gone meanwhile */
        query_next(q);
        return;
    }
    control_node_get_info(n, &info);
    q->loop = info.loop;
    q->cids[0] = info.cid;
    q->nconns = 1;
    q->at_conn = 0;
    q->stats = (struct iscsi_stats){0};
    q->nstats = 0;
    q->held = (q->parts & (QUERY_SESSION | QUERY_LUNS | QUERY_STATS)) &&
              plane_is_silent(&q->job.d->plane, q->loop);
    if (q->held) {
        loop_timer_start(q->job.d->loop, &q->go, QUERY_HELD_MS * LOOP_NS_PER_MS);
        return;
    }
    q->luns = json_array();
    q->nlun = q->lun_at = 0;
    if (q->sum != NULL)
        memset(q->sum, 0, sizeof(*q->sum));
    q->now = query_session(q, n, &info);
    if (q->detail >= 1)
        query_record(q, q->now, control_node_name(n));
    /* Where the record does not know the tag, the session does. */
    if ((!(q->parts & QUERY_SESSION) && control_node_name(n)->portal.tpgt >= 0) ||
        !query_ask(q, &ev, query_on_session))
        query_ended(q);
}

static void
query_next(struct query *q)
{
    if (q->now != NULL)
        (void)json_array_append_new(q->sessions, q->now);
    q->now = NULL;
    json_decref(q->luns);
    q->luns = NULL;
    q->at++;
    loop_timer_start(q->job.d->loop, &q->go, 0);
}

static void
query_on_go(struct loop_timer *t)
{
    struct query *q = container_of(t, struct query, go);
    json_t *sessions;

    if (q->over) { /* its loop was lost */
        query_give_up(q);
        return;
    }
    if (q->now != NULL) { /* its loop was lost */
        query_next(q);
        return;
    }
    if (q->at < q->n) {
        query_begin_session(q);
        return;
    }
    sessions = q->sessions;
    q->sessions = NULL;
    manage_reply(q->job.call, json_pack("{s:o}", "sessions", sessions));
    query_free(q);
}

static int
query_sid_order(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

/* Finds the sessions that are meant. */
static int
query_find(struct query *q, const struct filter *f, int64_t sid, struct lunette_error *err)
{
    struct control_info info;
    uint32_t *more;

    for (struct control_node *n = NULL; (n = session_next(q->job.d->control, n, &info)) != NULL;) {
        if ((sid > 0 && info.sid != (uint32_t)sid) || !filter_fits(f, control_node_name(n)))
            continue;
        more = realloc(q->sids, (q->n + 1) * sizeof(*more));
        if (more == NULL) {
            say_no_memory(err);
            return -ENOMEM;
        }
        q->sids = more;
        q->sids[q->n++] = info.sid;
    }
    if (q->n > 1)
        qsort(q->sids, q->n, sizeof(q->sids[0]), query_sid_order);
    return 0;
}

/* Finds the sessions that are meant, and takes the memory that all of them need. */
static int
query_prepare(struct query *q, const struct filter *f, int64_t sid, struct lunette_error *err)
{
    if (q->parts & QUERY_HISTOGRAMS) {
        q->one = calloc(1, sizeof(*q->one));
        q->sum = calloc(1, sizeof(*q->sum));
        if (q->one == NULL || q->sum == NULL) {
            say_no_memory(err);
            return -ENOMEM;
        }
    }
    return query_find(q, f, sid, err);
}

void
query_start(struct iscsid *d, struct manage_call *call, const json_t *params, unsigned parts)
{
    struct query *q = calloc(1, sizeof(*q));
    struct lunette_error err = {.code = 0};
    bool histograms = false;
    struct filter f;
    int64_t sid = 0;
    int r;

    if (q == NULL) {
        manage_fail(call, MANAGE_NO_MEMORY, "no memory for the list of sessions");
        return;
    }
    q->parts = parts;
    q->sessions = json_array();
    loop_timer_init(&q->go, query_on_go);
    job_begin_plane(&q->job, d, call, query_drop);
    q->job.lost = query_lost;
    q->job.waits_for = query_waits_for;
    r = filter_get(params, &f, &err);
    if (r >= 0)
        r = manage_get_int(params, "sid", MANAGE_OPTIONAL, 0, UINT32_MAX, &sid, &err);
    if (r >= 0)
        r = manage_get_int(params, "detail", MANAGE_OPTIONAL, 0, 3, &q->detail, &err);
    if (r >= 0)
        r = manage_get_bool(params, "show_secrets", &q->show_secrets, &err);
    if (r >= 0)
        r = manage_get_bool(params, "histograms", &histograms, &err);
    q->parts |= histograms ? QUERY_HISTOGRAMS : 0;
    q->parts |= (q->detail >= 1 ? QUERY_SESSION : 0) | (q->detail == 3 ? QUERY_LUNS : 0);
    if (r >= 0)
        r = query_prepare(q, &f, sid, &err);
    if (r < 0) {
        say_fail(call, &err);
        query_free(q);
    } else if (q->n == 0 && (sid > 0 || f.any)) {
        manage_fail(call, MANAGE_NOT_FOUND, "there is no such session");
        query_free(q);
    } else {
        manage_call_on_gone(call, query_on_gone, q);
        loop_timer_start(d->loop, &q->go, 0);
    }
}
