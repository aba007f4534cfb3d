/* SPDX-License-Identifier: MIT */
#include "manage/params.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/suggest.h"

/* Finds a member: 1, 0, or -EINVAL when it is needed. */
static int
params_find(const json_t *params, const char *name, enum manage_need need, const json_t **ret,
            struct lunette_error *err)
{
    *ret = json_object_get(params, name);
    if (*ret != NULL && !json_is_null(*ret))
        return 1;
    if (need == MANAGE_NEEDED)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "\"%s\" is missing", name);
    return 0;
}

static bool
params_printable(const json_t *text)
{
    const char *s = json_string_value(text);

    for (size_t i = 0; i < json_string_length(text); i++)
        if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
            return false;
    return true;
}

/* Is it text of min..max bytes that fits on a line? */
static bool
params_text_ok(const json_t *v, size_t min, size_t max)
{
    return json_is_string(v) && json_string_length(v) >= min && json_string_length(v) <= max &&
           params_printable(v);
}

int
manage_get_text(const json_t *params, const char *name, enum manage_need need, size_t max,
                const char **ret, struct lunette_error *err)
{
    const json_t *v;
    int r = params_find(params, name, need, &v, err);

    if (r <= 0)
        return r;
    if (!params_text_ok(v, 1, max))
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "\"%s\" must be text of 1 to %zu bytes without control characters",
                            name, max);
    *ret = json_string_value(v);
    return 1;
}

int
manage_get_int(const json_t *params, const char *name, enum manage_need need, int64_t min,
               int64_t max, int64_t *ret, struct lunette_error *err)
{
    const json_t *v;
    int r = params_find(params, name, need, &v, err);

    if (r <= 0)
        return r;
    if (!json_is_integer(v) || json_integer_value(v) < min || json_integer_value(v) > max)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "\"%s\" must be a whole number from %lld to %lld", name, (long long)min,
                            (long long)max);
    *ret = json_integer_value(v);
    return 1;
}

int
manage_get_bool(const json_t *params, const char *name, bool *ret, struct lunette_error *err)
{
    const json_t *v;
    int r = params_find(params, name, MANAGE_OPTIONAL, &v, err);

    if (r <= 0)
        return r;
    if (!json_is_boolean(v))
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "\"%s\" must be true or false",
                            name);
    *ret = json_is_true(v);
    return 1;
}

int
manage_get_texts(const json_t *params, const char *name, size_t max, size_t text_max,
                 const json_t **ret, struct lunette_error *err)
{
    const json_t *v;
    int r = params_find(params, name, MANAGE_OPTIONAL, &v, err);
    bool ok = r > 0 && json_is_array(v) && json_array_size(v) <= max;

    if (r <= 0)
        return r;
    for (size_t i = 0; ok && i < json_array_size(v); i++)
        ok = params_text_ok(json_array_get(v, i), 1, text_max);
    if (!ok)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "\"%s\" must be an array of at most %zu texts of 1 to %zu bytes", name,
                            max, text_max);
    *ret = v;
    return 1;
}

int
manage_get_pairs(const json_t *params, const char *name, size_t max, size_t text_max,
                 const json_t **ret, struct lunette_error *err)
{
    const json_t *v;
    int r = params_find(params, name, MANAGE_OPTIONAL, &v, err);
    bool ok = r > 0 && json_is_array(v) && json_array_size(v) <= max;

    if (r <= 0)
        return r;
    for (size_t i = 0; ok && i < json_array_size(v); i++) {
        const json_t *pair = json_array_get(v, i);

        ok = json_is_array(pair) && json_array_size(pair) == 2 &&
             params_text_ok(json_array_get(pair, 0), 1, text_max) &&
             params_text_ok(json_array_get(pair, 1), 0, text_max);
    }
    if (!ok)
        return lunette_fail(
            err, -EINVAL, LUNETTE_DOM_USAGE, 0,
            "\"%s\" must be an array of at most %zu pairs [name, value] of texts of "
            "at most %zu bytes",
            name, max, text_max);
    *ret = v;
    return 1;
}

void
manage_pair(const json_t *pairs, size_t i, const char **ret_name, const char **ret_value)
{
    const json_t *pair = json_array_get(pairs, i);

    *ret_name = json_string_value(json_array_get(pair, 0));
    *ret_value = json_string_value(json_array_get(pair, 1));
}

int
manage_get_word(const json_t *params, const char *name, enum manage_need need,
                const char *const *words, unsigned *ret, struct lunette_error *err)
{
    const json_t *v;
    int r = params_find(params, name, need, &v, err);
    char list[128] = "";

    if (r <= 0)
        return r;
    for (unsigned i = 0; words[i] != NULL; i++) {
        size_t n = strlen(list);

        if (json_is_string(v) && strcmp(json_string_value(v), words[i]) == 0) {
            *ret = i;
            return 1;
        }
        snprintf(list + n, sizeof(list) - n, "%s\"%s\"", i > 0 ? ", " : "", words[i]);
    }
    return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "\"%s\" must be one of %s", name, list);
}

#define MEMBER_MAX 64 /* bytes of a member's name, with the NUL */

/* Is the name among the members?  If not, the nearest one is in near[MEMBER_MAX], or "". */
static bool
params_member(const char *name, const char *members, char *near)
{
    struct suggest s = {.typed = name};
    char word[MEMBER_MAX];
    size_t n;

    near[0] = '\0';
    for (; *members != '\0'; members += n + strspn(members + n, " ")) {
        n = strcspn(members, " ");
        snprintf(word, sizeof(word), "%.*s", (int)n, members);
        if (strcmp(word, name) == 0)
            return true;
        suggest_try(&s, word);
        if (s.best == word) /* which the next one overwrites */
            s.best = memcpy(near, word, sizeof(word));
    }
    return false;
}

int
manage_check_members(const json_t *params, const char *members, struct lunette_error *err)
{
    json_t *p = (json_t *)(uintptr_t)params; /* iterators may change it; ours does not */
    char near[MEMBER_MAX];

    for (void *it = json_object_iter(p); it != NULL; it = json_object_iter_next(p, it)) {
        const char *name = json_object_iter_key(it);

        if (!params_member(name, members, near))
            return lunette_fail(
                err, -EINVAL, LUNETTE_DOM_USAGE, 0, "there is no parameter \"%.64s\"%s%s%s", name,
                near[0] != '\0' ? "; was this meant: \"" : "", near, near[0] != '\0' ? "\"" : "");
    }
    return 0;
}
