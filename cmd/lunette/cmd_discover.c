/* SPDX-License-Identifier: MIT */
/* cmd/lunette/cmd_discover.c - lunette discover: the targets that a portal tells of. */
#include <stdio.h>
#include <stdlib.h>

#include "cmd/lunette/cli.h"

static json_t *
json_of_target(const struct lunette_targets *targets, size_t i)
{
    struct lunette_target t = LUNETTE_INIT(t);
    struct lunette_portal p = LUNETTE_INIT(p);
    json_t *portals = json_array();

    (void)lunette_targets_get(targets, i, &t);
    for (size_t k = 0; lunette_targets_get_portal(targets, i, k, &p) == 0; k++)
        json_array_append_new(portals,
                              json_pack("{s:s, s:i}", "address", p.address, "tpgt", p.tpgt));
    return json_pack("{s:s, s:o}", "name", t.name, "portals", portals);
}

static int
discover_print_json(const struct lunette_targets *targets)
{
    json_t *list = json_array();

    for (size_t i = 0; i < lunette_targets_count(targets); i++)
        json_array_append_new(list, json_of_target(targets, i));
    return json_print(json_pack("{s:o}", "targets", list));
}

static void
discover_print(const struct lunette_targets *targets, size_t i)
{
    struct lunette_target t = LUNETTE_INIT(t);
    struct lunette_portal p = LUNETTE_INIT(p);

    (void)lunette_targets_get(targets, i, &t);
    for (size_t k = 0; lunette_targets_get_portal(targets, i, k, &p) == 0; k++) {
        if (p.tpgt >= 0)
            printf("%s,%d %s\n", p.address, p.tpgt, t.name);
        else
            printf("%s %s\n", p.address, t.name);
    }
    if (t.nportals == 0)
        printf("- %s\n", t.name);
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
    .args = "HOST[:PORT] [OPTION...]",
    .summary = "list the targets of a portal (SendTargets)",
    .about = "Asks the portal for its targets and prints one line for each of their addresses:\n"
             "address,portal-group target-name.  HOST may also be an iscsi:// URL with options.",
    .example = "discover 192.0.2.1\n"
               "discover '[2001:db8::1]:3260' --json",
    .json = true,
    .min_args = 1,
    .max_args = 1,
    .run = run_discover,
};
