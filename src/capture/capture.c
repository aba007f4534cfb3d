/* SPDX-License-Identifier: MIT */
#include "capture/capture.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture/pcapng.h"
#include "capture/redact.h"
#include "capture/segment.h"
#include "wire/pdu.h"

#define TEXT_CHUNK    8192  /* bytes of text of one segment at most */
#define MADE_UP_PORTS 49152 /* from here on, where addresses are not known */

/* One direction of a connection. */
struct way {
    bool in_pdu;  /* bytes of a PDU follow whose beginning was seen */
    bool strip;   /* they stay out */
    bool goes_on; /* the text of the next PDU continues that of the last */
    uint32_t rest;
    uint32_t text; /* of these, so many are text that may hold secrets */
    uint32_t held; /* bytes of head, which wait for the first that follow */
    uint8_t head[ISCSI_HDR_MAX];
    struct redact redact;
};

/* A connection that is looked at. */
struct look {
    struct list node;
    struct capture *k;
    struct iscsi_conn *c;
    struct iscsi_tap tap;
    struct conversation v;
    struct way way[2]; /* [sent] */
};

struct capture {
    struct capture_config cfg;
    uint64_t begun_ns; /* loop clock */
    struct list looks;
    struct pcapng out;
    struct capture_stats stats;
    uint64_t unsaid_segments, unsaid_bytes; /* dropped since the last segment that was not */
    uint16_t port;
    bool ended, full;
    uint8_t text[TEXT_CHUNK];
};

static uint64_t
unix_now(const struct capture *k)
{
    return k->cfg.unix_ns + (k->cfg.loop->now_ns - k->begun_ns);
}

/* ---- segments ------------------------------------------------------------------------------- */

static void
count(struct capture *k, size_t block, uint64_t len)
{
    if (block == 0) {
        k->stats.dropped_segments++;
        k->stats.dropped_bytes += len;
        k->unsaid_segments++;
        k->unsaid_bytes += len;
        return;
    }
    k->stats.segments++;
    k->stats.bytes += block;
    k->unsaid_segments = k->unsaid_bytes = 0;
    k->full = k->cfg.segments_max > 0 && k->stats.segments >= k->cfg.segments_max;
}

/* Makes a segment of the header that is held and of len bytes at data, which stay out where data is
 * NULL. */
static void
segment(struct look *l, bool sent, uint8_t flags, const void *data, uint32_t len)
{
    struct capture *k = l->k;
    struct way *w = &l->way[sent];
    bool idle = k->out.head == k->out.tail;
    uint8_t head[SEGMENT_HEAD_MAX];
    char left_out[128];
    uint32_t n = segment_head(&l->v, sent, flags, w->held + len, head);
    const struct iovec parts[] = {
        {head, n}, {w->head, w->held}, {(void *)(uintptr_t)data, data != NULL ? len : 0}};

    if (k->full || k->ended)
        return;
    if (k->unsaid_segments > 0)
        (void)snprintf(left_out, sizeof(left_out),
                       "%" PRIu64 " packets with %" PRIu64 " bytes are left out before this one, "
                       "since they were not taken fast enough",
                       k->unsaid_segments, k->unsaid_bytes);
    count(k,
          pcapng_packet(&k->out, unix_now(k), sent, parts, 3,
                        (uint32_t)(n + w->held + parts[2].iov_len), n + w->held + len,
                        k->unsaid_segments > 0 ? left_out : NULL),
          n + w->held + len);
    w->held = 0;
    if (idle || k->full)
        k->cfg.wake(k->cfg.user);
}

/* The next segment: at most n bytes of a PDU behind what is held.  Returns how many. */
static uint32_t
next_segment(struct look *l, bool sent, const uint8_t *p, uint32_t n)
{
    struct capture *k = l->k;
    struct way *w = &l->way[sent];
    const void *data = w->strip ? NULL : p;

    if (n > SEGMENT_PAYLOAD_MAX - w->held)
        n = SEGMENT_PAYLOAD_MAX - w->held;
    if (w->text > 0) {
        n = n < w->text ? n : w->text;
        n = n < TEXT_CHUNK ? n : TEXT_CHUNK;
        redact_text(&w->redact, p, k->text, n);
        data = k->text;
        w->text -= n;
    }
    segment(l, sent, SEGMENT_ACK | SEGMENT_PSH, data, n);
    return n;
}

/* ---- what a transport shows (struct iscsi_tap) ---------------------------------------------- */

/* Data of commands, and whatever vendors may put into PDUs of their own. */
static bool
is_payload(uint8_t op)
{
    switch (op) {
    case ISCSI_OP_NOP_OUT:
    case ISCSI_OP_NOP_IN:
    case ISCSI_OP_LOGIN_REQ:
    case ISCSI_OP_LOGIN_RSP:
    case ISCSI_OP_TEXT_REQ:
    case ISCSI_OP_TEXT_RSP:
    case ISCSI_OP_SCSI_RSP:
    case ISCSI_OP_ASYNC:
    case ISCSI_OP_REJECT:
        return false;
    default:
        return true;
    }
}

static bool
has_text(uint8_t op)
{
    return op == ISCSI_OP_LOGIN_REQ || op == ISCSI_OP_LOGIN_RSP || op == ISCSI_OP_TEXT_REQ ||
           op == ISCSI_OP_TEXT_RSP || op == ISCSI_OP_REJECT; /* which may quote one of the others */
}

static void
capture_tap_begin(void *user, struct iscsi_conn *c, bool sent, const void *hdr, uint32_t hdr_len,
                  uint32_t rest)
{
    struct look *l = user;
    struct way *w = &l->way[sent];
    const struct bhs *h = hdr;
    uint8_t op = pdu_opcode(h);

    (void)c;
    assert(hdr_len >= ISCSI_BHS_LEN && hdr_len <= sizeof(w->head));
    memcpy(w->head, hdr, hdr_len);
    w->held = hdr_len;
    w->rest = rest;
    w->strip = l->k->cfg.no_payload && is_payload(op);
    w->text = 0;
    if (has_text(op)) {
        redact_pdu(&w->redact, w->goes_on);
        w->goes_on = (h->flags & ISCSI_TEXT_CONTINUE) != 0;
        w->text = pdu_dseg_len(h) < rest ? pdu_dseg_len(h) : rest;
    }
    w->in_pdu = rest > 0;
    if (rest == 0)
        segment(l, sent, SEGMENT_ACK | SEGMENT_PSH, NULL, 0);
}

static void
capture_tap_more(void *user, struct iscsi_conn *c, bool sent, const void *data, uint32_t len)
{
    struct look *l = user;
    struct way *w = &l->way[sent];
    const uint8_t *p = data;
    uint32_t n;

    (void)c;
    if (!w->in_pdu) /* the rest of one that had begun before anybody looked */
        return;
    assert(len <= w->rest);
    for (; len > 0; p += n, len -= n) {
        n = next_segment(l, sent, p, len);
        w->rest -= n;
    }
    w->in_pdu = w->rest > 0;
}

/* ---- connections ---------------------------------------------------------------------------- */

static struct look *
find(const struct capture *k, const struct iscsi_conn *c)
{
    LIST_FOREACH (n, &k->looks) {
        struct look *l = container_of(n, struct look, node);

        if (l->c == c)
            return l;
    }
    return NULL;
}

int
capture_add(struct capture *k, struct iscsi_conn *c, bool fresh)
{
    struct sock_addr local = {.len = 0}, peer = {.len = 0};
    struct look *l;

    assert(!k->ended);
    if (c->tap != NULL)
        return -EBUSY;
    l = calloc(1, sizeof(*l));
    if (l == NULL)
        return -ENOMEM;
    l->k = k;
    l->c = c;
    l->tap = (struct iscsi_tap){.begin = capture_tap_begin, .more = capture_tap_more, .user = l};
    if (c->tt->get_names == NULL || c->tt->get_names(c, &local, &peer) < 0)
        local.len = peer.len = 0;
    conversation_init(&l->v, &local, &peer, (uint16_t)(MADE_UP_PORTS + k->port++ % 8192));
    list_push_back(&k->looks, &l->node);
    c->tap = &l->tap;
    if (fresh) {
        l->v.next[0] = l->v.next[1] = 0;
        segment(l, true, SEGMENT_SYN, NULL, 0);
        segment(l, false, SEGMENT_SYN | SEGMENT_ACK, NULL, 0);
        segment(l, true, SEGMENT_ACK, NULL, 0);
    } else {
        redact_unknown(&l->way[0].redact);
        redact_unknown(&l->way[1].redact);
    }
    return 0;
}

static void
capture_look_end(struct look *l, bool over)
{
    for (int sent = 0; sent < 2; sent++) {
        if (l->way[sent].held > 0) /* nothing of what belongs to it has come */
            segment(l, sent != 0, SEGMENT_ACK | SEGMENT_PSH, NULL, 0);
    }
    if (over)
        segment(l, true, SEGMENT_ACK | SEGMENT_FIN, NULL, 0);
    assert(l->c->tap == &l->tap);
    l->c->tap = NULL;
    list_del(&l->node);
    free(l);
}

void
capture_del(struct capture *k, const struct iscsi_conn *c)
{
    struct look *l = find(k, c);

    if (l != NULL)
        capture_look_end(l, true);
}

static void
look_away(struct capture *k)
{
    LIST_FOREACH_SAFE (n, &k->looks)
        capture_look_end(container_of(n, struct look, node), false);
}

/* ---- life ----------------------------------------------------------------------------------- */

int
capture_new(const struct capture_config *cfg, struct capture **ret)
{
    struct capture *k = calloc(1, sizeof(*k));
    int r = k != NULL ? pcapng_init(&k->out, cfg->room != 0 ? cfg->room : CAPTURE_ROOM) : -ENOMEM;

    if (r < 0) {
        free(k);
        return r;
    }
    k->cfg = *cfg;
    k->cfg.about = NULL;
    k->begun_ns = cfg->loop->now_ns;
    list_init(&k->looks);
    pcapng_begin(&k->out, cfg->about, "iscsi");
    *ret = k;
    return 0;
}

void
capture_free(struct capture *k)
{
    if (k == NULL)
        return;
    k->ended = true;
    look_away(k);
    pcapng_fini(&k->out);
    free(k);
}

void
capture_end(struct capture *k, const char *why)
{
    char text[CAPTURE_TEXT_MAX];
    int n;

    assert(!k->ended);
    look_away(k);
    k->ended = true;
    n = snprintf(text, sizeof(text), "%s", why);
    if (k->stats.dropped_segments > 0 && n > 0 && (size_t)n < sizeof(text))
        (void)snprintf(text + n, sizeof(text) - (size_t)n,
                       "; %" PRIu64 " packets with %" PRIu64
                       " bytes were left out, since they were not taken fast enough",
                       k->stats.dropped_segments, k->stats.dropped_bytes);
    pcapng_end(&k->out, k->cfg.unix_ns, unix_now(k), k->stats.segments, k->stats.dropped_segments,
               text);
}

bool
capture_full(const struct capture *k)
{
    return k->full;
}

int
capture_peek(const struct capture *k, struct iovec iov[2], size_t *ret_len)
{
    const struct pcapng *p = &k->out;
    size_t len = (size_t)(p->head - p->tail), at = (size_t)(p->tail & (p->size - 1));
    size_t n = p->size - at < len ? p->size - at : len;

    *ret_len = len;
    iov[0] = (struct iovec){p->mem + at, n};
    iov[1] = (struct iovec){p->mem, len - n};
    return len == 0 ? 0 : n < len ? 2 : 1;
}

void
capture_took(struct capture *k, size_t len)
{
    assert(len <= k->out.head - k->out.tail);
    k->out.tail += len;
}

void
capture_get_stats(const struct capture *k, struct capture_stats *ret)
{
    *ret = k->stats;
}
