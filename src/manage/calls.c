/* SPDX-License-Identifier: MIT */
#include "manage/calls.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/htab.h"
#include "manage/wipe.h"

/* Somebody who waits for the answer of a call. */
struct asker {
    struct list node;
    struct manage_peer *peer; /* NULL: it is inside the daemon, and done is called */
    json_t *id;               /* owned, or NULL */
    void (*done)(void *user, const json_t *answer);
    void *user;
};

struct manage_call {
    struct list node;
    struct manage_calls *all;
    struct list askers;
    const char *method; /* of the server's table */
    uid_t uid;
    bool of_peer;            /* a peer has begun it */
    pid_t pid;               /* of the first who asked; 0: the daemon itself */
    char *token;             /* NULL: none */
    unsigned long shortages; /* of memory for JSON, that there were before it */
    uint64_t params;         /* what it was asked with, as a hash, since secrets may be among it */
    void (*gone)(void *user, struct manage_call *c);
    void *gone_user;
    /* of an answer that is remembered: */
    json_t *answer; /* {"result": ...} or {"error": ...} */
    size_t bytes;
    uint64_t ended_ns;
};

void
manage_calls_init(struct manage_calls *all, struct loop *l)
{
    *all = (struct manage_calls){.loop = l};
    list_init(&all->under_way);
    list_init(&all->kept);
}

static void
asker_free(struct asker *a)
{
    list_del(&a->node);
    if (a->peer != NULL)
        a->peer->calls--;
    json_decref(a->id);
    if (a->done != NULL)
        a->done(a->user, NULL);
    free(a);
}

static void
call_forget(struct manage_call *c)
{
    LIST_FOREACH_SAFE (n, &c->askers)
        asker_free(container_of(n, struct asker, node));
    list_del(&c->node);
    if (c->token != NULL)
        c->all->tokens--;
    if (c->answer != NULL)
        c->all->kept_bytes -= c->bytes;
    json_decref(c->answer);
    free(c->token);
    free(c);
}

void
manage_calls_fini(struct manage_calls *all)
{
    LIST_FOREACH_SAFE (n, &all->under_way)
        call_forget(container_of(n, struct manage_call, node));
    LIST_FOREACH_SAFE (n, &all->kept)
        call_forget(container_of(n, struct manage_call, node));
}

/* Sends {"id": id, ...answer}. */
static void
peer_send_answer(struct manage_peer *p, json_t *id, json_t *answer)
{
    json_t *line = json_object();

    if (line != NULL && ((id != NULL && json_object_set(line, "id", id) < 0) ||
                         json_object_update(line, answer) < 0)) {
        json_decref(line);
        line = NULL;
    }
    manage_line_send(p, line);
    json_decref(line);
}

json_t *
manage_error_json(enum manage_code code, const char *message)
{
    /* The text may quote a peer, which need not be UTF-8; then only its readable part is told. */
    char clean[MANAGE_MESSAGE_MAX];

    return json_pack("{s:s, s:i, s:s}", "code", manage_code_name((int)code), "exit", (int)code,
                     "message", log_clean(clean, sizeof(clean), message, strlen(message)));
}

void
manage_calls_refuse(struct manage_peer *p, json_t *id, enum manage_code code, const char *message)
{
    json_t *answer = json_pack("{s:o}", "error", manage_error_json(code, message));

    if (answer == NULL)
        manage_peer_end(p, "there is no memory for it");
    else
        peer_send_answer(p, id, answer);
    json_decref(answer);
}

/* Forgets the answers that are too old, and the oldest ones until `bytes` more have room. */
static void
calls_forget(struct manage_calls *all, size_t bytes)
{
    LIST_FOREACH_SAFE (n, &all->kept) {
        struct manage_call *c = container_of(n, struct manage_call, node);

        if (all->loop->now_ns - c->ended_ns < MANAGE_TOKEN_LIFE_S * LOOP_NS_PER_S &&
            all->tokens <= all->tokens_max && all->kept_bytes + bytes <= all->kept_max)
            return;
        call_forget(c);
    }
}

static struct manage_call *
calls_find(struct manage_calls *all, uid_t uid, const char *token)
{
    struct list *const lists[] = {&all->under_way, &all->kept};

    for (unsigned i = 0; i < 2; i++) {
        LIST_FOREACH (n, lists[i]) {
            struct manage_call *c = container_of(n, struct manage_call, node);

            if (c->token != NULL && c->uid == uid && strcmp(c->token, token) == 0)
                return c;
        }
    }
    return NULL;
}

static int
call_add_asker(struct manage_call *c, struct manage_peer *p, json_t *id)
{
    struct asker *a = calloc(1, sizeof(*a));

    if (a == NULL)
        return -ENOMEM;
    a->peer = p;
    a->id = json_incref(id);
    p->calls++;
    list_push_back(&c->askers, &a->node);
    return 0;
}

static int
params_hash_more(const char *text, size_t len, void *hash)
{
    *(uint64_t *)hash = hash_bytes(*(uint64_t *)hash, text, len);
    return 0;
}

/* Fails where there is no memory. */
static int
params_hash(const json_t *params, uint64_t *ret)
{
    *ret = 0;
    if (json_object_size(params) == 0)
        return 0;
    return json_dump_callback(params, params_hash_more, ret, JSON_COMPACT | JSON_SORT_KEYS);
}

void
manage_calls_tell(void (*done)(void *user, const json_t *answer), void *user, enum manage_code code,
                  const char *message)
{
    json_t *answer = json_pack("{s:o}", "error", manage_error_json(code, message));

    done(user, answer);
    json_decref(answer);
}

int
manage_calls_begin_inside(struct manage_calls *all, const char *method, uid_t uid,
                          void (*done)(void *user, const json_t *answer), void *user,
                          struct manage_call **ret)
{
    struct manage_call *c = calloc(1, sizeof(*c));
    struct asker *a = calloc(1, sizeof(*a));

    if (c == NULL || a == NULL) {
        free(c);
        free(a);
        return -ENOMEM;
    }
    c->all = all;
    c->shortages = manage_json_shortages();
    c->method = method;
    c->uid = uid;
    list_init(&c->askers);
    a->done = done;
    a->user = user;
    list_push_back(&c->askers, &a->node);
    list_push_back(&all->under_way, &c->node);
    *ret = c;
    return 0;
}

/* The same token again. */
static void
call_join(struct manage_call *c, struct manage_peer *p, const char *method,
          const struct manage_line_request *rq)
{
    uint64_t params;

    if (params_hash(rq->params, &params) < 0)
        manage_calls_refuse(p, rq->id, MANAGE_NO_MEMORY, "out of memory");
    else if (params != c->params)
        manage_calls_refuse(p, rq->id, MANAGE_INVALID,
                            "the token was used with other parameters; take a new one for each "
                            "thing that is to be done");
    else if (strcmp(c->method, method) != 0)
        manage_calls_refuse(p, rq->id, MANAGE_INVALID,
                            "the token was used for another method; take a new one for each thing "
                            "that is to be done");
    else if (c->answer != NULL)
        peer_send_answer(p, rq->id, c->answer);
    else if (call_add_asker(c, p, rq->id) < 0)
        manage_calls_refuse(p, rq->id, MANAGE_NO_MEMORY, "out of memory");
}

static struct manage_call *
call_make(struct manage_calls *all, struct manage_peer *p, const char *method,
          const struct manage_line_request *rq)
{
    struct manage_call *c = calloc(1, sizeof(*c));

    if (c == NULL)
        return NULL;
    c->all = all;
    c->shortages = manage_json_shortages();
    c->method = method;
    c->uid = p->uid;
    c->pid = p->pid;
    list_init(&c->node);
    list_init(&c->askers);
    if (rq->token != NULL) {
        c->token = strdup(rq->token);
        all->tokens += c->token != NULL ? 1 : 0;
    }
    if ((rq->token != NULL && (c->token == NULL || params_hash(rq->params, &c->params) < 0)) ||
        call_add_asker(c, p, rq->id) < 0) {
        call_forget(c);
        return NULL;
    }
    list_push_back(&all->under_way, &c->node);
    c->of_peer = true;
    all->of_peers++;
    return c;
}

int
manage_calls_begin(struct manage_calls *all, struct manage_peer *p, const char *method,
                   const struct manage_line_request *rq, struct manage_call **ret)
{
    struct manage_call *c;

    if (p->calls >= all->per_peer_max) {
        manage_calls_refuse(p, rq->id, MANAGE_BUSY,
                            "too many requests of this connection are under way; wait for the "
                            "answer of one of them");
        return 0;
    }
    if (rq->token != NULL) {
        calls_forget(all, 0);
        c = calls_find(all, p->uid, rq->token);
        if (c != NULL) {
            call_join(c, p, method, rq);
            return 0;
        }
        if (all->tokens >= all->tokens_max && list_empty(&all->kept)) {
            manage_calls_refuse(p, rq->id, MANAGE_BUSY,
                                "too many requests with tokens are under way; try again later");
            return 0;
        }
    }
    if (all->of_peers >= all->under_way_max) { /* most of them of peers who did not wait */
        manage_calls_refuse(p, rq->id, MANAGE_BUSY,
                            "too many requests are under way; try again later");
        return 0;
    }
    c = call_make(all, p, method, rq);
    if (c == NULL) {
        manage_calls_refuse(p, rq->id, MANAGE_NO_MEMORY, "out of memory");
        return 0;
    }
    calls_forget(all, 0);
    *ret = c;
    return 1;
}

/* Those wait no more who have asked through the peer, or, where p is NULL, with that user. */
static void
calls_drop_askers(struct manage_calls *all, const struct manage_peer *p, const void *user)
{
    LIST_FOREACH_SAFE (n, &all->under_way) {
        struct manage_call *c = container_of(n, struct manage_call, node);
        bool asked = !list_empty(&c->askers);

        LIST_FOREACH_SAFE (m, &c->askers) {
            struct asker *a = container_of(m, struct asker, node);

            if (a->peer != p || (p == NULL && a->user != user))
                continue;
            a->done = NULL;
            asker_free(a);
        }
        if (asked && list_empty(&c->askers) && c->token == NULL && c->gone != NULL)
            c->gone(c->gone_user, c);
    }
}

void
manage_calls_peer_gone(struct manage_calls *all, struct manage_peer *p)
{
    calls_drop_askers(all, p, NULL);
}

void
manage_calls_forget_inside(struct manage_calls *all, const void *user)
{
    calls_drop_askers(all, NULL, user);
}

/* Remembers the answer, or forgets the call.  What is too large to be kept is remembered as done.
 */
static void
call_keep(struct manage_call *c, json_t *answer)
{
    struct manage_calls *all = c->all;
    size_t bytes = c->token != NULL ? json_dumpb(answer, NULL, 0, JSON_COMPACT) : 0;

    LIST_FOREACH_SAFE (n, &c->askers)
        asker_free(container_of(n, struct asker, node));
    if (c->token == NULL) {
        json_decref(answer);
        call_forget(c);
        return;
    }
    if (bytes > all->kept_max / 8) {
        json_decref(answer);
        answer = json_pack("{s:o}", "error",
                           manage_error_json(MANAGE_AGAIN, "it was carried out, but its result is "
                                                           "too large to be told a second time"));
        bytes = 256;
    }
    list_del(&c->node);
    if (answer == NULL) {
        call_forget(c);
        return;
    }
    calls_forget(all, bytes);
    c->answer = answer;
    c->bytes = bytes;
    c->ended_ns = all->loop->now_ns;
    all->kept_bytes += bytes;
    list_push_back(&all->kept, &c->node);
}

/* Tells somebody inside the daemon. */
static void
asker_tell(struct asker *a, const json_t *answer)
{
    void (*done)(void *user, const json_t *answer) = a->done;

    a->done = NULL;
    done(a->user, answer);
}

/* Sends the answer to all who wait for it; NULL: there is no memory for it. */
static void
call_tell(struct manage_call *c, json_t *answer)
{
    LIST_FOREACH (n, &c->askers) {
        struct asker *a = container_of(n, struct asker, node);

        if (a->peer == NULL)
            asker_tell(a, answer);
        else if (answer != NULL)
            peer_send_answer(a->peer, a->id, answer);
        else
            manage_peer_end(a->peer, "there is no memory for it");
    }
}

/* Sends the answer, which is taken, to all who wait for it. */
static void
call_finish(struct manage_call *c, json_t *answer)
{
    c->all->of_peers -= c->of_peer ? 1 : 0;
    call_tell(c, answer);
    if (answer == NULL)
        call_forget(c);
    else
        call_keep(c, answer);
}

void
manage_reply(struct manage_call *c, json_t *result)
{
    if (result != NULL && manage_json_shortages() != c->shortages) {
        json_decref(result); /* which may lack members */
        result = NULL;
    }
    if (result == NULL)
        manage_fail(c, MANAGE_NO_MEMORY,
                    "there was no memory for the answer; it may have been carried out");
    else
        call_finish(c, json_pack("{s:o}", "result", result));
}

void
manage_fail(struct manage_call *c, enum manage_code code, const char *fmt, ...)
{
    char text[MANAGE_MESSAGE_MAX];
    va_list ap;

    if (code == MANAGE_NOT_FOUND && manage_json_shortages() != c->shortages) {
        code = MANAGE_NO_MEMORY; /* a list may be empty for want of memory */
        fmt = "there was no memory to look for it";
    }
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    call_finish(c, json_pack("{s:o}", "error", manage_error_json(code, text)));
}

void
manage_give_up(struct manage_call *c, enum manage_code code, const char *fmt, ...)
{
    char text[MANAGE_MESSAGE_MAX];
    json_t *answer;
    va_list ap;

    if (list_empty(&c->askers))
        return;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    answer = json_pack("{s:o}", "error", manage_error_json(code, text));
    call_tell(c, answer);
    json_decref(answer);
    LIST_FOREACH_SAFE (n, &c->askers)
        asker_free(container_of(n, struct asker, node));
    if (c->token == NULL && c->gone != NULL)
        c->gone(c->gone_user, c);
}

void
manage_fail_error(struct manage_call *c, const struct lunette_error *err)
{
    manage_fail(c, manage_code_of_errno(err->code), "%s", err->msg);
}

void
manage_progress(struct manage_call *c, json_t *progress)
{
    json_t *line = progress != NULL ? json_pack("{s:o}", "progress", progress) : NULL;

    if (line == NULL)
        return;
    LIST_FOREACH (n, &c->askers) {
        struct asker *a = container_of(n, struct asker, node);

        if (a->peer != NULL)
            peer_send_answer(a->peer, a->id, line);
    }
    json_decref(line);
}

uid_t
manage_call_uid(const struct manage_call *c)
{
    return c->uid;
}

pid_t
manage_call_pid(const struct manage_call *c)
{
    return c->pid;
}

void
manage_call_on_gone(struct manage_call *c, void (*fn)(void *user, struct manage_call *c),
                    void *user)
{
    c->gone = fn;
    c->gone_user = user;
}
