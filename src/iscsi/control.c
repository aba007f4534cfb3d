/* SPDX-License-Identifier: MIT */
/* iscsi/control.c - PDUs of the control plane: login, text, logout, pings of its own. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "iscsi/internal.h"
#include "wire/pdu.h"

/* Which of the control plane's requests has no answer. */
static bool
wants_answer(const struct bhs *h)
{
    return (h->opcode & ISCSI_OP_MASK) != ISCSI_OP_NOP_OUT || get32(h->itt) != ISCSI_TAG_RSVD;
}

static struct task *
user_task(struct conn *c, const struct bhs *hdr, struct lunette_error *err)
{
    struct task *t = c->user;

    if (t != NULL && !c->user_answered) {
        (void)lunette_fail(err, -EBUSY, LUNETTE_DOM_USAGE, 0,
                           "a request of the control plane waits for its answer");
        return NULL;
    }
    if (t != NULL && (t->ctl.h.opcode & ISCSI_OP_MASK) != (hdr->opcode & ISCSI_OP_MASK)) {
        iscsi_complete_task(t); /* an exchange that was left in the middle */
        t = NULL;
    }
    if (t == NULL)
        t = iscsi_alloc_task(c->session, c, wants_answer(hdr) ? TASK_USER : TASK_NOP_REPLY);
    if (t == NULL)
        (void)lunette_fail(err, -EBUSY, LUNETTE_DOM_OS, EBUSY, "no task is free");
    return t;
}

int
iscsi_conn_send_pdu(struct iscsi_conn *pub, const struct bhs *hdr, const void *data, uint32_t len,
                    struct lunette_error *err)
{
    struct conn *c = to_conn(pub);
    struct task *t;
    void *copy = NULL;

    if (c->suspended || c->failing)
        return lunette_fail(err, -ENOTCONN, LUNETTE_DOM_CONNECT, 0, "%s",
                            c->why.code != 0 ? c->why.msg : "the connection is down");
    if (len > pub->max_xmit_dlength)
        return lunette_fail(err, -EMSGSIZE, LUNETTE_DOM_USAGE, 0,
                            "%u bytes are more than the target takes in one PDU (%u)", len,
                            pub->max_xmit_dlength);
    t = user_task(c, hdr, err);
    if (t == NULL)
        return -EBUSY;
    if (len > 0) {
        copy = malloc(len);
        if (copy == NULL) {
            if (c->user != t)
                iscsi_complete_task(t);
            return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory for a PDU");
        }
        memcpy(copy, data, len);
    }
    TRACE(pub->loop, send_pdu, pub->cid, hdr->opcode & ISCSI_OP_MASK);
    free(t->user_data);
    t->user_data = copy;
    memcpy(&t->ctl, hdr, sizeof(t->ctl));
    if (t->kind == TASK_USER) {
        t->ctl.h.itt = put32(t->pub.itt);
        c->user = t;
        c->user_answered = false;
    }
    iscsi_queue_mgmt(t, copy, len);
    return 0;
}

/* ---- answers ---- */

static int
answered_wrongly(struct conn *c, const char *why)
{
    iscsi_conn_failure(&c->pub, ISCSI_ERR_PROTO, why);
    return -EPROTO;
}

int
iscsi_to_control_plane(struct conn *c, const struct bhs *h, const void *data, uint32_t len)
{
    struct session *s = c->session;

    TRACE(c->pub.loop, iscsi_recv_pdu, c->pub.cid, pdu_opcode(h));
    s->ev->recv_pdu(s->ev_user, &c->pub, h, data, len);
    return 0;
}

int
iscsi_user_answer(struct conn *c, struct task *t, const union bhs_any *h, const void *data,
                  uint32_t len, bool final)
{
    if (c->user == t && c->user_answered)
        return answered_wrongly(c, "the target answered a request twice");
    if (final) {
        iscsi_complete_task(t);
    } else if (c->xmit_task == t || c->pub.tt->cleanup_task(&t->pub) == -EINPROGRESS) {
        if (c->xmit_task != t)
            iscsi_complete_cleaning(t);
        return answered_wrongly(c, "the target answered a request before it had all of it");
    } else {
        t->started = false;
        list_del(&t->pub.node);
        c->user_answered = true;
    }
    return iscsi_to_control_plane(c, &h->h, data, len);
}
