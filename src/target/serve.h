/* SPDX-License-Identifier: MIT */
/* target/serve.h - connections, from when a face has made them. */
#ifndef TARGET_SERVE_H
#define TARGET_SERVE_H

#include <stdbool.h>

struct target;
struct tgt_conn;
struct tgt_face;

/* Whether one more connection may begin; the oldest that does not log in makes room for it.  False:
 * the target stops, or has too many. */
bool tgt_serve_room(struct target *t);

/* Serves c until it ends, after tgt_serve_room.  All of c is zero but the addresses of both ends
 * and what the face has set; face owns it, and frees it when it is asked to. */
void tgt_serve(struct target *t, struct tgt_conn *c, const struct tgt_face *face);

#endif
