/* SPDX-License-Identifier: MIT */
/* tests/conformance/member_offload.h - the engine of a simulated world, for the members that go
 * through one. */
#ifndef TESTS_CONFORMANCE_MEMBER_OFFLOAD_H
#define TESTS_CONFORMANCE_MEMBER_OFFLOAD_H

#include "tests/conformance/conformance.h"

#define CONFORM_OFFLOAD_PATH       "/sim/engine"
#define CONFORM_OFFLOAD_EP_OPTIONS "engine=" CONFORM_OFFLOAD_PATH
#define CONFORM_OFFLOAD_OPTIONS    "transport=offload_session&" CONFORM_OFFLOAD_EP_OPTIONS

/* Those of struct conform_member. */
void conform_offload_begin(struct conform_world *w);
void conform_offload_end(struct conform_world *w);
void conform_offload_record(struct conform_world *w);
void conform_offload_forget(struct conform_world *w);

#endif
