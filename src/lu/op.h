/* SPDX-License-Identifier: MIT */
/* lu/op.h - one command of the table in ops.c. */
#ifndef LU_OP_H
#define LU_OP_H

#include <stdint.h>

struct lu_cmd;

#define LU_OP_NO_UA   1u   /* runs although a unit attention is pending */
#define LU_OP_NO_LU   2u   /* runs on a LUN that is not there */
#define LU_OP_EXTENT  4u   /* has LBA and count, which are checked */
#define LU_OP_WRITES  8u   /* changes the medium */
#define LU_OP_PROTECT 16u  /* the upper 3 bits of byte 1 ask for protection information */
#define LU_OP_RSV6    32u  /* allowed although somebody else did RESERVE(6) */
#define LU_OP_FUA     64u  /* byte 1 has FUA at 08h */
#define LU_OP_STANDBY 128u /* runs in ALUA state standby, too */
#define LU_OP_ALUA    256u /* runs in every ALUA state; so do those with LU_OP_NO_UA */

struct lu_op {
    uint8_t opcode;
    uint8_t len;       /* of the CDB */
    int8_t sa;         /* service action, -1: none */
    uint8_t pr;        /* enum lu_pr_class */
    uint16_t flags;    /* LU_OP_* */
    const char *usage; /* CDB usage data without byte 0, len - 1 bytes */
    void (*start)(struct lu_cmd *c);
    void (*finish)(struct lu_cmd *c); /* all data is there; NULL: nothing to do */
    void (*chunk)(struct lu_cmd *c, uint32_t off, const uint8_t *data, uint32_t len);
    /* After finish: does up to LU_SLICE bytes of what the command does at length, and advances
     * c->at.  Returns the bytes; 0: nothing is left.  NULL: finish does all. */
    uint32_t (*slice)(struct lu_cmd *c);
};

#endif
