/* SPDX-License-Identifier: MIT */
/* iscsiadm: what open-iscsi's does, as requests to iscsid; docs/api.md. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/common/stdfds.h"
#include "cmd/iscsiadm/adm.h"
#include "loop/loop.h"

static int
adm_kill(struct adm *adm)
{
    struct adm_request rq = {.method = "daemon.shutdown", .silence_ms = ADM_READ_MS};
    json_t *result;
    int r;

    adm->args.no_start = true;
    if (adm->args.logout) {
        rq.params = adm_made(json_pack("{s:b}", "logout", true));
        rq.silence_ms = ADM_REACH_MS;
    }
    r = adm_call(adm, &rq, &result);
    if (r == 0)
        json_decref(result);
    return r;
}

static int
adm_run(struct adm *adm)
{
    if (adm->args.kill)
        return adm_kill(adm);
    switch (adm->args.mode) {
    case ADM_DISCOVERY:
    case ADM_DISCOVERYDB:
        return adm_mode_discovery(adm);
    case ADM_NODE:
        return adm_mode_node(adm);
    case ADM_SESSION:
        return adm_mode_session(adm);
    case ADM_IFACE:
        return adm_mode_iface(adm);
    case ADM_HOST:
        return adm_mode_host(adm);
    case ADM_FW:
        return adm_mode_fw(adm);
    case ADM_MODES:
    case ADM_MODE_NONE:
        break;
    }
    return MANAGE_INTERNAL;
}

/* Did it look for records, and has found none? */
static bool
adm_has_no_records(const struct adm_args *a, int r)
{
    return a->mode == ADM_NODE && r == MANAGE_NOT_FOUND && !(a->ops & ADM_NEW) && !a->logout &&
           a->logout_all == NULL && !a->rescan && !a->stats;
}

/* Says where to look where what was named is not there. */
static void
adm_where_to_look(const struct adm *adm, int r)
{
    const struct adm_args *a = &adm->args;

    bool records = a->mode == ADM_NODE || a->mode == ADM_SESSION || a->mode == ADM_IFACE;

    if (r == 0 && a->ops == 0 && records && json_array_size(a->values) > 0)
        adm_advice(a, "nothing was set: --name and --value are for --op update");
    if (a->mode == ADM_SESSION && a->sid >= 0 && r == MANAGE_LOOKUP)
        adm_advice(a, "`iscsiadm -m session' lists the sessions that there are");
    if (adm_has_no_records(a, r) && adm_selects(a))
        adm_advice(a, "`iscsiadm -m node' lists the records that there are");
    else if (adm_has_no_records(a, r))
        adm_advice(a, "`iscsiadm -m discovery -t st -p PORTAL' finds targets and makes records of "
                      "them");
}

/* Standard output is where the result is: what could not be written was not done. */
static int
adm_end_output(int r)
{
    if ((fflush(stdout) == EOF || ferror(stdout)) && r == 0) {
        adm_error("standard output cannot be written: %s", strerror(errno));
        return MANAGE_ERROR;
    }
    return r;
}

int
main(int argc, char **argv)
{
    static struct adm adm;
    struct lunette_error err;
    int r;

    if (stdfds_open() < 0)
        return MANAGE_INTERNAL;
    r = adm_args_parse(&adm.args, argc, argv);
    if (r == 0) {
        r = instance_find(adm.args.root, adm.args.instance, &adm.at, &err);
        if (r < 0)
            adm_error("%s", err.msg);
    }
    if (r == 0) {
        r = adm_run(&adm);
        adm_where_to_look(&adm, r);
    } else {
        r = r > 0 ? 0 : MANAGE_INVALID;
    }
    manage_client_free(&adm.client);
    loop_free(adm.loop);
    adm_args_free(&adm.args);
    return adm_end_output(r);
}
