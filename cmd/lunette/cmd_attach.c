/* SPDX-License-Identifier: MIT */
/* cmd/lunette/cmd_attach.c - lunette attach: a LUN for other programs, as long as it runs. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/common/stdfds.h"
#include "cmd/lunette/cli.h"

#define ATTACH_ROOM 4          /* descriptors that are left for clients, at least */
#define LOOK_MS     200        /* between two looks at whether a signal has come */
#define SLOW_NS     1000000000 /* a stop that takes longer is explained */
#define PATH_LEN    108        /* of a socket, with the NUL */

struct attach_opts {
    uint64_t as;
    const char *socket;
    bool read_only;
};

static const struct opt attach_options[] = {
    {"as", 0, OPT_CHOICE, offsetof(struct attach_opts, as), "nbd-socket",
     "what other programs see: NBD on a local socket", 0, 0},
    {"socket", 'S', OPT_STR, offsetof(struct attach_opts, socket), "PATH",
     "the socket, which is made (one of its own name in $XDG_RUNTIME_DIR, else in a new folder in "
     "/tmp)",
     0, 0},
    {"read-only", 'r', OPT_FLAG, offsetof(struct attach_opts, read_only), NULL,
     "refuse what would change the LUN", 0, 0},
    {0},
};

struct attachment {
    struct cli *cli;
    struct lunette_export *e;
    char path[PATH_LEN];
    char folder[PATH_LEN]; /* "", or that was made for the socket */
    bool over, stopped;
    struct lunette_error why;
};

static void
attach_ended(void *user, const struct lunette_error *why)
{
    struct attachment *a = user;

    a->over = true;
    a->why = *why;
}

static void
attach_stopped(void *user)
{
    ((struct attachment *)user)->stopped = true;
}

/* Where no socket is named. */
static int
own_path(struct attachment *a)
{
    const char *run = getenv("XDG_RUNTIME_DIR");
    int n;

    if (run != NULL && run[0] == '/') {
        n = snprintf(a->path, sizeof(a->path), "%s/lunette-%d.sock", run, (int)getpid());
        if (n > 0 && (size_t)n < sizeof(a->path) && access(run, W_OK) == 0)
            return 0;
    }
    snprintf(a->folder, sizeof(a->folder), "/tmp/lunette-XXXXXX");
    if (mkdtemp(a->folder) == NULL) {
        a->folder[0] = '\0';
        return fail_errno(-errno, "attach: a folder for the socket in /tmp");
    }
    snprintf(a->path, sizeof(a->path), "%.60s/nbd.sock", a->folder);
    return 0;
}

static int
take_path(struct attachment *a, const char *path)
{
    if (path == NULL)
        return own_path(a);
    if (path[0] == '\0' || strlen(path) >= sizeof(a->path))
        return fail_usage("attach: --socket: the path of a socket has 1 to %d bytes", PATH_LEN - 1);
    snprintf(a->path, sizeof(a->path), "%s", path);
    return 0;
}

/* Tells where the LUN is, once clients may connect. */
static int
attach_tell(const struct attachment *a, const struct lunette_lun *lun)
{
    struct lunette_info info = LUNETTE_INIT(info);

    (void)lunette_get_info(lun, &info);
    if (a->cli->common.json)
        return json_print_line(json_pack("{s:I, s:s, s:s, s:I, s:b}", "lun", (json_int_t)info.lun,
                                         "kind", "nbd", "socket", a->path, "size",
                                         (json_int_t)info.size, "read_only", info.read_only));
    printf("%" PRIu64 " %s\n", info.lun, a->path);
    return cli_flush();
}

static int
attach_serve(struct attachment *a)
{
    while (interrupted() == 0 && !a->over) {
        int r = lunette_ctx_run(a->cli->ctx, LOOK_MS);
        if (r < 0 && r != -EINTR)
            return fail_errno(r, "attach");
    }
    return a->over ? fail_with(&a->why, a->path) : 0;
}

static void
attach_stop(struct attachment *a)
{
    uint64_t since = now_ns();
    bool told = false;

    lunette_export_stop_start(a->e, attach_stopped, a);
    while (!a->stopped) {
        int r = lunette_ctx_run(a->cli->ctx, LOOK_MS);
        if (r < 0 && r != -EINTR)
            return;
        if (!told && now_ns() - since > SLOW_NS) {
            note("attach: stopping: waiting for the requests of clients; again ends at once");
            told = true;
        }
    }
}

static int
attach_run(struct attachment *a, const struct attach_opts *o, struct lunette_lun *lun)
{
    struct lunette_error err = LUNETTE_INIT(err);
    int code = take_path(a, o->socket);

    if (code != 0)
        return code;
    if (lunette_export_start(lun, "nbd", a->path, o->read_only ? LUNETTE_EXPORT_RDONLY : 0,
                             attach_ended, a, &a->e, &err) < 0)
        return fail_with(&err, "attach");
    if (stdfds_room(ATTACH_ROOM) < 0)
        code = fail_errno(-EMFILE, "attach: descriptors for clients (see ulimit -n)");
    else
        code = attach_tell(a, lun);
    if (code == 0)
        code = attach_serve(a);
    attach_stop(a);
    return code;
}

static int
run_attach(struct cli *cli, const void *opts, int argc, char **argv)
{
    const struct attach_opts *o = opts;
    struct attachment a = {.cli = cli};
    struct lunette_lun *lun = NULL;

    (void)argc;
    cli->outages.endless = true;
    int code = cli_open(cli, argv[0], o->read_only ? LUNETTE_OPEN_RDONLY : 0, &lun);
    if (code != 0)
        return code;
    interrupt_catch(false);
    code = attach_run(&a, o, lun);
    lunette_close(lun);
    if (a.folder[0] != '\0')
        (void)rmdir(a.folder);
    return code;
}

const struct command cmd_attach = {
    .name = "attach",
    .operands = "URL",
    .synopsis = "[--as nbd-socket] [--socket PATH] [-r] [OPTION...]",
    .summary = "make a LUN reachable for other programs (QEMU, nbdcopy, fio) by NBD",
    .about = "Logs in, serves NBD clients at a local socket that only its owner may open, prints "
             "`LUN PATH` when they may connect, and stays until Ctrl-C or SIGTERM. Then it takes "
             "nothing new, waits for what is under way, flushes, logs out and removes the socket.\n"
             "A lost connection ends no client: requests wait for it as long as "
             "replacement_timeout of the URL says, and get an I/O error then.",
    .example =
        "attach iscsi://192.0.2.1/iqn.2026-11.example:disk/0 --socket /run/user/1000/d.sock\n"
        "attach iscsi://192.0.2.1/iqn.2026-11.example:disk/0 -r --json",
    .opts = attach_options,
    .opts_size = sizeof(struct attach_opts),
    .json = true,
    .min_args = 1,
    .max_args = 1,
    .run = run_attach,
};
