/* SPDX-License-Identifier: MIT */
/* cmd/lunette/cli.h - what the subcommands of lunette share.
 *
 * A subcommand is one struct command with a table of its options.  The parser and the help
 * use the table, and tools/check-man compares the man page with the help.  The tool uses
 * the public API only.
 */
#ifndef CMD_LUNETTE_CLI_H
#define CMD_LUNETTE_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>
#include <lunette/lunette.h>

#include "cmd/lunette/capture.h"

/* Exit codes; documented in lunette(1).  Scripts rely on them. */
enum exit_code {
    EXIT_DONE,
    EXIT_OTHER,        /* a failure that has no code of its own */
    EXIT_USAGE,        /* the command line or the input is wrong */
    EXIT_CONNECT,      /* no connection, or it was lost */
    EXIT_LOGIN,        /* the target refused the login */
    EXIT_NOT_FOUND,    /* no such target or LUN */
    EXIT_SCSI,         /* the device failed a command */
    EXIT_TIMEOUT,      /* no answer in time */
    EXIT_VERIFY,       /* both sides of a copy differ */
    EXIT_PROTOCOL,     /* the target broke the protocol */
    EXIT_SIGNAL = 128, /* + signal: 130 for Ctrl-C */
};

/* ---- options (opt.c) ----------------------------------------------------------------------- */

enum opt_kind {
    OPT_FLAG,    /* bool */
    OPT_COUNT,   /* uint64_t, one more each time */
    OPT_STR,     /* const char * */
    OPT_UINT,    /* uint64_t between min and max */
    OPT_SIZE,    /* uint64_t bytes with suffix, between min and max */
    OPT_SECONDS, /* uint64_t nanoseconds, given in seconds with decimals */
    OPT_CHOICE,  /* uint64_t, the index into arg "a|b|c" */
    /* What follows these is optional, after a = only. */
    OPT_SPIN,         /* uint64_t microseconds, with a default where no value follows */
    OPT_MAYBE_SIZE,   /* as OPT_SIZE; UINT64_MAX where no value follows */
    OPT_MAYBE_CHOICE, /* as OPT_CHOICE, but counted from 1; 1 where no value follows */
};

struct opt {
    const char *name;
    char letter; /* 0: none */
    enum opt_kind kind;
    size_t offset; /* into the options' struct */
    const char *arg;
    const char *help;
    uint64_t min, max; /* max 0: no limit */
};

/* Options of every subcommand. */
struct common {
    uint64_t loop; /* enum lunette_loop */
    uint64_t spin_us;
    uint64_t verbose;
    const char *trace, *capture, *initiator_name, *chap_file;
    bool no_payload;
    bool json;
    bool help;
};

struct cli;

/* Which of them a command takes. */
enum common_use {
    COMMON_ALL,
    COMMON_WAIT, /* how to wait, which it hands on to others */
    COMMON_NONE, /* it logs in to nothing; --help is there */
};

struct command {
    const char *name;
    const char *operands;   /* what follows the options, a word each; the last may end with "..." */
    const char *synopsis;   /* the options that the synopsis shows */
    const char *summary;    /* one line */
    const char *about;      /* what --help says beyond the summary; a line feed ends a paragraph */
    const char *example;    /* command lines, each with what follows "lunette " */
    const struct opt *opts; /* ends with an entry without a name; NULL: none of its own */
    const void *defaults;   /* of opts_size bytes */
    size_t opts_size;       /* at most OPTS_MAX */
    bool json;
    enum common_use common;
    int min_args, max_args; /* max_args -1: any number */
    int (*run)(struct cli *cli, const void *opts, int argc, char **argv);
};
#define OPTS_MAX 256

#define CTX_MAX 2 /* a copy from LUN to LUN has one for each side */

struct progress;

/* Connections that were lost, and what has been told of them (outage.c). */
struct outages {
    unsigned down;     /* sessions without a connection now */
    uint64_t since_ns; /* when the latest was lost */
    uint64_t down_ns;  /* how long there was none, without the latest */
    uint64_t count;    /* how often one was lost */
    uint64_t untold;   /* of these, how often no line said so */
    uint64_t rewrites, untold_rewrites;
    uint64_t lost_writes; /* how often a cache may have lost what it had acknowledged */
    uint64_t told_ns;     /* when a line told of a loss because it was due */
    uint64_t wait_ns;     /* from then until the next is */
    uint64_t tries_ns;    /* when a line told of this outage last */
    uint64_t conns; /* how often one connection of several was lost, and the session was not */
    uint64_t conns_untold, conn_since_ns, conn_told_ns, conn_wait_ns; /* as above, for these */
    uint64_t last_told_ns, last_wait_ns;                              /* and where none was left */
    bool conn_awaited; /* a line said that requests wait for another one */
    bool shown;        /* one did */
    bool endless;      /* the command goes on, however long it lasts */
    char reason[260];  /* that was told last */
};

struct cli {
    const struct command *cmd;
    int trace_fd; /* -1: none */
    struct capture_file capture;
    struct common common;
    struct lunette_ctx *ctx; /* the newest, made by cli_ctx; NULL: none */
    struct lunette_ctx *all[CTX_MAX];
    int nctx;
    struct progress *progress; /* on the screen just now; NULL: none */
    bool quiet;                /* only what fails is told */
    struct outages outages;
};

/* Parses argv[1..] and moves what is no option behind the options; *ret_args is the index of the
 * first of them.  Returns 0, or -EINVAL after printing the reason. */
int opt_parse(const struct command *cmd, int argc, char **argv, struct common *common, void *opts,
              int *ret_args);
void opt_help(const struct command *cmd);
/* The command and its options as JSON, for generators of completions and the like. */
json_t *opt_dump(const struct command *cmd);

/* ---- the run (main.c) ---------------------------------------------------------------------- */

/* Makes cli->ctx, a new context with the common options.  Returns 0, or an exit code after printing
 * the reason. */
int cli_ctx(struct cli *cli);
/* Calls lunette_open in cli->ctx, which it makes if there is none.  Returns 0, or an exit code
 * after printing the reason. */
int cli_open(struct cli *cli, const char *url, uint32_t flags, struct lunette_lun **ret);

/* What was printed has to arrive.  0, or an exit code after printing the reason. */
int cli_flush(void);

/* ---- errors (fail.c) ----------------------------------------------------------------------- */

/* Prints "lunette: what: reason" and what to do next; returns the exit code for err. */
int fail_with(const struct lunette_error *err, const char *what);
/* The same for input that is wrong; returns EXIT_USAGE. */
int fail_usage(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Says that word is no URL of an iSCSI target; returns EXIT_USAGE. */
int fail_no_url(const char *command, const char *word);
/* The same for a system call; returns EXIT_OTHER. */
int fail_errno(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Says that a LUN may have lost writes that are not made again; returns EXIT_SCSI. */
int fail_lost_writes(const char *what, const char *why);
/* Prints "lunette: ..." on standard error, for what is no failure; on a terminal it is wrapped. */
void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The same without "lunette: ", for summaries. */
void tell(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Prints a line below an item of a list on standard output; on a terminal it is wrapped. */
void list_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Prints what to do next, as the line below a failure. */
void hint(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
int exit_code_of(const struct lunette_error *err);
/* Fills err from what a request on a queue came back with. */
void error_of_completion(struct lunette_error *err, const struct lunette_queue *q,
                         const struct lunette_completion *c, const char *verb, uint64_t offset);
/* Fills err from a call that returns -errno without a reason. */
void error_of_code(struct lunette_error *err, int code, const char *what);

/* ---- Ctrl-C (interrupt.c) ------------------------------------------------------------------ */

/* From now on SIGINT, SIGTERM and SIGHUP, and SIGPIPE if pipes is set, are only noted; a second
 * signal ends the program at once.  One that was ignored when the program began stays ignored. */
void interrupt_catch(bool pipes);
/* The same without SIGPIPE, and the program ends within a second of the first signal, whatever it
 * is doing then: for commands, such as cmd, that would wait for a target otherwise. */
void interrupt_catch_in_time(const char *cmd);
/* What goes to standard output where that ends the program; text is borrowed.  NULL: nothing. */
void interrupt_last_words(const char *text);
/* The signal that came, or 0. */
int interrupted(void);
/* Around a call of the library that waits: Ctrl-C cannot end it, and so is answered at once. */
void interrupt_in_call(bool waits);
/* Says that the requests that are under way are waited for. */
void interrupt_tell(const char *cmd, uint32_t requests);

/* ---- connections that are lost and come back (outage.c) -------------------------------------- */

/* Prints what happens to the sessions of cli->ctx, which has just been made. */
void outage_watch(struct cli *cli);
/* How long there was no connection up to now. */
uint64_t outage_down_ns(const struct cli *cli);
/* Says that the LUN may have lost writes, which are made again from that byte on. */
void outage_rewrite(struct cli *cli, uint64_t offset);
/* Says at the end what was not told when it happened. */
void outage_summary(const struct cli *cli);

/* ---- text (text.c) ------------------------------------------------------------------------- */

#define TEXT_SIZE 32

/* Reads a decimal, hexadecimal (0x) or octal number.  Returns 0, -EINVAL or -ERANGE. */
int parse_uint(const char *text, uint64_t *ret);
/* Reads seconds, such as "0.5" or "20ms", as nanoseconds. */
int parse_seconds(const char *text, uint64_t *ret);

/* Writes "256 MiB" to buf, which holds TEXT_SIZE bytes and is returned. */
const char *format_size(char *buf, uint64_t bytes);
/* Writes "256M", as base/size.h reads it. */
const char *format_size_short(char *buf, uint64_t bytes);
const char *format_rate(char *buf, double bytes_per_second);
/* "1.2 ms" */
const char *format_ns(char *buf, double ns);
const char *device_type_name(uint8_t type);
/* Why a disk could not be brought up: err is the -errno of struct lunette_info. */
const char *unit_error_text(int err);

/* Columns of the terminal that standard error is, or 80. */
int terminal_columns(void);
/* Prints text and a line feed, broken at blanks so that no line is longer than `columns`: its first
 * line begins in `column`, the others behind `indent` blanks. */
void text_wrap(FILE *to, const char *text, int columns, int column, int indent);

/* Prints sixteen bytes a line, with their offset and as characters. */
void hexdump(FILE *to, const void *data, size_t len, uint64_t offset);

/* Reads bytes in hex digits, with spaces, commas, colons or 0x between them.  Returns the number of
 * bytes, -EINVAL, or -E2BIG when they are more than size. */
int parse_hex(const char *text, uint8_t *buf, size_t size);

uint64_t now_ns(void);
/* Zeroed memory, and memory that is aligned for data, too.  Without memory, or address space, the
 * program exits. */
void *xmalloc(uint64_t len);
void *xbuffer(uint64_t len);
char *xstrdup(const char *s);
bool all_zero(const void *data, size_t len);

/* ---- URLs (url.c) -------------------------------------------------------------------------- */

bool url_is_iscsi(const char *text);
/* Does the URL name a target? */
bool url_has_target(const char *url);
/* A URL, or a word in its place, without its secrets, for messages: see lunette_url_mask.  The
 * caller frees it. */
char *url_public(const char *url);
/* The same for the path of a file, which is shown as it is unless it looks like a URL. */
char *path_public(const char *path);
/* Takes the secrets out of a word of the command line, in place, where ps(1) shows it. */
void url_hide_secrets(char *word);
/* Returns the URL of target at portal (host:port), with the user and the query of base, and what
 * cannot stand in a URL as %XX.  The caller frees it. */
char *url_with_target(const char *base, const char *portal, const char *target);
/* The target's name, and the URL without it and the LUN.  The caller frees both. */
char *url_target(const char *url);
char *url_without_target(const char *url);
/* The text, with iscsi:// before it where it has no scheme.  The caller frees it. */
char *url_of_portal(const char *text);
/* host[:port] of a URL or of a bare portal.  The caller frees it. */
char *url_portal(const char *text);

/* ---- names of targets (names.c) -------------------------------------------------------------- */

/* The name as the target of a URL: what cannot stand there, or what a terminal might obey, as %XX.
 * The caller frees it. */
char *name_encoded(const char *name);
/* NULL, or why an address that a target told cannot be understood. */
const char *address_fault(const char *address);
/* The name as it is, or encoded where it is no UTF-8. */
json_t *json_of_name(const char *name);
/* Adds "note" to j, unless note is NULL. */
void json_add_note(json_t *j, const char *note);
/* Prints the note, unless it is NULL, that belongs to a ! in a list. */
void name_print_note(const char *name, const char *note);

/* ---- JSON (json.c) ------------------------------------------------------------------------- */

/* Prints j on stdout and frees it.  Returns EXIT_DONE or EXIT_OTHER. */
int json_print(json_t *j);
/* What json_print would print, and frees j.  The caller frees it. */
char *json_text(json_t *j);
/* The same on one line, for a stream of objects. */
int json_print_line(json_t *j);
json_t *json_of_info(const struct lunette_info *info);
json_t *json_of_session(const struct lunette_session *session,
                        const struct lunette_session_info *s);
/* Of it, only what may change while the session is there. */
json_t *json_of_state(const struct lunette_session *session, const struct lunette_session_info *s);
const char *session_state_name(enum lunette_session_state state);
const char *conn_state_name(enum lunette_conn_state state);

/* ---- subcommands --------------------------------------------------------------------------- */

extern const struct command cmd_demo, cmd_discover, cmd_ls, cmd_info, cmd_read, cmd_write, cmd_copy,
    cmd_bench, cmd_ping, cmd_scsi, cmd_attach, cmd_top, cmd_transports;

#endif
