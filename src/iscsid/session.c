/* SPDX-License-Identifier: MIT */
/* Methods about sessions. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "iscsid/internal.h"

METHOD(session_list_method)
{
    query_start(user, call, params, 0);
}

METHOD(session_stats_method)
{
    query_start(user, call, params, QUERY_SESSION | QUERY_LUNS | QUERY_STATS);
}

METHOD(session_logout_method)
{
    struct batch_options o = {.logout = true};
    struct filter all = {.db.tpgt = -1};
    struct lunette_error err;
    int64_t sid = 0;

    if (manage_get_int(params, "sid", MANAGE_OPTIONAL, 1, UINT32_MAX, &sid, &err) < 0)
        say_fail(call, &err);
    else
        batch_logout(user, call, &all, (uint32_t)sid, &o);
}
