/* SPDX-License-Identifier: MIT */
/* tests/bench/null_login.c - the bare target lets everyone in. */
#include "tests/bench/null_target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct text {
    char b[8192];
    uint32_t len;
};

static void
say(struct text *t, const char *key, const char *value)
{
    int n = snprintf(t->b + t->len, sizeof(t->b) - t->len, "%s=%s", key, value);

    if (n >= 0 && (size_t)n + 1 < sizeof(t->b) - t->len)
        t->len += (uint32_t)n + 1;
}

static void
say_number(struct text *t, const char *key, uint32_t value)
{
    char number[16];

    (void)snprintf(number, sizeof(number), "%u", value);
    say(t, key, number);
}

static bool
say_bool(struct text *t, const char *key, bool value)
{
    say(t, key, value ? "Yes" : "No");
    return value;
}

static bool
say_digest(struct text *t, const char *key, const char *offered)
{
    bool on = strncmp(offered, "CRC32C", 6) == 0;

    say(t, key, on ? "CRC32C" : "None");
    return on;
}

/* Keys that are answered the same whatever is offered, and those that want no answer. */
static const struct {
    const char *key, *value;
} fixed_keys[] = {
    {"AuthMethod", "None"},         {"MaxOutstandingR2T", "1"},  {"MaxConnections", "1"},
    {"ErrorRecoveryLevel", "0"},    {"DefaultTime2Retain", "0"}, {"DataPDUInOrder", "Yes"},
    {"DataSequenceInOrder", "Yes"}, {"IFMarker", "No"},          {"OFMarker", "No"},
    {"InitiatorName", NULL},        {"InitiatorAlias", NULL},    {"TargetName", NULL},
    {"SessionType", NULL},
};

static void
fixed_key(struct text *t, const char *key)
{
    for (size_t i = 0; i < sizeof(fixed_keys) / sizeof(fixed_keys[0]); i++) {
        if (strcmp(key, fixed_keys[i].key) == 0) {
            if (fixed_keys[i].value != NULL)
                say(t, key, fixed_keys[i].value);
            return;
        }
    }
    say(t, key, "NotUnderstood");
}

static uint32_t
smaller(struct text *t, const char *key, uint32_t a, uint32_t b)
{
    say_number(t, key, a < b ? a : b);
    return a < b ? a : b;
}

static void
login_key(struct conn *c, struct text *t, const char *key, const char *value)
{
    uint32_t n = (uint32_t)strtoul(value, NULL, 0);
    bool yes = value[0] == 'Y';

    if (strcmp(key, "HeaderDigest") == 0) {
        c->header_digest = say_digest(t, key, value);
    } else if (strcmp(key, "DataDigest") == 0) {
        c->data_digest = say_digest(t, key, value);
    } else if (strcmp(key, "MaxRecvDataSegmentLength") == 0) {
        c->max_data_in = n < options.max_data_in ? n : options.max_data_in;
        say_number(t, key, 1u << 20); /* declared, not negotiated */
    } else if (strcmp(key, "MaxBurstLength") == 0) {
        c->max_burst = smaller(t, key, n, options.max_burst);
    } else if (strcmp(key, "FirstBurstLength") == 0) {
        c->first_burst = smaller(t, key, n, options.first_burst);
    } else if (strcmp(key, "InitialR2T") == 0) {
        c->initial_r2t = say_bool(t, key, yes || options.initial_r2t);
    } else if (strcmp(key, "ImmediateData") == 0) {
        (void)say_bool(t, key, yes && !options.no_immediate);
    } else if (strcmp(key, "DefaultTime2Wait") == 0) {
        say_number(t, key, n);
    } else {
        fixed_key(t, key);
    }
}

void
login(struct conn *c)
{
    static uint16_t sessions;
    struct text t = {.len = 0};
    uint8_t *request = c->header, stages = request[1] & 0x0f;
    bool transit = (request[1] & FINAL) != 0;

    if (!c->answered) { /* RFC 7143 13.9: the tag is in the first response only */
        c->exp_cmd_sn = get32(request + 24);
        c->tsih = ++sessions != 0 ? sessions : ++sessions;
        say(&t, "TargetPortalGroupTag", "1");
    }
    c->answered = true;
    for (uint32_t i = 0; i < c->data_len && c->text[i] != 0;) {
        char *key = (char *)c->text + i, *value = strchr(key, '=');

        i += (uint32_t)strlen(key) + 1;
        if (value == NULL)
            continue;
        *value++ = '\0';
        login_key(c, &t, key, value);
    }
    uint8_t *h = new_header(c, LOGIN + ANSWER, get32(request + 16));
    h[1] = transit ? FINAL | stages : stages & 0x0c;
    memcpy(h + 8, request + 8, 6); /* ISID */
    h[14] = (uint8_t)(c->tsih >> 8);
    h[15] = (uint8_t)c->tsih;
    put_sns(c, h, true);
    answer(c, h, (uint8_t *)t.b, t.len);
    flush(c);
    if (transit && (stages & 3) == 3)
        c->full_feature = true;
}

void
send_targets(struct conn *c)
{
    struct text t = {.len = 0};
    char address[64];

    (void)snprintf(address, sizeof(address), "127.0.0.1:%d,1", options.port);
    say(&t, "TargetName", TARGET);
    say(&t, "TargetAddress", address);
    echo(c, TEXT, (uint8_t *)t.b, t.len);
}
