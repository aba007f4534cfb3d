/* SPDX-License-Identifier: MIT */
/* api/query.c - questions to a logical unit by task management (RFC 7144), waited for. */
#include <errno.h>
#include <stdlib.h>

#include "api/internal.h"
#include "api/sized.h"

/* The session has it until the answer, also when nobody waits any more. */
struct api_query {
    struct scsi_eh_wait wait;
    enum scsi_eh_result result;
    bool done, left;
};

static void
query_done(struct scsi_eh_wait *w, enum scsi_eh_result r)
{
    struct api_query *q = container_of(w, struct api_query, wait);

    q->result = r;
    q->done = true;
    if (q->left)
        free(q);
}

static int
query_fail(const struct lunette_lun *lun, int r, struct lunette_error *err)
{
    if (r != -EOPNOTSUPP || !api_session_is_up(lun->s))
        return lunette_fail(err, -ENOTCONN, LUNETTE_DOM_CONNECT, ENOTCONN,
                            "query: there is no session that could ask");
    return lunette_fail(err, r, LUNETTE_DOM_SCSI, 0,
                        "query: the target does not answer such questions; they need "
                        "iSCSIProtocolLevel 2, which protocol_level=yes in the URL offers");
}

/* 1, 0, or -errno. */
static int
query_wait(struct lunette_lun *lun, struct api_query *q, uint32_t *ret_info,
           struct lunette_error *err)
{
    int r = api_wait(lun->s->ctx, &q->done, err);

    if (r < 0) {
        q->left = true;
        return r;
    }
    r = q->result == SCSI_EH_SUCCESS ? 1 : q->result == SCSI_EH_NOT_FOUND ? 0 : -EOPNOTSUPP;
    if (ret_info != NULL)
        *ret_info = r == 1 ? q->wait.info : 0;
    free(q);
    return r < 0 ? query_fail(lun, r, err) : r;
}

int
lunette_query(struct lunette_lun *lun, enum lunette_question what, uint32_t *ret_info,
              struct lunette_error *err)
{
    struct api_query *q;
    int r = api_error_check(err);

    if (r < 0)
        return r;
    if (what != LUNETTE_QUERY_TASKS && what != LUNETTE_QUERY_EVENTS)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "query: there is no question %u",
                            (unsigned)what);
    if (lun->dev == NULL)
        return api_no_unit("query", err);
    q = calloc(1, sizeof(*q));
    if (q == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "query: no memory");
    q->wait.done = query_done;
    r = stack_query(lun->dev,
                    what == LUNETTE_QUERY_TASKS ? SCSI_QUERY_TASK_SET : SCSI_QUERY_ASYNC_EVENT,
                    &q->wait);
    if (r == 0)
        return query_wait(lun, q, ret_info, err);
    free(q);
    return query_fail(lun, r, err);
}
