/* SPDX-License-Identifier: MIT */
/* tests/recovery/verify.h - what the parts of verify share; verify.c says what it is. */
#ifndef TESTS_RECOVERY_VERIFY_H
#define TESTS_RECOVERY_VERIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <lunette/lunette.h>

#define VERIFY_UNIT      4096u
#define VERIFY_SECTOR    512u
#define VERIFY_IO_UNITS  16u /* of one request at most */
#define VERIFY_DEPTH_MAX 256u
#define VERIFY_DOWNS_MAX 16
#define VERIFY_NEVER     UINT64_MAX

/* ---- verify_model.c: what the disk holds ----------------------------------------------------- */

/* A write gives each unit its next version.  One that failed may have been executed, in part, or
 * not: until the next write succeeds, a read may give any version from the last acknowledged one
 * on.  What a read has shown is as good as acknowledged: an older version must not come back. */
struct verify_unit {
    uint32_t issued, acked;
    bool busy; /* of a request under way: no other one touches it */
};

struct verify_model {
    uint64_t seed;
    uint32_t nunits;
    struct verify_unit *units;
    uint64_t mismatches; /* sectors */
    uint64_t compared;   /* units */
};

int verify_model_init(struct verify_model *m, uint32_t nunits, uint64_t seed);
void verify_model_fini(struct verify_model *m);
bool verify_model_take(struct verify_model *m, uint32_t first, uint32_t n);
void verify_model_give(struct verify_model *m, uint32_t first, uint32_t n);
/* Fills buf with what is to be written. */
void verify_model_write(struct verify_model *m, uint32_t first, uint32_t n, unsigned char *buf);
void verify_model_written(struct verify_model *m, uint32_t first, uint32_t n);
/* Compares what was read, and says on stderr what the first few wrong sectors hold. */
void verify_model_read(struct verify_model *m, uint32_t first, uint32_t n,
                       const unsigned char *buf);

/* ---- verify_cut.c: when the connection is cut, and how long it takes --------------------------
 */

enum verify_cut_state {
    VERIFY_CUT_IDLE,    /* until next_ns */
    VERIFY_CUT_DOWN,    /* the command that cuts is under way */
    VERIFY_CUT_OUTAGE,  /* until next_ns */
    VERIFY_CUT_UP,      /* the command that ends the outage is under way */
    VERIFY_CUT_WAITING, /* for the first I/O */
};

/* Milliseconds, of each cut. */
struct verify_times {
    double *ms;
    uint32_t n, room;
};

struct verify_cuts {
    /* options */
    const char *relay; /* its control socket */
    const char *down[VERIFY_DOWNS_MAX], *up;
    int ndown;
    bool quiet; /* nothing is under way at a cut */
    uint32_t wanted, min_ms, max_ms, outage_ms;
    /* the run */
    enum verify_cut_state state;
    int fd;         /* of the control socket, -1 */
    char line[512]; /* from there, unfinished */
    size_t len;
    pid_t child; /* 0: none */
    bool answered, linked;
    uint64_t next_ns, since_ns, first_error_ns, idle_ns;
    uint32_t done;
    struct verify_times recovery, first_error;
};

void verify_cuts_init(struct verify_cuts *c, uint64_t now_ns);
void verify_cuts_fini(struct verify_cuts *c);
/* Nothing new is to begin before the next cut has been made. */
bool verify_cuts_rests(const struct verify_cuts *c, uint64_t now_ns);
/* Takes the next step, if it is time.  Called often.  idle: nothing is under way. */
void verify_cuts_run(struct verify_cuts *c, uint64_t now_ns, bool idle, uint64_t *seed);
/* So many of a batch of completions, which has just been polled, are good. */
void verify_cuts_io(struct verify_cuts *c, uint64_t now_ns, int good, int bad, uint64_t *seed);
/* All cuts that were wanted have been made and survived. */
bool verify_cuts_over(const struct verify_cuts *c);
void verify_times_add(struct verify_times *t, uint64_t ns);
void verify_times_print(const char *name, struct verify_times *t);

/* ---- verify.c -------------------------------------------------------------------------------- */
uint64_t verify_random(uint64_t *seed);
uint64_t verify_now_ns(void);
void verify_die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

#endif
