/* SPDX-License-Identifier: MIT */
/* cmd/lunette/buffers.h - the buffers of a command that moves much: one piece of memory, which is
 * registered for every context, so that transports which can need not copy. */
#ifndef CMD_LUNETTE_BUFFERS_H
#define CMD_LUNETTE_BUFFERS_H

#include "cmd/lunette/cli.h"

struct buffers {
    struct cli *cli;
    char *memory;
    uint64_t stride; /* bytes from one to the next */
    int known;       /* to the first of so many contexts */
};

/* Makes n buffers of len bytes each, neither of them 0, zeroed, on pages of their own.  Where a
 * context cannot register them, which is told, data are copied.  Without memory the program exits.
 */
void buffers_init(struct buffers *b, struct cli *cli, uint64_t n, uint64_t len);

static inline char *
buffers_at(const struct buffers *b, uint64_t i)
{
    return b->memory + i * b->stride;
}

/* No request uses them; where one does all the same, they stay. */
void buffers_fini(struct buffers *b);

#endif
