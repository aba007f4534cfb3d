/* SPDX-License-Identifier: MIT */
/* storm - runs lunette-target under random initiators and says whether it came through.
 *
 *     storm --program build-asan/bin/lunette-target --pdus 1000000 --seed 7
 *
 * With an even seed the target waits by epoll, with an odd one as it chooses.  --kill-at N kills
 * the target after N PDUs, and then it is well if that was noticed.
 *
 * The target must live until SIGTERM and then end with status 0, which with ASan says that there
 * was no wrong use of memory and no leak; all that it sends must be well-formed; and the watcher's
 * session must live and find its data.  A seed makes the same decisions again; how they meet in the
 * target depends on the kernel's timing, too.
 */
#include "storm.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TAIL       (64u << 10) /* of what the target says on stderr */
#define BURST      64          /* turns of all parties between two looks at the rest */
#define QUIET_S    30          /* without any PDU that leaves, something is wrong */
#define STOP_TRIES 200         /* of 100 ms, for the target to end */

struct eye {
    pid_t pid;
    int out, err;
    char tail[TAIL];
    size_t tail_len;
    char dir[32];
    int status;
    bool ended;
};

static uint64_t
now_s(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec;
}

/* Keeps the end of what the target says. */
static void
eye_listen(struct eye *e)
{
    char buf[16384];
    ssize_t n;

    while ((n = read(e->err, buf, sizeof(buf))) > 0) {
        size_t len = (size_t)n;

        if (e->tail_len + len > TAIL) {
            size_t drop = e->tail_len + len - TAIL;

            memmove(e->tail, e->tail + drop, e->tail_len - drop);
            e->tail_len -= drop;
        }
        memcpy(e->tail + e->tail_len, buf, len);
        e->tail_len += len;
    }
}

static bool
eye_alive(struct eye *e)
{
    if (!e->ended && waitpid(e->pid, &e->status, WNOHANG) == e->pid)
        e->ended = true;
    return !e->ended;
}

static void
eye_exec(const char *program, const char *dir, bool epoll)
{
    char disk[64];

    (void)snprintf(disk, sizeof(disk), "file:%s/disk:2M", dir);
    /* clang-format off */
    execl(program, program, "-v", "--loop", epoll ? "epoll" : "auto", "--listen", "127.0.0.1:0",
          "--target", STORM_PREFIX "open", "--set", "QueueDepth=32", "--set", "NopInterval=1",
          "--error-recovery-level", "2", "--set", "DefaultTime2Wait=0",
          "--lun", "ram:1M", "--lun", "ram:2M,block=4096", "--lun", "null:1G", "--lun", "ram:1M,ro",
          "--lun", disk,
          "--target", STORM_PREFIX "small", "--set", "QueueDepth=8", "--set", "FirstBurstLength=1024",
          "--set", "MaxBurstLength=4096", "--set", "MaxRecvDataSegmentLength=8192",
          "--set", "MaxOutstandingR2T=3", "--error-recovery-level", "1", "--lun", "ram:1M", "--lun", "ram:1M,wce=1",
          "--target", STORM_PREFIX "chap", "--chap", STORM_USER ":" STORM_SECRET,
          "--mutual-chap", "eye:" STORM_MUTUAL, "--lun", "ram:1M",
          "--target", STORM_PREFIX "moved", "--redirect", "127.0.0.1:1", "--lun", "ram:1M",
          "--target", STORM_PREFIX "honest", "--set", "QueueDepth=20", "--lun", "ram:1M",
          "--target", STORM_PREFIX "watch", "--lun", "ram:1M", (char *)NULL);
    /* clang-format on */
    perror(program);
    _exit(127);
}

/* Starts the target; false: it does not. */
static bool
eye_start(struct eye *e, const char *program, bool epoll, uint16_t *ret_port)
{
    int out[2], err[2];
    char line[128] = "";
    unsigned port = 0;
    FILE *f;

    (void)snprintf(e->dir, sizeof(e->dir), "/tmp/storm-XXXXXX");
    if (mkdtemp(e->dir) == NULL || pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0)
        return false;
    e->pid = fork();
    if (e->pid == 0) {
        (void)dup2(out[1], STDOUT_FILENO);
        (void)dup2(err[1], STDERR_FILENO);
        eye_exec(program, e->dir, epoll);
    }
    (void)close(out[1]);
    (void)close(err[1]);
    e->err = err[0];
    (void)fcntl(e->err, F_SETFL, O_NONBLOCK);
    f = fdopen(out[0], "r");
    if (e->pid < 0 || f == NULL || fgets(line, sizeof(line), f) == NULL ||
        sscanf(line, "listening on 127.0.0.1:%u", &port) != 1)
        return false;
    e->out = out[0];
    *ret_port = (uint16_t)port;
    return true;
}

/* Ends the target; true: it ended as it should. */
static bool
eye_stop(struct eye *e)
{
    const struct timespec rest = {.tv_nsec = 100000000};
    char disk[64];

    if (eye_alive(e))
        (void)kill(e->pid, SIGTERM);
    for (unsigned i = 0; i < STOP_TRIES && eye_alive(e); i++) {
        eye_listen(e);
        (void)nanosleep(&rest, NULL);
    }
    if (!e->ended) {
        fprintf(stderr, "storm: the target does not end\n");
        (void)kill(e->pid, SIGKILL);
        (void)waitpid(e->pid, &e->status, 0);
    }
    eye_listen(e);
    (void)snprintf(disk, sizeof(disk), "%s/disk", e->dir);
    (void)unlink(disk);
    (void)rmdir(e->dir);
    return WIFEXITED(e->status) && WEXITSTATUS(e->status) == 0;
}

/* The most memory that the target had, in KiB; 0: unknown. */
static unsigned long
eye_memory(const struct eye *e)
{
    char path[64], line[128];
    unsigned long kib = 0;
    FILE *f;

    (void)snprintf(path, sizeof(path), "/proc/%d/status", (int)e->pid);
    f = fopen(path, "r");
    while (f != NULL && fgets(line, sizeof(line), f) != NULL)
        (void)sscanf(line, "VmHWM: %lu", &kib);
    if (f != NULL)
        (void)fclose(f);
    return kib;
}

/* Waits until a socket has something, or a millisecond. */
static void
rest(struct storm *s)
{
    struct pollfd fds[STORM_PARTIES * STORM_LINKS];
    nfds_t n = 0;

    for (unsigned i = 0; i < STORM_PARTIES * STORM_LINKS; i++) {
        const struct storm_link *l = &s->parties[i / STORM_LINKS].links[i % STORM_LINKS];

        if (l->fd >= 0 && l->deaf == 0)
            fds[n++] = (struct pollfd){.fd = l->fd, .events = POLLIN};
    }
    (void)poll(fds, n, 1);
}

static bool
one_round(struct storm *s)
{
    bool moved = false;

    for (unsigned i = 0; i < STORM_PARTIES; i++) {
        struct party *p = &s->parties[i];

        for (unsigned k = 0; k < 4; k++)
            moved |= party_turn(p);
        for (unsigned k = 0; k < STORM_LINKS; k++)
            moved |= link_turn(&p->links[k]);
    }
    return moved;
}

static void
blow(struct storm *s, struct eye *e, struct watch *w, uint64_t kill_at)
{
    uint64_t last = 0, since = now_s();

    while (s->n.pdus < s->want && s->complaint == NULL && eye_alive(e) && !watch_failed(w)) {
        for (unsigned i = 0; i < BURST; i++) {
            if (!one_round(s))
                rest(s);
        }
        eye_listen(e);
        if (kill_at != 0 && s->n.pdus >= kill_at)
            (void)kill(e->pid, SIGABRT);
        if (s->n.pdus != last) {
            last = s->n.pdus;
            since = now_s();
        } else if (now_s() - since > QUIET_S) {
            s->complaint = "nothing moves any more";
        }
    }
}

static void
print_counts(const char *what, const uint64_t *n, bool target)
{
    printf("%s:", what);
    for (unsigned op = 0; op <= ISCSI_OP_MASK; op++) {
        if (n[op] > 0 && (op >= 0x20) == target)
            printf(" %02x=%llu", op, (unsigned long long)n[op]);
    }
    printf("\n");
}

/* A storm that never got past the login, or never held a command, would prove nothing. */
static const char *
too_calm(const struct storm_counts *n)
{
    static const uint8_t answers[] = {ISCSI_OP_NOP_IN,     ISCSI_OP_SCSI_RSP, ISCSI_OP_TMF_RSP,
                                      ISCSI_OP_LOGIN_RSP,  ISCSI_OP_TEXT_RSP, ISCSI_OP_DATA_IN,
                                      ISCSI_OP_LOGOUT_RSP, ISCSI_OP_R2T,      ISCSI_OP_REJECT};

    for (size_t i = 0; i < sizeof(answers); i++) {
        if (n->got[answers[i]] < 5)
            return "a kind of answer never came";
    }
    if (n->honest < n->pdus / 100 || n->joined < 5 || n->held < 50 || n->statuses[0] < n->pdus / 40)
        return "it was too calm to prove anything";
    return NULL;
}

static void
print_report(const struct storm_counts *n)
{
    printf("%llu PDUs, %llu spoiled; %llu logins, %llu joined, %llu refused; %llu closed, "
           "%llu held\n",
           (unsigned long long)n->pdus, (unsigned long long)n->spoiled,
           (unsigned long long)n->logins, (unsigned long long)n->joined,
           (unsigned long long)n->refused, (unsigned long long)n->closed,
           (unsigned long long)n->held);
    printf("commands: %llu honest, %llu GOOD, %llu CHECK CONDITION, %llu conflicts, %llu rejects\n",
           (unsigned long long)n->honest, (unsigned long long)n->statuses[0x00],
           (unsigned long long)n->statuses[0x02], (unsigned long long)n->statuses[0x18],
           (unsigned long long)n->statuses[0xff]);
    print_counts("sent", n->sent, false);
    print_counts("got", n->got, true);
}

/* True if there is nothing to complain of. */
static bool
judge(const struct storm *s, const struct eye *e, const char *watch, bool ended_well)
{
    const char *const faults[] = {s->complaint, watch, ended_well ? NULL : "the target ended badly",
                                  too_calm(&s->n)};
    bool good = true;

    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        if (faults[i] != NULL)
            printf("FAIL, seed %llu: %s\n", (unsigned long long)s->seed, faults[i]);
        good = good && faults[i] == NULL;
    }
    if (!good)
        printf("---- the target's last words\n%.*s\n", (int)e->tail_len, e->tail);
    return good;
}

/* 0: the target came through, 1: it did not, 2: it did not even start. */
static int
run_storm(struct storm *s, const char *program, uint64_t kill_at)
{
    static struct eye e;
    struct watch *w = NULL;
    uint64_t passes = 0, worst = 0, start = now_s();
    const char *trouble;
    unsigned long kib;
    bool well;

    if (!eye_start(&e, program, s->seed % 2 == 0, &s->port) ||
        (w = watch_start(s->port, STORM_PREFIX "watch", s->seed)) == NULL) {
        fprintf(stderr, "storm: %s does not start\n", program);
        (void)eye_stop(&e);
        return 2;
    }
    for (unsigned i = 0; i < STORM_PARTIES; i++)
        party_init(&s->parties[i], s, i);
    blow(s, &e, w, kill_at);
    trouble = watch_stop(w, &passes, &worst);
    kib = eye_memory(&e);
    for (unsigned i = 0; i < STORM_PARTIES; i++)
        party_fini(&s->parties[i]);
    well = eye_stop(&e);
    printf(
        "seed %llu, %llu s; the watcher: %llu passes, the longest %llu ms; the target: %lu KiB\n",
        (unsigned long long)s->seed, (unsigned long long)(now_s() - start),
        (unsigned long long)passes, (unsigned long long)worst, kib);
    print_report(&s->n);
    return judge(s, &e, trouble, well) ? 0 : 1;
}

int
main(int argc, char **argv)
{
    static const struct option options[] = {{"program", required_argument, NULL, 'p'},
                                            {"pdus", required_argument, NULL, 'n'},
                                            {"seed", required_argument, NULL, 's'},
                                            {"kill-at", required_argument, NULL, 'k'},
                                            {NULL, 0, NULL, 0}};
    static struct storm s = {.seed = 1, .want = 100000};
    const char *program = NULL;
    uint64_t kill_at = 0;
    int o, r;

    while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (o == 'p')
            program = optarg;
        else if (o == 'n')
            s.want = strtoull(optarg, NULL, 0);
        else if (o == 's')
            s.seed = strtoull(optarg, NULL, 0);
        else if (o == 'k')
            kill_at = strtoull(optarg, NULL, 0);
        else
            program = NULL;
    }
    if (program == NULL) {
        fprintf(stderr,
                "usage: storm --program LUNETTE-TARGET [--pdus N] [--seed N] [--kill-at N]\n");
        return 2;
    }
    r = run_storm(&s, program, kill_at);
    return kill_at != 0 && r < 2 ? 1 - r : r; /* killed: it has to be noticed */
}
