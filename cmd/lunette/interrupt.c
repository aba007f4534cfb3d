/* SPDX-License-Identifier: MIT */
/* cmd/lunette/interrupt.c - Ctrl-C asks for a clean stop, twice for any stop.
 *
 * The handler's one variable is the only mutable global of the program.
 */
#include "cmd/lunette/cli.h"

#include <signal.h>

static volatile sig_atomic_t caught;

static void
on_signal(int sig)
{
    caught = sig;
}

void
interrupt_catch(bool pipes)
{
    /* no SA_RESTART: a blocked read must return */
    struct sigaction sa = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};

    sigemptyset(&sa.sa_mask);
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGHUP, &sa, NULL);
    if (pipes)
        sigaction(SIGPIPE, &sa, NULL);
}

int
interrupted(void)
{
    return caught;
}
