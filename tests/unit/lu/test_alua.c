/* SPDX-License-Identifier: MIT */
/* Asymmetric access (SPC-4 5.15.2): which commands run in which state, and how a new state is told.
 */
#include "tests/unit/lu/router.h"

#include <errno.h>
#include <string.h>

#include "lu/config.h"
#include "wire/capacity.h"
#include "wire/inquiry.h"

/* The commands and up to which state they run. */
enum runs { ACTIVE, STANDBY, EVER };

static const struct {
    char cdb[16];
    enum runs runs;
} cmds[] = {
    {"\x00\0\0\0\0\0\0\0\0\0", ACTIVE},             /* TEST UNIT READY */
    {"\x28\0\0\0\0\0\0\0\1\0", ACTIVE},             /* READ(10) */
    {"\x25\0\0\0\0\0\0\0\0\0", ACTIVE},             /* READ CAPACITY(10) */
    {"\x35\0\0\0\0\0\0\0\0\0", ACTIVE},             /* SYNCHRONIZE CACHE(10) */
    {"\x9e\x10\0\0\0\0\0\0\0\0\0\0\0\x20", ACTIVE}, /* READ CAPACITY(16) */
    {"\x1a\0\x08\0\xff\0\0\0\0\0", STANDBY},        /* MODE SENSE(6) */
    {"\x5a\0\x08\0\0\0\0\0\xff\0", STANDBY},        /* MODE SENSE(10) */
    {"\x1d\x04\0\0\0\0\0\0\0\0", STANDBY},          /* SEND DIAGNOSTIC, the self test */
    {"\x5e\0\0\0\0\0\0\0\xff\0", STANDBY},          /* PERSISTENT RESERVE IN, READ KEYS */
    {"\x12\0\0\0\xff\0\0\0\0\0", EVER},             /* INQUIRY */
    {"\x12\1\x83\0\xff\0\0\0\0\0", EVER},
    {"\x03\0\0\0\xff\0\0\0\0\0", EVER},       /* REQUEST SENSE */
    {"\xa0\0\0\0\0\0\0\0\0\xff\0\0", EVER},   /* REPORT LUNS */
    {"\xa3\x0a\0\0\0\0\0\0\0\xff\0\0", EVER}, /* REPORT TARGET PORT GROUPS */
};

static const struct {
    uint8_t state;
    enum runs needs;
    uint32_t code; /* of what does not run */
} states[] = {
    {ALUA_OPTIMIZED, ACTIVE, 0},          {ALUA_NON_OPTIMIZED, ACTIVE, 0},
    {ALUA_LBA_DEPENDENT, ACTIVE, 0},      {ALUA_STANDBY, STANDBY, 0x02040b},
    {ALUA_UNAVAILABLE, EVER, 0x02040c},   {ALUA_OFFLINE, EVER, 0x020412},
    {ALUA_TRANSITIONING, EVER, 0x02040a},
};

static void
what_runs_where(void **state)
{
    struct world *w = *state;

    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        lu_set_alua(w->lu, (struct lu_alua){.state = states[i].state});
        (void)next_ua(w, w->a);
        for (size_t k = 0; k < sizeof(cmds) / sizeof(cmds[0]); k++) {
            uint8_t cdb[CDB_MAX] = {0};
            uint32_t code = cmds[k].runs >= states[i].needs ? 0 : states[i].code;

            memcpy(cdb, cmds[k].cdb, sizeof(cmds[k].cdb));
            assert_int_equal(do_code(w, w->a, cdb, NULL, 0), code);
        }
    }
}

static void
a_new_state_is_told(void **state)
{
    struct world *w = *state;
    struct alua_group g;
    uint8_t cdb[CDB_MAX], buf[256], secs = 0;
    uint32_t len;

    lu_set_alua(w->lu,
                (struct lu_alua){.state = ALUA_STANDBY, .preferred = true, .transition_s = 9});
    assert_int_equal(next_ua(w, w->a), 0x2a06); /* before the state refuses anything */
    assert_int_equal(next_ua(w, w->b), 0x2a06);
    assert_int_equal(next_ua(w, w->c), 0x2a06);
    (void)cdb_rtpg(cdb, true, sizeof(buf));
    assert_int_equal(do_cmd(w, w->a, cdb, NULL, 0, buf, sizeof(buf), &len, NULL), SCSI_GOOD);
    assert_true(alua_find(buf, len, 1, -1, &g, &secs));
    assert_int_equal(g.state, ALUA_STANDBY);
    assert_true(g.preferred);
    assert_int_equal(secs, 9);
    (void)cdb_rtpg(cdb, false, sizeof(buf));
    assert_int_equal(do_cmd(w, w->a, cdb, NULL, 0, buf, sizeof(buf), &len, NULL), SCSI_GOOD);
    assert_true(alua_find(buf, len, -1, 1, &g, &secs));
    assert_int_equal(g.state, ALUA_STANDBY);
    assert_int_equal(secs, 0);
    lu_set_alua(w->lu, (struct lu_alua){.state = ALUA_STANDBY}); /* no other state */
    assert_int_equal(do_code(w, w->a, cdb, NULL, 0), 0);
    lu_reset(w->lu, w->a, NULL); /* which is no matter of the path */
    (void)cdb_test_unit_ready(cdb);
    assert_int_equal(do_code(w, w->a, cdb, NULL, 0), 0x062903);
    assert_int_equal(do_code(w, w->a, cdb, NULL, 0), 0x02040b);
    lu_set_alua(w->lu, (struct lu_alua){.state = ALUA_OPTIMIZED});
    assert_int_equal(next_ua(w, w->a), 0x2a06);
    assert_int_equal(do_code(w, w->a, cdb, NULL, 0), 0);
}

static void
from_the_configuration(void **state)
{
    static const struct {
        const char *text;
        int alua;
    } rows[] = {{"ram:1M", ALUA_OPTIMIZED},
                {"ram:1M,alua=optimized", ALUA_OPTIMIZED},
                {"ram:1M,alua=non-optimized", ALUA_NON_OPTIMIZED},
                {"null:1M,ro,alua=standby", ALUA_STANDBY},
                {"file:/tmp/a,b:1M,alua=unavailable", ALUA_UNAVAILABLE},
                {"ram:1M,alua=offline,lun=3", ALUA_OFFLINE},
                {"ram:1M,alua=transitioning", ALUA_TRANSITIONING},
                {"ram:1M,alua=", -1},
                {"ram:1M,alua", -1},
                {"ram:1M,alua=2", -1}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct lu_config c;
        struct lunette_error err;
        int r = lu_config_parse(rows[i].text, &c, &err);

        assert_int_equal(r, rows[i].alua < 0 ? -EINVAL : 0);
        if (r == 0)
            assert_int_equal(c.alua, rows[i].alua);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_runs_where, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(a_new_state_is_told, world_setup, world_teardown),
        cmocka_unit_test(from_the_configuration),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
