/* SPDX-License-Identifier: MIT */
/* cmd/lunette/cmd_info.c - lunette info: a LUN, and what was agreed at login. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/hex.h"
#include "cmd/lunette/cli.h"

static const char *
yes(bool b)
{
    return b ? "yes" : "no";
}

static void
print_bytes(const char *name, uint64_t bytes)
{
    char t[TEXT_SIZE];

    printf("  %-25s %s\n", name, bytes != 0 ? format_size(t, bytes) : "not told");
}

static void
print_disk(const struct lunette_info *i)
{
    char t[TEXT_SIZE];

    printf("  %-25s %s (%" PRIu64 " bytes, %" PRIu64 " blocks)\n", "size", format_size(t, i->size),
           i->size, i->block_size != 0 ? i->size / i->block_size : 0);
    printf("  %-25s %" PRIu32 " bytes (physical: %" PRIu32 ")\n", "block", i->block_size,
           i->physical_block_size);
    print_bytes("transfer at most", i->max_transfer);
    print_bytes("transfer at best", i->optimal_transfer);
    printf("  %-25s %s", "discard", i->max_discard != 0 ? "" : "no\n");
    if (i->max_discard != 0)
        printf("up to %s\n", format_size(t, i->max_discard));
    printf("  %-25s %s", "write zeroes", i->max_write_zeroes != 0 ? "" : "no\n");
    if (i->max_write_zeroes != 0)
        printf("up to %s\n", format_size(t, i->max_write_zeroes));
    printf("  %-25s %s\n", "compare and write", yes(i->max_compare_write != 0));
    printf("  %-25s %s\n", "write protected", yes(i->read_only));
    printf("  %-25s %s (FUA: %s)\n", "write cache", yes(i->write_cache), yes(i->fua));
    printf("  %-25s %s\n", "thin provisioned", yes(i->thin));
    printf("  %-25s %s\n", "rotational", yes(i->rotational));
}

static void
print_device(const struct lunette_info *i)
{
    printf("LUN %" PRIu64 "\n", i->lun);
    printf("  %-25s %s\n", "type", device_type_name(i->type));
    printf("  %-25s %s %s%s%s\n", "model", i->vendor, i->product, i->revision[0] != '\0' ? " " : "",
           i->revision);
    if (i->serial[0] != '\0')
        printf("  %-25s %s\n", "serial", i->serial);
    if (i->name[0] != '\0')
        printf("  %-25s %s\n", "name", i->name);
    if (i->error != 0)
        printf("  %-25s %s\n", "not ready", unit_error_text(i->error));
    else if (i->type == 0)
        print_disk(i);
}

static void
print_name(const char *what, const char *name)
{
    char *encoded = name_encoded(name);

    printf("  %-25s %s%s\n", what, encoded, iscsi_name_oddity(name) != NULL ? " !" : "");
    free(encoded);
}

static void
print_session(const struct lunette_session_info *s)
{
    char isid[2 * sizeof(s->isid) + 1];

    printf("session\n");
    print_name("target", s->target_name);
    if (s->target_alias[0] != '\0')
        printf("  %-25s %s\n", "alias", s->target_alias);
    printf("  %-25s %s (portal group %u)\n", "portal", s->portal, s->tpgt);
    print_name("initiator", s->initiator_name);
    *hex_put(isid, s->isid, sizeof(s->isid)) = '\0';
    printf("  %-25s ISID %s, TSIH %u\n", "identifiers", isid, s->tsih);
    printf("  %-25s %s\n", "authentication", s->auth_method);
    printf("  %-25s header %s, data %s\n", "digests", s->header_digest ? "CRC32C" : "none",
           s->data_digest ? "CRC32C" : "none");
    const struct {
        const char *key;
        uint32_t value;
    } keys[] = {
        {"MaxRecvDataSegmentLength", s->max_recv_data_segment_length},
        {"  of the target", s->max_xmit_data_segment_length},
        {"MaxBurstLength", s->max_burst_length},
        {"FirstBurstLength", s->first_burst_length},
        {"MaxOutstandingR2T", s->max_outstanding_r2t},
        {"MaxConnections", s->max_connections},
        {"ErrorRecoveryLevel", s->error_recovery_level},
        {"DefaultTime2Wait", s->time2wait},
        {"DefaultTime2Retain", s->time2retain},
    };
    printf("  %-25s %s\n", "InitialR2T", s->initial_r2t ? "Yes" : "No");
    printf("  %-25s %s\n", "ImmediateData", s->immediate_data ? "Yes" : "No");
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        printf("  %-25s %" PRIu32 "\n", keys[i].key, keys[i].value);
}

static void
print_bends(uint32_t bends)
{
    const char *text;

    for (unsigned i = 0; (text = lunette_bend_text(i)) != NULL; i++) {
        if (bends >> i & 1)
            printf("  this target bends: it %s\n", text);
    }
}

static int
run_info(struct cli *cli, const void *opts, int argc, char **argv)
{
    struct lunette_lun *lun = NULL;
    struct lunette_info info = LUNETTE_INIT(info);
    struct lunette_session_info session = LUNETTE_INIT(session);

    (void)opts;
    (void)argc;
    int code = cli_open(cli, argv[0], LUNETTE_OPEN_RDONLY | LUNETTE_OPEN_RAW, &lun);
    if (code != 0)
        return code;
    (void)lunette_get_info(lun, &info);
    (void)lunette_get_session_info(lun, &session);
    if (cli->common.json) {
        json_t *j = json_of_info(&info);
        json_object_set_new(j, "session", json_of_session(&session));
        code = json_print(j);
    } else {
        print_device(&info);
        print_session(&session);
        print_bends(session.bends);
    }
    lunette_close(lun);
    return code;
}

const struct command cmd_info = {
    .name = "info",
    .operands = "URL",
    .synopsis = "[OPTION...]",
    .summary = "what a LUN is and can do, and what was agreed at login",
    .about = "Prints identity, size, block size and limits of the LUN, and the session's "
             "parameters (RFC 7143 section 13).",
    .example = "info iscsi://192.0.2.1/iqn.2026-11.example:disk/0\n"
               "info 'iscsi://192.0.2.1/iqn.2026-11.example:disk/0?header_digest=crc32c' --json",
    .json = true,
    .min_args = 1,
    .max_args = 1,
    .run = run_info,
};
