/* SPDX-License-Identifier: MIT */
/* iscsi/control.c - PDUs of the control plane: login, text, logout, pings of its own. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "iscsi/internal.h"
#include "wire/pdu.h"

static uint8_t
asked(const struct task *t)
{
    return t->ctl.h.opcode & ISCSI_OP_MASK;
}

/* A NOP-Out without a tag is the only request that nobody answers. */
static bool
wants_answer(const struct bhs *h)
{
    return (h->opcode & ISCSI_OP_MASK) != ISCSI_OP_NOP_OUT || get32(h->itt) != ISCSI_TAG_RSVD;
}

/* The control plane's request of that kind that is not over, or NULL. */
static struct task *
find_user_task(const struct conn *c, uint8_t opcode)
{
    for (int i = 0; i < USER_TASKS; i++) {
        if (c->user[i] != NULL && asked(c->user[i]) == opcode)
            return c->user[i];
    }
    return NULL;
}

/* Does hdr go on with the exchange of its kind that there is?  A Login always does; a Text Request
 * that names no Target Transfer Tag begins anew (RFC 7143 11.10.4). */
static bool
goes_on(const struct bhs *hdr)
{
    const union bhs_any *h = (const void *)hdr;

    return (hdr->opcode & ISCSI_OP_MASK) == ISCSI_OP_LOGIN_REQ ||
           get32(h->text_req.ttt) != ISCSI_TAG_RSVD;
}

/* May the control plane send that now?  It may be another program: commands and task management are
 * not its own, and the data plane sends no AHS for it. */
static bool
sendable(const struct conn *c, const struct bhs *hdr)
{
    uint8_t op = hdr->opcode & ISCSI_OP_MASK;

    if (hdr->ahs_words != 0)
        return false;
    if (c->state == CONN_IN_LOGIN)
        return op == ISCSI_OP_LOGIN_REQ;
    return op == ISCSI_OP_NOP_OUT || op == ISCSI_OP_TEXT_REQ || op == ISCSI_OP_LOGOUT_REQ;
}

static int
free_user_slot(const struct conn *c, uint8_t opcode)
{
    int places = opcode == ISCSI_OP_LOGOUT_REQ ? USER_TASKS : USER_TASKS - 1;

    for (int i = 0; i < places; i++) {
        if (c->user[i] == NULL)
            return i;
    }
    return -EBUSY;
}

/* A new task for a request of the control plane. */
static struct task *
new_user_task(struct conn *c, const struct bhs *hdr, struct lunette_error *err)
{
    int slot = wants_answer(hdr) ? free_user_slot(c, hdr->opcode & ISCSI_OP_MASK) : 0;
    struct task *t;

    if (slot < 0) {
        (void)lunette_fail(err, -EBUSY, LUNETTE_DOM_USAGE, 0,
                           "%d requests of the control plane wait for their answers",
                           USER_TASKS - 1);
        return NULL;
    }
    t = iscsi_alloc_task(c->session, c, wants_answer(hdr) ? TASK_USER : TASK_NOP_REPLY);
    if (t == NULL) {
        (void)lunette_fail(err, -EBUSY, LUNETTE_DOM_OS, EBUSY, "no task is free");
        return NULL;
    }
    if (t->kind == TASK_USER)
        c->user[slot] = t;
    t->answered = false;
    memcpy(&t->ctl, hdr, sizeof(t->ctl));
    return t;
}

/* The task for a request: that of the exchange which it goes on with, or a new one.  There is one
 * Login, one Text and one Logout Request at a time (RFC 7143 6.2, 11.10), and several NOP-Outs. */
static struct task *
user_task(struct conn *c, const struct bhs *hdr, struct lunette_error *err)
{
    uint8_t opcode = hdr->opcode & ISCSI_OP_MASK;
    struct task *t = opcode != ISCSI_OP_NOP_OUT ? find_user_task(c, opcode) : NULL;

    if (t != NULL && (!t->answered || (t->next && goes_on(hdr)))) {
        (void)lunette_fail(err, -EBUSY, LUNETTE_DOM_USAGE, 0,
                           "a request of that kind waits for its answer");
        return NULL;
    }
    if (t != NULL && goes_on(hdr))
        return t;
    if (t != NULL)
        iscsi_complete_task(t); /* an exchange that was left in the middle */
    return new_user_task(c, hdr, err);
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
    if (!sendable(c, hdr))
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "a PDU with opcode 0x%02x and %u words of AHS is none that the control "
                            "plane may send now",
                            hdr->opcode, hdr->ahs_words);
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
            if (!t->answered)
                iscsi_complete_task(t);
            return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory for a PDU");
        }
        memcpy(copy, data, len);
    }
    TRACE(pub->loop, send_pdu, pub->cid, hdr->opcode & ISCSI_OP_MASK);
    memcpy(&t->ctl, hdr, sizeof(t->ctl));
    if (t->kind == TASK_USER)
        t->ctl.h.itt = put32(t->pub.itt);
    if (t->cleaning) { /* the transport may still read the data of the PDU before */
        t->next = true;
        t->next_data = copy;
        t->next_len = len;
    } else {
        iscsi_send_user(t, copy, len);
    }
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
    assert(t->kind == TASK_USER);
    if (t->answered)
        return answered_wrongly(c, "the target answered a request twice");
    if (final) {
        iscsi_complete_task(t);
    } else if (c->xmit_task == t) {
        return answered_wrongly(c, "the target answered a request before it had all of it");
    } else {
        list_del(&t->pub.node);
        t->answered = true;
        iscsi_unexpected_over(c, t);
        t->cleaning = c->pub.tt->cleanup_task(&t->pub) == -EINPROGRESS;
        if (!t->cleaning)
            t->started = false;
    }
    return iscsi_to_control_plane(c, &h->h, data, len);
}

void
iscsi_user_login_over(struct conn *c)
{
    struct task *t = find_user_task(c, ISCSI_OP_LOGIN_REQ);

    if (t != NULL)
        iscsi_complete_task(t);
}
