/* SPDX-License-Identifier: MIT */
/* iscsiadm -m session --capture and --flight: PDUs of a session.
 *
 * The file is opened here, as the caller's user and where the caller may write.  What the data
 * plane makes comes over a local socket and is written as it comes; when that fails, as on a full
 * disk, the socket is closed and the capture ends, and the session goes on.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cmd/common/capture_tail.h"
#include "cmd/iscsiadm/adm.h"

struct taping {
    const char *name; /* of the file; "-": standard output */
    int fd, socket;
    uint64_t written;
    struct capture_tail tail;
};

static volatile sig_atomic_t taping_socket = -1, taping_stopped;

/* The data plane ends the file in an orderly way, which is then read to its end.  A second signal
 * kills. */
static void
taping_stop(int sig)
{
    if (taping_socket >= 0)
        (void)shutdown(taping_socket, SHUT_WR);
    taping_stopped = sig;
    (void)signal(sig, SIG_DFL);
}

/* ---- the file ------------------------------------------------------------------------------- */

static int
taping_write(struct taping *t, const uint8_t *p, size_t len)
{
    while (len > 0) {
        ssize_t n = write(t->fd, p, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        capture_tail_take(&t->tail, p, (size_t)n);
        t->written += (uint64_t)n;
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

/* A reader of the file must not find half a block at its end. */
static void
taping_cut(struct taping *t)
{
    if (t->fd != STDOUT_FILENO && t->written > t->tail.whole &&
        ftruncate(t->fd, (off_t)t->tail.whole) < 0)
        adm_error("%s: its last packet is cut: %s", t->name, strerror(errno));
}

static int
taping_copy(struct taping *t, int64_t sid)
{
    static uint8_t bytes[65536];
    ssize_t n;
    int r = 0;

    while (r == 0 && ((n = read(t->socket, bytes, sizeof(bytes))) > 0 || (n < 0 && errno == EINTR)))
        r = n > 0 ? taping_write(t, bytes, (size_t)n) : 0;
    if (r == 0 && t->tail.done)
        return 0;
    taping_cut(t);
    if (r < 0)
        adm_error("%s: cannot be written: %s; the capture has ended, and session %lld goes on",
                  t->name, strerror(-r), (long long)sid);
    else
        adm_error("the data plane has gone; what it had captured is in %s", t->name);
    return r < 0 ? MANAGE_ERROR : MANAGE_DAEMON_LOST;
}

static int
taping_open(struct taping *t)
{
    if (strcmp(t->name, "-") == 0) {
        t->fd = STDOUT_FILENO;
        return 0;
    }
    t->fd = open(t->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (t->fd >= 0)
        return 0;
    adm_error("%s: cannot be made: %s", t->name, strerror(errno));
    return MANAGE_INVALID;
}

static int
taping_connect(struct taping *t, const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};

    t->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (strlen(path) < sizeof(to.sun_path))
        memcpy(to.sun_path, path, strlen(path) + 1);
    if (t->socket >= 0 && connect(t->socket, (const void *)&to, sizeof(to)) == 0)
        return 0;
    adm_error("%s: the data plane cannot be reached: %s", path, strerror(errno));
    return MANAGE_DAEMON_LOST;
}

/* The data plane knows only that nobody reads on. */
static void
taping_tell_why(char *buf, size_t size, const struct capture_tail *tail)
{
    static const char by_reader[] = "ended by its reader";
    const size_t len = sizeof(by_reader) - 1;

    if (taping_stopped != 0 && strncmp(tail->reason, by_reader, len) == 0)
        (void)snprintf(buf, size, "ended by %s%s", taping_stopped == SIGINT ? "Ctrl-C" : "SIGTERM",
                       tail->reason + len);
    else
        (void)snprintf(buf, size, "%s", tail->reason);
}

static void
print_end(const struct adm *adm, const struct taping *t)
{
    const struct capture_tail *tail = &t->tail;
    bool piped = t->fd == STDOUT_FILENO, payload = !adm->args.no_payload;
    char why[sizeof(tail->reason) + 16];

    taping_tell_why(why, sizeof(why), tail);
    if (adm->args.json && !piped) {
        json_t *o = adm_made(json_pack(
            "{s:I,s:s,s:I,s:I,s:I,s:b}", "sid", (json_int_t)adm->args.sid, "file", t->name,
            "packets", (json_int_t)tail->packets, "dropped", (json_int_t)tail->dropped, "bytes",
            (json_int_t)t->written, "payload", payload));

        adm_put(o, "reason", json_string(why));
        (void)adm_print_json(o);
        json_decref(o);
        return;
    }
    (void)fprintf(piped ? stderr : stdout,
                  "session %lld: captured %" PRIu64 " packets (%" PRIu64 " bytes) to %s, "
                  "%s and without the secrets of logins; %s\n",
                  (long long)adm->args.sid, tail->packets, t->written,
                  piped ? "the standard output" : t->name,
                  payload ? "with the data of commands" : "without the data of commands", why);
}

static int
taping_run(struct adm *adm, struct taping *t, json_t *params)
{
    const struct adm_args *a = &adm->args;
    json_t *result;
    int r;

    adm_put(params, "payload", json_boolean(!a->no_payload));
    if (a->seconds > 0)
        adm_put(params, "seconds", json_integer(a->seconds));
    if (a->count > 0)
        adm_put(params, "count", json_integer(a->count));
    r = adm_read(adm, "session.capture", params, NULL, &result);
    if (r != 0)
        return r;
    r = taping_connect(t, adm_text(result, "path"));
    json_decref(result);
    if (r != 0)
        return r;
    taping_socket = t->socket;
    (void)signal(SIGINT, taping_stop);
    (void)signal(SIGTERM, taping_stop);
    (void)signal(SIGPIPE, SIG_IGN);
    r = taping_copy(t, a->sid);
    taping_socket = -1;
    if (r == 0)
        print_end(adm, t);
    return r;
}

int
adm_capture(struct adm *adm, json_t *params)
{
    struct taping t = {.name = adm->args.capture, .fd = -1, .socket = -1};
    int r = taping_open(&t);

    if (r != 0) {
        json_decref(params);
        return r;
    }
    r = taping_run(adm, &t, params);
    if (t.socket >= 0)
        (void)close(t.socket);
    if (t.fd != STDOUT_FILENO) {
        if (close(t.fd) < 0 && r == 0) {
            adm_error("%s: %s", t.name, strerror(errno));
            r = MANAGE_ERROR;
        }
        if (t.written == 0) /* nothing has begun */
            (void)unlink(t.name);
    }
    return r;
}

/* ---- the flight recorder -------------------------------------------------------------------- */

int
adm_flight(struct adm *adm, json_t *params)
{
    const json_t *pdus;
    json_t *result;
    int r = adm_read(adm, "session.flight", params, NULL, &result);

    if (r != 0)
        return r;
    pdus = adm_list(result, "pdus");
    if (adm->args.json)
        (void)adm_print_json(result);
    for (size_t i = 0; !adm->args.json && i < json_array_size(pdus); i++) {
        const json_t *p = json_array_get(pdus, i);
        int64_t us = adm_number(p, "age_us");

        (void)printf("-%" PRId64 ".%03d ms %c %s\n", us / 1000, (int)(us % 1000),
                     json_is_true(json_object_get(p, "sent")) ? '>' : '<', adm_text(p, "text"));
    }
    json_decref(result);
    return 0;
}
