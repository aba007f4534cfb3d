/* SPDX-License-Identifier: MIT */
/* iscsiadm: what its files share.  Functions that return int return exit codes (enum manage_code)
 * and have said on standard error what went wrong, unless they say otherwise. */
#ifndef CMD_ISCSIADM_ADM_H
#define CMD_ISCSIADM_ADM_H

#include "cmd/common/instance.h"
#include "cmd/iscsiadm/args.h"
#include "manage/client.h"
#include "manage/codes.h"

/* How long the daemon may say nothing: when it only has to look, and when it has to ask targets. */
#define ADM_READ_MS  30000
#define ADM_REACH_MS 900000
#define ADM_WAIT_MS  5000 /* after which people are told that it is waited for */

struct adm {
    struct adm_args args;
    struct instance at;
    struct loop *loop;
    struct manage_client *client; /* NULL until the first request */
    struct loop_timer patience;   /* of a request that asks targets */
};

/* Prints "iscsiadm: ", the text and a newline to standard error. */
void adm_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The same for people, who read a terminal or have asked for more by -d: scripts get the lines of
 * open-iscsi and no others. */
void adm_advice(const struct adm_args *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* daemon.c: connects to the daemon, and starts it where none runs and that is allowed. */
int adm_connect(struct adm *adm);

/* call.c */
struct adm_request {
    const char *method;
    json_t *params; /* taken */
    int64_t silence_ms;
    const char
        *none;  /* what is said instead of the daemon's words when nothing was found, or NULL */
    bool quiet; /* say nothing when it fails */
    void (*progress)(void *user, const json_t *progress);
    void *user;
};
/* Returns 0 and the caller owns *ret. */
int adm_call(struct adm *adm, const struct adm_request *rq, json_t **ret);
/* The same with the failure, which adm_call has told or, where rq is quiet, not. */
int adm_call_failure(struct adm *adm, const struct adm_request *rq, json_t **ret,
                     struct manage_failure *fail);
/* A request that asks the daemon for what it knows. */
int adm_read(struct adm *adm, const char *method, json_t *params, const char *none, json_t **ret);

/* Parameters of requests.  One that cannot be made ends the program: without it the request would
 * be about more than was asked for.  adm_made returns what it was given, unless it was NULL;
 * adm_put and adm_append take v. */
json_t *adm_made(json_t *v);
void adm_put(json_t *o, const char *name, json_t *v);
void adm_append(json_t *list, json_t *v);

/* Members of what the daemon says; what is missing or of another type is "", or 0. */
const char *adm_text(const json_t *o, const char *name);
int64_t adm_number(const json_t *o, const char *name);
const json_t *adm_list(const json_t *o, const char *name); /* NULL: an empty list */

/* Prints a result for programs.  Returns 0. */
int adm_print_json(const json_t *result);
/* Prints a result, which is taken: for programs where that was asked for, or else the objects of
 * its list `member` one by one.  An empty list is MANAGE_NOT_FOUND and told as `none`, unless that
 * is NULL. */
int adm_print_list(const struct adm *adm, json_t *result, const char *member,
                   void (*print)(const json_t *o), const char *none);
/* Asks the daemon for what it knows, and prints it so. */
int adm_show(struct adm *adm, const char *method, json_t *params, const char *member,
             void (*print)(const json_t *o), const char *none);

/* text.c: a portal as the daemon names it, "addr:port". */
struct adm_portal {
    char addr[HOST_MAX + 1]; /* without brackets */
    int port;
};
void adm_portal_read(const char *text, struct adm_portal *ret);
/* Prints "addr:port,tpgt", the address in brackets where it holds no dot, as scripts expect it. */
void adm_print_portal(const char *portal, int64_t tpgt);
/* "<empty>" for text that is. */
const char *adm_or_empty(const char *text);
/* Prints a record, {"values": [[name, value], ...]}. */
void adm_print_record(const json_t *record);
/* Prints targets as lines, or as a tree where the level is 1. */
void adm_print_targets(const json_t *targets, int level);
void adm_print_target_tree(const json_t *targets);

/* What selects nodes on the command line, as the API's filter; the caller owns it. */
json_t *adm_filter(const struct adm_args *a);
/* Is there anything that selects? */
bool adm_selects(const struct adm_args *a);
/* Says that a level of -P is too high: MANAGE_INVALID, or 0. */
int adm_check_level(const struct adm_args *a, int max);
/* -n and -v are both there, at least once; else it says so. */
int adm_check_values(const struct adm_args *a, const char *what);

/* login.c: requests that log in or out of many, whose result holds "results".  silent: none was
 * found, and nothing is to be said of that. */
int adm_login(struct adm *adm, const char *method, json_t *params);
int adm_logout(struct adm *adm, const char *method, json_t *params);
/* Says whether logins that another request has made failed; progress has told which. */
int adm_print_logins(const json_t *results);
/* The progress of such a request, for rq.progress; user is struct adm *. */
void adm_login_progress(void *user, const json_t *progress);

/* tree.c: sessions as a tree; level as of -P of session mode, devices and their host by themselves.
 */
struct adm_tree {
    const char *indent;
    bool params, timeouts, host, devices, secrets;
};
void adm_print_session_tree(const json_t *sessions, const struct adm_tree *t);
/* How long the requests of a session's LUNs took, of an answer to session.stats with histograms. */
void adm_print_latency(const json_t *session);
void adm_print_versions(void);

/* Prints a line for each lease of a session, with its sid. */
void adm_print_leases(const json_t *session);
/* why.c: says why sessions are as they are. */
int adm_why(struct adm *adm, json_t *params);

/* session.c, of those that params select: print statistics, rescan */
int adm_stats(struct adm *adm, json_t *params, const char *none);
int adm_rescan(struct adm *adm, json_t *params, const char *none);

/* capture.c, of the session that params name: its last PDUs, and a capture of those that follow. */
int adm_flight(struct adm *adm, json_t *params);
int adm_capture(struct adm *adm, json_t *params);

int adm_mode_discovery(struct adm *adm);
int adm_mode_node(struct adm *adm);
int adm_mode_session(struct adm *adm);
int adm_mode_iface(struct adm *adm);
int adm_mode_host(struct adm *adm);
int adm_mode_fw(struct adm *adm);

/* mode_engine.c: -m host with --submode. */
int adm_mode_engine(struct adm *adm);
/* Adds the engines that --host means, or all of them, to the result of a list of hosts, and prints
 * them unless JSON is wanted.  Returns how many there are. */
unsigned adm_list_engines(struct adm *adm, json_t *result);

#endif
