/* SPDX-License-Identifier: MIT */
/* The commands of the device server as one table.  It dispatches, it says which reservations stop a
 * command, and it is what REPORT SUPPORTED OPERATION CODES shows.  Entries of one opcode lie
 * together. */
#include "lu/cmd.h"

#define W  TGT_OP_WRITES
#define E  TGT_OP_EXTENT
#define P  TGT_OP_PROTECT
#define F  TGT_OP_FUA
#define R6 TGT_OP_RSV6

#define ALLOWED TGT_PR_ALLOWED
#define READS   TGT_PR_READS
#define WRITES  TGT_PR_WRITES

/* clang-format off */
const struct tgt_op tgt_ops[] = {
    /* opcode len sa PR flags usage from byte 1 on, handlers */
    {0x28, 10, -1, READS, E | P | F, "\x1a\xff\xff\xff\xff\x1f\xff\xff\x04", tgt_sbc_read, NULL, NULL},
    {0x2a, 10, -1, WRITES, E | P | F | W, "\x1a\xff\xff\xff\xff\x1f\xff\xff\x04", tgt_sbc_write, tgt_sbc_write_finish, NULL},
    {0x88, 16, -1, READS, E | P | F, "\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x1f\x04", tgt_sbc_read, NULL, NULL},
    {0x8a, 16, -1, WRITES, E | P | F | W, "\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x1f\x04", tgt_sbc_write, tgt_sbc_write_finish, NULL},
    {0xa8, 12, -1, READS, E | P | F, "\x1a\xff\xff\xff\xff\xff\xff\xff\xff\x1f\x04", tgt_sbc_read, NULL, NULL},
    {0xaa, 12, -1, WRITES, E | P | F | W, "\x1a\xff\xff\xff\xff\xff\xff\xff\xff\x1f\x04", tgt_sbc_write, tgt_sbc_write_finish, NULL},
    {0x08, 6, -1, READS, E, "\x1f\xff\xff\xff\x04", tgt_sbc_read, NULL, NULL},
    {0x0a, 6, -1, WRITES, E | W, "\x1f\xff\xff\xff\x04", tgt_sbc_write, tgt_sbc_write_finish, NULL},
    {0x00, 6, -1, ALLOWED, 0, "\x00\x00\x00\x00\x04", tgt_spc_test_unit_ready, NULL, NULL},
    {0x03, 6, -1, ALLOWED, TGT_OP_NO_UA | TGT_OP_NO_LU | R6, "\x01\x00\x00\xff\x04", tgt_spc_request_sense, NULL, NULL},
    {0x12, 6, -1, ALLOWED, TGT_OP_NO_UA | TGT_OP_NO_LU | R6, "\x01\xff\xff\xff\x04", tgt_spc_inquiry, NULL, NULL},
    {0xa0, 12, -1, ALLOWED, TGT_OP_NO_UA | TGT_OP_NO_LU | R6, "\x00\xff\x00\x00\x00\xff\xff\xff\xff\x00\x04", tgt_spc_report_luns, NULL, NULL},
    {0x15, 6, -1, WRITES, 0, "\x11\x00\x00\xff\x04", tgt_mode_select, tgt_mode_select_finish, NULL},
    {0x55, 10, -1, WRITES, 0, "\x11\x00\x00\x00\x00\x00\xff\xff\x04", tgt_mode_select, tgt_mode_select_finish, NULL},
    {0x1a, 6, -1, READS, 0, "\x08\xff\xff\xff\x04", tgt_mode_sense, NULL, NULL},
    {0x5a, 10, -1, READS, 0, "\x18\xff\xff\x00\x00\x00\xff\xff\x04", tgt_mode_sense, NULL, NULL},
    {0x16, 6, -1, ALLOWED, 0, "\x00\x00\x00\x00\x04", tgt_spc_reserve6, NULL, NULL},
    {0x17, 6, -1, ALLOWED, R6, "\x00\x00\x00\x00\x04", tgt_spc_release6, NULL, NULL},
    {0x1b, 6, -1, ALLOWED, 0, "\x01\x00\x0f\xf7\x04", tgt_sbc_start_stop, NULL, NULL},
    {0x1e, 6, -1, ALLOWED, 0, "\x00\x00\x00\x03\x04", tgt_sbc_prevent_allow, NULL, NULL},
    {0x25, 10, -1, ALLOWED, R6, "\x00\xff\xff\xff\xff\x00\x00\x01\x04", tgt_sbc_capacity10, NULL, NULL},
    {0x2e, 10, -1, WRITES, E | P | W, "\x16\xff\xff\xff\xff\x1f\xff\xff\x04", tgt_sbc_write_verify, tgt_sbc_write_finish, NULL},
    {0xae, 12, -1, WRITES, E | P | W, "\x16\xff\xff\xff\xff\xff\xff\xff\xff\x1f\x04", tgt_sbc_write_verify, tgt_sbc_write_finish, NULL},
    {0x8e, 16, -1, WRITES, E | P | W, "\x16\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x1f\x04", tgt_sbc_write_verify, tgt_sbc_write_finish, NULL},
    {0x2f, 10, -1, READS, E | P, "\x16\xff\xff\xff\xff\x1f\xff\xff\x04", tgt_sbc_verify, tgt_sbc_verify_finish, tgt_sbc_verify_chunk},
    {0xaf, 12, -1, READS, E | P, "\x16\xff\xff\xff\xff\xff\xff\xff\xff\x1f\x04", tgt_sbc_verify, tgt_sbc_verify_finish, tgt_sbc_verify_chunk},
    {0x8f, 16, -1, READS, E | P, "\x16\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x1f\x04", tgt_sbc_verify, tgt_sbc_verify_finish, tgt_sbc_verify_chunk},
    {0x34, 10, -1, READS, E, "\x02\xff\xff\xff\xff\x1f\xff\xff\x04", tgt_sbc_prefetch, NULL, NULL},
    {0x90, 16, -1, READS, E, "\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x1f\x04", tgt_sbc_prefetch, NULL, NULL},
    {0x35, 10, -1, WRITES, E, "\x02\xff\xff\xff\xff\x1f\xff\xff\x04", tgt_sbc_sync_cache, NULL, NULL},
    {0x91, 16, -1, WRITES, E, "\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x1f\x04", tgt_sbc_sync_cache, NULL, NULL},
    {0x37, 10, -1, READS, 0, "\x00\x1f\x00\x00\x00\x00\xff\xff\x04", tgt_sbc_defects, NULL, NULL},
    {0xb7, 12, -1, READS, 0, "\x1f\xff\xff\xff\xff\xff\xff\xff\xff\x00\x04", tgt_sbc_defects, NULL, NULL},
    {0x41, 10, -1, WRITES, E | P | W, "\x1a\xff\xff\xff\xff\x1f\xff\xff\x04", tgt_sbc_write_same, tgt_sbc_write_same_finish, NULL},
    {0x93, 16, -1, WRITES, E | P | W, "\x1b\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x1f\x04", tgt_sbc_write_same, tgt_sbc_write_same_finish, NULL},
    {0x42, 10, -1, WRITES, W, "\x01\x00\x00\x00\x00\x1f\xff\xff\x04", tgt_sbc_unmap, tgt_sbc_unmap_finish, NULL},
    {0x89, 16, -1, WRITES, E | P | W | F, "\x1a\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\xff\x1f\x04", tgt_sbc_caw, tgt_sbc_caw_finish, NULL},
    {0x5e, 10, 0, ALLOWED, 0, "\x00\x00\x00\x00\x00\x00\xff\xff\x04", tgt_pr_in, NULL, NULL},
    {0x5e, 10, 1, ALLOWED, 0, "\x01\x00\x00\x00\x00\x00\xff\xff\x04", tgt_pr_in, NULL, NULL},
    {0x5e, 10, 2, ALLOWED, 0, "\x02\x00\x00\x00\x00\x00\xff\xff\x04", tgt_pr_in, NULL, NULL},
    {0x5e, 10, 3, ALLOWED, 0, "\x03\x00\x00\x00\x00\x00\xff\xff\x04", tgt_pr_in, NULL, NULL},
    {0x5f, 10, 0, ALLOWED, 0, "\x00\x00\x00\x00\xff\xff\xff\xff\x04", tgt_pr_out, tgt_pr_out_finish, NULL},
    {0x5f, 10, 1, ALLOWED, 0, "\x01\xff\x00\x00\xff\xff\xff\xff\x04", tgt_pr_out, tgt_pr_out_finish, NULL},
    {0x5f, 10, 2, ALLOWED, 0, "\x02\xff\x00\x00\xff\xff\xff\xff\x04", tgt_pr_out, tgt_pr_out_finish, NULL},
    {0x5f, 10, 3, ALLOWED, 0, "\x03\x00\x00\x00\xff\xff\xff\xff\x04", tgt_pr_out, tgt_pr_out_finish, NULL},
    {0x5f, 10, 4, ALLOWED, 0, "\x04\xff\x00\x00\xff\xff\xff\xff\x04", tgt_pr_out, tgt_pr_out_finish, NULL},
    {0x5f, 10, 5, ALLOWED, 0, "\x05\xff\x00\x00\xff\xff\xff\xff\x04", tgt_pr_out, tgt_pr_out_finish, NULL},
    {0x5f, 10, 6, ALLOWED, 0, "\x06\x00\x00\x00\xff\xff\xff\xff\x04", tgt_pr_out, tgt_pr_out_finish, NULL},
    {0x9e, 16, 0x10, ALLOWED, R6, "\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x04", tgt_sbc_capacity16, NULL, NULL},
    {0x9e, 16, 0x12, READS, 0, "\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x04", tgt_sbc_lba_status, NULL, NULL},
    {0xa3, 12, 0x0a, ALLOWED, R6, "\xea\x00\x00\x00\x00\xff\xff\xff\xff\x00\x04", tgt_spc_rtpg, NULL, NULL},
    {0xa3, 12, 0x0c, READS, 0, "\x0c\x87\xff\xff\xff\xff\xff\xff\xff\x00\x04", tgt_spc_report_opcodes, NULL, NULL},
    {0xa3, 12, 0x0d, READS, 0, "\x0d\x80\x00\x00\x00\xff\xff\xff\xff\x00\x04", tgt_spc_report_tmfs, NULL, NULL},
};
/* clang-format on */

const unsigned tgt_ops_count = sizeof(tgt_ops) / sizeof(tgt_ops[0]);
