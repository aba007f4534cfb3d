/* SPDX-License-Identifier: MIT */
/* cmd/lunette/fail.c - one way to say what went wrong, what to do next, and which exit code. */
#include "cmd/lunette/cli.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FAIL_MAX 1024 /* of a message where there is no memory for a longer one */

#define LOGIN_AUTH      0x0201 /* RFC 7143 11.13.5 */
#define LOGIN_FORBIDDEN 0x0202
#define LOGIN_NOT_FOUND 0x0203
#define LOGIN_REMOVED   0x0204
#define LOGIN_TOO_MANY  0x0206

int
exit_code_of(const struct lunette_error *err)
{
    switch (err->domain) {
    case LUNETTE_DOM_OS:
        return err->code == -ETIMEDOUT ? EXIT_TIMEOUT : EXIT_OTHER;
    case LUNETTE_DOM_USAGE:
        return EXIT_USAGE;
    case LUNETTE_DOM_CONNECT:
        return err->code == -ETIMEDOUT ? EXIT_TIMEOUT : EXIT_CONNECT;
    case LUNETTE_DOM_LOGIN:
        return err->detail == LOGIN_NOT_FOUND || err->detail == LOGIN_REMOVED ? EXIT_NOT_FOUND
                                                                              : EXIT_LOGIN;
    case LUNETTE_DOM_PROTO:
        return EXIT_PROTOCOL;
    case LUNETTE_DOM_SCSI:
        return EXIT_SCSI;
    case LUNETTE_DOM_TIMEOUT:
        return EXIT_TIMEOUT;
    case LUNETTE_DOM_NOTFOUND:
        return EXIT_NOT_FOUND;
    }
    return EXIT_OTHER;
}

static const char *
login_hint(uint32_t detail)
{
    switch (detail) {
    case LOGIN_AUTH:
        return "name and secret come from --chap-file FILE or LUNETTE_CHAP=user:secret, see "
               "lunette-url(7)";
    case LOGIN_FORBIDDEN:
        return "the target lets only certain initiators in: try --initiator-name with the one it "
               "knows";
    case LOGIN_NOT_FOUND:
    case LOGIN_REMOVED:
        return "`lunette discover HOST` lists the targets that are there";
    case LOGIN_TOO_MANY:
        return "another session of this initiator is in the way: log it out or wait";
    default:
        return NULL;
    }
}

/* What to look at where there is no connection, or none any more. */
static const char *
connect_hint(int code)
{
    switch (-code) {
    case ECONNREFUSED:
        return "nothing listens there: is the target running, is the port right (3260 is usual)?";
    case ENOTCONN:
    case ENOLINK:
    case ECONNRESET:
    case EPIPE:
        return "the target's log may say why the connection ended";
    default:
        return "check host, port and route";
    }
}

static const char *
fail_hint(const struct lunette_error *err)
{
    switch (err->domain) {
    case LUNETTE_DOM_USAGE:
        return NULL;
    case LUNETTE_DOM_CONNECT:
        return connect_hint(err->code);
    case LUNETTE_DOM_LOGIN:
        return login_hint(err->detail);
    case LUNETTE_DOM_PROTO:
        return "run it again with --trace FILE to see the PDUs, and report it with that file";
    case LUNETTE_DOM_TIMEOUT:
        return "the URL options connect_timeout, login_timeout and timeout say how long to wait";
    case LUNETTE_DOM_NOTFOUND:
        return "`lunette ls iscsi://HOST/` lists targets and LUNs";
    case LUNETTE_DOM_OS:
    case LUNETTE_DOM_SCSI:
        return NULL;
    }
    return NULL;
}

/* On a terminal, lines are broken at words; what reads them from a file or pipe wants them whole.
 */
static void
fail_print(const char *prefix, const char *text)
{
    fflush(stdout);
    fputs(prefix, stderr);
    text_wrap(stderr, text, isatty(STDERR_FILENO) == 1 ? terminal_columns() - 1 : INT_MAX,
              (int)strlen(prefix), 4);
}

/* Formats into memory of its own, which the caller frees, or, where there is none, into buf: what
 * went wrong is said without memory, too, since that may be what is missing. */
static char *__attribute__((format(printf, 1, 0)))
fail_text(const char *fmt, va_list ap, char buf[FAIL_MAX])
{
    char *text = NULL;
    va_list again;

    va_copy(again, ap);
    if (vasprintf(&text, fmt, ap) < 0) {
        (void)vsnprintf(buf, FAIL_MAX, fmt, again);
        text = NULL;
    }
    va_end(again);
    return text;
}

static void __attribute__((format(printf, 2, 0)))
fail_format(const char *prefix, const char *fmt, va_list ap)
{
    char buf[FAIL_MAX];
    char *text = fail_text(fmt, ap, buf);

    fail_print(prefix, text != NULL ? text : buf);
    free(text);
}

int
fail_with(const struct lunette_error *err, const char *what)
{
    const char *next = fail_hint(err);

    (void)fail_usage("%s: %s", what, err->msg[0] != '\0' ? err->msg : strerror(-err->code));
    if (next != NULL)
        fail_print("  ", next);
    return exit_code_of(err);
}

int
fail_lost_writes(const char *what, const char *why)
{
    (void)fail_usage("%s: its cache may have lost writes, and %s", what, why);
    hint("write all of it again");
    return EXIT_SCSI;
}

int
fail_usage(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    fail_format("lunette: ", fmt, ap);
    va_end(ap);
    return EXIT_USAGE;
}

void
note(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    fail_format("lunette: ", fmt, ap);
    va_end(ap);
}

void
tell(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    fail_format("", fmt, ap);
    va_end(ap);
}

void
list_note(const char *fmt, ...)
{
    char *text = NULL;
    va_list ap;

    va_start(ap, fmt);
    if (vasprintf(&text, fmt, ap) >= 0) {
        fputs("  ", stdout);
        text_wrap(stdout, text, isatty(STDOUT_FILENO) == 1 ? terminal_columns() - 1 : INT_MAX, 2,
                  4);
    }
    va_end(ap);
    free(text);
}

void
hint(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    fail_format("  ", fmt, ap);
    va_end(ap);
}

int
fail_no_url(const char *command, const char *word)
{
    char *public = url_public(word);

    fail_usage("%s: '%s' is no URL: want iscsi://host[:port]/target-iqn[/lun]", command, public);
    free(public);
    return EXIT_USAGE;
}

int
fail_errno(int code, const char *fmt, ...)
{
    char buf[FAIL_MAX];
    va_list ap;

    va_start(ap, fmt);
    char *text = fail_text(fmt, ap, buf);
    va_end(ap);
    (void)fail_usage("%s: %s", text != NULL ? text : buf, strerror(-code));
    free(text);
    return EXIT_OTHER;
}

static enum lunette_domain
domain_of(int code)
{
    switch (-code) {
    case EIO:
    case ENOSPC:
    case EROFS:
    case EBADE:
    case EILSEQ:
    case EOPNOTSUPP:
        return LUNETTE_DOM_SCSI;
    case ENOTCONN:
    case ENOLINK:
    case ECONNRESET:
    case EPIPE:
        return LUNETTE_DOM_CONNECT;
    case ETIMEDOUT:
        return LUNETTE_DOM_TIMEOUT;
    case EPROTO:
        return LUNETTE_DOM_PROTO;
    case EINVAL:
        return LUNETTE_DOM_USAGE;
    default:
        return LUNETTE_DOM_OS;
    }
}

static const char *
fail_reason(int code)
{
    switch (-code) {
    case ENOTCONN:
        return "the session is gone";
    case ENOLINK:
        return "the connection was lost with the command under way";
    case ETIMEDOUT:
        return "no answer in time";
    case ENOSPC:
        return "the device is full (thin pool)";
    case EROFS:
        return "the device is write protected";
    case EBADE:
        return "another initiator holds a reservation";
    case EOPNOTSUPP:
        return "the device cannot do it";
    case EIO:
        return "the device failed it";
    default:
        return strerror(-code);
    }
}

void
error_of_code(struct lunette_error *err, int code, const char *what)
{
    *err = (struct lunette_error){.code = code, .domain = domain_of(code)};
    snprintf(err->msg, sizeof(err->msg), "%s: %s", what, fail_reason(code));
}

void
error_of_completion(struct lunette_error *err, const struct lunette_queue *q,
                    const struct lunette_completion *c, const char *verb, uint64_t offset)
{
    char what[64];

    snprintf(what, sizeof(what), "%s at offset %llu", verb, (unsigned long long)offset);
    (void)lunette_queue_explain(q, c, what, err);
}
