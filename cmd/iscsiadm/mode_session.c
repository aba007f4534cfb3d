/* SPDX-License-Identifier: MIT */
/* iscsiadm -m session: sessions that exist, wherever their records are. */
#include <string.h>
#include <unistd.h>

#include "cmd/iscsiadm/adm.h"

#define NO_SESSIONS "No active sessions."

static json_t *
session_params(const struct adm *adm)
{
    json_t *params = adm_made(json_object());

    if (adm->args.sid >= 0)
        adm_put(params, "sid", json_integer(adm->args.sid));
    return params;
}

/* Asks for the sessions; one that was named and is not there is another error than none at all. */
static int
session_get(struct adm *adm, int detail, const char *none, json_t *params, json_t **ret)
{
    bool one = json_object_get(params, "sid") != NULL;
    char text[64];
    int r;

    if (one)
        (void)snprintf(text, sizeof(text), "Could not get session info for sid %lld",
                       (long long)adm_number(params, "sid"));
    adm_put(params, "detail", json_integer(detail));
    if (adm->args.show)
        adm_put(params, "show_secrets", json_true());
    r = adm_read(adm, "session.list", params, one ? text : none, ret);
    if (r == 0 && json_array_size(adm_list(*ret, "sessions")) == 0) {
        adm_error("%s", one ? text : none);
        json_decref(*ret);
        r = MANAGE_NOT_FOUND;
    }
    return one && r == MANAGE_NOT_FOUND ? MANAGE_LOOKUP : r;
}

static void
print_flat(const json_t *sessions)
{
    for (size_t i = 0; i < json_array_size(sessions); i++) {
        const json_t *s = json_array_get(sessions, i);
        const char *transport = adm_text(json_object_get(s, "iface"), "transport");

        (void)printf("%s: [%lld] ", transport[0] != '\0' ? transport : "tcp",
                     (long long)adm_number(s, "sid"));
        adm_print_portal(adm_text(s, "persistent_portal"), adm_number(s, "tpgt"));
        (void)printf(" %s (non-flash)\n", adm_text(s, "target"));
    }
}

static int
session_list(struct adm *adm)
{
    int level = adm->args.level > 0 ? adm->args.level : 0, r = adm_check_level(&adm->args, 3);
    const struct adm_tree tree = {.indent = "",
                                  .params = level >= 2,
                                  .timeouts = level >= 2,
                                  .host = level >= 3,
                                  .devices = level >= 3,
                                  .secrets = adm->args.show};
    json_t *result;

    if (r == 0)
        r = session_get(adm, level, NO_SESSIONS, session_params(adm), &result);
    if (r != 0)
        return r;
    if (adm->args.json) {
        r = adm_print_json(result);
    } else if (level == 0) {
        print_flat(adm_list(result, "sessions"));
    } else {
        if (level == 3)
            adm_print_versions();
        adm_print_session_tree(adm_list(result, "sessions"), &tree);
    }
    json_decref(result);
    return r;
}

/* Makes of the session that was named the selection of its record, for what node mode does. */
static int
session_record(struct adm *adm, json_t **ret)
{
    const json_t *s;
    json_t *result, *f;
    int r = session_get(adm, 0, NO_SESSIONS, session_params(adm), &result);

    if (r != 0)
        return r;
    s = json_array_get(adm_list(result, "sessions"), 0);
    f = adm_made(json_object());
    adm_put(f, "target", json_string(adm_text(s, "target")));
    adm_put(f, "portal", json_string(adm_text(s, "persistent_portal")));
    adm_put(f, "tpgt", json_integer(adm_number(s, "tpgt")));
    adm_put(f, "iface", json_string(adm_text(json_object_get(s, "iface"), "name")));
    json_decref(result);
    *ret = f;
    return 0;
}

static int
record_show(struct adm *adm, json_t *record)
{
    if (adm->args.show)
        adm_put(record, "show_secrets", json_true());
    return adm_show(adm, "node.show", record, "nodes", adm_print_record, "No records found");
}

static int
record_change(struct adm *adm, const char *method, json_t *record)
{
    json_t *result;
    int r = adm_read(adm, method, record, "No records found", &result);

    if (r == 0)
        json_decref(result);
    else if (r != MANAGE_NOT_FOUND)
        adm_error("Could not execute operation on all records: %s", manage_code_text(r));
    return r;
}

/* Time limits also change for the session that exists; its record has them for the next login. */
static int
session_update(struct adm *adm, json_t *record)
{
    static const char *const live[] = {"node.session.timeo.", "node.session.err_timeo.",
                                       "node.conn[0].timeo."};
    const json_t *values = adm->args.values;
    json_t *now = adm_made(json_array()), *params;
    int r;

    for (size_t i = 0; i < json_array_size(values); i++) {
        json_t *pair = json_array_get(values, i);
        const char *name = json_string_value(json_array_get(pair, 0));

        for (size_t j = 0; j < sizeof(live) / sizeof(live[0]); j++)
            if (strncmp(name, live[j], strlen(live[j])) == 0)
                adm_append(now, json_incref(pair));
    }
    adm_put(record, "values", json_incref(adm->args.values));
    r = record_change(adm, "node.update", record);
    if (r == 0 && json_array_size(now) > 0) {
        params = session_params(adm);
        adm_put(params, "values", json_incref(now));
        r = record_change(adm, "session.update", params);
    }
    json_decref(now);
    return r;
}

static int
session_operation(struct adm *adm)
{
    const struct adm_args *a = &adm->args;
    json_t *record = NULL;
    int r = 0;

    if (a->sid < 0) {
        adm_error("--op needs a session: give --sid");
        return MANAGE_INVALID;
    }
    if (a->ops == ADM_UPDATE)
        r = adm_check_values(a, "update");
    if (r == 0)
        r = session_record(adm, &record);
    if (r != 0)
        return r;
    switch (a->ops) {
    case 0:
    case ADM_SHOW:
        return record_show(adm, record);
    case ADM_NEW:
        adm_put(record, "more", json_true());
        return adm_login(adm, "node.login", record);
    case ADM_UPDATE:
        return session_update(adm, record);
    case ADM_DELETE:
        return record_change(adm, "node.delete", record);
    default:
        json_decref(record);
        adm_error("session mode takes one of the operations new, delete, update and show");
        return MANAGE_INVALID;
    }
}

static void
print_export(const json_t *e)
{
    (void)printf("%lld %s\n", (long long)adm_number(e, "lun"), adm_text(e, "path"));
}

/* Has one of the sessions an export of the LUN? */
static bool
session_has_export(const json_t *sessions, int64_t lun)
{
    for (size_t i = 0; i < json_array_size(sessions); i++) {
        const json_t *luns = adm_list(json_array_get(sessions, i), "luns");

        for (size_t j = 0; j < json_array_size(luns); j++) {
            const json_t *l = json_array_get(luns, j);

            if (adm_number(l, "lun") == lun && json_array_size(adm_list(l, "exports")) > 0)
                return true;
        }
    }
    return false;
}

/* Ends the export of one LUN.  That it is not wanted any more is told to the daemon in any case,
 * also where it is wanted and not there yet. */
static int
session_unexport_one(struct adm *adm)
{
    const struct adm_args *a = &adm->args;
    json_t *params = session_params(adm), *result;
    int r = session_get(adm, 3, NO_SESSIONS, session_params(adm), &result);
    bool there = r == 0 && session_has_export(adm_list(result, "sessions"), a->lun);

    adm_put(params, "lun", json_integer(a->lun));
    if (r == 0) {
        json_decref(result);
        r = adm_show(adm, "session.unexport", params, "exports", print_export, NULL);
    } else {
        json_decref(params);
    }
    if (r != 0 || there)
        return r;
    adm_error("there is no export of LUN %lld", (long long)a->lun);
    return MANAGE_NOT_FOUND;
}

static int
session_exports(struct adm *adm)
{
    const struct adm_args *a = &adm->args;
    json_t *params;

    if (a->unexport && a->lun >= 0)
        return session_unexport_one(adm);
    params = session_params(adm);
    if (a->export_kind != NULL)
        adm_put(params, "kind", json_string(a->export_kind));
    if (a->lun >= 0)
        adm_put(params, "lun", json_integer(a->lun));
    if (a->read_only)
        adm_put(params, "read_only", json_true());
    return adm_show(adm, a->unexport ? "session.unexport" : "session.export", params, "exports",
                    print_export, !a->unexport && a->sid < 0 && a->lun < 0 ? NO_SESSIONS : NULL);
}

/* Gives, renews or releases leases, and prints what there are then. */
static int
session_leases(struct adm *adm)
{
    const struct adm_args *a = &adm->args;
    json_t *params = session_params(adm);

    adm_put(params, "owner", json_string(a->release != NULL ? a->release : a->lease_owner));
    if (a->release == NULL)
        adm_put(params, "seconds", json_integer(a->lease_s));
    if (a->leases_only)
        adm_put(params, "leases_only", json_true());
    return adm_show(adm, a->release != NULL ? "session.release" : "session.lease", params,
                    "sessions", adm_print_leases,
                    a->sid >= 0          ? NULL
                    : a->release != NULL ? "The owner has no lease of any session."
                                         : "The owner has no lease that could be renewed; --sid "
                                           "says which session is to get one.");
}

static void
print_session_name(const char *head, const json_t *s)
{
    struct adm_portal p;

    adm_portal_read(adm_text(s, "persistent_portal"), &p);
    (void)printf("%s [sid: %lld, target: %s, portal: %s,%d]\n", head,
                 (long long)adm_number(s, "sid"), adm_text(s, "target"), p.addr, p.port);
}

static void
print_stats(const json_t *s)
{
    static const char *const names[] = {
        "txdata_octets",  "rxdata_octets", "noptx_pdus",   "scsicmd_pdus", "tmfcmd_pdus",
        "login_pdus",     "text_pdus",     "dataout_pdus", "logout_pdus",  "snack_pdus",
        "noprx_pdus",     "scsirsp_pdus",  "tmfrsp_pdus",  "textrsp_pdus", "datain_pdus",
        "logoutrsp_pdus", "r2t_pdus",      "async_pdus",   "rjt_pdus",     "digest_err",
        "timeout_err"};
    const json_t *stats = json_object_get(s, "iscsi_stats"), *custom = adm_list(s, "custom");

    print_session_name("Stats for session", s);
    (void)puts("iSCSI SNMP:");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        (void)printf("\t%s: %lld\n", names[i], (long long)adm_number(stats, names[i]));
    if (json_array_size(custom) > 0)
        (void)puts("iSCSI Extended:");
    for (size_t i = 0; i < json_array_size(custom); i++) {
        const json_t *pair = json_array_get(custom, i);
        const char *name = json_string_value(json_array_get(pair, 0));

        (void)printf("\t%s: %lld\n", name != NULL ? name : "",
                     (long long)json_integer_value(json_array_get(pair, 1)));
    }
}

static void
print_times(const json_t *s)
{
    print_stats(s);
    adm_print_latency(s);
}

int
adm_stats(struct adm *adm, json_t *params, const char *none)
{
    if (adm->args.json || adm->args.histogram)
        adm_put(params, "histograms", json_true());
    return adm_show(adm, "session.stats", params, "sessions",
                    adm->args.histogram ? print_times : print_stats, none);
}

static int
rescan_one(struct adm *adm, const json_t *s)
{
    const struct adm_request rq = {.method = "session.rescan",
                                   .params =
                                       adm_made(json_pack("{s:I}", "sid", adm_number(s, "sid"))),
                                   .silence_ms = ADM_REACH_MS};
    json_t *result;
    int r;

    print_session_name("Rescanning session", s);
    (void)fflush(stdout);
    r = adm_call(adm, &rq, &result);
    if (r == 0)
        json_decref(result);
    return r;
}

int
adm_rescan(struct adm *adm, json_t *params, const char *none)
{
    const json_t *sessions;
    json_t *result;
    int r = session_get(adm, 0, none, params, &result), first = 0;

    if (r != 0)
        return r;
    sessions = adm_list(result, "sessions");
    for (size_t i = 0; i < json_array_size(sessions); i++) {
        r = rescan_one(adm, json_array_get(sessions, i));
        first = first != 0 ? first : r;
    }
    json_decref(result);
    return first;
}

/* Is the session there that was named? */
static int
session_exists(struct adm *adm)
{
    json_t *result;
    int r = adm->args.sid >= 0 ? session_get(adm, 0, NO_SESSIONS, session_params(adm), &result) : 0;

    if (r == 0 && adm->args.sid >= 0)
        json_decref(result);
    return r;
}

/* What is done to sessions, as against what is shown of them. */
static int
session_action(struct adm *adm)
{
    const struct adm_args *a = &adm->args;
    int r = session_exists(adm);

    if (r != 0)
        return r;
    if (a->flight)
        return adm_flight(adm, session_params(adm));
    if (a->capture != NULL)
        return adm_capture(adm, session_params(adm));
    if (a->lease_owner != NULL || a->release != NULL)
        return session_leases(adm);
    if (a->logout)
        return adm_logout(adm, "session.logout", session_params(adm));
    if (a->rescan)
        return adm_rescan(adm, session_params(adm), NO_SESSIONS);
    if (a->stats)
        return adm_stats(adm, session_params(adm), NO_SESSIONS);
    return session_exports(adm);
}

static bool
session_lease_options(const struct adm_args *a)
{
    if (a->lease_owner != NULL && a->release != NULL)
        adm_error("--release is the opposite of --lease");
    else if (a->leases_only && (a->lease_owner == NULL || a->sid < 0))
        adm_error("--leases-only is about --lease of one session: give --sid");
    else
        return true;
    return false;
}

/* Says so where more than one thing is to be done, of which only one would be. */
static bool
session_one_thing(const struct adm_args *a)
{
    const struct {
        bool asked;
        const char *name;
    } things[] = {
        {a->why, "--why"},
        {a->flight, "--flight"},
        {a->capture != NULL, "--capture"},
        {a->lease_owner != NULL, "--lease"},
        {a->release != NULL, "--release"},
        {a->export_kind != NULL, "--export"},
        {a->unexport, "--unexport"},
        {a->logout, "--logout"},
        {a->rescan, "--rescan"},
        {a->stats, "--stats"},
    };
    const char *first = NULL;

    for (size_t i = 0; i < sizeof(things) / sizeof(things[0]); i++) {
        if (!things[i].asked)
            continue;
        if (first != NULL) {
            adm_error("%s and %s are two things: give one of them", first, things[i].name);
            return false;
        }
        first = things[i].name;
    }
    if (a->histogram && !a->stats) {
        adm_error("--histogram goes with --stats");
        return false;
    }
    return true;
}

/* What --flight and --capture need. */
static bool
session_pdu_options(const struct adm_args *a)
{
    if ((a->flight || a->capture != NULL) && a->sid < 0)
        adm_error("--flight and --capture need a session: give --sid");
    else if (a->capture == NULL && (a->no_payload || a->seconds > 0 || a->count > 0))
        adm_error("--no-payload, --seconds and --count are about --capture");
    else if (a->capture != NULL && strcmp(a->capture, "-") == 0 && isatty(STDOUT_FILENO))
        adm_error("--capture -: a terminal cannot show a capture; name a file, or pipe it on: "
                  "iscsiadm -m session -r SID --capture - | tshark -r -");
    else
        return true;
    return false;
}

int
adm_mode_session(struct adm *adm)
{
    const struct adm_args *a = &adm->args;
    bool exports = a->export_kind != NULL || a->unexport;

    if (a->logout && a->ops != 0) {
        adm_error("Invalid parameters. Login/logout and op passed in");
        return MANAGE_INVALID;
    }
    if (a->export_kind != NULL && a->unexport) {
        adm_error("--export begins what --unexport ends: give one of them");
        return MANAGE_INVALID;
    }
    if (a->export_kind != NULL && strcmp(a->export_kind, "nbd") != 0) {
        adm_error("--export wants nbd, not '%s'", a->export_kind);
        return MANAGE_INVALID;
    }
    if ((a->lun >= 0 && !exports) || (a->read_only && a->export_kind == NULL)) {
        adm_error("%s goes with --export nbd%s", a->read_only ? "--read-only" : "--lun",
                  a->read_only ? "" : ", or with --unexport");
        return MANAGE_INVALID;
    }
    if (!session_lease_options(a) || !session_one_thing(a))
        return MANAGE_INVALID;
    if (a->why) /* also of one that has ended */
        return adm_why(adm, session_params(adm));
    if (!session_pdu_options(a))
        return MANAGE_INVALID;
    if (a->flight || a->capture != NULL)
        return session_action(adm);
    if (a->lease_owner != NULL || a->release != NULL || exports || a->logout || a->rescan ||
        a->stats)
        return session_action(adm);
    if (a->ops != 0 || (a->sid >= 0 && a->level < 0 && !a->json))
        return session_operation(adm);
    return session_list(adm);
}
