/* SPDX-License-Identifier: MIT */
#include "lu/pr_keep.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lu/store.h"
#include "wire/pr.h"

#define KEPT_HEAD "lunette persistent reservations 1\n"
#define KEPT_END  "end\n"
#define KEPT_LINE (LU_PORT_MAX + 48) /* bytes of a registration as text, with its NUL */
#define KEPT_MAX  (LU_PR_REGS_MAX * KEPT_LINE + 128)

bool
lu_pr_can_keep(const struct lu *lu)
{
    return lu->store->ops->keep != NULL;
}

/* Writes the text to buf, which is large enough.  Returns its length, or -EINVAL for a name that
 * would break a line. */
static int
kept_write(const struct lu_pr *pr, char *buf)
{
    int n = sprintf(buf, KEPT_HEAD "type %u\n", (unsigned)pr->type);

    for (uint32_t i = 0; i < pr->count; i++) {
        const struct lu_pr_reg *r = &pr->regs[i];

        if (strchr(r->port, '\n') != NULL)
            return -EINVAL;
        n += sprintf(buf + n, "%s %016" PRIx64 " %s\n", r->holder ? "holder" : "registered", r->key,
                     r->port);
    }
    return n + sprintf(buf + n, KEPT_END);
}

int
lu_pr_keep(const struct lu *lu)
{
    char *buf;
    int n;

    if (!lu->pr.aptpl || lu->pr.count == 0)
        return lu->store->ops->keep(lu->store, NULL, 0);
    buf = malloc(KEPT_MAX);
    if (buf == NULL)
        return -ENOMEM;
    n = kept_write(&lu->pr, buf);
    if (n > 0)
        n = lu->store->ops->keep(lu->store, buf, (size_t)n);
    free(buf);
    return n;
}

/* The line at *at, without its end; *at moves on.  NULL: there is no whole line. */
static char *
kept_line(char **at)
{
    char *line = *at, *end = strchr(line, '\n');

    if (end == NULL)
        return NULL;
    *end = '\0';
    *at = end + 1;
    return line;
}

static bool
kept_registration(char *line, struct lu_pr_reg *ret)
{
    char *key = strchr(line, ' '), *port;

    if (key == NULL)
        return false;
    *key++ = '\0';
    if (strcmp(line, "holder") != 0 && strcmp(line, "registered") != 0)
        return false;
    if (strspn(key, "0123456789abcdef") != 16 || key[16] != ' ')
        return false;
    port = key + 17;
    if (port[0] == '\0' || strlen(port) > LU_PORT_MAX)
        return false;
    *ret = (struct lu_pr_reg){.key = strtoull(key, NULL, 16), .holder = line[0] == 'h'};
    (void)strcpy(ret->port, port);
    return ret->key != 0;
}

/* Whoever holds the reservation is registered: one port, or with some types none by itself. */
static bool
kept_makes_sense(const struct lu_pr *pr)
{
    uint32_t holders = 0;

    for (uint32_t i = 0; i < pr->count; i++) {
        holders += pr->regs[i].holder;
        for (uint32_t k = 0; k < i; k++) {
            if (strcmp(pr->regs[i].port, pr->regs[k].port) == 0)
                return false;
        }
    }
    if (pr->count == 0)
        return false;
    if (pr->type == LU_PR_NONE || pr->type == LU_PR_WE_AR || pr->type == LU_PR_EA_AR)
        return holders == 0;
    return pr_type_known(pr->type) && holders == 1;
}

/* 0, -ENOMEM, or -EINVAL where the text is not what kept_write writes. */
static int
kept_read(char *text, struct lu_pr *pr)
{
    char *line, *at = text + sizeof(KEPT_HEAD) - 1, *end;

    if (strncmp(text, KEPT_HEAD, sizeof(KEPT_HEAD) - 1) != 0)
        return -EINVAL;
    line = kept_line(&at);
    if (line == NULL || strncmp(line, "type ", 5) != 0 || line[5] < '0' || line[5] > '9')
        return -EINVAL;
    pr->type = (enum lu_pr_type)strtoul(line + 5, &end, 10);
    if (*end != '\0')
        return -EINVAL;
    pr->regs = calloc(LU_PR_REGS_MAX, sizeof(*pr->regs));
    if (pr->regs == NULL)
        return -ENOMEM;
    pr->room = LU_PR_REGS_MAX;
    while ((line = kept_line(&at)) != NULL && strcmp(line, "end") != 0) {
        if (pr->count == LU_PR_REGS_MAX || !kept_registration(line, &pr->regs[pr->count]))
            return -EINVAL;
        pr->count++;
    }
    pr->aptpl = true;
    return line != NULL && *at == '\0' && kept_makes_sense(pr) ? 0 : -EINVAL;
}

int
lu_pr_resume(struct lu *lu, struct lunette_error *err)
{
    char *buf;
    int r;

    if (!lu_pr_can_keep(lu))
        return 0;
    buf = malloc(KEPT_MAX + 1);
    if (buf == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "out of memory");
    r = lu->store->ops->kept(lu->store, buf, KEPT_MAX);
    if (r > 0) {
        buf[r] = '\0';
        r = strlen(buf) == (size_t)r ? kept_read(buf, &lu->pr) : -EINVAL;
    }
    free(buf);
    if (r == -EINVAL || r == -EFBIG)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "the reservations that are kept in the file beside the LUN's own, with "
                            ".pr behind its name, cannot be understood; without that file they "
                            "are gone");
    if (r < 0)
        return lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r,
                            "the reservations that are kept in the file beside the LUN's own, with "
                            ".pr behind its name, cannot be read: %s",
                            errno_text(-r));
    return 0;
}
