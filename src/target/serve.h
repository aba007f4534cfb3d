/* SPDX-License-Identifier: MIT */
/* target/serve.h - connections from accept on. */
#ifndef TARGET_SERVE_H
#define TARGET_SERVE_H

struct sock_addr;
struct stream;
struct target;

/* Takes s and serves it until it ends, or closes it at once if there are too many.  peer may be
 * NULL. */
void tgt_serve(struct target *t, struct stream *s, const struct sock_addr *peer);

#endif
