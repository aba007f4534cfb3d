/* SPDX-License-Identifier: MIT */
#include "cmd/lunette-target/options.h"

const char options_usage[] =
    "usage: lunette-target --target IQN --lun SPEC [options]\n"
    "\n"
    "An iSCSI target on RAM, files or nothing.\n"
    "\n"
    "  --listen ADDR:PORT   where to listen, several times if wanted\n"
    "                       (127.0.0.1:3260); port 0 takes a free one, IPv6 is\n"
    "                       written [::1]:3260\n"
    "  --listen-iser ADDR:PORT\n"
    "                       the same for iSER: the address of an RDMA device, or\n"
    "                       0.0.0.0\n"
    "  --iser-keep-stags    responses over iSER never invalidate STags\n"
    "  --target NAME        begins a target; what follows is about it\n"
    "  --lun SPEC           ram:SIZE, file:PATH, file:PATH:SIZE (made if missing),\n"
    "                       null:SIZE, then ,block=N ,ro ,serial=TEXT ,lun=N\n"
    "                       ,wce=0|1 ,max=SIZE ,alua=STATE\n"
    "  --alias TEXT         TargetAlias\n"
    "  --chap USER:SECRET   initiators must know it\n"
    "  --mutual-chap USER:SECRET\n"
    "                       what the target proves when it is asked to\n"
    "  --chap-file FILE     USER:SECRET in its first line, the mutual one in its\n"
    "                       second, or name = and secret =, mutual_name = and\n"
    "                       mutual_secret = lines; the file must have mode 600, so\n"
    "                       that only its owner reads it\n"
    "  --set KEY=VALUE      a key of RFC 7143, or QueueDepth, NopInterval (seconds)\n"
    "  --max-connections N  connections that a session may have (8); 1: no more\n"
    "  --error-recovery-level 0|1|2\n"
    "                       1: what digests find is sent again; 2: and tasks outlive\n"
    "                       their connection (0)\n"
    "  --redirect HOST:PORT logins are sent there; --redirect-permanent for ever\n"
    "\n"
    "  --loop epoll|uring|auto\n"
    "                       how to wait (auto)\n"
    "  --spin-us N          poll busily that long before sleeping (0)\n"
    "  --pace-us N          let a connection wait that long at most, to read more at\n"
    "                       once, while its initiator has many responses still to\n"
    "                       read (70); 0: never\n"
    "  -v, --verbose        say what happens on stderr; twice for more\n"
    "  -h, --help           this text\n"
    "  -V, --version        the version\n"
    "\n"
    "LUNETTE_TARGET_CHAP=USER:SECRET in the environment is for targets without\n"
    "--chap.  Prints \"listening on ADDR:PORT\" when it is ready.  SIGTERM and SIGINT\n"
    "end it.\n";

/* In a list a choice is "a|b|c".  Those that are about a target may be repeated. */
static const struct option_row rows[] = {
    {OPT_LISTEN, "listen", "ADDR:PORT", "where to listen, several times if wanted", true},
    {OPT_LISTEN_ISER, "listen-iser", "ADDR:PORT", "where to listen for iSER", true},
    {OPT_ISER_KEEP_STAGS, "iser-keep-stags", NULL, "responses over iSER never invalidate STags",
     false},
    {OPT_TARGET, "target", "NAME", "begins a target; what follows is about it", true},
    {OPT_LUN, "lun", "SPEC", "a logical unit: ram:SIZE, file:PATH or null:SIZE", true},
    {OPT_ALIAS, "alias", "TEXT", "TargetAlias", true},
    {OPT_CHAP, "chap", "USER:SECRET", "what initiators must know", true},
    {OPT_MUTUAL, "mutual-chap", "USER:SECRET", "what the target proves when it is asked to", true},
    {OPT_CHAP_FILE, "chap-file", "FILE", "USER:SECRET of both directions, from a file of mode 600",
     true},
    {OPT_SET, "set", "KEY=VALUE", "a key of RFC 7143, or QueueDepth, NopInterval", true},
    {OPT_MAX_CONNECTIONS, "max-connections", "N", "connections that a session may have", true},
    {OPT_RECOVERY_LEVEL, "error-recovery-level", "0|1|2", "what is repaired without a new session",
     true},
    {OPT_REDIRECT, "redirect", "HOST:PORT", "logins are sent there", true},
    {OPT_REDIRECT_PERMANENT, "redirect-permanent", "HOST:PORT", "logins are sent there for ever",
     true},
    {OPT_LOOP, "loop", "auto|epoll|uring", "how to wait", false},
    {OPT_SPIN, "spin-us", "USEC", "poll busily that long before sleeping", false},
    {OPT_PACE, "pace-us", "USEC", "let a connection wait that long at most, to read more at once",
     false},
    {'v', "verbose", NULL, "say what happens on stderr; twice for more", true},
    {'h', "help", NULL, "print the options and leave", false},
    {'V', "version", NULL, "print the version and leave", false},
};

const struct option_program options_program = {
    .name = "lunette-target", .rows = rows, .count = sizeof(rows) / sizeof(rows[0])};
