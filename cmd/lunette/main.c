/* SPDX-License-Identifier: MIT */
/* cmd/lunette/main.c - picks the subcommand, and makes its context. */
#include "cmd/lunette/cli.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/suggest.h"
#include "cmd/common/stdfds.h"

#define TRACE_EVENTS (1u << 16)

static const struct command *const commands[] = {
    &cmd_demo,  &cmd_discover, &cmd_ls,   &cmd_info,   &cmd_read, &cmd_write,      &cmd_copy,
    &cmd_bench, &cmd_ping,     &cmd_scsi, &cmd_attach, &cmd_top,  &cmd_transports,
};
#define NCOMMANDS (sizeof(commands) / sizeof(commands[0]))

static void
help(FILE *to)
{
    fprintf(to, "usage: lunette COMMAND [OPTION...] [ARGUMENT...]\n\n"
                "iSCSI without kernel modules, root or daemons.\n\n");
    for (size_t i = 0; i < NCOMMANDS; i++)
        fprintf(to, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
    fprintf(to, "\n"
                "  -h, --help     print this and leave; after a command: all about it\n"
                "  -V, --version  print the version and leave\n"
                "\n"
                "URLs: iscsi://[user@]host[:port]/target-iqn[/lun][?key=value&...]\n"
                "      see lunette-url(7)\n"
                "start here: lunette demo\n");
}

static void
log_to_stderr(void *user, int level, const char *line)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};

    (void)user;
    fprintf(stderr, "lunette: %s: %s\n", names[level < 0 || level > 3 ? 3 : level], line);
}

/* Without -v: of the warnings only those that no exit code and no error tells. */
static void
warn_on_stderr(void *user, int level, const char *line)
{
    if (strncmp(line, "name: ", 6) == 0 || strncmp(line, "discovery: ", 11) == 0)
        log_to_stderr(user, level, line);
}

/* The library takes credentials from the environment.  The file that the command line names is put
 * there and replaces any others. */
static int
use_chap_file(const char *path)
{
    if (access(path, R_OK) < 0) {
        int e = errno;
        char *public = url_public(path); /* somebody may have put the secret in its place */
        fail_usage("--chap-file=%s: %s", public, strerror(e));
        free(public);
        return EXIT_USAGE;
    }
    if (setenv("LUNETTE_CHAP_FILE", path, 1) < 0 || unsetenv("LUNETTE_CHAP") < 0)
        return fail_errno(-errno, "--chap-file");
    return 0;
}

/* Opened before anything is done, so that nothing is done in vain. */
static int
open_trace(struct cli *cli)
{
    const char *path = cli->common.trace;

    if (path == NULL || cli->trace_fd >= 0)
        return 0;
    cli->trace_fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (cli->trace_fd >= 0)
        return 0;
    int e = errno;
    char *public = path_public(path);
    fail_errno(-e, "--trace=%s", public);
    free(public);
    return EXIT_USAGE;
}

/* The first context is captured; a second one is the other side of a copy.  There is no capture on
 * the standard output, which has what the command prints. */
static int
open_capture(struct cli *cli)
{
    const char *path = cli->common.capture;

    if (path == NULL || cli->capture.file >= 0)
        return 0;
    if (strcmp(path, "-") == 0)
        return fail_usage("--capture=-: name a file; the standard output has what %s prints",
                          cli->cmd->name);
    int r = capture_file_open(&cli->capture, path);
    if (r == 0)
        return 0;
    char *public = path_public(path);
    fail_errno(r, "--capture=%s", public);
    free(public);
    return EXIT_USAGE;
}

int
cli_ctx(struct cli *cli)
{
    const struct common *c = &cli->common;
    struct lunette_ctx_options o = {
        .struct_size = sizeof(o),
        .initiator_name = c->initiator_name,
        .loop = (enum lunette_loop)c->loop,
        .spin_us = (uint32_t)c->spin_us,
        .log_level = c->verbose >= 2   ? 3
                     : c->verbose == 1 ? 2
                                       : 1,
        .log = c->verbose > 0 ? log_to_stderr : warn_on_stderr,
        .trace_events = c->trace != NULL ? TRACE_EVENTS : 0,
    };
    struct lunette_error err = LUNETTE_INIT(err);

    if (c->chap_file != NULL) {
        int r = use_chap_file(c->chap_file);
        if (r != 0)
            return r;
    }
    int traced = open_trace(cli);
    if (traced == 0)
        traced = open_capture(cli);
    if (traced != 0)
        return traced;
    if (lunette_ctx_new(&o, &cli->ctx, &err) < 0)
        return fail_with(&err, cli->cmd->name);
    assert(cli->nctx < CTX_MAX);
    cli->all[cli->nctx++] = cli->ctx;
    if (cli->nctx == 1 && cli->capture.file >= 0 &&
        capture_file_start(&cli->capture, cli->ctx, c->no_payload ? LUNETTE_CAPTURE_NO_PAYLOAD : 0,
                           &err) < 0)
        return fail_with(&err, "--capture");
    outage_watch(cli);
    return 0;
}

/* The target does not know the name: which one that it tells of may have been meant? */
static void
suggest_target(struct cli *cli, const char *url)
{
    struct lunette_target t = LUNETTE_INIT(t);
    struct lunette_targets *targets = NULL;
    char *portal = url_without_target(url), *name = url_target(url);
    char best[sizeof(t.name)];
    struct suggest s = {.typed = name};

    if (lunette_discover(cli->ctx, portal, &targets, NULL) == 0) {
        for (size_t i = 0; lunette_targets_get(targets, i, &t) == 0; i++) {
            suggest_try(&s, t.name);
            if (s.best == t.name) { /* the next target takes its place */
                memcpy(best, t.name, sizeof(best));
                s.best = best;
            }
        }
        char *encoded = name_encoded(s.best != NULL ? s.best : t.name);
        if (s.best != NULL)
            hint("did you mean %s?", encoded);
        else if (lunette_targets_count(targets) == 1)
            hint("its only target is %s", encoded);
        free(encoded);
    }
    lunette_targets_free(targets);
    free(portal);
    free(name);
}

/* Says where the target has agreed to less than the URL asks for. */
static void
say_less(const struct cli *cli, const struct lunette_lun *lun)
{
    struct lunette_session_info s = LUNETTE_INIT(s);

    if (cli->quiet || lunette_get_session_info(lun, &s) < 0)
        return;
    if (s.max_connections < s.nconnections_wanted)
        note("%s: the target lets a session have %u connection%s, and %u were asked for",
             cli->cmd->name, s.max_connections, s.max_connections == 1 ? "" : "s",
             s.nconnections_wanted);
    if (s.error_recovery_level < s.error_recovery_level_wanted)
        note("%s: the target agrees to error recovery level %u, and %u was asked for",
             cli->cmd->name, s.error_recovery_level, s.error_recovery_level_wanted);
}

int
cli_open(struct cli *cli, const char *url, uint32_t flags, struct lunette_lun **ret)
{
    struct lunette_error err = LUNETTE_INIT(err);

    if (!url_is_iscsi(url))
        return fail_no_url(cli->cmd->name, url);
    if (!url_has_target(url)) {
        char *public = url_public(url);
        fail_usage("%s: %s names no target", cli->cmd->name, public);
        hint("`lunette ls %s` lists the targets that are there", public);
        free(public);
        return EXIT_USAGE;
    }
    if (cli->ctx == NULL) {
        int r = cli_ctx(cli);
        if (r != 0)
            return r;
    }
    if (lunette_open(cli->ctx, url, flags, ret, &err) == 0) {
        say_less(cli, *ret);
        return 0;
    }
    char *public = url_public(url);
    int code = fail_with(&err, public);
    free(public);
    if (err.domain == LUNETTE_DOM_LOGIN && code == EXIT_NOT_FOUND)
        suggest_target(cli, url);
    return code;
}

static int
write_trace(const struct cli *cli)
{
    int r = 0;

    for (int i = 0; i < cli->nctx && r == 0; i++)
        r = lunette_ctx_trace(cli->all[i], cli->trace_fd);
    if (close(cli->trace_fd) < 0 && r == 0)
        r = -errno;
    if (r == 0)
        return 0;
    char *public = path_public(cli->common.trace);
    int code = fail_errno(r, "--trace=%s", public);
    free(public);
    return code;
}

static void
tell_capture(const struct cli *cli, const char *file)
{
    const struct capture_tail *tail = &cli->capture.tail;
    char dropped[80] = "";

    if (cli->quiet && tail->dropped == 0 && tail->done)
        return;
    if (tail->dropped > 0)
        snprintf(dropped, sizeof(dropped),
                 "; %" PRIu64 " packets are left out: the file was too slow", tail->dropped);
    if (!tail->done)
        note("capture: %s has no end: the rest of the packets is lost", file);
    else
        note("capture: %" PRIu64 " packets (%" PRIu64 " bytes) are in %s, %s the data of commands "
             "and without the secrets of logins%s",
             tail->packets, cli->capture.written, file, cli->common.no_payload ? "without" : "with",
             dropped);
}

/* All contexts are gone.  A file without a packet is not kept, since the next try makes it anew. */
static int
end_capture(struct cli *cli)
{
    struct capture_file *c = &cli->capture;
    int code = EXIT_DONE;

    if (c->file < 0)
        return EXIT_DONE;
    char *public = path_public(cli->common.capture);
    int r = capture_file_end(c);
    if (r < 0)
        code = fail_errno(r, "--capture=%s", public);
    else if (c->tail.packets > 0 || (c->written > 0 && !c->tail.done))
        tell_capture(cli, public);
    else if (unlink(cli->common.capture) == 0 && c->written > 0)
        note("capture: there was no packet, and so there is no %s", public);
    free(public);
    return code;
}

int
cli_flush(void)
{
    return fflush(stdout) == 0 ? EXIT_DONE : fail_errno(-errno, "writing the output");
}

static int
main_run(const struct command *cmd, int argc, char **argv)
{
    struct cli cli = {.cmd = cmd, .trace_fd = -1, .capture = {.file = -1}};
    _Alignas(max_align_t) char opts[OPTS_MAX] = {0};
    int first = 0;

    if (cmd->defaults != NULL)
        memcpy(opts, cmd->defaults, cmd->opts_size);
    if (opt_parse(cmd, argc, argv, &cli.common, opts, &first) < 0)
        return EXIT_USAGE;
    if (cli.common.help) {
        opt_help(cmd);
        return cli_flush();
    }
    if (cli.common.no_payload && cli.common.capture == NULL)
        return fail_usage("%s: --no-payload is of --capture, which is not there", cmd->name);
    int code = cmd->run(&cli, opts, argc - first, argv + first);
    outage_summary(&cli);
    if (cli.trace_fd >= 0) {
        int r = write_trace(&cli);
        if (code == EXIT_DONE)
            code = r;
    }
    for (int i = 0; i < cli.nctx; i++)
        lunette_ctx_free(cli.all[i]);
    int captured = end_capture(&cli);
    if (code == EXIT_DONE)
        code = captured;
    return code == EXIT_DONE ? cli_flush() : code;
}

static int
no_command(const char *name)
{
    struct suggest s = {.typed = name};

    char *public = url_public(name);
    if (name[0] == '-') {
        fail_usage("%.*s: there must be a command before its options", (int)strcspn(public, "="),
                   public);
        free(public);
        hint("usage: lunette COMMAND [OPTION...] [ARGUMENT...]");
        hint("`lunette --help` lists what there is");
        return EXIT_USAGE;
    }
    for (size_t i = 0; i < NCOMMANDS; i++)
        suggest_try(&s, commands[i]->name);
    fail_usage("no command '%s'", public);
    free(public);
    if (s.best != NULL)
        hint("did you mean `lunette %s`?", s.best);
    hint("`lunette --help` lists what there is");
    return EXIT_USAGE;
}

/* For generators of completions: not in --help, as nobody types it. */
static int
print_options(void)
{
    json_t *all = json_array();

    for (size_t i = 0; i < NCOMMANDS; i++)
        json_array_append_new(all, opt_dump(commands[i]));
    return json_print(json_pack("{s:s, s:[{s:s, s:s, s:s, s:s}, {s:s, s:s, s:s, s:s}], s:o}",
                                "program", "lunette", "options", "name", "help", "letter", "h",
                                "value", "no", "help", "print this and leave", "name", "version",
                                "letter", "V", "value", "no", "help", "print the version and leave",
                                "commands", all));
}

/* Returns a copy of the words, after which ps(1) shows them without secrets. */
static char **
take_words(int argc, char **argv)
{
    static char **words; /* static: they live as long as the program does */

    words = xmalloc(((size_t)argc + 1) * sizeof(*words));
    for (int i = 0; i < argc; i++) {
        words[i] = xstrdup(argv[i]);
        if (i > 0)
            url_hide_secrets(argv[i]);
    }
    words[argc] = NULL;
    return words;
}

/* The JSON library leaves out what it has no memory for, and a list that lacks something must not
 * look like a complete one. */
static void *
json_memory(size_t size)
{
    return xmalloc(size);
}

int
main(int argc, char **argv)
{
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    int r = stdfds_open();

    if (r < 0)
        return fail_errno(r, "/dev/null, in place of a standard descriptor that is closed");
    sigaction(SIGXFSZ, &ignore, NULL); /* a file that may not grow is an error of a write */
    json_set_alloc_funcs(json_memory, free);
    argv = take_words(argc, argv);
    if (argc < 2) {
        help(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0 ||
        (strcmp(argv[1], "help") == 0 && argc == 2)) {
        help(stdout);
        return cli_flush();
    }
    if (strcmp(argv[1], "-V") == 0 || strcmp(argv[1], "--version") == 0) {
        printf("lunette %s\n", lunette_version());
        return cli_flush();
    }
    if (strcmp(argv[1], "--print-options") == 0)
        return print_options();
    bool help_of = strcmp(argv[1], "help") == 0;
    const char *name = help_of ? argv[2] : argv[1];
    for (size_t i = 0; i < NCOMMANDS; i++) {
        if (strcmp(name, commands[i]->name) != 0)
            continue;
        if (help_of) {
            opt_help(commands[i]);
            return cli_flush();
        }
        return main_run(commands[i], argc - 1, argv + 1);
    }
    return no_command(name);
}
