/* SPDX-License-Identifier: MIT */
/* tests/unit/fake_ipc.h - a data plane that keeps the requests, and answers and sends events when
 * it is told to.
 */
#ifndef TESTS_FAKE_IPC_H
#define TESTS_FAKE_IPC_H

#include "tests/unit/fake_loop.h"

#include "seam/ipc.h"

#define FAKE_IPC_MAX 64

struct fake_ipc {
    struct ipc ipc;
    struct iscsi_uevent got[FAKE_IPC_MAX];
    char data[FAKE_IPC_MAX][512]; /* what came with each, with a NUL behind it */
    uint32_t data_len[FAKE_IPC_MAX];
    bool answered[FAKE_IPC_MAX];
    unsigned ngot;
    int fail; /* -errno of the next request, which is not taken */
    uint64_t seq;
};

static inline int
fake_ipc_request(struct ipc *ipc, struct iscsi_uevent *ev, const void *data, uint32_t data_len)
{
    struct fake_ipc *f = container_of(ipc, struct fake_ipc, ipc);
    int r = f->fail;

    f->fail = 0;
    if (r < 0)
        return r;
    assert_true(f->ngot < FAKE_IPC_MAX);
    assert_true(data_len < sizeof(f->data[0]));
    if (data_len > 0)
        memcpy(f->data[f->ngot], data, data_len);
    f->data_len[f->ngot] = data_len;
    ev->seq = ++f->seq;
    f->got[f->ngot++] = *ev;
    return 0;
}

static inline void
fake_ipc_init(struct fake_ipc *f)
{
    static const struct ipc_ops ops = {.request = fake_ipc_request};

    *f = (struct fake_ipc){.ipc.ops = &ops};
}

/* Answers request number i (0: the first). */
static inline void
fake_ipc_answer(struct fake_ipc *f, unsigned i, int err)
{
    struct iscsi_reply rep = {.type = f->got[i].type, .seq = f->got[i].seq, .err = err};

    assert_true(i < f->ngot);
    assert_false(f->answered[i]);
    f->answered[i] = true;
    rep.sid = f->got[i].sid;
    rep.cid = f->got[i].cid;
    f->ipc.ev->reply(f->ipc.ev_user, &rep);
}

static inline void
fake_ipc_event(struct fake_ipc *f, const struct iscsi_kevent *ev, const void *data)
{
    f->ipc.ev->event(f->ipc.ev_user, ev, data);
}

#endif
