/* SPDX-License-Identifier: MIT */
#include "manage/line.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "manage/wipe.h"

/* More than the buffer of jansson's lexer takes for a token of len bytes, as that doubles. */
#define LINE_LEXER_MEMORY(len) (4 * ((len) + 64))

/* Counts what a parser would have to hold.  Returns NULL and the length of the longest token, or
 * what is wrong.  Whether it is JSON at all is found out later: outside of strings every bracket
 * counts, inside none does. */
static const char *
line_measure(const char *text, size_t len, size_t values_max, size_t *ret_token)
{
    size_t depth = 0, values = 1, token = 0;
    bool quoted = false;

    *ret_token = 0;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];

        if (!quoted && strchr("{}[],: \t\"", c) != NULL)
            token = 0;
        if (++token > *ret_token)
            *ret_token = token;
        if (quoted) {
            if (c == '\\') {
                i++;
                token++;
            } else if (c == '"') {
                quoted = false;
            }
        } else if (c == '"') {
            quoted = true;
        } else if (c == '{' || c == '[') {
            values++;
            if (++depth > MANAGE_DEPTH_MAX)
                return "objects and arrays are too deep within each other";
        } else if (c == '}' || c == ']') {
            depth -= depth > 0 ? 1 : 0;
        } else if (c == ',') {
            values++;
        }
        if (values > values_max)
            return "it holds too many values";
    }
    return NULL;
}

/* A line while it is read. */
struct line_feed {
    const char *at, *end;
    unsigned long shortages; /* before it was */
};

/* One byte at a time, and none once memory was short: so the lexer's buffer grows once after that
 * at the most. */
static size_t
line_feed_on(void *buf, size_t room, void *user)
{
    struct line_feed *f = user;

    if (f->at == f->end || room == 0 || manage_json_shortages() != f->shortages)
        return 0;
    *(char *)buf = *f->at++;
    return 1;
}

int
manage_line_parse(const char *text, size_t len, size_t values_max, json_t **ret,
                  struct lunette_error *err)
{
    size_t token = 0;
    const char *wrong = line_measure(text, len, values_max, &token);
    struct line_feed feed = {text, text + len, manage_json_shortages()};
    json_error_t why = {.position = 0};
    json_t *line;

    if (wrong != NULL)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "a line is refused: %s", wrong);
    if (manage_json_reserve(LINE_LEXER_MEMORY(token)) < 0)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "out of memory");
    line = json_load_callback(line_feed_on, &feed, JSON_REJECT_DUPLICATES, &why);
    if (manage_json_shortages() != feed.shortages) {
        json_decref(line);
        line = NULL;
    }
    manage_json_unreserve();
    if (line == NULL &&
        manage_json_shortages() != feed.shortages) /* what jansson says is not true */
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "out of memory");
    if (line == NULL)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "a line is no JSON object: see near its byte %d", why.position);
    if (!json_is_object(line)) {
        json_decref(line);
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "a line must be a JSON object");
    }
    *ret = line;
    return 0;
}

static bool
line_id_ok(const json_t *id)
{
    return id == NULL || json_is_null(id) || json_is_number(id) ||
           (json_is_string(id) && json_string_length(id) <= MANAGE_ID_MAX);
}

static int
line_text(const json_t *line, const char *name, size_t max, const char **ret,
          struct lunette_error *err)
{
    const json_t *v = json_object_get(line, name);

    *ret = NULL;
    if (v == NULL)
        return 0;
    if (!json_is_string(v) || json_string_length(v) == 0 || json_string_length(v) > max)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "\"%s\" must be text of 1 to %zu bytes", name, max);
    *ret = json_string_value(v);
    return 0;
}

int
manage_line_request(json_t *line, struct manage_line_request *ret, struct lunette_error *err)
{
    json_t *id = json_object_get(line, "id");
    int r;

    *ret = (struct manage_line_request){.id = NULL};
    if (!line_id_ok(id))
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "\"id\" must be a number, null, or text of at most %d bytes",
                            MANAGE_ID_MAX);
    ret->id = id;
    r = line_text(line, "method", MANAGE_METHOD_MAX, &ret->method, err);
    if (r == 0)
        r = line_text(line, "token", MANAGE_TOKEN_MAX, &ret->token, err);
    if (r < 0)
        return r;
    if (ret->method == NULL)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "a request must have a \"method\", such as \"hello\"");
    ret->params = json_object_get(line, "params");
    if (ret->params != NULL && !json_is_object(ret->params))
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "\"params\" must be an object");
    return 0;
}

/* A line while it is written. */
struct line_text {
    char *at;
    size_t len, room;
    bool failed;
};

static void
line_text_free(struct line_text *t)
{
    if (t->at != NULL)
        explicit_bzero(t->at, t->len); /* there may be secrets in it */
    free(t->at);
}

/* Once it has failed it keeps failing, since jansson goes on after a failure at the name of a
 * member and would leave a part out. */
static int
line_text_more(const char *more, size_t len, void *text)
{
    struct line_text *t = text;

    if (t->failed)
        return -1;
    if (len > t->room - t->len) {
        struct line_text wider = {.room = t->room > 0 ? t->room * 2 : 512, .len = t->len};

        while (len > wider.room - wider.len)
            wider.room *= 2;
        wider.at = malloc(wider.room);
        t->failed = wider.at == NULL;
        if (t->failed)
            return -1;
        if (t->len > 0)
            memcpy(wider.at, t->at, t->len);
        line_text_free(t);
        *t = wider;
    }
    memcpy(t->at + t->len, more, len);
    t->len += len;
    return 0;
}

void
manage_line_send(struct manage_peer *p, const json_t *line)
{
    struct line_text t = {.at = NULL};

    if (line == NULL || json_dump_callback(line, line_text_more, &t, JSON_COMPACT) < 0 || t.failed)
        manage_peer_end(p, "there is no memory for it");
    else
        manage_peer_send(p, t.at, t.len);
    line_text_free(&t);
}
