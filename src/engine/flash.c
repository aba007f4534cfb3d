/* SPDX-License-Identifier: MIT */
/* engine/flash.c - the records of the table: in memory, and in a file each. */
#include "engine/flash.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/flash_priv.h"
#include "engine/flash_text.h"
#include "offload/entry.h"
#include "wire/chap.h"

#define FLASH_DIR      "flash"
#define FLASH_LOCK     "lock"
#define FLASH_NAME_LEN 3 /* digits */

/* ---- the folder ----------------------------------------------------------------------------- */

static int
flash_folder_fault(const char *dir, int code, struct lunette_error *err)
{
    return lunette_fail(err, code, LUNETTE_DOM_OS, (uint32_t)-code,
                        "the folder of the engine's state, %s, cannot be used: %s", dir,
                        errno_text(code));
}

/* Opens the folder.  Its secrets are safe only where nobody else may put files there. */
static int
flash_folder_open(const char *dir, bool make, struct lunette_error *err)
{
    struct stat st;
    int fd;

    if (make && mkdir(dir, 0700) < 0 && errno != EEXIST)
        return flash_folder_fault(dir, -errno, err);
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return flash_folder_fault(dir, -errno, err);
    if (fstat(fd, &st) == 0 && (st.st_mode & (S_IWGRP | S_IWOTH)) == 0)
        return fd;
    close(fd);
    return lunette_fail(err, -EPERM, LUNETTE_DOM_OS, EPERM,
                        "the folder of the engine's state, %s, may be changed by others: chmod "
                        "go-w it",
                        dir);
}

int
engine_flash_lock(const char *dir, struct lunette_error *err)
{
    int folder = flash_folder_open(dir, true, err), fd, r = 0;
    char pid[32] = "";
    ssize_t n;

    if (folder < 0)
        return folder;
    fd = openat(folder, FLASH_LOCK, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        r = flash_folder_fault(dir, -errno, err);
    close(folder);
    if (r < 0)
        return r;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        r = -errno;
        n = pread(fd, pid, sizeof(pid) - 1, 0);
        pid[n > 0 ? strspn(pid, "0123456789") : 0] = '\0';
        close(fd);
        if (r != -EWOULDBLOCK)
            return flash_folder_fault(dir, r, err);
        return lunette_fail(err, -EBUSY, LUNETTE_DOM_USAGE, 0,
                            "another engine, process %s, has the state in %s: stop it, or give "
                            "this one a folder of its own",
                            pid[0] != '\0' ? pid : "unknown", dir);
    }
    n = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
    /* The number is for people alone: what cannot be written is no reason to stay away. */
    if (ftruncate(fd, 0) < 0 || pwrite(fd, pid, (size_t)n, 0) < 0)
        errno = 0;
    return fd;
}

void
flash_set_aside(const struct engine_flash *f, int dir, const char *name,
                const struct lunette_error *why)
{
    char aside[64];
    int r = 0;

    (void)snprintf(aside, sizeof(aside), "%.40s.torn", name);
    if (f->ops->rename(dir, name, dir, aside) < 0)
        r = -errno;
    if (r == 0)
        r = whole_file_sync(f->ops, dir);
    if (r == 0)
        log_line(f->loop->log, LOG_LEVEL_ERROR,
                 "engine: %s; it was set aside as %s, and all else is used", why->msg, aside);
    else
        log_line(f->loop->log, LOG_LEVEL_ERROR,
                 "engine: %s; it cannot be set aside as %s: %s; all else is used", why->msg, aside,
                 errno_text(r));
}

int
flash_not_written(int code, const char *what, struct lunette_error *err)
{
    return lunette_fail(err, code, LUNETTE_DOM_OS, (uint32_t)-code,
                        "%s cannot be written, and nothing has changed: %s", what,
                        errno_text(code));
}

/* ---- reading -------------------------------------------------------------------------------- */

int
flash_read_record(const struct engine_flash *f, const char *name, struct flash_record *ret,
                  struct lunette_error *err)
{
    char *all = NULL;
    const char *text;
    size_t len;
    int r = sealed_read(f->dir, name, FLASH_KIND, &all, &text, &len, err);

    if (r < 0)
        return lunette_fail_prefix(err, r, FLASH_DIR);
    engine_flash_record_init(ret);
    r = flash_text_take(text, len, ret, err);
    free(all);
    return r < 0 ? lunette_fail_prefix(err, r, FLASH_DIR "/%.40s", name) : 0;
}

/* -1: it is not the name of a record. */
static int
flash_index_of(const char *name)
{
    int n = 0;

    for (size_t i = 0; i < FLASH_NAME_LEN; i++) {
        if (name[i] < '0' || name[i] > '9')
            return -1;
        n = n * 10 + (name[i] - '0');
    }
    return name[FLASH_NAME_LEN] == '\0' && n < IPC_FLASHNODES_MAX ? n : -1;
}

static int
flash_load_one(struct engine_flash *f, const char *name, uint32_t index, struct lunette_error *err)
{
    struct flash_record *rec = malloc(sizeof(*rec));
    struct lunette_error why;
    int r;

    if (rec == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory for the records");
    r = flash_read_record(f, name, rec, &why);
    if (r == 0) {
        f->record[index] = rec;
        return 0;
    }
    free(rec);
    if (r == -ENOMEM)
        return lunette_fail_as(err, &why);
    /* One of another version, or that is only unreadable now, is left for who can read it. */
    f->taken[index] = true;
    if (r == -EBADMSG || r == -EINVAL)
        flash_set_aside(f, f->dir, name, &why);
    else
        log_line(f->loop->log, LOG_LEVEL_ERROR, "engine: %s; all else is used", why.msg);
    if ((r == -EBADMSG || r == -EINVAL) && faccessat(f->dir, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
        f->taken[index] = false;
    return 0;
}

static int
flash_load(struct engine_flash *f, struct lunette_error *err)
{
    struct whole_names names;
    int r = whole_dir_list(f->dir, &names);

    if (r < 0)
        return flash_folder_fault(FLASH_DIR, r, err);
    for (size_t i = 0; r == 0 && i < names.n; i++) {
        int index = flash_index_of(names.name[i]);

        if (index >= 0)
            r = flash_load_one(f, names.name[i], (uint32_t)index, err);
    }
    whole_names_free(&names);
    return r;
}

static int
flash_open_state(struct engine_flash *f, const char *dir, struct lunette_error *err)
{
    f->state = flash_folder_open(dir, true, err);
    if (f->state < 0)
        return f->state;
    f->dir = whole_dir_open(f->ops, f->state, FLASH_DIR, true);
    if (f->dir < 0)
        return flash_folder_fault(dir, f->dir, err);
    return flash_load(f, err);
}

int
engine_flash_open_with(struct loop *l, const char *dir, const struct whole_fileops *ops,
                       struct engine_flash **ret, struct lunette_error *err)
{
    struct engine_flash *f = calloc(1, sizeof(*f));
    int r = 0;

    if (f == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory for the records");
    f->loop = l;
    f->ops = ops;
    f->state = f->dir = -1;
    f->loops = 1;
    if (dir != NULL) {
        r = flash_open_state(f, dir, err);
    } else {
        f->chap = calloc(ENGINE_CHAPS_MAX, sizeof(*f->chap));
        if (f->chap == NULL)
            r = lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory for the records");
    }
    if (r < 0) {
        engine_flash_close(f);
        return r;
    }
    *ret = f;
    return 0;
}

int
engine_flash_open(struct loop *l, const char *dir, struct engine_flash **ret,
                  struct lunette_error *err)
{
    return engine_flash_open_with(l, dir, &whole_fileops_libc, ret, err);
}

void
engine_flash_close(struct engine_flash *f)
{
    if (f == NULL)
        return;
    for (uint32_t i = 0; i < IPC_FLASHNODES_MAX; i++)
        free(f->record[i]);
    if (f->chap != NULL)
        explicit_bzero(f->chap, ENGINE_CHAPS_MAX * sizeof(*f->chap));
    free(f->chap);
    if (f->dir >= 0)
        close(f->dir);
    if (f->state >= 0)
        close(f->state);
    free(f);
}

/* ---- whose record is whose ------------------------------------------------------------------ */

static bool
flash_is_ours(const struct engine_flash *f, uint32_t index, const struct flash_record *r)
{
    if (r->login.target_name[0] == '\0')
        return index % f->loops == f->loop_index;
    return offload_loop_of(r->login.target_name, f->loops) == f->loop_index;
}

void
engine_flash_share(struct engine_flash *f, uint32_t loop, uint32_t loops)
{
    assert(loop < loops);
    f->loop_index = loop;
    f->loops = loops;
    for (uint32_t i = 0; i < IPC_FLASHNODES_MAX; i++) {
        if (f->record[i] == NULL || flash_is_ours(f, i, f->record[i]))
            continue;
        free(f->record[i]);
        f->record[i] = NULL;
        f->taken[i] = true;
    }
}

const struct flash_record *
engine_flash_get(const struct engine_flash *f, uint32_t index)
{
    return index < IPC_FLASHNODES_MAX ? f->record[index] : NULL;
}

int
engine_flash_find(const struct engine_flash *f, const char *target, const struct portal *portal)
{
    for (int i = 0; i < IPC_FLASHNODES_MAX; i++) {
        const struct flash_record *r = f->record[i];

        if (r != NULL && strcmp(r->login.target_name, target) == 0 &&
            r->login.portal.port == portal->port && strcmp(r->login.portal.host, portal->host) == 0)
            return i;
    }
    return -ENOENT;
}

/* ---- ISIDs ---------------------------------------------------------------------------------- */

#define FNV_INIT  0xcbf29ce484222325u
#define FNV_PRIME 0x100000001b3u

/* FNV-1a, with the NUL, so that two texts are not taken for two others with the same letters. */
static uint64_t
flash_hash(uint64_t h, const char *text)
{
    do
        h = (h ^ (uint8_t)*text) * FNV_PRIME;
    while (*text++ != '\0');
    return h;
}

void
engine_flash_set_identity(struct engine_flash *f, const char *text)
{
    f->identity = flash_hash(FNV_INIT, text);
    f->has_identity = true;
}

/* Gives a record that has names and a portal an ISID of the random type (RFC 7143 11.12.5). */
static void
flash_give_isid(const struct engine_flash *f, struct login_config *c)
{
    static const uint8_t none[LOGIN_ISID_LEN];
    char port[8];
    uint64_t h;

    if (memcmp(c->isid, none, sizeof(none)) != 0 || c->target_name[0] == '\0' ||
        c->portal.host[0] == '\0' || c->initiator_name[0] == '\0')
        return;
    login_isid_random(f->loop, c->isid);
    if (!f->has_identity)
        return;
    (void)snprintf(port, sizeof(port), "%u", c->portal.port);
    h = flash_hash(flash_hash(f->identity, c->initiator_name), c->target_name);
    h = flash_hash(flash_hash(h, c->portal.host), port);
    h ^= h >> 32; /* its low bits are the better ones */
    for (size_t i = 1; i < LOGIN_ISID_LEN; i++)
        c->isid[i] = (uint8_t)(h >> (8 * (i - 1)));
}

/* ---- changes -------------------------------------------------------------------------------- */

static int
flash_check(const struct engine_flash *f, uint32_t index, const struct flash_record *r,
            struct lunette_error *err)
{
    const struct login_config *c = &r->login;
    int twin;

    if (r->chap_in != FLASH_NO_CHAP && r->chap == FLASH_NO_CHAP)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "flashnode.session.chap_in_idx makes the target prove itself, which it "
                            "does only for who has a name, too: set chap_out_idx");
    if (!flash_is_ours(f, index, r))
        return lunette_fail(err, -EXDEV, LUNETTE_DOM_USAGE, 0,
                            "the target %s belongs to loop %u of this engine, and record %u to "
                            "loop %u: make another record, with the target's name from the start",
                            c->target_name, offload_loop_of(c->target_name, f->loops), index,
                            f->loop_index);
    if (c->target_name[0] == '\0' || c->portal.host[0] == '\0')
        return 0; /* it is not complete yet */
    twin = engine_flash_find(f, c->target_name, &c->portal);
    if (twin >= 0 && (uint32_t)twin != index)
        return lunette_fail(err, -EEXIST, LUNETTE_DOM_USAGE, 0,
                            "record %d has that target and portal already", twin);
    return c->initiator_name[0] != '\0' ? login_config_check(c, err) : 0;
}

static void
flash_name(uint32_t index, char name[FLASH_NAME_LEN + 1])
{
    (void)snprintf(name, FLASH_NAME_LEN + 1, "%03u", index % 1000);
}

/* Writes a record.  Where that fails after the new file has got its name, the old one is put back,
 * so that nobody finds later what has been refused. */
static int
flash_write(const struct engine_flash *f, uint32_t index, const char *text, size_t len)
{
    char name[FLASH_NAME_LEN + 1], old[FLASH_TEXT_MAX];
    int r;

    if (f->dir < 0)
        return 0;
    flash_name(index, name);
    r = sealed_write(f->ops, f->state, f->dir, name, FLASH_KIND, text, len);
    if (r < 0 && f->record[index] == NULL)
        (void)whole_file_remove(f->ops, f->dir, name);
    else if (r < 0)
        (void)sealed_write(f->ops, f->state, f->dir, name, FLASH_KIND, old,
                           flash_text_format(f->record[index], old));
    return r;
}

/* Puts a record there as it will be read again, so that an engine does the same before and after
 * its death. */
static int
flash_put(struct engine_flash *f, uint32_t index, const struct flash_record *r,
          struct lunette_error *err)
{
    struct flash_record with_isid = *r, *rec;
    char text[FLASH_TEXT_MAX], what[32];
    size_t len;
    int e;

    flash_give_isid(f, &with_isid.login);
    e = flash_check(f, index, &with_isid, err);
    if (e < 0)
        return e;
    rec = malloc(sizeof(*rec));
    if (rec == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory for the record");
    len = flash_text_format(&with_isid, text);
    engine_flash_record_init(rec);
    e = flash_text_take(text, len, rec, err);
    if (e == 0) {
        (void)snprintf(what, sizeof(what), "record %u", index);
        e = flash_write(f, index, text, len);
        if (e < 0)
            (void)flash_not_written(e, what, err);
    }
    if (e < 0) {
        free(rec);
        return e;
    }
    free(f->record[index]);
    f->record[index] = rec;
    return 0;
}

int
engine_flash_add(struct engine_flash *f, const struct flash_record *r, struct lunette_error *err)
{
    for (uint32_t i = f->loop_index; i < IPC_FLASHNODES_MAX; i += f->loops) {
        if (f->record[i] == NULL && !f->taken[i]) {
            int e = flash_put(f, i, r, err);

            return e < 0 ? e : (int)i;
        }
    }
    return lunette_fail(err, -ENOSPC, LUNETTE_DOM_USAGE, 0,
                        "the table of targets is full, at %d: delete records that nobody needs",
                        IPC_FLASHNODES_MAX);
}

static int
flash_none(uint32_t index, struct lunette_error *err)
{
    return lunette_fail(err, -ENOENT, LUNETTE_DOM_USAGE, 0, "there is no record %u", index);
}

int
engine_flash_set(struct engine_flash *f, uint32_t index, const struct flash_record *r,
                 struct lunette_error *err)
{
    if (engine_flash_get(f, index) == NULL)
        return flash_none(index, err);
    return flash_put(f, index, r, err);
}

int
engine_flash_delete(struct engine_flash *f, uint32_t index, struct lunette_error *err)
{
    char name[FLASH_NAME_LEN + 1];
    int r = 0;

    if (engine_flash_get(f, index) == NULL)
        return flash_none(index, err);
    flash_name(index, name);
    if (f->dir >= 0)
        r = whole_file_remove(f->ops, f->dir, name);
    /* The file may be gone already where only the folder could not be synced the last time. */
    if (r < 0 && r != -ENOENT)
        return lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r, "record %u cannot be deleted: %s",
                            index, errno_text(r));
    free(f->record[index]);
    f->record[index] = NULL;
    return 0;
}
