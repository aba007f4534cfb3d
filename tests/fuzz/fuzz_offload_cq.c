/* SPDX-License-Identifier: MIT */
/* fuzz_offload_cq.c - a completion ring as a client finds it: its index and its entries.
 *
 * Input: commands that are out, and functions; the index of the producer (4 bytes); entries.  A
 * command ends once, within what it had asked for, and not before it was asked. */
#include "fuzz.h"
#include "offload/take.h"
#include "seam/host.h"
#include "seam/ipc.h"

#define COUNT 16u
#define SLOTS 8u

struct client {
    struct offload_limits lim;
    struct offload_asked asked[SLOTS];
    uint32_t generation[SLOTS]; /* 0: nothing is out */
    struct slots slots;
    struct ring_consumer cq;
};

/* The second use of each slot, of sizes that differ. */
static void
ask_for(struct client *c, unsigned n, uint8_t kind)
{
    uint32_t gen = 0;
    uint16_t slot = 0;

    for (; n > 0 && slots_take(&c->slots, 0, &slot, &gen) == 0; n--) {
        if (gen == 1) {
            CHECK(slots_give(&c->slots, slot));
            CHECK(slots_take(&c->slots, 0, &slot, &gen) == 0);
        }
        c->generation[slot] = gen;
        c->asked[slot] = (struct offload_asked){kind, slot % 2, 0, 0};
        if (kind == OFFLOAD_SQ_COMMAND) {
            c->asked[slot].in_len = slot * 512u;
            c->asked[slot].out_len = slot == 3 ? UINT32_MAX : 0;
        }
    }
}

static void
check_taken(struct client *c, const struct offload_cqe *e)
{
    const struct offload_asked *a;

    CHECK(e->slot < SLOTS && e->generation != 0 && e->generation == c->generation[e->slot]);
    a = &c->asked[e->slot];
    CHECK(e->kind == (a->kind == OFFLOAD_SQ_COMMAND ? OFFLOAD_CQ_DONE : OFFLOAD_CQ_TMF_DONE));
    CHECK(e->sid == a->sid && e->resid_in <= a->in_len && e->resid_out <= a->out_len);
    CHECK(e->sense_len <= SCSI_SENSE_MAX && e->overflow <= 1 && e->state < IPC_SESSION_STATES);
    CHECK(e->host_result <= DID_TIME_OUT && e->result <= SCSI_EH_FAILED && e->info < 1u << 24);
    c->generation[e->slot] = 0;
    CHECK(slots_give(&c->slots, e->slot));
}

static void
take_entries(struct client *c)
{
    enum offload_fault why = OFFLOAD_FINE;
    struct offload_cqe e;

    for (unsigned n = 0;; n++) {
        uint64_t stale = c->slots.stale;
        enum offload_take r = offload_take_cqe(&c->cq, &c->slots, &c->lim, c->asked, &e, &why);

        CHECK(n <= COUNT);
        fuzz_check_text(offload_fault_text(why), 80);
        CHECK((r == OFFLOAD_BROKEN) == (why != OFFLOAD_FINE));
        CHECK(c->slots.stale == stale + (r == OFFLOAD_DROPPED));
        if (r == OFFLOAD_NONE || r == OFFLOAD_BROKEN)
            return;
        if (r == OFFLOAD_TAKEN)
            check_taken(c, &e);
    }
}

void
fuzz_one(const uint8_t *data, size_t len)
{
    size_t bytes = ring_bytes(sizeof(struct offload_cqe), COUNT);
    struct client c = {.lim = {.slots = SLOTS, .arena = 4096}};
    struct ring_shared *sh;

    if (len < 6)
        return;
    sh = aligned_alloc(64, bytes);
    CHECK(sh != NULL && slots_init(&c.slots, SLOTS, true) == 0);
    memset(sh, 0, bytes);
    ring_consumer_init(&c.cq, sh, sizeof(struct offload_cqe), COUNT);
    ask_for(&c, data[0] % (SLOTS + 1), OFFLOAD_SQ_COMMAND);
    ask_for(&c, data[1] % (SLOTS + 1), OFFLOAD_SQ_TMF);
    memcpy(&sh->produced, data + 2, 4);
    len = len - 6 < bytes - sizeof(*sh) ? len - 6 : bytes - sizeof(*sh);
    memcpy((uint8_t *)sh + sizeof(*sh), data + 6, len);
    take_entries(&c);
    slots_fini(&c.slots);
    free(sh);
}
