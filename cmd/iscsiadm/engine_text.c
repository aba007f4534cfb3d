/* SPDX-License-Identifier: MIT */
/* What engines are told and answer, as text, and their errors as exit codes. */
#include <errno.h>
#include <string.h>

#include "cmd/iscsiadm/engine_text.h"

/* ---- exit codes ----------------------------------------------------------------------------- */

static int
engine_login_code(const struct lunette_error *err)
{
    if (err->detail == 0x0201 || err->detail == 0x0202 || err->code == -EACCES)
        return MANAGE_LOGIN_AUTH;
    return err->detail >> 8 == 2 ? MANAGE_LOGIN_FATAL : MANAGE_LOGIN;
}

/* Says what went wrong and returns the exit code for it. */
int
adm_engine_told(const struct lunette_error *err)
{
    static const struct {
        int code, exit;
    } codes[] = {
        {-EINVAL, MANAGE_INVALID},
        {-EXDEV, MANAGE_INVALID},
        {-EEXIST, MANAGE_INVALID},
        {-ENOENT, MANAGE_NOT_FOUND},
        {-ENOTCONN, MANAGE_SESSION_NOT_FOUND},
        {-EBUSY, MANAGE_BUSY},
        {-EALREADY, MANAGE_SESSION_EXISTS},
        {-ENOMEM, MANAGE_NO_MEMORY},
        {-EPERM, MANAGE_ACCESS},
        {-EACCES, MANAGE_ACCESS},
        {-ETIMEDOUT, MANAGE_CONNECT_TIMEOUT},
        {-EOPNOTSUPP, MANAGE_NOT_SUPPORTED},
        {-EPROTONOSUPPORT, MANAGE_NOT_SUPPORTED},
        {-ENODEV, MANAGE_TRANSPORT_NOT_FOUND},
        {-EAGAIN, MANAGE_AGAIN},
        {-ENAMETOOLONG, MANAGE_INVALID},
    };

    adm_error("%s", err->msg);
    if (err->domain == LUNETTE_DOM_LOGIN)
        return engine_login_code(err);
    if (err->domain == LUNETTE_DOM_CONNECT)
        return err->code == -EACCES ? MANAGE_ACCESS : MANAGE_CONNECT;
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        if (codes[i].code == err->code)
            return codes[i].exit;
    }
    return err->domain == LUNETTE_DOM_OS ? MANAGE_DATABASE : MANAGE_ERROR;
}

int
adm_engine_usage(const char *text)
{
    adm_error("%s", text);
    return MANAGE_INVALID;
}

/* ---- texts ---------------------------------------------------------------------------------- */

/* Takes the next line off *at, without its newline; NULL at the end. */
char *
adm_engine_line(char **at)
{
    char *line = *at, *nl;

    if (*line == '\0')
        return NULL;
    nl = strchr(line, '\n');
    *at = nl != NULL ? nl + 1 : line + strlen(line);
    if (nl != NULL)
        *nl = '\0';
    return line;
}

/* Cuts "NAME = VALUE"; false: it is no such line. */
bool
adm_engine_cut(char *line, const char **ret_name, const char **ret_value)
{
    char *eq = strstr(line, " =");

    if (eq == NULL)
        return false;
    *eq = '\0';
    *ret_name = line;
    *ret_value = eq + 2 + (eq[2] == ' ');
    return true;
}

/* A record as the daemon's are, {"values": [[name, value], ...]}; the caller owns it. */
json_t *
adm_engine_record(char *text)
{
    json_t *values = adm_made(json_array());
    const char *name, *value;
    char *line;

    while ((line = adm_engine_line(&text)) != NULL)
        if (adm_engine_cut(line, &name, &value))
            adm_append(values, adm_made(json_pack("[s, s]", name, value)));
    return adm_made(json_pack("{s:o}", "values", values));
}

/* The pairs of -n and -v as lines, at the end of buf. */
int
adm_engine_pairs(const struct adm_args *a, char *buf)
{
    size_t n = strlen(buf);

    for (size_t i = 0; i < json_array_size(a->values); i++) {
        const json_t *pair = json_array_get(a->values, i);
        const char *name = json_string_value(json_array_get(pair, 0));
        const char *value = json_string_value(json_array_get(pair, 1));

        if (strpbrk(name, "\n=") != NULL || strchr(value, '\n') != NULL)
            return adm_engine_usage("a name and a value are a line of text each");
        n += (size_t)snprintf(buf + n, ADM_ENGINE_TEXT_MAX - n, "%s = %s\n", name, value);
        if (n >= ADM_ENGINE_TEXT_MAX)
            return adm_engine_usage("there is too much to set at a time");
    }
    return 0;
}
