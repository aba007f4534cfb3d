/* SPDX-License-Identifier: MIT */
/* tests/support/fake_login.h - the login layer as its owners see it: a login and a logout
 * that end when and how the test says. */
#ifndef TESTS_FAKE_LOGIN_H
#define TESTS_FAKE_LOGIN_H

#include "login/login.h"
#include "login/logout.h"

extern struct fake_login {
    int start_error;         /* -errno of the next login_start */
    int logout_error;        /* -errno of the next session_logout_task */
    struct login_config cfg; /* what was asked for last, without its secrets */
    bool had_secret;
    uint32_t bends; /* of the next login that succeeds */
    struct logout_config logout_cfg;
    unsigned logins, logouts; /* started */
    unsigned cancels;
    bool login_there, logout_there; /* started and not freed */
} fake_login;

void fake_login_reset(void);
/* Ends the login; err NULL: logged in as session 5, connection 0, from portal. */
void fake_login_done(const struct portal *portal, int32_t tpgt, const struct lunette_error *err);
void fake_logout_done(const struct lunette_error *err);

#endif
