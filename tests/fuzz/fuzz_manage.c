/* SPDX-License-Identifier: MIT */
/* fuzz_manage.c - the management API, with two callers who send anything, stop reading and go away.
 *
 * The input is a list of steps: a byte that says what happens and to which caller, and for bytes
 * that are sent two bytes of length and these bytes.  Methods answer at once, later or never.  What
 * comes out must be lines of JSON objects.
 */
#include <errno.h>

#include "manage/manage.h"
#include "manage/params.h"
#include "mem_loop.h"

#define LINKS 2
#define HELD  8

struct fuzz_manage {
    struct mem_loop loop;
    struct manage_server *m;
    struct mem_stream links[LINKS];
    struct manage_call *held[HELD];
    const uint8_t *data;
    size_t len;
};

static unsigned
next8(struct fuzz_manage *f)
{
    if (f->len == 0)
        return 0;
    f->len--;
    return *f->data++;
}

static void
read_params(void *user, struct manage_call *call, const json_t *params)
{
    static const char *const words[] = {"new", "delete", NULL};
    struct lunette_error err = {.code = 0};
    const char *text = "", *name, *value;
    const json_t *list = NULL;
    unsigned word;
    int64_t n = 0;
    bool yes;
    int r = manage_get_text(params, "text", MANAGE_OPTIONAL, 32, &text, &err);

    (void)user;
    CHECK(strlen(text) <= 32);
    if (r >= 0)
        r = manage_get_int(params, "n", MANAGE_OPTIONAL, -5, 5, &n, &err);
    CHECK(n >= -5 && n <= 5);
    if (r >= 0)
        r = manage_get_bool(params, "yes", &yes, &err);
    if (r >= 0)
        r = manage_get_word(params, "op", MANAGE_OPTIONAL, words, &word, &err);
    if (r >= 0)
        r = manage_get_texts(params, "list", 4, 16, &list, &err);
    if (r >= 0)
        r = manage_get_pairs(params, "values", 4, 16, &list, &err);
    for (size_t i = 0; r > 0 && i < json_array_size(list); i++) {
        manage_pair(list, i, &name, &value);
        CHECK(strlen(name) > 0 && strlen(name) <= 16 && strlen(value) <= 16);
    }
    if (r < 0) {
        CHECK(r == -EINVAL && err.code == r);
        fuzz_check_text(err.msg, sizeof(err.msg));
        manage_fail_error(call, &err);
    } else {
        manage_reply(call, json_pack("{s:O*}", "params", params));
    }
}

static void
call_gone(void *user, struct manage_call *call)
{
    struct fuzz_manage *f = user;

    for (unsigned i = 0; i < HELD; i++)
        if (f->held[i] == call)
            f->held[i] = NULL;
    manage_fail(call, MANAGE_ERROR, "gone");
}

static void
hold(void *user, struct manage_call *call, const json_t *params)
{
    struct fuzz_manage *f = user;

    (void)params;
    manage_call_on_gone(call, call_gone, f);
    for (unsigned i = 0; i < HELD; i++) {
        if (f->held[i] == NULL) {
            f->held[i] = call;
            return;
        }
    }
    manage_fail(call, MANAGE_BUSY, "enough");
}

static const struct manage_method methods[] = {
    {"read", read_params, "text n yes op list values"}, {"hold", hold, NULL}, {NULL, NULL, NULL}};

static void
answer_one(struct fuzz_manage *f, unsigned i, bool well)
{
    struct manage_call *c = f->held[i % HELD];

    if (c == NULL)
        return;
    manage_progress(c, json_pack("{s:b}", "half", 1));
    f->held[i % HELD] = NULL;
    if (well)
        manage_reply(c, json_object());
    else
        manage_fail(c, MANAGE_LOGIN, "it did not work");
}

/* A caller comes, in place of one who is gone. */
static void
open_link(struct fuzz_manage *f, struct mem_stream *s)
{
    free(s->out);
    *s = (struct mem_stream){.base = {.loop = &f->loop.l}, .open = true};
    manage_server_adopt(f->m, &s->base, 1, 1);
    mem_work(&f->loop);
}

static void
check_out(struct mem_stream *s)
{
    size_t at = 0;
    uint8_t *end;

    while (at < s->out_len && (end = memchr(s->out + at, '\n', s->out_len - at)) != NULL) {
        json_t *line = json_loadb((char *)s->out + at, (size_t)(end - s->out) - at, 0, NULL);

        CHECK(json_is_object(line));
        json_decref(line);
        at = (size_t)(end - s->out) + 1;
    }
    memmove(s->out, s->out + at, s->out_len - at);
    s->out_len -= at;
}

static void
step(struct fuzz_manage *f)
{
    unsigned what = next8(f), n;
    struct mem_stream *s = &f->links[what & 1];

    if (!s->open)
        open_link(f, s);
    switch (what >> 1 & 7) {
    case 0:
        answer_one(f, what >> 4, what & 0x80);
        break;
    case 1:
        manage_event(f->m, "e", json_pack("{s:i}", "n", (int)what));
        break;
    case 2:
        mem_room(&f->loop, s, what & 0x80);
        break;
    case 3:
        mem_advance(&f->loop, (uint64_t)(what >> 4) * 60 * LOOP_NS_PER_S);
        break;
    case 4:
        mem_feed(&f->loop, s, NULL, 0, true);
        break;
    default:
        n = next8(f);
        n |= next8(f) << 8;
        n = n < f->len ? n : (unsigned)f->len;
        mem_feed(&f->loop, s, f->data, n, false);
        f->data += n;
        f->len -= n;
    }
    mem_work(&f->loop);
    if (s->out != NULL)
        check_out(s);
}

void
fuzz_one(const uint8_t *data, size_t len)
{
    static struct fuzz_manage f;
    struct manage_config cfg = {.methods = methods,
                                .user = &f,
                                .uid = 1,
                                .limits = {.calls_max = 4,
                                           .tokens_max = 4,
                                           .kept_max = 1000,
                                           .waiting_max = 4000,
                                           .event_max = 500}};

    f = (struct fuzz_manage){.data = data, .len = len};
    mem_loop_init(&f.loop);
    CHECK(manage_server_new(&f.loop.l, &cfg, &f.m) == 0);
    while (f.len > 0)
        step(&f);
    manage_server_free(&f.m);
    for (unsigned i = 0; i < LINKS; i++) {
        CHECK(!f.links[i].open);
        free(f.links[i].out);
    }
}
