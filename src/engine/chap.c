/* SPDX-License-Identifier: MIT */
/* engine/chap.c - names and secrets.  They are in the file, and in memory for no longer than
 * somebody uses them; where there is no file, in an array.
 *
 * The file has three lines for each: its index, the name, and the secret, since a line is what
 * neither can hold. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/secret_file.h"
#include "engine/flash_priv.h"
#include "wire/chap.h"

#define CHAP_FILE  "chap"
#define CHAP_LOCK  "chap.lock"
#define CHAP_KIND  "chap"
#define CHAP_ENTRY (16 + CHAP_NAME_MAX + CHAP_SECRET_MAX + 3) /* bytes of one in the file */

/* All entries; on the heap, and wiped at the end. */
struct chap_table {
    struct login_account entry[ENGINE_CHAPS_MAX];
};

static void
chap_table_free(struct chap_table *t)
{
    if (t == NULL)
        return;
    explicit_bzero(t, sizeof(*t));
    free(t);
}

/* ---- the file ------------------------------------------------------------------------------- */

static bool
chap_line(const char **at, const char *end, const char **ret, size_t *ret_len)
{
    const char *nl = memchr(*at, '\n', (size_t)(end - *at));

    if (nl == NULL)
        return false;
    *ret = *at;
    *ret_len = (size_t)(nl - *at);
    *at = nl + 1;
    return true;
}

static bool
chap_parse(struct chap_table *t, const char *at, size_t len)
{
    const char *end = at + len, *index, *name, *secret;
    size_t index_len, name_len, secret_len;

    while (at < end) {
        unsigned i;

        if (!chap_line(&at, end, &index, &index_len) || !chap_line(&at, end, &name, &name_len) ||
            !chap_line(&at, end, &secret, &secret_len) || sscanf(index, "[%u]", &i) != 1 ||
            i >= ENGINE_CHAPS_MAX || name_len == 0 || name_len > CHAP_NAME_MAX || secret_len == 0 ||
            secret_len > CHAP_SECRET_MAX)
            return false;
        memcpy(t->entry[i].name, name, name_len);
        t->entry[i].name[name_len] = '\0';
        memcpy(t->entry[i].secret, secret, secret_len);
        t->entry[i].secret_len = (uint16_t)secret_len;
    }
    return true;
}

static int
chap_load(struct engine_flash *f, struct chap_table *t, struct lunette_error *err)
{
    struct stat st;
    char *all = NULL;
    const char *text;
    size_t len;
    int r;

    if (fstatat(f->state, CHAP_FILE, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0
                               : lunette_fail(err, -errno, LUNETTE_DOM_OS, (uint32_t)errno,
                                              "cannot read " CHAP_FILE ": %s", errno_text(errno));
    if (!secret_file_is_private(&st))
        return lunette_fail(err, -EPERM, LUNETTE_DOM_USAGE, 0,
                            "the file of names and secrets, " CHAP_FILE
                            ", may be read or changed by others: chmod 0600 it");
    r = sealed_read(f->state, CHAP_FILE, CHAP_KIND, &all, &text, &len, err);
    if (r == 0 && !chap_parse(t, text, len))
        r = lunette_fail(err, -EBADMSG, LUNETTE_DOM_OS, EBADMSG,
                         CHAP_FILE " is not whole: it has lines that make no sense");
    if (all != NULL) {
        explicit_bzero(all, strlen(all));
        free(all);
    }
    return r;
}

/* Reads all entries; where they are in memory only, a copy of them.  *ret is the caller's also
 * after a failure, to chap_table_free. */
static int
chap_table_get(struct engine_flash *f, struct chap_table **ret, struct lunette_error *err)
{
    struct chap_table *t = calloc(1, sizeof(*t));

    *ret = t;
    if (t == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM,
                            "no memory for names and secrets");
    if (f->chap != NULL) {
        memcpy(t->entry, f->chap, sizeof(t->entry));
        return 0;
    }
    return chap_load(f, t, err);
}

static int
chap_store(struct engine_flash *f, const struct chap_table *t)
{
    size_t room = (size_t)ENGINE_CHAPS_MAX * CHAP_ENTRY, n = 0;
    char *text;
    int r;

    if (f->chap != NULL) {
        memcpy(f->chap, t->entry, sizeof(t->entry));
        return 0;
    }
    text = malloc(room);
    if (text == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < ENGINE_CHAPS_MAX; i++) {
        const struct login_account *a = &t->entry[i];

        if (a->name[0] == '\0')
            continue;
        n += (size_t)snprintf(text + n, room - n, "[%u]\n%s\n", i, a->name);
        memcpy(text + n, a->secret, a->secret_len);
        n += a->secret_len;
        text[n++] = '\n';
    }
    r = sealed_write(f->ops, f->state, f->state, CHAP_FILE, CHAP_KIND, text, n);
    explicit_bzero(text, room);
    free(text);
    return r;
}

/* ---- one of them ---------------------------------------------------------------------------- */

static int
chap_none(uint32_t index, struct lunette_error *err)
{
    return lunette_fail(err, -ENOENT, LUNETTE_DOM_USAGE, 0,
                        "there is no CHAP entry %u: set it, or let the record refer to another",
                        index);
}

int
engine_chap_get(struct engine_flash *f, uint32_t index, struct login_account *ret,
                struct lunette_error *err)
{
    struct chap_table *t;
    int r = chap_table_get(f, &t, err);

    if (r == 0 && (index >= ENGINE_CHAPS_MAX || t->entry[index].name[0] == '\0'))
        r = chap_none(index, err);
    if (r == 0)
        *ret = t->entry[index];
    chap_table_free(t);
    return r;
}

static int
chap_check(uint32_t index, const struct login_account *a, struct lunette_error *err)
{
    if (index >= ENGINE_CHAPS_MAX)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "CHAP entries are 0 to %d",
                            ENGINE_CHAPS_MAX - 1);
    if (a->name[0] == '\0' || a->secret_len == 0 || a->secret_len > CHAP_SECRET_MAX)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "a CHAP entry has a name and a secret of 1 to %d bytes each",
                            CHAP_SECRET_MAX);
    if (memchr(a->secret, '\n', a->secret_len) != NULL ||
        memchr(a->secret, '\0', a->secret_len) != NULL)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "a CHAP name and its secret are a line of text each");
    /* Whoever may use the engine sets names, and root's terminal shows them. */
    for (const char *c = a->name; *c != '\0'; c++) {
        if (*c < ' ' || *c > '~')
            return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                                "a CHAP name is a line of letters, digits, blanks and signs of "
                                "ASCII");
    }
    return 0;
}

/* Waits until no other loop changes the file.  What is locked is a file that nobody else can open:
 * a folder is locked by whoever can read it, and for as long as he likes.  The lock is given back
 * when *ret is closed; -1: the entries are in memory only. */
static int
chap_lock(const struct engine_flash *f, int *ret)
{
    int r = 0;

    *ret = -1;
    if (f->state < 0)
        return 0;
    *ret = openat(f->state, CHAP_LOCK, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (*ret < 0)
        return -errno;
    if (flock(*ret, LOCK_EX) < 0) {
        r = -errno;
        close(*ret);
    }
    return r;
}

/* Changes the file while no other loop does. */
static int
chap_change(struct engine_flash *f, uint32_t index, const struct login_account *a,
            struct lunette_error *err)
{
    struct login_account old = {.secret_len = 0};
    struct chap_table *t;
    int lock, r = chap_lock(f, &lock);

    if (r < 0)
        return flash_not_written(r, "the table of names and secrets", err);
    r = chap_table_get(f, &t, err);
    if (r == 0 && a == NULL && t->entry[index].name[0] == '\0')
        r = chap_none(index, err);
    if (r == 0) {
        old = t->entry[index];
        explicit_bzero(&t->entry[index], sizeof(t->entry[index]));
        if (a != NULL)
            t->entry[index] = *a;
        r = chap_store(f, t);
        if (r < 0) { /* the new file may have got its name */
            t->entry[index] = old;
            (void)chap_store(f, t);
            (void)flash_not_written(r, "the table of names and secrets", err);
        }
        explicit_bzero(&old, sizeof(old));
    }
    chap_table_free(t);
    if (lock >= 0)
        close(lock);
    return r;
}

int
engine_chap_set(struct engine_flash *f, uint32_t index, const struct login_account *a,
                struct lunette_error *err)
{
    int r = chap_check(index, a, err);

    return r < 0 ? r : chap_change(f, index, a, err);
}

/* The record that refers to the entry, of any loop; -1: none. */
static int
chap_user(const struct engine_flash *f, int32_t index)
{
    for (int i = 0; i < IPC_FLASHNODES_MAX; i++) {
        const struct flash_record *r = f->record[i];
        struct flash_record other;
        char name[8];

        (void)snprintf(name, sizeof(name), "%03d", i);
        if (r == NULL && f->loops > 1 && f->dir >= 0 &&
            flash_read_record(f, name, &other, NULL) == 0)
            r = &other;
        if (r != NULL && (r->chap == index || r->chap_in == index))
            return i;
    }
    return -1;
}

int
engine_chap_delete(struct engine_flash *f, uint32_t index, struct lunette_error *err)
{
    int user;

    if (index >= ENGINE_CHAPS_MAX)
        return chap_none(index, err);
    user = chap_user(f, (int32_t)index);
    if (user >= 0)
        return lunette_fail(err, -EBUSY, LUNETTE_DOM_USAGE, 0,
                            "record %d has CHAP entry %u: let it have another first", user, index);
    return chap_change(f, index, NULL, err);
}

int
engine_chap_list(struct engine_flash *f, bool (*fn)(void *user, uint32_t index, const char *name),
                 void *user, struct lunette_error *err)
{
    struct chap_table *t;
    int r = chap_table_get(f, &t, err);

    for (uint32_t i = 0; r == 0 && i < ENGINE_CHAPS_MAX; i++) {
        if (t->entry[i].name[0] != '\0' && !fn(user, i, t->entry[i].name))
            break;
    }
    chap_table_free(t);
    return r;
}
