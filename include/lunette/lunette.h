/* SPDX-License-Identifier: MIT */
/* lunette/lunette.h - open an iSCSI logical unit by URL, and read and write it.
 *
 *     struct lunette_error err = LUNETTE_INIT(err);
 *     struct lunette_ctx *ctx = NULL;
 *     struct lunette_lun *lun = NULL;
 *     const char *url = "iscsi://127.0.0.1:3260/iqn.2026-11.example:disk/0";
 *
 *     int r = lunette_ctx_new(NULL, &ctx, &err);
 *     if (r == 0)
 *         r = lunette_open(ctx, url, 0, &lun, &err);
 *     if (r == 0)
 *         r = lunette_pread(lun, buf, 4096, 0, &err);
 *     if (r < 0)
 *         fprintf(stderr, "%s\n", err.msg);
 *     lunette_close(lun);
 *     lunette_ctx_free(ctx);
 *
 * Threads: a context and everything that is opened in it belong to one thread: the first that uses
 * the context after lunette_ctx_new, which another may have called.  io_uring refuses any other
 * thread (-EEXIST).  Several threads use several contexts.  No call takes a lock, and callbacks
 * come on that thread, from inside calls that drive the context.  What has no context (versions,
 * texts, lists that were returned) may be used by any thread.  A child after fork() uses nothing
 * that its parent has made, and frees nothing of it.
 *
 * Memory: buffers, iovec arrays and the pieces that iovecs name may lie at any address and have any
 * length, also 0; NULL will do for no bytes.  No block may be spread over more than
 * LUNETTE_IOV_PER_BLOCK_MAX iovecs.  Beyond that their number, and the length of a request, have no
 * limit: what does not fit into one command becomes several, which may be executed in any order and
 * of which some may have been when the request fails.
 *
 * Offsets and lengths are bytes, and multiples of the block size (struct lunette_info), or else
 * -EINVAL.  With a length of 0 nothing is sent: a request succeeds where its offset would do, which
 * the end of the unit does, too.
 *
 * Errors: a call that fails returns -errno, and fills in its struct lunette_error, where it has
 * one, with a sentence that says what is wrong (NULL: the caller does not want it).  Errors of the
 * data path:
 *   -EREMOTEIO  the device refused or failed the command; see status and sense
 *   -ENODATA    unrecovered medium error     -EBADMSG protection information did not match
 *   -ENOSPC     a thin pool is full          -EROFS   write protected
 *   -EBADE      reservation conflict         -EILSEQ  miscompare
 *   -EBUSY      BUSY until the time was up   -ENOMEDIUM no medium
 *   -EOPNOTSUPP the device cannot do it      -EINVAL  misaligned or past the end
 *   -ETIMEDOUT  not done in time, aborted    -ECANCELED canceled, or swept by a reset
 *   -ENXIO      no such logical unit any more, or another one is in its place
 *   -ENODEV     the device is offline        -EPROTO  an answer that makes no sense
 *   -EHOSTUNREACH the path is in an ALUA state in which it takes no I/O (standby, unavailable ...)
 *   -ENOTCONN   the session was not recovered in time, or is gone for good: nothing that would have
 *               changed the unit has been executed
 *   -ENOLINK    the connection was lost with the request under way: it may have been executed, in
 *               part or as a whole
 *   -EIO        any other failure
 *
 * A lost connection is none of them by itself: see "sessions" below.
 *
 * Structures that the caller allocates begin with struct_size, so that they may grow (see
 * lunette/error.h): initialize them with LUNETTE_INIT, or with zeroes.  Flags that a call does not
 * know are -EINVAL.
 *
 * URLs: iscsi://[user[%secret]@]host[:port]/target-iqn[/lun][?key=value&...]
 * See lunette-url(7) for the keys.  Where the URL has no credentials, those of
 * LUNETTE_CHAP ("user:secret") or of the file named by LUNETTE_CHAP_FILE or by
 * ?chap_file= are taken, so that no secret need stand in a process list.
 */
#ifndef LUNETTE_LUNETTE_H
#define LUNETTE_LUNETTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <lunette/error.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LUNETTE_API __attribute__((visibility("default")))

/* The version of this header.  lunette_version_number tells that of the library at run time, in the
 * form of LUNETTE_VERSION_NUMBER. */
#define LUNETTE_VERSION_MAJOR  0
#define LUNETTE_VERSION_MINOR  1
#define LUNETTE_VERSION_PATCH  0
#define LUNETTE_VERSION_STRING "0.1.0"
#define LUNETTE_VERSION_NUMBER                                                                     \
    (LUNETTE_VERSION_MAJOR << 16 | LUNETTE_VERSION_MINOR << 8 | LUNETTE_VERSION_PATCH)

struct lunette_ctx;
struct lunette_session;
struct lunette_lun;
struct lunette_open;
struct lunette_queue;
struct lunette_targets;
struct lunette_transports;
struct lunette_luns;
struct lunette_pr_registrants;
struct lunette_export;

#define LUNETTE_SENSE_MAX         252 /* bytes of sense data that are kept */
#define LUNETTE_IOV_PER_BLOCK_MAX 256

/* ---- contexts ------------------------------------------------------------------------------ */

enum lunette_loop {
    LUNETTE_LOOP_AUTO, /* io_uring where allowed, else epoll */
    LUNETTE_LOOP_EPOLL,
    LUNETTE_LOOP_URING,
};

struct lunette_ctx_options {
    size_t struct_size;         /* see LUNETTE_INIT */
    const char *initiator_name; /* NULL: LUNETTE_INITIATOR_NAME, or one made from the host's name */
    enum lunette_loop loop;
    uint32_t spin_us; /* busy polling before sleeping, microseconds at most; 0: none.  Where answers
                         take longer, it polls less and less, so that little is wasted */
    int log_level;    /* 0 errors, 1 warnings, 2 information, 3 debugging */
    uint32_t trace_events; /* keep that many trace points (a power of two); 0: none */
    void (*log)(void *user, int level, const char *line); /* NULL: silence */
    void *log_user;
    /* One request of a disk in so many, on the average, is timed for lunette_get_times.  0: one in
     * 512, and more where there are few; LUNETTE_TIME_NONE: none. */
    uint64_t time_every;
};
#define LUNETTE_TIME_NONE UINT64_MAX

/* opts may be NULL.  Loads the transports that LUNETTE_TRANSPORTS names, see liblunette(3), and
 * fails where one cannot be loaded. */
LUNETTE_API int lunette_ctx_new(const struct lunette_ctx_options *opts, struct lunette_ctx **ret,
                                struct lunette_error *err);

/* Frees a context.  Before, everything that was opened in ctx must have been closed, and every
 * opening must have ended or been canceled.  It waits for what lunette_close_start and
 * lunette_open_cancel have not ended yet.  NULL is harmless. */
LUNETTE_API void lunette_ctx_free(struct lunette_ctx *ctx);

/* A descriptor that polls readable when lunette_ctx_run has something to do (timers, NOPs,
 * completions).  Owned by ctx. */
LUNETTE_API int lunette_ctx_fd(struct lunette_ctx *ctx);

/* Drives everything in ctx for at most timeout_ms (<0: until something happened, 0: without
 * waiting).  Returns 0 or -errno. */
LUNETTE_API int lunette_ctx_run(struct lunette_ctx *ctx, int timeout_ms);

/* "epoll" or "uring". */
LUNETTE_API const char *lunette_ctx_loop_name(const struct lunette_ctx *ctx);

/* Writes the trace points that are kept, the newest trace_events of them, as text: a line for each,
 * with the time in nanoseconds, a function's name and what it tells.  -ENOENT without trace_events.
 */
LUNETTE_API int lunette_ctx_trace(const struct lunette_ctx *ctx, int fd);

#define LUNETTE_CAPTURE_NO_PAYLOAD 1u /* data of commands stay out; lengths stay true */

/* Captures all PDUs of the sessions that are opened in ctx from now on, their logins included, as a
 * pcapng file, which Wireshark reads.  fd is a connected stream socket, which belongs to ctx after
 * success and at whose other end the file is read, by another thread or process: what is not read
 * fast enough is left out, and the file says so.  When the other end is shut down for writing, or
 * closed, the capture ends; lunette_ctx_free ends it, too, and waits up to three seconds until all
 * has been read.  Secrets of logins are always replaced by x.  flags: LUNETTE_CAPTURE_, or 0.
 * Returns 0; -EBUSY after it was called before, or with sessions open; -EINVAL. */
LUNETTE_API int lunette_ctx_capture(struct lunette_ctx *ctx, int fd, uint32_t flags,
                                    struct lunette_error *err);

/* Counters of turns of the loop and of system calls, for measuring. */
struct lunette_ctx_stats {
    size_t struct_size; /* see LUNETTE_INIT */
    uint64_t turns, waits, syscalls, sends, recvs, bytes_sent, bytes_received;
};
/* 0, or -EINVAL where ret->struct_size is neither 0 nor the size of any version. */
LUNETTE_API int lunette_ctx_get_stats(const struct lunette_ctx *ctx, struct lunette_ctx_stats *ret);

/* ---- transports ----------------------------------------------------------------------------
 *
 * What carries sessions: "tcp" and "iser" (RDMA), which are built in, and others out of shared
 * objects, see liblunette(3).  A URL chooses one with transport=NAME. */

enum lunette_transport_from {
    LUNETTE_TRANSPORT_BUILT_IN,
    LUNETTE_TRANSPORT_NAMED,     /* LUNETTE_TRANSPORTS names it, and contexts load it */
    LUNETTE_TRANSPORT_INSTALLED, /* it is installed, and LUNETTE_TRANSPORTS may name it */
};

struct lunette_transport_info {
    size_t struct_size; /* see LUNETTE_INIT */
    const char *path; /* of its shared object, or what names that; NULL: built in.  Lives as long as
                         the list */
    char name[32];    /* "": there is none, and why says why */
    char caps[256];   /* what it can do: words with blanks between them, as in "recovery_l0
                         multi_r2t", see lunette(1) */
    enum lunette_transport_from from;
    int err; /* 0: sessions can be made with it here and now; else -errno of why */
    uint32_t max_recv_data_segment_length; /* the largest that it is worth declaring, bytes; 0: it
                                              does not say */
    char why[260];                         /* a sentence, or "" */
};

/* Finds all transports that there are or could be, and loads them to see, which has them run code
 * of theirs as lunette_ctx_new does.  No context is needed, and none is changed.  *ret is the
 * caller's, to be freed by lunette_transports_free. */
LUNETTE_API int lunette_list_transports(struct lunette_transports **ret, struct lunette_error *err);

/* How many there are. */
LUNETTE_API size_t lunette_transports_count(const struct lunette_transports *list);

/* Fills in *ret with the i-th: first what is built in, then what LUNETTE_TRANSPORTS names, then
 * what is installed, by file name.  0; -ENOENT where there is none; -EINVAL where ret->struct_size
 * is neither 0 nor the size of any version. */
LUNETTE_API int lunette_transports_get(const struct lunette_transports *list, size_t i,
                                       struct lunette_transport_info *ret);

/* NULL is harmless. */
LUNETTE_API void lunette_transports_free(struct lunette_transports *list);

/* ---- memory that is registered once ----------------------------------------------------------
 *
 * Some transports move data by a device that reads and writes memory by itself (iser).  They have
 * to make memory ready for it: of any memory they copy what is read and written, or make it ready
 * anew for each command.  Of registered memory they do neither.  Others lose and gain nothing, so
 * that a program need not ask which transport it has. */

#define LUNETTE_REGIONS_MAX 64 /* of a context at a time */

/* Registers [addr, addr + len) for all sessions of ctx, those that there are and those to come; any
 * address and length will do.  Requests that lie in it, or in part, go as ever.  A request whose
 * data lie in one such region, in one piece, can go without a copy.
 *
 * The memory is the caller's: it stays mapped, and what is mapped there stays the same, until
 * lunette_unregister or lunette_ctx_free has returned.  Where a transport uses it, all of its pages
 * are kept in memory, which costs a system call for each connection, and counts against
 * RLIMIT_MEMLOCK for each connection by itself; one of a few MiB that is used over and over is what
 * this is for.
 *
 * A target may read and write the data of a command in it until the command ends.  Where the device
 * has no memory windows, or iser_stag= says pool or register, it can do so with all of the memory,
 * as long as a session with it is connected: then it should hold nothing but data of that target.
 *
 * Returns 0; -EINVAL: it is no memory, as with a length of 0; -EEXIST: a part of it is registered;
 * -ENOSPC: LUNETTE_REGIONS_MAX are; or what the transport of a session says, as -ENOMEM beyond
 * RLIMIT_MEMLOCK, and then nothing is registered, and the memory may be used as any other.  A
 * session that is opened later, or that connects anew, and cannot make it ready does without, and
 * logs a warning. */
LUNETTE_API int lunette_register(struct lunette_ctx *ctx, void *addr, size_t len,
                                 struct lunette_error *err);

/* Ends what lunette_register has begun for the memory at addr.  Does not wait.  0; -ENOENT: none is
 * registered that begins there; -EBUSY: requests that have not ended use it, and it stays
 * registered: take their completions, or cancel them, before. */
LUNETTE_API int lunette_unregister(struct lunette_ctx *ctx, void *addr, struct lunette_error *err);

/* ---- events ---------------------------------------------------------------------------------
 *
 * What happens to sessions and logical units apart from any request.  They are told by a callback,
 * or kept for lunette_ctx_next_event.  A program that asks for none loses nothing: requests wait
 * and end as their errors say. */

enum lunette_event_type {
    LUNETTE_EVENT_NONE,
    /* Of a session. */
    LUNETTE_EVENT_CONN_LOST, /* why; requests wait from now on, until give_up_ms are over */
    LUNETTE_EVENT_REOPENING, /* login number `attempt` since then begins in next_try_ms; why: what
                                ended the one before, or the connection */
    LUNETTE_EVENT_RECOVERED, /* logged in again after down_ms: requests go on */
    LUNETTE_EVENT_TIMED_OUT, /* the replacement timeout is over: requests fail with -ENOTCONN until
                                RECOVERED; the attempts go on */
    LUNETTE_EVENT_GONE,      /* for good: why; there are no more attempts */
    /* Of a logical unit. */
    LUNETTE_EVENT_CAPACITY,     /* its size is another: lunette_get_info */
    LUNETTE_EVENT_LUNS_CHANGED, /* the target's list of units is another */
    LUNETTE_EVENT_RESERVATIONS, /* reservations were preempted or released */
    LUNETTE_EVENT_MODE,         /* write protection or cache: lunette_get_info */
    LUNETTE_EVENT_REPLACED,     /* another unit answers in its place: its requests fail for good */
    LUNETTE_EVENT_OFFLINE, /* its requests fail until ONLINE: error handling gave up on it, or it
                              was not there, or not ready, when the session was back */
    LUNETTE_EVENT_LOST_WRITES, /* writes that were acknowledged may be lost: the cache that held
                                  them lost its power, or failed to write them */
    LUNETTE_EVENT_ALUA,        /* the state of its path is another */
    LUNETTE_EVENT_ONLINE,      /* it was offline, and its requests go on */
    /* Of the context. */
    LUNETTE_EVENT_DROPPED, /* events were dropped, `attempt` of them: nobody took them in time */
    /* Of one connection, cid, of a session that is not lost. */
    LUNETTE_EVENT_CONN_DOWN, /* it is lost: why; the others go on, or at error recovery level 2 all
                                requests wait for a connection where nconnections is 0 */
    LUNETTE_EVENT_CONN_UP,   /* it is logged in, for the first time or again */
};

struct lunette_event {
    size_t struct_size; /* see LUNETTE_INIT */
    enum lunette_event_type type;
    uint32_t attempt;                /* REOPENING; DROPPED: how many */
    struct lunette_session *session; /* DROPPED: NULL */
    struct lunette_lun *lun;         /* NULL: the event is the session's, or of a unit that is not
                                        open */
    int64_t down_ms;     /* since the connection was lost; 0 for events of logical units */
    int64_t next_try_ms; /* REOPENING: until the attempt begins */
    int64_t give_up_ms;  /* until TIMED_OUT: -1 never, 0 it has come */
    int err;             /* 0, or the -errno of why */
    char why[260];       /* a sentence, or "" */
    uint32_t cid;        /* CONN_DOWN, CONN_UP: of which connection */
    uint16_t nconnections, nconnections_wanted; /* of these: how many the session has now, and is
                                                   to have, as the target has agreed */
};

/* Events come by fn from now on: from inside calls that drive ctx, as the callbacks of
 * lunette_open_start do, with the same rights; they may close a session or a LUN by the calls that
 * do not wait, but not one that the call which drives ctx is about.  ev is valid while fn runs.
 * NULL: they are kept for lunette_ctx_next_event. */
LUNETTE_API int lunette_ctx_set_events(struct lunette_ctx *ctx,
                                       void (*fn)(void *user, const struct lunette_event *ev),
                                       void *user);

/* Takes the oldest event that is kept.  0; -EAGAIN: there is none; -EINVAL where ret->struct_size
 * is neither 0 nor the size of any version.  Events are kept, the latest 1024 of them, from the
 * first call of this, of lunette_ctx_events_fd, or of lunette_ctx_set_events without fn on.  Those
 * of a session or a LUN that is closed are taken away. */
LUNETTE_API int lunette_ctx_next_event(struct lunette_ctx *ctx, struct lunette_event *ret);

/* A descriptor that polls readable while there are events to take; or -errno.  Events only come up
 * in calls that drive ctx: a program waits for this one and for lunette_ctx_fd, or looks after each
 * such call.  Owned by ctx. */
LUNETTE_API int lunette_ctx_events_fd(struct lunette_ctx *ctx);

/* One sentence for a person, such as "connection lost (...); requests wait for 120 s"; returns
 * buf. */
LUNETTE_API const char *lunette_event_text(const struct lunette_event *ev, char *buf, size_t size);

/* The type in lower case for a program, such as "conn_lost"; NULL: there is no such type. */
LUNETTE_API const char *lunette_event_name(enum lunette_event_type type);

/* ---- discovery ----------------------------------------------------------------------------- */

struct lunette_portal {
    size_t struct_size; /* see LUNETTE_INIT */
    char address[292];  /* host:port, IPv6 in brackets; or what the target told, as it came,
                           where that cannot be understood */
    int tpgt;           /* target portal group tag, -1 if not told */
};

struct lunette_target {
    size_t struct_size; /* see LUNETTE_INIT */
    char name[224]; /* as the target told it: not every target keeps to RFC 7143 4.2.7, but there
                       are neither control characters nor blanks of ASCII in it */
    size_t nportals;
};

/* SendTargets at "host[:port]" or an iscsi:// URL without a target.  *ret is the caller's, to be
 * freed by lunette_targets_free. */
LUNETTE_API int lunette_discover(struct lunette_ctx *ctx, const char *where,
                                 struct lunette_targets **ret, struct lunette_error *err);

/* How many targets there are. */
LUNETTE_API size_t lunette_targets_count(const struct lunette_targets *targets);

/* Fills in *ret with the i-th target, or with the k-th portal of the i-th target.  0; -ENOENT where
 * there is none; -EINVAL where ret->struct_size is neither 0 nor the size of any version. */
LUNETTE_API int lunette_targets_get(const struct lunette_targets *targets, size_t i,
                                    struct lunette_target *ret);
LUNETTE_API int lunette_targets_get_portal(const struct lunette_targets *targets, size_t i,
                                           size_t k, struct lunette_portal *ret);

/* NULL is harmless. */
LUNETTE_API void lunette_targets_free(struct lunette_targets *targets);

/* ---- logical units ------------------------------------------------------------------------- */

struct lunette_info {
    size_t struct_size;  /* see LUNETTE_INIT */
    uint64_t lun;        /* as a number (peripheral and flat space addressing) */
    uint8_t lun_wire[8]; /* as on the wire */
    uint8_t type;        /* peripheral device type; 0: disk */
    char vendor[9], product[17], revision[5];
    char serial[256]; /* "" if not told */
    char name[256];   /* the unit's own name: naa., eui., t10. or a SCSI name string; "" if none */
    /* disks; 0 for others */
    uint64_t size; /* bytes */
    uint32_t block_size, physical_block_size;
    uint64_t max_transfer, optimal_transfer, max_discard, max_write_zeroes;
    uint32_t max_compare_write;
    bool read_only, write_cache, fua, rotational, thin;
    int error; /* 0, or why a disk could not be brought up (-errno) */
};

enum lunette_session_state {
    LUNETTE_SESSION_LOGGED_IN,
    LUNETTE_SESSION_BLOCKED, /* the connection is lost: requests wait until another has logged in */
    LUNETTE_SESSION_FAILED,  /* that took longer than the replacement timeout: requests fail with
                                -ENOTCONN, until another has logged in */
    LUNETTE_SESSION_GONE,    /* for good: requests fail, and nothing is tried any more */
};

/* What was agreed at login (RFC 7143 13), the latest one, and how the session is.  Sizes
 * are in bytes, times in seconds unless they end in _ms. */
struct lunette_session_info {
    size_t struct_size; /* see LUNETTE_INIT */
    char target_name[224], target_alias[256], initiator_name[224];
    char portal[288];
    uint16_t tsih, tpgt;
    uint8_t isid[6];
    bool header_digest, data_digest, initial_r2t, immediate_data;
    uint32_t max_recv_data_segment_length, max_xmit_data_segment_length;
    uint32_t max_burst_length, first_burst_length, max_outstanding_r2t, max_connections;
    uint32_t error_recovery_level, time2wait, time2retain;
    char auth_method[16]; /* "None", "CHAP", "CHAP mutual"; "": the adapter logs in by itself, as
                             that of offload_session, and does not tell what it has agreed on:
                             tsih, tpgt, isid, digests and keys are all 0 */
    uint32_t bends;       /* bit n: the target departs from RFC 7143 as lunette_bend_text(n) says,
                             which harms nothing */
    enum lunette_session_state state;
    uint32_t reopens;      /* how often the session was recovered */
    uint32_t nconnections; /* see lunette_session_get_conn */
    uint32_t attempt;      /* the login since the connection was lost, from 1 on, that comes next or
                              is under way; when gone, the last one; 0 where there is a connection */
    int64_t down_ms;       /* since when there is none; 0 where there is one */
    int64_t next_try_ms;   /* until the next attempt; 0: it is under way, or none is due */
    int64_t give_up_ms;    /* until requests fail; -1 never, 0 where they do already, or where none
                              waits */
    int error;             /* why the session lost its connection last, or the last attempt failed:
                              -errno; 0: it never has */
    char error_text[260];  /* and a sentence */
    uint32_t nconnections_wanted, error_recovery_level_wanted; /* as the URL has them; the target
                              has agreed to max_connections and error_recovery_level */
    char transport[32]; /* its name, as in lunette_transport_info; "": not known any more */
};

#define LUNETTE_OPEN_RDONLY 1u /* writes are refused locally */
#define LUNETTE_OPEN_RAW    2u /* any device type, and a disk that does not come up: only CDBs */
#define LUNETTE_OPEN_SESSION                                                                       \
    4u /* log in and no more: no LUN is looked for.  For control planes, and                       \
          to hold a session in reserve: lunette_ping,                                              \
          lunette_get_session_info and closing work, lunette_get_info is all                       \
          zero, the rest fails with -ENXIO */

#define LUNETTE_OPEN_ZERO_COPY                                                                     \
    8u /* as zero_copy=yes in the URL: data of large writes is lent to the system, not copied.     \
          A target on the same host that answers before it has read it may see what the            \
          caller writes to that memory after the completion; see lunette-url(7) */

#define LUNETTE_OPEN_ANY_LUN                                                                       \
    16u /* with LUNETTE_OPEN_RAW: also a LUN where the target has no unit, or none that answers    \
           INQUIRY; lunette_get_info then has type 0x1f */

/* Writes url, or what was meant as one, without any secret into buf, cut to size - 1 bytes, for a
 * message.  What cannot be understood and might be a secret is left out, too; bytes outside
 * 20h..7Eh are written as %XX.  NULL as url gives "".  Returns buf. */
LUNETTE_API const char *lunette_url_mask(const char *url, char *buf, size_t size);

/* Connects, logs in and brings the LUN of the URL (default 0) up.  Waits for all of it, within
 * the login timeout.  *ret is the caller's. */
LUNETTE_API int lunette_open(struct lunette_ctx *ctx, const char *url, uint32_t flags,
                             struct lunette_lun **ret, struct lunette_error *err);

/* Flushes the disk's cache, logs out and frees lun.  Its queues must have been freed, and its
 * exports have ended, before.  NULL is harmless.  No lost connection is waited for.  A target that
 * does not answer has twice the time limit of commands for the flush, and error handling ends it
 * then, unless a ping finds out before that it is not there. */
LUNETTE_API void lunette_close(struct lunette_lun *lun);

/* ---- many at once ---------------------------------------------------------------------------
 *
 * The same two without waiting, for programs with many sessions or a loop of their own: whatever
 * drives ctx (lunette_ctx_run, or a call that waits) drives all that was started.  Their callbacks
 * come from there, never from inside the call that started them, and may make every call that does
 * not wait: these three, lunette_queue_new and what queues and submits requests,
 * lunette_get_...; not lunette_ctx_run, lunette_ctx_free, nor the calls that wait.
 *
 * Some dozens of openings under way at a time log in faster than one after the other; thousands
 * would only run into their time limits, as a target's accept queue is finite.  Start the next one
 * in the callback of the one before. */

/* As lunette_open.  done is called once: lun is the caller's, or NULL and *err says why, when
 * nothing is left of it; *ret is gone from then on.  ret may be NULL.  0, or -errno with *err when
 * nothing was started (done is not called): the URL is wrong, or no memory. */
LUNETTE_API int lunette_open_start(struct lunette_ctx *ctx, const char *url, uint32_t flags,
                                   void (*done)(void *user, struct lunette_lun *lun,
                                                const struct lunette_error *err),
                                   void *user, struct lunette_open **ret,
                                   struct lunette_error *err);

/* Gives an opening up, at whatever step it is: done is not called any more.  What there is of it is
 * undone as ctx is driven on.  NULL is harmless. */
LUNETTE_API void lunette_open_cancel(struct lunette_open *op);

/* As lunette_close: lun is gone for the caller at once, done (NULL: not interested) is called when
 * its session has ended.  Thousands may be under way. */
LUNETTE_API void lunette_close_start(struct lunette_lun *lun, void (*done)(void *user), void *user);

/* Each fills in *ret.  0, or -EINVAL where ret->struct_size is neither 0 nor the size of any
 * version. */
LUNETTE_API int lunette_get_info(const struct lunette_lun *lun, struct lunette_info *ret);
LUNETTE_API int lunette_get_session_info(const struct lunette_lun *lun,
                                         struct lunette_session_info *ret);

/* ---- sessions -------------------------------------------------------------------------------
 *
 * A session is one login to a target, and outlives its connection: when that is lost, the session
 * logs in again by itself, as often as it takes, and its requests wait meanwhile; the time limits
 * of commands stand still, those of lunette_set_timeout and lunette_queue_set_timeout do not.  Then
 * requests go on that were not sent yet, and those that may be done
 * twice without harm: reads, writes, flushes, discards, zeroes.  Others that were under way fail
 * with -ENOLINK: they may have been executed.  When replacement_timeout is over, requests fail with
 * -ENOTCONN, or -ENOLINK where they have been under way, and work again once the session is back.
 * A request with which the connection is lost again and again ends with -ENOLINK when
 * replacement_timeout has passed since the first loss, or the time of all its tries without
 * outages. Only a target that refuses the login for good, as for a wrong secret, ends the session.
 *
 * A session that is back has ended at the target what was under way before.  One that is closed
 * while its connection is lost has not: a write that has ended with -ENOLINK, -ECANCELED or
 * -ETIMEDOUT may be executed later, as long as the network has it, and so over what another session
 * writes there.
 *
 * lunette_open makes a session for its one LUN.  Several LUNs of a target may share one:
 *
 *     r = lunette_session_open(ctx, url, 0, &session, &err);
 *     if (r == 0)
 *         r = lunette_session_lun(session, 1, 0, &lun, &err);
 *     ...
 *     lunette_close(lun);
 *     lunette_session_close(session);
 */

/* Connects and logs in; no LUN is looked for, whatever the URL has.  flags: 0 or
 * LUNETTE_OPEN_ZERO_COPY.  *ret is the caller's. */
LUNETTE_API int lunette_session_open(struct lunette_ctx *ctx, const char *url, uint32_t flags,
                                     struct lunette_session **ret, struct lunette_error *err);

/* Brings a LUN of the session up: its number, or, where it has none, its eight bytes on the wire as
 * one integer whose highest byte comes first; as in a URL.  flags: 0, LUNETTE_OPEN_RDONLY,
 * LUNETTE_OPEN_RAW, LUNETTE_OPEN_ANY_LUN.  -EBUSY: it is open in this session.  *ret is the
 * caller's, and is closed by lunette_close, which leaves the session. */
LUNETTE_API int lunette_session_lun(struct lunette_session *session, uint64_t lun, uint32_t flags,
                                    struct lunette_lun **ret, struct lunette_error *err);

/* Logs out and frees session, in whatever state it is; what lunette_session_open has returned, that
 * is.  Its LUNs must have been closed before, or their closing started.  NULL is harmless. */
LUNETTE_API void lunette_session_close(struct lunette_session *session);

/* The same without waiting: see lunette_open_start and lunette_close_start.  lunette_open_cancel
 * gives the openings up. */
LUNETTE_API int lunette_session_open_start(struct lunette_ctx *ctx, const char *url, uint32_t flags,
                                           void (*done)(void *user, struct lunette_session *session,
                                                        const struct lunette_error *err),
                                           void *user, struct lunette_open **ret,
                                           struct lunette_error *err);
LUNETTE_API int lunette_session_lun_start(
    struct lunette_session *session, uint64_t lun, uint32_t flags,
    void (*done)(void *user, struct lunette_lun *lun, const struct lunette_error *err), void *user,
    struct lunette_open **ret, struct lunette_error *err);
LUNETTE_API void lunette_session_close_start(struct lunette_session *session,
                                             void (*done)(void *user), void *user);

/* The session of a LUN.  That which lunette_open has made ends with this LUN, and is not to be
 * given to lunette_session_close; others that were brought up in it must have been closed before.
 */
LUNETTE_API struct lunette_session *lunette_lun_session(const struct lunette_lun *lun);

/* As lunette_get_session_info. */
LUNETTE_API int lunette_session_get_info(const struct lunette_session *session,
                                         struct lunette_session_info *ret);

enum lunette_conn_state {
    LUNETTE_CONN_LOGGED_IN,
    LUNETTE_CONN_LOST,    /* lost, or logged out: it waits for the next attempt */
    LUNETTE_CONN_LOGIN,   /* an attempt is under way */
    LUNETTE_CONN_LEAVING, /* the target has asked for a logout, which is under way */
};

struct lunette_conn_info {
    size_t struct_size; /* see LUNETTE_INIT */
    uint32_t cid;
    enum lunette_conn_state state;
    char portal[288]; /* where it is, or was last, logged in or tried; "": nowhere yet */
    char local[64];   /* this host's address and port, where it is logged in; "": not known */
    /* Why it is not logged in, where the session goes on without it: -errno and a sentence; 0 where
     * it is, or where lunette_session_info tells. */
    int error;
    char error_text[260];
    char carrier[96]; /* what its transport says of itself where it is logged in, as "rxe0, memory
                         windows"; "": nothing */
};

/* Fills in *ret with the i-th connection, of those that lunette_session_info.nconnections counts.
 * 0; -ENOENT where there is none; -EINVAL where ret->struct_size is neither 0 nor the size of any
 * version. */
LUNETTE_API int lunette_session_get_conn(const struct lunette_session *session, size_t i,
                                         struct lunette_conn_info *ret);

/* lunette_ping of a session. */
LUNETTE_API int lunette_session_ping(struct lunette_session *session, size_t len, uint64_t *ret_ns,
                                     struct lunette_error *err);

struct lunette_timeouts {
    size_t struct_size;        /* see LUNETTE_INIT */
    int32_t replacement_s;     /* replacement_timeout: -1 never, 0 at once */
    uint32_t login_ms;         /* of each attempt to log in again */
    uint32_t noop_interval_ms; /* 0: no pings */
    uint32_t noop_timeout_ms;
    uint32_t command_ms; /* of requests to disks that do not bring their own */
    uint32_t reopen_max; /* logins refused for good until the session is; 0: no limit */
};

/* 0, or -EINVAL where ret->struct_size is neither 0 nor the size of any version. */
LUNETTE_API int lunette_session_get_timeouts(const struct lunette_session *session,
                                             struct lunette_timeouts *ret);

/* Sets all of them, in whatever state the session is: what a program does not want to change, it
 * has got before.  Where the session waits for a login, the replacement timeout counts from the
 * loss of the connection; where that is over, requests fail until the session is back, whatever is
 * set.  0; -EINVAL: out of the range that lunette-url(7) has; -E2BIG; -ENOTCONN: the session is
 * gone; -ENOMEM. */
LUNETTE_API int lunette_session_set_timeouts(struct lunette_session *session,
                                             const struct lunette_timeouts *timeouts,
                                             struct lunette_error *err);

/* Tries to log in again now, where the session waits for its next attempt; the time that the target
 * wants to pass first, Time2Wait, is kept all the same.  0; -EALREADY: it is logged in, or an
 * attempt is under way; -ENOTCONN: it is gone. */
LUNETTE_API int lunette_session_reopen_now(struct lunette_session *session);

/* Says what a target does that shows bit n of lunette_session_info.bends, such as "answers with
 * another ISID than it was asked with".  NULL: there is no such bit, nor one above it. */
LUNETTE_API const char *lunette_bend_text(unsigned n);

/* All LUNs of the URL's target: logs in, scans, logs out.  *ret is the caller's, to be freed by
 * lunette_luns_free.  ret_session may be NULL. */
LUNETTE_API int lunette_list_luns(struct lunette_ctx *ctx, const char *url,
                                  struct lunette_luns **ret,
                                  struct lunette_session_info *ret_session,
                                  struct lunette_error *err);

/* How many LUNs there are. */
LUNETTE_API size_t lunette_luns_count(const struct lunette_luns *luns);

/* Fills in *ret with the i-th LUN.  0; -ENOENT where there is none; -EINVAL where ret->struct_size
 * is neither 0 nor the size of any version. */
LUNETTE_API int lunette_luns_get(const struct lunette_luns *luns, size_t i,
                                 struct lunette_info *ret);

/* NULL is harmless. */
LUNETTE_API void lunette_luns_free(struct lunette_luns *luns);

/* What lunette_query asks a logical unit for, as to this session. */
enum lunette_question {
    LUNETTE_QUERY_TASKS = 0,  /* has it a command that it has not answered? */
    LUNETTE_QUERY_EVENTS = 1, /* has it a unit attention or a deferred error to tell? */
};

/* Asks the logical unit without sending it a command, so that nothing is told and forgotten by the
 * question (RFC 7144: QUERY TASK SET, QUERY ASYNCHRONOUS EVENT).  Returns 1 for yes and 0 for no.
 * ret_info, where it is not NULL: the 24 bits that the target adds to a yes, else 0; of
 * LUNETTE_QUERY_EVENTS they have the sense key of the next event in bits 19 to 16 and its ASC and
 * ASCQ below.  -EOPNOTSUPP: iSCSIProtocolLevel 2 was not agreed on (protocol_level=yes), or the
 * target does not know the question; -ENOTCONN: there is no session now. */
LUNETTE_API int lunette_query(struct lunette_lun *lun, enum lunette_question what,
                              uint32_t *ret_info, struct lunette_error *err);

/* One NOP-Out there and back with len bytes of data, which are compared: 0..4096, and no more
 * than the target takes in a PDU (lunette_session_info.max_xmit_data_segment_length).  Returns 0
 * and the time it took, if ret_ns is not NULL. */
LUNETTE_API int lunette_ping(struct lunette_lun *lun, size_t len, uint64_t *ret_ns,
                             struct lunette_error *err);

/* ---- synchronous calls: one request, waited for ------------------------------------------------
 *
 * Where the waiting itself fails, as in a thread that ctx does not belong to, a call returns with
 * "waiting failed" or who may wait, and its request is canceled.  Until ctx is driven again, or the
 * LUN is closed, the caller's data of such a call may still be used; that of a raw CDB is a copy up
 * to 4096 bytes. */

#define LUNETTE_FUA      1u /* on stable storage when done */
#define LUNETTE_NO_UNMAP 2u /* write zeroes: keep the space allocated */

/* 0 means that all of it was done. */
LUNETTE_API int lunette_pread(struct lunette_lun *lun, void *buf, size_t len, uint64_t offset,
                              struct lunette_error *err);
/* flags: 0 or LUNETTE_FUA. */
LUNETTE_API int lunette_pwrite(struct lunette_lun *lun, const void *buf, size_t len,
                               uint64_t offset, uint32_t flags, struct lunette_error *err);
LUNETTE_API int lunette_flush(struct lunette_lun *lun, struct lunette_error *err);
LUNETTE_API int lunette_discard(struct lunette_lun *lun, uint64_t len, uint64_t offset,
                                struct lunette_error *err);
LUNETTE_API int lunette_write_zeroes(struct lunette_lun *lun, uint64_t len, uint64_t offset,
                                     uint32_t flags, struct lunette_error *err);

/* Where the `len` bytes at offset are those of `expected`, overwrites them with those of data; else
 * -EILSEQ, and *ret_differs (ret_differs may be NULL) is the offset in `expected` of the first byte
 * that is another, or UINT64_MAX where the device did not tell.  Nobody else's command comes
 * between the comparison and the write.  len is up to lunette_info.max_compare_write, which is 0
 * where the device cannot do it.  flags: 0 or LUNETTE_FUA.
 *
 * It is sent once, for a second one might fail on what the first has written.  -ENOLINK,
 * -ETIMEDOUT, -ECANCELED: it may have been executed; read to find out. */
LUNETTE_API int lunette_compare_and_write(struct lunette_lun *lun, const void *expected,
                                          const void *data, size_t len, uint64_t offset,
                                          uint32_t flags, uint64_t *ret_differs,
                                          struct lunette_error *err);

/* The time that each synchronous call on lun may take from now on, raw CDBs and reservations
 * included, as a whole: also while the session is being recovered, and however often something has
 * to be sent.  Then it ends with -ETIMEDOUT: at once where the target has nothing of it, else as
 * soon as what it has was aborted, or the connection given up for it.  0, as at first: no such
 * limit.  Returns 0. */
LUNETTE_API int lunette_set_timeout(struct lunette_lun *lun, uint32_t timeout_ms);

/* A raw CDB.  It is sent as it is, never split, and executed once at most. */
struct lunette_scsi {
    size_t struct_size; /* see LUNETTE_INIT */
    /* in */
    const uint8_t *cdb;
    size_t cdb_len; /* 6..260 */
    const void *out;
    size_t out_len; /* bytes to the target */
    void *in;
    size_t in_len;       /* bytes from the target; both: bidirectional */
    uint32_t timeout_ms; /* 0: 30 s */
    /* out */
    uint8_t status;  /* SAM status */
    bool overflow;   /* the target had more to move than in_len or out_len */
    size_t in_done;  /* bytes received */
    size_t out_done; /* bytes the target took */
    uint32_t sense_len;
    uint8_t sense[LUNETTE_SENSE_MAX];
};

/* Returns 0 when a status came back, whatever it is, and -errno when none did.  -EMSGSIZE: in_len
 * or out_len is more than a command of this session may move, 16 MiB or what its transport can. */
LUNETTE_API int lunette_scsi(struct lunette_lun *lun, struct lunette_scsi *cmd,
                             struct lunette_error *err);

/* One sentence for sense data or a status; returns buf. */
LUNETTE_API const char *lunette_sense_text(const uint8_t *sense, size_t len, char *buf,
                                           size_t size);
LUNETTE_API const char *lunette_status_text(uint8_t status);

/* The INFORMATION of sense data: for a miscompare the offset of the first byte that differs, for a
 * medium error the LBA.  0, or -ENOENT where there is none. */
LUNETTE_API int lunette_sense_information(const uint8_t *sense, size_t len, uint64_t *ret);

/* ---- persistent reservations (SPC-4 5.13) ----------------------------------------------------
 *
 * Who wants to reserve a logical unit for itself first registers a key.  Registrations and the
 * reservation belong to the initiator port, which is the initiator's name and the ISID: they
 * outlive the connection and the session.  With another ISID, which each opening has unless the URL
 * sets isid=, the target sees a stranger.  They end by these calls, and at a restart of the target
 * unless LUNETTE_PR_APTPL was set.
 *
 * Each call sends one command and waits for it.  -EBADE: the device refuses it for the sake of a
 * registration or reservation, or since the key is not the one that is registered.  -EOPNOTSUPP:
 * the device has no persistent reservations.  -ENOLINK, -ETIMEDOUT: a command that changes
 * something may have been executed, and is not repeated; lunette_pr_read_full_status or
 * lunette_pr_read_keys tell.  A unit opened with LUNETTE_OPEN_RDONLY can only be asked (-EROFS).
 */

enum lunette_pr_type {
    LUNETTE_PR_NONE = 0,                             /* there is no reservation */
    LUNETTE_PR_WRITE_EXCLUSIVE = 1,                  /* only the holder writes */
    LUNETTE_PR_EXCLUSIVE_ACCESS = 3,                 /* only the holder reads and writes */
    LUNETTE_PR_WRITE_EXCLUSIVE_REGISTRANTS_ONLY = 5, /* whoever has registered does */
    LUNETTE_PR_EXCLUSIVE_ACCESS_REGISTRANTS_ONLY = 6,
    LUNETTE_PR_WRITE_EXCLUSIVE_ALL_REGISTRANTS = 7, /* and all of them hold the reservation */
    LUNETTE_PR_EXCLUSIVE_ACCESS_ALL_REGISTRANTS = 8,
};

#define LUNETTE_PR_APTPL      1u /* registrations and reservation survive a loss of power */
#define LUNETTE_PR_IGNORE_KEY 2u /* whatever key is registered, it is replaced */
#define LUNETTE_PR_ABORT      4u /* the commands of those who are preempted are aborted */

/* Registers new_key, or with 0 ends the registration.  key: the one that is registered, 0 without
 * one.  flags: LUNETTE_PR_APTPL, which holds for all registrations from now on, as its absence
 * does; LUNETTE_PR_IGNORE_KEY. */
LUNETTE_API int lunette_pr_register(struct lunette_lun *lun, uint64_t key, uint64_t new_key,
                                    uint32_t flags, struct lunette_error *err);

/* Take the reservation and give it up.  key: the one that is registered. */
LUNETTE_API int lunette_pr_reserve(struct lunette_lun *lun, uint64_t key, enum lunette_pr_type type,
                                   struct lunette_error *err);
LUNETTE_API int lunette_pr_release(struct lunette_lun *lun, uint64_t key, enum lunette_pr_type type,
                                   struct lunette_error *err);

/* Ends the reservation and all registrations. */
LUNETTE_API int lunette_pr_clear(struct lunette_lun *lun, uint64_t key, struct lunette_error *err);

/* Ends the registrations of those who have registered the key `victim`, and takes the reservation,
 * with that type, where it was theirs.  flags: 0 or LUNETTE_PR_ABORT. */
LUNETTE_API int lunette_pr_preempt(struct lunette_lun *lun, uint64_t key, uint64_t victim,
                                   enum lunette_pr_type type, uint32_t flags,
                                   struct lunette_error *err);

struct lunette_pr_reservation {
    size_t struct_size;        /* see LUNETTE_INIT */
    uint64_t key;              /* of the holder; 0 without one, and with all registrants */
    uint32_t generation;       /* rises with each change of registrations */
    enum lunette_pr_type type; /* as the device tells it */
};

/* Fills in *ret with the reservation; type LUNETTE_PR_NONE: there is none. */
LUNETTE_API int lunette_pr_read_reservation(struct lunette_lun *lun,
                                            struct lunette_pr_reservation *ret,
                                            struct lunette_error *err);

struct lunette_pr_registrant {
    size_t struct_size; /* see LUNETTE_INIT */
    uint64_t key;
    /* Only lunette_pr_read_full_status tells these; lunette_pr_read_keys: 0. */
    enum lunette_pr_type type; /* where it holds the reservation */
    uint16_t target_port;      /* relative port identifier */
    bool holder;
    bool all_target_ports; /* registered at all of them: target_port has no meaning */
    char port[256];        /* the initiator's name and, where told, its ISID; "": not iSCSI */
};

/* All registrations: their keys, or all that is known of them, which not every device tells
 * (-EOPNOTSUPP, -EREMOTEIO).  -EOVERFLOW: there are more than a command can tell.  *ret is the
 * caller's, to be freed by lunette_pr_registrants_free. */
LUNETTE_API int lunette_pr_read_keys(struct lunette_lun *lun, struct lunette_pr_registrants **ret,
                                     struct lunette_error *err);
LUNETTE_API int lunette_pr_read_full_status(struct lunette_lun *lun,
                                            struct lunette_pr_registrants **ret,
                                            struct lunette_error *err);

/* How many there are, and the generation as in lunette_pr_reservation. */
LUNETTE_API size_t lunette_pr_registrants_count(const struct lunette_pr_registrants *regs);
LUNETTE_API uint32_t lunette_pr_registrants_generation(const struct lunette_pr_registrants *regs);

/* Fills in *ret with the i-th registration.  0; -ENOENT where there is none; -EINVAL where
 * ret->struct_size is neither 0 nor the size of any version. */
LUNETTE_API int lunette_pr_registrants_get(const struct lunette_pr_registrants *regs, size_t i,
                                           struct lunette_pr_registrant *ret);

/* NULL is harmless. */
LUNETTE_API void lunette_pr_registrants_free(struct lunette_pr_registrants *regs);

/* ---- queues: many requests at a time, driven by the caller's thread -------------------------- */

/* The size of this one goes with the call that fills it in, lunette_queue_poll: an array of them
 * need not be initialized. */
struct lunette_completion {
    void *user_data; /* as submitted */
    int err;         /* 0 or -errno */
    uint8_t status;  /* SAM status */
    uint16_t sense_len;
    const uint8_t *sense; /* NULL, or valid until the next call on the queue */
};

/* depth: requests that may be outstanding (1..4096). */
LUNETTE_API int lunette_queue_new(struct lunette_lun *lun, uint32_t depth,
                                  struct lunette_queue **ret, struct lunette_error *err);

/* Waits for the requests that are outstanding, drops their completions and frees q.  While the
 * session is lost they end when that does, or its replacement timeout: who cannot wait so long
 * calls lunette_queue_cancel before.  NULL is harmless. */
LUNETTE_API void lunette_queue_free(struct lunette_queue *q);

/* Each of these queues one request.  It may not be sent before lunette_queue_submit or
 * lunette_queue_poll.  The caller does not touch the memory and the iovec array until the
 * completion; iovcnt may be 0.  Returns 0; -EAGAIN when depth requests are outstanding; or another
 * -errno where the request cannot be tried at all. */
LUNETTE_API int lunette_queue_read(struct lunette_queue *q, void *buf, size_t len, uint64_t offset,
                                   void *user_data);
LUNETTE_API int lunette_queue_write(struct lunette_queue *q, const void *buf, size_t len,
                                    uint64_t offset, uint32_t flags, void *user_data);
LUNETTE_API int lunette_queue_readv(struct lunette_queue *q, const struct iovec *iov, int iovcnt,
                                    uint64_t offset, void *user_data);
LUNETTE_API int lunette_queue_writev(struct lunette_queue *q, const struct iovec *iov, int iovcnt,
                                     uint64_t offset, uint32_t flags, void *user_data);
LUNETTE_API int lunette_queue_flush(struct lunette_queue *q, void *user_data);
LUNETTE_API int lunette_queue_discard(struct lunette_queue *q, uint64_t len, uint64_t offset,
                                      void *user_data);
LUNETTE_API int lunette_queue_write_zeroes(struct lunette_queue *q, uint64_t len, uint64_t offset,
                                           uint32_t flags, void *user_data);
/* As lunette_compare_and_write.  For -EILSEQ, lunette_sense_information tells from the completion's
 * sense data where the first difference is. */
LUNETTE_API int lunette_queue_compare_and_write(struct lunette_queue *q, const void *expected,
                                                const void *data, size_t len, uint64_t offset,
                                                uint32_t flags, void *user_data);
/* cmd is borrowed until its completion is polled, and has been filled in by then. */
LUNETTE_API int lunette_queue_scsi(struct lunette_queue *q, struct lunette_scsi *cmd,
                                   void *user_data);

/* The time that each request may take that is queued from now on, raw CDBs included, as a whole:
 * from this call to its end, also while the session is being recovered, and however often something
 * has to be sent.  Then it ends with -ETIMEDOUT: at once where the target has nothing of it, else
 * as soon as what it has was aborted, or the connection given up for it.  0, as at first: no such
 * limit.  Returns 0. */
LUNETTE_API int lunette_queue_set_timeout(struct lunette_queue *q, uint32_t timeout_ms);

/* Has all requests with that user_data end that are outstanding and have not ended.  Each still
 * gets its one completion, and its memory is not the caller's before: at the next poll where the
 * target has nothing of it, else as soon as what it has was aborted; where the target does not
 * abort it, when it ends by itself.  Its error is -ECANCELED, and any part of it may have been
 * done, unless it went well or was refused before the abort.  Returns how many there are, or
 * -ENOENT. */
LUNETTE_API int lunette_queue_cancel(struct lunette_queue *q, const void *user_data);

/* Sends everything that is queued, in as few system calls as possible.  Returns 0 or -errno. */
LUNETTE_API int lunette_queue_submit(struct lunette_queue *q);

/* As lunette_queue_poll, for completions of `size` bytes each.  -EINVAL where that is the size of
 * no version. */
LUNETTE_API int lunette_queue_poll_sized(struct lunette_queue *q, struct lunette_completion *c,
                                         size_t size, int max, int min, int timeout_ms);

/* Submits, then collects up to max completions, waiting for at least min of them for at most
 * timeout_ms (<0: no limit; min 0 or timeout 0: without waiting).  Returns their number (fewer
 * than min after the timeout, or when fewer are outstanding), or -errno. */
static inline int
lunette_queue_poll(struct lunette_queue *q, struct lunette_completion *c, int max, int min,
                   int timeout_ms)
{
    return lunette_queue_poll_sized(q, c, sizeof(*c), max, min, timeout_ms);
}

/* Why c, which the last poll gave, failed: a sentence that starts with `what`, with its domain.
 * Returns c->err. */
LUNETTE_API int lunette_queue_explain(const struct lunette_queue *q,
                                      const struct lunette_completion *c, const char *what,
                                      struct lunette_error *err);

/* The descriptor of the queue's loop: polls readable when lunette_queue_poll has something to do.
 */
LUNETTE_API int lunette_queue_fd(struct lunette_queue *q);

/* Returns how many requests are outstanding: submitted and not yet polled. */
LUNETTE_API uint32_t lunette_queue_inflight(const struct lunette_queue *q);

/* ---- exports: a LUN for other processes ------------------------------------------------------
 *
 * An export makes a disk reachable for other programs, while the program that has opened it drives
 * its context.  The one kind that there is, "nbd", serves NBD clients (QEMU, nbdcopy, fio,
 * nbd-client) on a local socket; see lunette-attach in lunette(1).  A lost connection is waited for
 * as ever; clients only see that requests take longer, or get an error that says less than -errno.
 */

#define LUNETTE_EXPORT_RDONLY 1u /* clients cannot write; so with a LUN that was opened so */

/* Serves lun at `where`: for "nbd" the path of a socket, up to 107 bytes, which is made with mode
 * 0600, in place of one that a dead process has left.  The LUN may be used as before, but what
 * clients do to it is theirs to agree on.  Exports end before their LUN is closed.
 *
 * ended, which may be NULL, is called once at most, from inside a call that drives ctx, when the
 * export cannot go on: the disk is gone for good.  It still has to be stopped, but not from there.
 *
 * Returns 0, and clients may come from now on; *ret is the caller's until lunette_export_stop.
 * Otherwise -errno: -EADDRINUSE somebody listens there, -EOPNOTSUPP there is no such kind, -ENXIO
 * lun is not a disk. */
LUNETTE_API int lunette_export_start(struct lunette_lun *lun, const char *kind, const char *where,
                                     uint32_t flags,
                                     void (*ended)(void *user, const struct lunette_error *why),
                                     void *user, struct lunette_export **ret,
                                     struct lunette_error *err);

/* Ends e: takes nothing new from clients, waits for the requests that are under way, answers them,
 * closes all connections, removes the socket and frees e.  While the session is lost, requests end
 * when that does, or its replacement timeout.  NULL is harmless. */
LUNETTE_API void lunette_export_stop(struct lunette_export *e);

/* The same without waiting: e is gone for the caller at once, done is called when nothing is left
 * of it, and the LUN may be closed from then on. */
LUNETTE_API void lunette_export_stop_start(struct lunette_export *e, void (*done)(void *user),
                                           void *user);

/* Counters since the start; they only grow, but for clients, which is how many there are now. */
struct lunette_export_stats {
    size_t struct_size;                                /* see LUNETTE_INIT */
    uint64_t reads, writes, flushes, discards, errors; /* requests that have ended */
    uint64_t bytes_read, bytes_written;
    uint32_t clients;
};
/* 0, or -EINVAL where ret->struct_size is neither 0 nor the size of any version. */
LUNETTE_API int lunette_export_get_stats(const struct lunette_export *e,
                                         struct lunette_export_stats *ret);

/* ---- where time goes ------------------------------------------------------------------------ */

/* What a request does. */
enum lunette_times_op { LUNETTE_TIMES_READ, LUNETTE_TIMES_WRITE, LUNETTE_TIMES_OTHER };

/* Where its time is spent.  The stages add up to the total. */
enum lunette_times_stage {
    LUNETTE_TIMES_QUEUE,   /* waiting, until it is handed down for the first time */
    LUNETTE_TIMES_WINDOW,  /* held back by the command window, the depth of the unit or the session
                            */
    LUNETTE_TIMES_SEND,    /* being sent */
    LUNETTE_TIMES_TARGET,  /* sent, until the answer begins to arrive */
    LUNETTE_TIMES_RECEIVE, /* from then until it has ended */
    LUNETTE_TIMES_TOTAL,
};

#define LUNETTE_TIMES_BUCKETS 54

/* How long requests of a LUN took.  Not each one is timed, and one that is counts for those that
 * its queue has taken since the one before it; so counts are about those of all requests, and means
 * and percentiles may be taken of them. */
struct lunette_times {
    size_t struct_size; /* see LUNETTE_INIT */
    uint64_t count, sum_ns;
    /* Times below lunette_times_bound(i), and not below that of the bucket before. */
    uint64_t bucket[LUNETTE_TIMES_BUCKETS];
};

/* Times since the LUN was opened; all 0 where none have been taken, as of what is no disk.  0, or
 * -EINVAL: there is no such op or stage, or ret->struct_size is neither 0 nor the size of any
 * version. */
LUNETTE_API int lunette_get_times(const struct lunette_lun *lun, enum lunette_times_op op,
                                  enum lunette_times_stage stage, struct lunette_times *ret);

/* The upper bound of a bucket in nanoseconds: 1024, 1536, 2048, 3072 and so on; UINT64_MAX for the
 * last one and beyond. */
LUNETTE_API uint64_t lunette_times_bound(uint32_t bucket);

/* The version of the library that runs, which may be newer or older than this header: as text, and
 * as LUNETTE_VERSION_NUMBER. */
LUNETTE_API const char *lunette_version(void);
LUNETTE_API unsigned lunette_version_number(void);

#ifdef __cplusplus
}
#endif

#endif
