/* SPDX-License-Identifier: MIT */
/* iscsid/internal.h - what the files of iscsid/ share.  Each calls only those after it:
 *
 *   life.c        the daemon from start to end, the table of methods, events for callers
 *   node.c        methods about records of nodes
 *   session.c     methods about sessions
 *   why.c         the method that says why they are as they are
 *   live.c        their exports, scans and time limits
 *   tape.c        their PDUs: the last ones, and captures
 *   discovery.c   methods about discoveries
 *   periodic.c    discoveries that are repeated, and registrations with iSNS servers
 *   seek.c        one discovery, by each iface
 *   found.c       what a discovery has found becomes records, in slices
 *   fw.c          methods about the firmware's targets
 *   iface.c       methods about ifaces and hosts
 *   lease.c       methods about leases
 *   batch.c       logins and logouts of many
 *   query.c       what only the data plane knows of sessions
 *   stats.c       what it has counted and timed
 *   records.c     from records to nodes of the policy
 *   firmware.c    the firmware's targets as nodes
 *   locked.c      what waits for the lock of the records
 *   where.c       paths of exports
 *   history.c     what has happened to sessions
 *   sync.c        records that are written reach the disk
 *   front.c       callers of open-iscsi's socket
 *   sysfs.c       sessions as the kernel would show them
 *   scrape.c      metrics.sock
 *   metrics.c     sessions and LUNs as OpenMetrics text
 *   tree.c        a directory tree that programs read while it changes
 *   plane.c       the data plane
 *   guard.c       the lock of its process
 *   say.c         names, values and errors as JSON
 */
#ifndef ISCSID_INTERNAL_H
#define ISCSID_INTERNAL_H

#include <jansson.h>

#include "control/control.h"
#include "firmware/firmware.h"
#include "iscsid/history.h"
#include "iscsid/iscsid.h"
#include "iscsid/plane.h"
#include "isns/isns.h"
#include "manage/manage.h"
#include "manage/params.h"
#include "nodedb/conf.h"
#include "nodedb/db.h"
#include "nodedb/login_config.h"
#include "seam/bdev.h"

#define SYS_NET    "/sys/class/net"
#define VALUES_MAX 512 /* pairs of a request */
#define IFACES_MAX 64  /* ifaces of a request */
#define SLICE      32  /* records in one turn of the loop */

/* Nodes that are to follow their records. */
struct records_follow {
    struct loop_timer go;
    struct control_name *name;
    size_t n, at;
    bool all; /* else those without a configuration */
};

struct iscsid {
    struct loop *loop;
    struct iscsid_config cfg;
    struct nodedb *db;
    struct nodedb_record conf;
    bool has_conf;
    struct nodedb_initiator who;
    struct login_gate gate;
    struct firmware_list firmware; /* what its table said when it could be read best; n 0: never */
    bool firmware_told;            /* that it is not read as it was */
    struct control *control;
    struct manage_server *manage;
    struct plane plane;
    struct front *front; /* open-iscsi's callers; NULL: not asked for */
    struct sysfs *sysfs; /* NULL: not asked for */
    struct scrape *scrape;
    struct list jobs; /* struct job */
    struct histories histories;
    struct list readers; /* struct node_read; the first one reads, the others wait for it */
    struct loop_work
        found_work; /* sessions that were found get the configuration of their records */
    struct records_follow follow;
    struct loop_work follow_work; /* discovery records have changed: what is repeated does, too */
    struct loop_timer open_timer; /* callers are let in, though the data plane is not there */
    bool open;                    /* they are */
    bool began;     /* the logins of the start have begun, for the data plane that is there now */
    bool took_over; /* by another process: somebody may have logged out of some since */
    struct list periodics;
    bool periodic_on;           /* discoveries are repeated from now on */
    unsigned leaving;           /* iSNS servers that are told of the end */
    struct manage_call *ending; /* daemon.shutdown; NULL: none */
    bool end_asked, end_process;
    struct loop_timer end_timer;
    uint64_t end_until_ns; /* how long the end of the data plane is waited for */
};

/* ---- say.c ---------------------------------------------------------------------------------- */

/* Something that goes on for a request; the first member of what it is part of. */
struct job {
    struct list node;
    struct iscsid *d;
    struct manage_call *call;    /* NULL: nobody waits, or it has been answered */
    void (*drop)(struct job *j); /* frees it at the end of the daemon; nobody is told */
    /* Loop `index` of the data plane has gone: what was asked there gets no answer.  May be NULL.
     */
    void (*lost)(struct job *j, unsigned index);
    /* Does it wait for loop `index`?  NULL: it may be for any. */
    bool (*waits_for)(struct job *j, unsigned index);
    bool needs_plane; /* what it waits for comes from the data plane */
};
void job_begin(struct job *j, struct iscsid *d, struct manage_call *call,
               void (*drop)(struct job *j));
/* The same where it waits for the data plane: whoever has asked is told when that is silent. */
void job_begin_plane(struct job *j, struct iscsid *d, struct manage_call *call,
                     void (*drop)(struct job *j));
void job_finish(struct job *j);

/* Text as a JSON string, also where it is no UTF-8.  NULL: memory is short. */
json_t *say_text(const char *text);
/* Sets a member; value is taken.  Where memory was short, o or value is NULL, and the member is
 * left out. */
void say_put(json_t *o, const char *name, json_t *value);
void say_portal(json_t *o, const char *name, const struct portal *p);
/* {"target", "portal", "tpgt", "iface"} */
json_t *say_id(const struct nodedb_id *id);
/* [[name, value], ...] of a record. */
json_t *say_record(const struct nodedb_record *r, bool show_secrets);
/* The code of the API that fits an error best. */
enum manage_code say_code(const struct lunette_error *err);
json_t *say_error(const struct lunette_error *err);
void say_fail(struct manage_call *call, const struct lunette_error *err);
void say_no_memory(struct lunette_error *err);
/* How the data plane is: "up", "starting" or "lost". */
const char *say_plane_state(const struct iscsid *d);

/* What of records a request is about; texts are borrowed from its parameters. */
struct filter {
    struct nodedb_filter db;
    struct portal portal;
    bool any; /* it has a member */
};
int filter_get(const json_t *params, struct filter *ret, struct lunette_error *err);
bool filter_fits(const struct filter *f, const struct control_name *name);

void id_of_name(const struct control_name *name, struct nodedb_id *ret);
void name_of_id(const struct nodedb_id *id, uint32_t instance, struct control_name *ret);
/* Is the node one of the sessions of that record? */
bool name_is_of(const struct control_name *name, const struct nodedb_id *id);

/* Has the node a session to speak of, maybe one that is on its way out? */
bool session_is_told(const struct control_node *n, struct control_info *ret);
/* Does what is done about the session of that name wait for loop `index` of the data plane?  Where
 * there is no session yet, it may be any. */
bool session_is_at(const struct iscsid *d, const struct control_name *name, unsigned index);
/* The next node that has one; NULL: none follows. */
struct control_node *session_next(struct control *c, struct control_node *n,
                                  struct control_info *ret);

/* ---- where.c -------------------------------------------------------------------------------- */

/* As control_callbacks.export_path. */
int where_export(const char *run, const struct control_name *name, const uint8_t lun[8],
                 char *path);
/* The session is gone: its folder goes, where nothing is in it any more. */
void where_forget(const char *run, const struct control_name *name);

/* ---- records.c ------------------------------------------------------------------------------ */

/* A record, as a login needs it. */
struct setup {
    struct login_config login;
    struct nodedb_session_opts opts;
};
/* values (may be NULL) are set for this login only. */
int records_setup(struct iscsid *d, const struct nodedb_id *id, const json_t *values,
                  struct setup *ret, struct lunette_error *err);

/* The same of a target that the firmware knows.  -ENOENT: it does not. */
int records_setup_firmware(struct iscsid *d, const struct nodedb_id *id, const json_t *values,
                           struct setup *ret, struct lunette_error *err);

/* Makes the node of a session of a record, or gives it the configuration anew. */
int records_node(struct iscsid *d, const struct nodedb_id *id, uint32_t instance,
                 const struct setup *s, struct control_node **ret, struct lunette_error *err);

/* Is a session of the record's target there or wanted, by whatever portal and iface? */
bool records_target_present(struct iscsid *d, const struct nodedb_id *id);
/* Does a session use the record?  A nodedb in_use function; user is the daemon. */
bool records_in_use(void *user, const struct nodedb_id *id);

/* A record has changed, or is gone: the nodes of its sessions follow. */
void records_changed(struct iscsid *d, const struct nodedb_id *id);
/* All nodes follow their records; where there are many, within some turns of the loop. */
void records_all_changed(struct iscsid *d);
/* Gives sessions that were found without a configuration that of their records, likewise. */
void records_configure_found(struct iscsid *d);
void records_follow_init(struct iscsid *d);
void records_follow_stop(struct iscsid *d);

/* Takes the lock of the records, which nodedb_unlock gives back.  Somebody else may have it for a
 * while, and the loop does not wait for that: then `again` is started, and -EAGAIN is returned, for
 * as long as RECORDS_LOCK_MS; *until_ns, which is 0 at first, is kept by the caller.  Returns 0,
 * -EAGAIN, or -errno with the reason. */
#define RECORDS_LOCK_MS 10000
int records_lock(struct iscsid *d, struct loop_timer *again, uint64_t *until_ns,
                 struct lunette_error *err);

/* Sets values in a record. */
int records_set(struct nodedb_record *r, const json_t *values, struct lunette_error *err);

/* Says in the log of values that somebody sets which of them do nothing. */
void records_say_unused(struct iscsid *d, enum nodedb_kind kind, const json_t *values);

/* Ids of records that fit. */
struct ids {
    struct nodedb_id *id;
    size_t n, room;
};
int ids_add(struct ids *ids, const struct nodedb_id *id, struct lunette_error *err);
void ids_fini(struct ids *ids);
/* Returns 0, also where there are none; or -errno, also where none of them could be read. */
int records_find(struct iscsid *d, const struct filter *f, struct ids *ret,
                 struct lunette_error *err);

/* The same in steps, each of SEARCH_SLICE targets, since each of them is a folder to be read.
 * Returns 1 where there is more; else as records_find, and s is empty again. */
#define SEARCH_SLICE 64
struct records_search {
    struct whole_names targets;
    size_t at;
    bool listed;
    struct lunette_error skipped; /* why the first that was left out could not be read */
};
int records_search(struct iscsid *d, const struct filter *f, struct records_search *s,
                   struct ids *ret, struct lunette_error *err);
void records_search_end(struct records_search *s);

/* Runs a method with the records that its parameters filter; it takes ids. */
#define SEARCHED(fn)                                                                               \
    void fn(struct iscsid *d, struct manage_call *call, const json_t *params, struct ids *ids)
void searched_method(struct iscsid *d, struct manage_call *call, const json_t *params,
                     SEARCHED((*fn)));

/* Reads iscsid.conf and the initiator's name. */
int records_read_conf(struct iscsid *d, struct lunette_error *err);

/* ---- sync.c --------------------------------------------------------------------------------- */

#define SYNC_POLL_NS (2 * LOOP_NS_PER_MS)

struct sync;

/* Has what was written to the records and left for later reach the disk, on a thread of its own,
 * since that may take seconds where others write much.  Returns 0 and *ret, or -errno. */
int sync_begin(struct iscsid *d, struct sync **ret);
/* Returns 1 while it is under way; 0 when it is done, or -errno when that has failed. */
int sync_poll(struct sync *s);
/* Frees it, also while it is under way, and sets *s to NULL; *s may be NULL. */
void sync_free(struct sync **s);

/* ---- query.c -------------------------------------------------------------------------------- */

#define QUERY_SESSION    1u /* GET_SESSION and GET_CONN: values */
#define QUERY_LUNS       2u
#define QUERY_STATS      4u /* also of each LUN */
#define QUERY_HISTOGRAMS 8u /* with QUERY_STATS: how long requests took */

/* Answers call with {"sessions": [...]}: begin makes the object of a session, and the parts that
 * are asked for are added by the functions of query.c. */
void query_start(struct iscsid *d, struct manage_call *call, const json_t *params, unsigned parts);

/* ---- lease.c -------------------------------------------------------------------------------- */

/* The member "lease" of a request.  1: it is there; 0: not; or -EINVAL. */
int lease_get(const json_t *params, const struct manage_call *call, struct control_lease *ret,
              struct lunette_error *err);
/* [{"owner", "seconds", "left_ms", "uid"}, ...] */
json_t *say_leases(const struct control_node *n);

/* ---- stats.c -------------------------------------------------------------------------------- */

void stats_add_conn(struct iscsi_stats *sum, const struct iscsi_stats *s);
/* Sets the counters of connections, or of a LUN and its disk, in an object. */
void stats_say_conn(json_t *o, const struct iscsi_stats *s);
void stats_say_lun(json_t *o, const struct ipc_lun_stats *s);
json_t *stats_say_latency(const struct bdev_latency *l);
void stats_merge_latency(struct bdev_latency *to, const struct bdev_latency *from);

/* ---- batch.c -------------------------------------------------------------------------------- */

struct batch_options {
    bool logout;
    bool no_wait;
    bool more;                  /* one session more than there are */
    bool by_startup;            /* only records whose startup is one of... */
    unsigned startups;          /* 1 << enum nodedb_startup */
    struct control_lease lease; /* of logins; owner "": none */
    bool leading;  /* of records with node.leading_login one session of a target is enough */
    bool firmware; /* ids are those of the firmware's table, and so is how to log in */
    const json_t *values;
    /* Told at the end with what has become of all, which it takes; then the call, if there is one,
     * is told of progress and gets no answer.  results is NULL where memory was short. */
    void (*done)(void *user, json_t *results);
    void *user;
};
/* Logs in to records, whose ids are taken. */
void batch_login(struct iscsid *d, struct manage_call *call, struct ids *ids,
                 const struct batch_options *o);
/* The same with all records, which are searched a few targets at a time.  Where that fails, the log
 * says why, and done is not called. */
void batch_login_all(struct iscsid *d, const struct batch_options *o);
/* Logs out of the sessions that fit; sid 0: any. */
void batch_logout(struct iscsid *d, struct manage_call *call, const struct filter *f, uint32_t sid,
                  const struct batch_options *o);

/* ---- methods -------------------------------------------------------------------------------- */

#define METHOD(fn) void fn(void *user, struct manage_call *call, const json_t *params)
/* Runs a method that changes records at once, with their lock; it may be run later. */
void locked_method(struct iscsid *d, struct manage_call *call, const json_t *params, METHOD((*fn)));
#define LOCKED_METHOD(fn)                                                                          \
    static METHOD(fn##_locked);                                                                    \
    METHOD(fn)                                                                                     \
    {                                                                                              \
        locked_method(user, call, params, fn##_locked);                                            \
    }                                                                                              \
    static METHOD(fn##_locked)
METHOD(node_list_method);
METHOD(node_show_method);
METHOD(node_new_method);
METHOD(node_update_method);
METHOD(node_delete_method);
METHOD(node_login_method);
METHOD(node_logout_method);
METHOD(session_list_method);
METHOD(session_stats_method);
METHOD(session_rescan_method);
METHOD(session_logout_method);
METHOD(session_export_method);
METHOD(session_unexport_method);
METHOD(session_update_method);
METHOD(session_why_method);
METHOD(session_lease_method);
METHOD(session_release_method);
METHOD(session_flight_method);
METHOD(session_capture_method);
METHOD(discovery_sendtargets_method);
METHOD(discovery_isns_method);
METHOD(discovery_fw_method);
METHOD(discovery_list_method);
METHOD(discovery_show_method);
METHOD(discovery_new_method);
METHOD(discovery_update_method);
METHOD(discovery_delete_method);
METHOD(iface_list_method);
METHOD(iface_show_method);
METHOD(iface_new_method);
METHOD(iface_update_method);
METHOD(iface_delete_method);
METHOD(iface_apply_method);
METHOD(host_list_method);
METHOD(fw_list_method);
METHOD(fw_login_method);

/* ---- found.c -------------------------------------------------------------------------------- */

struct found;

struct found_options {
    enum nodedb_source source;
    struct portal via;
    unsigned ops; /* enum nodedb_discovered_op; 0: nothing is written */
    bool login, no_wait;
    struct firmware_list firmware; /* what NODEDB_BY_FW has found; found_new takes it */
    /* Called at the end with what was found, where there is no call that wants an answer; or with
     * NULL and err. */
    void (*done)(void *user, const struct ids *found, const struct lunette_error *err);
    void *user;
};
struct found *found_new(struct iscsid *d, const struct found_options *o);
/* What one iface has found. */
int found_add_targets(struct found *f, const char *iface, const struct discovery_result *res,
                      struct lunette_error *err);
int found_add_portals(struct found *f, const char *iface, const struct isns_targets *t,
                      struct lunette_error *err);
int found_add_firmware(struct found *f, const char *iface, struct lunette_error *err);
/* An iface has failed: what it would have found is not removed. */
void found_keep_stale(struct found *f);
/* Takes it all, answers the call (may be NULL), and logs in where that is asked for.  Frees f. */
void found_start(struct found *f, struct manage_call *call);
void found_free(struct found *f);

/* ---- seek.c --------------------------------------------------------------------------------- */

struct seek_options {
    enum nodedb_kind kind; /* NODEDB_SENDTARGETS or NODEDB_ISNS */
    struct portal via;
    unsigned ops;
    bool login, no_wait;
    const json_t *ifaces; /* names; none: all that are bound, or else the default one */
    const json_t *values; /* for the record of the discovery */
    void (*done)(void *user, const struct ids *found, const struct lunette_error *err);
    void *user; /* both as in found_options */
};
void seek_start(struct iscsid *d, struct manage_call *call, const struct seek_options *o);
/* What a discovery needs of its record and an iface. */
int seek_config(struct iscsid *d, const struct nodedb_record *disc, const char *iface,
                struct login_config *cfg, struct nodedb_disc_opts *opts, struct lunette_error *err);
void seek_isns_config(const struct login_config *cfg, struct isns_config *ret);

/* ---- fw.c ----------------------------------------------------------------------------------- */

/* Reads the firmware's targets.  Returns 0, and the caller ends *ret; or -errno, and the call has
 * been answered. */
int firmware_list(struct iscsid *d, struct manage_call *call, struct firmware_list *ret);
/* The nodes that they are through an iface; each once. */
int firmware_ids(const struct firmware_list *l, const char *iface, struct ids *ids,
                 struct lunette_error *err);

/* ---- firmware.c ----------------------------------------------------------------------------- */

/* As firmware_read, but that of cards only those are there that this machine has.  What it reads is
 * kept in d->firmware, which is not more than was kept before where targets are left out. */
int firmware_load(struct iscsid *d, struct firmware_list *ret, struct lunette_error *err);
void firmware_id(const struct firmware_target *t, const char *iface, struct nodedb_id *ret);
/* Sets in a record that is new what the firmware says of the node.  Returns 0 or -ENOMEM. */
int firmware_fill(const struct firmware_list *l, const struct nodedb_id *id,
                  struct nodedb_record *r);
/* Makes the record of a target that the firmware knows, in memory, and that of its iface, with
 * values (may be NULL) set in them; the caller ends both.  Where its table cannot be read now, what
 * it said before counts.  -ENOENT: it does not know it, or has no table that we may read; what may
 * pass is another -errno. */
int firmware_record(struct iscsid *d, const struct nodedb_id *id, const json_t *values,
                    struct nodedb_record *ret, struct nodedb_record *ret_iface,
                    struct lunette_error *err);

/* ---- periodic.c ----------------------------------------------------------------------------- */

/* Discoveries whose records say so are repeated from now on. */
void periodic_start(struct iscsid *d);
/* Records of discoveries or ifaces have changed. */
void periodic_follow(struct iscsid *d);
void periodic_free(struct iscsid *d);

#endif
