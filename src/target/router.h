/* SPDX-License-Identifier: MIT */
/* target/router.h - what the device server asks of the target: lu/lu.h. */
#ifndef TARGET_ROUTER_H
#define TARGET_ROUTER_H

#include "lu/lu.h"

extern const struct lu_router tgt_router;

#endif
