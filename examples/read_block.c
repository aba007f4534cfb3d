/* SPDX-License-Identifier: MIT */
/* read_block URL [OFFSET] - the smallest program: open, read one block, print it, close. */
#include <lunette/lunette.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

int
main(int argc, char **argv)
{
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_ctx *ctx = NULL;
    struct lunette_lun *lun = NULL;
    struct lunette_info info = LUNETTE_INIT(info);
    uint8_t *block = NULL;
    int r;

    if (argc < 2) {
        fprintf(stderr, "usage: read_block URL [OFFSET]\n");
        return 2;
    }
    r = lunette_ctx_new(NULL, &ctx, &err);
    if (r == 0)
        r = lunette_open(ctx, argv[1], LUNETTE_OPEN_RDONLY, &lun, &err);
    if (r == 0) {
        (void)lunette_get_info(lun, &info);
        block = malloc(info.block_size);
        if (block != NULL)
            r = lunette_pread(lun, block, info.block_size,
                              argc > 2 ? strtoull(argv[2], NULL, 0) : 0, &err);
    }
    if (r < 0)
        fprintf(stderr, "read_block: %s\n", err.msg);
    for (uint32_t i = 0; r == 0 && block != NULL && i < info.block_size; i++)
        printf("%02x%s", block[i], i % 32 == 31 ? "\n" : " ");
    free(block);
    lunette_close(lun);
    lunette_ctx_free(ctx);
    return r < 0;
}
