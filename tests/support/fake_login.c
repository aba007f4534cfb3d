/* SPDX-License-Identifier: MIT */
#include "tests/support/fake_login.h"

#include <string.h>

#include "tests/test.h"

struct iscsi_login {
    struct login_callbacks cb;
};

struct iscsi_logout {
    void (*done)(void *user, const struct lunette_error *err);
    void *user;
};

struct fake_login fake_login;
static struct iscsi_login the_login;
static struct iscsi_logout the_logout;

void
fake_login_reset(void)
{
    memset(&fake_login, 0, sizeof(fake_login));
}

int
login_start(struct ctl *ctl, const struct login_config *cfg, const struct login_callbacks *cb,
            struct iscsi_login **ret, struct lunette_error *err)
{
    int r = fake_login.start_error;

    (void)ctl;
    fake_login.start_error = 0;
    if (r < 0)
        return lunette_fail(err, r, LUNETTE_DOM_USAGE, 0, "refused by the test");
    assert_false(fake_login.login_there);
    fake_login.logins++;
    fake_login.login_there = true;
    fake_login.cfg = *cfg;
    fake_login.had_secret = cfg->chap.secret_len > 0;
    login_config_wipe(&fake_login.cfg);
    the_login.cb = *cb;
    *ret = &the_login;
    return 0;
}

void
login_cancel(struct iscsi_login *l)
{
    assert_ptr_equal(l, &the_login);
    fake_login.cancels++;
}

bool
login_is_over(const struct iscsi_login *l)
{
    assert_ptr_equal(l, &the_login);
    return true;
}

bool
login_passed_over(const struct iscsi_login *l)
{
    assert_ptr_equal(l, &the_login);
    return false;
}

void
login_set_replacement(struct iscsi_login *l, int32_t replacement_timeout_s)
{
    (void)l;
    (void)replacement_timeout_s;
}

bool
login_error_retryable(const struct lunette_error *err)
{
    return err->domain == LUNETTE_DOM_TIMEOUT || err->domain == LUNETTE_DOM_CONNECT ||
           (err->domain == LUNETTE_DOM_LOGIN && err->detail >> 8 == 3);
}

void
login_free(struct iscsi_login **l)
{
    if (*l == NULL)
        return;
    assert_true(fake_login.login_there);
    fake_login.login_there = false;
    *l = NULL;
}

void
fake_login_done(const struct portal *portal, int32_t tpgt, const struct lunette_error *err)
{
    struct login_result res = {.sid = 5,
                               .tpgt = tpgt,
                               .auth_method = "None",
                               .params = {.max_xmit_dseg = 8192, .max_recv_dseg = 262144},
                               .bends = fake_login.bends};

    assert_true(fake_login.login_there);
    if (err == NULL)
        res.portal = *portal;
    the_login.cb.done(the_login.cb.user, err == NULL ? &res : NULL, err);
}

int
session_logout_task(struct ctl *ctl, const struct logout_config *cfg,
                    void (*done)(void *user, const struct lunette_error *err), void *user,
                    struct iscsi_logout **ret)
{
    int r = fake_login.logout_error;

    (void)ctl;
    fake_login.logout_error = 0;
    if (r < 0)
        return r;
    assert_false(fake_login.logout_there);
    fake_login.logouts++;
    fake_login.logout_there = true;
    fake_login.logout_cfg = *cfg;
    the_logout = (struct iscsi_logout){.done = done, .user = user};
    *ret = &the_logout;
    return 0;
}

bool
logout_is_over(const struct iscsi_logout *l)
{
    assert_ptr_equal(l, &the_logout);
    return true;
}

int32_t
logout_time2wait(const struct iscsi_logout *l)
{
    assert_ptr_equal(l, &the_logout);
    return -1;
}

void
logout_free(struct iscsi_logout **l)
{
    if (*l == NULL)
        return;
    assert_true(fake_login.logout_there);
    fake_login.logout_there = false;
    *l = NULL;
}

void
fake_logout_done(const struct lunette_error *err)
{
    assert_true(fake_login.logout_there);
    the_logout.done(the_logout.user, err);
}
