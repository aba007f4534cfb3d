/* SPDX-License-Identifier: MIT */
/* cmd/lunette/cmd_transports.c - lunette transports: what can carry sessions here. */
#include <stdio.h>
#include <string.h>

#include "cmd/lunette/cli.h"

static const char *const from_names[] = {
    [LUNETTE_TRANSPORT_BUILT_IN] = "built_in",
    [LUNETTE_TRANSPORT_NAMED] = "named",
    [LUNETTE_TRANSPORT_INSTALLED] = "installed",
};

/* The words of caps, which are separated by blanks. */
static json_t *
json_of_caps(const char *caps)
{
    json_t *list = json_array();

    while (caps[0] != '\0') {
        size_t n = strcspn(caps, " ");

        json_array_append_new(list, json_stringn(caps, n));
        caps += n + strspn(caps + n, " ");
    }
    return list;
}

static json_t *
json_of_transport(const struct lunette_transport_info *t)
{
    json_t *j = json_pack("{s:s, s:b, s:o}", "from", from_names[t->from], "usable", t->err == 0,
                          "caps", json_of_caps(t->caps));

    if (t->name[0] != '\0')
        json_object_set_new(j, "name", json_of_name(t->name));
    if (t->path != NULL)
        json_object_set_new(j, "path", json_of_name(t->path));
    if (t->max_recv_data_segment_length > 0)
        json_object_set_new(j, "max_recv_data_segment_length",
                            json_integer(t->max_recv_data_segment_length));
    if (t->err < 0)
        json_object_set_new(j, "why", json_of_name(t->why));
    return j;
}

static void
transport_print(const struct lunette_transport_info *t)
{
    const char *name = t->name[0] != '\0' ? t->name : "-";

    if (t->path == NULL)
        printf("%-12s built in\n", name);
    else
        printf("%-12s %s\n", name, t->path);
    if (t->err < 0)
        list_note("cannot be used: %s", t->why);
    else if (t->from == LUNETTE_TRANSPORT_INSTALLED)
        list_note("is not loaded: LUNETTE_TRANSPORTS=%s does so", t->name);
    if (t->caps[0] != '\0')
        list_note("can do: %s", t->caps);
}

static int
run_transports(struct cli *cli, const void *opts, int argc, char **argv)
{
    struct lunette_transport_info t = LUNETTE_INIT(t);
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_transports *all = NULL;
    int code = 0;

    (void)opts;
    (void)argc;
    (void)argv;
    if (lunette_list_transports(&all, &err) < 0)
        return fail_with(&err, "transports");
    json_t *list = json_array();
    for (size_t i = 0; lunette_transports_get(all, i, &t) == 0; i++) {
        if (cli->common.json)
            json_array_append_new(list, json_of_transport(&t));
        else
            transport_print(&t);
    }
    if (cli->common.json)
        code = json_print(json_pack("{s:O}", "transports", list));
    json_decref(list);
    lunette_transports_free(all);
    return code;
}

const struct command cmd_transports = {
    .name = "transports",
    .operands = "",
    .synopsis = "[--json]",
    .summary = "list what can carry sessions here",
    .about =
        "Shows the transports that are built in, those that LUNETTE_TRANSPORTS names, and those "
        "that are installed and could be named: whether they can be used on this machine and "
        "why not, and what they can do.  A URL chooses one with transport=NAME.",
    .example = "transports\n"
               "transports --json",
    .json = true,
    .common = COMMON_NONE,
    .min_args = 0,
    .max_args = 0,
    .run = run_transports,
};
