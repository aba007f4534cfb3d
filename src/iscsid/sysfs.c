/* SPDX-License-Identifier: MIT */
/* What of sessions the kernel would show below /sys.  Each session has a SCSI host of its own,
 * whose number is the session's, as with iscsi_tcp and iscsi_iser. */
#include "iscsid/sysfs.h"

#include <stdlib.h>
#include <string.h>

#include "iscsid/tree.h"

#define SYSFS_ASK_MAX  16  /* sessions that are asked about at a time */
#define SYSFS_TICK_MS  250 /* between looks for who has written to a file */
#define SYSFS_TICK_MAX 128 /* sessions at a look */

struct sysfs_session {
    struct list node;
    struct sysfs *s;
    uint32_t sid;
    bool dirty, asking;
    struct tree_set set; /* what is there */
};

struct sysfs {
    struct iscsid *d;
    struct tree *tree;
    struct list sessions;
    unsigned asking, dirty;
    bool ready, look, swept, told;
    struct loop_timer go, tick;
    uint32_t tick_sid; /* the last one that was looked at */
};

/* Each behind the one that it is in. */
static const char *const sysfs_dirs[] = {
    "bus",
    "bus/scsi",
    "bus/scsi/devices",
    "bus/iscsi_flashnode",
    "bus/iscsi_flashnode/devices",
    "class",
    "class/iscsi_transport",
    "class/iscsi_session",
    "class/iscsi_connection",
    "class/iscsi_host",
    "class/iscsi_iface",
    "class/iscsi_endpoint",
    "class/scsi_host",
    "class/scsi_device",
    "devices",
    "devices/platform",
    "devices/virtual",
    "devices/virtual/iscsi_transport",
    "module",
    "module/scsi_transport_iscsi",
    NULL,
};

/* ---- what a session looks like -------------------------------------------------------------- */

static const json_t *
sysfs_get(const json_t *o, const char *a, const char *b)
{
    return json_object_get(b != NULL ? json_object_get(o, a) : o, b != NULL ? b : a);
}

/* A line of text; nothing of a peer's ends it before its time. */
static void
sysfs_line(struct tree_set *set, int kind, const char *dir, const char *name, const char *text)
{
    char line[600];
    size_t len = strcspn(text, "\n");

    (void)snprintf(line, sizeof(line), "%.*s\n", len < 512 ? (int)len : 512, text);
    tree_put(set, kind, len > 0 ? line : "(null)\n", "%s/%s", dir, name);
    explicit_bzero(line, sizeof(line));
}

static void
sysfs_value(struct tree_set *set, const char *dir, const char *name, const json_t *value)
{
    char text[32];

    if (json_is_integer(value)) {
        (void)snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(value));
        sysfs_line(set, TREE_FILE, dir, name, text);
    } else {
        sysfs_line(set, TREE_FILE, dir, name,
                   json_is_string(value) ? json_string_value(value) : "");
    }
}

/* A time limit in seconds; the kernel calls -1 off. */
static void
sysfs_timeout(struct tree_set *set, const char *dir, const char *name, const json_t *value)
{
    if (json_integer_value(value) < 0)
        sysfs_line(set, TREE_FILE, dir, name, "off");
    else
        sysfs_value(set, dir, name, value);
}

/* "Yes" and "CRC32C" are 1. */
static void
sysfs_flag(struct tree_set *set, const char *dir, const char *name, const json_t *value)
{
    const char *text = json_string_value(value);

    sysfs_line(set, TREE_FILE, dir, name,
               text != NULL && (strcmp(text, "Yes") == 0 || strcmp(text, "CRC32C") == 0) ? "1"
                                                                                         : "0");
}

static void
sysfs_session_files(struct tree_set *set, const json_t *o, const char *dir)
{
    static const struct {
        const char *name, *a, *b;
        void (*put)(struct tree_set *set, const char *dir, const char *name, const json_t *value);
    } rows[] = {
        {"targetname", "target", NULL, sysfs_value},
        {"initiatorname", "iface", "initiatorname", sysfs_value},
        {"ifacename", "iface", "name", sysfs_value},
        {"targetalias", "alias", NULL, sysfs_value},
        {"state", "state", NULL, sysfs_value},
        {"tpgt", "tpgt", NULL, sysfs_value},
        {"tsih", "tsih", NULL, sysfs_value},
        {"isid", "isid", NULL, sysfs_value},
        {"recovery_tmo", "timeouts", "recovery", sysfs_timeout},
        {"abort_tmo", "timeouts", "abort", sysfs_timeout},
        {"lu_reset_tmo", "timeouts", "lun_reset", sysfs_timeout},
        {"tgt_reset_tmo", "timeouts", "target_reset", sysfs_timeout},
        {"username", "chap", "username", sysfs_value},
        {"username_in", "chap", "username_in", sysfs_value},
        {"first_burst_len", "params", "FirstBurstLength", sysfs_value},
        {"max_burst_len", "params", "MaxBurstLength", sysfs_value},
        {"max_outstanding_r2t", "params", "MaxOutstandingR2T", sysfs_value},
        {"immediate_data", "params", "ImmediateData", sysfs_flag},
        {"initial_r2t", "params", "InitialR2T", sysfs_flag},
        {"erl", "params", "ErrorRecoveryLevel", sysfs_value},
    };
    static const char *const secrets[] = {"password", "password_in"};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        rows[i].put(set, dir, rows[i].name, sysfs_get(o, rows[i].a, rows[i].b));
    for (size_t i = 0; i < 2; i++) {
        const char *text = json_string_value(sysfs_get(o, "chap", secrets[i]));

        sysfs_line(set, TREE_SECRET, dir, secrets[i], text != NULL ? text : "");
    }
    sysfs_line(set, TREE_FILE, dir, "creator", "1"); /* not -1, which means firmware */
    sysfs_line(set, TREE_FILE, dir, "target_id", "0");
    sysfs_line(set, TREE_FILE, dir, "fast_abort", "1");
    sysfs_line(set, TREE_FILE, dir, "data_pdu_in_order", "1");
    sysfs_line(set, TREE_FILE, dir, "data_seq_in_order", "1");
}

static void
sysfs_portal(struct tree_set *set, const char *dir, const json_t *text, const char *address,
             const char *port)
{
    const char *t = json_string_value(text);
    struct portal p = {.port = 0};
    char number[8];

    if (t != NULL)
        (void)portal_parse(t, strlen(t), &p, NULL);
    (void)snprintf(number, sizeof(number), "%u", p.port);
    sysfs_line(set, TREE_FILE, dir, address, p.host);
    sysfs_line(set, TREE_FILE, dir, port, number);
}

static void
sysfs_connection_files(struct tree_set *set, const json_t *o, const char *dir)
{
    const char *state = json_string_value(json_object_get(o, "connection_state"));
    bool up = state != NULL && strcmp(state, "LOGGED IN") == 0;

    sysfs_portal(set, dir, json_object_get(o, "portal"), "address", "port");
    sysfs_portal(set, dir, json_object_get(o, "persistent_portal"), "persistent_address",
                 "persistent_port");
    sysfs_flag(set, dir, "header_digest", sysfs_get(o, "params", "HeaderDigest"));
    sysfs_flag(set, dir, "data_digest", sysfs_get(o, "params", "DataDigest"));
    sysfs_value(set, dir, "max_recv_dlength", sysfs_get(o, "params", "MaxRecvDataSegmentLength"));
    sysfs_value(set, dir, "max_xmit_dlength", sysfs_get(o, "params", "MaxXmitDataSegmentLength"));
    sysfs_line(set, TREE_FILE, dir, "state", up ? "up" : "down");
}

static void
sysfs_host_files(struct tree_set *set, const json_t *o, uint32_t sid, const char *host)
{
    const char *transport = json_string_value(sysfs_get(o, "iface", "transport"));
    char dir[160], module[IPC_NAME_MAX + 8];

    (void)snprintf(module, sizeof(module), "iscsi_%s", transport != NULL ? transport : "tcp");
    (void)snprintf(dir, sizeof(dir), "%s/iscsi_host/host%u", host, sid);
    sysfs_value(set, dir, "hwaddress", sysfs_get(o, "iface", "hwaddress"));
    sysfs_value(set, dir, "ipaddress", sysfs_get(o, "iface", "ipaddress"));
    sysfs_value(set, dir, "netdev", sysfs_get(o, "iface", "netdev"));
    sysfs_value(set, dir, "initiatorname", sysfs_get(o, "iface", "initiatorname"));
    (void)snprintf(dir, sizeof(dir), "%s/scsi_host/host%u", host, sid);
    sysfs_line(set, TREE_FILE, dir, "proc_name", module);
    sysfs_value(set, dir, "state", sysfs_get(o, "host", "state"));
    tree_put(set, TREE_FILE, "", "%s/scan", dir);
    (void)snprintf(dir, sizeof(dir), "../../../%s", host);
    tree_put(set, TREE_LINK, dir, "bus/scsi/devices/host%u", sid);
}

static const char *
sysfs_lun_state(const json_t *lun)
{
    const char *state = json_string_value(json_object_get(lun, "state"));

    if (state == NULL)
        return "created";
    return strcmp(state, "UP") == 0        ? "running"
           : strcmp(state, "OFFLINE") == 0 ? "offline"
           : strcmp(state, "CLOSING") == 0 ? "cancel"
                                           : "created";
}

/* A unit.  It has no device of the kernel's; a name in the place of it tells which it is.  The name
 * does not end in digits, which are taken for the number of a partition. */
static void
sysfs_lun(struct tree_set *set, const json_t *lun, uint32_t sid, const char *session)
{
    long long number = json_integer_value(json_object_get(lun, "lun"));
    long long type = json_integer_value(json_object_get(lun, "type"));
    char dir[200], to[240];

    (void)snprintf(dir, sizeof(dir), "%s/target%u:0:0/%u:0:0:%lld", session, sid, sid, number);
    sysfs_line(set, TREE_FILE, dir, "state", sysfs_lun_state(lun));
    sysfs_value(set, dir, "type", json_object_get(lun, "type"));
    sysfs_value(set, dir, "vendor", json_object_get(lun, "vendor"));
    sysfs_value(set, dir, "model", json_object_get(lun, "product"));
    sysfs_value(set, dir, "rev", json_object_get(lun, "revision"));
    tree_put(set, TREE_FILE, "", "%s/rescan", dir);
    tree_put(set, TREE_FILE, "", "%s/delete", dir);
    if (type == 0 || type == 7 || type == 14) { /* disks: SBC, optical memory, RBC */
        (void)snprintf(to, sizeof(to), "%lld\n",
                       (long long)json_integer_value(json_object_get(lun, "size")) / 512);
        tree_put(set, TREE_FILE, to, "%s/block/lun-%u-%lld-disk/size", dir, sid, number);
    }
    tree_put(set, TREE_LINK, "../..", "%s/scsi_device/%u:0:0:%lld/device", dir, sid, number);
    (void)snprintf(to, sizeof(to), "../../../%s", dir);
    tree_put(set, TREE_LINK, to, "bus/scsi/devices/%u:0:0:%lld", sid, number);
    (void)snprintf(to, sizeof(to), "../../%s/scsi_device/%u:0:0:%lld", dir, sid, number);
    tree_put(set, TREE_LINK, to, "class/scsi_device/%u:0:0:%lld", sid, number);
}

/* Puts CLASS/NAME below `parent`, where its files have been put, into the class. */
static void
sysfs_class(struct tree_set *set, const char *parent, const char *class, const char *name)
{
    char to[240];

    tree_put(set, TREE_LINK, "../..", "%s/%s/%s/device", parent, class, name);
    (void)snprintf(to, sizeof(to), "../../%s/%s/%s", parent, class, name);
    tree_put(set, TREE_LINK, to, "class/%s/%s", class, name);
}

static void
sysfs_render(struct tree_set *set, const json_t *o, uint32_t sid)
{
    const json_t *luns = json_object_get(o, "luns");
    char host[64], session[100], conn[140], dir[200], name[40];

    (void)snprintf(host, sizeof(host), "devices/platform/host%u", sid);
    (void)snprintf(session, sizeof(session), "%s/session%u", host, sid);
    (void)snprintf(conn, sizeof(conn), "%s/connection%u:0", session, sid);
    (void)snprintf(dir, sizeof(dir), "%s/iscsi_session/session%u", session, sid);
    sysfs_session_files(set, o, dir);
    (void)snprintf(dir, sizeof(dir), "%s/iscsi_connection/connection%u:0", conn, sid);
    sysfs_connection_files(set, o, dir);
    sysfs_host_files(set, o, sid, host);
    for (size_t i = 0; i < json_array_size(luns); i++)
        sysfs_lun(set, json_array_get(luns, i), sid, session);
    (void)snprintf(name, sizeof(name), "host%u", sid);
    sysfs_class(set, host, "scsi_host", name);
    sysfs_class(set, host, "iscsi_host", name);
    (void)snprintf(name, sizeof(name), "connection%u:0", sid);
    sysfs_class(set, conn, "iscsi_connection", name);
    (void)snprintf(name, sizeof(name), "session%u", sid);
    sysfs_class(set, session, "iscsi_session", name);
}

/* ---- keeping it so -------------------------------------------------------------------------- */

static void
sysfs_complain(struct sysfs *s, const struct lunette_error *err)
{
    if (!s->told)
        log_line(s->d->loop->log, LOG_LEVEL_ERROR, "--sysfs: %s", err->msg);
    s->told = true;
}

static void
sysfs_show(struct sysfs *s, struct sysfs_session *ss, struct tree_set *now)
{
    struct lunette_error err = {.code = 0};

    if (tree_change(s->tree, &ss->set, now, &err) < 0) { /* sysfs_look tries it again */
        sysfs_complain(s, &err);
        tree_set_fini(now);
        s->swept = false;
        return;
    }
    s->told = false;
    tree_set_fini(&ss->set);
    ss->set = *now;
}

static void
sysfs_forget(struct sysfs *s, struct sysfs_session *ss)
{
    struct tree_set none = {.n = 0};

    sysfs_show(s, ss, &none);
    tree_set_fini(&ss->set);
    list_del(&ss->node);
    s->dirty -= ss->dirty;
    free(ss);
}

static struct sysfs_session *
sysfs_find(const struct sysfs *s, uint32_t sid)
{
    LIST_FOREACH (n, &s->sessions) {
        struct sysfs_session *ss = container_of(n, struct sysfs_session, node);

        if (ss->sid == sid)
            return ss;
    }
    return NULL;
}

static void
sysfs_mark(struct sysfs *s, uint32_t sid)
{
    struct sysfs_session *ss = sysfs_find(s, sid);

    if (ss == NULL) {
        ss = calloc(1, sizeof(*ss));
        if (ss == NULL)
            return;
        ss->s = s;
        ss->sid = sid;
        list_push_back(&s->sessions, &ss->node);
    }
    s->dirty += !ss->dirty;
    ss->dirty = true;
    if (!loop_timer_running(&s->go))
        loop_timer_start(s->d->loop, &s->go, 0);
}

/* Is there a session to be shown? */
static bool
sysfs_is_there(const struct sysfs *s, uint32_t sid)
{
    struct control_node *n = control_find_sid(s->d->control, sid);
    struct control_info info;

    return n != NULL && session_is_told(n, &info);
}

static void
sysfs_on_answer(void *user, const json_t *answer)
{
    struct sysfs_session *ss = user;
    struct sysfs *s = ss->s;
    const json_t *list = json_object_get(json_object_get(answer, "result"), "sessions");
    struct tree_set now = {.n = 0};

    ss->asking = false;
    s->asking--;
    if (answer == NULL)
        return;
    if (json_array_size(list) == 1) {
        sysfs_render(&now, json_array_get(list, 0), ss->sid);
        sysfs_show(s, ss, &now);
    } else if (sysfs_is_there(s, ss->sid)) { /* the data plane is silent: it is asked again later */
        s->dirty += !ss->dirty;
        ss->dirty = true;
        return;
    }
    loop_timer_start(s->d->loop, &s->go, 0);
}

static void
sysfs_ask(struct sysfs *s, struct sysfs_session *ss)
{
    json_t *params =
        json_pack("{s:I,s:i,s:b}", "sid", (json_int_t)ss->sid, "detail", 3, "show_secrets", 1);

    if (params == NULL)
        return; /* sysfs_on_tick tries it again */
    ss->dirty = false;
    s->dirty--;
    ss->asking = true;
    s->asking++;
    manage_server_ask(s->d->manage, "session.list", params, sysfs_on_answer, ss);
    json_decref(params);
}

/* Session and host, connection and unit: all have the number of the session first. */
static bool
sysfs_known(void *user, const char *name)
{
    const char *digits = name + strcspn(name, "0123456789");
    const struct sysfs *s = user;

    if (strcmp(name, "tcp") == 0 || strcmp(name, "iser") == 0 || strcmp(name, "version") == 0)
        return true;
    return *digits != '\0' && sysfs_find(s, (uint32_t)strtoul(digits, NULL, 10)) != NULL;
}

static void
sysfs_on_go(struct loop_timer *t)
{
    struct sysfs *s = container_of(t, struct sysfs, go);
    bool again = false;

    if (!s->ready)
        return;
    LIST_FOREACH_SAFE (n, &s->sessions) {
        struct sysfs_session *ss = container_of(n, struct sysfs_session, node);

        if (ss->asking) { /* it may have gone meanwhile, which is seen after the answer */
            again |= s->look;
            continue;
        }
        if (!ss->dirty && !s->look)
            continue;
        if (!sysfs_is_there(s, ss->sid))
            sysfs_forget(s, ss);
        else if (ss->dirty && s->asking < SYSFS_ASK_MAX)
            sysfs_ask(s, ss);
    }
    s->look = again;
    if (s->dirty > 0 || s->asking > 0 || s->swept)
        return;
    s->swept = true;
    tree_sweep(s->tree, sysfs_known, s);
}

/* ---- files that are written to -------------------------------------------------------------- */

static bool
sysfs_is_knob(const char *path)
{
    const char *name = strrchr(path, '/');

    return name != NULL && (strcmp(name, "/scan") == 0 || strcmp(name, "/rescan") == 0);
}

static void
sysfs_look(struct sysfs *s, struct sysfs_session *ss)
{
    struct control_node *n = control_find_sid(s->d->control, ss->sid);
    bool any = false;

    for (size_t i = 0; i < ss->set.n; i++) {
        const struct tree_entry *e = &ss->set.entries[i];

        if (e->kind == TREE_FILE && e->text[0] == '\0' && sysfs_is_knob(e->path) &&
            tree_is_written(s->tree, e->path)) {
            tree_rewind(s->tree, e->path);
            any = true;
        }
    }
    if (any && n != NULL)
        (void)control_scan(n, NULL, NULL);
    if (ss->set.doubted)
        sysfs_mark(s, ss->sid);
}

static void
sysfs_on_tick(struct loop_timer *t)
{
    struct sysfs *s = container_of(t, struct sysfs, tick);
    unsigned looked = 0;
    struct list *n;

    /* Those that were looked at go to the end. */
    while (looked++ < SYSFS_TICK_MAX && (n = list_pop_front(&s->sessions)) != NULL) {
        struct sysfs_session *ss = container_of(n, struct sysfs_session, node);

        list_push_back(&s->sessions, n);
        if (looked > 1 && ss->sid == s->tick_sid)
            break;
        if (looked == 1)
            s->tick_sid = ss->sid;
        sysfs_look(s, ss);
    }
    if (s->dirty > 0 && !loop_timer_running(&s->go))
        loop_timer_start(s->d->loop, &s->go, 0);
    loop_timer_start(s->d->loop, t, SYSFS_TICK_MS * LOOP_NS_PER_MS);
}

/* ---- life ----------------------------------------------------------------------------------- */

void
sysfs_ready(struct sysfs *s)
{
    struct control_info info;

    if (s == NULL)
        return;
    s->ready = true;
    for (struct control_node *n = NULL; (n = session_next(s->d->control, n, &info)) != NULL;)
        sysfs_mark(s, info.sid);
    s->look = true;
    loop_timer_start(s->d->loop, &s->go, 0);
}

void
sysfs_event(struct sysfs *s, const struct control_event *ev)
{
    struct control_info info;

    if (s == NULL || ev->node == NULL)
        return;
    control_node_get_info(ev->node, &info);
    if (info.sid != 0)
        sysfs_mark(s, info.sid);
    if (ev->type == CONTROL_STATE || ev->type == CONTROL_GONE) {
        s->look = true;
        loop_timer_start(s->d->loop, &s->go, 0);
    }
}

bool
sysfs_is_settled(const struct sysfs *s)
{
    return s == NULL || !s->ready || (s->dirty == 0 && s->asking == 0 && !s->look);
}

static int
sysfs_begin(struct sysfs *s, struct lunette_error *err)
{
    struct tree_set none = {.n = 0}, set = {.n = 0};
    int r;

    tree_put(&set, TREE_FILE, "2.0-870\n", "module/scsi_transport_iscsi/version");
    tree_put(&set, TREE_FILE, "1\n", "devices/virtual/iscsi_transport/tcp/handle");
    tree_put(&set, TREE_FILE, "0x39\n", "devices/virtual/iscsi_transport/tcp/caps");
    tree_put(&set, TREE_LINK, "../../devices/virtual/iscsi_transport/tcp",
             "class/iscsi_transport/tcp");
    tree_put(&set, TREE_FILE, "2\n", "devices/virtual/iscsi_transport/iser/handle");
    tree_put(&set, TREE_FILE, "0x89\n", "devices/virtual/iscsi_transport/iser/caps");
    tree_put(&set, TREE_LINK, "../../devices/virtual/iscsi_transport/iser",
             "class/iscsi_transport/iser");
    r = tree_change(s->tree, &none, &set, err);
    tree_set_fini(&set);
    return r;
}

int
sysfs_new(struct iscsid *d, const char *dir, struct sysfs **ret, struct lunette_error *err)
{
    struct sysfs *s = calloc(1, sizeof(*s));
    int r;

    if (s == NULL) {
        say_no_memory(err);
        return -ENOMEM;
    }
    s->d = d;
    list_init(&s->sessions);
    loop_timer_init(&s->go, sysfs_on_go);
    loop_timer_init(&s->tick, sysfs_on_tick);
    r = tree_open(dir, sysfs_dirs, &s->tree, err);
    if (r == 0)
        r = sysfs_begin(s, err);
    if (r < 0) {
        sysfs_free(&s);
        return r;
    }
    loop_timer_start(d->loop, &s->tick, SYSFS_TICK_MS * LOOP_NS_PER_MS);
    *ret = s;
    return 0;
}

void
sysfs_free(struct sysfs **sysfs)
{
    struct sysfs *s = *sysfs;
    struct list *n;

    if (s == NULL)
        return;
    *sysfs = NULL;
    loop_timer_stop(s->d->loop, &s->go);
    loop_timer_stop(s->d->loop, &s->tick);
    while ((n = list_pop_front(&s->sessions)) != NULL) {
        struct sysfs_session *ss = container_of(n, struct sysfs_session, node);

        tree_set_fini(&ss->set);
        free(ss);
    }
    tree_close(&s->tree);
    free(s);
}
