/* SPDX-License-Identifier: MIT */
/* One discovery: SendTargets or a question to an iSNS server, by each iface in turn.  An iface by
 * which nothing is reached does not keep the others from it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "iscsid/internal.h"
#include "login/backoff.h"
#include "login/login.h"

#define SEEK_COUNT_MS 1000

struct seek {
    struct job job;
    struct seek_options o; /* without ifaces and values, which are borrowed */
    json_t *ifaces;        /* names */
    size_t at;             /* the iface whose turn it is */
    unsigned answered;     /* ifaces by which there was an answer */
    uint32_t reopen_max;   /* failures by one iface after which there is another try */
    uint32_t failures;     /* of this iface, of which one in a second counts */
    uint64_t counted_ns;   /* when the last of them was counted */
    uint64_t began_ns;     /* when the try began that is under way */
    struct login_backoff backoff;
    struct loop_timer again; /* the next try */
    struct nodedb_record disc;
    bool has_disc, is_new;
    struct control_discovery *discovery;
    struct isns_query *query;
    struct found *found;
    struct lunette_error why; /* of the first iface that has failed */
    struct loop_timer end;    /* the record waits for the lock */
    uint64_t lock_until_ns;
};

static void
seek_free(struct seek *s)
{
    loop_timer_stop(s->job.d->loop, &s->again);
    loop_timer_stop(s->job.d->loop, &s->end);
    control_discovery_free(&s->discovery);
    isns_query_free(&s->query);
    if (s->found != NULL)
        found_free(s->found);
    job_finish(&s->job);
    if (s->has_disc)
        nodedb_record_fini(&s->disc);
    json_decref(s->ifaces);
    free(s);
}

/* What was found is a job of its own. */
static void
seek_drop(struct job *j)
{
    struct seek *s = container_of(j, struct seek, job);

    s->found = NULL;
    seek_free(s);
}

/* The code of the API that fits best: what an iSNS server refuses has its own, and a discovery has
 * one for whoever does not answer, with a connection or without. */
static enum manage_code
seek_code(const struct seek *s, const struct lunette_error *err)
{
    if (err->domain == LUNETTE_DOM_TIMEOUT && err->code == -ETIMEDOUT)
        return MANAGE_CONNECT_TIMEOUT;
    if (s->o.kind == NODEDB_ISNS && (err->code == -EREMOTEIO || err->domain == LUNETTE_DOM_PROTO))
        return strncmp(err->msg, "registration", 12) == 0 ? MANAGE_ISNS_REGISTRATION
                                                          : MANAGE_ISNS_QUERY;
    return say_code(err);
}

/* Tells who asked, and frees s. */
static void
seek_fail(struct seek *s, const struct lunette_error *err)
{
    if (s->job.call == NULL)
        s->o.done(s->o.user, NULL, err);
    else if (err->domain == LUNETTE_DOM_CONNECT ||
             (err->domain == LUNETTE_DOM_TIMEOUT && err->code == -ETIMEDOUT))
        manage_fail(s->job.call, seek_code(s, err), "cannot make connection to %s: %s",
                    s->o.via.host, err->msg);
    else
        manage_fail(s->job.call, seek_code(s, err), "%s", err->msg);
    seek_free(s);
}

/* Writes the record of the discovery; -EAGAIN: later. */
static int
seek_write(struct seek *s, struct lunette_error *err)
{
    struct iscsid *d = s->job.d;
    int r = records_lock(d, &s->end, &s->lock_until_ns, err);

    if (r < 0)
        return r;
    r = nodedb_disc_write(d->db, &s->disc, err);
    nodedb_unlock(d->db);
    return r;
}

/* All ifaces have had their turn. */
static void
seek_end(struct seek *s)
{
    struct iscsid *d = s->job.d;
    struct found *found = s->found;
    struct manage_call *call = s->job.call;
    bool is_new = s->o.ops != 0 && s->is_new;
    struct lunette_error why;
    int r;

    if (s->answered == 0) {
        why = s->why;
        seek_fail(s, &why);
    } else if (is_new && (r = seek_write(s, &why)) < 0) {
        if (r != -EAGAIN)
            seek_fail(s, &why);
    } else {
        if (s->answered < json_array_size(s->ifaces))
            found_keep_stale(found);
        s->found = NULL;
        seek_free(s);
        found_start(found, call);
        if (is_new)
            loop_defer(d->loop, &d->follow_work);
    }
}

static void
seek_on_end(struct loop_timer *t)
{
    seek_end(container_of(t, struct seek, end));
}

static const char *
seek_iface(const struct seek *s)
{
    return json_string_value(json_array_get(s->ifaces, s->at));
}

static void
seek_iface_failed(struct seek *s, const struct lunette_error *err)
{
    if (json_array_size(s->ifaces) > 1)
        log_line(s->job.d->loop->log, LOG_LEVEL_WARN, "discovery at %s by iface %s: %s",
                 s->o.via.host, seek_iface(s), err->msg);
    if (s->why.code == 0)
        s->why = *err;
}

/* ---- another try ---------------------------------------------------------------------------- */

static void seek_go_on(struct seek *s);

static void
seek_on_again(struct loop_timer *t)
{
    seek_go_on(container_of(t, struct seek, again));
}

static void
seek_tell_again(struct seek *s, const struct lunette_error *err)
{
    log_line(s->job.d->loop->log, LOG_LEVEL_INFO, "discovery at %s by iface %s: %s; try %u of %u",
             s->o.via.host, seek_iface(s), err->msg, s->failures, s->reopen_max + 1);
    if (s->job.call != NULL)
        manage_progress(s->job.call,
                        json_pack("{s:s,s:I,s:I,s:o}", "state", "retrying", "attempt",
                                  (json_int_t)s->failures, "retries", (json_int_t)s->reopen_max,
                                  "error", manage_error_json(seek_code(s, err), err->msg)));
}

/* A try has failed.  What may pass is tried again with the back-off of logins, and given up at
 * reopen_max + 1 failures, of which one in a second counts, since a target that is starting fails
 * us quickly.  Returns whether there is another try. */
static bool
seek_try_again(struct seek *s, const struct lunette_error *err)
{
    struct loop *loop = s->job.d->loop;
    bool counts =
        s->failures == 0 || loop->now_ns - s->counted_ns >= SEEK_COUNT_MS * LOOP_NS_PER_MS;

    if (!login_error_retryable(err))
        return false;
    if (counts) {
        s->failures++;
        s->counted_ns = loop->now_ns;
    }
    if (s->failures > s->reopen_max)
        return false;
    if (counts)
        seek_tell_again(s, err);
    loop_timer_start(loop, &s->again, backoff_next(&s->backoff, loop, s->began_ns, err));
    return true;
}

/* r is what has become of an answer. */
static void
seek_answered(struct seek *s, int r, const struct lunette_error *err)
{
    if (r < 0)
        seek_iface_failed(s, err);
    else
        s->answered++;
    s->at++;
    s->failures = 0;
    seek_go_on(s);
}

static void
seek_on_targets(void *user, struct discovery_result *res, const struct lunette_error *err)
{
    struct lunette_error why = err != NULL ? *err : (struct lunette_error){.code = 0};
    struct seek *s = user;

    if (err == NULL) {
        (void)found_add_targets(s->found, seek_iface(s), res, &why);
        discovery_result_free(res);
    }
    control_discovery_free(&s->discovery);
    if (err == NULL || !seek_try_again(s, &why))
        seek_answered(s, why.code, &why);
}

static void
seek_on_portals(void *user, struct isns_targets *found, const struct lunette_error *err)
{
    struct lunette_error why = err != NULL ? *err : (struct lunette_error){.code = 0};
    struct seek *s = user;

    if (err == NULL) {
        (void)found_add_portals(s->found, seek_iface(s), found, &why);
        isns_targets_free(found);
    }
    isns_query_free(&s->query);
    seek_answered(s, why.code, &why);
}

int
seek_config(struct iscsid *d, const struct nodedb_record *disc, const char *name,
            struct login_config *cfg, struct nodedb_disc_opts *opts, struct lunette_error *err)
{
    struct nodedb_record iface;
    int r = nodedb_iface_read(d->db, name, &iface, err);

    if (r < 0)
        return r;
    r = nodedb_to_discovery_config(disc, &iface, &d->conf, &d->who, cfg, opts, err);
    nodedb_record_fini(&iface);
    if (r < 0)
        return r;
    r = nodedb_bind(&opts->bind, SYS_NET, cfg, err);
    if (r < 0)
        login_config_wipe(cfg);
    return r;
}

void
seek_isns_config(const struct login_config *cfg, struct isns_config *ret)
{
    memset(ret, 0, sizeof(*ret)); /* configurations are compared as bytes */
    ret->server = cfg->portal;
    ret->sock = cfg->sock;
    memcpy(ret->source, cfg->initiator_name, sizeof(ret->source));
}

static int
seek_ask(struct seek *s, struct lunette_error *err)
{
    struct discovery_callbacks cb = {.done = seek_on_targets, .user = s};
    struct nodedb_disc_opts opts;
    struct isns_config isns;
    struct login_config cfg;
    int r = seek_config(s->job.d, &s->disc, seek_iface(s), &cfg, &opts, err);

    if (r < 0)
        return r;
    if (s->failures == 0)
        backoff_reset(&s->backoff, s->job.d->loop->now_ns);
    s->began_ns = s->job.d->loop->now_ns;
    s->reopen_max = opts.reopen_max;
    cb.text_timeout_ms = opts.text_timeout_ms;
    if (s->o.kind == NODEDB_ISNS) {
        seek_isns_config(&cfg, &isns);
        r = isns_query(s->job.d->loop, &isns, seek_on_portals, s, &s->query, err);
    } else {
        r = control_discover(s->job.d->control, &cfg, NULL, &cb, &s->discovery, err);
    }
    login_config_wipe(&cfg);
    return r;
}

/* Asks by the next iface, or ends. */
static void
seek_go_on(struct seek *s)
{
    struct lunette_error err;

    for (; s->at < json_array_size(s->ifaces); s->at++) {
        err = (struct lunette_error){.code = 0};
        if (seek_ask(s, &err) == 0)
            return;
        seek_iface_failed(s, &err);
    }
    seek_end(s);
}

/* ---- the beginning -------------------------------------------------------------------------- */

static int
seek_add_iface(void *user, struct nodedb_record *r)
{
    const char *name = nodedb_record_text(r, NODEDB_IFACE_NAME);
    const char *transport = nodedb_record_text(r, NODEDB_IFACE_TRANSPORT);

    if (nodedb_iface_reserved(name) || (transport[0] != '\0' && strcmp(transport, "tcp") != 0))
        return 0;
    return json_array_append_new(user, say_text(name)) < 0 ? -ENOMEM : 0;
}

/* As with open-iscsi: where no iface is named, all that somebody has made are used. */
static int
seek_ifaces(struct seek *s, const json_t *named, struct lunette_error *err)
{
    int r = 0;

    say_no_memory(err); /* where it is told by nobody else */
    s->ifaces = json_array_size(named) > 0 ? json_deep_copy(named) : json_array();
    if (json_array_size(named) == 0)
        r = nodedb_ifaces(s->job.d->db, seek_add_iface, s->ifaces, err);
    if (r == 0 && json_array_size(s->ifaces) == 0)
        (void)json_array_append_new(s->ifaces, json_string("default"));
    return r == 0 && json_array_size(s->ifaces) == 0 ? -ENOMEM : r;
}

/* The record of the discovery, or a new one, and what it is to be changed by. */
static int
seek_record(struct seek *s, const json_t *values, struct lunette_error *err)
{
    struct iscsid *d = s->job.d;
    int r = nodedb_disc_read(d->db, s->o.kind, &s->o.via, &s->disc, err);

    s->is_new = r == -ENOENT;
    if (s->is_new)
        r = nodedb_disc_init(&s->disc, s->o.kind, &s->o.via, &d->conf, err);
    s->has_disc = r == 0;
    return r == 0 ? records_set(&s->disc, values, err) : r;
}

void
seek_start(struct iscsid *d, struct manage_call *call, const struct seek_options *o)
{
    struct found_options found = {
        .source = o->kind == NODEDB_ISNS ? NODEDB_BY_ISNS : NODEDB_BY_SENDTARGETS,
        .via = o->via,
        .ops = o->ops,
        .login = o->login,
        .no_wait = o->no_wait,
        .done = o->done,
        .user = o->user,
    };
    struct lunette_error err = {.code = 0};
    struct seek *s = calloc(1, sizeof(*s));
    int r;

    if (s == NULL) {
        say_no_memory(&err);
        if (call != NULL)
            say_fail(call, &err);
        else
            o->done(o->user, NULL, &err);
        return;
    }
    s->o = *o;
    s->o.ifaces = s->o.values = NULL;
    loop_timer_init(&s->again, seek_on_again);
    loop_timer_init(&s->end, seek_on_end);
    job_begin_plane(&s->job, d, call, seek_drop);
    s->found = found_new(d, &found);
    if (s->found == NULL)
        say_no_memory(&err);
    r = s->found == NULL ? -ENOMEM : seek_ifaces(s, o->ifaces, &err);
    if (r == 0)
        r = seek_record(s, o->values, &err);
    if (r < 0)
        seek_fail(s, &err);
    else
        seek_go_on(s);
}
