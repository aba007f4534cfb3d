/* SPDX-License-Identifier: MIT */
#include "engine/tables.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/flash_text.h"
#include "engine/login_priv.h"
#include "engine/ping.h"

#define TABLE_CALLS_MAX   256  /* requests that are answered later, of all clients */
#define TABLE_LATER       1    /* what a function returns that answers later */
#define TABLE_LINE_MAX    1024 /* bytes of a line of LIST_FLASHNODES at most */
#define TABLE_PING_US_MAX INT32_MAX

/* A request while it is served. */
struct table_ask {
    struct engine_logins *e;
    const struct ipc_client *from;
    const struct iscsi_uevent *ev;
    uint32_t index;
    const char *text;
    uint32_t len;
    struct iscsi_reply *rep;
    char *out; /* IPC_REPLY_DATA_MAX bytes */
};

/* One that is answered later. */
struct table_call {
    struct list node;
    struct engine_logins *e;
    struct ipc_client client;
    enum iscsi_uevent_type type;
    uint64_t seq;
    struct engine_login_wait wait; /* LOGIN_FLASHNODE, LOGOUT_FLASHNODE */
    struct engine_ping *ping;      /* SEND_PING */
};

/* ---- answers that come later ---------------------------------------------------------------- */

static struct table_call *
table_call_new(const struct table_ask *a)
{
    struct table_call *c;
    unsigned n = 0;

    LIST_FOREACH (pos, &a->e->calls)
        n++;
    c = n < TABLE_CALLS_MAX ? calloc(1, sizeof(*c)) : NULL;
    if (c == NULL) {
        (void)lunette_fail(&a->rep->why, -ENOMEM, LUNETTE_DOM_OS, ENOMEM,
                           "no memory for the request, or too many are under way: try again");
        return NULL;
    }
    c->e = a->e;
    c->client = *a->from;
    c->type = a->ev->type;
    c->seq = a->ev->seq;
    list_init(&c->wait.node);
    list_push_back(&a->e->calls, &c->node);
    return c;
}

static void
table_call_free(struct table_call *c)
{
    list_del(&c->node);
    engine_login_forget(&c->wait);
    if (c->ping != NULL)
        engine_ping_cancel(c->ping);
    free(c);
}

static void
table_call_answer(struct table_call *c, const struct lunette_error *why, int value)
{
    struct ipc_client client = c->client;
    struct iscsi_reply rep;

    memset(&rep, 0, sizeof(rep));
    rep.type = c->type;
    rep.seq = c->seq;
    rep.r.value = value;
    if (why != NULL) {
        rep.err = why->code;
        rep.why = *why;
    }
    table_call_free(c);
    client.reply(client.binding, &rep);
}

static void
table_login_done(struct engine_login_wait *w, const struct lunette_error *why)
{
    table_call_answer(container_of(w, struct table_call, wait), why, 0);
}

static void
table_ping_done(void *user, const struct lunette_error *why, uint64_t us)
{
    struct table_call *c = user;

    c->ping = NULL;
    table_call_answer(c, why, us < TABLE_PING_US_MAX ? (int)us : TABLE_PING_US_MAX);
}

/* ---- the table of targets ------------------------------------------------------------------- */

static int
table_new(struct table_ask *a)
{
    struct flash_record r;
    int e;

    engine_flash_record_init(&r);
    e = flash_text_take(a->text, a->len, &r, &a->rep->why);
    if (e == 0)
        e = engine_flash_add(a->e->flash, &r, &a->rep->why);
    if (e < 0)
        return e;
    a->rep->r.value = e;
    return 0;
}

/* The record, or NULL with the sentence. */
static const struct flash_record *
table_record(struct table_ask *a)
{
    const struct flash_record *r = engine_flash_get(a->e->flash, a->index);

    if (r == NULL)
        (void)lunette_fail(&a->rep->why, -ENOENT, LUNETTE_DOM_USAGE, 0,
                           "there is no record %u in the engine's table", a->index);
    return r;
}

/* A session that still ends counts, too: what it tells names the record. */
static bool
table_in_use(const struct engine_logins *e, uint32_t index)
{
    LIST_FOREACH (n, &e->list) {
        if (container_of(n, struct engine_login, node)->index == index)
            return true;
    }
    return false;
}

static int
table_delete(struct table_ask *a)
{
    if (table_in_use(a->e, a->index))
        return lunette_fail(&a->rep->why, -EBUSY, LUNETTE_DOM_USAGE, 0,
                            "record %u is logged in, or tries to be: log out of it first",
                            a->index);
    return engine_flash_delete(a->e->flash, a->index, &a->rep->why);
}

static int
table_set(struct table_ask *a)
{
    const struct flash_record *now = table_record(a);
    struct flash_record r;
    int e;

    if (now == NULL)
        return -ENOENT;
    r = *now;
    e = flash_text_take(a->text, a->len, &r, &a->rep->why);
    if (e == 0)
        e = engine_login_may_change(a->e, a->index, &r, &a->rep->why);
    if (e == 0)
        e = engine_flash_set(a->e->flash, a->index, &r, &a->rep->why);
    if (e == 0)
        engine_login_changed(a->e, a->index);
    return e;
}

static int
table_get(struct table_ask *a)
{
    const struct flash_record *r = table_record(a);

    if (r == NULL)
        return -ENOENT;
    _Static_assert(FLASH_TEXT_MAX <= IPC_REPLY_DATA_MAX, "a record is one answer");
    a->rep->r.text.len = (uint32_t)flash_text_format(r, a->out);
    return 0;
}

static const char *
table_state(const struct engine_login *l)
{
    if (l == NULL)
        return "NEW";
    switch (l->state) {
    case IPC_SESSION_RUNNING:
        return "ACTIVE";
    case IPC_SESSION_FAILED:
        return "FAILED";
    case IPC_SESSION_NEW:
    case IPC_SESSION_BLOCKED:
    case IPC_SESSION_ENDING:
    case IPC_SESSION_STATES:
        break;
    }
    return "LOGIN";
}

static int
table_line(const struct table_ask *a, uint32_t index, const struct flash_record *r,
           char buf[TABLE_LINE_MAX])
{
    const struct engine_login *l = engine_login_of(a->e, index);
    const struct lunette_error *why = l != NULL ? engine_login_why(l) : NULL;
    const struct login_config *c = &r->login;
    char portal[PORTAL_TEXT_MAX] = "-";

    if (c->portal.host[0] != '\0')
        (void)portal_format(&c->portal, portal, sizeof(portal));
    return snprintf(buf, TABLE_LINE_MAX, "%u %s %s %s%s%s\n", index, table_state(l),
                    c->target_name[0] != '\0' ? c->target_name : "-", portal,
                    why != NULL ? " " : "", why != NULL ? why->msg : "");
}

static int
table_list(struct table_ask *a)
{
    char line[TABLE_LINE_MAX];

    for (uint32_t i = a->index; i < IPC_FLASHNODES_MAX; i++) {
        const struct flash_record *r = engine_flash_get(a->e->flash, i);
        int n = r != NULL ? table_line(a, i, r, line) : 0;

        if (a->rep->r.text.len + (uint32_t)n > IPC_REPLY_DATA_MAX) {
            a->rep->r.text.more = true;
            break;
        }
        memcpy(a->out + a->rep->r.text.len, line, (size_t)n);
        a->rep->r.text.len += (uint32_t)n;
    }
    return 0;
}

static int
table_log(struct table_ask *a, bool in)
{
    struct table_call *c;
    int e;

    if (table_record(a) == NULL)
        return -ENOENT;
    c = table_call_new(a);
    if (c == NULL)
        return -ENOMEM;
    c->wait.done = table_login_done;
    e = in ? engine_login_start(a->e, a->index, &c->wait, &a->rep->why)
           : engine_login_end(a->e, a->index, &c->wait, &a->rep->why);
    if (e < 0)
        table_call_free(c);
    return e < 0 ? e : TABLE_LATER;
}

static int
table_login(struct table_ask *a)
{
    return table_log(a, true);
}

static int
table_logout(struct table_ask *a)
{
    return table_log(a, false);
}

/* ---- names and secrets ---------------------------------------------------------------------- */

static int
table_set_chap(struct table_ask *a)
{
    const char *nl = a->len > 0 ? memchr(a->text, '\n', a->len) : NULL;
    struct login_account account = {.secret_len = 0};
    size_t name_len = nl != NULL ? (size_t)(nl - a->text) : 0, secret_len;
    int r;

    if (nl == NULL || name_len > CHAP_NAME_MAX || memchr(a->text, '\0', name_len) != NULL)
        return lunette_fail(&a->rep->why, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "a line with a name, of 255 bytes at most, and a line with its secret "
                            "are wanted");
    secret_len = a->len - name_len - 1;
    if (secret_len > 0 && a->text[a->len - 1] == '\n')
        secret_len--;
    if (secret_len > CHAP_SECRET_MAX)
        return lunette_fail(&a->rep->why, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "the secret has more than %d bytes", CHAP_SECRET_MAX);
    memcpy(account.name, a->text, name_len);
    memcpy(account.secret, nl + 1, secret_len);
    account.secret_len = (uint16_t)secret_len;
    r = engine_chap_set(a->e->flash, a->index, &account, &a->rep->why);
    explicit_bzero(&account, sizeof(account));
    return r;
}

static bool
table_chap_line(void *user, uint32_t index, const char *name)
{
    struct table_ask *a = user;
    char line[CHAP_NAME_MAX + 16];
    int n = index >= a->index ? snprintf(line, sizeof(line), "%u %s\n", index, name) : 0;

    if (a->rep->r.text.len + (uint32_t)n > IPC_REPLY_DATA_MAX) {
        a->rep->r.text.more = true;
        return false;
    }
    memcpy(a->out + a->rep->r.text.len, line, (size_t)n);
    a->rep->r.text.len += (uint32_t)n;
    return true;
}

static int
table_list_chap(struct table_ask *a)
{
    return engine_chap_list(a->e->flash, table_chap_line, a, &a->rep->why);
}

static int
table_delete_chap(struct table_ask *a)
{
    return engine_chap_delete(a->e->flash, a->index, &a->rep->why);
}

/* ---- the engine itself ---------------------------------------------------------------------- */

static int
table_ping(struct table_ask *a)
{
    struct table_call *c;
    struct portal to;
    int r = portal_parse(a->text, a->len, &to, &a->rep->why);

    if (r < 0)
        return r;
    c = table_call_new(a);
    if (c == NULL)
        return -ENOMEM;
    r = engine_ping_start(a->e->loop, &to, table_ping_done, c, &c->ping);
    if (r == 0)
        return TABLE_LATER;
    table_call_free(c);
    return lunette_fail(&a->rep->why, r, LUNETTE_DOM_CONNECT, (uint32_t)-r, "%.200s: %s", to.host,
                        errno_text(r));
}

/* The first two have the names that open-iscsi gives them, the others those of struct iscsi_stats.
 */
static int
table_stats(struct table_ask *a)
{
    struct engine_logins_totals t;
    uint32_t records = 0;
    int n;

    for (uint32_t i = 0; i < IPC_FLASHNODES_MAX; i++)
        records += engine_flash_get(a->e->flash, i) != NULL;
    engine_logins_totals(a->e, &t);
    n = snprintf(a->out, IPC_REPLY_DATA_MAX,
                 "iscsi_data_bytes_tx = %" PRIu64 "\niscsi_data_bytes_rx = %" PRIu64
                 "\nscsicmd_pdus = %" PRIu64 "\nscsirsp_pdus = %" PRIu64 "\ndataout_pdus = %" PRIu64
                 "\ndatain_pdus = %" PRIu64 "\nr2t_pdus = %" PRIu64 "\nnoptx_pdus = %" PRIu64
                 "\nnoprx_pdus = %" PRIu64 "\ntmfcmd_pdus = %" PRIu64 "\ntmfrsp_pdus = %" PRIu64
                 "\nasync_pdus = %" PRIu64 "\nreject_pdus = %" PRIu64 "\ndigest_err = %" PRIu64
                 "\nrecords = %u\nsessions = %u\nsessions_running = %u\nlogins = %" PRIu64
                 "\nsessions_lost = %" PRIu64 "\n",
                 t.stats.txdata_octets, t.stats.rxdata_octets, t.stats.scsicmd_pdus,
                 t.stats.scsirsp_pdus, t.stats.dataout_pdus, t.stats.datain_pdus, t.stats.r2t_pdus,
                 t.stats.noptx_pdus, t.stats.noprx_pdus, t.stats.tmfcmd_pdus, t.stats.tmfrsp_pdus,
                 t.stats.async_pdus, t.stats.reject_pdus, t.stats.digest_err, records, t.sessions,
                 t.running, t.logins, t.lost);
    assert(n > 0 && n < IPC_REPLY_DATA_MAX);
    a->rep->r.text.len = (uint32_t)n;
    return 0;
}

/* ---- the door ------------------------------------------------------------------------------- */

static int (*const table_serves[ISCSI_UEVENT_COUNT])(struct table_ask *a) = {
    [ISCSI_UEVENT_NEW_FLASHNODE] = table_new,       [ISCSI_UEVENT_DEL_FLASHNODE] = table_delete,
    [ISCSI_UEVENT_SET_FLASHNODE] = table_set,       [ISCSI_UEVENT_GET_FLASHNODE] = table_get,
    [ISCSI_UEVENT_LIST_FLASHNODES] = table_list,    [ISCSI_UEVENT_LOGIN_FLASHNODE] = table_login,
    [ISCSI_UEVENT_LOGOUT_FLASHNODE] = table_logout, [ISCSI_UEVENT_SET_CHAP] = table_set_chap,
    [ISCSI_UEVENT_LIST_CHAP] = table_list_chap,     [ISCSI_UEVENT_DELETE_CHAP] = table_delete_chap,
    [ISCSI_UEVENT_SEND_PING] = table_ping,          [ISCSI_UEVENT_GET_HOST_STATS] = table_stats,
};

bool
engine_table_is(enum iscsi_uevent_type type)
{
    return (unsigned)type < ISCSI_UEVENT_COUNT && table_serves[type] != NULL;
}

void
engine_table_serve(struct engine_logins *e, const struct ipc_client *from,
                   const struct iscsi_uevent *ev, const void *data, uint32_t len)
{
    char out[IPC_REPLY_DATA_MAX];
    struct iscsi_reply rep;
    struct table_ask a = {.e = e,
                          .from = from,
                          .ev = ev,
                          .index = ev->u.engine_table.index,
                          .text = len > 0 ? data : "",
                          .len = len,
                          .rep = &rep,
                          .out = out};
    int r;

    assert(engine_table_is(ev->type));
    memset(&rep, 0, sizeof(rep));
    rep.type = ev->type;
    rep.seq = ev->seq;
    rep.data = out;
    r = table_serves[ev->type](&a);
    if (r == TABLE_LATER)
        return;
    rep.err = r;
    from->reply(from->binding, &rep);
}

void
engine_table_forget(struct engine_logins *e, const struct ipc_client *from)
{
    LIST_FOREACH_SAFE (n, &e->calls) {
        struct table_call *c = container_of(n, struct table_call, node);

        if (c->client.binding == from->binding)
            table_call_free(c);
    }
}
