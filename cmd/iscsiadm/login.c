/* SPDX-License-Identifier: MIT */
/* Logins and logouts of many: lines while they go on, and the first error at the end. */
#include <string.h>

#include "cmd/iscsiadm/adm.h"

/* Prints what scripts look for: which login or logout it is. */
static void
logins_which(FILE *to, const json_t *o, bool logout)
{
    struct adm_portal p;

    adm_portal_read(adm_text(o, "portal"), &p);
    if (logout)
        (void)fprintf(to, "[sid: %lld, target: %s, portal: %s,%d]", (long long)adm_number(o, "sid"),
                      adm_text(o, "target"), p.addr, p.port);
    else
        (void)fprintf(to, "[iface: %s, target: %s, portal: %s,%d]", adm_text(o, "iface"),
                      adm_text(o, "target"), p.addr, p.port);
}

/* A logout of what has no session yet gives up the login that goes on, or is tried again. */
static bool
logins_give_up(const json_t *o, bool logout)
{
    return logout && adm_number(o, "sid") == 0;
}

static void
logins_begin(const json_t *o, bool logout)
{
    if (logins_give_up(o, logout)) {
        (void)fputs("Giving up the login to ", stdout);
        logout = false;
    } else {
        (void)fputs(logout ? "Logging out of session " : "Logging in to ", stdout);
    }
    logins_which(stdout, o, logout);
    (void)fputs(json_is_true(json_object_get(o, "multiple")) ? " (multiple)\n" : "\n", stdout);
    (void)fflush(stdout);
}

static void
logins_failed(const struct adm *adm, const json_t *o, bool logout)
{
    const json_t *error = json_object_get(o, "error");
    struct manage_failure fail;

    manage_failure_read(error, &fail);
    if (fail.exit == MANAGE_SESSION_EXISTS && json_object_get(error, "requested") != NULL) {
        adm_error("%s: %lld session%s requested, but %lld already present.", adm_text(o, "iface"),
                  (long long)adm_number(error, "requested"),
                  adm_number(error, "requested") == 1 ? "" : "s",
                  (long long)adm_number(error, "present"));
        return;
    }
    (void)fflush(stdout);
    (void)fputs(logout ? "iscsiadm: Could not logout of " : "iscsiadm: Could not login to ",
                stderr);
    logins_which(stderr, o, logout);
    (void)fputs(".\n", stderr);
    /* Where the code says nothing, the daemon's own words stand in the place of its text. */
    adm_error("initiator reported error (%d - %s)", fail.exit,
              fail.exit == MANAGE_ERROR ? fail.message : manage_code_text(fail.exit));
    if (fail.exit != MANAGE_ERROR && strcmp(fail.message, manage_code_text(fail.exit)) != 0)
        adm_advice(&adm->args, "%s", fail.message);
}

static void
logins_end(const struct adm *adm, const json_t *o, bool logout)
{
    if (!json_is_true(json_object_get(o, "ok"))) {
        logins_failed(adm, o, logout);
        return;
    }
    bool give_up = logins_give_up(o, logout);

    (void)fputs(logout && !give_up ? "Logout of " : "Login to ", stdout);
    logins_which(stdout, o, logout && !give_up);
    (void)fputs(give_up ? " given up.\n" : " successful.\n", stdout);
    (void)fflush(stdout);
}

/* One object of progress: "started" or "ended". */
static void
logins_progress(const struct adm *adm, const json_t *o, bool logout)
{
    const char *state = adm_text(o, "state");

    if (adm->args.json)
        return;
    if (strcmp(state, "started") == 0)
        logins_begin(o, logout);
    else if (strcmp(state, "ended") == 0)
        logins_end(adm, o, logout);
}

void
adm_login_progress(void *user, const json_t *progress)
{
    logins_progress(user, progress, false);
}

static void
logout_progress(void *user, const json_t *progress)
{
    logins_progress(user, progress, true);
}

static int
logins_first_error(const json_t *results)
{
    struct manage_failure fail;

    for (size_t i = 0; i < json_array_size(results); i++) {
        const json_t *o = json_array_get(results, i);

        if (json_is_true(json_object_get(o, "ok")))
            continue;
        manage_failure_read(json_object_get(o, "error"), &fail);
        return fail.exit;
    }
    return 0;
}

int
adm_print_logins(const json_t *results)
{
    int r = logins_first_error(results);

    if (r != 0)
        adm_error("Could not log into all portals");
    return r;
}

static int
logins_many(struct adm *adm, const char *method, json_t *params, bool logout)
{
    const struct adm_request rq = {.method = method,
                                   .params = params,
                                   .silence_ms = ADM_REACH_MS,
                                   .none =
                                       logout ? "No matching sessions found" : "No records found",
                                   .progress = logout ? logout_progress : adm_login_progress,
                                   .user = adm};
    json_t *result;
    int r = adm_call(adm, &rq, &result);

    if (r != 0)
        return r;
    if (adm->args.json)
        (void)adm_print_json(result);
    r = logins_first_error(adm_list(result, "results"));
    if (r != 0)
        adm_error(logout ? "Could not logout of all requested sessions"
                         : "Could not log into all portals");
    json_decref(result);
    return r;
}

int
adm_login(struct adm *adm, const char *method, json_t *params)
{
    if (adm->args.no_wait)
        adm_put(params, "wait", json_false());
    return logins_many(adm, method, params, false);
}

int
adm_logout(struct adm *adm, const char *method, json_t *params)
{
    return logins_many(adm, method, params, true);
}
