/* SPDX-License-Identifier: MIT */
/* tests/recovery/relay_link.c - links: bytes from one end to the other, as the rules say. */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/recovery/relay.h"

static unsigned char buffer[RELAY_BUFFER];

static enum relay_end
relay_other(enum relay_end e)
{
    return e == RELAY_TARGET ? RELAY_INITIATOR : RELAY_TARGET;
}

/* ---- ends ----------------------------------------------------------------------------------- */

static void
relay_end_close(struct relay_link *l, enum relay_end e, enum relay_how how)
{
    struct linger at_once = {.l_onoff = 1};

    if (l->fd[e] >= 0) {
        if (how == RELAY_RST)
            (void)setsockopt(l->fd[e], SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
        close(l->fd[e]);
    }
    l->fd[e] = -1;
    l->state[e] = RELAY_CLOSED;
    l->polled[e] = NULL;
}

static void
relay_flow_clear(struct relay_flow *f)
{
    while (f->first) {
        struct relay_piece *p = f->first;

        f->first = p->next;
        free(p);
    }
    f->last = NULL;
    f->queued = 0;
    f->blocked = f->cut_when_sent = false;
}

void
relay_link_cut(struct relay *r, struct relay_link *l, enum relay_how how, unsigned ends)
{
    relay_flow_clear(&l->flow[RELAY_INITIATOR]);
    relay_flow_clear(&l->flow[RELAY_TARGET]);
    for (enum relay_end e = 0; e < RELAY_ENDS; e++) {
        if (l->state[e] == RELAY_CLOSED)
            continue;
        /* A close with bytes unread would be a RST: what is to be a FIN reads on. */
        if (l->state[e] == RELAY_CONNECTING || (how == RELAY_RST && ends & 1u << e))
            relay_end_close(l, e, RELAY_RST);
        else if (ends & 1u << e)
            (void)shutdown(l->fd[e], SHUT_WR);
        if (l->state[e] == RELAY_OPEN)
            l->state[e] = RELAY_DRAINING;
    }
    r->stats.cuts++;
}

/* Both ends use it: none has closed it for its part. */
static bool
relay_link_in_use(const struct relay_link *l)
{
    for (enum relay_end e = 0; e < RELAY_ENDS; e++)
        if (l->state[e] != RELAY_OPEN || l->flow[e].eof)
            return false;
    return true;
}

void
relay_cut_oldest(struct relay *r, enum relay_how how, unsigned ends)
{
    struct relay_link *oldest = NULL;

    for (struct relay_link *l = r->links; l; l = l->next)
        if (relay_link_in_use(l) && (oldest == NULL || l->id < oldest->id))
            oldest = l;
    if (oldest != NULL)
        relay_link_cut(r, oldest, how, ends);
}

void
relay_cut_all(struct relay *r, enum relay_how how, unsigned ends)
{
    for (struct relay_link *l = r->links; l; l = l->next)
        if (l->state[RELAY_INITIATOR] == RELAY_OPEN)
            relay_link_cut(r, l, how, ends);
}

/* A socket has failed: the other end hears of it as it came. */
static void
relay_link_broken(struct relay_link *l)
{
    relay_end_close(l, RELAY_INITIATOR, RELAY_RST);
    relay_end_close(l, RELAY_TARGET, RELAY_RST);
}

void
relay_link_new(struct relay *r, int fd)
{
    struct relay_link *l = calloc(1, sizeof(*l));
    int one = 1, to, n = 0;

    for (struct relay_link *k = r->links; k; k = k->next)
        n++;
    if (l == NULL || n >= RELAY_LINKS_MAX)
        relay_die("too many links");
    l->id = (unsigned)++r->stats.links;
    l->fd[RELAY_INITIATOR] = fd;
    l->state[RELAY_INITIATOR] = RELAY_OPEN;
    l->state[RELAY_TARGET] = RELAY_CONNECTING;
    for (unsigned e = 0; e < RELAY_ENDS; e++) {
        l->flow[e].left = r->rules[e].cut_each_in;
        l->flow[e].pdu.seed = (RELAY_ENDS * l->id + e) * 0x9e3779b97f4a7c15u;
    }
    to = socket(r->target.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (to < 0)
        relay_die("socket");
    l->fd[RELAY_TARGET] = to;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    (void)setsockopt(to, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    l->next = r->links;
    r->links = l;
    if (r->hole) { /* the target hears nothing of it */
        l->holed = true;
        relay_end_close(l, RELAY_TARGET, RELAY_RST);
    } else if (connect(to, (struct sockaddr *)&r->target, r->target_len) < 0 &&
               errno != EINPROGRESS) {
        r->stats.unreached++;
        relay_event(r, "unreached");
        relay_link_broken(l);
    }
}

static void
relay_link_reached(struct relay *r, struct relay_link *l)
{
    int error = 0;
    socklen_t len = sizeof(error);

    if (getsockopt(l->fd[RELAY_TARGET], SOL_SOCKET, SO_ERROR, &error, &len) < 0 || error != 0) {
        r->stats.unreached++;
        relay_event(r, "unreached");
        relay_link_broken(l);
        return;
    }
    l->state[RELAY_TARGET] = RELAY_OPEN;
    relay_event(r, "link %u", l->id);
}

/* ---- flows ---------------------------------------------------------------------------------- */

static bool
relay_flow_may_read(const struct relay *r, const struct relay_link *l, enum relay_end to)
{
    const struct relay_flow *f = &l->flow[to];
    const struct relay_rules *rules = &r->rules[to];

    return l->state[to] == RELAY_OPEN && !f->eof && !f->cut_when_sent && !rules->stalled &&
           f->queued < (rules->delay_ns > 0 ? RELAY_LATE_MAX : RELAY_QUEUED_MAX);
}

static void
relay_flow_keep(struct relay_flow *f, const unsigned char *data, size_t n, uint64_t due_ns)
{
    struct relay_piece *p = malloc(sizeof(*p) + n);

    if (p == NULL)
        relay_die("malloc");
    *p = (struct relay_piece){.due_ns = due_ns, .len = n};
    memcpy(p->data, data, n);
    if (f->last)
        f->last->next = p;
    else
        f->first = p;
    f->last = p;
    f->queued += n;
}

/* Sends what the socket takes, one piece of it where they are to be apart; how much. */
static size_t
relay_flow_send(struct relay *r, struct relay_link *l, enum relay_end to, const unsigned char *data,
                size_t n)
{
    const struct relay_rules *rules = &r->rules[to];
    struct relay_flow *f = &l->flow[to];
    size_t done = 0;

    while (done < n && r->now_ns >= f->gap_until_ns) {
        size_t want = rules->split && n - done > rules->split ? rules->split : n - done;
        ssize_t k = send(l->fd[to], data + done, want, MSG_NOSIGNAL);

        if (k < 0) {
            f->blocked = errno == EAGAIN;
            if (!f->blocked)
                relay_link_broken(l);
            break;
        }
        done += (size_t)k;
        if (rules->gap_ns > 0)
            f->gap_until_ns = r->now_ns + rules->gap_ns;
    }
    r->stats.bytes[to] += done;
    return done;
}

/* What waits and is due. */
static void
relay_flow_run(struct relay *r, struct relay_link *l, enum relay_end to)
{
    struct relay_flow *f = &l->flow[to];

    while (l->state[to] == RELAY_OPEN && f->first && !f->blocked && f->first->due_ns <= r->now_ns &&
           !r->rules[to].stalled) {
        struct relay_piece *p = f->first;
        size_t n = relay_flow_send(r, l, to, p->data + p->at, p->len - p->at);

        p->at += n;
        f->queued -= n;
        if (p->at < p->len)
            break;
        f->first = p->next;
        if (f->first == NULL)
            f->last = NULL;
        free(p);
    }
    if (l->state[to] != RELAY_OPEN || f->first)
        return;
    if (f->cut_when_sent) {
        relay_link_cut(r, l, r->how, r->ends);
    } else if (f->eof && !f->eof_sent) {
        f->eof_sent = true;
        (void)shutdown(l->fd[to], SHUT_WR);
        if (l->flow[relay_other(to)].eof_sent) {
            relay_end_close(l, RELAY_INITIATOR, RELAY_FIN);
            relay_end_close(l, RELAY_TARGET, RELAY_FIN);
        }
    }
}

/* How many of n bytes go on before a cut that is counted down in *left. */
static size_t
relay_flow_budget(struct relay_flow *f, uint64_t *left, size_t n)
{
    if (*left == RELAY_NEVER)
        return n;
    if (*left > n) {
        *left -= n;
        return n;
    }
    f->cut_when_sent = true;
    n = (size_t)*left;
    *left = RELAY_NEVER;
    return n;
}

static void
relay_flow_corrupt(struct relay *r, enum relay_end to, size_t n)
{
    uint64_t *in = &r->rules[to].corrupt_in;

    if (*in == RELAY_NEVER)
        return;
    if (*in >= n) {
        *in -= n;
        return;
    }
    buffer[*in] ^= 0xff;
    *in = RELAY_NEVER;
    r->stats.corrupted++;
}

static void
relay_flow_take(struct relay *r, struct relay_link *l, enum relay_end to, size_t n)
{
    struct relay_flow *f = &l->flow[to];
    uint64_t delay_ns = r->rules[to].delay_ns;
    size_t done = 0;

    n = relay_flow_budget(f, &r->rules[to].cut_in, n);
    if (f->cut_when_sent) /* counted both ways, it comes once all the same */
        r->rules[RELAY_INITIATOR].cut_in = r->rules[RELAY_TARGET].cut_in = RELAY_NEVER;
    n = relay_flow_budget(f, &f->left, n);
    relay_flow_corrupt(r, to, n);
    if (r->rules[to].followed)
        n = relay_pdu_harm(r, f, to, buffer, n);
    if (f->first == NULL && delay_ns == 0)
        done = relay_flow_send(r, l, to, buffer, n);
    if (done < n && l->state[to] == RELAY_OPEN)
        relay_flow_keep(f, buffer + done, n - done, r->now_ns + delay_ns);
}

/* ---- turns ---------------------------------------------------------------------------------- */

static bool
relay_end_is_read(const struct relay *r, const struct relay_link *l, enum relay_end e)
{
    if (l->state[e] == RELAY_DRAINING)
        return true;
    if (l->state[e] != RELAY_OPEN)
        return false;
    return r->hole || l->holed || relay_flow_may_read(r, l, relay_other(e));
}

/* One read, so that all links get their turn. */
static void
relay_end_read(struct relay *r, struct relay_link *l, enum relay_end e)
{
    enum relay_end to = relay_other(e);
    ssize_t n = recv(l->fd[e], buffer, sizeof(buffer) - RELAY_KEPT, 0);

    if (n < 0 && errno == EAGAIN)
        return;
    l->holed = l->holed || (r->hole && l->state[e] == RELAY_OPEN);
    if (l->holed || l->state[e] == RELAY_DRAINING) {
        if (n <= 0)
            relay_end_close(l, e, RELAY_FIN);
        else
            r->stats.dropped += (uint64_t)n;
    } else if (n < 0) {
        relay_link_broken(l);
    } else if (n == 0) {
        l->flow[to].eof = true;
    } else {
        relay_flow_take(r, l, to, (size_t)n);
    }
}

static void
relay_link_prepare(struct relay *r, struct relay_link *l)
{
    for (enum relay_end e = 0; e < RELAY_ENDS; e++) {
        struct relay_flow *f = &l->flow[e];
        short events = relay_end_is_read(r, l, e) ? POLLIN : 0;

        if (l->state[e] == RELAY_CONNECTING || (l->state[e] == RELAY_OPEN && f->blocked))
            events |= POLLOUT;
        /* An end that nothing is asked of would still report that its peer has gone. */
        l->polled[e] = events ? relay_poll(r, l->fd[e], events) : NULL;
        if (l->state[e] != RELAY_OPEN || f->first == NULL || f->blocked || r->rules[e].stalled)
            continue;
        relay_wake(r, f->first->due_ns > f->gap_until_ns ? f->first->due_ns : f->gap_until_ns);
    }
}

void
relay_links_prepare(struct relay *r)
{
    struct relay_link **at = &r->links;

    while (*at) {
        struct relay_link *l = *at;

        if (l->state[RELAY_INITIATOR] == RELAY_CLOSED && l->state[RELAY_TARGET] == RELAY_CLOSED) {
            *at = l->next;
            relay_flow_clear(&l->flow[RELAY_INITIATOR]);
            relay_flow_clear(&l->flow[RELAY_TARGET]);
            relay_event(r, "end %u", l->id);
            free(l);
            continue;
        }
        relay_link_prepare(r, l);
        at = &l->next;
    }
}

static void
relay_link_run(struct relay *r, struct relay_link *l)
{
    for (enum relay_end e = 0; e < RELAY_ENDS; e++) {
        short got = l->polled[e] ? l->polled[e]->revents : 0;

        if (got != 0 && l->state[e] == RELAY_CONNECTING)
            relay_link_reached(r, l);
        else if (got & (POLLIN | POLLHUP | POLLERR) && l->polled[e]->events & POLLIN)
            relay_end_read(r, l, e);
        if (got & (POLLOUT | POLLERR) && l->state[e] != RELAY_CLOSED)
            l->flow[e].blocked = false;
    }
    for (enum relay_end e = 0; e < RELAY_ENDS; e++)
        if (!l->holed)
            relay_flow_run(r, l, e);
}

void
relay_links_run(struct relay *r)
{
    for (struct relay_link *l = r->links; l; l = l->next)
        relay_link_run(r, l);
}
