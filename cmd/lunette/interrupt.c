/* SPDX-License-Identifier: MIT */
/* cmd/lunette/interrupt.c - Ctrl-C asks for a clean stop, twice for any stop.
 *
 * A clean stop waits for what is under way and logs out.  Where that takes too long, since the
 * target is away or does not answer, the program ends without it: whoever pressed Ctrl-C wants an
 * end now.
 *
 * What the handlers use are the only mutable globals of the program.
 */
#include "cmd/lunette/cli.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CLEAN_STOP_MS 700

static volatile sig_atomic_t caught;
static volatile sig_atomic_t in_call; /* a call that waits for one request is under way */
static timer_t limit;                 /* of the clean stop */
static bool limited;
static const char *volatile last_words;
/* made before a handler can print them */
static char waits_text[96] = "lunette: stopping: waiting for 1 request; again ends at once\n";
static char ends_text[96];

static void
interrupt_write(int fd, const char *text)
{
    int e = errno;

    if (write(fd, text, strlen(text)) < 0) {
        /* there is nobody to tell */
    }
    errno = e;
}

/* The second signal, be it the same or another, ends the program as if nobody had caught it. */
static void
on_signal(int sig)
{
    if (caught != 0) {
        signal(sig, SIG_DFL);
        raise(sig); /* comes when this handler returns, as sig is blocked until then */
        return;
    }
    caught = sig;
    if (limited) {
        const struct itimerspec in = {.it_value.tv_nsec = CLEAN_STOP_MS * 1000000l};
        timer_settime(limit, 0, &in, NULL);
    }
    if (in_call != 0)
        interrupt_write(STDERR_FILENO, waits_text);
}

/* The clean stop has taken too long.  What had to be kept of the work is in its file already. */
static void
on_limit(int sig)
{
    (void)sig;
    interrupt_write(STDERR_FILENO, ends_text);
    if (last_words != NULL)
        interrupt_write(STDOUT_FILENO, last_words);
    _exit(EXIT_SIGNAL + caught);
}

/* A signal that whoever started us had ignored stays ignored: nohup(1), or a shell without job
 * control that started us in the background. */
static void
catch_signal(int sig)
{
    /* no SA_RESTART: a blocked read must return */
    struct sigaction sa = {.sa_handler = on_signal}, old;

    sigemptyset(&sa.sa_mask);
    if (sigaction(sig, NULL, &old) == 0 && old.sa_handler == SIG_IGN)
        return;
    sigaction(sig, &sa, NULL);
}

void
interrupt_catch(bool pipes)
{
    catch_signal(SIGINT);
    catch_signal(SIGTERM);
    catch_signal(SIGHUP);
    if (pipes)
        catch_signal(SIGPIPE);
}

void
interrupt_catch_in_time(const char *cmd)
{
    struct sigevent by_signal = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
    struct sigaction sa = {.sa_handler = on_limit};

    (void)snprintf(waits_text, sizeof(waits_text),
                   "lunette: %s: stopping: waiting for 1 request; again ends at once\n", cmd);
    (void)snprintf(ends_text, sizeof(ends_text), "lunette: %s: ended without waiting any longer\n",
                   cmd);
    sigfillset(&sa.sa_mask);
    sigaction(SIGALRM, &sa, NULL);
    limited = timer_create(CLOCK_MONOTONIC, &by_signal, &limit) == 0;
    interrupt_catch(false);
}

void
interrupt_last_words(const char *text)
{
    last_words = text;
}

int
interrupted(void)
{
    return caught;
}

void
interrupt_in_call(bool waits)
{
    in_call = waits;
}

void
interrupt_tell(const char *cmd, uint32_t requests)
{
    note("%s: stopping: waiting for %u request%s; again ends at once", cmd, (unsigned)requests,
         requests == 1 ? "" : "s");
}
