/* SPDX-License-Identifier: MIT */
/* lu/sbc.h - block commands (SBC-3): handlers of the table in ops.c, and the limits that page B0h
 * tells. */
#ifndef LU_SBC_H
#define LU_SBC_H

#include <stdint.h>

struct lu_cmd;

/* Limits in bytes, so that they do not depend on the length of a block. */
#define LU_TRANSFER_MAX   (32u << 20)
#define LU_CAW_MAX        (64u << 10)
#define LU_WRITE_SAME_MAX (64u << 20)
#define LU_UNMAP_MAX      (1u << 29)
#define LU_UNMAP_DESC_MAX 256u

void lu_sbc_read(struct lu_cmd *c);
void lu_sbc_write(struct lu_cmd *c);
void lu_sbc_write_finish(struct lu_cmd *c);
void lu_sbc_verify(struct lu_cmd *c);
void lu_sbc_verify_chunk(struct lu_cmd *c, uint32_t off, const uint8_t *data, uint32_t len);
void lu_sbc_verify_finish(struct lu_cmd *c);
uint32_t lu_sbc_verify_slice(struct lu_cmd *c);
void lu_sbc_write_verify(struct lu_cmd *c);
void lu_sbc_caw(struct lu_cmd *c);
void lu_sbc_caw_finish(struct lu_cmd *c);
void lu_sbc_write_same(struct lu_cmd *c);
void lu_sbc_write_same_finish(struct lu_cmd *c);
uint32_t lu_sbc_write_same_slice(struct lu_cmd *c);
void lu_sbc_unmap(struct lu_cmd *c);
void lu_sbc_unmap_finish(struct lu_cmd *c);
uint32_t lu_sbc_unmap_slice(struct lu_cmd *c);
void lu_sbc_sync_cache(struct lu_cmd *c);
void lu_sbc_prefetch(struct lu_cmd *c);
void lu_sbc_capacity10(struct lu_cmd *c);
void lu_sbc_capacity16(struct lu_cmd *c);
void lu_sbc_lba_status(struct lu_cmd *c);
void lu_sbc_start_stop(struct lu_cmd *c);
void lu_sbc_prevent_allow(struct lu_cmd *c);
void lu_sbc_defects(struct lu_cmd *c);

#endif
