/* SPDX-License-Identifier: MIT */
/* tests/sim/lunette_sim_plan.c - what a seed means. */
#include <stdio.h>
#include <string.h>

#include "tests/sim/lunette_sim.h"

enum { L = LS_MAY_LOSE, S = LS_MAY_BE_SILENT, E = LS_MAY_FAIL };

static const struct {
    const char *name;
    unsigned may;
} faults[FAULT_KINDS] = {
#define X(kind, text, flags) [FAULT_##kind] = {text, flags},
    LS_FAULT_LIST(X)
#undef X
};

const char *
ls_fault_name(enum ls_fault_kind k)
{
    return faults[k].name;
}

unsigned
ls_fault_may(enum ls_fault_kind k)
{
    return faults[k].may;
}

bool
ls_has_fault(const struct ls_world *w, enum ls_fault_kind k)
{
    for (uint32_t i = 0; i < w->plan.nfaults; i++) {
        if (w->plan.fault[i].kind == k)
            return true;
    }
    return false;
}

/* A plan has random numbers of its own, so that it does not depend on what the world draws. */
static uint64_t
draw(uint64_t *state, uint64_t below)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15ull;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return (z ^ z >> 31) % below;
}

static void
plan_size(struct ls_plan *p, uint64_t *x)
{
    p->luns = draw(x, 3) == 0 ? 1 + (uint32_t)draw(x, LS_LUNS_MAX) : 1;
    p->queues = 1 + (uint32_t)draw(x, LS_QUEUES_MAX);
    p->depth = 1 + (uint32_t)draw(x, 20);
    for (uint32_t i = 0; i < p->luns; i++) {
        p->block[i] = draw(x, 3) == 0 ? 4096 : 512;
        p->blocks[i] = (uint32_t)((64 + draw(x, 192)) * 1024 / p->block[i]);
    }
    p->medium_calls = draw(x, 3) == 0;
    p->wce = draw(x, 3) != 0;
    p->two_loops = draw(x, 2) == 0;
    p->chap = draw(x, 4) == 0;
    p->zero_copy = draw(x, 4) == 0;
    p->rough = draw(x, 3) != 0;
    p->overlap = draw(x, 2) == 0;
    p->cancel = draw(x, 5) == 0;
    p->limit_ms = draw(x, 8) == 0 ? 300 + (uint32_t)draw(x, 8000) : 0;
    p->leave = !p->two_loops && draw(x, 3) == 0;
    p->ipc_delay_ns = draw(x, 2) == 0 ? draw(x, 8) * LOOP_NS_PER_MS : 0;
    p->ops = 40 + (uint32_t)draw(x, 80);
    p->span_ms = draw(x, 3) == 0 ? 200 : 1000 + (uint32_t)draw(x, 8000);
    p->timeout_ms = 2000 + (uint32_t)draw(x, 4000);
    p->replacement_s = draw(x, 4) == 0   ? -1
                       : draw(x, 4) == 0 ? (int32_t)draw(x, 8)
                                         : 20 + (int32_t)draw(x, 100);
}

/* How long a fault lasts: often moments, now and then longer than everybody's patience. */
static uint32_t
plan_length(uint64_t *x)
{
    return draw(x, 4) == 0 ? 5000 + (uint32_t)draw(x, 10000) : 50 + (uint32_t)draw(x, 2000);
}

/* When f, of which the kind is known, begins, how long it lasts, and what it makes possible. */
static void
plan_fault(struct ls_plan *p, uint64_t *x, struct ls_fault *f)
{
    f->at_ms = (uint32_t)draw(x, p->span_ms + p->span_ms / 4);
    f->for_ms = plan_length(x);
    f->arg = draw(x, UINT32_MAX);
    p->may |= ls_fault_may(f->kind);
    if (f->at_ms + f->for_ms > p->faults_ms)
        p->faults_ms = f->at_ms + f->for_ms;
}

static void
plan_more_faults(struct ls_plan *p, uint64_t *x)
{
    while (p->nfaults < LS_FAULTS_MAX && draw(x, 4) == 0) {
        struct ls_fault *f = &p->fault[p->nfaults++];

        f->kind = (enum ls_fault_kind)(FAULTS_FIRST + draw(x, FAULTS_PDUS - FAULTS_FIRST));
        plan_fault(p, x, f);
    }
}

/* What came later, from numbers of its own, so that the rest of a seed stays what it was. */
static void
plan_user(struct ls_plan *p, uint64_t *x)
{
    p->shared = draw(x, 3) == 0;
    p->restless = draw(x, 4) == 0;
    p->reopen_max = draw(x, 3) == 0 ? (uint32_t)draw(x, 4) : 8;
    if (p->shared && p->luns == 1 && draw(x, 2) == 0) {
        p->luns = 2;
        p->block[1] = p->block[0];
        p->blocks[1] = p->blocks[0];
    }
}

/* Messages over RDMA have no digests. */
static uint64_t
data_digest(const struct ls_plan *p, uint64_t drawn)
{
    return p->rdma ? 0 : drawn;
}

/* What the arguments of snprintf draw they draw in the compiler's order: those that there are stay
 * where they are. */
static void
plan_keys(struct ls_plan *p, uint64_t *x)
{
    static const char *const yes_no[] = {"Yes", "No"};
    static const char *const mrdsl[] = {"512", "4096", "8192", "262144"};
    static const char *const burst[] = {"4096", "16384", "65536", "262144"};
    static const char *const digest[] = {"none", "crc32c", "crc32c,none"};
    static const char *const r2ts[] = {"1", "8"};
    static const char *const depth[] = {"1", "2", "4", "64"};
    static const char *const pings[] = {"5", "20"};
    uint64_t digests = p->spoils && draw(x, 2) == 0 ? 1 : draw(x, 3);
    uint64_t whole = p->zero_copy && draw(x, 2) == 0 ? 3 : draw(x, 4), most = draw(x, 4);

    p->set[0] = (struct target_key_value){"InitialR2T", yes_no[draw(x, 2)]};
    p->set[1] = (struct target_key_value){"ImmediateData", yes_no[draw(x, 2)]};
    p->set[2] = (struct target_key_value){"MaxRecvDataSegmentLength", mrdsl[whole]};
    p->set[3] = (struct target_key_value){"MaxBurstLength", burst[most]};
    p->set[4] = (struct target_key_value){"FirstBurstLength", burst[draw(x, most + 1)]};
    p->set[5] = (struct target_key_value){"MaxOutstandingR2T", r2ts[draw(x, 2)]};
    p->set[6] = (struct target_key_value){"QueueDepth", depth[draw(x, 4)]};
    p->set[7] = (struct target_key_value){"NopInterval", pings[draw(x, 2)]};
    p->set_count = 8;
    if (p->rdma)
        digests = 0;
    (void)snprintf(
        p->options, sizeof(p->options),
        "?header_digest=%s&data_digest=%s&initial_r2t=%s&"
        "max_recv_data_segment_length=%s&timeout=%u&zero_copy=%s"
        "&abort_timeout=%u&lu_reset_timeout=%u&target_reset_timeout=%u"
        "&ping_interval=%u&ping_timeout=%u&tcp_user_timeout=%u&default_time2wait=%u&"
        "replacement_timeout=%d&reopen_max=%u",
        digest[digests], digest[data_digest(p, p->spoils || p->digests ? 1 : draw(x, 3))],
        draw(x, 2) == 0 ? "yes" : "no", mrdsl[draw(x, 4)], p->timeout_ms,
        p->zero_copy ? "yes" : "no", 1000 + (unsigned)draw(x, 2000), 1000 + (unsigned)draw(x, 2000),
        1000 + (unsigned)draw(x, 2000), 1000 + (unsigned)draw(x, 3000),
        1000 + (unsigned)draw(x, 3000), draw(x, 2) == 0 ? 0 : 5000, (unsigned)draw(x, 3),
        p->replacement_s, p->reopen_max);
}

/* A quarter of the worlds has no fault, a half has some of one kind or another, and a quarter has
 * many. */
static void
plan_faults(struct ls_plan *p, uint64_t *x)
{
    uint64_t how = draw(x, 4);

    p->nfaults = how == 0  ? 0
                 : how < 3 ? 1 + (uint32_t)draw(x, 3)
                           : 1 + (uint32_t)draw(x, LS_FAULTS_MAX);
    for (uint32_t i = 0; i < p->nfaults; i++) {
        struct ls_fault *f = &p->fault[i];

        f->kind = (enum ls_fault_kind)draw(x, FAULTS_FIRST);
        p->spoils |= f->kind == FAULT_SPOIL;
        p->cache |= f->kind == FAULT_CRASH;
        plan_fault(p, x, f);
    }
}

/* An old path that is held for long, while a new one works: what is on the old one arrives when the
 * session has been somewhere else for a while.  Everybody writes to few places. */
static void
plan_old_path(struct ls_plan *p, uint64_t *x)
{
    p->luns = 1;
    p->blocks[0] = 40960 / p->block[0];
    p->span_ms = 15000 + (uint32_t)draw(x, 10000);
    p->nfaults = 1 + (uint32_t)draw(x, 2);
    p->may = p->faults_ms = 0;
    for (uint32_t i = 0; i < p->nfaults; i++) {
        struct ls_fault *f = &p->fault[i];

        f->kind = FAULT_OLD_PATH;
        f->at_ms = 200 + (uint32_t)draw(x, p->span_ms / 2);
        f->for_ms = 5000 + (uint32_t)draw(x, 9000);
        p->may |= ls_fault_may(f->kind);
        if (f->at_ms + f->for_ms > p->faults_ms)
            p->faults_ms = f->at_ms + f->for_ms;
    }
}

/* The target stays, stays the same one, and has turns while a call waits. */
static bool
may_reserve(const struct ls_plan *p)
{
    static const bool fine[FAULT_KINDS] = {
        [FAULT_CUT] = true,
        [FAULT_CUT_BYTES] = true,
        [FAULT_BLACK_HOLE] = true,
        [FAULT_OLD_PATH] = true,
        [FAULT_REFUSE] = true,
        [FAULT_BUSY] = true,
        [FAULT_FULL] = true,
        [FAULT_SLOW] = true,
        [FAULT_SPOIL] = true,
        [FAULT_WINDOW] = true,
        [FAULT_ASYNC_LOGOUT] = true,
        [FAULT_ASYNC_DROP] = true,
        [FAULT_ASYNC_DROP_ALL] = true,
        [FAULT_ASYNC_NEGOTIATE] = true,
        [FAULT_LOGIN_BUSY] = true,
        [FAULT_EVENTS] = true,
        [FAULT_GROW] = true,
        [FAULT_CTL] = true,
        [FAULT_CUT_ONE] = true,
        [FAULT_HOLD_ONE] = true,
    };

    if (p->restless || p->two_loops)
        return false;
    for (uint32_t i = 0; i < p->nfaults; i++) {
        if (!fine[p->fault[i].kind])
            return false;
    }
    return true;
}

/* Half of the worlds have sessions of several connections, if the target takes them. */
static void
plan_conns(struct ls_plan *p, uint64_t *x)
{
    static const char *const most[] = {"1", "2", "3", "8", "8", "8"};
    size_t len = strlen(p->options);

    p->conns = draw(x, 2) == 0 || p->rdma ? 1 : 2 + (uint32_t)draw(x, 3);
    p->set[p->set_count++] = (struct target_key_value){"MaxConnections", most[draw(x, 6)]};
    if (p->conns == 1)
        return;
    (void)snprintf(p->options + len, sizeof(p->options) - len, "&nr_connections=%u", p->conns);
    for (uint64_t more = p->nfaults > 0 ? draw(x, 4) : 0; more > 0 && p->nfaults < LS_FAULTS_MAX;
         more--) {
        struct ls_fault *f = &p->fault[p->nfaults++];

        f->kind = draw(x, 4) == 0 ? FAULT_HOLD_ONE : FAULT_CUT_ONE;
        plan_fault(p, x, f);
    }
}

/* A tenth of the worlds has no other fault than data that are spoiled, and repairs them. */
static void
plan_spoiled_data(struct ls_plan *p, uint64_t *x)
{
    p->mends = draw(x, 10) == 0 && !p->rdma;
    if (!p->mends)
        return;
    p->nfaults = 1 + (uint32_t)draw(x, LS_FAULTS_MAX);
    p->may = p->faults_ms = 0;
    p->spoils = true;
    p->cache = false;
    for (uint32_t i = 0; i < p->nfaults; i++) {
        p->fault[i].kind = FAULT_SPOIL;
        plan_fault(p, x, &p->fault[i]);
        p->fault[i].arg = (p->fault[i].arg & 0x03003fff) | 2; /* data, and soon */
    }
}

/* What each fault is that a level repairs, so that no connection is lost for it. */
static bool
is_mended(const struct ls_fault *f)
{
    return f->kind == FAULT_LOSSES || f->kind == FAULT_TWICE || f->kind == FAULT_DIGESTS ||
           f->kind == FAULT_LATE_ONE || (f->kind == FAULT_SPOIL && (f->arg & 2) != 0);
}

/* Nobody gives anything up: whatever ends does so by what goes wrong. */
static bool
is_patient(const struct ls_plan *p)
{
    return !p->restless && !p->cancel && p->limit_ms == 0;
}

/* Everything that was to go wrong does not, nor is anything given up. */
static void
plan_calm(struct ls_plan *p)
{
    p->nfaults = 0;
    p->may = p->faults_ms = 0;
    p->cache = p->restless = p->cancel = false;
    p->limit_ms = 0;
}

/* Where a level repairs, single PDUs are lost, come twice or spoiled, or late, in half of the
 * worlds.  In some there is nothing else, and in others one connection after the other is cut or
 * stuck besides, at every level. */
static void
plan_pdus(struct ls_plan *p, uint64_t *x)
{
    uint64_t how = draw(x, 10);
    uint32_t n = 1 + (uint32_t)draw(x, 3);
    bool alone = how < 4, cuts = how == 2 || how == 3;

    if (how > 5 || (p->level == 0 && !(cuts && p->conns > 1)))
        return;
    for (uint32_t i = 0; i < p->nfaults; i++) {
        if (p->fault[i].kind == FAULT_OLD_PATH)
            return; /* a world of its own */
    }
    if (alone)
        plan_calm(p);
    if (p->nfaults + n > LS_FAULTS_MAX)
        p->nfaults = LS_FAULTS_MAX - n;
    for (uint32_t i = 0; i < n; i++) {
        struct ls_fault *f = &p->fault[p->nfaults++];

        f->kind = (enum ls_fault_kind)(FAULTS_PDUS + draw(x, FAULTS_RDMA - FAULTS_PDUS));
        if ((alone || p->reserves) && f->kind == FAULT_SILENT)
            f->kind = FAULT_LOSSES;
        if (cuts && (i == 0 || p->level == 0 || draw(x, 2) == 0))
            f->kind = p->conns > 1 && draw(x, 2) == 0 ? FAULT_HOLD_ONE : FAULT_CUT_ONE;
        plan_fault(p, x, f);
        p->spoils |= f->kind == FAULT_DIGESTS;
    }
}

/* Only what looks after stuck connections helps against one: neither do pings of those that are
 * idle, nor commands that time out. */
static void
plan_stuck(struct ls_plan *p, uint64_t *x)
{
    size_t len = strlen(p->options);

    p->timeout_ms = 20000;
    (void)snprintf(p->options + len, sizeof(p->options) - len, "&ping_interval=20000&timeout=%u",
                   p->timeout_ms);
    for (uint32_t i = 0; i < p->nfaults; i++) {
        struct ls_fault *f = &p->fault[i];

        if (f->kind == FAULT_HOLD_ONE)
            f->for_ms = 13000 + (uint32_t)draw(x, 5000);
        if (f->at_ms + f->for_ms > p->faults_ms)
            p->faults_ms = f->at_ms + f->for_ms;
    }
}

/* What may not happen, as nothing is wrong but what is repaired. */
static void
plan_verdict(struct ls_plan *p, uint64_t *x)
{
    uint32_t held = 0, cuts = 0;

    p->flows = p->conns > 1 && p->nfaults > 0 && is_patient(p);
    p->mends = p->level > 0 && p->nfaults > 0 && is_patient(p);
    p->keeps = p->level == 2 && p->nfaults > 0 && is_patient(p) &&
               (p->replacement_s < 0 || p->replacement_s >= 20);
    for (uint32_t i = 0; i < p->nfaults; i++) {
        bool mended = is_mended(&p->fault[i]), cut = p->fault[i].kind == FAULT_CUT_ONE;

        held += p->fault[i].kind == FAULT_HOLD_ONE;
        cuts += cut;
        p->mends = p->mends && mended;
        p->keeps = p->keeps && (mended || cut);
        p->flows = p->flows && (mended || cut || p->fault[i].kind == FAULT_HOLD_ONE);
    }
    p->flows = p->flows && (held == 0 || held + cuts == 1); /* else nobody says that it is stuck */
    if (p->flows && draw(x, 2) == 0)
        plan_stuck(p, x);
}

/* Half of the worlds ask for ErrorRecoveryLevel 1 or 2, and get it if the target has it. */
static void
plan_level(struct ls_plan *p, uint64_t *x)
{
    bool wants = draw(x, 2) == 0, has = draw(x, 3) != 0;
    bool two = draw(x, 4) > 0, has_two = draw(x, 8) > 0;
    size_t len = strlen(p->options);

    wants = wants && !p->rdma;

    p->set[p->set_count++] = (struct target_key_value){
        "ErrorRecoveryLevel", p->mends || has ? (has_two ? "2" : "1") : "0"};
    if ((p->mends || has) && (p->mends || wants))
        p->level = has_two && two ? 2 : 1;
    if (p->mends || wants)
        (void)snprintf(p->options + len, sizeof(p->options) - len, "&error_recovery_level=%d",
                       two ? 2 : 1);
}

/* Over RDMA there is level 0, one connection, and nothing that spoils or loses a PDU; but other
 * ways to lose a connection, of which nobody may be told, so that answers just stay away. */
static void
plan_rdma(struct ls_plan *p, uint64_t *x)
{
    static const char *const ways[] = {"", "&iser_stag=window", "&iser_stag=pool",
                                       "&iser_stag=register"};
    static const enum ls_fault_kind instead[] = {FAULT_NOT_READY, FAULT_STUCK,     FAULT_NOBODY,
                                                 FAULT_CUT_ONE,   FAULT_CUT_BYTES, FAULT_CUT};
    uint64_t way = draw(x, 4);
    size_t len = strlen(p->options);

    p->no_windows = draw(x, 4) == 0 && way != 1;
    p->windows = draw(x, 6) == 0 && way != 1 ? 1 + (uint32_t)draw(x, 12) : 0;
    p->keep_stags = draw(x, 3) == 0;
    p->registers = draw(x, 3) == 0;
    p->keys_stay = p->no_windows || p->windows > 0 || way == 2;
    p->may = 0;
    for (uint32_t i = 0; i < p->nfaults; i++) {
        struct ls_fault *f = &p->fault[i];

        if (f->kind == FAULT_SPOIL || f->kind == FAULT_HOLD_ONE || f->kind >= FAULTS_PDUS ||
            draw(x, 6) == 0)
            f->kind = instead[draw(x, sizeof(instead) / sizeof(instead[0]))];
        p->may |= ls_fault_may(f->kind);
    }
    if (p->may & L)
        p->may |= S;
    p->spoils = false;
    p->cache = false;
    for (uint32_t i = 0; i < p->nfaults; i++)
        p->cache |= p->fault[i].kind == FAULT_CRASH;
    (void)snprintf(p->options + len, sizeof(p->options) - len, "&transport=iser%s", ways[way]);
    if (p->luns == 1 && p->two_loops && draw(x, 3) == 0) /* less than a pool likes to have */
        p->memlock_mib = 5 + (uint32_t)draw(x, 6);
}

void
ls_plan_make(uint64_t seed, struct ls_plan *p)
{
    uint64_t x = seed * 0xd1342543de82ef95ull + 0x2545f4914f6cdd1dull, y = ~x,
             z = x ^ 0x5851f42d4c957f2dull, u = x ^ 0x14057b7ef767814full,
             r = x ^ 0x9e3779b97f4a7c15ull;

    memset(p, 0, sizeof(*p));
    p->seed = seed;
    p->rdma = seed >= LS_RDMA_FIRST;
    plan_size(p, &x);
    plan_faults(p, &x);
    if (draw(&x, 16) == 0)
        plan_old_path(p, &x);
    else
        plan_user(p, &y);
    plan_more_faults(p, &y);
    plan_spoiled_data(p, &z);
    p->digests = draw(&u, 3) == 0;
    plan_keys(p, &x);
    p->reserves = may_reserve(p) && draw(&y, 3) == 0;
    plan_conns(p, &y);
    plan_level(p, &z);
    plan_pdus(p, &u);
    if (p->rdma)
        plan_rdma(p, &r);
    plan_verdict(p, &u);
}

void
ls_plan_print(const struct ls_plan *p)
{
    (void)printf("seed %llu: %u LUN%s, %u queue%s of %u, %u requests in %u ms; %s%s%s%s%s%s%s\n",
                 (unsigned long long)p->seed, p->luns, p->luns == 1 ? "" : "s", p->queues,
                 p->queues == 1 ? "" : "s", p->depth, p->ops, p->span_ms,
                 p->two_loops ? "two processes" : "one process", p->rough ? ", rough network" : "",
                 p->overlap ? ", ranges overlap" : "", p->zero_copy ? ", zero copy" : "",
                 p->chap ? ", CHAP" : "", p->wce ? ", write cache" : "",
                 p->medium_calls ? ", medium by calls" : "");
    if (p->shared || p->restless)
        (void)printf("  %s%s%s\n", p->shared ? "one session for all LUNs" : "",
                     p->shared && p->restless ? ", " : "", p->restless ? "a restless program" : "");
    if (p->reserves)
        (void)printf("  the LUNs are reserved\n");
    if (p->rdma)
        (void)printf("  over RDMA%s%s; locked memory %u MiB, windows %u (0: any)\n",
                     p->no_windows ? ", without memory windows" : "",
                     p->registers ? ", with registered memory" : "", p->memlock_mib, p->windows);
    if (p->cancel || p->limit_ms > 0)
        (void)printf("  requests may take %u ms (0: no limit)%s\n", p->limit_ms,
                     p->cancel ? ", and are canceled now and then" : "");
    for (uint32_t i = 0; i < p->luns; i++)
        (void)printf("  LUN %u: %u blocks of %u\n", i, p->blocks[i], p->block[i]);
    (void)printf("  URL %s\n  the control plane's messages wait up to %llu ms, "
                 "replacement_timeout %d s\n ",
                 p->options, (unsigned long long)(p->ipc_delay_ns / LOOP_NS_PER_MS),
                 p->replacement_s);
    for (uint32_t i = 0; i < p->set_count; i++)
        (void)printf(" %s=%s", p->set[i].key, p->set[i].value);
    (void)printf("\n");
    for (uint32_t i = 0; i < p->nfaults; i++)
        (void)printf("  at %6u ms for %5u ms: %s (%llu)\n", p->fault[i].at_ms, p->fault[i].for_ms,
                     ls_fault_name(p->fault[i].kind), (unsigned long long)p->fault[i].arg);
}
