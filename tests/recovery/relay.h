/* SPDX-License-Identifier: MIT */
/* tests/recovery/relay.h - what the parts of the relay share; relay.c says what it is.
 *
 * One thread, one poll(2).  A link is a pair of sockets, one to the initiator and one to the
 * target, and a flow for each way between them.  What a flow cannot or shall not send yet waits in
 * pieces; what it can goes from the one static buffer straight on, so that a relay without rules
 * costs two copies by the kernel.
 */
#ifndef TESTS_RECOVERY_RELAY_H
#define TESTS_RECOVERY_RELAY_H

#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define RELAY_LINKS_MAX  1024
#define RELAY_USERS_MAX  16
#define RELAY_BUFFER     (256u << 10)
#define RELAY_KEPT       48          /* bytes of the buffer for what was kept of a header */
#define RELAY_QUEUED_MAX (1u << 20)  /* of a flow that is not delayed: then it is read no more */
#define RELAY_LATE_MAX   (64u << 20) /* the same of a delayed one */
#define RELAY_LINE_MAX   512
#define RELAY_NEVER      UINT64_MAX

/* Ends of a link.  A flow has the number of the end that it leads to. */
enum relay_end { RELAY_INITIATOR, RELAY_TARGET, RELAY_ENDS };
#define RELAY_BOTH (1u << RELAY_INITIATOR | 1u << RELAY_TARGET)

enum relay_how { RELAY_RST, RELAY_FIN };

enum relay_end_state {
    RELAY_CONNECTING,
    RELAY_OPEN,
    RELAY_DRAINING, /* what comes is thrown away until the peer closes */
    RELAY_CLOSED,
};

struct relay_piece {
    struct relay_piece *next;
    uint64_t due_ns;
    size_t len, at;
    unsigned char data[];
};

/* Where the bytes of a flow are in its PDUs (RFC 7143 11.2), while rules need to know. */
struct relay_pdu {
    unsigned char hdr[48];
    size_t have;     /* bytes of hdr */
    size_t left;     /* bytes of the PDU behind hdr that are still to come */
    size_t spoil_in; /* bytes until the one that is turned over; SIZE_MAX */
    bool lost;       /* nothing of it goes on */
    bool asked;      /* a Data-In has asked for a DataACK, and its response has not come */
    uint32_t asked_itt;
    uint64_t seed;
};

struct relay_flow {
    struct relay_piece *first, *last;
    size_t queued;
    uint64_t gap_until_ns;
    struct relay_pdu pdu;
    uint64_t left;                     /* to forward until the cut that each link is to have */
    bool eof, eof_sent, cut_when_sent; /* no more is read */
    bool blocked;                      /* the socket takes no more: wait for POLLOUT */
};

struct relay_link {
    struct relay_link *next;
    unsigned id;
    bool holed; /* bytes of it have been dropped: it stays a black hole */
    int fd[RELAY_ENDS];
    enum relay_end_state state[RELAY_ENDS];
    struct relay_flow flow[RELAY_ENDS]; /* by the end that it leads to */
    struct pollfd *polled[RELAY_ENDS];  /* of this turn, or NULL */
};

/* What is done to the next PDU of a kind. */
enum relay_deed { RELAY_NOTHING, RELAY_SPOIL, RELAY_LOSE, RELAY_CUT };
enum relay_kind { RELAY_COMMAND, RELAY_DATA_OUT, RELAY_DATA_IN, RELAY_RESPONSE };

/* What is done to the bytes of one way. */
struct relay_rules {
    bool followed;        /* it is known where PDUs begin */
    unsigned spoil, lose; /* one PDU in so many, by chance; 0: none */
    bool header_digest;   /* what is spoilt has those; all have data digests */
    bool stalled;
    uint64_t delay_ns, gap_ns;
    size_t split;         /* 0: as it comes */
    uint64_t corrupt_in;  /* bytes until the one that is bent; RELAY_NEVER */
    uint64_t cut_in;      /* bytes until the cut; RELAY_NEVER */
    uint64_t cut_each_in; /* the same, counted for each new link */
};

struct relay_stats {
    uint64_t links, cuts, unreached, corrupted, dropped, spoilt, lost;
    uint64_t bytes[RELAY_ENDS];
};

struct relay_user { /* of the control socket */
    int fd;         /* -1: free */
    bool events;
    size_t len;
    char line[RELAY_LINE_MAX];
};

struct relay {
    struct sockaddr_storage listen_at, target;
    socklen_t listen_len, target_len;
    int listener; /* -1: new connections are refused */
    int control;
    uint64_t accept_at_ns; /* when they are accepted again */
    struct relay_user users[RELAY_USERS_MAX];
    struct relay_link *links;
    struct relay_rules rules[RELAY_ENDS];
    enum relay_deed next; /* is done once, to such a PDU */
    enum relay_kind next_kind;
    enum relay_how how; /* of cuts that come by themselves, and of which ends */
    unsigned ends;
    uint64_t every_ns, next_cut_ns;
    bool hole, quit;
    struct relay_stats stats;
    uint64_t now_ns;  /* of this turn */
    uint64_t wake_ns; /* the earliest that something is to be done */
    struct pollfd polled[2 + RELAY_USERS_MAX + 2 * RELAY_LINKS_MAX];
    nfds_t npolled;
};

/* ---- relay.c ---- */
void relay_die(const char *what) __attribute__((noreturn));
struct pollfd *relay_poll(struct relay *r, int fd, short events);
/* Turn no later than then. */
void relay_wake(struct relay *r, uint64_t then_ns);
/* 0, or a sentence. */
const char *relay_address(const char *text, struct sockaddr_storage *ret, socklen_t *ret_len);
void relay_listen(struct relay *r);
void relay_refuse(struct relay *r, uint64_t ms /* 0: until told otherwise */);

/* ---- relay_link.c ---- */
void relay_link_new(struct relay *r, int fd);
/* Cuts the ends that are named in `ends`; the others stay open, and hear no more. */
void relay_link_cut(struct relay *r, struct relay_link *l, enum relay_how how, unsigned ends);
void relay_cut_oldest(struct relay *r, enum relay_how how, unsigned ends);
void relay_cut_all(struct relay *r, enum relay_how how, unsigned ends);
/* Names what is to be polled; then, after the poll, does what can be done. */
void relay_links_prepare(struct relay *r);
void relay_links_run(struct relay *r);

/* ---- relay_pdu.c ---- */
/* n bytes at p go to that end: spoils and loses PDUs as the rules say.  Returns how many are left,
 * from p on, after which the link may be to be cut (cut_when_sent). */
size_t relay_pdu_harm(struct relay *r, struct relay_flow *f, enum relay_end to, unsigned char *p,
                      size_t n);

/* ---- relay_tell.c ---- */
void relay_users_prepare(struct relay *r);
void relay_users_run(struct relay *r);
void relay_event(struct relay *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The other side of the control socket: one command, its answer to stdout; the exit code. */
int relay_tell(const char *path, int argc, char **argv);

#endif
