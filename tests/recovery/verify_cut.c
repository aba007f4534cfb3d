/* SPDX-License-Identifier: MIT */
/* tests/recovery/verify_cut.c - cuts, and the time until I/O goes on.
 *
 * A cut is a command: "relay WORDS" for the relay, anything else for the shell.  With an outage a
 * second command ends it.  The time counts from the cut, or from the end of the outage, to the
 * first completion that came over another connection: after a cut by the relay alone, what it had
 * let through before may still be on its way, so that completions count once it has told of a new
 * link.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/recovery/verify.h"

#define RELAY_WORD     "relay "
#define VERIFY_REST_NS 500000000u

void
verify_cuts_init(struct verify_cuts *c, uint64_t now_ns)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};

    c->fd = -1;
    c->next_ns = now_ns + c->max_ms * 1000000ull;
    if (c->relay == NULL)
        return;
    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", c->relay);
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
        send(c->fd, "events\n", 7, MSG_NOSIGNAL) != 7)
        verify_die("%s: %s", c->relay, strerror(errno));
}

void
verify_cuts_fini(struct verify_cuts *c)
{
    if (c->fd >= 0)
        close(c->fd);
    free(c->recovery.ms);
    free(c->first_error.ms);
}

/* ---- commands -------------------------------------------------------------------------------- */

static void
command_begin(struct verify_cuts *c, const char *command)
{
    c->answered = false;
    if (strncmp(command, RELAY_WORD, strlen(RELAY_WORD)) == 0) {
        char line[256];
        int n = snprintf(line, sizeof(line), "%s\n", command + strlen(RELAY_WORD));

        if (c->fd < 0 || send(c->fd, line, (size_t)n, MSG_NOSIGNAL) != n)
            verify_die("the relay does not listen");
        return;
    }
    c->child = fork();
    if (c->child < 0)
        verify_die("fork: %s", strerror(errno));
    if (c->child == 0) {
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
}

static void
relay_says(struct verify_cuts *c, const char *line)
{
    if (strncmp(line, "ok", 2) == 0)
        c->answered = true;
    else if (strncmp(line, "event link ", 11) == 0)
        c->linked = c->linked || c->answered;
    else if (strncmp(line, "event ", 6) != 0)
        verify_die("the relay says: %s", line);
}

static void
relay_hear(struct verify_cuts *c)
{
    ssize_t n;
    char *end;

    while (c->fd >= 0 &&
           (n = recv(c->fd, c->line + c->len, sizeof(c->line) - c->len - 1, MSG_DONTWAIT)) >= 0) {
        if (n == 0)
            verify_die("the relay has gone");
        c->len += (size_t)n;
        c->line[c->len] = '\0';
        while ((end = strchr(c->line, '\n'))) {
            *end = '\0';
            relay_says(c, c->line);
            c->len -= (size_t)(end + 1 - c->line);
            memmove(c->line, end + 1, c->len + 1);
        }
    }
}

static bool
command_over(struct verify_cuts *c)
{
    int status = 0;

    relay_hear(c);
    if (c->child == 0)
        return c->answered;
    if (waitpid(c->child, &status, WNOHANG) != c->child)
        return false;
    c->child = 0;
    if (status != 0)
        verify_die("the command that cuts or mends has failed");
    return true;
}

/* ---- steps ------------------------------------------------------------------------------------
 */

static bool
cut_is_due(const struct verify_cuts *c, uint64_t now_ns)
{
    return c->state == VERIFY_CUT_IDLE && c->done < c->wanted && now_ns >= c->next_ns;
}

/* Nothing has been under way for so long that pings have acknowledged the last responses, where
 * they come more often. */
static bool
has_rested(struct verify_cuts *c, uint64_t now_ns, bool idle)
{
    if (!idle || c->idle_ns == 0)
        c->idle_ns = idle ? now_ns : 0;
    if (!idle || now_ns - c->idle_ns < VERIFY_REST_NS)
        return false;
    c->idle_ns = 0;
    return true;
}

bool
verify_cuts_rests(const struct verify_cuts *c, uint64_t now_ns)
{
    return c->quiet && (cut_is_due(c, now_ns) || c->state == VERIFY_CUT_DOWN);
}

void
verify_cuts_run(struct verify_cuts *c, uint64_t now_ns, bool idle, uint64_t *seed)
{
    switch (c->state) {
    case VERIFY_CUT_IDLE:
        if (!cut_is_due(c, now_ns) || (c->quiet && !has_rested(c, now_ns, idle)))
            return;
        c->since_ns = now_ns;
        c->first_error_ns = 0;
        c->linked = false;
        command_begin(c, c->down[verify_random(seed) % (unsigned)c->ndown]);
        c->state = VERIFY_CUT_DOWN;
        return;
    case VERIFY_CUT_DOWN:
        if (!command_over(c))
            return;
        c->next_ns = now_ns + c->outage_ms * 1000000ull;
        c->state = c->up ? VERIFY_CUT_OUTAGE : VERIFY_CUT_WAITING;
        return;
    case VERIFY_CUT_OUTAGE:
        if (now_ns < c->next_ns)
            return;
        command_begin(c, c->up);
        c->state = VERIFY_CUT_UP;
        return;
    case VERIFY_CUT_UP:
        if (!command_over(c))
            return;
        if (c->first_error_ns != 0)
            verify_times_add(&c->first_error, c->first_error_ns - c->since_ns);
        c->since_ns = now_ns;
        c->linked = true;
        c->state = VERIFY_CUT_WAITING;
        return;
    case VERIFY_CUT_WAITING:
        relay_hear(c);
        return;
    }
}

void
verify_cuts_io(struct verify_cuts *c, uint64_t now_ns, int good, int bad, uint64_t *seed)
{
    if (c->state != VERIFY_CUT_IDLE && bad > 0 && c->first_error_ns == 0)
        c->first_error_ns = now_ns;
    if (c->state != VERIFY_CUT_WAITING || good == 0)
        return;
    relay_hear(c);
    if (c->fd >= 0 && !c->linked)
        return;
    verify_times_add(&c->recovery, now_ns - c->since_ns);
    c->done++;
    c->next_ns =
        now_ns + (c->min_ms + verify_random(seed) % (c->max_ms - c->min_ms + 1)) * 1000000u;
    c->state = VERIFY_CUT_IDLE;
}

bool
verify_cuts_over(const struct verify_cuts *c)
{
    return c->done >= c->wanted && c->state == VERIFY_CUT_IDLE;
}

/* ---- figures ----------------------------------------------------------------------------------
 */

void
verify_times_add(struct verify_times *t, uint64_t ns)
{
    if (t->n == t->room) {
        t->room = t->room ? 2 * t->room : 1024;
        t->ms = realloc(t->ms, t->room * sizeof(*t->ms));
        if (t->ms == NULL)
            verify_die("no memory");
    }
    t->ms[t->n++] = (double)ns / 1e6;
}

static int
by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

void
verify_times_print(const char *name, struct verify_times *t)
{
    if (t->n == 0) {
        printf("\"%s\": null, ", name);
        return;
    }
    qsort(t->ms, t->n, sizeof(*t->ms), by_size);
    printf("\"%s\": {\"n\": %u, \"min\": %.1f, \"median\": %.1f, \"p90\": %.1f, \"max\": %.1f}, ",
           name, t->n, t->ms[0], t->ms[t->n / 2], t->ms[t->n - 1 - (t->n - 1) / 10],
           t->ms[t->n - 1]);
}
