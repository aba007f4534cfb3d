/* SPDX-License-Identifier: MIT */
#include "nodedb/conf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hex.h"
#include "nodedb/lines.h"

#define UNKNOWN_TOLD 32 /* keys of iscsid.conf that are none, of which each is told */

/* Splits a path into the directory, opened, and the name in it.  Returns the descriptor or -errno.
 */
static int
open_parent(const char *path, const char **ret_name)
{
    const char *slash = strrchr(path, '/');
    char dir[4096];
    int fd;

    if (strlen(path) >= sizeof(dir))
        return -ENAMETOOLONG;
    *ret_name = slash != NULL ? slash + 1 : path;
    (void)snprintf(dir, sizeof(dir), "%.*s",
                   slash == NULL   ? 1
                   : slash == path ? 1
                                   : (int)(slash - path),
                   slash == NULL ? "." : path);
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* Reads a file that may be a link, as files in /etc are where an image is read-only. */
static int
read_followed(const char *path, char **ret, size_t *ret_len)
{
    char *real = realpath(path, NULL);
    const char *name;
    int dir = real != NULL ? open_parent(real, &name) : -errno, r = dir;

    if (dir >= 0) {
        r = whole_file_read(dir, name, ret, ret_len);
        close(dir);
    }
    free(real);
    return r;
}

/* What is said of a good line whose key does nothing, or not what is expected. */
static void
note_unused(const struct nodedb_record *r, const char *path,
            void (*note)(void *user, const struct lunette_error *why), void *user)
{
    struct lunette_error why = {.code = 0};

    for (int i = 0; i < NODEDB_KEY_COUNT; i++) {
        const struct nodedb_key *k = nodedb_key(i);

        if (r->value[i] == NULL || k->unused == NULL || strcmp(r->value[i], k->dflt) == 0)
            continue;
        (void)lunette_fail(&why, -ENOTSUP, LUNETTE_DOM_USAGE, 0,
                           "%.100s:%u: %s is not used here because %s", path, r->line[i], k->name,
                           k->unused);
        note(user, &why);
    }
    for (size_t i = 0; i < r->nextra && i < UNKNOWN_TOLD; i++) {
        const char *near = nodedb_key_nearest(NODEDB_CONF, r->extra[i].name);

        (void)lunette_fail(&why, -ENOTSUP, LUNETTE_DOM_USAGE, 0,
                           "%.100s: %.100s is not a key of iscsid.conf, and is ignored%s%s%s", path,
                           r->extra[i].name, near != NULL ? "; do you mean " : "",
                           near != NULL ? near : "", near != NULL ? "?" : "");
        note(user, &why);
    }
    if (r->nextra <= UNKNOWN_TOLD)
        return;
    (void)lunette_fail(&why, -ENOTSUP, LUNETTE_DOM_USAGE, 0,
                       "%.100s: %zu more keys are ignored: is it the right file?", path,
                       r->nextra - UNKNOWN_TOLD);
    note(user, &why);
}

/* Drops malformed values, so that the defaults are used for them. */
static void
drop_bad(struct nodedb_record *r)
{
    for (int i = 0; i < NODEDB_KEY_COUNT; i++) {
        char buf[NODEDB_VALUE_MAX + 1];
        struct lunette_error why;

        (void)nodedb_record_get(r, i, buf, &why);
        if (r->value[i] != NULL && why.code == -EINVAL)
            (void)nodedb_record_set(r, i, NULL); /* cannot fail without a value */
    }
}

int
nodedb_conf_read(const char *path, struct nodedb_record *r,
                 void (*note)(void *user, const struct lunette_error *why), void *user,
                 struct lunette_error *err)
{
    char *text = NULL;
    size_t len;
    int e = read_followed(path, &text, &len);

    nodedb_record_init(r, NODEDB_CONF);
    if (e == -ENOENT)
        return 0;
    if (e == 0) {
        r->note = note;
        r->note_user = user;
        e = nodedb_record_parse(r, text, len, path);
        r->note = NULL;
        nodedb_text_free(&text);
        if (e < 0)
            nodedb_record_fini(r);
    }
    if (e < 0)
        return lunette_fail(err, e, LUNETTE_DOM_OS, (uint32_t)-e, "cannot read %.150s: %s", path,
                            errno_text(e));
    if (note != NULL)
        note_unused(r, path, note, user);
    drop_bad(r);
    return 0;
}

/* Takes the first value of a key that is written without blanks before the "=", as people do. */
static void
take_first(const struct nodedb_line *l, const char *name, char *ret, size_t size)
{
    if (ret[0] == '\0' && l->name_len == strlen(name) && memcmp(l->name, name, l->name_len) == 0 &&
        l->value_len < size) {
        memcpy(ret, l->value, l->value_len);
        ret[l->value_len] = '\0';
    }
}

static int
parse_initiator(const char *path, const char *text, size_t len, struct nodedb_initiator *ret,
                struct lunette_error *err)
{
    char name[NODEDB_LINE_MAX + 1] = "";
    struct nodedb_initiator is = {.name = ""};
    struct nodedb_lines lines;
    struct nodedb_line l;
    int r;

    nodedb_lines_init(&lines, text, len);
    while (nodedb_lines_next(&lines, &l)) {
        if (l.kind != NODEDB_LINE_PAIR)
            continue;
        take_first(&l, "InitiatorName", name, sizeof(name));
        take_first(&l, "InitiatorAlias", is.alias, sizeof(is.alias));
    }
    if (name[0] == '\0')
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "%.150s has no line InitiatorName=iqn...: write one", path);
    r = iscsi_name_take(name, strlen(name), is.name, err);
    if (r < 0)
        return lunette_fail_prefix(err, r, "%.100s: InitiatorName", path);
    *ret = is;
    return 0;
}

static int
make_initiator(const char *path, const uint8_t random[NODEDB_INITIATOR_RANDOM],
               const struct whole_fileops *ops, struct lunette_error *err)
{
    char hex[2 * NODEDB_INITIATOR_RANDOM + 1], text[512];
    const char *name;
    int dir = open_parent(path, &name), r = dir, n;

    *hex_put(hex, random, NODEDB_INITIATOR_RANDOM) = '\0';
    n = snprintf(
        text, sizeof(text),
        "# The name of this initiator, by which targets know it.  It was made at the first\n"
        "# start; no two initiators may have the same.\n"
        "InitiatorName=iqn.2026-11.org.lunette:%s\n",
        hex);
    if (dir >= 0) {
        r = whole_file_replace(ops, dir, dir, name, text, (size_t)n);
        close(dir);
    }
    return r < 0 ? lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r,
                                "cannot write a name for this initiator to %.150s: %s", path,
                                errno_text(r))
                 : 0;
}

int
nodedb_initiator_read(const char *path, const uint8_t random[NODEDB_INITIATOR_RANDOM],
                      const struct whole_fileops *ops, struct nodedb_initiator *ret,
                      struct lunette_error *err)
{
    for (bool made = false;; made = true) {
        char *text = NULL;
        size_t len = 0;
        int r = read_followed(path, &text, &len);

        if ((r == -ENOENT || (r == 0 && len == 0)) && random != NULL && !made) {
            nodedb_text_free(&text);
            r = make_initiator(path, random, ops != NULL ? ops : &whole_fileops_libc, err);
            if (r < 0)
                return r;
            continue;
        }
        if (r == 0)
            r = parse_initiator(path, text, len, ret, err);
        else
            (void)lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r, "cannot read %.150s: %s", path,
                               errno_text(r));
        nodedb_text_free(&text);
        return r;
    }
}
