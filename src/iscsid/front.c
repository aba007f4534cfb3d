/* SPDX-License-Identifier: MIT */
/* From requests of open-iscsi's iscsiadm to methods of the API, and back. */
#include "iscsid/front.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "classic/classic.h"
#include "iscsid/sysfs.h"
#include "manage/wipe.h"

#define FRONT_SETTLE_MS 5000 /* how long an answer waits for LUNs and the tree of --sysfs */
#define FRONT_POLL_MS   5

struct front {
    struct iscsid *d;
    struct classic_server *server;
    struct list waiting; /* struct front_call: done, but not to be seen by everybody yet */
    struct loop_timer settle, stop;
};

/* A request that is under way. */
struct front_call {
    struct list node;
    struct front *f;
    struct classic_caller *caller;
    uint32_t command, sid;
    int code;
    uint64_t until_ns;
    struct classic_record *record; /* a login: what makes the record where it is missing */
};

static void
front_call_free(struct front_call *c)
{
    if (c->record != NULL)
        explicit_bzero(c->record, sizeof(*c->record));
    free(c->record);
    list_del(&c->node);
    free(c);
}

static void
front_say(struct classic_caller *caller, uint32_t command, int code, const char *text)
{
    struct classic_reply rep;

    classic_reply_init(&rep, command, code);
    if (text != NULL)
        classic_reply_text(&rep, text);
    classic_answer(caller, &rep);
}

static struct front_call *
front_call_new(struct front *f, struct classic_caller *caller, const struct classic_request *rq)
{
    struct front_call *c = calloc(1, sizeof(*c));

    if (c == NULL) {
        front_say(caller, rq->command, MANAGE_NO_MEMORY, NULL);
        return NULL;
    }
    list_init(&c->node);
    c->f = f;
    c->caller = caller;
    c->command = rq->command;
    c->sid = rq->sid > 0 ? (uint32_t)rq->sid : 0;
    return c;
}

/* ---- answers -------------------------------------------------------------------------------- */

/* The error of an answer, or of its only result; 0: none. */
static int
front_code(const json_t *answer)
{
    const json_t *results = json_object_get(json_object_get(answer, "result"), "results");
    const json_t *error = json_object_get(answer, "error");
    json_int_t code;

    if (answer == NULL)
        return MANAGE_NO_MEMORY;
    for (size_t i = 0; error == NULL && i < json_array_size(results); i++)
        error = json_object_get(json_array_get(results, i), "error");
    if (error == NULL || json_is_null(error))
        return 0;
    code = json_integer_value(json_object_get(error, "exit"));
    return code > 0 && code <= INT32_MAX ? (int)code : CLASSIC_ERROR;
}

/* The session of an answer to a login; 0: it is not told. */
static uint32_t
front_sid(const json_t *answer)
{
    const json_t *results = json_object_get(json_object_get(answer, "result"), "results");

    return (uint32_t)json_integer_value(json_object_get(json_array_get(results, 0), "sid"));
}

static void
front_finish(struct front_call *c)
{
    front_say(c->caller, c->command, c->code, NULL);
    front_call_free(c);
}

/* Can everybody see what has been done?  Callers look for the disks right after a login. */
static bool
front_is_seen(const struct front_call *c)
{
    struct iscsid *d = c->f->d;
    struct control_node *n = c->sid != 0 ? control_find_sid(d->control, c->sid) : NULL;
    struct control_info info;

    if (d->loop->now_ns >= c->until_ns)
        return true;
    if (!sysfs_is_settled(d->sysfs))
        return false;
    if (n == NULL || c->command != CLASSIC_SESSION_LOGIN)
        return true;
    control_node_get_info(n, &info);
    return info.state != CONTROL_IS_UP || info.settled;
}

static void
front_on_settle(struct loop_timer *t)
{
    struct front *f = container_of(t, struct front, settle);

    LIST_FOREACH_SAFE (n, &f->waiting) {
        struct front_call *c = container_of(n, struct front_call, node);

        if (front_is_seen(c))
            front_finish(c);
    }
    if (!list_empty(&f->waiting))
        loop_timer_start(f->d->loop, t, FRONT_POLL_MS * LOOP_NS_PER_MS);
}

/* What was asked for is done, or has failed. */
static void
front_done(struct front_call *c, int code)
{
    c->code = code;
    c->until_ns = c->f->d->loop->now_ns + FRONT_SETTLE_MS * LOOP_NS_PER_MS;
    list_push_back(&c->f->waiting, &c->node);
    if (!loop_timer_running(&c->f->settle))
        loop_timer_start(c->f->d->loop, &c->f->settle, 0);
}

static void
front_on_done(void *user, const json_t *answer)
{
    struct front_call *c = user;
    int code = front_code(answer);

    if (code == MANAGE_NOT_FOUND)
        code = MANAGE_SESSION_NOT_FOUND;
    if (code == 0 && c->sid == 0)
        c->sid = front_sid(answer);
    front_done(c, code);
}

static void
front_ask(struct front_call *c, const char *method, json_t *params,
          void (*done)(void *user, const json_t *answer))
{
    if (params != NULL)
        manage_server_ask(c->f->d->manage, method, params, done, c);
    else
        done(c, NULL);
    json_decref(params);
}

/* ---- login ---------------------------------------------------------------------------------- */

/* The values of a record that are valid; the others stay as our record has them. */
static json_t *
login_values(const struct classic_record *r)
{
    char checked[NODEDB_VALUE_MAX + 1];
    json_t *values = json_array();
    struct lunette_error err;

    for (unsigned i = 0; i < r->nvalues; i++) {
        const struct classic_value *v = &r->values[i];
        int id = nodedb_key_find(NODEDB_NODE, v->name, strlen(v->name), NULL);

        if (id < 0 ||
            nodedb_value_check(nodedb_key((enum nodedb_key_id)id), v->text, checked, &err) != 0)
            continue;
        /* A text that is no UTF-8 cannot be told, and is NULL here. */
        (void)json_array_append_new(values, json_pack("[s,o]", v->name, json_string(v->text)));
    }
    explicit_bzero(checked, sizeof(checked));
    return values;
}

/* NULL: memory was short.  Without one of its members a request would be about other sessions, or
 * about one with another password. */
static json_t *
login_params(const struct classic_record *r, bool create)
{
    unsigned long shortages = manage_json_shortages();
    json_t *o = json_object(), *values = login_values(r);

    say_put(o, "target", say_text(r->target));
    say_portal(o, "portal", &r->portal);
    if (r->portal.tpgt >= 0)
        say_put(o, "tpgt", json_integer(r->portal.tpgt));
    else if (!create) /* a request is about one record, and this is the one without a tag */
        say_put(o, "untagged", json_true());
    say_put(o, "iface", say_text(r->iface[0] != '\0' ? r->iface : "default"));
    if (!create) {
        /* A request is for one session, however many the record asks for. */
        (void)json_array_append_new(values, json_pack("[s,s]", "node.session.nr_sessions", "1"));
        say_put(o, "more", json_boolean(r->more));
    }
    say_put(o, "values", values);
    if (manage_json_shortages() == shortages)
        return o;
    json_decref(o);
    return NULL;
}

static void
login_on_created(void *user, const json_t *answer)
{
    struct front_call *c = user;
    int code = front_code(answer);

    if (code != 0)
        front_done(c, code);
    else
        front_ask(c, "node.login", login_params(c->record, false), front_on_done);
}

static void
login_on_firmware(void *user, const json_t *answer)
{
    struct front_call *c = user;
    int code = front_code(answer);

    if (code == MANAGE_NOT_FOUND || code == MANAGE_LOOKUP) /* its records are not ours */
        front_ask(c, "node.new", login_params(c->record, true), login_on_created);
    else
        front_on_done(c, answer);
}

/* A target that the firmware knows needs no record, here as there. */
static void
login_on_done(void *user, const json_t *answer)
{
    struct front_call *c = user;
    json_t *params;

    if (front_code(answer) != MANAGE_NOT_FOUND) {
        front_on_done(c, answer);
        return;
    }
    params = login_params(c->record, false);
    (void)json_object_del(params, "more");
    (void)json_object_del(params, "untagged");
    front_ask(c, "fw.login", params, login_on_firmware);
}

static void
front_login(struct front *f, struct classic_caller *caller, const struct classic_request *rq)
{
    struct front_call *c = front_call_new(f, caller, rq);

    if (c == NULL)
        return;
    c->sid = 0;
    c->record = malloc(sizeof(*c->record));
    if (c->record == NULL) {
        front_done(c, MANAGE_NO_MEMORY);
        return;
    }
    *c->record = rq->record;
    front_ask(c, "node.login", login_params(c->record, false), login_on_done);
}

/* ---- other requests ------------------------------------------------------------------------- */

static void
front_logout(struct front *f, struct classic_caller *caller, const struct classic_request *rq)
{
    struct front_call *c = front_call_new(f, caller, rq);

    if (c == NULL)
        return;
    if (c->sid == 0)
        front_done(c, MANAGE_SESSION_NOT_FOUND);
    else
        front_ask(c, "session.logout", json_pack("{s:I}", "sid", (json_int_t)c->sid),
                  front_on_done);
}

static uint64_t
stats_number(const json_t *o, const char *name)
{
    json_int_t v = json_integer_value(json_object_get(o, name));

    return v > 0 ? (uint64_t)v : 0;
}

static void
stats_on_done(void *user, const json_t *answer)
{
    static const char *const names[19] = {
        [CLASSIC_NOP_OUT] = "noptx_pdus",
        [CLASSIC_SCSI_COMMAND] = "scsicmd_pdus",
        [CLASSIC_TASK_REQUEST] = "tmfcmd_pdus",
        [CLASSIC_LOGIN_REQUEST] = "login_pdus",
        [CLASSIC_TEXT_REQUEST] = "text_pdus",
        [CLASSIC_DATA_OUT] = "dataout_pdus",
        [CLASSIC_LOGOUT_REQUEST] = "logout_pdus",
        [CLASSIC_SNACK] = "snack_pdus",
        [CLASSIC_NOP_IN] = "noprx_pdus",
        [CLASSIC_SCSI_RESPONSE] = "scsirsp_pdus",
        [CLASSIC_TASK_RESPONSE] = "tmfrsp_pdus",
        [CLASSIC_TEXT_RESPONSE] = "textrsp_pdus",
        [CLASSIC_DATA_IN] = "datain_pdus",
        [CLASSIC_LOGOUT_RESPONSE] = "logoutrsp_pdus",
        [CLASSIC_R2T] = "r2t_pdus",
        [CLASSIC_ASYNC] = "async_pdus",
        [CLASSIC_REJECT] = "rjt_pdus",
        [CLASSIC_DIGEST_ERRORS] = "digest_err",
        [CLASSIC_TIMEOUTS] = "timeout_err",
    };
    const json_t *list = json_object_get(json_object_get(answer, "result"), "sessions");
    const json_t *o = json_object_get(json_array_get(list, 0), "iscsi_stats");
    struct front_call *c = user;
    struct classic_stats stats = {.txdata_octets = stats_number(o, "txdata_octets"),
                                  .rxdata_octets = stats_number(o, "rxdata_octets")};
    int code = front_code(answer);
    struct classic_reply rep;

    if (code == MANAGE_NOT_FOUND || (code == 0 && o == NULL))
        code = MANAGE_SESSION_NOT_FOUND;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        stats.pdus[i] = (uint32_t)stats_number(o, names[i]);
    classic_reply_init(&rep, c->command, code);
    if (code == 0)
        classic_reply_stats(&rep, &stats);
    classic_answer(c->caller, &rep);
    front_call_free(c);
}

static void
front_stats(struct front *f, struct classic_caller *caller, const struct classic_request *rq)
{
    struct front_call *c = front_call_new(f, caller, rq);

    if (c != NULL)
        front_ask(c, "session.stats", json_pack("{s:I}", "sid", (json_int_t)c->sid), stats_on_done);
}

/* The numbers of open-iscsi for its states. */
static void
front_info(struct front *f, struct classic_caller *caller, const struct classic_request *rq)
{
    enum { NO_CHANGE, CLEANUP, REOPEN };
    enum { FREE, XPT_WAIT, IN_LOGIN, LOGGED_IN, IN_LOGOUT, LOGOUT_REQUESTED, CLEANUP_WAIT };
    static const struct {
        int session, conn;
    } states[CONTROL_STATES] = {
        [CONTROL_IS_UP] = {NO_CHANGE, LOGGED_IN},
        [CONTROL_IS_LOST] = {REOPEN, XPT_WAIT},
        [CONTROL_IS_LOGIN] = {NO_CHANGE, IN_LOGIN},
        [CONTROL_IS_LOGOUT] = {NO_CHANGE, IN_LOGOUT},
        [CONTROL_IS_GAVE_UP] = {CLEANUP, CLEANUP_WAIT},
    };
    struct control_node *n =
        rq->sid > 0 ? control_find_sid(f->d->control, (uint32_t)rq->sid) : NULL;
    struct control_info info;
    struct classic_reply rep;

    classic_reply_init(&rep, rq->command, n != NULL ? 0 : MANAGE_SESSION_NOT_FOUND);
    if (n != NULL) {
        control_node_get_info(n, &info);
        classic_reply_states(&rep, states[info.state].session, states[info.state].conn);
    }
    classic_answer(caller, &rep);
}

static void
front_on_stop(struct loop_timer *t)
{
    struct front *f = container_of(t, struct front, stop);

    log_line(f->d->loop->log, LOG_LEVEL_INFO, "iscsiadm has asked for the end of the daemon");
    if (f->d->cfg.ended != NULL)
        f->d->cfg.ended(f->d->cfg.user, NULL);
}

static void
front_on_request(void *user, struct classic_caller *caller, const struct classic_request *rq)
{
    struct front *f = user;
    int code = CLASSIC_OK;
    const char *text = NULL;

    switch (rq->command) {
    case CLASSIC_SESSION_LOGIN:
        front_login(f, caller, rq);
        return;
    case CLASSIC_SESSION_LOGOUT:
        front_logout(f, caller, rq);
        return;
    case CLASSIC_SESSION_STATS:
        front_stats(f, caller, rq);
        return;
    case CLASSIC_SESSION_INFO:
        front_info(f, caller, rq);
        return;
    case CLASSIC_CONFIG_INAME:
        text = f->d->who.name;
        break;
    case CLASSIC_CONFIG_IALIAS:
        text = f->d->who.alias;
        break;
    case CLASSIC_CONFIG_FILE:
        text = f->d->cfg.conf_file;
        break;
    case CLASSIC_IMMEDIATE_STOP: /* sessions stay, as when it is stopped by a signal */
        if (!loop_timer_running(&f->stop))
            loop_timer_start(f->d->loop, &f->stop, 0);
        break;
    case CLASSIC_CONN_ADD:
    case CLASSIC_CONN_REMOVE:
        code = CLASSIC_ERROR;
        break;
    case CLASSIC_SEND_TARGETS: /* for adapters that do it themselves */
    case CLASSIC_SESSION_SYNC: /* from the daemon to itself */
        code = CLASSIC_UNSUPPORTED;
        break;
    case CLASSIC_NOTIFY_ADD_NODE:
    case CLASSIC_NOTIFY_DEL_NODE:
    case CLASSIC_NOTIFY_ADD_PORTAL:
    case CLASSIC_NOTIFY_DEL_PORTAL:
        break; /* records are read when they are needed */
    default:
        code = CLASSIC_UNKNOWN;
    }
    front_say(caller, rq->command, code, text);
}

/* ---- life ----------------------------------------------------------------------------------- */

int
front_new(struct iscsid *d, struct front **ret, struct lunette_error *err)
{
    struct front *f = calloc(1, sizeof(*f));
    struct classic_config cfg = {.request = front_on_request, .user = f, .uid = geteuid()};

    if (f == NULL || classic_server_new(d->loop, &cfg, &f->server) < 0) {
        free(f);
        say_no_memory(err);
        return -ENOMEM;
    }
    f->d = d;
    list_init(&f->waiting);
    loop_timer_init(&f->settle, front_on_settle);
    loop_timer_init(&f->stop, front_on_stop);
    *ret = f;
    return 0;
}

int
front_listen(struct front *f, struct lunette_error *err)
{
    return classic_server_listen(f->server, err);
}

void
front_free(struct front **front)
{
    struct front *f = *front;

    if (f == NULL)
        return;
    *front = NULL;
    loop_timer_stop(f->d->loop, &f->settle);
    loop_timer_stop(f->d->loop, &f->stop);
    LIST_FOREACH_SAFE (n, &f->waiting)
        front_call_free(container_of(n, struct front_call, node));
    classic_server_free(&f->server);
    free(f);
}
