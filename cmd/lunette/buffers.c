/* SPDX-License-Identifier: MIT */
#include "cmd/lunette/buffers.h"

#include <stdlib.h>

#define PAGE 4096u

void
buffers_init(struct buffers *b, struct cli *cli, uint64_t n, uint64_t len)
{
    struct lunette_error err = LUNETTE_INIT(err);
    uint64_t all;

    *b = (struct buffers){.cli = cli, .stride = (len + PAGE - 1) / PAGE * PAGE};
    all = n * b->stride;
    if (n == 0 || b->stride == 0 || b->stride > UINT64_MAX / n)
        all = UINT64_MAX; /* more than there is */
    b->memory = xbuffer(all);
    while (b->known < cli->nctx) {
        if (lunette_register(cli->all[b->known], b->memory, (size_t)all, &err) < 0) {
            note("%s: data are copied: %s", cli->cmd->name, err.msg);
            break;
        }
        b->known++;
    }
}

void
buffers_fini(struct buffers *b)
{
    int used = 0;

    while (b->known > 0)
        used |= lunette_unregister(b->cli->all[--b->known], b->memory, NULL);
    if (used == 0)
        free(b->memory);
    b->memory = NULL;
}
