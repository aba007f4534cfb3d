/* SPDX-License-Identifier: MIT */
#include "their_urls.h"

#include <iscsi/iscsi.h>
#include <stdio.h>

int
their_url(const char *url, struct their_url *ret)
{
    struct iscsi_context *ctx = iscsi_create_context("iqn.2026-11.example:test");
    struct iscsi_url *u = ctx != NULL ? iscsi_parse_full_url(ctx, url) : NULL;

    if (u != NULL) {
        (void)snprintf(ret->portal, sizeof(ret->portal), "%s", u->portal);
        (void)snprintf(ret->target, sizeof(ret->target), "%s", u->target);
        (void)snprintf(ret->user, sizeof(ret->user), "%s", u->user);
        (void)snprintf(ret->secret, sizeof(ret->secret), "%s", u->passwd);
        (void)snprintf(ret->target_user, sizeof(ret->target_user), "%s", u->target_user);
        (void)snprintf(ret->target_secret, sizeof(ret->target_secret), "%s", u->target_passwd);
        ret->lun = u->lun;
        iscsi_destroy_url(u);
    }
    if (ctx != NULL)
        iscsi_destroy_context(ctx);
    return u != NULL ? 0 : -1;
}
