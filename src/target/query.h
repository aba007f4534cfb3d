/* SPDX-License-Identifier: MIT */
/* target/query.h - the functions of RFC 7144 6 that only ask: QUERY TASK, QUERY TASK SET, QUERY
 * ASYNCHRONOUS EVENT. */
#ifndef TARGET_QUERY_H
#define TARGET_QUERY_H

#include <stdint.h>

struct lu;
struct tgt_tmf;

/* Returns the response code for t, which is about lu (NULL: there is none), and sets t->info. */
uint8_t tgt_query(struct tgt_tmf *t, const struct lu *lu);

#endif
