/* SPDX-License-Identifier: MIT */
/* target/router.h - what the device server calls in the target (lu/lu.h). */
#ifndef TARGET_ROUTER_H
#define TARGET_ROUTER_H

#include "lu/lu.h"

extern const struct lu_router tgt_router;

#endif
