/* SPDX-License-Identifier: MIT */
/* scsi/internal.h - what the files of scsi/ share. */
#ifndef SCSI_INTERNAL_H
#define SCSI_INTERNAL_H

#include <errno.h>

#include "scsi/scsi.h"
#include "wire/capacity.h"
#include "wire/inquiry.h"
#include "wire/lun.h"
#include "wire/scsi.h"
#include "wire/sense.h"

#define SCSI_TIMEOUT_MS         30000u
#define SCSI_INQUIRY_TIMEOUT_MS 20500u
#define SCSI_EH_TIMEOUT_MS      10000u /* TEST UNIT READY after a reset */
#define SCSI_UA_MAX             16u    /* unit attentions in a row per command */
#define SCSI_UA_TRIES           8u     /* likewise for our own commands */
#define SCSI_BACKOFF_MIN_MS     3u
#define SCSI_BACKOFF_MAX_MS     1000u
#define SCSI_NOT_SENT_MS        10u   /* before a command that was not sent is tried again */
#define SCSI_LOST_MIN_MS        20u   /* before one that is lost for the second time in a row is: */
#define SCSI_LOST_MAX_MS        2000u /* doubles with each loss */
#define SCSI_LOOK_MIN_MS        50u   /* before a look at a disk that failed is repeated: */
#define SCSI_LOOK_MAX_MS        30000u /* doubles each time */
#define SCSI_LINK_ERRORS_MAX    3u    /* protocol service errors in a row before the session goes */
#define SCSI_BUF_SIZE           4096u /* of scans; REPORT LUNS grows beyond */

enum io_state {
    IO_IDLE,
    IO_HOST,
    IO_FAST, /* with the host, too: by the fast path, and nothing has happened to it yet */
    IO_ABORTING,
    IO_EH,
};

/* Why a disk takes no commands just now. */
enum sdev_gate {
    GATE_STATE = 1, /* not RUNNING */
    GATE_EH = 2,    /* error handling */
    GATE_HOLD = 4,  /* backing off */
    GATE_ALUA = 8,  /* access is not ACCESS_OK */
    GATE_ACA = 16,  /* CLEAR ACA is under way */
};

/* What the ALUA state of its path lets a disk do. */
enum sdev_access {
    ACCESS_OK,
    ACCESS_WAIT, /* in transition: commands wait */
    ACCESS_FAIL, /* commands fail with -EHOSTUNREACH */
};

enum eh_step { EH_NONE, EH_LU_RESET, EH_TARGET_WAIT, EH_TARGET_RESET, EH_SESSION_RESET };

/* What is asked of a disk, in this order, when it comes up or is looked at again. */
enum disk_step {
    STEP_TUR = 1 << 0,
    STEP_NAME = 1 << 1, /* is it still the same unit? */
    STEP_CAPACITY = 1 << 2,
    STEP_PROVISIONING = 1 << 3, /* VPD B2 */
    STEP_BLOCK_LIMITS = 1 << 4, /* VPD B0 */
    STEP_BLOCK_CHAR = 1 << 5,   /* VPD B1 */
    STEP_WRITE_PROTECT = 1 << 6,
    STEP_CACHE = 1 << 7,
    STEP_OPCODES = 1 << 8,
    STEP_LIMITS = 1 << 9,
    STEP_ALUA = 1 << 10, /* which comes first */
};
#define STEPS_CAPACITY (STEP_CAPACITY | STEP_PROVISIONING | STEP_BLOCK_LIMITS | STEP_LIMITS)
#define STEPS_MODE     (STEP_WRITE_PROTECT | STEP_CACHE | STEP_LIMITS)
/* After a reconnect, when it has been found to be the same. */
#define STEPS_RECONNECT (STEP_ALUA | STEPS_CAPACITY | STEPS_MODE)
/* What a unit attention that nobody has had may have told of. */
#define STEPS_UNTOLD (STEP_NAME | STEPS_RECONNECT)
#define STEPS_START  0x7fd /* all but the name */
#define STEPS_ALL    0x7ff

struct scsi_scan_op;
struct scsi_sdev;
struct disk_step_row;
struct disk_alua;

struct scsi_target {
    struct scsi_host *host;
    struct scsi_host dead; /* takes the host's place once that is freed, and in scsi_detach */
    struct loop *loop;
    struct scsi_params params;
    const struct scsi_events *ev;
    void *user;
    struct list devices;
    struct list
        *last_first;     /* of devices: the one that was restarted first the last time, or the head
                          */
    struct list waiting; /* scsi_exec: held, or refused by the host */
    struct list doomed;  /* scsi_sdev to be freed when error handling ends */
    struct list sent;    /* scsi_exec: with the host */
    struct list delayed; /* scsi_exec: waiting for their own timer */
    struct list scans;   /* scsi_scan_op: the first is running */
    void (*escalate)(struct scsi_io *io); /* what io.c calls when an abort did not help: eh_add */
    void (*doubt)(struct scsi_sdev *s);   /* what ua.c calls: sdev_doubt */
    struct loop_work commit_work;         /* sends the scsi_exec that wait, and commits */
    struct loop_work scan_work;           /* the next scan starts */
    struct list eh_queue;                 /* scsi_sdev that wait for a target or session reset */
    struct scsi_sdev *eh_owner;           /* whose reset of target or session is under way */
    struct scsi_eh_wait drop_wait;
    uint64_t nexus;            /* grows by one whenever the host runs again */
    struct lunette_error gone; /* why the host is GONE; code 0 where it is not */
    bool still;                /* no time passes, though the host runs: scsi_host_events.clock */
    bool dropping;             /* a session reset for protocol errors is under way */
    bool luns_changed;         /* 3F/0E seen and no REPORT LUNS since: other units say the same */
    uint8_t link_errors;
};

enum disk_form {
    FORM_RAW,
    FORM_6,
    FORM_10,
    FORM_16,
    FORM_SYNC_10,
    FORM_SYNC_16,
    FORM_UNMAP,
    FORM_WS10_UNMAP,
    FORM_WS16_UNMAP,
    FORM_WS10,
    FORM_WS16,
    FORM_CAW,
    FORM_LBA_STATUS,
};

enum disk_discard { DISCARD_OFF, DISCARD_UNMAP, DISCARD_WS16, DISCARD_WS10 };

/* How READs and WRITEs that come by the fast path go out.  block/ sends none above max_fast of the
 * limits. */
struct disk_fast {
    uint8_t form; /* FORM_10 or FORM_16 */
    bool cached;  /* the disk has a write cache, in which a write that is done may still be */
};

/* Looking at a device anew in a new nexus, before anything else is sent to it: reconnect.c. */
enum reconnect_step {
    RECONNECT_NONE,
    RECONNECT_WAIT,  /* until the next try */
    RECONNECT_READY, /* TEST UNIT READY, which also takes the unit attentions of the new nexus */
    RECONNECT_IDENT, /* is it the same unit? */
    RECONNECT_DISK,  /* capacity and cache */
};

struct sdev_reconnect {
    enum reconnect_step step;
    bool start_sent; /* START STOP UNIT */
    bool doubted;    /* since it was asked who it is, the unit has said that it may have changed */
    uint64_t began;  /* the nexus that the look under way began in */
    uint64_t since_ns; /* when the nexus began */
    bool lost;         /* since lost_ns it has not been found to be itself in any nexus */
    uint64_t lost_ns;
    uint32_t backoff_ms;
    struct loop_timer again; /* RECONNECT_WAIT */
    struct loop_timer limit; /* requests do not wait any longer; the tries go on */
};

#define SDEV_NO_NEXUS UINT64_MAX

struct scsi_sdev {
    struct scsi_device dev;
    uint8_t gate;      /* enum sdev_gate, several at once: 0 lets disk commands through */
    bool refused;      /* block/ has been told -EBUSY */
    bool fast_done;    /* what comes back GOOD may end the fast path: scsi_fast_done_ok() */
    uint32_t inflight; /* commands with the host */
    uint32_t depth_max, depth_now;
    uint32_t fast_depth; /* commands with the host, below which the fast path down may be taken:
                            depth_now, or 0 where scsi_fast_ok() says no */
    struct disk_fast fast;
    uint64_t writes, flushed; /* writes acknowledged into the cache; how many of them are stable */
    uint32_t full_skip;       /* commands that were out when the depth was cut: TASK SET FULL says
                                  nothing new of them */
    uint32_t good;            /* completions since the depth rose */
    uint32_t depth_cap;       /* depth_now grows to that; at most depth_max */
    uint32_t full_depth, full_times; /* where TASK SET FULL came last, and how often in a row */
    uint64_t cap_since_ns;           /* of the last TASK SET FULL, or rise of the cap */
    uint32_t backoff_ms;
    struct loop_timer hold_timer;
    const struct blk_upcalls *up;
    struct bdev *bdev;

    bool expecting_ua; /* a unit attention that follows a reset of ours is due: it is no news */
    bool has_83, has_b0, has_b1, has_b2, name_told; /* VPD pages; name is from page 83h */
    bool known;                                     /* INQUIRY has told what it is */
    bool vague;              /* a page could not be had: its name or serial number is not known */
    bool replaced;           /* another unit has been found in its place */
    bool leaving;            /* its user has decided to close it: nothing waits for a session */
    enum sdev_access access; /* alua_state.c */
    uint64_t nexus;          /* that it was last found to be itself in, or SDEV_NO_NEXUS */
    int why_code;            /* what commands fail with where they do, and the state does not say */
    struct lunette_error *why; /* and a sentence, where there was memory for it; sdev_why() */
    struct sdev_reconnect rc;
    bool seen;                      /* the scan under way has found it */
    bool doomed;                    /* its owner has freed it: eh.c does once it lets go */
    uint32_t events;                /* pending, 1 << enum scsi_event */
    uint16_t ev_code[SCSI_NEVENTS]; /* scsi_event_code() */
    struct loop_work ev_work;

    enum eh_step eh;
    uint64_t eh_nexus; /* that the ladder stands in */
    bool given_up;     /* it has set the device OFFLINE */
    bool told_offline; /* SCSI_EV_OFFLINE: when it RUNs again, that is told, too */
    bool aca_out;      /* CLEAR ACA is with the host */
    struct scsi_eh_wait aca_wait;
    bool eh_tur_out, eh_tur_wanted; /* TEST UNIT READY is with the host; the step waits for it */
    uint8_t eh_barren;   /* runs of the ladder in a row between which no command was completed */
    struct list eh_cmds; /* scsi_io in IO_EH */
    struct list eh_node;
    struct scsi_eh_wait eh_wait;
    struct scsi_exec eh_tur;
    uint8_t eh_cdb[CDB_MAX];

    struct scsi_exec rm; /* the last flush */
    uint8_t rm_cdb[CDB_MAX];
    struct loop_work rm_work;
    int rm_err;
    void (*rm_done)(void *user, int err);
    void *rm_user;
};

struct scsi_disk {
    struct scsi_sdev *sdev;
    struct disk_alua *alua; /* NULL: the unit knows no asymmetric access */
    struct bdev_limits limits;
    bool up;
    /* what the device told */
    struct scsi_capacity capacity;
    struct vpd_block_limits b0;
    struct vpd_block_char b1;
    struct vpd_provisioning b2;
    bool b0_told, b2_told;
    bool write_protect, wce, dpofua;
    bool ws10, ws16; /* REPORT SUPPORTED OPCODES says so */
    bool discard_broken, zero_unmap_broken, zero_broken, caw_broken,
        status_broken; /* refused: not used until looked at again */
    bool no_10, no_16, no_sync_10, no_flush;
    /* what follows from it */
    uint32_t shift;      /* log2 of the block size */
    uint32_t max_blocks; /* of one READ or WRITE */
    enum disk_discard discard;
    bool zero_unmap; /* write zeroes may unmap */
    /* looking at it: one step after the other */
    const struct disk_step_row *steps;
    size_t nsteps;
    uint32_t todo, wanted; /* enum disk_step: of this run, of the next */
    uint32_t step;         /* the one of this run that is under way */
    uint32_t missed;       /* what they were to find is not known, since a run has failed */
    uint32_t again_ms;     /* until those are tried again, the next time; 0: it is not known */
    struct loop_timer again;
    bool running;
    void (*looked)(struct scsi_sdev *s, int err, const struct lunette_error *why); /* of
                                                        disk_reconnect, until it is called */
    struct loop_work work;
    struct loop_timer poll;
    uint64_t ready_by_ns;
    bool start_sent, use_ms10, second;
    uint8_t tries, reruns;
    struct scsi_exec x;
    uint8_t cdb[CDB_MAX];
    uint8_t buf[512];
    struct iovec iov;
    void (*next)(struct scsi_disk *d);
    void (*done)(void *user, int err, const struct lunette_error *why);
    void *done_user;
};

static inline struct scsi_sdev *
sdev_of(struct scsi_device *dev)
{
    return container_of(dev, struct scsi_sdev, dev);
}

/* What is lost with each connection since since_ns has waited for a session for as long as it may.
 */
static inline bool
scsi_patience_is_over(const struct scsi_target *t, uint64_t since_ns)
{
    return t->host->patience_ns > 0 && t->loop->now_ns - since_ns >= t->host->patience_ns;
}

/* What a completed command calls for. */
enum scsi_action {
    ACT_DONE,
    ACT_NOTHING_MOVED, /* success that moved no data: re-issue */
    ACT_RETRY,         /* counted; not with BDEV_F_FAILFAST where the transport is to blame */
    ACT_REPLAY,        /* lost with its connection: again, uncounted, when the host runs; but only
                          where it may be executed twice, and not with BDEV_F_FAILFAST */
    ACT_RETRY_DELAY,   /* counted while retries last, then as ACT_DELAY */
    ACT_RETRY_LINK,    /* counted; several in a row end the session */
    ACT_AGAIN,         /* it was not sent: again, uncounted, soon */
    ACT_SWEPT, /* a reset of ours ended it: as ACT_AGAIN, but only where it may be executed twice */
    ACT_DELAY, /* uncounted, after back-off */
    ACT_ALUA,  /* uncounted, after a second */
    ACT_UA,
    ACT_ACA,    /* counted, after the ACA condition has been cleared */
    ACT_OPCODE, /* the device does not know the command */
    ACT_FIELD,  /* the device does not know something in the command */
    ACT_FAIL,
    ACT_FULL,  /* TASK SET FULL */
    ACT_SENSE, /* CHECK CONDITION: look further */
};

struct scsi_verdict {
    enum scsi_action action;
    int err;         /* when it is given up */
    bool transport;  /* the transport is to blame, not the device */
    bool maybe_done; /* may have been executed: not again unless that is harmless */
    uint32_t steps;  /* enum disk_step to do */
    uint32_t events; /* 1 << enum scsi_event */
};

struct scsi_verdict scsi_judge_host(enum scsi_host_result r);
struct scsi_verdict scsi_judge_status(uint8_t status);
struct scsi_verdict scsi_judge_sense(const struct scsi_sense *s);
/* What a unit attention calls for. */
enum ua_effect {
    UA_RESET = 1, /* the device was reset: no news where we did it */
    UA_POWER = 2, /* it may have lost power, and with it cached writes */
    UA_UNIT = 4,  /* another unit may be there: no I/O before it is known to be the same */
    UA_ALUA = 8,  /* the ALUA state is asked for */
    UA_LOOK = 16, /* the events are those of the look at the disk, where there is one */
    UA_SURE = 32, /* it says what has reset the device, and that was not we */
};
struct ua_effects {
    uint32_t steps, events; /* enum disk_step; 1 << enum scsi_event */
    uint8_t what;           /* enum ua_effect */
};
struct ua_effects scsi_ua_effects(uint8_t asc, uint8_t ascq);

/* io.c: commands between the midlayer and the host */
int scsi_dispatch_cmd(struct scsi_sdev *s, struct scsi_io *io);
/* Called once for each io: sets what is the same for all commands to dev. */
void scsi_io_init(struct scsi_io *io, struct scsi_device *dev, void (*done)(struct scsi_cmd *sc),
                  void (*complete)(struct scsi_io *io));
/* scsi_cmd.done of a command that came back, whatever became of it. */
void scsi_done(struct scsi_cmd *sc);
/* Clears what the last use of io has left in the out fields; each time, but on the fast path, for
 * which disk_io_clear has done it. */
void scsi_io_prepare(struct scsi_io *io);
/* Sets the fields that the fast path left unset, before anything happens to io but its coming back
 * GOOD. */
void scsi_io_make_general(struct scsi_io *io);
/* The deadline passed: true when error handling has the command now. */
bool scsi_io_timed_out(struct scsi_io *io);
/* Has the host abort a command.  by_force: its time is up, so where that does not help, the ladder
 * of error handling follows.  Otherwise it is let run, and watched as before. */
void scsi_io_cancel(struct scsi_io *io, bool by_force);
/* The host's result of a command, but DID_TIME_OUT for one that was aborted because its time had
 * run out. */
enum scsi_host_result scsi_io_host_result(const struct scsi_io *io);

/* ua.c */
void scsi_unit_attention(struct scsi_sdev *s, uint8_t asc, uint8_t ascq);
/* A command has come back with r.  Where its answer may have been lost, so may a unit attention. */
void scsi_look_for_lost(struct scsi_sdev *s, enum scsi_host_result r);

/* alua.c: does nothing where the unit knows no asymmetric access.  0 or -ENOMEM. */
int alua_new(struct scsi_disk *d);

/* alua_state.c, likewise. */
void alua_free(struct scsi_disk *d);
/* The session logged in anew: perhaps to another port. */
void alua_new_nexus(struct scsi_sdev *s);
/* Asks for the state, later in this turn.  True where the unit knows asymmetric access. */
bool alua_ask(struct scsi_sdev *s);
/* Sense data of an I/O may tell the state. */
void alua_look_at_sense(struct scsi_sdev *s, const struct scsi_sense *sense);

/* exec.c */
int scsi_execute_internal(struct scsi_sdev *s, struct scsi_exec *x);
void scsi_exec_run_waiting(struct scsi_target *t);
void scsi_exec_fail_all(struct scsi_target *t, int err);
void scsi_exec_fail_waiting(struct scsi_target *t, int err);

/* eh.c */
void eh_add(struct scsi_io *io);
void eh_start(struct scsi_sdev *s);
/* Ends the ACA condition of the unit, and holds its commands back meanwhile. */
void eh_clear_aca(struct scsi_sdev *s);
/* The host or a command of error handling still refers to s. */
static inline bool
sdev_in_eh(const struct scsi_sdev *s)
{
    return s->eh != EH_NONE || s->eh_tur_out || s->aca_out;
}

/* ident.c: whether the unit that answers at the LUN of s is s */
enum ident_result {
    IDENT_SAME,
    IDENT_OTHER,
    IDENT_ABSENT,  /* there is none */
    IDENT_UNKNOWN, /* no answer that would tell */
};
/* True where both say the same of themselves; else text is what differs, for a sentence. */
bool ident_same(const struct scsi_sdev *was, const struct scsi_sdev *is, char *text, size_t size);
/* Asks the unit.  done is called once, perhaps from inside this call, with why where it is not
 * IDENT_SAME. */
void ident_start(struct scsi_sdev *s,
                 void (*done)(void *user, enum ident_result r, const struct lunette_error *why),
                 void *user);

/* reconnect.c: s follows the state of its host.  When that runs again, s is looked at, and RUNs
 * when it is known to be the same. */
void sdev_follow_host(struct scsi_sdev *s, enum scsi_host_state state);
/* The unit has said that it, or what is behind its LUN, may have changed: as in a new session,
 * nothing is sent to it before it has been looked at.  A look under way begins anew. */
void sdev_doubt(struct scsi_sdev *s);

/* device.c */
int sdev_new(struct scsi_target *t, const uint8_t lun[8], struct scsi_sdev **ret);
void sdev_free(struct scsi_sdev *s);

/* sdev.c */
void sdev_init(struct scsi_sdev *s);
bool sdev_set_state(struct scsi_sdev *s, enum scsi_device_state to);
/* No look at s goes on, but for a command that is under way. */
void sdev_reconnect_stop(struct scsi_sdev *s);
/* The clock of the requests of s runs or stands still, as its state and its host say. */
void sdev_set_clock(const struct scsi_sdev *s);
/* What commands fail with in the state of s. */
int sdev_error(const struct scsi_sdev *s);
/* What commands of s fail with from now on, or would if they did not wait, and why.  The sentence
 * is kept while there is one: of thousands of units few fail. */
void sdev_why(struct scsi_sdev *s, int err, enum lunette_domain domain, uint32_t detail,
              const char *fmt, ...) __attribute__((format(printf, 5, 6)));
void sdev_why_as(struct scsi_sdev *s, const struct lunette_error *why);
void sdev_why_clear(struct scsi_sdev *s);
/* Tells that requests fail, though the device may come back. */
void sdev_tell_offline(struct scsi_sdev *s);
/* Another unit, which differs as text says, is in the place of s, for good. */
void sdev_replaced(struct scsi_sdev *s, const char *text);
/* Sets s OFFLINE or TRANSPORT_OFFLINE, because of why. */
void sdev_set_failed(struct scsi_sdev *s, enum scsi_device_state to,
                     const struct lunette_error *why);
void sdev_restart(struct scsi_sdev *s);
void sdev_gate_set(struct scsi_sdev *s, uint8_t gate);
void sdev_gate_clear(struct scsi_sdev *s, uint8_t gate);
/* Sets fast_depth anew; called after anything that it depends on has changed. */
void sdev_set_fast(struct scsi_sdev *s);
/* Holds the device's disk commands back for ms milliseconds, or as long as an earlier call says. */
void sdev_hold(struct scsi_sdev *s, uint32_t ms);
/* After TASK SET FULL: fewer commands from now on. */
void sdev_depth_down(struct scsi_sdev *s);
/* After a command that went well: ends back-off, and lets the queue depth grow back. */
void sdev_good(struct scsi_sdev *s);
/* code: ASC << 8 | ASCQ of the unit attention that tells of it, or 0. */
void sdev_raise(struct scsi_sdev *s, uint32_t events, uint16_t code);
/* Returns how many milliseconds to wait before the next try: twice as long each time, with jitter.
 */
uint32_t scsi_backoff_ms(struct loop *l, uint32_t *state);
/* "host0 lun 5": returns buf */
const char *sdev_label(const struct scsi_sdev *s, char *buf, size_t size);
#define SDEV_LABEL_MAX 64
/* text, or what follows the label of s where it begins with it, as reasons for people do. */
const char *sdev_unlabelled(const struct scsi_sdev *s, const char *text);

/* scan.c */
void scsi_scan_work(struct loop_work *w);
void scsi_scan_fail_all(struct scsi_target *t, int err);

/* dead_host.c: *dead becomes what stands in for h */
void scsi_dead_host_init(struct scsi_host *dead, const struct scsi_host *h);

/* disk.c, disk_fast.c: queue_rq and queue_rq_fast of bdev_driver_ops */
int scsi_queue_rq(void *drv, struct blk_request *rq);
int scsi_queue_rq_fast(void *drv, const struct bdev_req *r, struct blk_request *rq, uint64_t lba,
                       uint64_t blocks);
/* scsi_cmd.done of each command of a disk. */
void scsi_done_fast(struct scsi_cmd *sc);

/* disk_done.c */
void disk_complete(struct scsi_io *io);
/* What a request ends with that fails with err: not -ENOTCONN, which says that it was not executed,
 * where it may have been, however its later tries have ended. */
static inline int
disk_true_error(const struct scsi_io *io, int err)
{
    return err == -ENOTCONN && io->maybe_done ? -ENOLINK : err;
}

/* Sets the fields of a free tag that scsi_queue_rq_fast relies on and does not set itself. */
static inline void
disk_io_clear(struct scsi_io *io)
{
    io->not_fresh = 0;
    io->sc.not_good = io->sc.not_moved = 0;
    io->sc.in = io->sc.out = (struct sg){.iovcnt = 1};
    io->sc.watch = NULL;
}

/* disk_again.c: the disk is looked at again, with these steps (enum disk_step), later in this turn.
 */
void disk_want(struct scsi_disk *d, uint32_t steps);
/* Likewise, but after a while; after twice as long where the look before it was in vain. */
void disk_miss(struct scsi_disk *d, uint32_t steps);
/* Steps that a look has missed are tried again after a while, unless they are to be already, or
 * there are none. */
void disk_look_missed(struct scsi_disk *d);
void disk_again_expired(struct loop_timer *t);
/* disk_up.c: looks again at what depends on the nexus, and calls looked in the end; of a disk that
 * is still coming up, all is looked at again, and looked is not called. */
void disk_reconnect(struct scsi_disk *d,
                    void (*looked)(struct scsi_sdev *s, int err, const struct lunette_error *why));
/* disk_run.c */
void disk_detach(struct scsi_sdev *s);

/* limits.c */
void disk_make_limits(struct scsi_disk *d);

#define sdev_log(s, level, ...)                                                                    \
    do {                                                                                           \
        char label_[SDEV_LABEL_MAX];                                                               \
        sdev_log_line((s)->dev.target, level, sdev_label(s, label_, sizeof(label_)), __VA_ARGS__); \
    } while (0)
void sdev_log_line(const struct scsi_target *t, int level, const char *label, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

#endif
