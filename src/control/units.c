/* SPDX-License-Identifier: MIT */
/* control/units.c - the LUNs of a session that is up: they are looked for, listed, and exported as
 * it is wanted.
 *
 * One request is under way at a time, and what is due next is decided when it has been answered:
 * SCAN_HOST, then LIST_LUNS page by page, then START_EXPORT or STOP_EXPORT for each LUN that is not
 * as it shall be, and one more list when all of them are done.  What has failed is tried again
 * after a delay that doubles.  A session may have thousands of LUNs: a step costs what concerns it
 * alone.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/internal.h"
#include "seam/ipc_lun.h"

#define UNITS_FIRST_MS 100
#define UNITS_MOST_MS  30000
#define UNITS_LUNS_MAX 16384 /* of one session; more are not looked at */

static void
units_list_free(struct node_lun **luns, unsigned *nluns)
{
    for (unsigned i = 0; i < *nluns; i++)
        free((*luns)[i].path);
    free(*luns);
    *luns = NULL;
    *nluns = 0;
}

void
units_stop(struct control_node *n)
{
    struct node_units *u = &n->units;

    loop_timer_stop(n->c->loop, &u->timer);
    units_list_free(&u->luns, &u->nluns);
    units_list_free(&u->listed, &u->nlisted);
    u->asking = u->scan_due = u->list_due = u->list_after = u->waiting = false;
    u->from = 0;
    u->delay_ms = 0;
}

/* ---- what is wanted ------------------------------------------------------------------------- */

/* The wish for a LUN: its own, else that for all, else NULL. */
static const struct control_export *
units_wish(const struct control_node *n, const uint8_t lun[8])
{
    const struct control_export *all = NULL;

    for (unsigned i = 0; i < n->nexports; i++) {
        const struct control_export *e = &n->exports[i];

        if (e->all)
            all = e;
        else if (memcmp(e->lun, lun, sizeof(e->lun)) == 0)
            return e;
    }
    return all;
}

/* Is there something to be done for this LUN?  An export that nobody has a wish about stays. */
static bool
units_differs(const struct control_node *n, const struct node_lun *l)
{
    const struct control_export *wish = units_wish(n, l->lun);

    if (wish == NULL || l->changing)
        return false;
    if (wish->kind[0] == '\0')
        return l->exported;
    return !l->exported && l->disk_up && l->no_path == 0;
}

/* Returns the first LUN whose disk is to be exported and did not come up, or nluns.  Nobody tells
 * us when it could: it may have been a lack of memory, or a unit that is not ready yet. */
static unsigned
units_stuck(const struct control_node *n)
{
    unsigned i = 0;

    for (; i < n->units.nluns && !n->scan_manual; i++) {
        const struct node_lun *l = &n->units.luns[i];
        const struct control_export *wish = units_wish(n, l->lun);

        if (l->err < 0 && wish != NULL && wish->kind[0] != '\0')
            return i;
    }
    return n->units.nluns;
}

/* Returns the first LUN that is to be exported and has no path for that, or nluns. */
static unsigned
units_pathless(const struct control_node *n)
{
    unsigned i = 0;

    for (; i < n->units.nluns; i++) {
        const struct node_lun *l = &n->units.luns[i];
        const struct control_export *wish = units_wish(n, l->lun);

        if (l->no_path < 0 && !l->exported && wish != NULL && wish->kind[0] != '\0')
            break;
    }
    return i;
}

/* Returns the first LUN that is not as it shall be, or nluns. */
static unsigned
units_next(const struct control_node *n)
{
    unsigned i = n->units.recheck ? 0 : n->units.from;

    while (i < n->units.nluns && !units_differs(n, &n->units.luns[i]))
        i++;
    return i;
}

bool
units_settled(const struct control_node *n)
{
    const struct node_units *u = &n->units;

    return n->state == CONTROL_IS_UP && !u->asking && !u->scan_due && !u->list_due &&
           !u->list_after && units_next(n) == u->nluns && units_stuck(n) == u->nluns;
}

/* ---- what has failed ------------------------------------------------------------------------ */

static void
units_on_timer(struct loop_timer *t)
{
    struct control_node *n = container_of(t, struct control_node, units.timer);

    n->units.waiting = false;
    if (n->note_due && node_has_note(n))
        node_send_note(n, false);
    units_go_on(n);
}

void
units_init(struct control_node *n)
{
    loop_timer_init(&n->units.timer, units_on_timer);
}

static void
units_later(struct control_node *n)
{
    struct node_units *u = &n->units;

    u->delay_ms = u->delay_ms == 0 ? UNITS_FIRST_MS : 2 * u->delay_ms;
    if (u->delay_ms > UNITS_MOST_MS)
        u->delay_ms = UNITS_MOST_MS;
    u->waiting = true;
    loop_timer_start(n->c->loop, &u->timer, u->delay_ms * LOOP_NS_PER_MS);
}

/* What was asked for was not done.  Whoever waits is told, and it is tried again. */
static void
units_failed(struct control_node *n, const struct iscsi_reply *rep, const char *what)
{
    struct lunette_error why;

    reply_error(rep, what, &why);
    log_line(n->c->loop->log, LOG_LEVEL_WARN, "%s: %s", n->name.target, why.msg);
    units_later(n);
    node_tell(n, CONTROL_TROUBLE, n->units.delay_ms, &why);
    node_tell_waiters(n, WAITER_UNITS, &why);
}

/* Nobody stands above the sessions of this data plane, so that nothing is to be done. */
static void
units_none(struct control_node *n, const struct iscsi_reply *rep)
{
    struct node_units *u = &n->units;
    struct lunette_error why;

    reply_error(rep, "this data plane has no LUNs", &why);
    u->scan_due = u->list_due = false;
    node_tell_waiters(n, WAITER_UNITS, &why);
}

static void
units_ask(struct control_node *n, struct iscsi_uevent *ev, const void *data, uint32_t len,
          void (*fn)(void *user, const struct iscsi_reply *rep))
{
    ev->sid = n->session.sid;
    n->units.asking = ask_send(n->loop, &n->asks, ev, data, len, fn, n) == 0;
    if (!n->units.asking)
        units_later(n);
}

/* ---- scan ----------------------------------------------------------------------------------- */

static void
units_on_scan(void *user, const struct iscsi_reply *rep)
{
    struct control_node *n = user;

    n->units.asking = false;
    if (rep->err == -EOPNOTSUPP) {
        units_none(n, rep);
    } else if (rep->err < 0) {
        n->units.scan_due = true;
        units_failed(n, rep, "the LUNs could not be looked for");
    } else {
        node_tell(n, CONTROL_SCANNED, (uint64_t)rep->r.value, NULL);
        n->units.list_due = true;
    }
    units_go_on(n);
}

static void
units_ask_scan(struct control_node *n)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_SCAN_HOST};

    n->units.scan_due = false; /* it may become due again before this one is answered */
    units_ask(n, &ev, NULL, 0, units_on_scan);
    n->units.scan_due |= !n->units.asking;
}

/* ---- list ----------------------------------------------------------------------------------- */

static void units_ask_list(struct control_node *n, uint32_t after);

static bool
units_take(struct node_units *u, const struct ipc_lun_info *info)
{
    struct node_lun *l;

    if (u->nlisted == UNITS_LUNS_MAX)
        return true;
    if (u->listed == NULL || u->nlisted == u->listed_room) {
        unsigned room = u->listed == NULL ? 16 : 2 * u->listed_room;

        l = realloc(u->listed, room * sizeof(*l));
        if (l == NULL)
            return false;
        u->listed = l;
        u->listed_room = room;
    }
    l = u->listed + u->nlisted++;
    *l = (struct node_lun){
        .index = info->index,
        .disk_up = info->state == IPC_LUN_UP,
        .starting = info->state == IPC_LUN_STARTING,
        .err = info->state == IPC_LUN_NEW && info->pdt == 0 ? info->err : 0,
        .untouched = info->state == IPC_LUN_NEW && info->err == 0 && info->pdt == 0,
        .exported = info->export_kind[0] != '\0',
        .changing = (info->flags & IPC_LUN_EXPORT_STOPPING) != 0,
        .read_only = (info->flags & IPC_LUN_EXPORT_READ_ONLY) != 0,
        .disk_read_only = (info->flags & IPC_LUN_READ_ONLY) != 0,
    };
    memcpy(l->lun, info->lun, sizeof(l->lun));
    if (l->exported)
        l->path = strdup(info->export_path);
    return !l->exported || l->path != NULL;
}

/* Keeps what is known of units that were listed before. */
static void
units_merge(struct node_units *u)
{
    for (unsigned i = 0, k = 0; i < u->nlisted; i++) {
        while (k < u->nluns && u->luns[k].index < u->listed[i].index)
            k++;
        if (k < u->nluns && u->luns[k].index == u->listed[i].index)
            u->listed[i].no_path = u->luns[k].no_path;
    }
}

/* All pages have come. */
static void
units_listed(struct control_node *n)
{
    struct node_units *u = &n->units;
    bool changing = false, untouched = u->nlisted == 0;

    units_merge(u);
    for (unsigned i = 0; i < u->nlisted; i++) {
        changing |= u->listed[i].changing || u->listed[i].starting;
        untouched |= u->listed[i].untouched || u->listed[i].starting;
    }
    units_list_free(&u->luns, &u->nluns);
    u->luns = u->listed;
    u->nluns = u->nlisted;
    u->recheck = true;
    u->listed = NULL;
    u->nlisted = 0;
    if (units_stuck(n) == u->nluns)
        u->delay_ms = 0;
    u->scan_due |= untouched && u->never_scanned && !n->scan_manual;
    u->never_scanned = false;
    if (changing && !u->scan_due) { /* for a control plane that has gone: nobody tells us when it is
                                       done, but for a scan, which waits for the one before it */
        u->list_due = true;
        units_later(n);
    }
}

static void
units_on_list(void *user, const struct iscsi_reply *rep)
{
    struct control_node *n = user;
    struct node_units *u = &n->units;
    const uint8_t *at = rep->data, *end;
    struct ipc_lun_info info;
    uint32_t last = 0;
    bool taken = true;

    u->asking = false;
    if (rep->err == -EOPNOTSUPP) {
        units_none(n, rep);
        units_go_on(n);
        return;
    }
    end = rep->err == 0 ? at + rep->r.luns.data_len : at;
    while (taken && ipc_lun_next(&at, end, &info)) {
        last = info.index;
        taken = units_take(u, &info);
    }
    if (rep->err < 0 || !taken) {
        units_list_free(&u->listed, &u->nlisted);
        u->list_due = true;
        if (rep->err < 0)
            units_failed(n, rep, "the LUNs could not be listed");
        else
            units_later(n);
    } else if (rep->r.luns.more && last > 0) {
        units_ask_list(n, last);
        return;
    } else {
        units_listed(n);
    }
    units_go_on(n);
}

static void
units_ask_list(struct control_node *n, uint32_t after)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_LIST_LUNS};

    ev.u.list_luns.after = after;
    n->units.list_due = n->units.list_after = false;
    units_ask(n, &ev, NULL, 0, units_on_list);
    if (n->units.asking)
        return;
    units_list_free(&n->units.listed, &n->units.nlisted);
    n->units.list_due = true;
}

/* ---- exports -------------------------------------------------------------------------------- */

static void
units_on_export(void *user, const struct iscsi_reply *rep)
{
    struct control_node *n = user;
    struct node_units *u = &n->units;
    struct control_event ev = {.type = CONTROL_EXPORTED, .node = n};

    u->asking = false;
    u->list_after = rep->err == 0;
    u->list_due |= rep->err < 0;
    if (rep->err == -EAGAIN) { /* the path is about to be free */
        units_later(n);
    } else if (rep->err < 0 && rep->err != -EBUSY && rep->err != -ENOENT) {
        units_failed(n, rep, "a LUN could not be exported");
    } else if (rep->err == 0 && u->at < u->nluns) {
        u->luns[u->at].exported = true;
        ev.lun = u->luns[u->at].lun;
        ev.path = u->luns[u->at].path;
        if (ev.path != NULL)
            control_tell(n->c, &ev);
    }
    units_go_on(n);
}

static void
units_start_export(struct control_node *n, struct node_lun *l, const struct control_export *wish)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_START_EXPORT};
    char path[CONTROL_PATH_MAX + 1] = "";
    size_t len;

    _Static_assert(CONTROL_PATH_MAX < IPC_PATH_MAX, "a path fits into LIST_LUNS");
    _Static_assert(CONTROL_KIND_MAX < IPC_NAME_MAX, "a kind fits into START_EXPORT");
    l->no_path = -EOPNOTSUPP;
    if (n->c->cb.export_path != NULL)
        l->no_path = n->c->cb.export_path(n->c->cb.user, n, wish->kind, l->lun, path);
    if (l->no_path < 0)
        return;
    len = strlen(path);
    free(l->path);
    l->path = strdup(path);
    memcpy(ev.u.start_export.kind, wish->kind, strlen(wish->kind) + 1);
    memcpy(ev.u.start_export.lun, l->lun, sizeof(l->lun));
    ev.u.start_export.read_only = wish->read_only;
    ev.u.start_export.path_len = (uint32_t)len;
    units_ask(n, &ev, path, (uint32_t)len, units_on_export);
}

static void
units_on_stopped(void *user, const struct iscsi_reply *rep)
{
    struct control_node *n = user;
    struct node_units *u = &n->units;

    u->asking = false;
    u->list_after = rep->err == 0;
    u->list_due |= rep->err < 0;
    if (rep->err < 0 && rep->err != -ENOENT)
        units_failed(n, rep, "an export could not be stopped");
    else if (rep->err == 0 && u->at < u->nluns)
        u->luns[u->at].exported = false;
    units_go_on(n);
}

static void
units_change_export(struct control_node *n, unsigned i)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_STOP_EXPORT};
    struct node_lun *l = &n->units.luns[i];
    const struct control_export *wish = units_wish(n, l->lun);

    n->units.at = i;
    if (wish->kind[0] != '\0') {
        units_start_export(n, l, wish);
        return;
    }
    memcpy(ev.u.lun.lun, l->lun, sizeof(l->lun));
    units_ask(n, &ev, NULL, 0, units_on_stopped);
}

/* All is done that can be done now. */
static void
units_rest(struct control_node *n)
{
    const struct node_units *u = &n->units;
    struct lunette_error why = {.code = 0};
    unsigned i = units_stuck(n), pathless = units_pathless(n);

    if (i == u->nluns && pathless < u->nluns) { /* trying again by itself would change nothing */
        (void)lunette_fail(
            &why, u->luns[pathless].no_path, LUNETTE_DOM_OS, (uint32_t)-u->luns[pathless].no_path,
            "there is no path for the export of a LUN: %s", errno_text(u->luns[pathless].no_path));
        node_tell_waiters(n, WAITER_UNITS, &why);
        return;
    }
    if (i == u->nluns) {
        node_tell_waiters(n, WAITER_UNITS, NULL);
        return;
    }
    (void)lunette_fail(&why, u->luns[i].err, LUNETTE_DOM_SCSI, 0,
                       "a LUN that is to be exported did not come up: %s",
                       errno_text(u->luns[i].err));
    n->units.scan_due = true;
    units_later(n);
    node_tell(n, CONTROL_TROUBLE, u->delay_ms, &why);
    node_tell_waiters(n, WAITER_UNITS, &why);
}

/* ---- what is next --------------------------------------------------------------------------- */

void
units_go_on(struct control_node *n)
{
    struct node_units *u = &n->units;

    while (n->state == CONTROL_IS_UP && !u->asking && !u->waiting) {
        unsigned i = u->from = units_next(n);

        u->recheck = false;
        if (n->note_due)
            node_send_note(n, false);
        if (u->scan_due) {
            units_ask_scan(n);
        } else if (u->list_due) {
            units_ask_list(n, 0);
        } else if (i < u->nluns) {
            units_change_export(n, i);
        } else if (u->list_after) {
            units_ask_list(n, 0);
        } else {
            units_rest(n);
            return;
        }
    }
}

/* Somebody waits: what has failed is tried again at once. */
void
units_hurry(struct control_node *n)
{
    struct node_units *u = &n->units;

    loop_timer_stop(n->c->loop, &u->timer);
    u->waiting = false;
    u->delay_ms = 0;
    u->recheck = true;
    for (unsigned i = 0; i < u->nluns; i++)
        u->luns[i].no_path = 0;
}

void
units_scan(struct control_node *n)
{
    n->units.scan_due = true;
}

void
units_list(struct control_node *n)
{
    n->units.list_due = true;
    n->units.never_scanned = true;
}

/* ---- events --------------------------------------------------------------------------------- */

static void
units_lun_event(struct control_node *n, const struct iscsi_kevent *kev)
{
    struct control_event ev = {.type = CONTROL_LUN,
                               .node = n,
                               .lun = kev->u.lun.lun,
                               .why = &kev->u.lun.why,
                               .value = (uint64_t)kev->u.lun.what};

    if (kev->u.lun.what == IPC_LUN_EV_LUNS_CHANGED)
        n->units.scan_due |= !n->scan_manual;
    else
        n->units.list_due = true;
    control_tell(n->c, &ev);
}

static const struct node_lun *
units_find(const struct control_node *n, const uint8_t lun[8])
{
    for (unsigned i = 0; i < n->units.nluns; i++) {
        if (memcmp(n->units.luns[i].lun, lun, 8) == 0)
            return &n->units.luns[i];
    }
    return NULL;
}

static void
units_export_event(struct control_node *n, const struct iscsi_kevent *kev)
{
    const struct node_lun *l = units_find(n, kev->u.export_stopped.lun);
    struct control_event ev = {.type = CONTROL_EXPORT_STOPPED,
                               .node = n,
                               .lun = kev->u.export_stopped.lun,
                               .path = l != NULL ? l->path : NULL,
                               .kind = kev->u.export_stopped.kind,
                               .why = &kev->u.export_stopped.why};

    n->units.list_due = true;
    if (!n->units.waiting) /* it may stop as soon as it is started */
        units_later(n);
    control_tell(n->c, &ev);
}

void
units_event(struct control_node *n, const struct iscsi_kevent *ev)
{
    if (ev->type == ISCSI_KEVENT_LUN) {
        units_lun_event(n, ev);
    } else if (ev->type == ISCSI_KEVENT_EXPORT_STOPPED) {
        units_export_event(n, ev);
    } else if (ev->type == ISCSI_KEVENT_LOST) { /* any of them may have been among the lost */
        n->units.list_due = true;
        n->units.scan_due |= !n->scan_manual;
    }
    units_go_on(n);
}
