/* SPDX-License-Identifier: MIT */
/* The command line of iscsiadm: which options there are, and what was given. */
#ifndef CMD_ISCSIADM_ARGS_H
#define CMD_ISCSIADM_ARGS_H

#include <getopt.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/addr.h"

enum adm_mode {
    ADM_DISCOVERY,
    ADM_DISCOVERYDB,
    ADM_NODE,
    ADM_SESSION,
    ADM_IFACE,
    ADM_HOST,
    ADM_FW,
    ADM_MODES,
    ADM_MODE_NONE,
};

/* Operations of -o; several may be given. */
enum adm_op {
    ADM_NEW = 1 << 0,
    ADM_DELETE = 1 << 1,
    ADM_UPDATE = 1 << 2,
    ADM_SHOW = 1 << 3,
    ADM_NONPERSISTENT = 1 << 4,
    ADM_APPLY = 1 << 5,
    ADM_APPLYALL = 1 << 6,
    ADM_OP_LOGIN = 1 << 7,
    ADM_OP_LOGOUT = 1 << 8,
};

/* Options without a letter; behind all letters. */
enum adm_long {
    ADM_LONG_JSON = 256,
    ADM_LONG_WHY,
    ADM_LONG_LEASE,
    ADM_LONG_LEASES_ONLY,
    ADM_LONG_RELEASE,
    ADM_LONG_EXPORT,
    ADM_LONG_UNEXPORT,
    ADM_LONG_LUN,
    ADM_LONG_READ_ONLY,
    ADM_LONG_FLIGHT,
    ADM_LONG_CAPTURE,
    ADM_LONG_NO_PAYLOAD,
    ADM_LONG_SECONDS,
    ADM_LONG_ROOT,
    ADM_LONG_INSTANCE,
    ADM_LONG_NO_START,
    ADM_LONG_HISTOGRAM,
};

#define ADM_IFACES_MAX  32
#define ADM_OWNER_MAX   64     /* bytes of the owner of a lease */
#define ADM_LEASE_S_MAX 604800 /* seconds of one */

struct adm_args {
    enum adm_mode mode;
    unsigned ops; /* enum adm_op */
    bool has_portal, has_port;
    struct portal portal;
    const char *target, *type, *host, *submode;
    const char *ifaces[ADM_IFACES_MAX];
    unsigned ifaces_count;
    json_t *values;          /* [[name, value], ...] of -n and -v; owned */
    const char *name;        /* of a pair that is not complete */
    char *value;             /* likewise */
    int64_t sid, lun, index; /* -1: not given */
    int level;               /* of -P; -1: not given */
    int debug;
    bool rescan, discover, login, logout, stats, show, no_wait, kill;
    const char *login_all, *logout_all;
    bool json, why, unexport, read_only, no_start, leases_only, histogram;
    bool flight, no_payload;
    const char *capture;    /* the file; NULL: none */
    const char *ip;         /* of ping; NULL: not given */
    int interval;           /* of ping, in seconds */
    int64_t seconds, count; /* of the capture, count of ping, too; 0: not given */
    const char *export_kind, *root, *instance;
    const char *release; /* the owner */
    char *lease_owner;   /* owned; NULL: not given */
    int64_t lease_s;
};

/* 0: go on; 1: --help or the like was asked for and answered; a negative number: stderr says what
 * is wrong, and the exit code is MANAGE_INVALID. */
int adm_args_parse(struct adm_args *a, int argc, char **argv);
void adm_args_free(struct adm_args *a);

extern const char *const adm_mode_names[ADM_MODES];

/* options.c */
extern const struct option adm_options[];
extern const char adm_letters[]; /* for getopt */
void adm_options_usage(FILE *to);
/* Prints the options as JSON, in the form of `lunette --print-options`. */
void adm_options_print(FILE *to);
/* Does a mode take the option with that letter or enum adm_long? */
bool adm_option_allowed(enum adm_mode mode, int opt);
const char *adm_option_name(int opt);

#endif
