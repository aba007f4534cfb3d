/* SPDX-License-Identifier: MIT */
#include "target/faults.h"

#include "base/list.h"
#include "target/hook.h"
#include "wire/scsi.h"

/* Whether this is an n-th of what is counted; every 0: nothing is counted. */
static bool
nth(uint64_t *count, uint32_t every)
{
    return every != 0 && ++*count % every == 0;
}

static uint32_t
strike_command(struct tgt_faults *f)
{
    const struct target_faults *o = &f->orders;
    uint64_t n;

    if (o->busy_every == 0 && o->task_set_full_every == 0)
        return 0;
    n = ++f->commands;
    if (o->busy_every != 0 && n % o->busy_every == 0)
        return SCSI_BUSY;
    if (o->task_set_full_every != 0 && n % o->task_set_full_every == 0)
        return SCSI_TASK_SET_FULL;
    return 0;
}

static uint32_t
strike(struct tgt_hook *h, enum tgt_hook_point at, void *arg)
{
    struct tgt_faults *f = container_of(h, struct tgt_faults, hook);
    const struct target_faults *o = &f->orders;
    uint64_t *pdus = arg;
    const uint8_t *cdb = arg;

    switch (at) {
    case TGT_HOOK_RECEIVED:
        return o->drop_after_pdus != 0 && ++*pdus >= o->drop_after_pdus;
    case TGT_HOOK_LOGIN:
        return o->mute_login ? TGT_HOOK_NEVER : o->refuse_login;
    case TGT_HOOK_NOP:
        return o->mute_nop;
    case TGT_HOOK_TMF:
        return o->mute_tmf;
    case TGT_HOOK_COMMAND:
        return strike_command(f);
    case TGT_HOOK_RESPONSE:
        return o->mute && cdb[0] == o->mute_opcode ? TGT_HOOK_NEVER : o->response_delay_ms;
    case TGT_HOOK_HEADER:
        return nth(&f->pdus, o->corrupt_header_every);
    case TGT_HOOK_DATA_IN:
        return nth(&f->data_in, o->corrupt_data_in_every);
    case TGT_HOOK_WINDOW:
        return o->shut_window;
    }
    return 0;
}

struct tgt_hook *
tgt_faults_set(struct tgt_faults *f, const struct target_faults *orders)
{
    f->hook.strike = strike;
    f->orders = orders != NULL ? *orders : (struct target_faults){0};
    return orders != NULL ? &f->hook : NULL;
}
