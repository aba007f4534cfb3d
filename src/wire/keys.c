/* SPDX-License-Identifier: MIT */
#include "wire/keys.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "wire/bhs.h"
#include "wire/text.h"

#define BINARY_MAX 1024 /* bytes of the longest value of the table that is binary */

/* How many bytes of the peer's value a message shows at most (lunette_fail cleans them). */
#define SHOWN(len) ((len) > 64 ? 64 : (int)(len))

static int
key_fail(struct lunette_error *err, int code, const struct key *k, const char *value, size_t len,
         const char *why)
{
    /* Authentication values never enter a message. */
    bool secret = k->type == KEY_TYPE_BINARY;

    return lunette_fail(err, code, LUNETTE_DOM_PROTO, ISCSI_REJECT_PROTOCOL_ERROR, "%s=%.*s: %s",
                        k->name, secret ? 3 : SHOWN(len), secret ? "..." : value, why);
}

/* The position of word among the words of values, or KEY_NO_NUM. */
static uint64_t
word_index(const char *values, const char *word, size_t len)
{
    struct text_list l;
    const char *at;
    size_t n;

    text_list_init(&l, values, strlen(values));
    for (uint64_t i = 0; text_list_next(&l, &at, &n); i++)
        if (n == len && memcmp(at, word, n) == 0)
            return i;
    return KEY_NO_NUM;
}

static uint64_t
choice_num(const struct key *k, const char *word, size_t len)
{
    uint64_t n;

    if (k->values != NULL)
        return word_index(k->values, word, len);
    return text_parse_num(word, len, &n) == 0 ? n : KEY_NO_NUM;
}

static bool
num_in_range(const struct key *k, uint64_t n)
{
    return (n >= k->min && n <= k->max) || (n == 0 && (k->flags & KEY_FLAG_ZERO) != 0);
}

/* Checks a list of words: none is empty, none but None is a reserved one (RFC 7143 6.2). */
static int
key_check_list(const struct key *k, const char *value, size_t len, struct key_value *v)
{
    struct text_list l;
    const char *at;
    size_t n;

    if (len > k->max)
        return -ERANGE;
    text_list_init(&l, value, len);
    while (text_list_next(&l, &at, &n)) {
        enum text_word w = text_word(at, n);

        if (n == 0)
            return -EINVAL;
        if (w != TEXT_WORD_OTHER && w != TEXT_WORD_NONE)
            return -EPROTO;
    }
    v->num = choice_num(k, value, len);
    if (k->result == KEY_RESULT_DECLARE && v->num == KEY_NO_NUM)
        return -EINVAL;
    return 0;
}

static int
check_num(const struct key *k, const char *value, size_t len, struct key_value *v)
{
    int r = text_parse_num(value, len, &v->num);

    return r < 0 ? r : num_in_range(k, v->num) ? 0 : -ERANGE;
}

static int
key_check_range(const struct key *k, const char *value, size_t len)
{
    uint64_t low, high;
    int r = text_parse_range(value, len, &low, &high);

    return r < 0 ? r : num_in_range(k, low) && num_in_range(k, high) ? 0 : -ERANGE;
}

static int
check_binary(const struct key *k, const char *value, size_t len, struct key_value *v)
{
    uint8_t data[BINARY_MAX];
    int n = text_parse_bin(value, len, data, (size_t)k->max);

    memset(data, 0, sizeof(data));
    if (n < 0)
        return n;
    v->num = (uint64_t)n;
    return v->num >= k->min ? 0 : -ERANGE;
}

static int
check_bool(const char *value, size_t len, struct key_value *v)
{
    bool yes = false;
    int r = text_parse_bool(value, len, &yes);

    v->num = yes;
    return r;
}

static int
check_type(const struct key *k, const char *value, size_t len, struct key_value *v)
{
    switch (k->type) {
    case KEY_TYPE_LIST:
        return key_check_list(k, value, len, v);
    case KEY_TYPE_NUM:
        return check_num(k, value, len, v);
    case KEY_TYPE_BOOL:
        return check_bool(value, len, v);
    case KEY_TYPE_NAME:
    case KEY_TYPE_TEXT:
        return len >= k->min && len <= k->max ? 0 : -ERANGE;
    case KEY_TYPE_BINARY:
        return check_binary(k, value, len, v);
    case KEY_TYPE_RANGE:
        return key_check_range(k, value, len);
    }
    assert(false && "a type without a check");
    return -EINVAL;
}

int
key_check_offer(const struct key *k, const char *value, size_t len, struct key_value *ret,
                struct lunette_error *err)
{
    struct key_value v = {KEY_DECLARED, KEY_NO_NUM, value, len};
    enum text_word w = text_word(value, len);
    bool none_ok = k->type == KEY_TYPE_LIST || k->type == KEY_TYPE_TEXT;
    bool number = k->type == KEY_TYPE_NUM || k->type == KEY_TYPE_RANGE;
    char range[40], why[64];
    int r = -EPROTO;

    if (w == TEXT_WORD_OTHER || (w == TEXT_WORD_NONE && none_ok))
        r = check_type(k, value, len, &v);
    (void)snprintf(range, sizeof(range), "%s%u..%u",
                   (k->flags & KEY_FLAG_ZERO) != 0 && k->min > 0 ? "0 or " : "", (unsigned)k->min,
                   (unsigned)k->max);
    switch (r) {
    case 0:
        *ret = v;
        return 0;
    case -EPROTO:
        return key_fail(err, r, k, value, len, "a reserved word must not be proposed");
    case -ERANGE:
        (void)snprintf(why, sizeof(why), "out of range: want %s%s", range, number ? "" : " bytes");
        return key_fail(err, r, k, value, len, why);
    default:
        if (k->type == KEY_TYPE_NUM)
            (void)snprintf(why, sizeof(why), "not a number: want %s", range);
        else if (k->type == KEY_TYPE_BOOL)
            (void)snprintf(why, sizeof(why), "want Yes or No");
        else
            (void)snprintf(why, sizeof(why), "not a value of this key");
        return key_fail(err, r, k, value, len, why);
    }
}

static void
copy_answer(char answer[KEY_ANSWER_SIZE], const char *text, size_t len)
{
    assert(len < KEY_ANSWER_SIZE);
    memcpy(answer, text, len);
    answer[len] = '\0';
}

/* Chooses the first word of the offer that is in ours; *v is untouched if there is none. */
static bool
choose(const struct key *k, const char *offer, size_t len, const char *ours, struct key_value *v)
{
    struct text_list l;
    const char *at = NULL;
    size_t n = 0;

    text_list_init(&l, offer, len);
    while (text_list_next(&l, &at, &n)) {
        if (!text_list_has(ours, strlen(ours), at, n))
            continue;
        *v = (struct key_value){KEY_AGREED, choice_num(k, at, n), at, n};
        return true;
    }
    return false;
}

static uint64_t
combine(enum key_result how, uint64_t a, uint64_t b)
{
    switch (how) {
    case KEY_RESULT_MIN:
    case KEY_RESULT_AND:
        return a < b ? a : b;
    case KEY_RESULT_MAX:
    case KEY_RESULT_OR:
        return a > b ? a : b;
    case KEY_RESULT_DECLARE:
    case KEY_RESULT_FIRST:
    case KEY_RESULT_QUERY:
    case KEY_RESULT_REJECT:
        break;
    }
    assert(false && "no function of two numbers");
    return a;
}

/* Makes the admissible answer to a well-formed offer; false: there is none. */
static bool
agree(const struct key *k, const struct key_value *offer, const char *ours,
      char answer[KEY_ANSWER_SIZE], struct key_value *v)
{
    struct key_value mine = {0};
    int r;

    if (k->result == KEY_RESULT_REJECT)
        return false;
    if (k->result == KEY_RESULT_FIRST) {
        if (!choose(k, offer->text, offer->len, ours, v))
            return false;
        copy_answer(answer, v->text, v->len);
        return true;
    }
    r = check_type(k, ours, strlen(ours), &mine);
    assert(r == 0); /* what we want must be legal itself */
    (void)r;
    *v = (struct key_value){.outcome = KEY_AGREED};
    v->num = combine(k->result, offer->num, mine.num);
    if (k->type == KEY_TYPE_BOOL)
        (void)snprintf(answer, KEY_ANSWER_SIZE, "%s", v->num != 0 ? TEXT_YES : TEXT_NO);
    else
        (void)snprintf(answer, KEY_ANSWER_SIZE, "%llu", (unsigned long long)v->num);
    return true;
}

int /* the two texts, and where three results go: NOLINTNEXTLINE(readability-function-size) */
key_answer(const struct key *k, const char *value, size_t len, const char *ours,
           char answer[KEY_ANSWER_SIZE], struct key_value *ret, struct lunette_error *err)
{
    bool declared = k->result == KEY_RESULT_DECLARE || k->result == KEY_RESULT_QUERY;
    struct key_value offer = {0};
    int r = key_check_offer(k, value, len, &offer, err);

    if (r == -EPROTO || (r < 0 && declared))
        return -EPROTO;
    if (declared) {
        answer[0] = '\0';
        *ret = offer;
        return 0;
    }
    if (r < 0 || !agree(k, &offer, ours, answer, ret)) {
        copy_answer(answer, TEXT_REJECT, strlen(TEXT_REJECT));
        *ret = (struct key_value){.outcome = KEY_REJECTED};
    }
    return 0;
}

/* Can the result function yield answer from offer and anything (RFC 7143 6.2.2)? */
static bool
admissible(const struct key *k, const struct key_value *offer, const struct key_value *answer)
{
    switch (k->result) {
    case KEY_RESULT_MIN:
    case KEY_RESULT_AND:
        return answer->num <= offer->num;
    case KEY_RESULT_MAX:
    case KEY_RESULT_OR:
        return answer->num >= offer->num;
    case KEY_RESULT_FIRST:
        return memchr(answer->text, ',', answer->len) == NULL &&
               text_list_has(offer->text, offer->len, answer->text, answer->len);
    case KEY_RESULT_DECLARE:
    case KEY_RESULT_QUERY:
    case KEY_RESULT_REJECT:
        break;
    }
    return false; /* nothing but the reserved words answers these */
}

int
key_check_answer(const struct key *k, const char *offer, const char *answer, size_t len,
                 struct key_value *ret, struct lunette_error *err)
{
    struct key_value ours = {.num = 0, .text = offer, .len = strlen(offer)};
    struct key_value v = {KEY_AGREED, KEY_NO_NUM, answer, len};
    int r = 0;

    switch (text_word(answer, len)) {
    case TEXT_WORD_REJECT:
        *ret = (struct key_value){.outcome = KEY_REJECTED};
        return 0;
    case TEXT_WORD_IRRELEVANT:
        *ret = (struct key_value){.outcome = KEY_IRRELEVANT};
        return 0;
    case TEXT_WORD_NOT_UNDERSTOOD:
        if ((k->flags & KEY_FLAG_LATER) == 0)
            return key_fail(err, -EPROTO, k, answer, len, "every peer must understand this key");
        *ret = (struct key_value){.outcome = KEY_NOT_UNDERSTOOD};
        return 0;
    case TEXT_WORD_NONE:
        if (k->type != KEY_TYPE_LIST)
            return key_fail(err, -EPROTO, k, answer, len, "not a list");
        break;
    case TEXT_WORD_OTHER:
        break;
    }
    if (len == 0 || check_type(k, answer, len, &v) < 0)
        return key_fail(err, -EPROTO, k, answer, len, "not an answer of this key");
    if (k->type != KEY_TYPE_LIST)
        r = check_type(k, offer, ours.len, &ours);
    assert(r == 0); /* we offered it */
    (void)r;
    if (!admissible(k, &ours, &v))
        return lunette_fail(err, -EPROTO, LUNETTE_DOM_PROTO, ISCSI_REJECT_PROTOCOL_ERROR,
                            "%s=%.*s does not answer our offer %.*s", k->name, SHOWN(len), answer,
                            SHOWN(ours.len), offer);
    *ret = v;
    return 0;
}

bool
key_answer_optional(const struct key *k, const char *offer)
{
    switch (k->result) {
    case KEY_RESULT_DECLARE:
    case KEY_RESULT_QUERY:
        return true;
    case KEY_RESULT_AND:
        return strcmp(offer, TEXT_NO) == 0;
    case KEY_RESULT_OR:
        return strcmp(offer, TEXT_YES) == 0;
    case KEY_RESULT_MIN:
    case KEY_RESULT_MAX:
    case KEY_RESULT_FIRST:
    case KEY_RESULT_REJECT:
        break;
    }
    return false;
}

int
key_check_context(const struct key *k, const struct key_context *ctx, struct lunette_error *err)
{
    unsigned use = ctx->from_target ? k->use_target : k->use_initiator;
    const char *why = NULL;

    if (use == 0)
        why = ctx->from_target ? "a target must not send it" : "an initiator must not send it";
    else if (ctx->stage == 0 && (use & KEY_USE_FFP) == 0)
        why = "only allowed during login";
    else if (ctx->stage != 0 && (use & KEY_USE_LOGIN) == 0)
        why = "not allowed during login";
    else if (ctx->stage != 0 && (ctx->stage & k->stage) == 0)
        why = "not allowed in this stage of login";
    else if ((use & KEY_USE_LEADING) != 0 && !ctx->leading)
        why = "only allowed on the leading connection";
    if (why == NULL)
        return 0;
    return lunette_fail(err, -EPROTO, LUNETTE_DOM_PROTO, ISCSI_REJECT_PROTOCOL_ERROR, "%s: %s",
                        k->name, why);
}

bool
key_irrelevant(const struct key *k, bool discovery, const struct iscsi_params *p)
{
    switch (k->irrelevant) {
    case KEY_IRR_0:
        return false;
    case KEY_IRR_DISCOVERY:
        return discovery;
    case KEY_IRR_UNSOLICITED:
        return discovery || (p->initial_r2t && !p->immediate_data);
    case KEY_IRR_ISER:
        return p->rdma_extensions;
    case KEY_IRR_NOT_ISER:
        return discovery || !p->rdma_extensions;
    }
    assert(false && "a condition without a test");
    return false;
}

bool
key_set_has(const struct key_set *s, enum key_id id)
{
    assert((unsigned)id < KEY_COUNT);
    return (s->bits >> id & 1) != 0;
}

bool
key_set_add(struct key_set *s, const struct key *k)
{
    bool had = key_set_has(s, k->id);

    s->bits |= (uint64_t)1 << k->id;
    return !had || (k->flags & KEY_FLAG_REPEAT) != 0;
}
