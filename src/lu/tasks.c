/* SPDX-License-Identifier: MIT */
#include "lu/tasks.h"

#include <assert.h>

#include "lu/lu.h"

/* Ends the tasks of a unit: those of n, or everybody's. */
static void
end_tasks_of(struct lu *lu, const struct lu_nexus *n, bool everybody, void *ctx)
{
    LIST_FOREACH_SAFE (i, &lu->tasks) {
        struct lu_cmd *c = container_of(i, struct lu_cmd, link);
        struct lu_nexus *owner = c->nexus;

        assert(c->lu == lu);
        if (owner != n && !everybody)
            continue;
        if (lu->dev->router->abort(c, ctx) && owner != n)
            lu_ua_set(owner, lu, LU_UA_CLEARED);
    }
}

void
lu_abort_task_set(struct lu *lu, const struct lu_nexus *n, void *ctx)
{
    end_tasks_of(lu, n, false, ctx);
}

bool
lu_query_task_set(const struct lu *lu, const struct lu_nexus *n)
{
    LIST_FOREACH (i, &lu->tasks) {
        if (container_of(i, struct lu_cmd, link)->nexus == n)
            return true;
    }
    return false;
}

void
lu_clear_task_set(struct lu *lu, const struct lu_nexus *n, void *ctx)
{
    end_tasks_of(lu, n, true, ctx);
}

static void
reset_unit(struct lu *lu, const struct lu_nexus *n, enum lu_ua ua, void *ctx)
{
    end_tasks_of(lu, n, true, ctx);
    lu->reserved = NULL;
    lu->mode = lu->mode_default;
    lu_ua_all(lu, NULL, ua);
}

void
lu_reset(struct lu *lu, const struct lu_nexus *n, void *ctx)
{
    reset_unit(lu, n, LU_UA_LU_RESET, ctx);
}

void
lu_device_reset(struct lu_device *dev, const struct lu_nexus *n, bool cold, void *ctx)
{
    for (uint32_t i = 0; i < dev->lus_count; i++)
        reset_unit(&dev->lus[i], n, cold ? LU_UA_COLD_RESET : LU_UA_TARGET_RESET, ctx);
}

void
lu_preempt_tasks(struct lu *lu, const struct lu_nexus *victim)
{
    end_tasks_of(lu, victim, false, NULL);
}
