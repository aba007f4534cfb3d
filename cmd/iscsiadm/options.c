/* SPDX-License-Identifier: MIT */
/* The options of iscsiadm: for getopt_long, for people, and for generators of completions. */
#include <string.h>

#include "cmd/common/option_json.h"
#include "cmd/common/option_rows.h"
#include "cmd/iscsiadm/args.h"

#define ANY     0x7f
#define M(mode) (1u << ADM_##mode)
#define DISC    (M(DISCOVERY) | M(DISCOVERYDB))

static const struct adm_option {
    struct option_row row;
    unsigned modes; /* that take it */
} table[] = {
#define FLAG(opt, name, modes, help)                 {{opt, name, NULL, help, false}, modes},
#define VALUE(opt, name, word, modes, repeats, help) {{opt, name, word, help, repeats}, modes},
#include "cmd/iscsiadm/options.def"
#undef FLAG
#undef VALUE
};
#define NOPTIONS (sizeof(table) / sizeof(table[0]))

const struct option adm_options[] = {
#define FLAG(opt, name, modes, help)                 {name, no_argument, NULL, opt},
#define VALUE(opt, name, word, modes, repeats, help) {name, required_argument, NULL, opt},
#include "cmd/iscsiadm/options.def"
#undef FLAG
#undef VALUE
    {NULL, 0, NULL, 0},
};

const char *const adm_mode_names[ADM_MODES] = {"discovery", "discoverydb", "node", "session",
                                               "iface",     "host",        "fw"};

const char adm_letters[] = "m:o:p:T:I:t:n:v:H:r:RP:DluL:U:sSk:d:C:a:b:c:i:x:A:WVh";

static const struct adm_option *
option_of(int opt)
{
    for (size_t i = 0; i < NOPTIONS; i++)
        if (table[i].row.opt == opt)
            return &table[i];
    return NULL;
}

bool
adm_option_allowed(enum adm_mode mode, int opt)
{
    const struct adm_option *o = option_of(opt);

    return o != NULL && (o->modes & 1u << mode) != 0;
}

const char *
adm_option_name(int opt)
{
    const struct adm_option *o = option_of(opt);

    return o != NULL ? o->row.name : "?";
}

void
adm_options_usage(FILE *to)
{
    (void)fputs(
        "usage: iscsiadm -m MODE [options]\n"
        "\n"
        "  iscsiadm -m discovery -t st -p PORTAL [-I IFACE] [-l]\n"
        "  iscsiadm -m discoverydb -t st -p PORTAL [-o OP] [-n KEY -v TEXT] [-D]\n"
        "  iscsiadm -m node [-T NAME] [-p PORTAL] [-I IFACE] [-u|-R|-s] [-o OP]\n"
        "  iscsiadm -m node [-T NAME] [-p PORTAL] [-I IFACE] -l [--lease OWNER:SECONDS]\n"
        "  iscsiadm -m node -L all|manual|automatic|onboot\n"
        "  iscsiadm -m node -U all|manual|automatic\n"
        "  iscsiadm -m session [-r SID] [-P 1..3] [-u|-R|-s [--histogram]|--why]\n"
        "  iscsiadm -m session [-r SID] --lease OWNER:SECONDS | --release OWNER\n"
        "  iscsiadm -m session [-r SID] --export nbd [--lun N] [--read-only]\n"
        "  iscsiadm -m session [-r SID] --unexport [--lun N]\n"
        "  iscsiadm -m session -r SID --flight\n"
        "  iscsiadm -m session -r SID --capture FILE [--no-payload] [--seconds N|--count N]\n"
        "  iscsiadm -m iface [-I IFACE] [-o OP] [-n KEY -v TEXT]\n"
        "  iscsiadm -m host [-P 1..4] [-H N]\n"
        "  iscsiadm -m host -H ENGINE -C flashnode|chap [-x N] [-o OP] [-n KEY -v TEXT]\n"
        "  iscsiadm -m host -H ENGINE -C ping -a PORTAL [-c N] [-i N]\n"
        "  iscsiadm -m host -H ENGINE -C stats\n"
        "  iscsiadm -m fw [-l] [-S]\n"
        "  iscsiadm -k 0 [-u]\n"
        "\n",
        to);
    for (size_t i = 0; i < NOPTIONS; i++) {
        const struct option_row *o = &table[i].row;
        bool listed = o->argument != NULL && strchr(o->argument, '|') != NULL;
        int n = o->opt < 256 ? fprintf(to, "  -%c, --%s", o->opt, o->name)
                             : fprintf(to, "  --%s", o->name);

        n += o->argument != NULL && !listed ? fprintf(to, " %s", o->argument) : 0;
        (void)fprintf(to, "%*s%s\n", n < 24 ? 24 - n : 1, "", o->help);
        if (listed)
            (void)fprintf(to, "%24s%s\n", "", o->argument);
    }
    (void)fputs(
        "\nThe daemon, iscsid, is started where none runs.  LUNETTE_ROOT and LUNETTE_INSTANCE\n"
        "in the environment stand for --root and --instance.\n",
        to);
}

void
adm_options_print(FILE *to)
{
    option_json_begin(to, "iscsiadm");
    for (size_t i = 0; i < NOPTIONS; i++)
        option_json_add(to, i == 0, &table[i].row);
    option_json_end(to);
}
