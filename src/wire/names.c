/* SPDX-License-Identifier: MIT */
#include "wire/names.h"

#include <stddef.h>

#include "wire/bhs.h"
#include "wire/login_status.h"

struct name {
    uint32_t code;
    const char *text;
};

static const char *
names_find(const struct name *table, size_t n, uint32_t code, const char *unknown)
{
    for (size_t i = 0; i < n; i++)
        if (table[i].code == code)
            return table[i].text;
    return unknown;
}
#define FIND(table, code, unknown)                                                                 \
    names_find(table, sizeof(table) / sizeof((table)[0]), code, unknown)

/* RFC 7143 11.17.1 */
static const struct name reject_reasons[] = {
    {ISCSI_REJECT_DATA_DIGEST, "data digest error"},
    {ISCSI_REJECT_SNACK, "SNACK refused"},
    {ISCSI_REJECT_PROTOCOL_ERROR, "protocol error"},
    {ISCSI_REJECT_UNSUPPORTED, "command not supported"},
    {ISCSI_REJECT_TOO_MANY_IMMEDIATE, "too many immediate commands"},
    {ISCSI_REJECT_TASK_IN_PROGRESS, "task in progress"},
    {ISCSI_REJECT_INVALID_DATA_ACK, "invalid data acknowledgment"},
    {ISCSI_REJECT_INVALID_FIELD, "invalid PDU field"},
    {ISCSI_REJECT_LONG_OPERATION, "out of resources for a long operation"},
    {ISCSI_REJECT_NEGOTIATION_RESET, "negotiation reset"},
    {ISCSI_REJECT_WAITING_FOR_LOGOUT, "waiting for logout"},
};

/* 11.9.1 */
static const struct name async_events[] = {
    {ISCSI_ASYNC_SCSI, "SCSI event"},
    {ISCSI_ASYNC_LOGOUT_REQUEST, "target asks for logout"},
    {ISCSI_ASYNC_DROP_CONNECTION, "target drops the connection"},
    {ISCSI_ASYNC_DROP_SESSION, "target drops all connections of the session"},
    {ISCSI_ASYNC_NEGOTIATE, "target asks for negotiation"},
    {ISCSI_ASYNC_FAST_ABORT, "all tasks of the logical unit are being ended"},
};

/* 11.5.1, RFC 7144 5.1 */
static const struct name tmfs[] = {
    {ISCSI_TMF_ABORT_TASK, "ABORT TASK"},
    {ISCSI_TMF_ABORT_TASK_SET, "ABORT TASK SET"},
    {ISCSI_TMF_CLEAR_ACA, "CLEAR ACA"},
    {ISCSI_TMF_CLEAR_TASK_SET, "CLEAR TASK SET"},
    {ISCSI_TMF_LU_RESET, "LOGICAL UNIT RESET"},
    {ISCSI_TMF_TARGET_WARM_RESET, "TARGET WARM RESET"},
    {ISCSI_TMF_TARGET_COLD_RESET, "TARGET COLD RESET"},
    {ISCSI_TMF_TASK_REASSIGN, "TASK REASSIGN"},
    {ISCSI_TMF_QUERY_TASK, "QUERY TASK"},
    {ISCSI_TMF_QUERY_TASK_SET, "QUERY TASK SET"},
    {ISCSI_TMF_I_T_NEXUS_RESET, "I_T NEXUS RESET"},
    {ISCSI_TMF_QUERY_ASYNC_EVENT, "QUERY ASYNCHRONOUS EVENT"},
};

/* 11.6.1, RFC 7144 6.4 */
static const struct name tmf_responses[] = {
    {ISCSI_TMF_RSP_COMPLETE, "function complete"},
    {ISCSI_TMF_RSP_NO_TASK, "task does not exist"},
    {ISCSI_TMF_RSP_NO_LUN, "LUN does not exist"},
    {ISCSI_TMF_RSP_STILL_ALLEGIANT, "task is still allegiant to a connection"},
    {ISCSI_TMF_RSP_REASSIGN_UNSUPPORTED, "task reassignment not supported"},
    {ISCSI_TMF_RSP_UNSUPPORTED, "function not supported"},
    {ISCSI_TMF_RSP_AUTH_FAILED, "function authorization failed"},
    {ISCSI_TMF_RSP_SUCCEEDED, "function succeeded"},
    {ISCSI_TMF_RSP_REJECTED, "function rejected"},
};

/* 11.14.1 */
static const struct name logout_reasons[] = {
    {ISCSI_LOGOUT_CLOSE_SESSION, "close the session"},
    {ISCSI_LOGOUT_CLOSE_CONNECTION, "close the connection"},
    {ISCSI_LOGOUT_RECOVERY, "remove the connection for recovery"},
};

/* 11.15.1 */
static const struct name logout_responses[] = {
    {ISCSI_LOGOUT_RSP_OK, "closed"},
    {ISCSI_LOGOUT_RSP_CID_NOT_FOUND, "CID not found"},
    {ISCSI_LOGOUT_RSP_NO_RECOVERY, "connection recovery not supported"},
    {ISCSI_LOGOUT_RSP_CLEANUP_FAILED, "cleanup failed"},
};

/* 11.16.1 */
static const struct name snack_types[] = {
    {ISCSI_SNACK_DATA_R2T, "Data/R2T"},
    {ISCSI_SNACK_STATUS, "Status"},
    {ISCSI_SNACK_DATA_ACK, "DataACK"},
    {ISCSI_SNACK_R_DATA, "R-Data"},
};

/* 11.13.5 */
static const struct name login_statuses[] = {
    {ISCSI_LOGIN_OK, "login proceeds"},
    {ISCSI_LOGIN_MOVED_TEMPORARILY, "the target has moved temporarily to another address"},
    {ISCSI_LOGIN_MOVED_PERMANENTLY, "the target has moved for good to another address"},
    {ISCSI_LOGIN_BAD_REQUEST, "the target found fault with the initiator's login"},
    {ISCSI_LOGIN_AUTH_FAILED,
     "authentication failed: wrong name or secret, or a method the target does not take"},
    {ISCSI_LOGIN_FORBIDDEN, "this initiator is not allowed to use the target"},
    {ISCSI_LOGIN_NOT_FOUND, "no such target at this address"},
    {ISCSI_LOGIN_TARGET_REMOVED, "the target was removed and no forwarding address is known"},
    {ISCSI_LOGIN_BAD_VERSION, "the target does not speak this version of iSCSI"},
    {ISCSI_LOGIN_TOO_MANY_CONNECTIONS, "too many connections on this session"},
    {ISCSI_LOGIN_MISSING_PARAMETER, "the target misses a parameter, such as a name"},
    {ISCSI_LOGIN_CANNOT_INCLUDE, "the target cannot include this connection in the session"},
    {ISCSI_LOGIN_SESSION_TYPE, "the target does not support this type of session"},
    {ISCSI_LOGIN_NO_SESSION, "the session to add a connection to does not exist"},
    {ISCSI_LOGIN_INVALID_DURING_LOGIN, "a request of this type is not valid during login"},
    {ISCSI_LOGIN_TARGET_FAILURE, "the target failed inside"},
    {ISCSI_LOGIN_UNAVAILABLE, "the target or its service is not available now"},
    {ISCSI_LOGIN_OUT_OF_RESOURCES, "the target is out of resources"},
};

/* An unknown detail is acted on by its class. */
static const struct name login_classes[] = {
    {ISCSI_LOGIN_SUCCESS, "login proceeds, with a detail that is not known"},
    {ISCSI_LOGIN_REDIRECT, "the target is at another address"},
    {ISCSI_LOGIN_INITIATOR_ERROR, "the target refuses the login: fault of the initiator"},
    {ISCSI_LOGIN_TARGET_ERROR, "the target cannot take the login: fault of the target"},
};

const char *
iscsi_reject_name(uint8_t reason)
{
    return FIND(reject_reasons, reason, "unknown reason");
}

const char *
iscsi_async_name(uint8_t event)
{
    if (event >= ISCSI_ASYNC_VENDOR_FIRST)
        return "vendor-specific event";
    return FIND(async_events, event, "unknown event");
}

const char *
iscsi_tmf_name(uint8_t function)
{
    return FIND(tmfs, function, "unknown function");
}

const char *
iscsi_tmf_response_name(uint8_t response)
{
    return FIND(tmf_responses, response, "unknown response");
}

const char *
iscsi_logout_reason_name(uint8_t reason)
{
    return FIND(logout_reasons, reason, "unknown reason");
}

const char *
iscsi_logout_response_name(uint8_t response)
{
    return FIND(logout_responses, response, "unknown response");
}

const char *
iscsi_snack_name(uint8_t type)
{
    return FIND(snack_types, type, "unknown type");
}

const char *
iscsi_stage_name(unsigned stage)
{
    switch (stage) {
    case ISCSI_STAGE_SECURITY:
        return "security negotiation";
    case ISCSI_STAGE_OPERATIONAL:
        return "operational negotiation";
    case ISCSI_STAGE_FFP:
        return "full feature phase";
    default:
        return "unknown stage";
    }
}

const char *
login_status_text(uint8_t status_class, uint8_t detail)
{
    const char *text = FIND(login_statuses, (uint32_t)status_class << 8 | detail, NULL);

    if (text != NULL)
        return text;
    return FIND(login_classes, status_class, "the target answered with an unknown status class");
}
