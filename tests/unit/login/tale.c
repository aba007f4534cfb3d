/* SPDX-License-Identifier: MIT */
#include "tests/unit/login/tale.h"

#include <string.h>

#include "tests/test.h"

const struct step say_good[] = {
    {"", "AuthMethod=None TargetPortalGroupTag=1"}, {"", "@answer"}, END};
const struct step say_group2[] = {
    {"", "AuthMethod=None TargetPortalGroupTag=2"}, {"", "@answer"}, END};
const struct step say_not_found[] = {{"", "@status=0203"}, END};
const struct step say_refused[] = {{"", "@status=0201"}, END};
const struct step say_busy[] = {{"", "@status=0301"}, END};
const struct step say_garbage[] = {{"", "@op=3f"}, END};
const struct step say_cut[] = {{"", "@silent @cut"}, END};
const struct step say_silent[] = {{"", "@silent"}, END};
const struct step say_moved_now[] = {{"", "@status=0101 TargetAddress=10.0.0.2:3260,1"}, END};
const struct step say_moved_ever[] = {{"", "@status=0102 TargetAddress=10.0.0.3:3260,1"}, END};

static void
free_if(struct tale *t, const char *in)
{
    if (t->free_in != NULL && strcmp(t->free_in, in) == 0) {
        t->over = true;
        reopen_free(&t->r);
    }
}

void
tale_on_lost(void *user, const struct lunette_error *why)
{
    struct tale *t = user;

    assert_true(why->code < 0 && why->msg[0] != '\0');
    t->losts++;
    t->why = *why;
    t->lost_ns = t->w->l.now_ns;
    free_if(t, "lost");
}

static void
on_waiting(void *user, uint32_t attempt, uint32_t delay_ms, const struct lunette_error *why)
{
    struct tale *t = user;

    assert_true(why->code < 0);
    assert_true(t->waits < WAITS_MAX);
    assert_true(t->losts > 0);
    t->attempt[t->waits] = attempt;
    t->delay_ms[t->waits++] = delay_ms;
    t->why = *why;
    free_if(t, "waiting");
}

void
tale_on_back(void *user, const struct login_result *res, uint64_t down_ns)
{
    struct tale *t = user;

    t->backs++;
    t->back = true;
    t->res = *res;
    t->down_ns = down_ns;
    t->back_ns = t->w->l.now_ns;
    assert_int_equal(t->backs, t->losts);
    free_if(t, "back");
}

void
tale_on_gave_up(void *user, const struct lunette_error *why)
{
    struct tale *t = user;
    struct login_config cfg;

    reopen_get_config(t->r, &cfg);
    t->gave_ups++;
    t->over = true;
    t->why = *why;
    assert_int_equal(cfg.chap.secret_len, 0);
    for (unsigned i = 0; i < sizeof(cfg.chap.secret); i++)
        assert_int_equal(cfg.chap.secret[i] | cfg.mutual.secret[i], 0);
    free_if(t, "gave_up");
}

static void
on_led(void *user, uint16_t cid)
{
    struct tale *t = user;

    t->leds++;
    t->led_cid = cid;
    free_if(t, "led");
}

static void
on_conn(void *user, uint16_t cid, const struct lunette_error *why)
{
    struct tale *t = user;
    struct reopen_info info;

    reopen_get_info(t->r, &info);
    if (why == NULL) {
        t->ups++;
        t->up_cid = cid;
        assert_true(info.conns > 0);
        return;
    }
    t->downs++;
    t->down_cid = cid;
    t->down_left = info.conns;
}

static void
on_other(void *user, const struct iscsi_kevent *ev, const void *data)
{
    struct tale *t = user;

    (void)data;
    t->others++;
    t->lost_events += ev->type == ISCSI_KEVENT_LOST;
    free_if(t, "event");
}

void
tale_on_first_login(void *user, const struct login_result *res, const struct lunette_error *err)
{
    struct tale *t = user;

    if (err != NULL)
        fail_msg("%s", err->msg);
    t->res = *res;
    reopen_attach(t->r, res);
    t->back = true;
}

void
tale_begin_as(struct tale *t, uint64_t seed, uint32_t reopen_max,
              void (*tweak)(struct login_config *cfg), const struct step *script)
{
    struct reopen_callbacks cb = {.lost = tale_on_lost,
                                  .waiting = on_waiting,
                                  .back = tale_on_back,
                                  .led = on_led,
                                  .conn = on_conn,
                                  .gave_up = tale_on_gave_up,
                                  .event = on_other,
                                  .user = t};
    struct reopen_config rc = {.login = &t->cfg, .reopen_max = reopen_max};
    struct login_callbacks first = {.done = tale_on_first_login, .user = t};
    struct iscsi_login *l;

    *t = (struct tale){.w = world_new(seed)};
    t->w->scripts[0] = script;
    t->w->nscripts = 1;
    t->w->caps |= CAP_RECOVERY_L1 | CAP_RECOVERY_L2 | CAP_MULTI_CONN;
    login_gate_init(&t->gate, &t->w->l, LOGIN_GATE_MAX);
    world_config(t->w, &t->cfg);
    if (tweak != NULL)
        tweak(&t->cfg);
    assert_int_equal(reopen_new(t->w->ctl, &t->gate, &rc, &cb, &t->r, NULL), 0);
    assert_int_equal(login_start(t->w->ctl, &t->cfg, &first, &l, NULL), 0);
    world_run(t->w, &t->back);
    assert_true(t->back);
    login_free(&l);
    t->back = false;
    t->c = fake_conn(t->w, t->res.sid, t->res.cid);
    t->w->nconnects = 0;
}

void
tale_begin(struct tale *t, uint64_t seed, uint32_t reopen_max,
           void (*tweak)(struct login_config *cfg))
{
    tale_begin_as(t, seed, reopen_max, tweak, say_good);
}

static void
pass_timer(struct loop_timer *timer)
{
    (void)timer;
}

void
tale_pass(struct tale *t, uint64_t ns)
{
    uint64_t until = t->w->l.now_ns + ns;
    struct loop_timer timer;

    loop_timer_init(&timer, pass_timer);
    loop_timer_start(&t->w->l, &timer, ns);
    while (t->w->l.now_ns < until || loop_timer_running(&timer))
        assert_true(world_step(t->w));
}

void
tale_run_until_back(struct tale *t)
{
    t->back = false;
    world_run(t->w, &t->back);
    assert_true(t->back);
    assert_true(t->c->started);
}

void
tale_lose(struct tale *t, uint32_t time2wait_s)
{
    tale_pass(t, SEC);
    t->w->nconnects = 0;
    t->waits = 0;
    fake_lose(t->w, t->c, time2wait_s, 0);
}

void
tale_end(struct tale *t)
{
    struct logout_config lc = {.sid = t->res.sid, .nconns = 1, .skip_request = true};
    struct iscsi_logout *lo;

    lc.conns[0].cid = t->res.cid;
    lc.conns[0].ep = t->w->several ? t->res.ep : 0;
    if (t->r != NULL)
        reopen_logout_config(t->r, &lc);
    reopen_free(&t->r);
    assert_null(t->r);
    t->w->gone_is_ok = true; /* a login that is given up undoes what is gone by then */
    t->w->done = false;
    assert_int_equal(session_logout_task(t->w->ctl, &lc, world_logout_done, t->w, &lo), 0);
    world_run(t->w, &t->w->done);
    logout_free(&lo);
    world_drain(t->w);
    assert_true(ctl_idle(t->w->ctl));
    assert_int_equal(t->w->sessions_made, t->w->sessions_gone);
    assert_int_equal(t->w->open_fds, 0);
    assert_int_equal(t->w->open_eps, 0);
    assert_int_equal(t->w->open_streams, 0);
    login_gate_fini(&t->gate);
    world_free(t->w);
}
