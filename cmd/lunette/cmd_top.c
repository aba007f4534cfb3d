/* SPDX-License-Identifier: MIT */
/* cmd/lunette/cmd_top.c - lunette top: sessions and LUNs of iscsid as they are at work. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "cmd/common/instance.h"
#include "cmd/lunette/cli.h"
#include "cmd/lunette/top.h"

#define WAIT_SLICE_MS 100
#define WIDE          300

struct top_opts {
    uint64_t interval_ns;
    const char *root, *instance;
    bool once;
};

static const struct top_opts top_defaults = {.interval_ns = 1000000000u};

static const struct opt top_options[] = {
    {"interval", 'i', OPT_SECONDS, offsetof(struct top_opts, interval_ns), "SECONDS",
     "between two looks (1)", 10000000u, 3600000000000u},
    {"once", '1', OPT_FLAG, offsetof(struct top_opts, once), NULL,
     "look twice, print what was in between, and leave", 0, 0},
    {"root", 0, OPT_STR, offsetof(struct top_opts, root), "DIR",
     "the instance whose files are below DIR", 0, 0},
    {"instance", 0, OPT_STR, offsetof(struct top_opts, instance), "NAME",
     "the instance of that name", 0, 0},
    {0},
};

/* What the terminal was like; the program has one. */
static struct top_screen {
    bool on, keys; /* the screen is ours; keys are read */
    bool quit;     /* q */
    struct termios was;
} screen;

/* ---- the terminal --------------------------------------------------------------------------- */

static void
screen_begin(void)
{
    struct termios t;

    if (isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &screen.was) == 0) {
        t = screen.was;
        t.c_lflag &= (tcflag_t) ~(ICANON | ECHO);
        t.c_cc[VSUSP] = _POSIX_VDISABLE; /* it would leave the screen as it is */
        t.c_cc[VMIN] = 0;
        t.c_cc[VTIME] = 0;
        screen.keys = tcsetattr(STDIN_FILENO, TCSANOW, &t) == 0;
    }
    screen.on = true;
    (void)fputs("\033[?1049h\033[?25l", stdout);
    (void)fflush(stdout);
}

static void
screen_end(void)
{
    if (!screen.on)
        return;
    screen.on = false;
    (void)fputs("\033[?25h\033[?1049l", stdout);
    (void)fflush(stdout);
    if (screen.keys)
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &screen.was);
}

static void
screen_size(int *ret_columns, int *ret_rows)
{
    struct winsize ws;

    *ret_columns = WIDE; /* where it is no terminal */
    *ret_rows = 24;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) != 0)
        return;
    *ret_columns = ws.ws_col > 0 ? ws.ws_col : 80;
    *ret_rows = ws.ws_row > 0 ? ws.ws_row : 24;
}

/* Was the end asked for?  Takes keys that have been typed. */
static bool
top_enough(void)
{
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
    char key;

    while (screen.keys && poll(&p, 1, 0) > 0) {
        ssize_t n = read(STDIN_FILENO, &key, 1);

        if (n == 1 && (key == 'q' || key == 'Q'))
            screen.quit = true;
        if (n <= 0) {
            screen.keys = n < 0 && errno == EINTR; /* the terminal is gone */
            break;
        }
    }
    return screen.quit || interrupted() != 0;
}

/* ---- looking -------------------------------------------------------------------------------- */

static void
top_wait(uint64_t when)
{
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};

    while (!top_enough() && now_ns() < when) {
        uint64_t left_ms = (when - now_ns()) / 1000000 + 1;

        (void)poll(&p, screen.keys ? 1 : 0, left_ms < WAIT_SLICE_MS ? (int)left_ms : WAIT_SLICE_MS);
    }
}

static void
top_show(const struct cli *cli, const struct top_rates *r)
{
    int columns, rows;

    if (cli->common.json) {
        (void)json_print_line(top_rates_json(r));
        return;
    }
    if (!screen.on) {
        screen_size(&columns, &rows);
        top_draw(stdout, r, columns, 0, "\n");
        return;
    }
    screen_size(&columns, &rows);
    (void)fputs("\033[H", stdout);
    top_draw(stdout, r, columns, rows, "\033[K\r\n");
    (void)fputs("\033[J", stdout);
    (void)fflush(stdout);
}

static void
show_trouble(const char *why)
{
    int columns, rows;

    screen_size(&columns, &rows);
    (void)printf("\033[H%.*s\033[K\r\n\033[J", columns > 1 ? columns - 1 : 1, why);
    (void)fflush(stdout);
}

/* Looks until it is enough, or once; options say which instance it is.  Returns the exit code. */
static int
look(const struct cli *cli, const struct top_opts *o, struct top_daemon *d, const char *options)
{
    json_t *before = NULL, *after;
    uint64_t then = 0;
    int code = EXIT_DONE;
    char why[256];

    while (!top_enough()) {
        uint64_t began = now_ns();
        struct top_rates r;

        after = top_ask(d, top_enough, why, sizeof(why));
        if (after == NULL && !top_enough()) {
            if (!screen.on) {
                code = EXIT_CONNECT;
                break;
            }
            show_trouble(why);
        }
        if (after != NULL && (before != NULL || !o->once)) {
            top_rates(&r, before, after, before != NULL ? (double)(began - then) / 1e9 : 0);
            if (before != NULL || screen.on)
                top_show(cli, &r);
            top_rates_fini(&r);
        }
        if (after != NULL && before != NULL && o->once) {
            json_decref(after);
            break;
        }
        json_decref(before);
        before = after;
        then = began;
        top_wait(began + o->interval_ns);
    }
    json_decref(before);
    screen_end();
    if (code == EXIT_CONNECT) {
        note("top: %s", why);
        if (d->denied)
            hint("only its own user and root may ask it");
        else
            hint("`iscsiadm%s -m session` starts it%s", options,
                 options[0] != '\0' ? "" : "; --root and --instance say which one is meant");
    }
    return code != EXIT_DONE ? code : interrupted() != 0 ? EXIT_SIGNAL + interrupted() : EXIT_DONE;
}

static int
run_top(struct cli *cli, const void *opts, int argc, char **argv)
{
    const struct top_opts *o = opts;
    struct top_daemon d = {.fd = -1};
    struct lunette_error err = LUNETTE_INIT(err);
    struct instance in;
    char options[INSTANCE_OPTIONS_MAX];
    int code;

    (void)argc;
    (void)argv;
    if (instance_find(o->root, o->instance, &in, &err) < 0)
        return fail_usage("top: %s", err.msg);
    if (snprintf(d.path, sizeof(d.path), "%s/iscsid.sock", in.run) >= (int)sizeof(d.path))
        return fail_usage("top: %s is too long for the path of a socket", in.run);
    interrupt_catch(false);
    if (!o->once && !cli->common.json && isatty(STDOUT_FILENO))
        screen_begin();
    code = look(cli, o, &d, instance_options(&in, options));
    screen_end();
    top_hang_up(&d);
    return code;
}

const struct command cmd_top = {
    .name = "top",
    .operands = "",
    .synopsis = "[-i SECONDS] [--once] [--root DIR] [OPTION...]",
    .summary = "sessions and LUNs of iscsid, live",
    .about =
        "Shows each LUN of the sessions that iscsid keeps: requests and megabytes in a second, how "
        "long requests take (mean, and what 99 of 100 do not exceed), its state, and how often the "
        "connection was lost and is back.  q and Ctrl-C end it.\n"
        "Where standard output is no terminal, it prints the lines for each interval; with --json "
        "an object.",
    .example = "top\n"
               "top --root ~/i --once\n"
               "top -i 5 --json",
    .opts = top_options,
    .defaults = &top_defaults,
    .opts_size = sizeof(struct top_opts),
    .json = true,
    .common = COMMON_NONE,
    .min_args = 0,
    .max_args = 0,
    .run = run_top,
};
