/* SPDX-License-Identifier: MIT */
/* tests/conformance/main.c - runs the groups of a row.
 *
 *     conformance MEMBER/NET [GROUP...]     the groups that are named, or all
 *     conformance --list                    the rows and the groups
 *
 * For each group it prints a line of the matrix, with tabs between: "matrix", member, net, group,
 * and "passed", "failed" or "does not apply: REASON".  matrix.py makes a table of
 * such lines.  CONFORMANCE_SEED is what all choices are made of.
 *
 * The exit code is that of cmocka; 77 where this machine has no such loop, or no such transport.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/conformance/conformance.h"

static const struct group {
    const char *name;
    void (*run)(void);
} groups[CONFORM_GROUPS] = {
    [CONFORM_CONNECT] = {"connect", conform_group_connect},
    [CONFORM_LOGIN] = {"login", conform_group_login},
    [CONFORM_SIZES] = {"sizes", conform_group_sizes},
    [CONFORM_WINDOW] = {"window", conform_group_window},
    [CONFORM_ABORT] = {"abort", conform_group_abort},
    [CONFORM_RESET] = {"reset", conform_group_reset},
    [CONFORM_CUT] = {"cut", conform_group_cut},
    [CONFORM_ORDER] = {"order", conform_group_order},
    [CONFORM_UNBIND] = {"unbind", conform_group_unbind},
    [CONFORM_PARAMS] = {"params", conform_group_params},
    [CONFORM_STATS] = {"stats", conform_group_stats},
    [CONFORM_KILL] = {"kill", conform_group_kill},
};

static bool passed[CONFORM_GROUPS];

static void
run_group(void **state)
{
    const struct group *g = *state;

    if (conform_row->not_for[g - groups] != NULL)
        skip();
    g->run();
    passed[g - groups] = true;
}

static void
print_matrix(const bool *chosen)
{
    for (unsigned i = 0; i < CONFORM_GROUPS; i++) {
        const char *why = conform_row->not_for[i];

        if (chosen[i])
            printf("matrix\t%s\t%s\t%s\t%s%s\n", conform_row->member->name, conform_row->net->name,
                   groups[i].name,
                   why != NULL ? "does not apply: "
                   : passed[i] ? "passed"
                               : "failed",
                   why != NULL ? why : "");
    }
}

static const struct conform_row *
row_named(const char *name)
{
    char text[64];

    for (unsigned i = 0; i < conform_nrows; i++) {
        const struct conform_row *r = &conform_rows[i];

        (void)snprintf(text, sizeof(text), "%s/%s", r->member->name, r->net->name);
        if (strcmp(text, name) == 0)
            return r;
    }
    return NULL;
}

static bool
choose(int argc, char **argv, bool *chosen)
{
    for (unsigned i = 0; i < CONFORM_GROUPS; i++)
        chosen[i] = argc == 0;
    for (int a = 0; a < argc; a++) {
        unsigned i = 0;

        while (i < CONFORM_GROUPS && strcmp(groups[i].name, argv[a]) != 0)
            i++;
        if (i == CONFORM_GROUPS)
            return false;
        chosen[i] = true;
    }
    return true;
}

static int
list(void)
{
    for (unsigned i = 0; i < conform_nrows; i++)
        printf("%s/%s\n", conform_rows[i].member->name, conform_rows[i].net->name);
    for (unsigned i = 0; i < CONFORM_GROUPS; i++)
        printf("%s%s", i > 0 ? " " : "", groups[i].name);
    printf("\n");
    return 0;
}

/* Whether this machine has the row's transport and loop. */
static bool
is_here(void)
{
    const struct conform_member *m = conform_row->member;
    struct conform_world w = {.row = conform_row, .seed = conform_seed};

    conform_tt = m->tt != NULL ? m->tt : m->find();
    if (conform_tt == NULL)
        return false;
    if (conform_row->net->open(&w) < 0)
        return false;
    conform_row->net->close(&w);
    return true;
}

int
main(int argc, char **argv)
{
    const char *seed = getenv("CONFORMANCE_SEED");
    struct CMUnitTest tests[CONFORM_GROUPS];
    bool chosen[CONFORM_GROUPS];
    size_t n = 0;
    int failed;

    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc == 2 && strcmp(argv[1], "--list") == 0)
        return list();
    conform_row = argc >= 2 ? row_named(argv[1]) : NULL;
    if (conform_row == NULL || !choose(argc - 2, argv + 2, chosen)) {
        (void)fprintf(stderr, "usage: conformance MEMBER/NET [GROUP...], or --list\n");
        return 2;
    }
    if (seed != NULL)
        conform_seed = strtoull(seed, NULL, 0);
    if (!is_here())
        return 77;
    for (unsigned i = 0; i < CONFORM_GROUPS; i++) {
        if (chosen[i])
            tests[n++] = (struct CMUnitTest){.name = groups[i].name,
                                             .test_func = run_group,
                                             .initial_state = (void *)(uintptr_t)&groups[i]};
    }
    failed = _cmocka_run_group_tests("conformance", tests, n, NULL, NULL);
    print_matrix(chosen);
    return failed;
}
