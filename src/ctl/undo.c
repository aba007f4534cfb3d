/* SPDX-License-Identifier: MIT */
#include "ctl/undo.h"

#include <assert.h>
#include <errno.h>

static void undo_go_on(struct undo *u);

static void
undo_on_reply(void *user, const struct iscsi_reply *rep)
{
    struct undo *u = user;

    if (rep->err < 0 && rep->err != -ENOENT) /* -ENOENT: it has gone by itself, which is as good */
        log_line(ctl_loop(u->ctl)->log, LOG_LEVEL_WARN, "session %u connection %u: tidying up: %s",
                 rep->sid, rep->cid, rep->why.msg);
    undo_go_on(u);
}

/* Makes request number i of the sequence.  False: this connection or session does not need it. */
static bool
undo_request(const struct undo *u, uint32_t i, struct iscsi_uevent *ev)
{
    const struct undo_conn *c = &u->conns[i / 3];

    *ev = (struct iscsi_uevent){.sid = u->sid};
    if (i == 3 * u->nconns) {
        ev->type = ISCSI_UEVENT_DESTROY_SESSION;
        return u->destroy_session;
    }
    ev->cid = c->cid;
    if (i % 3 == 0) {
        ev->type = ISCSI_UEVENT_STOP_CONN;
        ev->u.stop_conn.how = u->how;
        return c->stop;
    }
    if (i % 3 == 1) {
        ev->type = ISCSI_UEVENT_DESTROY_CONN;
        return c->destroy;
    }
    *ev = (struct iscsi_uevent){.type = ISCSI_UEVENT_TRANSPORT_EP_DISCONNECT, .ep = c->ep};
    return c->ep != 0;
}

static void
undo_go_on(struct undo *u)
{
    struct iscsi_uevent ev;

    while (u->at <= 3 * u->nconns) {
        int r;

        if (!undo_request(u, u->at++, &ev))
            continue;
        r = ctl_request(u->ctl, &ev, NULL, 0, undo_on_reply, u);
        if (r == 0)
            return;           /* undo_on_reply goes on */
        assert(r != -ENOMEM); /* else the data plane is out of reach, and so is the rest */
    }
    u->done(u);
}

void
undo_start(struct undo *u)
{
    assert(u->nconns <= UNDO_CONNS_MAX);
    assert(u->done != NULL);
    u->at = 0;
    undo_go_on(u);
}
