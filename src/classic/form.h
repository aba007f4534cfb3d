/* SPDX-License-Identifier: MIT */
/* classic/form.h - the form of requests and replies of open-iscsi's management socket.
 *
 * They are C structures of fixed size in the machine's byte order.  The request holds a whole
 * record and has grown with it: three sizes are in use, and a caller has the size of its version.
 * The reply has one size.  Nothing here trusts a byte of a request.  Any thread.
 */
#ifndef CLASSIC_FORM_H
#define CLASSIC_FORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"

#define CLASSIC_REPLY_SIZE  2464
#define CLASSIC_PAYLOAD_MAX 65536 /* bytes behind a request */
#define CLASSIC_TEXT_MAX    255   /* bytes of a text, without the NUL */
#define CLASSIC_VALUES_MAX  40    /* keys of a record that a request tells */
#define CLASSIC_IFACE_MAX   64    /* bytes of an interface's name, without the NUL */

/* Sizes of requests: versions 2.1.4 to 2.1.10, 2.1.11, and those after it. */
enum classic_form { CLASSIC_FORM_2_1_4, CLASSIC_FORM_2_1_11, CLASSIC_FORM_2_1_12, CLASSIC_FORMS };
extern const size_t classic_form_size[CLASSIC_FORMS];
#define CLASSIC_REQUEST_MAX 16128 /* the largest of them */

enum classic_command {
    CLASSIC_SESSION_LOGIN = 1,
    CLASSIC_SESSION_LOGOUT = 2,
    CLASSIC_SESSION_ACTIVESTAT = 4,
    CLASSIC_CONN_ADD = 5,
    CLASSIC_CONN_REMOVE = 6,
    CLASSIC_SESSION_STATS = 7,
    CLASSIC_CONFIG_INAME = 8,
    CLASSIC_CONFIG_IALIAS = 9,
    CLASSIC_CONFIG_FILE = 10,
    CLASSIC_IMMEDIATE_STOP = 11,
    CLASSIC_SESSION_SYNC = 12,
    CLASSIC_SESSION_INFO = 13,
    CLASSIC_ISNS_QUERY = 14,
    CLASSIC_SEND_TARGETS = 15,
    CLASSIC_NOTIFY_ADD_NODE = 16, /* from here to CLASSIC_NOTIFY_DEL_PORTAL with a payload */
    CLASSIC_NOTIFY_DEL_NODE = 17,
    CLASSIC_NOTIFY_ADD_PORTAL = 18,
    CLASSIC_NOTIFY_DEL_PORTAL = 19,
};

/* Exit codes of iscsiadm, which replies hold. */
#define CLASSIC_OK          0
#define CLASSIC_ERROR       1
#define CLASSIC_INVALID     7
#define CLASSIC_ACCESS      13
#define CLASSIC_UNKNOWN     16
#define CLASSIC_UNSUPPORTED 27

/* The session of a login. */
struct classic_record {
    char target[ISCSI_NAME_MAX + 1];
    struct portal portal;
    char iface[CLASSIC_IFACE_MAX + 1];
    bool more; /* one session more than there are */
    /* What the record says of the session, by the names of its keys; texts are those of a record's
     * file.  Secrets are among them. */
    unsigned nvalues;
    struct classic_value {
        const char *name;
        char text[CLASSIC_TEXT_MAX + 1];
    } values[CLASSIC_VALUES_MAX];
};

struct classic_request {
    uint32_t command; /* of any value */
    enum classic_form form;
    int32_t sid;                  /* LOGOUT, STATS, INFO, CONN_ADD, CONN_REMOVE */
    struct classic_record record; /* LOGIN */
};

/* How many bytes a request has of which data[0..len) have come.  Returns 1 where len bytes are a
 * whole request, 0 where more have to come, -EMSGSIZE where no request begins like that.
 *
 * A caller writes its request in one piece, so that a whole one of a smaller size is told from the
 * beginning of a larger one by what has come at once. */
int classic_request_whole(const uint8_t *data, size_t len);

/* Reads a whole request.  Returns 0; or -EINVAL with *err, and then ret->command is still the one
 * that is to be answered. */
int classic_request_read(const uint8_t *data, size_t len, struct classic_request *ret,
                         struct lunette_error *err);

/* Overwrites what may be secret. */
void classic_request_wipe(struct classic_request *rq);

/* Counters, in the order of the reply. */
struct classic_stats {
    uint64_t txdata_octets, rxdata_octets;
    uint32_t pdus[19]; /* by enum classic_pdu */
};
enum classic_pdu {
    CLASSIC_NOP_OUT,
    CLASSIC_SCSI_COMMAND,
    CLASSIC_TASK_REQUEST,
    CLASSIC_LOGIN_REQUEST,
    CLASSIC_TEXT_REQUEST,
    CLASSIC_DATA_OUT,
    CLASSIC_LOGOUT_REQUEST,
    CLASSIC_SNACK,
    CLASSIC_NOP_IN,
    CLASSIC_SCSI_RESPONSE,
    CLASSIC_TASK_RESPONSE,
    CLASSIC_TEXT_RESPONSE,
    CLASSIC_DATA_IN,
    CLASSIC_LOGOUT_RESPONSE,
    CLASSIC_R2T,
    CLASSIC_ASYNC,
    CLASSIC_REJECT,
    CLASSIC_DIGEST_ERRORS,
    CLASSIC_TIMEOUTS,
};

/* A reply, as bytes; command is that of the request. */
struct classic_reply {
    uint8_t bytes[CLASSIC_REPLY_SIZE];
};
void classic_reply_init(struct classic_reply *rep, uint32_t command, int err);
void classic_reply_text(struct classic_reply *rep, const char *text); /* cut where it is longer */
void classic_reply_states(struct classic_reply *rep, int session_state, int conn_state);
void classic_reply_stats(struct classic_reply *rep, const struct classic_stats *s);

#endif
