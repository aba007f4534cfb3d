/* SPDX-License-Identifier: MIT */
/* Sessions as a tree, which programs take apart by their lines: each stays as it is. */
#include <stdlib.h>
#include <string.h>

#include "cmd/iscsiadm/adm.h"

#define STARS_9  "*********"
#define STARS_10 "**********"
#define STARS_5  "*****"
#define STARS_24 "************************"

void
adm_print_versions(void)
{
    (void)puts("iSCSI Transport Class version " LUNETTE_VERSION);
    (void)puts("version " LUNETTE_VERSION);
}

static void
tree_heading(const struct adm_tree *t, const char *stars, const char *text)
{
    (void)printf("%s\t\t%s\n%s\t\t%s:\n%s\t\t%s\n", t->indent, stars, t->indent, text, t->indent,
                 stars);
}

static void
tree_line(const struct adm_tree *t, const char *name, const char *value)
{
    (void)printf("%s\t\t%s: %s\n", t->indent, name, value);
}

static const char *
tree_or_unknown(const char *text)
{
    return text[0] != '\0' ? text : "Unknown";
}

static void
tree_portal_line(const struct adm_tree *t, const char *name, const json_t *s, const char *member)
{
    (void)printf("%s\t%s: ", t->indent, name);
    adm_print_portal(adm_text(s, member), adm_number(s, "tpgt"));
    (void)fputc('\n', stdout);
}

static void
tree_interface(const struct adm_tree *t, const json_t *s)
{
    static const struct {
        const char *title, *member;
    } rows[] = {
        {"Iface Name", "name"},
        {"Iface Transport", "transport"},
        {"Iface Initiatorname", "initiatorname"},
        {"Iface IPaddress", "ipaddress"},
        {"Iface HWaddress", "hwaddress"},
        {"Iface Netdev", "netdev"},
    };
    const json_t *iface = json_object_get(s, "iface");

    tree_heading(t, STARS_10, "Interface");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *value = adm_text(iface, rows[i].member);
        bool v6 = i == 3 && strchr(value, ':') != NULL;

        (void)printf("%s\t\t%s: %s%s%s\n", t->indent, rows[i].title, v6 ? "[" : "",
                     adm_or_empty(value), v6 ? "]" : "");
    }
}

static void
tree_states(const struct adm_tree *t, const json_t *s)
{
    (void)printf("%s\t\tSID: %lld\n", t->indent, (long long)adm_number(s, "sid"));
    tree_line(t, "iSCSI Connection State", tree_or_unknown(adm_text(s, "connection_state")));
    tree_line(t, "iSCSI Session State", tree_or_unknown(adm_text(s, "state")));
    tree_line(t, "Internal iscsid Session State", tree_or_unknown(adm_text(s, "internal_state")));
}

/* Where a session has several connections, or is recovered below the session; open-iscsi's never
 * are. */
static void
tree_connections(const struct adm_tree *t, const json_t *s)
{
    const json_t *conns = json_object_get(s, "connections"), *conn;
    long long wanted = (long long)adm_number(s, "connections_wanted");
    long long level = (long long)adm_number(json_object_get(s, "params"), "ErrorRecoveryLevel");
    size_t i;

    if (json_array_size(conns) < 2 && wanted < 2 && level == 0)
        return;
    tree_heading(t, STARS_10, "Connections");
    (void)printf("%s\t\tConnections: %lld of %lld\n", t->indent,
                 (long long)adm_number(s, "connections_up"), wanted);
    (void)printf("%s\t\tErrorRecoveryLevel: %lld\n", t->indent, level);
    json_array_foreach(conns, i, conn)
    {
        const char *local = adm_text(conn, "local");

        (void)printf("%s\t\tConnection %lld: %s, %s%s%s\n", t->indent,
                     (long long)adm_number(conn, "cid"), adm_or_empty(adm_text(conn, "portal")),
                     tree_or_unknown(adm_text(conn, "state")), local[0] != '\0' ? ", from " : "",
                     local);
    }
}

static void
tree_timeouts(const struct adm_tree *t, const json_t *s)
{
    static const struct {
        const char *title, *member;
    } rows[] = {
        {"Recovery Timeout", "recovery"},
        {"Target Reset Timeout", "target_reset"},
        {"LUN Reset Timeout", "lun_reset"},
        {"Abort Timeout", "abort"},
    };
    const json_t *timeouts = json_object_get(s, "timeouts");

    tree_heading(t, STARS_9, "Timeouts");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        (void)printf("%s\t\t%s: %lld\n", t->indent, rows[i].title,
                     (long long)adm_number(timeouts, rows[i].member));
}

/* The secret of the second direction stands behind "password" when secrets are shown, as ever. */
static void
tree_chap(const struct adm_tree *t, const json_t *s)
{
    const json_t *chap = json_object_get(s, "chap");
    const char *secret = adm_text(chap, "password"), *secret_in = adm_text(chap, "password_in");

    tree_heading(t, STARS_5, "CHAP");
    tree_line(t, "username", adm_or_empty(adm_text(chap, "username")));
    tree_line(t, "password", t->secrets ? adm_or_empty(secret) : "********");
    tree_line(t, "username_in", adm_or_empty(adm_text(chap, "username_in")));
    tree_line(t, t->secrets ? "password" : "password_in",
              t->secrets ? adm_or_empty(secret_in) : "********");
}

static void
tree_params(const struct adm_tree *t, const json_t *s)
{
    static const char *const names[] = {"HeaderDigest",
                                        "DataDigest",
                                        "MaxRecvDataSegmentLength",
                                        "MaxXmitDataSegmentLength",
                                        "FirstBurstLength",
                                        "MaxBurstLength",
                                        "ImmediateData",
                                        "InitialR2T",
                                        "MaxOutstandingR2T"};
    const json_t *params = json_object_get(s, "params");

    tree_heading(t, STARS_24, "Negotiated iSCSI params");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const json_t *v = json_object_get(params, names[i]);

        if (json_is_integer(v))
            (void)printf("%s\t\t%s: %lld\n", t->indent, names[i], (long long)json_integer_value(v));
        else if (json_is_string(v))
            tree_line(t, names[i], json_string_value(v));
    }
}

/* The words of the kernel for the state of a LUN. */
static const char *
device_state(const char *state)
{
    static const struct {
        const char *ours, *word;
    } rows[] = {
        {"UP", "running"},       {"OFFLINE", "offline"}, {"NEW", "created"},
        {"STARTING", "created"}, {"CLOSING", "cancel"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (strcmp(rows[i].ours, state) == 0)
            return rows[i].word;
    return tree_or_unknown(state);
}

static void
tree_disk(const struct adm_tree *t, const char *name, const json_t *lun)
{
    if (name[0] != '\0')
        (void)printf("%s\t\t\tAttached scsi disk %s\t\tState: %s\n", t->indent, name,
                     device_state(adm_text(lun, "state")));
}

/* A LUN is attached by the name that the daemon gives it, or by the paths of its exports. */
static void
tree_devices(const struct adm_tree *t, const json_t *s)
{
    const json_t *host = json_object_get(s, "host"), *luns = adm_list(s, "luns");
    long long number = (long long)adm_number(host, "number");

    tree_heading(t, STARS_24, "Attached SCSI devices");
    if (t->host)
        (void)printf("%s\t\tHost Number: %lld\tState: %s\n", t->indent, number,
                     tree_or_unknown(adm_text(host, "state")));
    for (size_t i = 0; i < json_array_size(luns); i++) {
        const json_t *lun = json_array_get(luns, i), *exports = adm_list(lun, "exports");

        (void)printf("%s\t\tscsi%lld Channel 00 Id 0 Lun: %lld\n", t->indent, number,
                     (long long)adm_number(lun, "lun"));
        tree_disk(t, adm_text(lun, "name"), lun);
        for (size_t j = 0; adm_text(lun, "name")[0] == '\0' && j < json_array_size(exports); j++)
            tree_disk(t, adm_text(json_array_get(exports, j), "path"), lun);
    }
}

/* Not among what scripts know: a session without a lease has no such lines. */
static void
tree_leases(const struct adm_tree *t, const json_t *s)
{
    const json_t *leases = adm_list(s, "leases");

    for (size_t i = 0; i < json_array_size(leases); i++) {
        const json_t *l = json_array_get(leases, i);

        (void)printf("%s\t\tLease: %s, %lld s of %lld s left\n", t->indent, adm_text(l, "owner"),
                     (long long)((adm_number(l, "left_ms") + 999) / 1000),
                     (long long)adm_number(l, "seconds"));
    }
}

static void
tree_session(const struct adm_tree *t, const json_t *s)
{
    tree_interface(t, s);
    tree_states(t, s);
    tree_leases(t, s);
    if (t->timeouts) {
        tree_timeouts(t, s);
        tree_chap(t, s);
        tree_connections(t, s);
    }
    if (t->params)
        tree_params(t, s);
    if (t->devices)
        tree_devices(t, s);
}

/* The sessions of a target stand together, those of one portal next to each other; prev is the
 * session that was printed last, or NULL. */
static void
tree_head(const struct adm_tree *t, const json_t *s, const json_t *prev)
{
    bool same_target = prev != NULL && strcmp(adm_text(prev, "target"), adm_text(s, "target")) == 0;

    if (!same_target)
        (void)printf("%sTarget: %s (non-flash)\n", t->indent, adm_text(s, "target"));
    if (same_target && strcmp(adm_text(prev, "portal"), adm_text(s, "portal")) == 0) {
        (void)fputc('\n', stdout);
        return;
    }
    tree_portal_line(t, "Current Portal", s, "portal");
    tree_portal_line(t, "Persistent Portal", s, "persistent_portal");
}

/* Prints those of the sessions from i on that are of the target of the i-th and come by that
 * portal; done[] marks what is printed.  Returns the last one. */
static const json_t *
tree_group(const json_t *sessions, size_t i, const char *portal, bool *done,
           const struct adm_tree *t, const json_t *prev)
{
    const char *target = adm_text(json_array_get(sessions, i), "target");

    for (size_t j = i; j < json_array_size(sessions); j++) {
        const json_t *s = json_array_get(sessions, j);

        if (done[j] || strcmp(adm_text(s, "target"), target) != 0 ||
            strcmp(adm_text(s, "portal"), portal) != 0)
            continue;
        tree_head(t, s, prev);
        tree_session(t, s);
        done[j] = true;
        prev = s;
    }
    return prev;
}

void
adm_print_session_tree(const json_t *sessions, const struct adm_tree *t)
{
    size_t n = json_array_size(sessions);
    bool *done = calloc(n > 0 ? n : 1, sizeof(*done));
    const json_t *prev = NULL;

    for (size_t i = 0; done != NULL && i < n; i++) {
        const char *target = adm_text(json_array_get(sessions, i), "target");

        if (done[i])
            continue;
        for (size_t j = i; j < n; j++) {
            const json_t *s = json_array_get(sessions, j);

            if (!done[j] && strcmp(adm_text(s, "target"), target) == 0)
                prev = tree_group(sessions, j, adm_text(s, "portal"), done, t, prev);
        }
    }
    free(done);
}
