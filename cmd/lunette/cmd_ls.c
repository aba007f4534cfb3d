/* SPDX-License-Identifier: MIT */
/* cmd/lunette/cmd_ls.c - lunette ls: targets and their LUNs. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "cmd/lunette/cli.h"

struct listing {
    struct cli *cli;
    json_t *json; /* the array of targets; NULL: a table is printed */
    bool alone;   /* one target was asked for */
    size_t refused;
    int code; /* the exit code of the first target that refused */
};

static void
print_lun(const struct lunette_info *l)
{
    bool disk = l->type == 0 && l->error == 0;
    char size[TEXT_SIZE];

    printf("  %5" PRIu64 "  %-10s %9s ", l->lun, device_type_name(l->type),
           disk ? format_size(size, l->size) : "-");
    if (disk)
        printf("%5" PRIu32, l->block_size);
    else
        printf("%5s", "-");
    printf("  %-8s %-16s %s", l->vendor, l->product, l->serial);
    if (l->error != 0)
        printf("%s(%s)", l->serial[0] != '\0' ? " " : "", unit_error_text(l->error));
    putchar('\n');
}

static void
print_luns(const char *url, const char *name, const struct lunette_luns *luns)
{
    struct lunette_info info = LUNETTE_INIT(info);

    printf("%s%s\n", url, iscsi_name_oddity(name) != NULL ? " !" : "");
    if (lunette_luns_count(luns) == 0)
        printf("  no LUNs for this initiator\n");
    else
        printf("  %5s  %-10s %9s %5s  %-8s %-16s %s\n", "LUN", "TYPE", "SIZE", "BLOCK", "VENDOR",
               "PRODUCT", "SERIAL");
    for (size_t i = 0; lunette_luns_get(luns, i, &info) == 0; i++)
        print_lun(&info);
}

static json_t *
json_of_luns(const char *url, const char *name, const struct lunette_luns *luns)
{
    struct lunette_info info = LUNETTE_INIT(info);
    json_t *list = json_array();

    for (size_t i = 0; lunette_luns_get(luns, i, &info) == 0; i++)
        json_array_append_new(list, json_of_info(&info));
    json_t *j = json_pack("{s:s, s:o, s:o}", "url", url, "name", json_of_name(name), "luns", list);
    json_add_note(j, iscsi_name_oddity(name));
    return j;
}

/* A target that refuses does not keep the others from being listed. */
static void
ls_refused(struct listing *l, const char *public, const char *name, const struct lunette_error *err)
{
    int code = exit_code_of(err);

    l->refused++;
    if (l->code == EXIT_DONE)
        l->code = code;
    if (l->json != NULL)
        json_array_append_new(l->json,
                              json_pack("{s:s, s:o, s:s, s:i}", "url", public, "name",
                                        json_of_name(name), "error", err->msg, "exit_code", code));
    else if (l->alone)
        fail_with(err, public);
    else {
        puts(public);
        list_note("not listed: %s", err->msg);
    }
}

static void
list_target(struct listing *l, const char *url, const char *name)
{
    struct lunette_luns *luns = NULL;
    struct lunette_session_info session = LUNETTE_INIT(session);
    struct lunette_error err = LUNETTE_INIT(err);
    char *public = url_public(url);

    int r = lunette_list_luns(l->cli->ctx, url, &luns, &session, &err);
    if (r < 0)
        ls_refused(l, public, name, &err);
    else if (l->json != NULL)
        json_array_append_new(l->json, json_of_luns(public, session.target_name, luns));
    else
        print_luns(public, session.target_name, luns);
    lunette_luns_free(luns);
    free(public);
}

/* The address by which we reach the i-th target: the one that was asked, if it is among them. */
static const char *
choose_portal(const struct lunette_targets *targets, size_t i, const char *asked,
              struct lunette_portal *p)
{
    size_t len = strlen(asked);

    for (size_t k = 0; lunette_targets_get_portal(targets, i, k, p) == 0; k++) {
        const char *a = p->address;
        if (strncmp(a, asked, len) == 0 && (a[len] == '\0' || strcmp(a + len, ":3260") == 0))
            return a;
    }
    for (size_t k = 0; lunette_targets_get_portal(targets, i, k, p) == 0; k++) {
        if (address_fault(p->address) == NULL)
            return p->address;
    }
    return asked;
}

static void
list_targets(struct listing *l, const char *url, const struct lunette_targets *targets)
{
    struct lunette_target t = LUNETTE_INIT(t);
    struct lunette_portal p = LUNETTE_INIT(p);
    char *asked = url_portal(url);

    for (size_t i = 0; lunette_targets_get(targets, i, &t) == 0; i++) {
        char *u = url_with_target(url, choose_portal(targets, i, asked, &p), t.name);
        list_target(l, u, t.name);
        free(u);
    }
    free(asked);
}

static int
list_portal(struct listing *l, const char *url)
{
    struct lunette_targets *targets = NULL;
    struct lunette_error err = LUNETTE_INIT(err);

    if (lunette_discover(l->cli->ctx, url, &targets, &err) < 0) {
        char *public = url_public(url);
        int code = fail_with(&err, public);
        free(public);
        return code;
    }
    list_targets(l, url, targets);
    if (lunette_targets_count(targets) == 0)
        fputs("lunette: ls: the portal answered, but has no target for this initiator\n", stderr);
    if (l->refused > 0) {
        fflush(stdout);
        fprintf(stderr, "lunette: ls: %zu of %zu targets could not be listed\n", l->refused,
                lunette_targets_count(targets));
    }
    lunette_targets_free(targets);
    return 0;
}

static int
list_url(struct listing *l, const char *url)
{
    if (!url_has_target(url))
        return list_portal(l, url);
    char *public = url_public(url);
    l->alone = true;
    list_target(l, url, public);
    free(public);
    return 0;
}

static int
run_ls(struct cli *cli, const void *opts, int argc, char **argv)
{
    struct listing l = {.cli = cli};

    (void)opts;
    (void)argc;
    int code = cli_ctx(cli);
    if (code != 0)
        return code;
    if (cli->common.json)
        l.json = json_array();
    char *url = url_of_portal(argv[0]);
    code = list_url(&l, url);
    free(url);
    if (code == 0)
        code = l.code;
    if (l.json != NULL && (code == 0 || json_array_size(l.json) > 0)) {
        int r = json_print(json_pack("{s:o}", "targets", l.json));
        return code != 0 ? code : r;
    }
    json_decref(l.json);
    return code;
}

const struct command cmd_ls = {
    .name = "ls",
    .operands = "URL",
    .synopsis = "[OPTION...]",
    .summary = "list targets and their LUNs",
    .about =
        "With the URL of a target: its LUNs.  With the URL of a portal: all targets that it tells "
        "of, each with its LUNs; a target that refuses us is listed with the reason, and the exit "
        "code says so.  HOST[:PORT] alone is taken for the URL of a portal.",
    .example = "ls iscsi://192.0.2.1/\n"
               "ls iscsi://192.0.2.1/iqn.2026-11.example:disk --json",
    .json = true,
    .min_args = 1,
    .max_args = 1,
    .run = run_ls,
};
