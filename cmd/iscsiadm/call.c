/* SPDX-License-Identifier: MIT */
/* Requests to the daemon, and members of its answers. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/iscsiadm/adm.h"

static void
call_say(const char *fmt, va_list ap)
{
    /* What was printed before stands before it. */
    (void)fflush(stdout);
    (void)fputs("iscsiadm: ", stderr);
    (void)vfprintf(stderr, fmt, ap);
    (void)fputc('\n', stderr);
}

void
adm_error(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    call_say(fmt, ap);
    va_end(ap);
}

void
adm_advice(const struct adm_args *a, const char *fmt, ...)
{
    va_list ap;

    if (a->debug == 0 && !isatty(STDERR_FILENO))
        return;
    va_start(ap, fmt);
    call_say(fmt, ap);
    va_end(ap);
}

/* There may be a password in it. */
static void
call_free_text(char *text, size_t len)
{
    if (text != NULL)
        explicit_bzero(text, len);
    free(text);
}

/* Makes text fit for a terminal: a name or a reason may come from a target.  Control characters of
 * ASCII become question marks, and so do those that UTF-8 writes as C2h 80h..9Fh. */
static void
call_clean_text(json_t *text)
{
    size_t len = json_string_length(text);
    char *copy = strdup(json_string_value(text)), *p = copy;
    bool changed = false;

    for (; p != NULL && *p != '\0'; p++) {
        bool c1 = (unsigned char)p[0] == 0xc2 && (unsigned char)p[1] < 0xa0;

        if ((unsigned char)*p >= 0x20 && *p != 0x7f && !c1)
            continue;
        if (c1)
            *p++ = '?';
        *p = '?';
        changed = true;
    }
    if (changed)
        (void)json_string_set(text, copy);
    call_free_text(copy, len);
}

static void
call_clean(json_t *o)
{
    if (json_is_string(o))
        call_clean_text(o);
    for (void *it = json_object_iter(o); it != NULL; it = json_object_iter_next(o, it))
        call_clean(json_object_iter_value(it));
    for (size_t i = 0; i < json_array_size(o); i++)
        call_clean(json_array_get(o, i));
}

static void
call_progress(void *user, json_t *progress)
{
    const struct adm_request *rq = user;

    call_clean(progress);
    if (rq->progress != NULL)
        rq->progress(rq->user, progress);
}

/* Nothing may be wrong: a target that is away is tried for minutes. */
static void
call_is_slow(struct loop_timer *t)
{
    const struct adm *adm = container_of(t, struct adm, patience);
    char options[INSTANCE_OPTIONS_MAX];

    adm_advice(&adm->args,
               "there is no answer yet; `iscsiadm%s -m session --why' says what is waited for, and "
               "Ctrl-C leaves it to the daemon",
               instance_options(&adm->at, options));
}

int
adm_call_failure(struct adm *adm, const struct adm_request *rq, json_t **ret,
                 struct manage_failure *fail)
{
    int r = adm_connect(adm);

    *fail = (struct manage_failure){.exit = r};
    if (r != 0) {
        json_decref(rq->params);
        return r;
    }
    loop_timer_init(&adm->patience, call_is_slow);
    if (rq->silence_ms == ADM_REACH_MS)
        loop_timer_start(adm->loop, &adm->patience, ADM_WAIT_MS * LOOP_NS_PER_MS);
    r = manage_client_request(adm->client, rq->method, NULL, rq->params, rq->silence_ms,
                              call_progress, (void *)(uintptr_t)rq, ret, fail);
    loop_timer_stop(adm->loop, &adm->patience);
    if (r == 0) {
        call_clean(*ret);
        return 0;
    }
    if (!rq->quiet)
        adm_error("%s",
                  rq->none != NULL && fail->exit == MANAGE_NOT_FOUND ? rq->none : fail->message);
    return fail->exit;
}

int
adm_call(struct adm *adm, const struct adm_request *rq, json_t **ret)
{
    struct manage_failure fail;

    return adm_call_failure(adm, rq, ret, &fail);
}

int
adm_read(struct adm *adm, const char *method, json_t *params, const char *none, json_t **ret)
{
    const struct adm_request rq = {
        .method = method, .params = params, .silence_ms = ADM_READ_MS, .none = none};

    return adm_call(adm, &rq, ret);
}

json_t *
adm_made(json_t *v)
{
    if (v != NULL)
        return v;
    adm_error("out of memory, or what was given is no text in UTF-8");
    exit(MANAGE_INVALID);
}

void
adm_put(json_t *o, const char *name, json_t *v)
{
    if (json_object_set_new(o, name, adm_made(v)) < 0)
        (void)adm_made(NULL);
}

void
adm_append(json_t *list, json_t *v)
{
    if (json_array_append_new(list, adm_made(v)) < 0)
        (void)adm_made(NULL);
}

const char *
adm_text(const json_t *o, const char *name)
{
    const char *text = json_string_value(json_object_get(o, name));

    return text != NULL ? text : "";
}

int64_t
adm_number(const json_t *o, const char *name)
{
    return json_integer_value(json_object_get(o, name));
}

const json_t *
adm_list(const json_t *o, const char *name)
{
    const json_t *list = json_object_get(o, name);

    return json_is_array(list) ? list : NULL;
}

int
adm_print_json(const json_t *result)
{
    char *text = json_dumps(result, JSON_INDENT(2) | JSON_ENCODE_ANY);

    if (text == NULL) {
        adm_error("out of memory");
        return MANAGE_NO_MEMORY;
    }
    (void)puts(text);
    call_free_text(text, strlen(text));
    return 0;
}

int
adm_print_list(const struct adm *adm, json_t *result, const char *member,
               void (*print)(const json_t *o), const char *none)
{
    const json_t *list = adm_list(result, member);
    bool empty = json_array_size(list) == 0 && none != NULL;
    int r = adm->args.json ? adm_print_json(result) : 0;

    for (size_t i = 0; !adm->args.json && i < json_array_size(list); i++)
        print(json_array_get(list, i));
    if (empty)
        adm_error("%s", none);
    json_decref(result);
    return r == 0 && empty ? MANAGE_NOT_FOUND : r;
}

int
adm_show(struct adm *adm, const char *method, json_t *params, const char *member,
         void (*print)(const json_t *o), const char *none)
{
    json_t *result;
    int r = adm_read(adm, method, params, none, &result);

    return r == 0 ? adm_print_list(adm, result, member, print, none) : r;
}
