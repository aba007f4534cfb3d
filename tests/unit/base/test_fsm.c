/* SPDX-License-Identifier: MIT */
#include "tests/test.h"

#include "base/fsm.h"

enum lamp {
#define STATE(name, flags, text) LAMP_##name,
#include "tests/unit/base/fsm_lamp.def"
    LAMP_NSTATES,
};

enum lamp_event {
#define EVENT(name) LAMP_EV_##name,
#include "tests/unit/base/fsm_lamp.def"
    LAMP_NEVENTS,
};

static const struct fsm_state states[LAMP_NSTATES] = {
#define STATE FSM_STATE
#include "tests/unit/base/fsm_lamp.def"
};

static const char *const events[LAMP_NEVENTS] = {
#define EVENT FSM_EVENT
#include "tests/unit/base/fsm_lamp.def"
};

static const struct fsm_row rows[LAMP_NSTATES][LAMP_NEVENTS] = {
#define ROW(from, event, to, what) [LAMP_##from][LAMP_EV_##event] = FSM_ROW(LAMP_##to, what)
#include "tests/unit/base/fsm_lamp.def"
};

static const struct fsm lamp = {.states = states,
                                .events = events,
                                .rows = rows[0],
                                .nstates = LAMP_NSTATES,
                                .nevents = LAMP_NEVENTS};

static void
test_names(void **state)
{
    (void)state;
    assert_string_equal(fsm_state(&lamp, LAMP_BRIGHT)->name, "BRIGHT");
    assert_string_equal(fsm_state(&lamp, LAMP_BROKEN)->text, "it is of no use");
    assert_int_equal(fsm_state(&lamp, LAMP_BRIGHT)->flags, 1);
    assert_int_equal(fsm_state(&lamp, LAMP_DARK)->flags, 0);
    assert_string_equal(fsm_event_name(&lamp, LAMP_EV_DROP), "DROP");
}

static void
test_rows(void **state)
{
    static const struct {
        unsigned from, event;
        int to; /* -1: refused */
        const char *what;
    } want[] = {
        {LAMP_DARK, LAMP_EV_PRESS, LAMP_BRIGHT, "shine"},
        {LAMP_BRIGHT, LAMP_EV_PRESS, LAMP_DARK, "darken"},
        {LAMP_BROKEN, LAMP_EV_PRESS, -1, NULL},
        {LAMP_DARK, LAMP_EV_DROP, LAMP_BROKEN, "crack"},
        {LAMP_BRIGHT, LAMP_EV_DROP, LAMP_BROKEN, "crack"},
        {LAMP_BROKEN, LAMP_EV_DROP, -1, NULL},
    };
    uint32_t refused = 0, n = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
        const struct fsm_row *row = fsm_take(&lamp, want[i].from, want[i].event, &refused);

        assert_ptr_equal(row, fsm_find(&lamp, want[i].from, want[i].event));
        if (want[i].to < 0) {
            assert_null(row);
            n++;
        } else {
            assert_non_null(row);
            assert_int_equal(row->to, want[i].to);
            assert_string_equal(row->what, want[i].what);
        }
        assert_int_equal(refused, n);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_names), cmocka_unit_test(test_rows)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
