/* SPDX-License-Identifier: MIT */
/* iscsid/iscsid.h - the control plane as a daemon: records (nodedb/), policy (control/) and the
 * management API (manage/), and the connections to the data plane, which it starts where it is to.
 *
 * It runs on the thread of one loop.  Files are read and written synchronously; what concerns many
 * records is done in slices, a few in each turn of the loop.
 */
#ifndef ISCSID_ISCSID_H
#define ISCSID_ISCSID_H

#include <stdbool.h>

#include "base/err.h"
#include "seam/loop.h"

struct iscsid;

/* All paths are absolute, and all texts are borrowed as long as the daemon lives. */
struct iscsid_config {
    const char *conf_file;      /* iscsid.conf; need not be there */
    const char *initiator_file; /* initiatorname.iscsi; made where it is missing */
    const char *records;        /* the folder of the records */
    const char *lock_dir;       /* of the lock of the records */
    const char *run;            /* the folder of sockets; it is there */
    const char *root;           /* how the instance is called towards callers */
    const char *options; /* and what leads iscsiadm to it, as a shell takes it: " --root DIR",
                            or "" */
    const char *version;
    int listen_fd; /* a listening socket that was handed over, taken by success; -1: none */
    const char *iod_socket;  /* where a data plane listens */
    const char *iod_program; /* which is started where nobody listens; NULL: it is not ours to start
                              */
    const char *iod_log;     /* the file for its standard error; NULL: ours */
    const char *iod_lock;    /* a file on which one that is started has a lock as long as it lives;
                                NULL: none */
    const char *iod_lock_run;  /* another one, where that is not to be had */
    unsigned iod_threads;      /* of one that is started */
    unsigned iod_time_every;   /* one request in so many is timed there; 0: none */
    bool classic_socket;       /* callers of open-iscsi's socket are answered, too */
    const char *sysfs;         /* where sessions are shown as the kernel would; NULL: nowhere */
    const char *firmware;      /* where the firmware's tables are: /sys/firmware but for tests */
    void (*ready)(void *user); /* callers may come; called once */
    /* The daemon is to be freed: it has done what daemon.shutdown asked for (why is NULL), or it
     * cannot be reached by anybody; called once. */
    void (*ended)(void *user, const struct lunette_error *why);
    void *user;
};

/* Reads configuration and starts to work; loop is borrowed.  Returns 0, or -errno with a sentence
 * for who starts it. */
int iscsid_new(struct loop *loop, const struct iscsid_config *cfg, struct iscsid **ret,
               struct lunette_error *err);

/* Reads the configuration again, and the records of the sessions that are wanted.  Returns 0, or
 * -errno where iscsid.conf or the initiator's name cannot be read; then all stays as it was. */
int iscsid_reload(struct iscsid *d, struct lunette_error *err);

/* Begins to tell iSNS servers that this host goes; called before iscsid_free, and again.  Returns
 * whether there is something to wait for; the caller runs the loop meanwhile, and bounds the wait.
 */
bool iscsid_leave(struct iscsid *d);

/* Ends it and sets *d to NULL.  Sessions and their exports stay with the data plane, and so does
 * the data plane.  Must not be called from inside a callback of the loop.  NULL is harmless. */
void iscsid_free(struct iscsid **d);

#endif
