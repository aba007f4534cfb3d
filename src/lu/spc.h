/* SPDX-License-Identifier: MIT */
/* lu/spc.h - primary commands (SPC-4): handlers of the table in ops.c. */
#ifndef LU_SPC_H
#define LU_SPC_H

struct lu_cmd;

void lu_spc_inquiry(struct lu_cmd *c);
void lu_spc_request_sense(struct lu_cmd *c);
void lu_spc_report_luns(struct lu_cmd *c);
void lu_spc_test_unit_ready(struct lu_cmd *c);
void lu_spc_reserve6(struct lu_cmd *c);
void lu_spc_send_diagnostic(struct lu_cmd *c);
void lu_spc_release6(struct lu_cmd *c);
void lu_spc_rtpg(struct lu_cmd *c);
void lu_spc_report_tmfs(struct lu_cmd *c);

#endif
