/* SPDX-License-Identifier: MIT */
/* cmd/lunette/text.c - sizes, times and bytes as people read and write them. */
#include "cmd/lunette/cli.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/hex.h"

int
parse_uint(const char *text, uint64_t *ret)
{
    char *end;

    if (!isdigit((unsigned char)*text))
        return -EINVAL;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 0);
    if (*end != '\0')
        return -EINVAL;
    if (errno != 0)
        return -ERANGE;
    *ret = v;
    return 0;
}

int
parse_seconds(const char *text, uint64_t *ret)
{
    char *end;

    if (!isdigit((unsigned char)*text) && *text != '.')
        return -EINVAL;
    double v = strtod(text, &end);
    if (strcmp(end, "ms") == 0) {
        v /= 1e3;
        end += 2;
    } else if (strcmp(end, "s") == 0) {
        end++;
    } else if (strcmp(end, "m") == 0 || strcmp(end, "min") == 0) {
        v *= 60;
        end += strlen(end);
    }
    if (*end != '\0' || end == text || !isfinite(v))
        return -EINVAL;
    if (v > 1e9)
        return -ERANGE;
    *ret = (uint64_t)(v * 1e9);
    return 0;
}

const char *
format_size(char *buf, uint64_t bytes)
{
    double v = (double)bytes;
    int power = 0;

    while (v >= 1024 && power < 5) {
        v /= 1024;
        power++;
    }
    if (power == 0)
        snprintf(buf, TEXT_SIZE, "%" PRIu64 " B", bytes);
    else if (v >= 100 || fabs(v - round(v)) < 0.005)
        snprintf(buf, TEXT_SIZE, "%.0f %ciB", v, " KMGTP"[power]);
    else
        snprintf(buf, TEXT_SIZE, "%.1f %ciB", v, " KMGTP"[power]);
    return buf;
}

const char *
format_size_short(char *buf, uint64_t bytes)
{
    int power = 0;

    while (bytes >= 1024 && bytes % 1024 == 0 && power < 5) {
        bytes /= 1024;
        power++;
    }
    snprintf(buf, TEXT_SIZE, "%" PRIu64 "%.1s", bytes, power == 0 ? "" : &"kMGTP"[power - 1]);
    return buf;
}

const char *
format_rate(char *buf, double bytes_per_second)
{
    char size[TEXT_SIZE];

    if (!(bytes_per_second < 1e18))
        bytes_per_second = 0;
    snprintf(buf, TEXT_SIZE, "%.20s/s", format_size(size, (uint64_t)bytes_per_second));
    return buf;
}

const char *
format_ns(char *buf, double ns)
{
    if (ns < 1e6)
        snprintf(buf, TEXT_SIZE, "%.*f us", ns < 1e5 ? 1 : 0, ns / 1e3);
    else if (ns < 1e9)
        snprintf(buf, TEXT_SIZE, "%.*f ms", ns < 1e8 ? 2 : 0, ns / 1e6);
    else
        snprintf(buf, TEXT_SIZE, "%.2f s", ns / 1e9);
    return buf;
}

const char *
unit_error_text(int err)
{
    switch (-err) {
    case EFBIG:
        return "it has 2^63 bytes or more, which is more than this initiator serves";
    case ENOTSUP:
        return "its blocks or its protection are of a kind that this initiator does not serve";
    case EREMOTEIO:
        return "it has 2^32 blocks or more, but refuses READ CAPACITY(16)";
    default:
        return strerror(-err);
    }
}

const char *
device_type_name(uint8_t type)
{
    static const char *const names[] = {"disk",    "tape",      "printer", "processor", "worm",
                                        "cd/dvd",  "scanner",   "optical", "changer",   "comms",
                                        "type-0a", "type-0b",   "raid",    "ses",       "rbc",
                                        "card",    "controller"};

    if (type == 0x1f)
        return "none";
    return type < sizeof(names) / sizeof(names[0]) ? names[type] : "other";
}

void
hexdump(FILE *to, const void *data, size_t len, uint64_t offset)
{
    const uint8_t *p = data;

    for (size_t at = 0; at < len; at += 16) {
        size_t n = len - at < 16 ? len - at : 16;
        fprintf(to, "%08" PRIx64 " ", offset + at);
        for (size_t i = 0; i < 16; i++) {
            if (i < n)
                fprintf(to, "%s%02x", i == 8 ? "  " : " ", p[at + i]);
            else
                fprintf(to, "%s  ", i == 8 ? "  " : " ");
        }
        fputs("  |", to);
        for (size_t i = 0; i < n; i++)
            fputc(p[at + i] >= 0x20 && p[at + i] < 0x7f ? p[at + i] : '.', to);
        fputs("|\n", to);
    }
}

int
parse_hex(const char *text, uint8_t *buf, size_t size)
{
    size_t n = 0;

    while (*text != '\0') {
        if (strchr(" ,:\t", *text) != NULL) {
            text++;
            continue;
        }
        if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X'))
            text += 2;
        int hi = hex_digit(*text);
        if (hi < 0)
            return -EINVAL;
        text++;
        int lo = *text == '\0' ? -1 : hex_digit(*text);
        if (n == size)
            return -E2BIG;
        if (lo < 0) { /* a byte of one digit, such as "0" or "a" */
            buf[n++] = (uint8_t)hi;
            continue;
        }
        buf[n++] = (uint8_t)(hi << 4 | lo);
        text++;
    }
    return (int)n;
}

int
terminal_columns(void)
{
    struct winsize ws;

    for (int fd = STDERR_FILENO; fd >= STDOUT_FILENO; fd--) {
        if (ioctl(fd, TIOCGWINSZ, &ws) == 0 && ws.ws_col > 0)
            return ws.ws_col;
    }
    return 80;
}

void
text_wrap(FILE *to, const char *text, int columns, int column, int indent)
{
    bool fresh = true; /* nothing stands on this line but its indent */

    while (*text != '\0') {
        int gap = fresh ? 0 : (int)strspn(text, " ");
        text += strspn(text, " ");
        int word = (int)strcspn(text, " ");
        if (!fresh && column + gap + word > columns) {
            fprintf(to, "\n%*s", indent, "");
            column = indent;
            gap = 0;
        }
        fprintf(to, "%*s%.*s", gap, "", word, text);
        column += gap + word;
        fresh = false;
        text += word;
    }
    fputc('\n', to);
}

uint64_t
now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void *
xmalloc(uint64_t len)
{
    void *p = len <= SIZE_MAX ? calloc(1, (size_t)len) : NULL;

    if (p == NULL) {
        fputs("lunette: out of memory\n", stderr);
        exit(EXIT_OTHER);
    }
    return p;
}

char *
xstrdup(const char *s)
{
    size_t size = strlen(s) + 1;

    return memcpy(xmalloc(size), s, size);
}

void *
xbuffer(uint64_t len)
{
    void *p = NULL;

    if (len == 0)
        len = 1;
    if (len > SIZE_MAX || posix_memalign(&p, 4096, (size_t)len) != 0) {
        fputs("lunette: out of memory\n", stderr);
        exit(EXIT_OTHER);
    }
    memset(p, 0, (size_t)len);
    return p;
}

bool
all_zero(const void *data, size_t len)
{
    const char *p = data;

    /* The first bytes are zero, and each equals the one before it. */
    if (len <= 16) {
        for (size_t i = 0; i < len; i++) {
            if (p[i] != 0)
                return false;
        }
        return true;
    }
    static const char zeroes[16];
    return memcmp(p, zeroes, 16) == 0 && memcmp(p, p + 16, len - 16) == 0;
}
