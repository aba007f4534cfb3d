/* SPDX-License-Identifier: MIT */
/* Prints the samples as text2pcap input (I and O lines), for another dissector to judge.  The
 * fields of protocol level 2 are 0 in them: dissectors that know only RFC 3720 take those for
 * garbage.
 *
 * usage: gen_pdus [digests]     digests: with header and data digests after the login */
#include <stdio.h>
#include <string.h>

#include "samples.h"
#include "wire/bhs.h"

static void
clear_level2(uint8_t *buf)
{
    union bhs_any *h = (union bhs_any *)buf;

    if (h->h.opcode == ISCSI_OP_SCSI_CMD)
        h->scsi_cmd.pri = 0;
    else if (h->h.opcode == ISCSI_OP_SCSI_RSP)
        h->scsi_rsp.status_qualifier = put16(0);
    else if (h->h.opcode == ISCSI_OP_TMF_RSP)
        h->tmf_rsp.info = put24(0);
}

static void
dump(const uint8_t *buf, size_t len)
{
    for (size_t at = 0; at < len; at += 16) {
        printf("%06zx", at);
        for (size_t i = at; i < len && i < at + 16; i++)
            printf(" %02x", buf[i]);
        printf("\n");
    }
    printf("\n");
}

int
main(int argc, char **argv)
{
    int digests = argc > 1 && strcmp(argv[1], "digests") == 0;

    for (unsigned i = 0; i < nsamples; i++) {
        uint8_t buf[SAMPLE_MAX];
        size_t len = samples[i].build(buf);

        clear_level2(buf);
        if (digests && strncmp(samples[i].name, "login", 5) != 0)
            len = sample_add_digests(buf, len);
        printf("# %s\n%s\n", samples[i].name, samples[i].from_target ? "O" : "I");
        dump(buf, len);
    }
    return 0;
}
