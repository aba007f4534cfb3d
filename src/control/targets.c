/* SPDX-License-Identifier: MIT */
/* control/targets.c - SendTargets, in its turn at the gate, on some loop of the data plane. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/internal.h"

struct control_discovery {
    struct list node; /* of control.discoveries */
    struct control *c;
    struct control_loop *loop; /* NULL: it has not begun, or its loop has gone */
    struct discovery_callbacks cb;
    struct login_packed *packed;
    char what[ISCSI_NAME_MAX + 1];
    struct login_turn turn;
    struct loop_work begin; /* it is its turn, or it has failed */
    struct discovery *discovery;
    bool told;
};

static void
targets_done(void *user, struct discovery_result *res, const struct lunette_error *err)
{
    struct control_discovery *d = user;

    login_gate_leave(&d->turn);
    assert(d->loop != NULL && d->loop->nsessions > 0);
    d->loop->nsessions--;
    d->loop = NULL;
    d->told = true;
    d->cb.done(d->cb.user, res, err); /* d may be gone */
}

static void
targets_fail(struct control_discovery *d, const struct lunette_error *why)
{
    login_gate_leave(&d->turn);
    d->told = true;
    d->cb.done(d->cb.user, NULL, why); /* d may be gone */
}

static int
targets_start(struct control_discovery *d, struct control_loop *l, struct lunette_error *err)
{
    struct discovery_callbacks cb = {
        .done = targets_done, .user = d, .text_timeout_ms = d->cb.text_timeout_ms};
    static const uint8_t none[LOGIN_ISID_LEN];
    struct login_config cfg;
    int r;

    login_unpack(d->packed, &cfg);
    if (memcmp(cfg.isid, none, sizeof(none)) == 0) /* two of the same would end each other */
        login_isid_random(d->c->loop, cfg.isid);
    r = discovery_sendtargets(l->ctl, &cfg, d->what[0] != '\0' ? d->what : NULL, &cb, &d->discovery,
                              err);
    login_config_wipe(&cfg);
    return r;
}

static void
targets_begin(struct loop_work *w)
{
    struct control_discovery *d = container_of(w, struct control_discovery, begin);
    struct control_loop *l = attempt_loop(d->c);
    struct lunette_error why = {.code = 0};

    assert(!d->told && d->discovery == NULL);
    if (l == NULL)
        (void)lunette_fail(&why, -EPIPE, LUNETTE_DOM_OS, EPIPE, "the data plane has gone");
    else if (targets_start(d, l, &why) == 0) {
        d->loop = l;
        l->nsessions++;
        return;
    }
    targets_fail(d, &why);
}

static void
targets_passed(struct login_turn *t)
{
    struct control_discovery *d = container_of(t, struct control_discovery, turn);

    loop_defer(d->c->loop, &d->begin);
}

int
control_discover(struct control *c, const struct login_config *cfg, const char *what,
                 const struct discovery_callbacks *cb, struct control_discovery **ret,
                 struct lunette_error *err)
{
    struct control_discovery *d;

    if (attempt_loop(c) == NULL)
        return lunette_fail(err, -ENOTCONN, LUNETTE_DOM_OS, ENOTCONN,
                            "the data plane is not there (yet)");
    if (what != NULL && strlen(what) > ISCSI_NAME_MAX) /* a part of it would be another's name */
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "the name of the target that is asked for has more than %d bytes",
                            ISCSI_NAME_MAX);
    d = calloc(1, sizeof(*d));
    if (d == NULL || login_pack(cfg, &d->packed) < 0) {
        free(d);
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory for a discovery");
    }
    d->c = c;
    d->cb = *cb;
    if (what != NULL)
        memcpy(d->what, what, strlen(what) + 1);
    login_turn_init(&d->turn, targets_passed);
    loop_work_init(&d->begin, targets_begin);
    list_push_back(&c->discoveries, &d->node);
    if (login_gate_enter(c->gate, &d->turn))
        loop_defer(c->loop, &d->begin);
    *ret = d;
    return 0;
}

void
control_discovery_free(struct control_discovery **pd)
{
    struct control_discovery *d = *pd;

    if (d == NULL)
        return;
    *pd = NULL;
    discovery_free(&d->discovery);
    if (d->loop != NULL)
        d->loop->nsessions--;
    login_gate_leave(&d->turn);
    loop_defer_cancel(&d->begin);
    login_packed_free(&d->packed);
    list_del(&d->node);
    free(d);
}

/* Where another loop is there, it begins again there; else it fails. */
void
targets_lost(struct control_loop *l)
{
    LIST_FOREACH (at, &l->c->discoveries) {
        struct control_discovery *d = container_of(at, struct control_discovery, node);

        if (d->loop != l)
            continue;
        discovery_free(&d->discovery);
        d->loop->nsessions--;
        d->loop = NULL;
        loop_defer(l->c->loop, &d->begin);
    }
}

void
targets_free(struct control *c)
{
    LIST_FOREACH_SAFE (at, &c->discoveries) {
        struct control_discovery *d = container_of(at, struct control_discovery, node);

        control_discovery_free(&d);
    }
}
