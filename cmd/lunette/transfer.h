/* SPDX-License-Identifier: MIT */
/* cmd/lunette/transfer.h - moves bytes from one end to the other, many requests at a time. */
#ifndef CMD_LUNETTE_TRANSFER_H
#define CMD_LUNETTE_TRANSFER_H

#include "cmd/lunette/end.h"
#include "cmd/lunette/progress.h"

#define TRANSFER_BS_MAX    (16u << 20)
#define TRANSFER_DEPTH_MAX 1024u
#define BLOCK_MAX          65536u /* the largest logical block that we deal with */

struct transfer {
    struct cli *cli;
    struct end *src, *dst;
    uint64_t src_offset, dst_offset; /* dst_offset is a multiple of the destination's block */
    uint64_t length;                 /* UINT64_MAX: up to the end of the stream */
    uint64_t bs, depth;
    bool sparse; /* holes and runs of zeroes are not written as data */
    bool pad;    /* a short last block is filled up with zeroes; otherwise the rest of the block is
                    kept */
    struct progress *progress;
    uint64_t before; /* bytes that an earlier run has copied: for the progress and the record */
    /* Called before the requests that are under way are waited for, when the transfer does not get
     * to its end; NULL: not interested. */
    void (*stopped)(struct transfer *t, int code);

    /* results */
    uint64_t done;   /* bytes of the source that have been moved or skipped */
    uint64_t mark;   /* all before that is written; less than done where some are still under way */
    uint64_t zeroes; /* of them, not written as data */
    uint32_t padded; /* bytes added to the last block */
};

/* Runs the transfer.  Returns 0, or an exit code after printing the reason; 128 + signal when it
 * was interrupted. */
int transfer_run(struct transfer *t);

/* Writes len bytes within one block of a LUN, keeping the rest of the block.  Exit code. */
int transfer_patch_block(struct end *dst, const void *data, size_t len, uint64_t offset);

/* Reads length bytes of both ends and compares them.  Returns 0, EXIT_VERIFY with the offset of the
 * first difference in *ret_offset, or another exit code after printing the reason. */
int transfer_compare(struct transfer *t, uint64_t *ret_offset);

#endif
