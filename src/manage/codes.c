/* SPDX-License-Identifier: MIT */
#include "manage/codes.h"

#include <errno.h>
#include <stddef.h>

static const struct {
    const char *name, *text;
} codes_table[MANAGE_CODES] = {
#define CODE(number, name, text) [number] = {#name, text},
#include "manage/codes.def"
#undef CODE
};

/* Numbers come from the other side of a socket, too. */
static int
code_known(int number)
{
    return number >= 0 && number < MANAGE_CODES ? number : MANAGE_ERROR;
}

const char *
manage_code_name(int number)
{
    return codes_table[code_known(number)].name;
}

const char *
manage_code_text(int number)
{
    return codes_table[code_known(number)].text;
}

enum manage_code
manage_code_of_errno(int err)
{
    static const struct {
        int err;
        enum manage_code code;
    } table[] = {
        {EINVAL, MANAGE_INVALID},
        {ENOMEM, MANAGE_NO_MEMORY},
        {ENOENT, MANAGE_NOT_FOUND},
        {EBUSY, MANAGE_BUSY},
        {EEXIST, MANAGE_SESSION_EXISTS},
        {EACCES, MANAGE_ACCESS},
        {EPERM, MANAGE_ACCESS},
        {ETIMEDOUT, MANAGE_CONNECT_TIMEOUT},
        {ECONNREFUSED, MANAGE_CONNECT},
        {EHOSTUNREACH, MANAGE_CONNECT},
        {ENETUNREACH, MANAGE_CONNECT},
        {ECONNRESET, MANAGE_CONNECT},
        {EOPNOTSUPP, MANAGE_NOT_SUPPORTED},
        {ENODEV, MANAGE_TRANSPORT_NOT_FOUND},
        {EAGAIN, MANAGE_AGAIN},
        {ENOTCONN, MANAGE_NOT_CONNECTED},
        {ENOSPC, MANAGE_DATABASE}, /* it is records that are written */
        {EDQUOT, MANAGE_DATABASE},
        {EROFS, MANAGE_DATABASE},
        {ECANCELED, MANAGE_AGAIN}, /* somebody has asked for the contrary meanwhile */
        {EPIPE, MANAGE_AGAIN},     /* what it was under way in has gone */
        {ESHUTDOWN, MANAGE_AGAIN},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (table[i].err == (err < 0 ? -err : err))
            return table[i].code;
    return err == 0 ? MANAGE_OK : MANAGE_ERROR;
}
