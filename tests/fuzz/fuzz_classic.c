/* SPDX-License-Identifier: MIT */
/* fuzz_classic.c - requests of open-iscsi's management socket, of callers who may or may not call,
 * send in pieces, stop in the middle and go away.
 *
 * The input is a list of steps: a byte that says what happens and to which caller, and for bytes
 * that are sent two bytes of length and these bytes; a run of the last byte stands for the rest of
 * what a request needs, so that inputs stay short.  Requests are answered at once or later.  Each
 * answer must have the size of a reply, and name the command that was asked for.
 */
#include <errno.h>

#include "classic/classic.h"
#include "mem_loop.h"

#define LINKS 4
#define HELD  4

struct fuzz_classic {
    struct mem_loop loop;
    struct classic_server *s;
    struct mem_stream links[LINKS];
    struct {
        struct classic_caller *c;
        uint32_t command;
    } held[HELD];
    const uint8_t *data;
    size_t len;
};

static unsigned
next8(struct fuzz_classic *f)
{
    if (f->len == 0)
        return 0;
    f->len--;
    return *f->data++;
}

static void
check_ended(const char *text, size_t size)
{
    CHECK(strnlen(text, size) < size);
}

static void
on_request(void *user, struct classic_caller *c, const struct classic_request *rq)
{
    struct fuzz_classic *f = user;
    const struct classic_record *r = &rq->record;
    struct classic_stats stats = {.txdata_octets = 1};
    struct classic_reply rep;

    CHECK(rq->form < CLASSIC_FORMS && r->nvalues <= CLASSIC_VALUES_MAX);
    check_ended(r->target, sizeof(r->target));
    check_ended(r->portal.host, sizeof(r->portal.host));
    check_ended(r->iface, sizeof(r->iface));
    CHECK(rq->command != CLASSIC_SESSION_LOGIN || (r->target[0] != '\0' && r->portal.port != 0));
    CHECK(r->portal.tpgt >= -1 && r->portal.tpgt <= UINT16_MAX);
    for (unsigned i = 0; i < r->nvalues; i++) {
        CHECK(r->values[i].name != NULL);
        check_ended(r->values[i].text, sizeof(r->values[i].text));
    }
    for (unsigned i = 0; i < HELD && rq->sid % 2 != 0; i++) {
        if (f->held[i].c == NULL) {
            f->held[i].c = c;
            f->held[i].command = rq->command;
            return;
        }
    }
    classic_reply_init(&rep, rq->command, 0);
    classic_reply_stats(&rep, &stats);
    classic_answer(c, &rep);
}

static void
answer_one(struct fuzz_classic *f, unsigned i)
{
    struct classic_reply rep;

    if (f->held[i].c == NULL)
        return;
    classic_reply_init(&rep, f->held[i].command, 7);
    classic_reply_text(&rep, "text");
    classic_answer(f->held[i].c, &rep);
    f->held[i].c = NULL;
}

static void
send_some(struct fuzz_classic *f, struct mem_stream *s, unsigned what)
{
    size_t n = next8(f), run = 0;
    uint8_t *bytes;

    n |= (size_t)next8(f) << 8;
    if (what & 0x80) {
        run = next8(f);
        run |= (size_t)next8(f) << 8;
    }
    n = n < f->len ? n : f->len;
    bytes = malloc(n + run + 1);
    CHECK(bytes != NULL);
    if (n > 0)
        memcpy(bytes, f->data, n);
    memset(bytes + n, n > 0 ? bytes[n - 1] : 0, run);
    f->data += n;
    f->len -= n;
    mem_feed(&f->loop, s, bytes, n + run, false);
    free(bytes);
}

static void
check_reply(struct mem_stream *s)
{
    if (s->out_len > 0)
        CHECK(s->out_len == CLASSIC_REPLY_SIZE && !s->open);
}

static void
step(struct fuzz_classic *f)
{
    unsigned what = next8(f);
    struct mem_stream *s = &f->links[what & 3];

    if (!s->open) {
        free(s->out);
        *s = (struct mem_stream){.base = {.loop = &f->loop.l}, .open = true};
        classic_server_adopt(f->s, &s->base, what & 4 ? 2 : 1);
    }
    switch (what >> 3 & 7) {
    case 0:
        answer_one(f, what & 3);
        break;
    case 1:
        mem_advance(&f->loop, (uint64_t)(what >> 6) * LOOP_NS_PER_S);
        break;
    case 2:
        mem_feed(&f->loop, s, NULL, 0, true);
        break;
    default:
        if (s->open)
            send_some(f, s, what);
    }
    mem_work(&f->loop);
    for (unsigned i = 0; i < LINKS; i++)
        check_reply(&f->links[i]);
    CHECK(classic_server_callers(f->s) <= LINKS);
}

void
fuzz_one(const uint8_t *data, size_t len)
{
    static struct fuzz_classic f;
    struct classic_config cfg = {
        .request = on_request, .user = &f, .uid = 1, .callers_max = 3, .reading_max = 2};

    f = (struct fuzz_classic){.data = data, .len = len};
    mem_loop_init(&f.loop);
    CHECK(classic_server_new(&f.loop.l, &cfg, &f.s) == 0);
    while (f.len > 0)
        step(&f);
    classic_server_free(&f.s);
    for (unsigned i = 0; i < LINKS; i++) {
        CHECK(!f.links[i].open);
        free(f.links[i].out);
    }
}
