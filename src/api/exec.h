/* SPDX-License-Identifier: MIT */
/* api/exec.h - raw CDBs between the public form and the midlayer's. */
#ifndef API_EXEC_H
#define API_EXEC_H

#include "api/internal.h"

/* The size of the caller's structure: 0, or -EINVAL or -E2BIG with a sentence. */
int api_scsi_check(const struct lunette_scsi *cmd, struct lunette_error *err);

/* Sets x and the two iovecs up from cmd; -EINVAL, -EROFS. */
int api_exec_prepare(const struct lunette_lun *lun, const struct lunette_scsi *cmd,
                     struct iovec iov[2], struct scsi_exec *x);
void api_exec_result(const struct scsi_exec *x, struct lunette_scsi *cmd);

#endif
