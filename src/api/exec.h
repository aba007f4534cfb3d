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
/* Sends x and waits for its end.  0, and x->result is set; or -errno: x could not be sent, or, with
 * a sentence, the loop cannot run. */
int api_exec_run(struct lunette_lun *lun, struct scsi_exec *x, struct lunette_error *err);

/* For a call that changes the unit: 0; -EROFS; or -EINVAL for flags that it does not know. */
int api_refuse_write(const struct lunette_lun *lun, uint32_t unknown_flags, const char *what,
                     struct lunette_error *err);

void api_exec_result(const struct scsi_exec *x, struct lunette_scsi *cmd);

#endif
