/* SPDX-License-Identifier: MIT */
/* SendTargets against the puppet target; CONFORMANCE ids in brackets. */
#include "discovery/discovery.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "discovery/targets.h"
#include "tests/test.h"
#include "tests/unit/login/fake.h"

static const struct step script[] = {
    {"SessionType=Discovery !TargetName", "AuthMethod=None TargetPortalGroupTag=7"},
    {"CSG1 T", "@answer"},
    {NULL, NULL}};

struct found {
    struct world *w;
    struct discovery_result res;
    struct lunette_error err;
    bool done;
};

static void
on_done(void *user, struct discovery_result *res, const struct lunette_error *err)
{
    struct found *f = user;

    assert_false(f->done);
    assert_true((res == NULL) != (err == NULL));
    f->done = true;
    if (res != NULL)
        f->res = *res;
    else
        f->err = *err;
}

static void
begin(struct found *f, uint64_t seed, const char *text, size_t piece)
{
    struct world *w = world_new(seed);

    *f = (struct found){.w = w};
    w->scripts[0] = script;
    w->nscripts = 1;
    w->targets = text;
    w->targets_len = strlen(text);
    w->targets_piece = piece;
}

static void
start(struct found *f, const char *what, struct discovery **d)
{
    struct login_config cfg;

    world_config(f->w, &cfg);
    assert_int_equal(discovery_sendtargets(f->w->ctl, &cfg, what,
                                           &(struct discovery_callbacks){on_done, f, 1000}, d,
                                           NULL),
                     0);
}

static void
go(struct found *f)
{
    struct discovery *d;

    start(f, NULL, &d);
    world_run(f->w, &f->done);
    assert_true(f->done);
    discovery_free(&d);
    world_drain(f->w);
    assert_true(ctl_idle(f->w->ctl));
    assert_int_equal(f->w->sessions_made, f->w->sessions_gone); /* the session is gone */
    assert_int_equal(f->w->open_fds, 0);
}

static void
end(struct found *f)
{
    discovery_result_free(&f->res);
    world_free(f->w);
}

static const char three[] =
    "TargetName=iqn.2001-04.org.example:one|"
    "TargetAddress=10.0.0.1:3260,1|TargetAddress=[fe80::1%eth0]:3261,2|TargetAddress=host.example|"
    "TargetName=IQN.2001-04.org.example:Two|"
    "TargetName=eui.0123456789abcdef|TargetAddress=10.1.1.1,65535|";

static void
check_three(const struct found *f)
{
    const struct discovered_target *t = f->res.targets;

    assert_int_equal(f->err.code, 0);
    assert_int_equal(f->res.ntargets, 3);
    assert_string_equal(t[0].name, "iqn.2001-04.org.example:one");
    assert_int_equal(t[0].nportals, 3);
    assert_int_equal(t[0].portals[0].tpgt, 1);
    assert_string_equal(t[0].portals[1].host, "fe80::1%eth0");
    assert_int_equal(t[0].portals[1].port, 3261);
    assert_string_equal(t[0].portals[2].host, "host.example");
    assert_int_equal(t[0].portals[2].tpgt, -1);
    assert_string_equal(t[1].name, "IQN.2001-04.org.example:Two"); /* as it was told */
    assert_int_equal(t[1].nportals, 1);                            /* DSC-04: the one in use */
    assert_string_equal(t[1].portals[0].host, "10.0.0.1");
    assert_int_equal(t[1].portals[0].tpgt, 7);
    assert_int_equal(t[2].nportals, 1);
    assert_int_equal(t[2].portals[0].tpgt, 65535);
    assert_int_equal(f->res.bad_names + f->res.bad_addresses, 0);
}

/* DSC-03, DSC-04, DSC-05: in pieces of every size, with the C bit or without. */
static void
pieces(void **state)
{
    (void)state;
    for (size_t piece = 0; piece < sizeof(three); piece++) {
        struct found f;

        begin(&f, piece, three, piece);
        f.w->text_c_bit = piece % 2;
        go(&f);
        check_three(&f);
        assert_int_equal(f.w->texts, piece == 0 ? 1 : (sizeof(three) - 2 + piece) / piece);
        end(&f);
    }
}

static void
nothing(void **state)
{
    struct found f;

    (void)state;
    begin(&f, 1, "", 0);
    go(&f);
    assert_int_equal(f.err.code, 0);
    assert_int_equal(f.res.ntargets, 0);
    end(&f);
}

/* DSC-05: 10,000 targets in responses of every kind of size: records, keys and values are split
 * anywhere, and none is lost. */
static void
ten_thousand(void **state)
{
    static const size_t pieces[] = {13, 512, 1000, 8192, 65535, IPC_PDU_DATA_MAX};
    size_t size = 10000 * 120, n = 0;
    char *text = malloc(size), name[64];

    (void)state;
    for (int i = 0; i < 10000; i++)
        n += (size_t)snprintf(text + n, size - n,
                              "TargetName=iqn.2001-04.org.example:disk.%d|"
                              "TargetAddress=10.0.0.1:3260,1|TargetAddress=10.0.0.2:3260,1|",
                              i);
    for (size_t k = 0; k < sizeof(pieces) / sizeof(pieces[0]); k++) {
        struct found f;

        begin(&f, k, text, pieces[k]);
        f.w->text_c_bit = k % 2 == 0;
        go(&f);
        assert_int_equal(f.err.code, 0);
        assert_int_equal(f.res.ntargets, 10000);
        for (size_t i = 0; i < 10000; i++) {
            (void)snprintf(name, sizeof(name), "iqn.2001-04.org.example:disk.%zu", i);
            assert_string_equal(f.res.targets[i].name, name);
            assert_int_equal(f.res.targets[i].nportals, 2);
        }
        end(&f);
    }
    free(text);
}

/* A link-local address was told over the link on which it is, whatever its teller calls that. */
static void
link_local(void **state)
{
    static const char text[] = "TargetName=iqn.2001-04.org.example:x\0TargetAddress=[fe80::7]:1,1\0"
                               "TargetAddress=[fe80::8%lan]:1,1\0TargetAddress=[2001:db8::1],1";
    static const struct portal in_use = {.host = "fe80::1%eth0", .port = 3260, .tpgt = 1};
    struct targets *t = malloc(sizeof(*t));
    struct discovery_result res;

    (void)state;
    targets_init(t, &in_use);
    assert_int_equal(targets_feed(t, text, sizeof(text), NULL), 0);
    assert_int_equal(targets_end(t, &res, NULL), 0);
    assert_int_equal(res.targets[0].nportals, 3);
    assert_string_equal(res.targets[0].portals[0].host, "fe80::7%eth0");
    assert_string_equal(res.targets[0].portals[1].host, "fe80::8%eth0");
    assert_string_equal(res.targets[0].portals[2].host, "2001:db8::1");
    discovery_result_free(&res);
    targets_fini(t);
    free(t);
}

/* A limit that is reached is an error that names it, and no list that is cut. */
static void
limits(void **state)
{
    static const char one[] = "TargetName=iqn.2001-04.org.example:x\0";
    static const char address[] = "TargetAddress=10.0.0.1\0";
    static const struct portal in_use = {.host = "10.0.0.1", .port = 3260, .tpgt = 1};
    struct targets *t = malloc(sizeof(*t));
    struct lunette_error err = {.code = 0};
    size_t i;
    int r = 0;

    (void)state;
    targets_init(t, &in_use);
    for (i = 0; i <= DISCOVERY_TARGETS_MAX && r == 0; i++)
        r = targets_feed(t, one, sizeof(one) - 1, &err);
    assert_int_equal(r, -EPROTO);
    assert_int_equal(i, DISCOVERY_TARGETS_MAX + 1);
    assert_non_null(strstr(err.msg, "65536 targets"));
    targets_fini(t);
    targets_init(t, &in_use);
    r = targets_feed(t, one, sizeof(one) - 1, &err);
    for (i = 0; i <= DISCOVERY_PORTALS_MAX && r == 0; i++)
        r = targets_feed(t, address, sizeof(address) - 1, &err);
    assert_int_equal(r, -EPROTO);
    assert_int_equal(i, DISCOVERY_PORTALS_MAX + 1);
    assert_non_null(strstr(err.msg, "262144 addresses"));
    targets_fini(t);
    free(t);
}

/* What cannot be sent as a name is reported and left out, an address that cannot be understood is
 * reported and kept as it came. */
static void
bad_entries(void **state)
{
    struct found f;

    (void)state;
    begin(&f, 1,
          "TargetName=a name with blanks|TargetAddress=10.0.0.5,1|"
          "TargetName=iqn.2001-04.org.example:one|TargetAddress=10.0.0.1:99999,1|"
          "TargetAddress=10.0.0.2,1|TargetName=iqn.2001-04.org.example:two|TargetAddress=,|",
          0);
    go(&f);
    assert_int_equal(f.err.code, 0);
    assert_int_equal(f.res.ntargets, 2);
    assert_int_equal(f.res.targets[0].nportals, 1);
    assert_string_equal(f.res.targets[0].portals[0].host, "10.0.0.2");
    assert_int_equal(f.res.targets[0].nunclear, 1);
    assert_string_equal(f.res.targets[0].unclear[0], "10.0.0.1:99999,1");
    assert_int_equal(f.res.targets[1].nportals, 0);
    assert_int_equal(f.res.targets[1].nunclear, 1);
    assert_string_equal(f.res.targets[1].unclear[0], ",");
    assert_int_equal(f.res.bad_names, 1);
    assert_int_equal(f.res.bad_addresses, 2);
    assert_non_null(strstr(f.res.bad.msg, "cannot be sent"));
    end(&f);
}

/* Names that the grammar does not allow are listed as they were told. */
static void
odd_names(void **state)
{
    static const char *const names[] = {
        "iqn.2026-11.example:ts-410:iscsi.my_lun.c4",
        "iqn.com.example-10",
        "iqn.2026-1.example:raid.vg0",
        "../../etc/passwd",
        "iqn.2026-11.example:\xc3\xa9",
    };
    const size_t count = sizeof(names) / sizeof(names[0]);
    char text[1000];
    size_t n = 0;
    struct found f;

    (void)state;
    for (size_t i = 0; i < count; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "TargetName=%s|", names[i]);
    begin(&f, 1, text, 3);
    go(&f);
    assert_int_equal(f.err.code, 0);
    assert_int_equal(f.res.ntargets, count);
    for (size_t i = 0; i < count; i++)
        assert_string_equal(f.res.targets[i].name, names[i]);
    assert_int_equal(f.res.bad_names, 0);
    end(&f);
}

/* NULs too many between pairs, and at the end, are padding. */
static void
padding(void **state)
{
    static const char text[] = "TargetName=iqn.2001-04.org.example:one|||TargetAddress=10.0.0.9|"
                               "|TargetName=iqn.2001-04.org.example:two||||";

    (void)state;
    for (size_t piece = 0; piece < sizeof(text); piece++) {
        struct found f;

        begin(&f, piece, text, piece);
        go(&f);
        assert_int_equal(f.err.code, 0);
        assert_int_equal(f.res.ntargets, 2);
        assert_string_equal(f.res.targets[0].portals[0].host, "10.0.0.9");
        end(&f);
    }
}

static void
faults(void **state)
{
    static const struct {
        const char *text, *msg;
    } t[] = {
        {"TargetName=iqn.2001-04.org.example:one|TargetAlias=x|", "TargetAlias"},
        {"TargetAddress=10.0.0.1|", "before any target"},
        {"TargetName=iqn.2001-04.org.example:one|TargetAddress=10.0.0.1", "middle of a pair"},
        {"TargetName|", ""},
        {"=|", ""},
    };
    char longish[1000];

    (void)state;
    for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        struct found f;

        begin(&f, i, t[i].text, 7);
        go(&f);
        assert_int_equal(f.err.domain, LUNETTE_DOM_PROTO);
        assert_non_null(strstr(f.err.msg, t[i].msg));
        end(&f);
    }
    memset(longish, 'x', sizeof(longish));
    memcpy(longish, "TargetName=", 11);
    longish[999] = '\0';
    for (size_t piece = 100; piece <= 1000; piece += 300) {
        struct found f;

        begin(&f, 3, longish, piece);
        go(&f);
        assert_non_null(strstr(f.err.msg, "319 bytes"));
        end(&f);
    }
}

static void
target_fails(void **state)
{
    struct found f;

    (void)state;
    begin(&f, 1, three, 0);
    f.w->silent_text = true;
    go(&f);
    assert_int_equal(f.err.domain, LUNETTE_DOM_TIMEOUT);
    assert_int_equal(f.err.detail, 1000);
    end(&f);
    begin(&f, 1, three, 0);
    f.w->cut_text = true;
    go(&f);
    assert_int_equal(f.err.domain, LUNETTE_DOM_CONNECT);
    end(&f);
    begin(&f, 1, three, 0);
    f.w->text_reject = 9;
    go(&f);
    assert_int_equal(f.err.domain, LUNETTE_DOM_PROTO);
    assert_int_equal(f.err.detail, 9);
    end(&f);
    begin(&f, 1, three, 0); /* discovered all the same */
    f.w->silent_logout = true;
    go(&f);
    check_three(&f);
    end(&f);
}

static void
text_header(struct found *f, uint8_t flags, uint32_t ttt, const char *msg)
{
    f->w->text_flags = flags;
    f->w->text_ttt = ttt;
    f->w->odd_text = true;
    go(f);
    assert_int_equal(f->err.domain, LUNETTE_DOM_PROTO);
    assert_non_null(strstr(f->err.msg, msg));
    end(f);
}

/* TXR-01, TXR-03 */
static void
text_headers(void **state)
{
    struct found f;

    (void)state;
    begin(&f, 1, three, 0);
    text_header(&f, ISCSI_FLAG_FINAL | ISCSI_TEXT_CONTINUE, 1, "F and C");
    begin(&f, 1, three, 0);
    text_header(&f, 0, ISCSI_TAG_RSVD, "TTT");
    begin(&f, 1, "", 0); /* says nothing, for ever */
    text_header(&f, 0, 5, "without saying anything");
    begin(&f, 1, three, 0);
    f.w->text_flags = ISCSI_FLAG_FINAL;
    f.w->text_ttt = 5; /* ignored */
    f.w->odd_text = true;
    go(&f);
    check_three(&f);
    end(&f);
}

/* One target by name; lint of the name. */
static void
by_name(void **state)
{
    struct found f;
    struct discovery *d;
    struct login_config cfg;
    struct lunette_error err;

    (void)state;
    begin(&f, 1, three, 0);
    world_config(f.w, &cfg);
    assert_int_equal(discovery_sendtargets(f.w->ctl, &cfg, "non sense",
                                           &(struct discovery_callbacks){on_done, &f, 0}, &d, &err),
                     -EINVAL);
    cfg.portal.port = 0;
    assert_int_equal(discovery_sendtargets(f.w->ctl, &cfg, "All",
                                           &(struct discovery_callbacks){on_done, &f, 0}, &d, &err),
                     -EINVAL);
    start(&f, "iqn.2001-04.org.example:one", &d);
    world_run(f.w, &f.done);
    discovery_free(&d);
    world_drain(f.w);
    check_three(&f);
    end(&f);
}

static void
login_fails(void **state)
{
    static const struct step no[] = {{"", "@status=0201"}, {NULL, NULL}};
    struct found f;

    (void)state;
    begin(&f, 1, three, 0);
    f.w->scripts[0] = no;
    go(&f);
    assert_int_equal(f.err.domain, LUNETTE_DOM_LOGIN);
    assert_int_equal(f.err.detail, 0x0201);
    end(&f);
}

/* Canceled, freed, or the ipc gone, after each number of turns. */
static void
cancel_each_step(void **state)
{
    (void)state;
    for (int variant = 0; variant < 4; variant++) {
        bool over = false;

        for (uint32_t turns = 0; !over; turns++) {
            struct found f;
            struct discovery *d;

            begin(&f, turns + 1, three, 100);
            start(&f, NULL, &d);
            for (uint32_t i = 0; i < turns && !f.done; i++)
                assert_true(world_step(f.w));
            over = f.done;
            if (variant == 0) {
                discovery_cancel(d);
                discovery_cancel(d);
                world_run(f.w, &f.done);
                assert_true(f.done);
                assert_true(f.err.code == -ECANCELED || f.res.ntargets == 3);
            }
            discovery_free(&d);
            if (variant == 2) {
                ctl_free(&f.w->ctl);
                f.w->open_fds = 0;
                end(&f);
                continue;
            }
            world_drain(f.w);
            assert_true(ctl_idle(f.w->ctl));
            assert_int_equal(f.w->sessions_made, f.w->sessions_gone);
            end(&f);
        }
    }
}

/* The answer mutated by seed: an end, and no crash. */
static void
mutations(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 2000; seed++) {
        char text[sizeof(three)];
        struct found f;

        memcpy(text, three, sizeof(text));
        begin(&f, seed, text, 1 + seed % 60);
        for (uint64_t i = world_random(f.w) % 6; i > 0; i--)
            text[world_random(f.w) % (sizeof(text) - 1)] = (char)(1 + world_random(f.w) % 255);
        go(&f);
        end(&f);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces),       cmocka_unit_test(nothing),
        cmocka_unit_test(ten_thousand), cmocka_unit_test(bad_entries),
        cmocka_unit_test(faults),       cmocka_unit_test(target_fails),
        cmocka_unit_test(text_headers), cmocka_unit_test(by_name),
        cmocka_unit_test(login_fails),  cmocka_unit_test(cancel_each_step),
        cmocka_unit_test(mutations),    cmocka_unit_test(odd_names),
        cmocka_unit_test(padding),      cmocka_unit_test(limits),
        cmocka_unit_test(link_local),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
