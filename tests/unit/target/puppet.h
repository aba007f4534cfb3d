/* SPDX-License-Identifier: MIT */
/* A scripted initiator that sends raw PDUs to a target on the same loop and looks at raw PDUs. */
#ifndef TESTS_UNIT_TARGET_PUPPET_H
#define TESTS_UNIT_TARGET_PUPPET_H

#include "tests/test.h"
#include "tests/unit/target/judge.h"

#include "loop/loop.h"
#include "target/target.h"
#include "wire/bhs.h"
#include "wire/pdu.h"
#include "wire/scsi.h"
#include "wire/sense.h"
#include "wire/text.h"

#define IQN       "iqn.2026-11.example:disk"
#define INITIATOR "iqn.2026-11.example:puppet"
#define DATA_MAX  (1u << 20)

#define PING_TIMEOUT_MS 1500
#define HOLE_TIMEOUT_MS 2000

struct world {
    struct loop *loop;
    struct target *target;
    struct sock_addr addr;
};

struct pdu {
    union bhs_any h;
    uint8_t data[DATA_MAX];
    uint32_t len;
};

struct puppet {
    struct world *w;
    int fd;
    bool header_digest, data_digest;
    uint8_t isid[6];
    uint16_t tsih, cid;
    uint32_t cmd_sn, itt;
    uint32_t exp_stat_sn;          /* what every PDU acknowledges */
    bool spoil_header, spoil_data; /* the next digest of that kind is bad */
    uint8_t in[2 * DATA_MAX];
    size_t have;
    struct pdu rx; /* what came last */
    struct judge judge;
};

enum got { GOT_PDU, GOT_CLOSE, GOT_NOTHING };

/* How long a login may take in worlds that are made from now on. */
extern uint32_t world_login_ms;

/* node may be NULL: one RAM LUN of 1 MiB, one of 1 MiB with 4096-byte blocks. */
void world_new(struct world *w, const struct target_node_config *node, uint32_t nodes);
void world_free(struct world *w);
/* For cmocka: *state is such a world of one test. */
int world_setup(void **state);
int world_teardown(void **state);
/* The memory of LUN 0. */
const uint8_t *world_memory(const struct world *w);
void world_turn(struct world *w);

struct puppet *puppet_new(struct world *w, uint8_t isid_last);
void puppet_free(struct puppet *p);

/* Adds padding and digests. */
void puppet_send(struct puppet *p, void *bhs, const void *data, uint32_t len);
void puppet_send_raw(struct puppet *p, const void *bytes, size_t len);
enum got puppet_recv(struct puppet *p);
/* The next PDU, which must be of that opcode. */
struct pdu *puppet_expect(struct puppet *p, uint8_t opcode);
void puppet_expect_close(struct puppet *p);
void puppet_expect_nothing(struct puppet *p);
/* ... whose Reject reason is that. */
void puppet_expect_reject(struct puppet *p, uint8_t reason);

/* A Login Request; text: pairs with their NULs, len bytes. */
void puppet_login_send(struct puppet *p, uint8_t flags, const char *text, size_t len);
/* Class << 8 | detail of the answer. */
uint16_t puppet_login_status(struct puppet *p);
/* The usual login in one step with more keys behind the names; its status. */
uint16_t puppet_login(struct puppet *p, const char *keys, size_t len);
#define KEYS(s) (s), sizeof(s) /* the string's own NUL ends the last pair */
bool puppet_text_has(const struct pdu *pdu, const char *pair);

/* Sends a SCSI command; its ITT.  flags: F R W. */
uint32_t puppet_cmd(struct puppet *p, uint64_t lun, uint8_t flags, const uint8_t *cdb,
                    uint32_t edtl, const void *data, uint32_t len);
/* Waits for the status of the last command; data of Data-In goes to buf at its offset. */
uint8_t puppet_status(struct puppet *p, void *buf, uint32_t *ret_len, struct scsi_sense *ret_sense);
/* The same in one go, for LUN 0. */
uint8_t puppet_do(struct puppet *p, const uint8_t *cdb, uint8_t flags, uint32_t edtl, void *buf,
                  uint32_t buf_len, struct scsi_sense *ret_sense);
/* Takes the unit attentions of LUN 0 and 1. */
void puppet_clear_ua(struct puppet *p);
/* A new connection that is logged in as the first of a session, unit attentions taken. */
struct puppet *puppet_session(struct world *w, const char *keys, size_t len);

#define RD (ISCSI_FLAG_FINAL | ISCSI_CMD_READ)
#define WR (ISCSI_FLAG_FINAL | ISCSI_CMD_WRITE)

#endif
