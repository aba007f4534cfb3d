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

/* What a target over RDMA does in place of what RFC 7145 has it do, with a SCSI command.  An STag
 * is that of the command. */
enum target_rdma_fault {
    TARGET_RDMA_HONEST,
    /* In place of reading a write's data: */
    TARGET_RDMA_R2T,       /* it sends an R2T PDU */
    TARGET_RDMA_READ_FAR,  /* it reads 1 TiB behind the memory */
    TARGET_RDMA_READ_STAG, /* it reads by an STag that it was not given */
    /* In place of writing a read's data: */
    TARGET_RDMA_NO_DATA,      /* nothing, and the response follows */
    TARGET_RDMA_WRITE_BEFORE, /* it writes one byte before the memory ... */
    TARGET_RDMA_WRITE_BEHIND, /* ... or one byte behind its end ... */
    TARGET_RDMA_WRITE_FAR,    /* ... or 1 TiB behind it */
    TARGET_RDMA_WRITE_STAG,   /* it writes by an STag that it was not given */
    TARGET_RDMA_DATA_LATE,    /* it writes behind the response, where that is one RDMA Write */
    /* In place of a response: */
    TARGET_RDMA_LEAVES,     /* it disconnects */
    TARGET_RDMA_TYPE,       /* a message of a type that there is not */
    TARGET_RDMA_HELLO,      /* a HelloReply */
    TARGET_RDMA_STAGS,      /* it brings STags along */
    TARGET_RDMA_SHORT,      /* 20 bytes of it */
    TARGET_RDMA_CUT,        /* 60 bytes of it */
    TARGET_RDMA_LENGTH,     /* it says that 100 more bytes of data are there */
    TARGET_RDMA_LONG,       /* 16 KiB, more than the initiator's receives have */
    TARGET_RDMA_DATA_IN,    /* a Data-In PDU with status */
    TARGET_RDMA_TWICE,      /* it comes twice */
    TARGET_RDMA_INVALIDATE, /* it invalidates the STag of another command, or one that is not */
    TARGET_RDMA_FAULTS
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
    bool keep_stags;       /* over RDMA, responses do not invalidate the STags of their commands */
    struct target_losses losses;
    enum target_rdma_fault rdma; /* at every rdma_every-th command that it can be done with */
    uint32_t rdma_every;
};

#endif
