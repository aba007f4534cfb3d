/* SPDX-License-Identifier: MIT */
/* ERL-18: when a command of a lost connection is certain to be over at the target.
 */
#include "tests/test.h"

#include "iscsi/fate.h"

#define S(n) ((uint64_t)(n)*1000000000u)

static void
conditions(void **state)
{
    static const struct {
        const char *name;
        struct fate_facts f;
        enum fate want;
    } rows[] = {
        {"the only connection was lost", {.time2wait_s = 2, .time2retain_s = 20}, FATE_WITH_NEXUS},
        {"another connection goes on",
         {.nexus_serves = true, .time2wait_s = 2, .time2retain_s = 20},
         FATE_MAY_RUN},
        {"a nexus later, while the old one's transport lets go",
         {.nexus_serves = true, .reinstated = true, .time2wait_s = 2, .time2retain_s = 20},
         FATE_GONE},
        {"the same connection again",
         {.nexus_serves = true, .conn_reinstated = true, .time2wait_s = 2, .time2retain_s = 20},
         FATE_GONE},
        {"the same connection again, at level 1",
         {.nexus_serves = true, .conn_reinstated = true, .erl = 1, .time2wait_s = 2},
         FATE_GONE},
        {"the same connection again, where tasks wait to be reassigned",
         {.nexus_serves = true, .conn_reinstated = true, .erl = 2, .time2wait_s = 2},
         FATE_MAY_RUN},
        {"logged out", {.logged_out = true, .time2wait_s = 2, .time2retain_s = 20}, FATE_GONE},
        {"the connection logged out, another goes on",
         {.nexus_serves = true, .logged_out = true, .time2wait_s = 2, .time2retain_s = 20},
         FATE_GONE},
        {"after Time2Wait",
         {.nexus_serves = true, .lost_ns = S(2), .time2wait_s = 2, .time2retain_s = 20},
         FATE_MAY_RUN},
        {"shortly before both are over at a target that was slow to notice",
         {.nexus_serves = true, .lost_ns = S(32) - 1, .time2wait_s = 2, .time2retain_s = 20},
         FATE_MAY_RUN},
        {"both are over",
         {.nexus_serves = true, .lost_ns = S(32), .time2wait_s = 2, .time2retain_s = 20},
         FATE_GONE},
        {"both are over, no nexus",
         {.lost_ns = S(22), .time2wait_s = 2, .time2retain_s = 20},
         FATE_GONE},
        {"the target keeps nothing, but has to notice the loss",
         {.nexus_serves = true},
         FATE_MAY_RUN},
        {"the target keeps nothing, and has had its time",
         {.nexus_serves = true, .lost_ns = S(10)},
         FATE_GONE},
        {"the longest times",
         {.nexus_serves = true, .lost_ns = S(7199), .time2wait_s = 3600, .time2retain_s = 3600},
         FATE_MAY_RUN},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (iscsi_fate(&rows[i].f) != rows[i].want)
            fail_msg("%s: %d", rows[i].name, (int)iscsi_fate(&rows[i].f));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(conditions)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
