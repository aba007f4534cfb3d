/* SPDX-License-Identifier: MIT */
/* iscsid/plane.h - the data plane: one connection to each of its loops, and its process. */
#ifndef ISCSID_PLANE_H
#define ISCSID_PLANE_H

#include "control/control.h"
#include "ipc/socket.h"

struct plane;

struct plane_link {
    struct plane *p;
    unsigned index;
    struct stream *stream; /* while it connects */
    struct ipc_socket *socket;
    struct ipc_encoded_client *end;
    struct ctl *ctl; /* NULL: not connected */
    struct loop_timer retry;
    uint32_t delay_ms; /* before the next try */
    uint64_t since_ns; /* when it was connected last */
};

struct plane_config {
    const char *socket;
    const char *program; /* NULL: it is not ours to start */
    const char *log;     /* for its standard error; NULL: ours */
    unsigned threads;
    /* A connection is there, or is lost; requests of loop `index` get no answer any more. */
    void (*changed)(void *user, unsigned index, bool up);
    void *user;
};

struct plane {
    struct loop *loop;
    struct control *control;
    struct plane_config cfg;
    struct sock_addr at;
    struct plane_link *links[CONTROL_LOOPS_MAX];
    unsigned nlinks;
    pid_t pid;   /* of the process that listens; 0: not known */
    pid_t child; /* that was started here and has not been waited for; 0: none */
    uint64_t started_ns, may_start_ns;
    uint32_t start_delay_ms; /* before the next start */
    bool told;               /* that nobody answers */
    bool answered;           /* the process that was started last has */
    bool stopping;
};

/* Starts to connect; cfg is copied, what it points to and control are borrowed.  Returns 0 or
 * -errno with the reason. */
int plane_start(struct plane *p, struct loop *loop, struct control *control,
                const struct plane_config *cfg, struct lunette_error *err);

/* The data plane has told how many loops it has. */
void plane_set_loops(struct plane *p, unsigned loops);

/* Is there a connection to each loop? */
bool plane_is_up(const struct plane *p);

/* Asks the process to end: it flushes its disks, and drops the sessions that it still has.  Nothing
 * is started any more.  Does nothing for one that is not ours to start. */
void plane_end_process(struct plane *p);

/* After control_free: closes the connections. */
void plane_stop(struct plane *p);

#endif
