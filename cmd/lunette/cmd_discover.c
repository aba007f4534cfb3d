/* SPDX-License-Identifier: MIT */
/* cmd/lunette/cmd_discover.c - lunette discover: the targets that a portal tells of. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "cmd/lunette/cli.h"

static json_t *
json_of_portal(const struct lunette_portal *p)
{
    json_t *j = json_pack("{s:o, s:i}", "address", json_of_name(p->address), "tpgt", p->tpgt);

    json_add_note(j, address_fault(p->address));
    return j;
}

static json_t *
json_of_target(const struct lunette_targets *targets, size_t i)
{
    struct lunette_target t = LUNETTE_INIT(t);
    struct lunette_portal p = LUNETTE_INIT(p);
    json_t *portals = json_array();

    (void)lunette_targets_get(targets, i, &t);
    for (size_t k = 0; lunette_targets_get_portal(targets, i, k, &p) == 0; k++)
        json_array_append_new(portals, json_of_portal(&p));
    json_t *j = json_pack("{s:o, s:o}", "name", json_of_name(t.name), "portals", portals);
    json_add_note(j, iscsi_name_oddity(t.name));
    return j;
}

static int
discover_print_json(const struct lunette_targets *targets)
{
    json_t *list = json_array();

    for (size_t i = 0; i < lunette_targets_count(targets); i++)
        json_array_append_new(list, json_of_target(targets, i));
    return json_print(json_pack("{s:o}", "targets", list));
}

/* One line; the ! behind it marks what is not as RFC 7143 wants it. */
static void
discover_print_line(const struct lunette_portal *p, const char *name)
{
    bool unclear = address_fault(p->address) != NULL;
    const char *mark = unclear || iscsi_name_oddity(name) != NULL ? " !" : "";
    char *where = unclear ? name_encoded(p->address) : xstrdup(p->address);
    char *who = name_encoded(name);

    if (p->tpgt >= 0)
        printf("%s,%d %s%s\n", where, p->tpgt, who, mark);
    else
        printf("%s %s%s\n", where, who, mark);
    free(where);
    free(who);
}

static void
discover_print(const struct lunette_targets *targets, size_t i)
{
    struct lunette_target t = LUNETTE_INIT(t);
    struct lunette_portal p = LUNETTE_INIT(p);

    (void)lunette_targets_get(targets, i, &t);
    for (size_t k = 0; lunette_targets_get_portal(targets, i, k, &p) == 0; k++)
        discover_print_line(&p, t.name);
    for (size_t k = 0; lunette_targets_get_portal(targets, i, k, &p) == 0; k++)
        name_print_note(p.address, address_fault(p.address));
    name_print_note(t.name, iscsi_name_oddity(t.name));
}

static int
run_discover(struct cli *cli, const void *opts, int argc, char **argv)
{
    struct lunette_targets *targets = NULL;
    struct lunette_error err = LUNETTE_INIT(err);

    (void)opts;
    (void)argc;
    int code = cli_ctx(cli);
    if (code != 0)
        return code;
    if (lunette_discover(cli->ctx, argv[0], &targets, &err) < 0) {
        char *public = url_public(argv[0]);
        code = fail_with(&err, public);
        free(public);
        return code;
    }
    if (cli->common.json) {
        code = discover_print_json(targets);
    } else {
        for (size_t i = 0; i < lunette_targets_count(targets); i++)
            discover_print(targets, i);
        if (lunette_targets_count(targets) == 0)
            fputs("lunette: discover: the portal answered, but has no target for this initiator\n",
                  stderr);
    }
    lunette_targets_free(targets);
    return code;
}

const struct command cmd_discover = {
    .name = "discover",
    .operands = "HOST[:PORT]",
    .synopsis = "[OPTION...]",
    .summary = "list the targets of a portal (SendTargets)",
    .about =
        "Asks the portal for its targets and prints one line for each of their addresses: "
        "address,portal-group target-name.  HOST may also be an iscsi:// URL with options.  A ! "
        "marks a name or an address that is not as RFC 7143 wants it: it is used as it is.",
    .example = "discover 192.0.2.1\n"
               "discover '[2001:db8::1]:3260' --json",
    .json = true,
    .min_args = 1,
    .max_args = 1,
    .run = run_discover,
};
