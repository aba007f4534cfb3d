/* SPDX-License-Identifier: MIT */
/* target/faults.h - faults that tests can have the target make.  All zero: none. */
#ifndef TARGET_FAULTS_H
#define TARGET_FAULTS_H

#include <stdbool.h>
#include <stdint.h>

/* PDUs that are lost or sent twice on connections of error recovery level 1 and 2, drawn from the
 * seed; each number is a share of 1024. */
struct target_losses {
    uint32_t seed;
    uint16_t data_in, response, data_out; /* lost; of Data-Outs not the last one of a burst, so that
                                             the target learns of it */
    uint16_t silent; /* lost, of R2Ts and last Data-Outs: nobody learns of it */
    uint16_t twice;  /* sent twice, of Data-Ins and responses */
};

struct target_faults {
    uint32_t drop_after_pdus;   /* close a connection when it has received that many PDUs in FFP */
    uint32_t response_delay_ms; /* every SCSI response waits that long */
    uint32_t busy_every;        /* every n-th SCSI command ends BUSY */
    uint32_t task_set_full_every;   /* every n-th SCSI command ends TASK SET FULL */
    uint32_t corrupt_data_in_every; /* every n-th Data-In carries a wrong data digest */
    uint32_t corrupt_header_every;  /* every n-th PDU sent in FFP carries a wrong header digest */
    bool mute;                      /* never answer SCSI commands whose opcode is mute_opcode */
    uint8_t mute_opcode;
    bool mute_tmf;         /* never answer task management */
    bool mute_nop;         /* never answer pings */
    bool mute_login;       /* accept connections, never answer logins */
    uint16_t refuse_login; /* Status-Class << 8 | Status-Detail with which logins are refused */
    bool shut_window;      /* MaxCmdSN does not grow */
    struct target_losses losses;
};

#endif
