/* SPDX-License-Identifier: MIT */
/* The daemon from start to end. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "iscsid/front.h"
#include "iscsid/internal.h"
#include "iscsid/scrape.h"
#include "iscsid/sysfs.h"
#include "wire/lun.h"

#define LIFE_OPEN_MS     5000  /* callers are let in then, though no data plane is there */
#define LIFE_DEADLINE_MS 30000 /* for the logouts of daemon.shutdown */
#define LIFE_PROCESS_MS  25000 /* for the data plane to end then */
#define LIFE_POLL_MS     20

/* ---- methods about the daemon --------------------------------------------------------------- */

static METHOD(daemon_hello_method)
{
    struct iscsid *d = user;
    json_t *o = json_object();

    (void)params;
    say_put(o, "daemon", json_string("lunette iscsid"));
    say_put(o, "version", json_string(d->cfg.version));
    say_put(o, "api", json_integer(1));
    say_put(o, "pid", json_integer(getpid()));
    say_put(o, "root", say_text(d->cfg.root));
    manage_reply(call, o);
}

static METHOD(daemon_status_method)
{
    struct iscsid *d = user;
    json_int_t sessions = 0, wanted = 0, up = 0;
    struct control_info info;
    json_t *plane = json_object();

    (void)params;
    for (struct control_node *n = NULL; (n = control_next(d->control, n)) != NULL;) {
        control_node_get_info(n, &info);
        sessions += info.sid != 0;
        wanted += info.wanted == CONTROL_UP;
        up += info.state == CONTROL_IS_UP;
    }
    say_put(plane, "state", json_string(say_plane_state(d)));
    say_put(plane, "pid", json_integer(plane_is_up(&d->plane) ? d->plane.pid : 0));
    manage_reply(call, json_pack("{s:I,s:I,s:I,s:o}", "sessions", sessions, "wanted", wanted, "up",
                                 up, "data_plane", plane));
}

static METHOD(daemon_reload_method)
{
    struct lunette_error err = {.code = 0};

    (void)params;
    if (iscsid_reload(user, &err) < 0)
        say_fail(call, &err);
    else
        manage_reply(call, json_object());
}

/* Tells the caller, and then the owner. */
static void
life_end(struct iscsid *d, const struct lunette_error *why)
{
    if (d->ending != NULL)
        manage_reply(d->ending, json_object());
    d->ending = NULL;
    loop_timer_stop(d->loop, &d->end_timer);
    if (d->cfg.ended != NULL)
        d->cfg.ended(d->cfg.user, why);
}

/* The data plane is to end next, which is waited for. */
static void
life_end_plane(struct iscsid *d)
{
    d->end_process = true;
    d->end_until_ns = d->loop->now_ns + LIFE_PROCESS_MS * LOOP_NS_PER_MS;
    plane_end_process(&d->plane);
}

/* The daemon is not ended after all. */
static void
life_stays(struct iscsid *d, enum manage_code code, const char *why)
{
    loop_timer_stop(d->loop, &d->end_timer);
    manage_fail(d->ending, code, "%s", why);
    d->ending = NULL;
}

static void
life_on_end_timer(struct loop_timer *t)
{
    struct iscsid *d = container_of(t, struct iscsid, end_timer);

    if (!d->end_process) { /* the deadline has come before the logouts were done */
        log_line(d->loop->log, LOG_LEVEL_WARN, "not all sessions are logged out in time");
        if (nodedb_record_word(&d->conf, NODEDB_SAFE_LOGOUT) != 0) {
            life_stays(d, MANAGE_TIMEOUT,
                       "not all sessions are logged out in time; since one of them may be in use, "
                       "they stay, and so does the daemon (iscsid.safe_logout)");
            return;
        }
        life_end_plane(d);
    }
    if (d->cfg.iod_program == NULL || !plane_is_up(&d->plane) || d->loop->now_ns >= d->end_until_ns)
        life_end(d, NULL);
    else
        loop_timer_start(d->loop, t, LIFE_POLL_MS * LOOP_NS_PER_MS);
}

/* Is a session in use, so that it was not logged out (iscsid.safe_logout)? */
static bool
life_any_held(const json_t *results)
{
    for (size_t i = 0; i < json_array_size(results); i++) {
        const json_t *error = json_object_get(json_array_get(results, i), "error");

        if (json_integer_value(json_object_get(error, "exit")) == MANAGE_BUSY)
            return true;
    }
    return false;
}

static void
life_logged_out(void *user, json_t *results)
{
    struct iscsid *d = user;
    bool held = life_any_held(results), none = results == NULL;

    json_decref(results);
    if (d->end_process)
        return;
    if (none && d->ending != NULL)
        life_stays(d, MANAGE_NO_MEMORY, "no memory for the logouts; sessions and daemon stay");
    else if (held && d->ending != NULL)
        life_stays(d, MANAGE_BUSY,
                   "a session is in use and stays, and so does the daemon (iscsid.safe_logout)");
    if (d->ending == NULL) {
        d->end_asked = false;
        return;
    }
    life_end_plane(d);
    loop_timer_start(d->loop, &d->end_timer, 0);
}

static METHOD(daemon_shutdown_method)
{
    struct batch_options o = {.logout = true, .done = life_logged_out, .user = user};
    struct filter all = {.db.tpgt = -1};
    struct iscsid *d = user;
    int64_t deadline_ms = LIFE_DEADLINE_MS;
    struct lunette_error err;
    bool logout = false;

    if (manage_get_int(params, "deadline_ms", MANAGE_OPTIONAL, 0, 3600000, &deadline_ms, &err) <
            0 ||
        manage_get_bool(params, "logout", &logout, &err) < 0) {
        say_fail(call, &err);
        return;
    }
    if (d->end_asked) {
        manage_fail(call, MANAGE_BUSY,
                    d->ending != NULL ? "the daemon is being ended already"
                                      : "the logouts of the last try to end it go on; try again");
        return;
    }
    d->end_asked = true;
    d->ending = call;
    d->end_process = !logout;
    d->end_until_ns = 0;
    loop_timer_start(d->loop, &d->end_timer, logout ? (uint64_t)deadline_ms * LOOP_NS_PER_MS : 0);
    if (logout)
        batch_logout(d, NULL, &all, 0, &o);
}

#define FILTER "target portal tpgt iface"
#define DISC   "type portal iface op login wait values"

static const struct manage_method life_methods[] = {
    {"hello", daemon_hello_method, "client"},
    {"node.list", node_list_method, FILTER},
    {"node.show", node_show_method, FILTER " show_secrets"},
    {"node.new", node_new_method, FILTER " values"},
    {"node.update", node_update_method, FILTER " values"},
    {"node.delete", node_delete_method, FILTER},
    {"node.login", node_login_method, FILTER " untagged all wait values more lease"},
    {"node.logout", node_logout_method, FILTER " all"},
    {"session.list", session_list_method, FILTER " sid detail show_secrets"},
    {"session.stats", session_stats_method, FILTER " sid histograms"},
    {"session.rescan", session_rescan_method, FILTER " sid"},
    {"session.logout", session_logout_method, "sid"},
    {"session.export", session_export_method, "sid lun kind read_only"},
    {"session.unexport", session_unexport_method, "sid lun"},
    {"session.update", session_update_method, "sid values"},
    {"session.why", session_why_method, "sid"},
    {"session.lease", session_lease_method, FILTER " sid owner seconds leases_only"},
    {"session.release", session_release_method, FILTER " sid owner"},
    {"session.flight", session_flight_method, "sid"},
    {"session.capture", session_capture_method, "sid payload seconds count"},
    {"discovery.sendtargets", discovery_sendtargets_method, DISC},
    {"discovery.isns", discovery_isns_method, DISC},
    {"discovery.fw", discovery_fw_method, DISC},
    {"discovery.list", discovery_list_method, "type portal targets"},
    {"discovery.show", discovery_show_method, "type portal show_secrets"},
    {"discovery.new", discovery_new_method, "type portal values"},
    {"discovery.update", discovery_update_method, "type portal values"},
    {"discovery.delete", discovery_delete_method, "type portal"},
    {"iface.list", iface_list_method, ""},
    {"iface.show", iface_show_method, "iface"},
    {"iface.new", iface_new_method, "iface values"},
    {"iface.update", iface_update_method, "iface values"},
    {"iface.delete", iface_delete_method, "iface"},
    {"iface.apply", iface_apply_method, "iface host"},
    {"host.list", host_list_method, ""},
    {"fw.list", fw_list_method, "show_secrets"},
    {"fw.login", fw_login_method, FILTER " values wait"},
    {"daemon.status", daemon_status_method, ""},
    {"daemon.reload", daemon_reload_method, ""},
    {"daemon.shutdown", daemon_shutdown_method, "deadline_ms logout"},
    {NULL, NULL, NULL},
};

/* ---- logins of the start -------------------------------------------------------------------- */

/* Names the process of the data plane, so that it is not taken for another one: its number, and
 * when it has started.  Returns false where the system does not tell. */
static bool
life_plane_name(const struct iscsid *d, char *buf, size_t size)
{
    char path[64], stat[1024];
    const char *p;
    ssize_t n = -1;
    int fd;

    (void)snprintf(path, sizeof(path), "/proc/%ld/stat", (long)d->plane.pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        n = read(fd, stat, sizeof(stat) - 1);
        (void)close(fd);
    }
    if (n <= 0)
        return false;
    stat[n] = '\0';
    p = strrchr(stat, ')');
    for (int i = 0; p != NULL && i < 20; i++) /* to field 22, starttime */
        p = strchr(p + 1, ' ');
    if (p == NULL)
        return false;
    (void)snprintf(buf, size, "%ld %.*s\n", (long)d->plane.pid, (int)strcspn(p + 1, " "), p + 1);
    return true;
}

static void
life_began_path(const struct iscsid *d, char *path, size_t size)
{
    (void)snprintf(path, size, "%s/began", d->cfg.run);
}

/* Were the logins of the start made for this process?  Then they are not made again: somebody may
 * have logged out of some since. */
static bool
life_has_begun(const struct iscsid *d)
{
    char path[4200], name[128], text[128];
    ssize_t n = -1;
    int fd;

    life_began_path(d, path, sizeof(path));
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0) {
        n = read(fd, text, sizeof(text) - 1);
        (void)close(fd);
    }
    text[n > 0 ? n : 0] = '\0';
    return n > 0 && life_plane_name(d, name, sizeof(name)) && strcmp(name, text) == 0;
}

static void
life_note_begun(struct iscsid *d)
{
    char path[4200], name[128];
    int fd;

    if (!life_plane_name(d, name, sizeof(name)))
        return;
    life_began_path(d, path, sizeof(path));
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || write(fd, name, strlen(name)) < 0)
        log_line(d->loop->log, LOG_LEVEL_WARN,
                 "%s cannot be written, so that the next iscsid makes the logins of the start "
                 "again: %s",
                 path, errno_text(errno));
    if (fd >= 0)
        (void)close(fd);
}

static void
life_began(void *user, json_t *results)
{
    struct iscsid *d = user;

    if (results != NULL)
        life_note_begun(d);
    else
        log_line(d->loop->log, LOG_LEVEL_ERROR,
                 "nothing is logged in to: there is no memory for it");
    json_decref(results);
}

static void
life_begin(struct iscsid *d)
{
    struct batch_options o = {
        .by_startup = true,
        .startups = 1u << NODEDB_STARTUP_AUTOMATIC | 1u << NODEDB_STARTUP_ONBOOT,
        .leading = true,
        .done = life_began,
        .user = d,
    };

    if (d->began || life_has_begun(d)) {
        d->took_over |= !d->began;
        life_note_begun(d);
        d->began = true;
        return;
    }
    d->began = true;
    batch_login_all(d, &o);
}

/* ---- what the policy tells ------------------------------------------------------------------ */

static void
life_tell(struct iscsid *d, const char *name, const struct control_event *ev,
          const struct control_info *info)
{
    const struct control_name *of = control_node_name(ev->node);
    json_t *o = json_object();
    uint64_t number;

    say_put(o, "sid", json_integer(info->sid));
    say_put(o, "target", say_text(of->target));
    say_portal(o, "portal", &of->portal);
    if (ev->why != NULL)
        say_put(o, "reason", say_text(ev->why->msg));
    else if (info->why.code != 0)
        say_put(o, "reason", say_text(info->why.msg));
    if (ev->why == NULL && info->why.code == 0 && history_reason(ev->node)[0] != '\0')
        say_put(o, "reason", say_text(history_reason(ev->node)));
    if (ev->lease != NULL)
        say_put(o, "owner", say_text(ev->lease->owner));
    if (ev->lun != NULL) {
        number = lun_to_view(lun_load(ev->lun));
        (void)lun_to_number(lun_load(ev->lun), &number);
        say_put(o, "lun", json_integer((json_int_t)number));
    }
    if (ev->kind != NULL)
        say_put(o, "kind", say_text(ev->kind));
    if (ev->path != NULL)
        say_put(o, "path", say_text(ev->path));
    manage_event(d->manage, name, o);
}

/* "session 3 with TARGET" for the log; a node may be without a session. */
#define LIFE_SESSION_MAX (ISCSI_NAME_MAX + 32)
static const char *
life_session(const struct control_event *ev, const struct control_info *info,
             char buf[LIFE_SESSION_MAX])
{
    const char *target = control_node_name(ev->node)->target;

    if (info->sid != 0)
        (void)snprintf(buf, LIFE_SESSION_MAX, "session %u with %s", info->sid, target);
    else
        (void)snprintf(buf, LIFE_SESSION_MAX, "the session with %s", target);
    return buf;
}

static void
life_on_state(struct iscsid *d, const struct control_event *ev, const struct control_info *info)
{
    static const char *const event_of[CONTROL_STATES] = {
        [CONTROL_IS_UP] = "session.up",          [CONTROL_IS_LOST] = "session.lost",
        [CONTROL_IS_GAVE_UP] = "session.failed", [CONTROL_IS_DOWN] = "session.gone",
        [CONTROL_IS_FAILED] = "session.gone",
    };
    const struct control_name *name = control_node_name(ev->node);
    const char *why = ev->why != NULL ? ev->why->msg : "";
    char session[LIFE_SESSION_MAX];

    log_line(d->loop->log, LOG_LEVEL_INFO, "%s: %s%s%s", life_session(ev, info, session),
             control_state_text(info->state), why[0] != '\0' ? ": " : "", why);
    if (info->state == CONTROL_IS_DOWN)
        where_forget(d->cfg.run, name);
    if (event_of[info->state] != NULL)
        life_tell(d, event_of[info->state], ev, info);
}

/* Lets callers in. */
static void
life_let_in(struct iscsid *d)
{
    struct lunette_error err = {.code = 0};
    char path[4200];
    int r;

    if (d->open)
        return;
    (void)snprintf(path, sizeof(path), "%s/iscsid.sock", d->cfg.run);
    r = d->front != NULL ? front_listen(d->front, &err) : 0;
    if (r == 0)
        r = manage_server_listen(d->manage, d->cfg.listen_fd >= 0 ? NULL : path, d->cfg.listen_fd,
                                 &err);
    if (r == -EAGAIN) {
        loop_timer_start(d->loop, &d->open_timer, LIFE_POLL_MS * LOOP_NS_PER_MS);
        return;
    }
    loop_timer_stop(d->loop, &d->open_timer);
    d->open = true;
    if (r < 0) {
        (void)lunette_fail_prefix(&err, r, "callers cannot be listened to");
        life_end(d, &err);
        return;
    }
    scrape_listen(d->scrape);
    if (d->cfg.ready != NULL)
        d->cfg.ready(d->cfg.user);
}

/* Its commands have waited for as long as they may. */
static void
life_on_failing(struct iscsid *d, const struct control_event *ev, const struct control_info *info)
{
    char session[LIFE_SESSION_MAX];

    log_line(d->loop->log, LOG_LEVEL_WARN, "%s: its commands fail until it is logged in again%s%s",
             life_session(ev, info, session), ev->why != NULL ? ": " : "",
             ev->why != NULL ? ev->why->msg : "");
    life_tell(d, "session.failed", ev, info);
}

static void
life_on_ready(struct iscsid *d)
{
    loop_defer(d->loop, &d->found_work);
    sysfs_ready(d->sysfs);
    life_let_in(d);
    life_begin(d);
    periodic_start(d);
}

static void
life_on_lease_ended(struct iscsid *d, const struct control_event *ev,
                    const struct control_info *info)
{
    char session[LIFE_SESSION_MAX];

    log_line(d->loop->log, LOG_LEVEL_INFO, "%s: the lease of %s %s",
             life_session(ev, info, session), ev->lease->owner,
             ev->value != 0 ? "was released" : "has ended");
    life_tell(d, "lease.ended", ev, info);
}

static void
life_on_event(void *user, const struct control_event *ev)
{
    struct iscsid *d = user;
    struct control_info info = {.sid = 0};

    sysfs_event(d->sysfs, ev);
    if (ev->node != NULL)
        control_node_get_info(ev->node, &info);
    if (ev->type == CONTROL_LOOP)
        plane_set_loops(&d->plane, (unsigned)ev->value);
    else if (ev->type == CONTROL_READY)
        life_on_ready(d);
    else if (ev->type == CONTROL_FOUND)
        loop_defer(d->loop, &d->found_work);
    else if (ev->type == CONTROL_STATE)
        life_on_state(d, ev, &info);
    else if (ev->type == CONTROL_FAILING)
        life_on_failing(d, ev, &info);
    else if (ev->type == CONTROL_EXPORT_STOPPED)
        life_tell(d, "export.stopped", ev, &info);
    else if (ev->type == CONTROL_LUN)
        life_tell(d,
                  ev->value == IPC_LUN_EV_CAME   ? "lun.came"
                  : ev->value == IPC_LUN_EV_GONE ? "lun.gone"
                                                 : "lun.changed",
                  ev, &info);
    else if (ev->type == CONTROL_LEASE_GIVEN)
        life_tell(d, "lease.given", ev, &info);
    else if (ev->type == CONTROL_LEASE_ENDED)
        life_on_lease_ended(d, ev, &info);
    if (ev->node != NULL)
        history_event(d, ev, &info);
}

static int
life_export_path(void *user, const struct control_node *node, const char *kind,
                 const uint8_t lun[8], char *path)
{
    struct iscsid *d = user;
    int r;

    if (strcmp(kind, "nbd") != 0)
        return -EINVAL;
    r = where_export(d->cfg.run, control_node_name(node), lun, path);
    if (r < 0)
        log_line(d->loop->log, LOG_LEVEL_ERROR, "there is no path for an export of %s: %s",
                 control_node_name(node)->target, errno_text(r));
    return r;
}

static void
life_on_plane(void *user, unsigned index, bool up)
{
    struct iscsid *d = user;
    json_t *o;

    if (!up) {
        LIST_FOREACH_SAFE (n, &d->jobs) {
            struct job *j = container_of(n, struct job, node);

            if (j->lost != NULL)
                j->lost(j, index);
        }
    }
    if (index != 0 || d->manage == NULL)
        return;
    o = json_object();
    say_put(o, "state", json_string(up ? "up" : "lost"));
    say_put(o, "pid", json_integer(d->plane.pid));
    manage_event(d->manage, "daemon.dataplane", o);
}

/* A data plane that is stopped, or is kept busy by something, says nothing, and whoever has asked
 * is told so.  Returns whether somebody could still be waiting for it. */
static bool
life_on_silent(void *user, unsigned index, uint64_t ns)
{
    struct iscsid *d = user;
    bool any = false;

    LIST_FOREACH_SAFE (n, &d->jobs) {
        struct job *j = container_of(n, struct job, node);

        any |= j->needs_plane;
        if (ns > 0 && j->needs_plane && j->call != NULL &&
            (j->waits_for == NULL || j->waits_for(j, index)))
            manage_give_up(
                j->call, MANAGE_TIMEOUT,
                "loop %u of the data plane, process %ld, has not answered for %u s: is it "
                "stopped, or is its machine too busy?  What was asked for may still be "
                "carried out",
                index, (long)d->plane.pid, (unsigned)(ns / LOOP_NS_PER_S));
    }
    return any;
}

/* ---- life ----------------------------------------------------------------------------------- */

static void
life_on_found(struct loop_work *w)
{
    records_configure_found(container_of(w, struct iscsid, found_work));
}

static void
life_on_follow(struct loop_work *w)
{
    periodic_follow(container_of(w, struct iscsid, follow_work));
}

static void
life_on_open_timer(struct loop_timer *t)
{
    life_let_in(container_of(t, struct iscsid, open_timer));
}

static double
life_unix_time(void *user)
{
    struct timespec now;

    (void)user;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int
life_open_records(struct iscsid *d, struct lunette_error *err)
{
    /* The loop does not wait for the lock: see locked.c. */
    struct nodedb_config db = {.root = d->cfg.records, .lock_dir = d->cfg.lock_dir};
    int r = records_read_conf(d, err);

    return r == 0 ? nodedb_open(&db, &d->db, err) : r;
}

static void
life_set_idle(struct iscsid *d)
{
    control_set_idle(d->control, (uint32_t)nodedb_record_num(&d->conf, NODEDB_LEASE_IDLE) * 1000);
}

static int
life_start(struct iscsid *d, struct lunette_error *err)
{
    struct control_callbacks cb = {
        .event = life_on_event, .export_path = life_export_path, .user = d};
    struct manage_config manage = {
        .methods = life_methods, .user = d, .uid = geteuid(), .unix_time = life_unix_time};
    struct plane_config plane = {.socket = d->cfg.iod_socket,
                                 .program = d->cfg.iod_program,
                                 .log = d->cfg.iod_log,
                                 .lock = d->cfg.iod_lock,
                                 .lock_instead = d->cfg.iod_lock_run,
                                 .threads = d->cfg.iod_threads,
                                 .time_every = d->cfg.iod_time_every,
                                 .changed = life_on_plane,
                                 .silent = life_on_silent,
                                 .user = d};
    int r = life_open_records(d, err);

    if (r < 0)
        return r;
    login_gate_set_max(&d->gate, (uint32_t)nodedb_record_num(&d->conf, NODEDB_MAX_LOGINS));
    r = manage_server_new(d->loop, &manage, &d->manage);
    if (r == 0)
        r = control_new(d->loop, &d->gate, &cb, &d->control);
    if (r < 0) {
        say_no_memory(err);
        return r;
    }
    life_set_idle(d);
    r = scrape_new(d, &d->scrape, err);
    if (r == 0 && d->cfg.classic_socket)
        r = front_new(d, &d->front, err);
    if (r == 0 && d->cfg.sysfs != NULL)
        r = sysfs_new(d, d->cfg.sysfs, &d->sysfs, err);
    if (r < 0)
        return r;
    loop_timer_start(d->loop, &d->open_timer, LIFE_OPEN_MS * LOOP_NS_PER_MS);
    return plane_start(&d->plane, d->loop, d->control, &plane, err);
}

int
iscsid_new(struct loop *loop, const struct iscsid_config *cfg, struct iscsid **ret,
           struct lunette_error *err)
{
    struct iscsid *d = calloc(1, sizeof(*d));
    int r;

    if (d == NULL) {
        say_no_memory(err);
        return -ENOMEM;
    }
    d->loop = loop;
    d->cfg = *cfg;
    list_init(&d->jobs);
    list_init(&d->readers);
    list_init(&d->periodics);
    histories_init(&d->histories);
    loop_work_init(&d->found_work, life_on_found);
    loop_work_init(&d->follow_work, life_on_follow);
    records_follow_init(d);
    loop_timer_init(&d->open_timer, life_on_open_timer);
    loop_timer_init(&d->end_timer, life_on_end_timer);
    login_gate_init(&d->gate, loop, LOGIN_GATE_MAX);
    r = life_start(d, err);
    if (r < 0) {
        iscsid_free(&d);
        return r;
    }
    *ret = d;
    return 0;
}

int
iscsid_reload(struct iscsid *d, struct lunette_error *err)
{
    int r = records_read_conf(d, err);

    if (r < 0)
        return r;
    login_gate_set_max(&d->gate, (uint32_t)nodedb_record_num(&d->conf, NODEDB_MAX_LOGINS));
    life_set_idle(d);
    records_all_changed(d);
    periodic_follow(d);
    return 0;
}

void
iscsid_free(struct iscsid **daemon)
{
    struct iscsid *d = *daemon;

    if (d == NULL)
        return;
    *daemon = NULL;
    LIST_FOREACH_SAFE (n, &d->jobs) {
        struct job *j = container_of(n, struct job, node);

        j->drop(j);
    }
    periodic_free(d);
    loop_timer_stop(d->loop, &d->open_timer);
    loop_timer_stop(d->loop, &d->end_timer);
    loop_defer_cancel(&d->found_work);
    loop_defer_cancel(&d->follow_work);
    records_follow_stop(d);
    histories_fini(d);
    control_free(&d->control);
    plane_stop(&d->plane);
    manage_server_free(&d->manage);
    front_free(&d->front);
    scrape_free(&d->scrape);
    sysfs_free(&d->sysfs);
    login_gate_fini(&d->gate);
    nodedb_close(&d->db);
    firmware_list_fini(&d->firmware);
    if (d->has_conf)
        nodedb_record_fini(&d->conf);
    free(d);
}
