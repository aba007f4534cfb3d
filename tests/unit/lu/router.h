/* SPDX-License-Identifier: MIT */
/* A fake task router above the device server, a fake store below it, and a loop that takes posts.
 */
#ifndef TESTS_UNIT_LU_ROUTER_H
#define TESTS_UNIT_LU_ROUTER_H

#include "tests/test.h"

#include <pthread.h>
#include <stdatomic.h>

#include "lu/lu.h"
#include "wire/be.h"
#include "wire/scsi.h"
#include "wire/sense.h"

#define STORE_SIZE (1u << 20)
#define STORE_ROOM (2u << 20) /* how far a unit on a fake store may be resized */
#define BLOCK      512u
#define BLOCKS     (STORE_SIZE / BLOCK)

#define PORT_A "iqn.2026-11.example:a,i,0x800000000001"
#define PORT_B "iqn.2026-11.example:b,i,0x800000000002"
#define PORT_C "iqn.2026-11.example:c,i,0x800000000003"

struct fake_store {
    struct lu_store store;
    int fail_read, fail_write, fail_discard, fail_sync; /* -errno, 0: works */
    int fail_next_sync;                                 /* as fail_sync, once */
    int fail_keep;
    char kept[4096];
    size_t kept_len;
    bool no_discard; /* holes cannot be punched */
    unsigned reads, writes, discards, syncs, closes;
    pthread_mutex_t gate; /* held by a test: syncs wait */
    atomic_uint arrived;  /* syncs that have come to it */
};

/* A device of two units: LUN 0 on a fake store, LUN 5 a null disk of 1 TiB with 4096-byte blocks;
 * and nexuses of three ports, whose unit attentions are taken. */
struct world {
    struct loop loop;
    pthread_mutex_t lock; /* of posted */
    struct list posted;
    struct loop_timer *timer; /* that runs in the next turn; NULL: none */
    struct lu_flusher *flusher;
    struct lu_worker worker;
    struct lu_device dev;
    struct fake_store disk;
    struct lu *lu; /* LUN 0 */
    struct lu_nexus *a, *b, *c;
    unsigned completed, released, aborted;
};

/* A command as the fake router has it. */
struct req {
    struct lu_cmd c;
    struct world *w;
    bool completed, released, aborted;
    bool keep; /* the router refuses to abort it */
    void *abort_ctx;
};

int world_setup(void **state);
int world_teardown(void **state);
/* Runs the timer and what was posted to the loop; returns how many there were. */
unsigned world_turn(struct world *w);

/* Begins a command for LUN `lun`; expect: the bytes that the initiator expects. */
void req_begin(struct req *r, struct world *w, struct lu_nexus *n, uint32_t lun, const uint8_t *cdb,
               uint32_t expect);
/* Hands it len bytes of data in pieces, finishes it, and waits until it has completed. */
void req_finish(struct req *r, const void *data, uint32_t len);
/* Its answer: at most size bytes into buf.  Returns how many it has. */
uint32_t req_read(struct req *r, void *buf, uint32_t size);
/* Gives back what it has. */
void req_end(struct req *r);

/* All of it for LUN 0: data of out_len bytes for it, the answer into in[in_size].  Returns the
 * status; sense data into *ret_sense, the length of the answer into *ret_len (each may be NULL). */
uint8_t do_cmd(struct world *w, struct lu_nexus *n, const uint8_t *cdb, const void *out,
               uint32_t out_len, void *in, uint32_t in_size, uint32_t *ret_len,
               struct scsi_sense *ret_sense);
/* ... of which key << 16 | ASC << 8 | ASCQ matters; 0 for GOOD, and the status << 24 for others. */
uint32_t do_code(struct world *w, struct lu_nexus *n, const uint8_t *cdb, const void *out,
                 uint32_t out_len);

/* One pending unit attention of LUN 0, by TEST UNIT READY: ASC << 8 | ASCQ, 0: none. */
uint16_t next_ua(struct world *w, struct lu_nexus *n);

#endif
