/* SPDX-License-Identifier: MIT */
/* iscsiadm -m host and -m fw: SCSI hosts, of which each session has one, and engines beside them;
 * and what the firmware says. */
#include <stdlib.h>
#include <string.h>

#include "cmd/iscsiadm/adm.h"

#define NO_HOSTS "No iSCSI hosts."

/* Hosts are chosen by number or by hardware address. */
static bool
host_chosen(const struct adm_args *a, const json_t *h)
{
    if (a->host == NULL)
        return true;
    if (strchr(a->host, '/') != NULL) /* an engine */
        return false;
    if (strchr(a->host, ':') != NULL)
        return strcasecmp(a->host, adm_text(h, "hwaddress")) == 0;
    return strtoll(a->host, NULL, 10) == adm_number(h, "number");
}

static bool
host_is_named(const char *host)
{
    return strchr(host, ':') != NULL || strchr(host, '/') != NULL ||
           (host[0] != '\0' && strspn(host, "0123456789") == strlen(host));
}

/* The hosts that were chosen; the caller owns the list. */
static json_t *
hosts_chosen(const struct adm_args *a, const json_t *result)
{
    const json_t *hosts = adm_list(result, "hosts");
    json_t *chosen = adm_made(json_array());

    for (size_t i = 0; i < json_array_size(hosts); i++)
        if (host_chosen(a, json_array_get(hosts, i)))
            adm_append(chosen, json_incref(json_array_get(hosts, i)));
    return chosen;
}

static void
print_host_line(const json_t *h)
{
    const char *ip = adm_or_empty(adm_text(h, "ipaddress"));
    bool dot = strchr(ip, '.') != NULL;

    (void)printf("%s: [%lld] %s%s%s,[%s],%s %s\n", adm_or_empty(adm_text(h, "transport")),
                 (long long)adm_number(h, "number"), dot ? "" : "[", ip, dot ? "" : "]",
                 adm_or_empty(adm_text(h, "hwaddress")), adm_or_empty(adm_text(h, "netdev")),
                 adm_or_empty(adm_text(h, "initiatorname")));
}

static void
print_host_head(const json_t *h)
{
    static const struct {
        const char *title, *member;
    } rows[] = {
        {"State", "state"},         {"Transport", "transport"}, {"Initiatorname", "initiatorname"},
        {"IPaddress", "ipaddress"}, {"HWaddress", "hwaddress"}, {"Netdev", "netdev"},
    };

    (void)printf("Host Number: %lld\n", (long long)adm_number(h, "number"));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        (void)printf("\t%s: %s\n", rows[i].title, adm_or_empty(adm_text(h, rows[i].member)));
}

static void
print_host_sessions(const json_t *h, const json_t *sessions, int level)
{
    const struct adm_tree tree = {.indent = "\t", .params = level >= 3, .devices = level >= 4};
    json_t *mine = adm_made(json_array());

    for (size_t i = 0; i < json_array_size(sessions); i++) {
        json_t *s = json_array_get(sessions, i);

        if (adm_number(json_object_get(s, "host"), "number") == adm_number(h, "number"))
            adm_append(mine, json_incref(s));
    }
    if (json_array_size(mine) > 0) {
        (void)puts("\t*********\n\tSessions:\n\t*********");
        adm_print_session_tree(mine, &tree);
    }
    json_decref(mine);
}

static void
print_hosts(struct adm *adm, const json_t *hosts, int level)
{
    const struct adm_request rq = {
        .method = "session.list",
        .params = level >= 2 ? adm_made(json_pack("{s:i}", "detail", level - 1)) : NULL,
        .silence_ms = ADM_READ_MS,
        .quiet = true};
    json_t *sessions = NULL;

    if (level >= 2 && adm_call(adm, &rq, &sessions) != 0)
        sessions = NULL;
    if (level >= 4)
        adm_print_versions();
    for (size_t i = 0; i < json_array_size(hosts); i++) {
        const json_t *h = json_array_get(hosts, i);

        if (level < 1)
            print_host_line(h);
        else
            print_host_head(h);
        if (level >= 2)
            print_host_sessions(h, adm_list(sessions, "sessions"), level);
    }
    json_decref(sessions);
}

static int
host_show(struct adm *adm)
{
    const struct adm_args *a = &adm->args;
    json_t *result, *hosts;
    unsigned engines;
    int r = adm_read(adm, "host.list", NULL, NO_HOSTS, &result);

    if (r != 0)
        return r;
    hosts = hosts_chosen(a, result);
    adm_put(result, "hosts", json_incref(hosts));
    if (!a->json)
        print_hosts(adm, hosts, a->level);
    engines = adm_list_engines(adm, result);
    if (a->json)
        r = adm_print_json(result);
    if (json_array_size(hosts) == 0 && engines == 0) {
        adm_error(NO_HOSTS);
        r = MANAGE_NOT_FOUND;
    }
    json_decref(hosts);
    json_decref(result);
    return r;
}

int
adm_mode_host(struct adm *adm)
{
    const struct adm_args *a = &adm->args;
    int r;

    if (a->submode != NULL)
        return adm_mode_engine(adm);
    if ((a->ops & ~(unsigned)ADM_SHOW) != 0) {
        adm_error("that is something that offload adapters have, and there is none");
        return MANAGE_NOT_SUPPORTED;
    }
    r = adm_check_level(a, 4);
    if (r == 0 && a->host != NULL && !host_is_named(a->host)) {
        adm_error("--host wants the number of a host or its hardware address, or the path of an "
                  "engine's socket, not '%s'",
                  a->host);
        r = MANAGE_INVALID;
    }
    return r == 0 ? host_show(adm) : r;
}

int
adm_mode_fw(struct adm *adm)
{
    struct adm_request rq = {.method = "fw.list", .silence_ms = ADM_READ_MS, .quiet = true};
    struct manage_failure fail;
    json_t *result, *params = adm_made(json_object());
    int r;

    if (adm->args.login) {
        if (json_array_size(adm->args.values) > 0)
            adm_put(params, "values", json_incref(adm->args.values));
        return adm_login(adm, "fw.login", params);
    }
    if (adm->args.show)
        adm_put(params, "show_secrets", json_true());
    rq.params = params;
    r = adm_call_failure(adm, &rq, &result, &fail);
    if (r != 0 && fail.message[0] != '\0')
        adm_error("%s", fail.message);
    if (r == MANAGE_NOT_FOUND || r == MANAGE_LOOKUP)
        adm_error("Could not get list of targets from firmware. (err %d)", r);
    return r == 0 ? adm_print_list(adm, result, "targets", adm_print_record, NULL) : r;
}
