/* SPDX-License-Identifier: MIT */
/* Worlds from seeds for control/: logins, logouts and exports are asked for, connections are cut,
 * portals refuse or fall silent, exports break, and either plane dies at any message, all when and
 * how the seed says.  In the end all is as it is wanted.
 *
 * In some of them one session is kept by leases alone, which are given, renewed and released, while
 * clients come and go; the other one has leases, too, but is wanted without one.  No session ends
 * before what the owners of leases were told, under a client, or where it is wanted without; and in
 * the end the one that leases keep is gone within a time.
 *
 * usage: control_seeds [--first N] [--seeds N] [--trace]
 */
#include "tests/sim/control_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ACTS_MAX 40

struct seeds_world {
    struct cw *w;
    bool calm;   /* no connection is lost, and nobody logs out: nothing is logged in again */
    bool leased; /* the first session is kept by leases alone */
    bool trace;
    unsigned doomed; /* whose binding is going to be cut, plus 1; 0: nobody's */
    bool data_dies;  /* then, and not the control plane */
    unsigned deaths, data_deaths, takeovers;
};

static void
say(const struct seeds_world *s, const char *what, unsigned arg)
{
    if (s->trace)
        print_message("%10.3f ms  %s %u\n", (double)sim_now_ns(s->w->sim) / 1e6, what, arg);
}

static bool
is_dying(void *user)
{
    const struct seeds_world *s = user;

    return s->doomed > 0 && ipc_delayed_is_cut(s->w->binding[s->doomed - 1]);
}

static void
die(struct seeds_world *s)
{
    uint64_t away = sim_below(s->w->sim, 3) == 0 ? sim_below(s->w->sim, 2000) : 0;
    struct cw *w = s->w;

    s->doomed = 0;
    say(s, s->data_dies ? "the data plane dies for ms" : "the control plane dies for ms",
        (unsigned)away);
    if (s->data_dies) {
        cw_data_restart(w, away * CW_MS);
        s->data_deaths++;
        return;
    }
    cw_control_die(w);
    if (!s->calm && sim_below(w->sim, 4) == 0)
        (void)sim_cut(w->sim, NULL, SIM_RESET);
    cw_pass(w, away * CW_MS);
    cw_control_start(w);
    s->deaths++;
}

static void
go_on(struct seeds_world *s, uint64_t ns)
{
    uint64_t until = sim_now_ns(s->w->sim) + ns;

    while (sim_now_ns(s->w->sim) < until) {
        if (!sim_run_until(s->w->sim, is_dying, s, until - sim_now_ns(s->w->sim)))
            return;
        die(s);
    }
}

static void
doom(struct seeds_world *s)
{
    struct cw *w = s->w;

    if (s->doomed > 0)
        return;
    s->doomed = 1 + (unsigned)sim_below(w->sim, w->loops);
    s->data_dies = !s->calm && sim_below(w->sim, 3) == 0;
    ipc_delayed_cut_at(w->binding[s->doomed - 1],
                       1 + sim_below(w->sim, sim_below(w->sim, 2) == 0 ? 6 : 60));
}

static void
set_export(struct seeds_world *s)
{
    struct cw *w = s->w;
    struct control_export e = {.all = true};
    unsigned i = (unsigned)sim_below(w->sim, CW_NODES);

    if (sim_below(w->sim, 2) == 0)
        strcpy(e.kind, "nbd");
    say(s, e.kind[0] != '\0' ? "export all of" : "export nothing of", i);
    assert_int_equal(control_set_export(w->node[i].n, &e, NULL, NULL), 0);
}

/* What disturbs a world that is not calm. */
static void
disturb(struct seeds_world *s)
{
    struct cw *w = s->w;
    unsigned i = (unsigned)sim_below(w->sim, CW_NODES);
    bool up = sim_below(w->sim, 3) > 0;

    switch (sim_below(w->sim, 5)) {
    case 0:
        say(s, "cut", 0);
        (void)sim_cut(w->sim, NULL, sim_below(w->sim, 2) == 0 ? SIM_RESET : SIM_EOF);
        break;
    case 1:
        say(s, "the target refuses", 0);
        sim_refuse(w->sim, NULL, true);
        go_on(s, sim_below(w->sim, 1500) * CW_MS);
        sim_refuse(w->sim, NULL, false);
        break;
    case 2:
        say(s, "the target is silent", 0);
        sim_stall(w->sim, NULL, true);
        go_on(s, sim_below(w->sim, 1500) * CW_MS);
        sim_stall(w->sim, NULL, false);
        break;
    default:
        say(s, up ? "log in" : "log out", i);
        cw_want_one(w, i, up);
        break;
    }
}

#define IDLE_MS    500u
#define TTL_MOST_S 5

/* Owners of leases come and go, and so do clients. */
static void
lease(struct seeds_world *s)
{
    struct cw *w = s->w;
    unsigned i = (unsigned)sim_below(w->sim, CW_NODES);
    unsigned owner = (unsigned)sim_below(w->sim, CW_OWNERS);
    uint64_t ttl = 1 + sim_below(w->sim, sim_below(w->sim, 2) * TTL_MOST_S * 1000 + 200);

    switch (sim_below(w->sim, 6)) {
    case 0:
        say(s, "a client comes", 0);
        cw_use(w, true);
        break;
    case 1:
        say(s, "the client goes", 0);
        cw_use(w, false);
        break;
    case 2:
        say(s, "a lease is released of", i);
        cw_lease_release(w, i, owner);
        break;
    default:
        say(s, "a lease is given to", i);
        cw_lease_give(w, i, owner, ttl * CW_MS, false);
        break;
    }
}

static bool
has_ended(void *user)
{
    return !((struct seeds_world *)user)->w->node[0].want;
}

/* Nobody renews a lease any more, and no client comes back. */
static void
let_leases_end(struct seeds_world *s)
{
    struct cw *w = s->w;
    uint64_t most = (TTL_MOST_S + 1) * LOOP_NS_PER_S + 3 * IDLE_MS * CW_MS + 2 * LOOP_NS_PER_S;

    cw_use(w, false);
    if (!w->node[0].want)
        return;
    cw_settle(w);
    if (!sim_run_until(w->sim, has_ended, s, most))
        fail_msg("%s: a session without a lease is still there", w->what);
}

static void
act(struct seeds_world *s)
{
    struct cw *w = s->w;

    if (s->leased && sim_below(w->sim, 2) == 0) {
        lease(s);
        return;
    }
    switch (sim_below(w->sim, 9)) {
    case 0:
    case 1:
    case 2:
        doom(s);
        break;
    case 3:
        say(s, "an export breaks", 0);
        cw_export_breaks();
        break;
    case 4:
        set_export(s);
        break;
    case 5:
        say(s, "scan", 0);
        (void)control_scan(w->node[0].n, NULL, NULL);
        break;
    case 6:
        say(s, "hiccup", 0);
        if (s->doomed == 0)
            cw_loop_hiccup(w, (unsigned)sim_below(w->sim, w->loops));
        break;
    default:
        if (!s->calm)
            disturb(s);
        break;
    }
}

static void
finish(struct seeds_world *s)
{
    static const struct control_export all = {.all = true, .kind = "nbd"};
    struct cw *w = s->w;

    if (s->doomed > 0)
        ipc_delayed_cut_at(w->binding[s->doomed - 1], 0);
    if (is_dying(s))
        die(s);
    for (unsigned i = 0; i < CW_NODES; i++) {
        assert_int_equal(control_set_export(w->node[i].n, &all, NULL, NULL), 0);
        if (!s->leased || i > 0)
            cw_want_one(w, i, s->calm || sim_below(w->sim, 3) > 0);
    }
    if (s->leased)
        let_leases_end(s);
    cw_settle(w);
    cw_check(w);
    if (s->calm)
        assert_int_equal(cw_logins(w), CW_NODES);
    cw_want(w, false);
    cw_settle(w);
    cw_check(w);
}

static void
run(uint64_t seed, bool trace, unsigned counts[4])
{
    struct seeds_world s = {.calm = seed % 4 == 0, .leased = seed % 4 == 1, .trace = trace};
    struct cw *w = s.w = cw_new(seed, 1 + (unsigned)(seed / 4 % 2));
    unsigned acts = (unsigned)sim_below(w->sim, ACTS_MAX);

    (void)snprintf(w->what, sizeof(w->what), "seed %llu", (unsigned long long)seed);
    if (s.calm)
        sim_configure(w->sim, NULL);
    w->idle_ms = IDLE_MS;
    w->node[0].leased = s.leased;
    w->node[0].ttl_ns = (1 + sim_below(w->sim, TTL_MOST_S)) * LOOP_NS_PER_S;
    cw_control_start(w);
    cw_want(w, true);
    if (s.calm || sim_below(w->sim, 2) == 0)
        cw_settle(w);
    for (unsigned i = 0; i < acts; i++) {
        act(&s);
        go_on(&s, sim_below(w->sim, sim_below(w->sim, 4) == 0 ? 3000 : 30) * CW_MS);
    }
    finish(&s);
    counts[3] += w->node[0].overs;
    cw_free(w);
    counts[0] += s.deaths;
    counts[1] += s.data_deaths;
    counts[2] += s.calm;
}

static uint64_t first = 1, seeds = 100;
static uint64_t running; /* the seed whose world is run; 0: all have gone well */
static bool traced;

static void
worlds(void **state)
{
    unsigned counts[4] = {0, 0, 0, 0};

    (void)state;
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        if (traced)
            print_message("seed %llu\n", (unsigned long long)seed);
        running = seed;
        run(seed, traced, counts);
    }
    running = 0;
    print_message("%u worlds, %u of them calm; control planes that died: %u, data planes: %u; "
                  "sessions that ended with their leases: %u\n",
                  (unsigned)seeds, counts[2], counts[0], counts[1], counts[3]);
    assert_true(seeds < 50 ||
                (counts[0] > seeds && counts[1] > 0 && counts[2] > 0 && counts[3] > seeds / 8));
}

static int
how_to_replay(void **state)
{
    (void)state;
    if (running > 0)
        print_error("seed %llu: replay it with --first %llu --seeds 1 --trace\n",
                    (unsigned long long)running, (unsigned long long)running);
    return 0;
}

static bool
number(const char *text, uint64_t *ret)
{
    char *end = NULL;

    if (text != NULL && text[0] >= '0' && text[0] <= '9')
        *ret = strtoull(text, &end, 10);
    return end != NULL && *end == '\0' && *ret > 0;
}

static bool
parse(char **argv)
{
    for (char **a = argv + 1; *a != NULL; a++) {
        uint64_t *to = strcmp(*a, "--first") == 0   ? &first
                       : strcmp(*a, "--seeds") == 0 ? &seeds
                                                    : NULL;

        if (strcmp(*a, "--trace") == 0)
            traced = true;
        else if (to == NULL || !number(*++a, to))
            return false;
    }
    return true;
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(worlds, how_to_replay)};

    (void)argc;
    if (!parse(argv)) {
        (void)fprintf(stderr, "usage: %s [--first N] [--seeds N] [--trace]\n", argv[0]);
        return 2;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
