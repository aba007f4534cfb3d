/* SPDX-License-Identifier: MIT */
/* api/status.c - how a session is, for whoever has to say why something does not go on. */
#include "api/internal.h"

bool
api_session_is_up(const struct lunette_session *s)
{
    return s->logged_in && !s->lost && s->closed == NULL;
}

enum lunette_session_state
api_session_state(const struct lunette_session *s)
{
    if (s->gone)
        return LUNETTE_SESSION_GONE;
    if (!s->lost)
        return LUNETTE_SESSION_LOGGED_IN;
    return s->timed_out ? LUNETTE_SESSION_FAILED : LUNETTE_SESSION_BLOCKED;
}

uint64_t
api_session_down_ns(const struct lunette_session *s)
{
    struct reopen_info info;

    if (s->down_since_ns > 0)
        return s->ctx->loop->now_ns - s->down_since_ns;
    reopen_get_info(s->reopen, &info);
    return info.down_ns;
}

uint32_t
api_session_reopens(const struct lunette_session *s)
{
    struct reopen_info info;

    reopen_get_info(s->reopen, &info);
    return info.reopens + s->times_back;
}

void
api_session_why(const struct lunette_session *s, struct lunette_error *ret)
{
    struct reopen_info info;

    *ret = (struct lunette_error){.struct_size = sizeof(*ret)};
    if (s->last_error < 0)
        (void)lunette_fail(ret, s->last_error, LUNETTE_DOM_CONNECT, 0, "%s",
                           s->last_text != NULL ? s->last_text : errno_text(-s->last_error));
    if (s->reopen == NULL || !s->logged_in)
        return;
    reopen_get_info(s->reopen, &info);
    if (info.why.code < 0)
        (void)lunette_fail_as(ret, &info.why);
}

int64_t
api_session_give_up_ms(const struct lunette_session *s, uint64_t down_ns)
{
    int32_t limit = reopen_limits(s->reopen)->replacement_timeout_s;
    int64_t left = limit * INT64_C(1000) - (int64_t)(down_ns / LOOP_NS_PER_MS);

    if (!s->lost || s->timed_out || s->gone)
        return 0;
    return limit < 0 ? -1 : left < 0 ? 0 : left;
}
