/* SPDX-License-Identifier: MIT */
/* tests/sim/lunette_sim_reserve.c - a program that reserves its LUNs: what it has reserved once is
 * its own however often the connection is lost, since a session comes back with its ISID, which is
 * the port that the target knows the holder by.  The program is never refused.  It says the ISID in
 * its URLs, so that a session that it closes and opens again is that of the same port.
 *
 * All that holds for a target that stays: ls_plan.reserves says so.
 */
#include <errno.h>

#include "tests/sim/lunette_sim.h"

#define KEY  0x6c756e6574746531u
#define TYPE LUNETTE_PR_WRITE_EXCLUSIVE_REGISTRANTS_ONLY

#define BACK_MS 60000 /* in which everything comes back */

static bool
is_ready(const struct ls_handle *h)
{
    return h->lun != NULL && !h->closing && !ls_handle_leaves(h);
}

/* Each command is sent once, as nobody can tell whether it is safe to send it again. */
static bool
may_fail(const struct ls_world *w, int err)
{
    return err == -ENOLINK || err == -ENOTCONN || err == -ETIMEDOUT || err == -EBUSY ||
           (err == -EIO && w->plan.spoils); /* its data came in spoiled */
}

static void
reserve(struct ls_world *w, struct ls_handle *h)
{
    struct lunette_error err = LUNETTE_INIT(err);

    h->reserve_tried = true;
    if (lunette_pr_register(h->lun, 0, KEY, 0, &err) == 0 &&
        lunette_pr_reserve(h->lun, KEY, TYPE, &err) == 0) {
        h->reserved = true;
        LS_COUNT(reserved, 1);
    } else if (!may_fail(w, err.code)) {
        ls_fail(w, "LUN %u cannot be reserved: %s", h->index, err.msg);
    }
    ls_say(w, "LUN %u is reserved: %s", h->index, h->reserved ? "yes" : err.msg);
    while (ls_io_poll(w) > 0) /* nobody has asked for those that ended meanwhile */
        continue;
}

void
ls_reserve_some(struct ls_world *w)
{
    if (!w->plan.reserves || ls_ctl_is_away(w))
        return;
    for (uint32_t i = 0; i < w->plan.luns; i++) {
        if (is_ready(&w->handle[i]) && !w->handle[i].reserve_tried)
            reserve(w, &w->handle[i]);
    }
}

static bool
all_are_back(struct ls_world *w)
{
    for (uint32_t i = 0; i < w->plan.luns; i++) {
        if (!ls_session_runs(w->handle[i].se))
            return false;
    }
    return ls_handles_up(w);
}

/* The last connections may be lost while they are asked: a session that nobody waits for fails at
 * once what is asked meanwhile, and comes back all the same. */
static void
read_reservation(struct ls_world *w, const struct ls_handle *h, struct lunette_pr_reservation *ret)
{
    struct lunette_error err = LUNETTE_INIT(err);

    for (uint32_t tries = 0; lunette_pr_read_reservation(h->lun, ret, &err) < 0; tries++) {
        if ((err.code != -ENOLINK && err.code != -ENOTCONN) || tries >= w->plan.nfaults)
            ls_fail(w, "LUN %u does not tell its reservation: %s", h->index, err.msg);
        if (!ls_world_until(w, all_are_back, BACK_MS))
            ls_fail(w, "LUN %u does not come back to tell its reservation", h->index);
    }
}

void
ls_reserve_check(struct ls_world *w)
{
    for (uint32_t i = 0; i < w->plan.luns; i++) {
        struct lunette_pr_reservation pr = LUNETTE_INIT(pr);
        const struct ls_handle *h = &w->handle[i];

        if (!h->reserved)
            continue;
        read_reservation(w, h, &pr);
        if (pr.key != KEY || pr.type != TYPE)
            ls_fail(w, "LUN %u is not reserved for us any more (key %llx, type %d)", i,
                    (unsigned long long)pr.key, (int)pr.type);
    }
}
