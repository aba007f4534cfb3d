/* SPDX-License-Identifier: MIT */
/* Methods that show the PDUs of a session: the last ones, and all from now on. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "iscsid/internal.h"

/* A request to the data plane about one session. */
struct tape {
    struct job job;
    struct iscsi_uevent ev;
    unsigned loop;
    bool asked;
    struct loop_timer lost; /* answers that the data plane is gone */
    char path[IPC_PATH_MAX];
};

static void
tape_free(struct tape *t)
{
    loop_timer_stop(t->job.d->loop, &t->lost);
    job_finish(&t->job);
    free(t);
}

static void
tape_drop(struct job *j)
{
    tape_free(container_of(j, struct tape, job));
}

static void
tape_failed(struct tape *t, const struct lunette_error *err)
{
    say_fail(t->job.call, err);
    tape_free(t);
}

static void
tape_on_lost(struct loop_timer *timer)
{
    struct lunette_error err;

    (void)lunette_fail(&err, -EPIPE, LUNETTE_DOM_OS, EPIPE, "the data plane has gone");
    tape_failed(container_of(timer, struct tape, lost), &err);
}

static void
tape_lost(struct job *j, unsigned index)
{
    struct tape *t = container_of(j, struct tape, job);

    if (t->asked && t->loop == index)
        loop_timer_start(j->d->loop, &t->lost, 0);
}

static bool
tape_waits_for(struct job *j, unsigned index)
{
    return container_of(j, struct tape, job)->loop == index;
}

/* Makes a request about the session that params name.  NULL: it has been answered. */
static struct tape *
tape_new(struct iscsid *d, struct manage_call *call, const json_t *params,
         enum iscsi_uevent_type type)
{
    struct tape *t = calloc(1, sizeof(*t));
    struct lunette_error err = {.code = 0};
    struct control_info info;
    struct control_node *n;
    int64_t sid = 0;
    int r;

    if (t == NULL) {
        manage_fail(call, MANAGE_NO_MEMORY, "no memory for the request");
        return NULL;
    }
    job_begin_plane(&t->job, d, call, tape_drop);
    t->job.lost = tape_lost;
    t->job.waits_for = tape_waits_for;
    loop_timer_init(&t->lost, tape_on_lost);
    r = manage_get_int(params, "sid", MANAGE_NEEDED, 1, UINT32_MAX, &sid, &err);
    n = r >= 0 ? control_find_sid(d->control, (uint32_t)sid) : NULL;
    if (r >= 0 && n == NULL)
        r = lunette_fail(&err, -ENOENT, LUNETTE_DOM_NOTFOUND, 0, "there is no such session");
    if (r < 0) {
        tape_failed(t, &err);
        return NULL;
    }
    control_node_get_info(n, &info);
    t->loop = info.loop;
    t->ev = (struct iscsi_uevent){.type = type, .sid = info.sid, .cid = info.cid};
    return t;
}

static void
tape_ask(struct tape *t, const void *data, uint32_t len,
         void (*fn)(void *user, const struct iscsi_reply *rep))
{
    struct ctl *ctl = control_ctl(t->job.d->control, t->loop);
    struct lunette_error err;

    if (ctl != NULL && ctl_request(ctl, &t->ev, data, len, fn, t) == 0) {
        t->asked = true;
        return;
    }
    (void)lunette_fail(&err, -ENOTCONN, LUNETTE_DOM_OS, ENOTCONN, "the data plane cannot be asked");
    tape_failed(t, &err);
}

/* ---- the flight recorder -------------------------------------------------------------------- */

static json_t *
tape_pdu(const struct flight_pdu *pdu)
{
    const uint8_t *h = (const void *)&pdu->hdr;
    char hex[2 * ISCSI_BHS_LEN + 1], text[FLIGHT_TEXT_MAX];
    json_t *o = json_object();

    for (unsigned i = 0; i < ISCSI_BHS_LEN; i++)
        (void)snprintf(hex + (size_t)2 * i, 3, "%02x", h[i]);
    flight_text(&pdu->hdr, text);
    say_put(o, "age_us", json_integer((json_int_t)(pdu->ns / 1000)));
    say_put(o, "sent", json_boolean(pdu->tx));
    say_put(o, "text", say_text(text));
    say_put(o, "bhs", json_string(hex));
    return o;
}

static void
tape_on_flight(void *user, const struct iscsi_reply *rep)
{
    struct tape *t = user;
    const uint8_t *at = rep->data, *end = at;
    struct flight_pdu pdu;
    json_t *pdus, *o;

    if (rep->err < 0) {
        tape_failed(t, &rep->why);
        return;
    }
    pdus = json_array();
    end += ipc_reply_data_len(rep);
    while (ipc_flight_next(&at, end, &pdu))
        (void)json_array_append_new(pdus, tape_pdu(&pdu));
    o = json_pack("{s:I,s:i}", "sid", (json_int_t)t->ev.sid, "cid", (int)t->ev.cid);
    say_put(o, "pdus", pdus);
    manage_reply(t->job.call, o);
    tape_free(t);
}

METHOD(session_flight_method)
{
    struct tape *t = tape_new(user, call, params, ISCSI_UEVENT_GET_FLIGHT);

    if (t != NULL)
        tape_ask(t, NULL, 0, tape_on_flight);
}

/* ---- captures ------------------------------------------------------------------------------- */

static void
tape_on_capture(void *user, const struct iscsi_reply *rep)
{
    struct tape *t = user;

    if (rep->err < 0) {
        tape_failed(t, &rep->why);
        return;
    }
    manage_reply(t->job.call,
                 json_pack("{s:I,s:s}", "sid", (json_int_t)t->ev.sid, "path", t->path));
    tape_free(t);
}

static uint64_t
tape_unix_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * LOOP_NS_PER_S + (uint64_t)now.tv_nsec;
}

METHOD(session_capture_method)
{
    struct iscsid *d = user;
    struct tape *t = tape_new(d, call, params, ISCSI_UEVENT_START_CAPTURE);
    struct lunette_error err;
    int64_t seconds = 0, segments = 0;
    bool payload = true;
    int r, n;

    if (t == NULL)
        return;
    r = manage_get_bool(params, "payload", &payload, &err);
    if (r >= 0)
        r = manage_get_int(params, "seconds", MANAGE_OPTIONAL, 1, UINT32_MAX, &seconds, &err);
    if (r >= 0)
        r = manage_get_int(params, "count", MANAGE_OPTIONAL, 1, INT64_MAX, &segments, &err);
    n = snprintf(t->path, sizeof(t->path), "%s/capture-%u.sock", d->cfg.run, t->ev.sid);
    if (r >= 0 && (n < 0 || (size_t)n >= sizeof(t->path)))
        r = lunette_fail(&err, -ENAMETOOLONG, LUNETTE_DOM_USAGE, 0,
                         "%s is too long a path for a socket in it", d->cfg.run);
    if (r < 0) {
        tape_failed(t, &err);
        return;
    }
    t->ev.u.start_capture.unix_ns = tape_unix_ns();
    t->ev.u.start_capture.segments_max = (uint64_t)segments;
    t->ev.u.start_capture.limit_s = (uint32_t)seconds;
    t->ev.u.start_capture.no_payload = !payload;
    t->ev.u.start_capture.path_len = (uint32_t)n;
    tape_ask(t, t->path, (uint32_t)n, tape_on_capture);
}
