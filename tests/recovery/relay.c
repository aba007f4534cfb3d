/* SPDX-License-Identifier: MIT */
/* tests/recovery/relay.c - a relay for TCP that does harm on command.
 *
 *     relay --listen 127.0.0.1:0 --target 127.0.0.1:3260 --control /tmp/relay &
 *     relay --tell /tmp/relay cut rst initiator
 *
 * It prints "listening on ADDRESS:PORT", forwards what connects there to the target, and does what
 * the lines say that come on the Unix socket of --control; each is answered by one line, "ok ..."
 * or "error: ...".  relay --tell sends one and prints the answer.
 *
 *   cut [rst|fin] [ENDS] oldest
 *                      cuts the link that has been there for longest, of those that no
 *                      end has closed
 *   cut [rst|fin] [ENDS] [after=N [WAY] [each]]
 *                      cuts all links: at once, or when N more bytes have gone that WAY; with each,
 *                      every new link after its first N.  ENDS: both, initiator, target; what is
 *                      not named stays open, and hears no more, as of a peer without power
 *   every MS [rst|fin] [ENDS]
 *                      cuts all links each MS milliseconds; 0: no more
 *   delay MS [WAY]     everything comes so much later; 0: no more
 *   split N [gap=US] [WAY]
 *                      in pieces of N bytes at most, so many microseconds apart; 0: no more
 *   corrupt at=N [WAY] the byte that comes after N more is turned over (way: to-target)
 *   spoil N [lose=M] [header] [WAY]
 *                      a byte of the data of one PDU in N is turned over, by chance, and one PDU
 *                      in M that may be lost does not go on; 0: no more.  All links must have data
 *                      digests, and header digests or none, and begin after the rule
 *   next spoil|lose|cut [rst|fin] [ENDS] KIND
 *                      the same to the next PDU of a kind, once; or the link is cut in front of it.
 *                      Links as with spoil, which may be 0.  KIND: command, one that has data;
 *                      data-out; data-in, one that another one of its sequence follows;
 *                      response, of a read that has asked for a DataACK
 *   stall [WAY]        nothing is forwarded, nothing lost: TCP's windows fill up
 *   go [WAY]           ends that
 *   hole on|off        what comes is read and dropped, new connections are taken and stay silent.
 *                      A link that has lost bytes stays dead after that
 *   refuse [MS]        new connections are refused, for so long or until accept
 *   accept             ends that
 *   target ADDR:PORT   new links lead there
 *   calm               forgets all rules of the above; links stay as they are
 *   stats              links, open, cuts, unreached (target), corrupted, dropped, spoilt, lost,
 *                      awaited (next has not come), to_target, to_initiator (bytes) as JSON
 *   events             from now on this control connection gets lines "event link N" (the target
 *                      has been reached), "event end N", "event accepting", "event unreached"
 *   quit
 *
 * WAY is to-target, to-initiator or both, which is the default where nothing else is said.  MS may
 * have a fraction.  Where the target cannot be reached, the initiator gets a RST.
 */
#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "tests/recovery/relay.h"

#define LISTEN_BACKLOG 128

static struct relay relay;

void
relay_die(const char *what)
{
    fprintf(stderr, "relay: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t
relay_now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

struct pollfd *
relay_poll(struct relay *r, int fd, short events)
{
    struct pollfd *p = &r->polled[r->npolled++];

    *p = (struct pollfd){.fd = fd, .events = events};
    return p;
}

void
relay_wake(struct relay *r, uint64_t then_ns)
{
    if (then_ns < r->wake_ns)
        r->wake_ns = then_ns;
}

const char *
relay_address(const char *text, struct sockaddr_storage *ret, socklen_t *ret_len)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                             .ai_socktype = SOCK_STREAM},
                    *found = NULL;
    const char *colon = strrchr(text, ':');
    char host[128];
    size_t n = colon ? (size_t)(colon - text) : 0;

    if (n == 0 || n >= sizeof(host))
        return "want ADDRESS:PORT";
    if (text[0] == '[' && text[n - 1] == ']') {
        text++;
        n -= 2;
    }
    memcpy(host, text, n);
    host[n] = '\0';
    if (getaddrinfo(host, colon + 1, &hints, &found) != 0)
        return "no such numeric address";
    memcpy(ret, found->ai_addr, found->ai_addrlen);
    *ret_len = found->ai_addrlen;
    freeaddrinfo(found);
    return NULL;
}

/* ---- the listener --------------------------------------------------------------------------- */

void
relay_listen(struct relay *r)
{
    struct sockaddr *sa = (struct sockaddr *)&r->listen_at;
    int one = 1, fd;

    r->accept_at_ns = RELAY_NEVER;
    if (r->listener >= 0)
        return;
    fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
        bind(fd, sa, r->listen_len) < 0 || listen(fd, LISTEN_BACKLOG) < 0 ||
        getsockname(fd, sa, &r->listen_len) < 0)
        relay_die("listen");
    r->listener = fd;
    relay_event(r, "accepting");
}

void
relay_refuse(struct relay *r, uint64_t ms)
{
    if (r->listener >= 0)
        close(r->listener);
    r->listener = -1;
    r->accept_at_ns = ms == 0 ? RELAY_NEVER : r->now_ns + ms * 1000000;
}

static void
relay_accept(struct relay *r)
{
    int fd;

    while (r->listener >= 0 &&
           (fd = accept4(r->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
        relay_link_new(r, fd);
}

static void
relay_say_where(const struct relay *r)
{
    char host[64], port[16];

    if (getnameinfo((const struct sockaddr *)&r->listen_at, r->listen_len, host, sizeof(host), port,
                    sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        relay_die("getnameinfo");
    printf(strchr(host, ':') ? "listening on [%s]:%s\n" : "listening on %s:%s\n", host, port);
    fflush(stdout);
}

static void
relay_control(struct relay *r, const char *path)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof(sa.sun_path)) {
        errno = ENAMETOOLONG;
        relay_die(path);
    }
    memcpy(sa.sun_path, path, strlen(path) + 1);
    unlink(path);
    r->control = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (r->control < 0 || bind(r->control, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
        listen(r->control, LISTEN_BACKLOG) < 0)
        relay_die(path);
}

/* ---- turns ---------------------------------------------------------------------------------- */

static void
relay_timers(struct relay *r)
{
    if (r->now_ns >= r->accept_at_ns)
        relay_listen(r);
    if (r->now_ns >= r->next_cut_ns) {
        relay_cut_all(r, r->how, r->ends);
        r->next_cut_ns = r->now_ns + r->every_ns;
    }
    relay_wake(r, r->accept_at_ns);
    relay_wake(r, r->next_cut_ns);
}

static void
relay_turn(struct relay *r)
{
    struct timespec t;
    uint64_t wait_ns;

    r->npolled = 0;
    r->wake_ns = RELAY_NEVER;
    r->now_ns = relay_now_ns();
    relay_timers(r);
    relay_poll(r, r->listener, POLLIN);
    relay_users_prepare(r);
    relay_links_prepare(r);
    wait_ns = r->wake_ns > r->now_ns ? r->wake_ns - r->now_ns : 0;
    t = (struct timespec){.tv_sec = (time_t)(wait_ns / 1000000000),
                          .tv_nsec = (long)(wait_ns % 1000000000)};
    if (ppoll(r->polled, r->npolled, r->wake_ns == RELAY_NEVER ? NULL : &t, NULL) < 0 &&
        errno != EINTR)
        relay_die("ppoll");
    r->now_ns = relay_now_ns();
    relay_links_run(r);
    if (r->polled[0].revents != 0)
        relay_accept(r);
    relay_users_run(r);
}

static int
relay_usage(void)
{
    fprintf(stderr, "usage: relay --listen ADDRESS:PORT --target ADDRESS:PORT --control PATH\n"
                    "       relay --tell PATH COMMAND...\n");
    return 2;
}

int
main(int argc, char **argv)
{
    struct relay *r = &relay;
    const char *wrong;

    if (argc >= 4 && strcmp(argv[1], "--tell") == 0)
        return relay_tell(argv[2], argc - 3, argv + 3);
    if (argc != 7 || strcmp(argv[1], "--listen") != 0 || strcmp(argv[3], "--target") != 0 ||
        strcmp(argv[5], "--control") != 0)
        return relay_usage();
    wrong = relay_address(argv[2], &r->listen_at, &r->listen_len);
    if (wrong == NULL)
        wrong = relay_address(argv[4], &r->target, &r->target_len);
    if (wrong) {
        fprintf(stderr, "relay: %s\n", wrong);
        return 2;
    }
    if (sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL) < 0)
        relay_die("sigaction");
    r->listener = -1;
    r->next_cut_ns = RELAY_NEVER;
    for (int i = 0; i < RELAY_USERS_MAX; i++)
        r->users[i].fd = -1;
    for (int i = 0; i < RELAY_ENDS; i++)
        r->rules[i] = (struct relay_rules){
            .corrupt_in = RELAY_NEVER, .cut_in = RELAY_NEVER, .cut_each_in = RELAY_NEVER};
    relay_control(r, argv[6]);
    relay_listen(r);
    relay_say_where(r);
    while (!r->quit)
        relay_turn(r);
    unlink(argv[6]);
    return 0;
}
