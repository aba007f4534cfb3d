/* SPDX-License-Identifier: MIT */
/* A scripted initiator over RDMA: it sends raw messages to a target on the same loop, through a
 * fake device, and looks at raw messages. */
#ifndef TESTS_UNIT_TARGET_ISER_PUPPET_H
#define TESTS_UNIT_TARGET_ISER_PUPPET_H

#include "tests/test.h"
#include "tests/unit/target/fake_rnic.h"

#include "loop/loop.h"
#include "target/target.h"
#include "wire/bhs.h"
#include "wire/iser.h"
#include "wire/pdu.h"
#include "wire/scsi.h"
#include "wire/sense.h"

#define IQN       "iqn.2026-11.example:disk"
#define INITIATOR "iqn.2026-11.example:puppet"

#define LUN_SIZE (4u << 20)
#define MEM_SIZE (2u << 20) /* of the initiator, opened to the target */
#define MEM_RKEY 0x1100u    /* ... by a region; RDMA Reads and Writes */
#define WIN_RKEY 0x2200u    /* ... and by a window */

#define RD (ISCSI_FLAG_FINAL | ISCSI_CMD_READ)
#define WR (ISCSI_FLAG_FINAL | ISCSI_CMD_WRITE)

struct iworld {
    struct loop *loop;
    struct target *target;
    struct fake_rnic rnic;
    struct sock_addr addr;
    const char *log_has; /* lines that have this are counted */
    unsigned log_count;
    struct log log;
};

/* set: of the one target; may be NULL. */
void iworld_new(struct iworld *w, const struct target_config *like,
                const struct target_key_value *set, uint32_t set_count);
void iworld_free(struct iworld *w);
void iworld_turns(struct iworld *w, unsigned n);

struct ipuppet {
    struct iworld *w;
    struct fake_ep *ep;
    uint8_t isid[6];
    uint32_t cmd_sn, itt, exp_stat_sn;
    bool nobody;  /* its login names no target */
    uint8_t *mem; /* MEM_SIZE bytes */
    struct fake_message rx;
    struct iser_pdu pdu; /* in rx */
    const union bhs_any *h;
};

/* Connecting; flags: of the private data. */
struct ipuppet *ipuppet_begin(struct iworld *w, uint8_t flags);
/* Connected. */
struct ipuppet *ipuppet_new(struct iworld *w, uint8_t flags);
/* Logged in, unit attentions taken, memory opened. */
struct ipuppet *ipuppet_session(struct iworld *w, uint8_t flags, const char *keys, size_t len);
#define KEYS(s) (s), sizeof(s)
void ipuppet_free(struct ipuppet *p);

/* A message with that header; stags may be NULL. */
void ipuppet_send(struct ipuppet *p, const struct iser_stag *write, const struct iser_stag *read,
                  void *bhs, const void *data, uint32_t len);
uint16_t ipuppet_login(struct ipuppet *p, const char *session, const char *keys, size_t len);

/* Sends a SCSI command to LUN 0; its ITT. */
uint32_t ipuppet_cmd(struct ipuppet *p, uint8_t flags, const uint8_t *cdb, uint32_t edtl,
                     const struct iser_stag *write, const struct iser_stag *read, const void *data,
                     uint32_t len);
/* A write whose data are in p->mem at off, or a read into it, with the region. */
uint32_t ipuppet_write(struct ipuppet *p, uint64_t lba, uint32_t bytes, uint32_t off);
uint32_t ipuppet_read(struct ipuppet *p, uint64_t lba, uint32_t bytes, uint32_t off);

/* The next message of the target; false: none comes. */
bool ipuppet_recv(struct ipuppet *p);
void ipuppet_expect(struct ipuppet *p, uint8_t opcode);
/* The answer of a command: its status. */
uint8_t ipuppet_status(struct ipuppet *p, uint32_t itt);
/* The target has closed, and has said why. */
void ipuppet_expect_end(struct ipuppet *p);
/* Says that a line with these words is due from now on, and that it has come. */
void iworld_expect_log(struct iworld *w, const char *words);
void iworld_check_log(struct iworld *w);
/* Another initiator is served. */
void iworld_lives(struct iworld *w);

#endif
