/* SPDX-License-Identifier: MIT */
/* cmd/lunette/interrupt.c - Ctrl-C asks for a clean stop, twice for any stop.
 *
 * The handler's two variables are the only mutable globals of the program.
 */
#include "cmd/lunette/cli.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

static volatile sig_atomic_t caught;
static volatile sig_atomic_t in_call; /* a call that waits for one request is under way */

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
    if (in_call != 0) {
        static const char text[] = "lunette: stopping: waiting for 1 request; again ends at once\n";
        int e = errno;
        if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0) {
            /* there is nobody to tell */
        }
        errno = e;
    }
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
