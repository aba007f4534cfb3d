/* SPDX-License-Identifier: MIT */
/* tests/abi/with_libiscsi.c - our archive and libiscsi in one program: names do not meet, both
 * work.
 *
 * usage: with_libiscsi HOST:PORT TARGET LUN
 */
#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>
#include <lunette/lunette.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCKS 8

static int
write_by_us(const char *portal, const char *target, int lun, unsigned char *data, size_t len)
{
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_ctx *ctx = NULL;
    struct lunette_lun *l = NULL;
    char url[512];
    int r;

    (void)snprintf(url, sizeof(url), "iscsi://%s/%s/%d", portal, target, lun);
    r = lunette_ctx_new(NULL, &ctx, &err);
    if (r == 0)
        r = lunette_open(ctx, url, 0, &l, &err);
    if (r == 0)
        r = lunette_pwrite(l, data, len, 0, 0, &err);
    if (r < 0)
        (void)printf("ours: %s\n", err.msg);
    lunette_close(l);
    lunette_ctx_free(ctx);
    return r;
}

static int
read_by_libiscsi(const char *portal, const char *target, int lun, const unsigned char *data,
                 size_t len)
{
    struct iscsi_context *iscsi = iscsi_create_context("iqn.2026-11.example:both");
    struct scsi_task *task = NULL;
    int same = 0;

    if (iscsi == NULL)
        return -1;
    (void)iscsi_set_targetname(iscsi, target);
    (void)iscsi_set_session_type(iscsi, ISCSI_SESSION_NORMAL);
    if (iscsi_full_connect_sync(iscsi, portal, lun) == 0)
        task = iscsi_read10_sync(iscsi, lun, 0, (uint32_t)len, 512, 0, 0, 0, 0, 0);
    if (task != NULL && task->status == SCSI_STATUS_GOOD && (size_t)task->datain.size == len)
        same = memcmp(task->datain.data, data, len) == 0;
    else
        (void)printf("libiscsi: %s\n", iscsi_get_error(iscsi));
    if (task != NULL)
        scsi_free_scsi_task(task);
    (void)iscsi_logout_sync(iscsi);
    (void)iscsi_destroy_context(iscsi);
    return same ? 0 : -1;
}

int
main(int argc, char **argv)
{
    unsigned char data[BLOCKS * 512];

    if (argc != 4)
        return 2;
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (unsigned char)(i * 31 + i / 512);
    if (write_by_us(argv[1], argv[2], atoi(argv[3]), data, sizeof(data)) < 0 ||
        read_by_libiscsi(argv[1], argv[2], atoi(argv[3]), data, sizeof(data)) < 0)
        return 1;
    (void)printf("written by ours, read by libiscsi, in one program\n");
    return 0;
}
