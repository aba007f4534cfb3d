/* SPDX-License-Identifier: MIT */
#include "cmd/lunette-target/options.h"

#include <assert.h>

#include "cmd/common/option_json.h"

const char options_usage[] =
    "usage: lunette-target --target IQN --lun SPEC [options]\n"
    "\n"
    "An iSCSI target on RAM, files or nothing.\n"
    "\n"
    "  --listen ADDR:PORT   where to listen, several times if wanted\n"
    "                       (127.0.0.1:3260); port 0 takes a free one, IPv6 is\n"
    "                       written [::1]:3260\n"
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

const struct option options_table[] = {
    {"listen", required_argument, NULL, OPT_LISTEN},
    {"target", required_argument, NULL, OPT_TARGET},
    {"lun", required_argument, NULL, OPT_LUN},
    {"alias", required_argument, NULL, OPT_ALIAS},
    {"chap", required_argument, NULL, OPT_CHAP},
    {"mutual-chap", required_argument, NULL, OPT_MUTUAL},
    {"chap-file", required_argument, NULL, OPT_CHAP_FILE},
    {"set", required_argument, NULL, OPT_SET},
    {"max-connections", required_argument, NULL, OPT_MAX_CONNECTIONS},
    {"error-recovery-level", required_argument, NULL, OPT_RECOVERY_LEVEL},
    {"redirect", required_argument, NULL, OPT_REDIRECT},
    {"redirect-permanent", required_argument, NULL, OPT_REDIRECT_PERMANENT},
    {"loop", required_argument, NULL, OPT_LOOP},
    {"spin-us", required_argument, NULL, OPT_SPIN},
    {"pace-us", required_argument, NULL, OPT_PACE},
    {"verbose", no_argument, NULL, 'v'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {NULL, 0, NULL, 0},
};

/* What follows each option but the last, a choice as "a|b|c", and what it does.  No text has
 * anything that JSON would want escaped. */
static const struct option_text {
    const char *argument, *help;
} option_texts[] = {
    {"ADDR:PORT", "where to listen, several times if wanted"},
    {"NAME", "begins a target; what follows is about it"},
    {"SPEC", "a logical unit: ram:SIZE, file:PATH or null:SIZE"},
    {"TEXT", "TargetAlias"},
    {"USER:SECRET", "what initiators must know"},
    {"USER:SECRET", "what the target proves when it is asked to"},
    {"FILE", "USER:SECRET of both directions, from a file of mode 600"},
    {"KEY=VALUE", "a key of RFC 7143, or QueueDepth, NopInterval"},
    {"N", "connections that a session may have"},
    {"0|1|2", "what is repaired without a new session"},
    {"HOST:PORT", "logins are sent there"},
    {"HOST:PORT", "logins are sent there for ever"},
    {"auto|epoll|uring", "how to wait"},
    {"USEC", "poll busily that long before sleeping"},
    {"USEC", "let a connection wait that long at most, to read more at once"},
    {NULL, "say what happens on stderr; twice for more"},
    {NULL, "print the options and leave"},
    {NULL, "print the version and leave"},
};
#define NTEXTS (sizeof(option_texts) / sizeof(option_texts[0]))
static_assert(NTEXTS + 1 == sizeof(options_table) / sizeof(options_table[0]),
              "each option has a text");

void
options_print(FILE *to)
{
    option_json_begin(to, "lunette-target");
    for (size_t i = 0; i < NTEXTS; i++) {
        const struct option *o = &options_table[i];
        const struct option_json j = {.name = o->name,
                                      .help = option_texts[i].help,
                                      .argument = option_texts[i].argument,
                                      .letter = o->val < OPT_LISTEN ? (char)o->val : '\0',
                                      /* about a target each, or -v */
                                      .repeats = o->val < OPT_LOOP};

        option_json_add(to, i == 0, &j);
    }
    option_json_end(to);
}
