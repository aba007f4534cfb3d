/* SPDX-License-Identifier: MIT */
/* lu/sidecar.h - the files beside a LUN's file in which its persistent reservations are kept.
 *
 * A LUN whose own file has the name of another LUN's sidecar would be replaced by text as soon as
 * somebody registers with APTPL, so such a pair is found before any of them is opened.
 */
#ifndef LU_SIDECAR_H
#define LU_SIDECAR_H

#include <limits.h>
#include <stdbool.h>

#include "lu/config.h"

#define LU_SIDECAR_SUFFIX     ".pr"     /* behind the file's name */
#define LU_SIDECAR_NEW_SUFFIX ".pr.new" /* while it is written */

/* Tells whether the file of cfg, which need not be there yet, is named like a sidecar.  base gets
 * the file whose sidecar it would be, as an absolute path.  Symbolic links are followed. */
bool lu_sidecar_base(const struct lu_config *cfg, char base[PATH_MAX]);

/* Tells whether the unit of cfg keeps its reservations beside base. */
bool lu_sidecar_is_of(const struct lu_config *cfg, const char base[PATH_MAX]);

#endif
