/* SPDX-License-Identifier: MIT */
/* engine/login.c - one session of an engine: its first login, login/reopen.h which keeps it, what
 * its uses hear, and its end. */
#include "engine/login.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/dataplane.h"
#include "engine/login_priv.h"

#define TURN_MS 50 /* until it is asked again whether the one before has ended */

static const char *
login_target(const struct engine_login *l)
{
    const struct flash_record *r = engine_flash_get(l->e->flash, l->index);

    return r != NULL ? r->login.target_name : "(deleted)";
}

/* ---- telling -------------------------------------------------------------------------------- */

static void
login_tell(struct engine_login *l, enum ipc_session_state st, const struct lunette_error *why)
{
    l->state = st;
    if (why != NULL)
        l->why = *why;
    engine_uses_state(&l->uses, st, engine_login_why(l));
}

static void
login_tell_waits(struct engine_login *l, const struct lunette_error *why)
{
    struct list told;

    list_init(&told);
    list_splice(&told, &l->waits);
    while (!list_empty(&told)) {
        struct engine_login_wait *w =
            container_of(list_pop_front(&told), struct engine_login_wait, node);

        w->done(w, why);
    }
}

static void
login_host_restart(void *user)
{
    struct engine_login *l = user;

    engine_uses_restart(&l->uses);
}

static void
login_host_state(void *user, enum scsi_host_state s, const struct lunette_error *why)
{
    static const enum ipc_session_state as[] = {
        [SCSI_HOST_RUNNING] = IPC_SESSION_RUNNING,
        [SCSI_HOST_BLOCKED] = IPC_SESSION_BLOCKED,
        [SCSI_HOST_GONE] = IPC_SESSION_FAILED,
    };
    struct engine_login *l = user;

    if (l->phase != ENGINE_LOGIN_OUT)
        login_tell(l, as[s], why);
}

/* Sense data without a command: nobody above an engine's session has a use for it, since clients
 * hear of a unit's attention with their commands. */
static void
login_host_sense(void *user, const uint8_t lun[8], const uint8_t *sense, uint16_t len)
{
    (void)user;
    (void)lun;
    (void)sense;
    (void)len;
}

static void
login_host_freed(void *user)
{
    struct engine_login *l = user;

    l->host = NULL;
    engine_uses_gone(&l->uses);
}

static const struct scsi_host_events login_host_events = {.restart = login_host_restart,
                                                          .state = login_host_state,
                                                          .async_sense = login_host_sense,
                                                          .freed = login_host_freed};

/* ---- what happens to a session that was logged in ------------------------------------------- */

static void
kept_lost(void *user, const struct lunette_error *why)
{
    struct engine_login *l = user;

    l->e->nlost++;
    log_line(l->e->loop->log, LOG_LEVEL_WARN, "engine: record %u, %s: lost: %s", l->index,
             login_target(l), why->msg);
}

static void
kept_back(void *user, const struct login_result *res, uint64_t down_ns)
{
    struct engine_login *l = user;

    l->e->nlogins++;
    l->sid = res->sid;
    l->cid = res->cid;
    log_line(l->e->loop->log, LOG_LEVEL_INFO, "engine: record %u, %s: back after %llu ms", l->index,
             login_target(l), (unsigned long long)(down_ns / LOOP_NS_PER_MS));
}

static void
kept_led(void *user, uint16_t cid)
{
    struct engine_login *l = user;

    l->cid = cid;
}

/* The data plane has no such session any more, which only a fault of ours can bring about: another
 * session takes its place. */
static void
kept_gave_up(void *user, const struct lunette_error *why)
{
    struct engine_login *l = user;

    log_line(l->e->loop->log, LOG_LEVEL_ERROR, "engine: record %u, %s: given up: %s", l->index,
             login_target(l), why->msg);
    l->again = true;
    engine_login_out(l);
}

/* ---- the first login ------------------------------------------------------------------------ */

static void login_wait_for_turn(struct engine_login *l);

/* What the record says now, with its secrets, which the caller wipes. */
static int
login_make_config(struct engine_login *l, struct login_config *cfg, struct lunette_error *err)
{
    const struct flash_record *r = engine_flash_get(l->e->flash, l->index);
    int e = 0;

    if (r == NULL)
        return lunette_fail(err, -ENOENT, LUNETTE_DOM_USAGE, 0, "record %u was deleted", l->index);
    *cfg = r->login;
    cfg->allow_short_secret = true; /* as with iscsid's records: targets have them */
    if (r->chap != FLASH_NO_CHAP)
        e = engine_chap_get(l->e->flash, (uint32_t)r->chap, &cfg->chap, err);
    if (e == 0 && r->chap_in != FLASH_NO_CHAP)
        e = engine_chap_get(l->e->flash, (uint32_t)r->chap_in, &cfg->mutual, err);
    if (e == 0 && (cfg->target_name[0] == '\0' || cfg->portal.host[0] == '\0' ||
                   cfg->initiator_name[0] == '\0'))
        e = lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                         "record %u is not complete: flashnode.session.targetname, "
                         "flashnode.session.initiatorname and flashnode.conn[0].ipaddress are "
                         "needed",
                         l->index);
    return e;
}

void
engine_logins_check_end(struct engine_logins *e)
{
    if (!list_empty(&e->list))
        return;
    e->settle_until_ns = e->loop->now_ns + LOGINS_SETTLE_NS;
    loop_timer_start(e->loop, &e->settle, 0);
}

struct engine_login *
engine_login_of(const struct engine_logins *e, uint32_t index)
{
    LIST_FOREACH (n, &e->list) {
        struct engine_login *l = container_of(n, struct engine_login, node);

        if (l->index == index && l->phase != ENGINE_LOGIN_OUT)
            return l;
    }
    return NULL;
}

/* Nobody wants it, and it never was: nothing is left of it. */
static void
login_drop(struct engine_login *l)
{
    struct engine_logins *e = l->e;

    assert(l->login == NULL && l->logout == NULL && l->host == NULL && list_empty(&l->waits) &&
           list_empty(&l->uses.list));
    login_gate_leave(&l->turn);
    loop_timer_stop(e->loop, &l->retry);
    loop_defer_cancel(&l->news);
    reopen_free(&l->reopen);
    list_del(&l->node);
    free(l);
    if (e->ending)
        engine_logins_check_end(e);
}

static bool
login_is_wanted(const struct engine_login *l)
{
    const struct flash_record *r = engine_flash_get(l->e->flash, l->index);

    return !list_empty(&l->uses.list) || (r != NULL && r->boot);
}

/* A try has failed.  It may be the last. */
static void
login_failed(struct engine_login *l, const struct lunette_error *err)
{
    struct lunette_error why = *err;
    uint64_t wait_ns;

    login_gate_leave(&l->turn);
    reopen_free(&l->reopen);
    log_line(l->e->loop->log, LOG_LEVEL_WARN, "engine: record %u, %s: cannot log in: %s", l->index,
             login_target(l), why.msg);
    login_tell(l, IPC_SESSION_FAILED, &why);
    login_tell_waits(l, &why);
    if (l->phase != ENGINE_LOGIN_FIRST) /* somebody has had enough inside */
        return;
    if (!login_is_wanted(l)) {
        login_drop(l);
        return;
    }
    wait_ns = backoff_next(&l->backoff, l->e->loop, l->began_ns, &why);
    l->turn.behind = true;
    loop_timer_start(l->e->loop, &l->retry, wait_ns);
}

static void
login_came_up(struct engine_login *l, const struct login_result *res)
{
    char text[PORTAL_TEXT_MAX];

    l->e->nlogins++;
    log_line(l->e->loop->log, LOG_LEVEL_INFO, "engine: record %u, %s: logged in at %s", l->index,
             login_target(l), portal_format(&res->portal, text, sizeof(text)));
    login_tell(l, IPC_SESSION_RUNNING, NULL);
    login_tell_waits(l, NULL);
}

static void
login_first_done(void *user, const struct login_result *res, const struct lunette_error *err)
{
    struct engine_login *l = user;
    struct lunette_error why;

    login_free(&l->login);
    login_gate_leave(&l->turn);
    if (res != NULL) {
        reopen_attach(l->reopen, res);
        l->sid = res->sid;
        l->cid = res->cid;
        l->host = dataplane_host(l->e->dp, res->sid);
    }
    if (l->host != NULL) {
        l->host->ev_user = l;
        l->host->ev = &login_host_events;
    }
    if (l->phase == ENGINE_LOGIN_OUT) {
        loop_defer(l->e->loop, &l->news);
        return;
    }
    if (res == NULL) {
        why = *err;
        login_failed(l, &why);
        return;
    }
    l->phase = ENGINE_LOGIN_KEPT;
    if (l->host == NULL) {
        (void)lunette_fail(&why, -ENOTCONN, LUNETTE_DOM_CONNECT, 0,
                           "the session was lost right after its login");
        kept_gave_up(l, &why);
        return;
    }
    login_came_up(l, res);
}

static int
login_keep_by(struct engine_login *l, const struct login_config *cfg, struct lunette_error *err)
{
    static const struct reopen_callbacks calls = {
        .lost = kept_lost, .back = kept_back, .led = kept_led, .gave_up = kept_gave_up};
    const struct reopen_config rc = {.login = cfg, .reopen_max = 0}; /* it never gives up */
    struct reopen_callbacks cb = calls;

    cb.user = l;
    return reopen_new(l->e->ctl, &l->e->gate, &rc, &cb, &l->reopen, err);
}

static void
login_try(struct engine_login *l)
{
    struct login_callbacks cb = {.done = login_first_done, .user = l};
    struct lunette_error err;
    struct login_config cfg;
    int r;

    l->began_ns = l->e->loop->now_ns;
    memset(&cfg, 0, sizeof(cfg));
    r = login_make_config(l, &cfg, &err);
    if (r == 0)
        r = login_keep_by(l, &cfg, &err);
    if (r == 0)
        r = login_start(l->e->ctl, &cfg, &cb, &l->login, &err);
    login_config_wipe(&cfg);
    if (r < 0)
        login_failed(l, &err);
}

static void
login_passed(struct login_turn *t)
{
    login_try(container_of(t, struct engine_login, turn));
}

/* Does the session that was before still end?  The target is to see one login at a time. */
static bool
login_has_elder(const struct engine_login *l)
{
    LIST_FOREACH (n, &l->e->list) {
        const struct engine_login *o = container_of(n, struct engine_login, node);

        if (o != l && o->index == l->index)
            return true;
    }
    return false;
}

static void
login_wait_for_turn(struct engine_login *l)
{
    if (login_has_elder(l))
        loop_timer_start(l->e->loop, &l->retry, TURN_MS * LOOP_NS_PER_MS);
    else if (login_gate_enter(&l->e->gate, &l->turn))
        login_try(l);
}

/* ---- the end -------------------------------------------------------------------------------- */

static void
login_ended(struct engine_login *l)
{
    struct engine_logins *e = l->e;
    bool again = l->again && !e->ending && login_is_wanted(l);
    uint32_t index = l->index;
    struct lunette_error err;

    engine_uses_gone(&l->uses);
    login_tell_waits(l, NULL);
    login_drop(l);
    if (again && engine_login_of(e, index) == NULL && engine_login_begin(e, index, NULL, &err) < 0)
        log_line(e->loop->log, LOG_LEVEL_ERROR, "engine: record %u: %s", index, err.msg);
}

static void
login_on_logout(void *user, const struct lunette_error *err)
{
    struct engine_login *l = user;

    if (err != NULL)
        log_line(l->e->loop->log, LOG_LEVEL_INFO,
                 "engine: record %u, %s: ended without a logout: %s", l->index, login_target(l),
                 err->msg);
    else
        log_line(l->e->loop->log, LOG_LEVEL_INFO, "engine: record %u, %s: logged out", l->index,
                 login_target(l));
    logout_free(&l->logout);
    login_ended(l);
}

/* Where there is no memory it stays logged in until there is some: what is under way on its host
 * has to come to its end. */
static void
login_log_out(struct engine_login *l)
{
    if (session_logout_task(l->e->ctl, &l->out, login_on_logout, l, &l->logout) < 0)
        loop_timer_start(l->e->loop, &l->retry, LOGOUT_RETRY_MS * LOOP_NS_PER_MS);
}

/* The end begins, in a turn of its own. */
static void
login_leave_it(struct engine_login *l)
{
    if (l->login != NULL) /* canceled: it undoes what it has made, and comes back here */
        return;
    login_tell(l, IPC_SESSION_ENDING, NULL);
    if (l->sid == 0) {
        login_ended(l);
        return;
    }
    reopen_logout_config(l->reopen, &l->out);
    l->out.until_gone = true;
    reopen_free(&l->reopen);
    login_log_out(l);
}

void
engine_login_out(struct engine_login *l)
{
    struct lunette_error why;

    if (l->phase == ENGINE_LOGIN_OUT)
        return;
    (void)lunette_fail(&why, -ECANCELED, LUNETTE_DOM_USAGE, 0, "record %u was logged out of",
                       l->index);
    login_tell_waits(l, &why);
    l->phase = ENGINE_LOGIN_OUT;
    login_gate_leave(&l->turn);
    loop_timer_stop(l->e->loop, &l->retry);
    if (l->login != NULL)
        login_cancel(l->login);
    loop_defer(l->e->loop, &l->news);
}

/* ---- from the loop -------------------------------------------------------------------------- */

static void
login_news(struct loop_work *w)
{
    struct engine_login *l = container_of(w, struct engine_login, news);

    engine_uses_news(&l->uses, l->state, engine_login_why(l));
    if (l->phase == ENGINE_LOGIN_OUT && l->logout == NULL && !loop_timer_running(&l->retry))
        login_leave_it(l);
}

static void
login_on_retry(struct loop_timer *t)
{
    struct engine_login *l = container_of(t, struct engine_login, retry);

    if (l->phase == ENGINE_LOGIN_OUT)
        login_log_out(l);
    else if (login_is_wanted(l) || !list_empty(&l->waits))
        login_wait_for_turn(l);
    else
        login_drop(l);
}

/* Begins the first login in a turn of its own, since it may fail at once. */
int
engine_login_begin(struct engine_logins *e, uint32_t index, struct engine_login **ret,
                   struct lunette_error *err)
{
    struct engine_login *l;

    if (e->ending)
        return lunette_fail(err, -ESHUTDOWN, LUNETTE_DOM_OS, ESHUTDOWN, "the engine is ending");
    if (engine_flash_get(e->flash, index) == NULL)
        return lunette_fail(err, -ENOENT, LUNETTE_DOM_USAGE, 0, "there is no record %u", index);
    l = calloc(1, sizeof(*l));
    if (l == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory for a session");
    l->e = e;
    l->index = index;
    l->id = ++e->last_id;
    l->state = IPC_SESSION_NEW;
    engine_uses_init(&l->uses);
    list_init(&l->waits);
    loop_work_init(&l->news, login_news);
    loop_timer_init(&l->retry, login_on_retry);
    login_turn_init(&l->turn, login_passed);
    backoff_reset(&l->backoff, e->loop->now_ns);
    list_push_back(&e->list, &l->node);
    loop_timer_start(e->loop, &l->retry, 0);
    if (ret != NULL)
        *ret = l;
    return 0;
}

/* ---- for its uses --------------------------------------------------------------------------- */

int
engine_login_use(struct engine_logins *e, uint32_t index, struct engine_use *u,
                 struct lunette_error *err)
{
    struct engine_login *l = engine_login_of(e, index);
    int r = l != NULL ? 0 : engine_login_begin(e, index, &l, err);

    if (r < 0)
        return r;
    u->login = l;
    engine_uses_add(&l->uses, u);
    loop_defer(e->loop, &l->news);
    return 0;
}

void
engine_login_leave(struct engine_use *u)
{
    if (u->login != NULL)
        engine_uses_remove(&u->login->uses, u);
}

struct scsi_host *
engine_login_host(const struct engine_login *l)
{
    return l->host;
}

enum ipc_session_state
engine_login_state(const struct engine_login *l)
{
    return l->state;
}

const struct lunette_error *
engine_login_why(const struct engine_login *l)
{
    return l->state == IPC_SESSION_BLOCKED || l->state == IPC_SESSION_FAILED ? &l->why : NULL;
}

uint32_t
engine_login_id(const struct engine_login *l)
{
    return l->id;
}

void
engine_login_stats(const struct engine_login *l, struct iscsi_stats *ret)
{
    memset(ret, 0, sizeof(*ret));
    if (l->sid != 0)
        (void)dataplane_conn_stats(l->e->dp, l->sid, l->cid, ret);
}

/* ---- for the tables ------------------------------------------------------------------------- */

int
engine_login_start(struct engine_logins *e, uint32_t index, struct engine_login_wait *w,
                   struct lunette_error *err)
{
    struct engine_login *l = engine_login_of(e, index);
    int r = 0;

    if (l != NULL && l->phase == ENGINE_LOGIN_KEPT)
        return lunette_fail(err, -EALREADY, LUNETTE_DOM_USAGE, 0, "record %u is logged in already",
                            index);
    if (l == NULL)
        r = engine_login_begin(e, index, &l, err);
    if (r < 0)
        return r;
    list_push_back(&l->waits, &w->node);
    if (loop_timer_running(&l->retry)) /* a person asks: it does not wait out a pause */
        loop_timer_start(e->loop, &l->retry, 0);
    return 0;
}

int
engine_login_end(struct engine_logins *e, uint32_t index, struct engine_login_wait *w,
                 struct lunette_error *err)
{
    struct engine_login *l = engine_login_of(e, index);

    if (l == NULL)
        return lunette_fail(err, -ENOTCONN, LUNETTE_DOM_USAGE, 0, "record %u is not logged in",
                            index);
    engine_login_out(l);
    list_push_back(&l->waits, &w->node);
    return 0;
}

void
engine_login_forget(struct engine_login_wait *w)
{
    list_del(&w->node);
}

int
engine_login_may_change(const struct engine_logins *e, uint32_t index, const struct flash_record *r,
                        struct lunette_error *err)
{
    const struct flash_record *now = engine_flash_get(e->flash, index);

    if (now == NULL || engine_login_of(e, index) == NULL)
        return 0;
    if (strcmp(now->login.target_name, r->login.target_name) == 0 &&
        strcmp(now->login.initiator_name, r->login.initiator_name) == 0 &&
        strcmp(now->login.transport, r->login.transport) == 0 &&
        memcmp(now->login.isid, r->login.isid, sizeof(r->login.isid)) == 0)
        return 0;
    return lunette_fail(err, -EBUSY, LUNETTE_DOM_USAGE, 0,
                        "record %u is logged in: its names, ISID and transport can be changed "
                        "after a logout",
                        index);
}

void
engine_login_changed(struct engine_logins *e, uint32_t index)
{
    struct engine_login *l = engine_login_of(e, index);
    struct lunette_error err;
    struct login_config cfg;
    int r;

    if (l == NULL || l->phase != ENGINE_LOGIN_KEPT)
        return; /* the next try reads the record */
    memset(&cfg, 0, sizeof(cfg));
    r = login_make_config(l, &cfg, &err);
    if (r == 0) {
        const struct reopen_config rc = {.login = &cfg, .reopen_max = 0};

        r = reopen_change(l->reopen, &rc);
        if (r < 0)
            (void)lunette_fail(&err, r, LUNETTE_DOM_OS, (uint32_t)-r, "no memory");
    }
    login_config_wipe(&cfg);
    if (r < 0)
        log_line(e->loop->log, LOG_LEVEL_WARN,
                 "engine: record %u, %s: the session goes on as it was logged in to: %s", index,
                 login_target(l), err.msg);
}
