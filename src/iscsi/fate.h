/* SPDX-License-Identifier: MIT */
/* iscsi/fate.h - whether the target may still execute a command whose connection has ended.
 *
 * Such a command may have been executed, or may be executed yet.  As long as it may,
 * nobody may send it again to where the old one would not be ended first: the old
 * write could reach the medium behind the new one, and behind what was written after
 * that.  This holds for another session, another path, and another connection of the
 * same session.  Whoever ends, moves or sends such a command again asks here and
 * nowhere else.
 */
#ifndef ISCSI_FATE_H
#define ISCSI_FATE_H

#include <stdbool.h>
#include <stdint.h>

/* What is known of a command whose connection has ended, and of its nexus. */
struct fate_facts {
    bool nexus_serves;    /* the command's nexus goes on, on another connection */
    bool reinstated;      /* a leading login has begun another nexus of this session since, and the
                             target has let it through: RFC 7143 6.3.5 */
    bool conn_reinstated; /* a login with the CID of its connection was let through: 6.3.4 */
    bool logged_out;      /* a Logout of its session or of its connection was answered with success,
                             and was not for recovery: 11.14, 11.15.1 */
    uint8_t erl;          /* ErrorRecoveryLevel of its nexus */
    uint64_t lost_ns;     /* how long ago its connection was lost */
    uint32_t time2wait_s, time2retain_s; /* as agreed, or as the target said last */
};

enum fate {
    FATE_GONE,       /* the target does not execute it any more */
    FATE_WITH_NEXUS, /* it may, until the next nexus of this session begins, which ends it first: it
                        may be sent again in that nexus, and nowhere else */
    FATE_MAY_RUN,    /* it may, and what is sent now may overtake it */
};

enum fate iscsi_fate(const struct fate_facts *f);

/* Nanoseconds from the loss of the connection on after which the command is FATE_GONE in any case.
 */
uint64_t iscsi_fate_limit_ns(const struct fate_facts *f);

#endif
