/* SPDX-License-Identifier: MIT */
#include "iscsi/fate.h"

#include <stddef.h>

#define FATE_NS_PER_S 1000000000ull

/* What a target needs at most to notice that a connection is lost, so that its times begin. */
#define FATE_NOTICE_S 10

static bool
nexus_was_reinstated(const struct fate_facts *f)
{
    return f->reinstated;
}

/* At level 2 the old connection's tasks wait to be reassigned instead (RFC 7143 7.2.2). */
static bool
conn_was_reinstated(const struct fate_facts *f)
{
    return f->conn_reinstated && f->erl < 2;
}

static bool
was_logged_out(const struct fate_facts *f)
{
    return f->logged_out;
}

/* The target keeps the tasks of a lost connection so long at most (RFC 7143 7.5, 13.16). */
static bool
was_retained_long_enough(const struct fate_facts *f)
{
    return f->lost_ns >= iscsi_fate_limit_ns(f);
}

/* Each of these is enough.  What is not here is not: that the connection is closed, that another
 * one works, or that some time has passed, says nothing of what the target does. */
static bool (*const ends_it[])(const struct fate_facts *f) = {
    nexus_was_reinstated,
    conn_was_reinstated,
    was_logged_out,
    was_retained_long_enough,
};

enum fate
iscsi_fate(const struct fate_facts *f)
{
    for (size_t i = 0; i < sizeof(ends_it) / sizeof(ends_it[0]); i++) {
        if (ends_it[i](f))
            return FATE_GONE;
    }
    return f->nexus_serves ? FATE_MAY_RUN : FATE_WITH_NEXUS;
}

uint64_t
iscsi_fate_limit_ns(const struct fate_facts *f)
{
    uint64_t notice_s = f->nexus_serves ? FATE_NOTICE_S : 0;

    return (notice_s + f->time2wait_s + f->time2retain_s) * FATE_NS_PER_S;
}
