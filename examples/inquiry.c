/* SPDX-License-Identifier: MIT */
/* inquiry URL - a CDB of our own making, and what to do with status and sense. */
#include <lunette/lunette.h>

#include <stdio.h>

int
main(int argc, char **argv)
{
    static const uint8_t cdb[6] = {0x12, 0, 0, 0, 96, 0}; /* INQUIRY, 96 bytes */
    uint8_t data[96] = {0};
    struct lunette_scsi cmd = {.struct_size = sizeof(cmd),
                               .cdb = cdb,
                               .cdb_len = sizeof(cdb),
                               .in = data,
                               .in_len = sizeof(data)};
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_ctx *ctx = NULL;
    struct lunette_lun *lun = NULL;
    char sense[160];
    int r;

    if (argc != 2) {
        fprintf(stderr, "usage: inquiry URL\n");
        return 2;
    }
    r = lunette_ctx_new(NULL, &ctx, &err);
    if (r == 0) /* RAW: any device type, ready or not */
        r = lunette_open(ctx, argv[1], LUNETTE_OPEN_RAW, &lun, &err);
    if (r == 0)
        r = lunette_scsi(lun, &cmd, &err);
    if (r < 0) {
        fprintf(stderr, "inquiry: %s\n", err.msg);
    } else if (cmd.status != 0) {
        fprintf(stderr, "inquiry: %s: %s\n", lunette_status_text(cmd.status),
                lunette_sense_text(cmd.sense, cmd.sense_len, sense, sizeof(sense)));
    } else {
        printf("type %u, %.8s %.16s %.4s\n", data[0] & 0x1f, (char *)data + 8, (char *)data + 16,
               (char *)data + 32);
    }
    lunette_close(lun);
    lunette_ctx_free(ctx);
    return r < 0 || cmd.status != 0;
}
