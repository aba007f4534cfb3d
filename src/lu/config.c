/* SPDX-License-Identifier: MIT */
/* The text form of a LUN: kind:arguments,options. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/size.h"
#include "lu/config.h"
#include "wire/capacity.h"

#define LUN_OPTION_MAX 128
#define LUN_OPTIONS    "options are block=N, ro, serial=TEXT, lun=N, wce=0|1, max=SIZE and alua=STATE"

static int
lun_text_bad(struct lunette_error *err, const char *text, const char *why)
{
    return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "LUN \"%.100s\": %s", text, why);
}

static bool
lun_parse_size(const char *text, uint64_t *ret)
{
    return size_parse(text, strlen(text), ret) == 0;
}

static bool
lun_parse_number(const char *text, uint64_t max, uint64_t *ret)
{
    return lun_parse_size(text, ret) && *ret <= max && text[strspn(text, "0123456789")] == '\0';
}

static const char *
lun_set_alua(struct lu_config *c, const char *value)
{
    static const struct {
        const char *name;
        uint8_t state;
    } states[] = {{"optimized", ALUA_OPTIMIZED}, {"non-optimized", ALUA_NON_OPTIMIZED},
                  {"standby", ALUA_STANDBY},     {"unavailable", ALUA_UNAVAILABLE},
                  {"offline", ALUA_OFFLINE},     {"transitioning", ALUA_TRANSITIONING}};

    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        if (strcmp(value, states[i].name) == 0) {
            c->alua = states[i].state;
            return NULL;
        }
    }
    return "alua= must be optimized, non-optimized, standby, unavailable, offline or transitioning";
}

static const char *
lun_set_option(struct lu_config *c, const char *key, const char *value)
{
    uint64_t n = 0;

    if (strcmp(key, "ro") == 0 && value == NULL) {
        c->read_only = true;
    } else if (value == NULL) {
        return LUN_OPTIONS;
    } else if (strcmp(key, "block") == 0) {
        if (!lun_parse_number(value, 4096, &n) || n < 512 || (n & (n - 1)) != 0)
            return "block= must be 512, 1024, 2048 or 4096";
        c->block = (uint32_t)n;
    } else if (strcmp(key, "lun") == 0) {
        if (!lun_parse_number(value, LU_NUMBER_MAX, &n))
            return "lun= must be 0..16383";
        c->lun = (int32_t)n;
    } else if (strcmp(key, "wce") == 0) {
        if (!lun_parse_number(value, 1, &n))
            return "wce= must be 0 or 1";
        c->wce = (int)n;
    } else if (strcmp(key, "alua") == 0) {
        return lun_set_alua(c, value);
    } else if (strcmp(key, "max") == 0) {
        if (!lun_parse_size(value, &c->max_size))
            return "max= wants a size such as 512M";
    } else if (strcmp(key, "serial") == 0) {
        size_t len = strlen(value);

        if (len == 0 || len > LU_SERIAL_MAX)
            return "serial= wants 1 to 32 characters";
        for (size_t i = 0; i < len; i++) {
            if (value[i] < 0x21 || value[i] > 0x7e)
                return "serial= wants printable ASCII without spaces";
        }
        memcpy(c->serial, value, len + 1);
    } else {
        return LUN_OPTIONS;
    }
    return NULL;
}

static const char *
lun_set_options(struct lu_config *c, const char *text)
{
    while (text != NULL && *text == ',') {
        char opt[LUN_OPTION_MAX];
        size_t len = strcspn(++text, ",");
        const char *why;
        char *eq;

        if (len >= sizeof(opt))
            return "an option is too long";
        memcpy(opt, text, len);
        opt[len] = '\0';
        eq = strchr(opt, '=');
        if (eq != NULL)
            *eq++ = '\0';
        why = lun_set_option(c, opt, eq);
        if (why != NULL)
            return why;
        text += len;
    }
    return NULL;
}

/* Where the options begin: at the first comma that is followed by one of them, so that a path may
 * hold commas; a size does not. */
static const char *
lun_find_options(const char *text)
{
    static const char *const names[] = {"block=", "ro", "serial=", "lun=", "wce=", "max=", "alua="};

    if (strncmp(text, "file:", 5) != 0)
        return text + strcspn(text, ",");
    for (const char *p = strchr(text, ','); p != NULL; p = strchr(p + 1, ',')) {
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
            if (strncmp(p + 1, names[i], strlen(names[i])) == 0)
                return p;
        }
    }
    return text + strlen(text);
}

static const char *
lun_set_file(struct lu_config *c, char *arg)
{
    char *colon = strrchr(arg, ':');
    /* Paths of devices have colons, too, and may end in a hexadecimal name such as :0x5000c500. */
    bool hex = colon != NULL && strncasecmp(colon + 1, "0x", 2) == 0;

    if (colon != NULL && !hex && lun_parse_size(colon + 1, &c->size)) {
        *colon = '\0';
        c->create = true;
    }
    if (arg[0] == '\0')
        return "the path is missing";
    (void)snprintf(c->path, sizeof(c->path), "%s", arg);
    return NULL;
}

int
lu_config_parse(const char *text, struct lu_config *ret, struct lunette_error *err)
{
    static const char *const kinds[] = {"ram:", "file:", "null:"};
    struct lu_config c = {.lun = -1, .wce = -1};
    const char *options = lun_find_options(text), *why;
    char arg[PATH_MAX];
    size_t len = 0;
    unsigned k = 0;

    while (k < 3 && strncmp(text, kinds[k], strlen(kinds[k])) != 0)
        k++;
    if (k == 3)
        return lun_text_bad(err, text, "must begin with ram:SIZE, file:PATH or null:SIZE");
    c.kind = (enum lu_kind)k;
    len = (size_t)(options - text) - strlen(kinds[k]);
    if (len >= sizeof(arg))
        return lun_text_bad(err, text, "the path is too long");
    memcpy(arg, text + strlen(kinds[k]), len);
    arg[len] = '\0';
    if (c.kind == LU_FILE)
        why = lun_set_file(&c, arg);
    else
        why = lun_parse_size(arg, &c.size) && c.size > 0 ? NULL : "wants a size such as 256M or 1T";
    if (why == NULL)
        why = lun_set_options(&c, options);
    if (why != NULL)
        return lun_text_bad(err, text, why);
    *ret = c;
    return 0;
}
