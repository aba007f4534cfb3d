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
    uint64_t heard_ns; /* when something came from it last, as far as that was looked at */
    uint64_t heard;    /* how much had come by then */
    bool probing;      /* it was asked whether it is there */
    bool unasked;      /* it could not be asked */
    bool silent;
};

struct plane_config {
    const char *socket;
    const char *program;      /* NULL: it is not ours to start */
    const char *log;          /* for its standard error; NULL: ours */
    const char *lock;         /* a file on which it has a lock as long as it lives; NULL: none */
    const char *lock_instead; /* another one, where that is not to be had */
    unsigned threads, time_every; /* its options */
    /* A connection is there, or is lost; requests of loop `index` get no answer any more. */
    void (*changed)(void *user, unsigned index, bool up);
    /* Loop `index` has said nothing for so long, though it was asked; or, with 0, all of them are
     * looked at.  Returns whether somebody waits for the data plane: else nothing is looked at
     * until plane_watch is called. */
    bool (*silent)(void *user, unsigned index, uint64_t ns);
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
    uint64_t held_ns;        /* since when another process has the lock; 0: none has */
    bool held_told;
    bool guard_told; /* that the lock is the other one */
    struct loop_timer watch;
    bool told;     /* that nobody answers */
    bool answered; /* the process that was started last has */
    bool stopping;
};

/* Starts to connect; cfg is copied, what it points to and control are borrowed.  Returns 0 or
 * -errno with the reason. */
int plane_start(struct plane *p, struct loop *loop, struct control *control,
                const struct plane_config *cfg, struct lunette_error *err);

/* The data plane has told how many loops it has. */
void plane_set_loops(struct plane *p, unsigned loops);

/* Somebody waits for the data plane from now on: where it says nothing for some seconds, not even
 * when it is asked whether it is there, cfg.silent is called. */
void plane_watch(struct plane *p);

/* Asks each loop whether it is there, where it has not yet answered that. */
void plane_ask(struct plane *p);
/* Is loop `index` there, and has it answered what it was asked by plane_ask? */
bool plane_answers(const struct plane *p, unsigned index);

/* Was loop `index` found silent by plane_watch, and has it not answered since? */
bool plane_is_silent(const struct plane *p, unsigned index);

/* Is there a connection to each loop? */
bool plane_is_up(const struct plane *p);

/* Asks the process to end: it flushes its disks, and drops the sessions that it still has.  Nothing
 * is started any more.  Does nothing for one that is not ours to start. */
void plane_end_process(struct plane *p);

/* After control_free: closes the connections. */
void plane_stop(struct plane *p);

#endif
