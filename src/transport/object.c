/* SPDX-License-Identifier: MIT */
/* transport/object.c - transports out of shared objects: which files may be loaded, and how. */
#include <assert.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "transport/transport.h"

#define SUFFIX    ".so"
#define LINKS_MAX 40 /* in a path, as Linux has it */

/* ---- which files ---------------------------------------------------------------------------- */

/* Whether the file, folder or link at path belongs to root or to this user, and nobody else may
 * write to it.  In a folder with the sticky bit others may make files but not replace ours. */
static int
one_is_ours(const char *path, struct lunette_error *err)
{
    struct stat st;

    if (lstat(path, &st) < 0)
        return lunette_fail(err, -ELIBACC, LUNETTE_DOM_OS, (uint32_t)errno, "%s: %s", path,
                            errno_text(errno));
    if (st.st_uid != 0 && st.st_uid != geteuid())
        return lunette_fail(err, -EPERM, LUNETTE_DOM_USAGE, 0,
                            "user %u owns %s and could put something else there: it has to belong "
                            "to root or to the user who runs this",
                            (unsigned)st.st_uid, path);
    if (S_ISLNK(st.st_mode) || (S_ISDIR(st.st_mode) && (st.st_mode & S_ISVTX) != 0))
        return 0;
    if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return lunette_fail(err, -EPERM, LUNETTE_DOM_USAGE, 0,
                            "others may write to %s (mode %04o): chmod go-w %s", path,
                            (unsigned)st.st_mode & 07777u, path);
    return 0;
}

/* A walk along a path: `at` has no link in it, `rest` is yet to be walked. */
struct way {
    char at[PATH_MAX], rest[2 * PATH_MAX];
    unsigned links;
};

static int
way_too_long(struct lunette_error *err)
{
    return lunette_fail(err, -ENAMETOOLONG, LUNETTE_DOM_USAGE, 0, "the path is too long");
}

static int
way_begin(struct way *w, const char *path, struct lunette_error *err)
{
    char cwd[PATH_MAX] = "";

    w->at[0] = '\0';
    w->links = 0;
    if (path[0] != '/' && getcwd(cwd, sizeof(cwd)) == NULL)
        return lunette_fail(err, -ELIBACC, LUNETTE_DOM_OS, (uint32_t)errno,
                            "the working directory: %s", errno_text(errno));
    if (snprintf(w->rest, sizeof(w->rest), "%s/%s", cwd, path) >= (int)sizeof(w->rest))
        return way_too_long(err);
    return one_is_ours("/", err);
}

/* Goes to `name` below the folder at w->at.  Where that is a link the walk goes on with what the
 * link says. */
static int
way_enter(struct way *w, const char *name, struct lunette_error *err)
{
    size_t n = strlen(w->at), left = strlen(w->rest);
    char to[PATH_MAX];
    ssize_t len;
    int r;

    if (snprintf(w->at + n, sizeof(w->at) - n, "/%s", name) >= (int)(sizeof(w->at) - n))
        return way_too_long(err);
    r = one_is_ours(w->at, err);
    if (r < 0)
        return r;
    len = readlink(w->at, to, sizeof(to));
    if (len < 0) /* it is none */
        return 0;
    if (len == 0 || (size_t)len + 1 + left + 1 > sizeof(w->rest) || ++w->links > LINKS_MAX)
        return way_too_long(err);
    memmove(w->rest + len + 1, w->rest, left + 1);
    memcpy(w->rest, to, (size_t)len);
    w->rest[len] = '/';
    w->at[to[0] == '/' ? 0 : n] = '\0';
    return 0;
}

/* Whether nobody else could lead the path elsewhere: each folder, each link in it, and all that
 * leads to where the link points. */
static int
way_is_ours(const char *path, struct lunette_error *err)
{
    struct way w;
    int r = way_begin(&w, path, err);

    while (r == 0 && w.rest[0] != '\0') {
        char name[NAME_MAX + 1];
        size_t n = strcspn(w.rest, "/"), skip = n + (w.rest[n] == '/');

        if (n >= sizeof(name))
            return way_too_long(err);
        memcpy(name, w.rest, n);
        name[n] = '\0';
        memmove(w.rest, w.rest + skip, strlen(w.rest + skip) + 1);
        if (strcmp(name, "..") == 0)
            w.at[w.at[0] != '\0' ? strrchr(w.at, '/') - w.at : 0] = '\0';
        else if (n > 0 && strcmp(name, ".") != 0)
            r = way_enter(&w, name, err);
    }
    return r;
}

static bool
name_will_do(const char *name)
{
    size_t n = strlen(name);

    return n >= 1 && n <= TRANSPORT_NAME_MAX && name[0] != '.' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") == n;
}

const char *
transport_dir(void)
{
    const char *dir = secure_getenv("LUNETTE_TRANSPORT_DIR");

    return dir != NULL && dir[0] != '\0' ? dir : LUNETTE_TRANSPORT_DIR;
}

/* ---- loading -------------------------------------------------------------------------------- */

/* The object stays loaded where its transport was registered; real is the registry's then, too.
 * name: what the transport has to be called; NULL: anything. */
static int
transport_of_object(struct transport_registry *r, void *object, char *real, const char *name,
                    struct lunette_error *err)
{
    const struct iscsi_transport *t = dlsym(object, ISCSI_TRANSPORT_SYMBOL);
    int e;

    if (t == NULL)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "it has no transport (no symbol " ISCSI_TRANSPORT_SYMBOL ")");
    e = transport_register(r, t, err);
    if (e < 0)
        return e;
    if (name != NULL && strcmp(r->t[r->count - 1].name, name) != 0) {
        r->count--;
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "the transport in it is called \"%s\"", r->t[r->count].name);
    }
    assert(r->nobjects < TRANSPORT_MAX);
    r->objects[r->nobjects].handle = object;
    r->objects[r->nobjects++].path = real;
    return 0;
}

static int
load_real(struct transport_registry *r, const char *path, char *real, const char *name,
          struct lunette_error *err)
{
    struct stat st;
    void *object;
    int e;

    if (stat(real, &st) == 0 && !S_ISREG(st.st_mode)) /* to open a FIFO would wait for a writer */
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "transport %s: it is no file",
                            path);
    e = way_is_ours(path, err);
    if (e < 0)
        return lunette_fail_prefix(err, e, "transport %s is not loaded", path);
    object = dlopen(real, RTLD_NOW | RTLD_LOCAL);
    if (object == NULL) {
        const char *why = dlerror(); /* mostly begins with the path */

        return lunette_fail(err, -ELIBACC, LUNETTE_DOM_USAGE, 0,
                            "transport %s cannot be loaded: %s", path, why != NULL ? why : "?");
    }
    e = transport_of_object(r, object, real, name, err);
    if (e < 0) {
        (void)dlclose(object);
        return lunette_fail_prefix(err, e, "transport %s", path);
    }
    return 0;
}

static int
load_path(struct transport_registry *r, const char *path, const char *name,
          struct lunette_error *err)
{
    char *real = realpath(path, NULL);
    int e;

    if (real == NULL)
        return lunette_fail(err, -ELIBACC, LUNETTE_DOM_USAGE, 0,
                            "transport %s cannot be loaded: %s", path, errno_text(errno));
    e = load_real(r, path, real, name, err);
    if (e < 0)
        free(real);
    return e;
}

int
transport_load(struct transport_registry *r, const char *which, struct lunette_error *err)
{
    char path[PATH_MAX];
    int n;

    if (strchr(which, '/') != NULL)
        return load_path(r, which, NULL, err);
    if (!name_will_do(which))
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "transport \"%s\": no transport has such a name, and a path has a "
                            "slash in it",
                            which);
    n = snprintf(path, sizeof(path), "%s/%s" SUFFIX, transport_dir(), which);
    if (n < 0 || (size_t)n >= sizeof(path))
        return lunette_fail(err, -ENAMETOOLONG, LUNETTE_DOM_USAGE, 0,
                            "transport %s: the path of its folder is too long", which);
    return load_path(r, path, which, err);
}

/* Calls fn for each of what LUNETTE_TRANSPORTS names, until it fails. */
static int
for_each_named(int (*fn)(void *user, const char *which, struct lunette_error *err), void *user,
               struct lunette_error *err)
{
    const char *all = secure_getenv("LUNETTE_TRANSPORTS");
    char *copy, *save = NULL;
    int e = 0;

    if (all == NULL || all[0] == '\0')
        return 0;
    copy = strdup(all);
    if (copy == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    for (char *w = strtok_r(copy, ":", &save); w != NULL && e == 0; w = strtok_r(NULL, ":", &save))
        e = fn(user, w, err);
    free(copy);
    return e;
}

static int
load_named(void *user, const char *which, struct lunette_error *err)
{
    return transport_load(user, which, err);
}

int
transport_load_env(struct transport_registry *r, struct lunette_error *err)
{
    int e = for_each_named(load_named, r, err);

    return e < 0 ? lunette_fail_prefix(err, e, "LUNETTE_TRANSPORTS") : 0;
}

/* ---- the survey ----------------------------------------------------------------------------- */

struct survey {
    struct transport_registry *r;
    void (*fn)(void *user, const struct transport_found *f);
    void *user;
};

/* Tells of the transport that r got last, or of one that could not be got. */
static void
survey_tell(const struct survey *s, enum transport_from from, const char *path,
            const struct iscsi_transport *t, int err, struct lunette_error *why)
{
    if (err == 0 && t != NULL && ISCSI_HAS(t, usable))
        err = t->usable(why);
    s->fn(s->user, &(struct transport_found){from, path, t, err, why});
}

static int
survey_named(void *user, const char *which, struct lunette_error *unused)
{
    const struct survey *s = user;
    struct lunette_error why = {.code = 0};
    int e = transport_load(s->r, which, &why);

    (void)unused;
    if (e < 0)
        survey_tell(s, TRANSPORT_NAMED, which, NULL, e, &why);
    else
        survey_tell(s, TRANSPORT_NAMED, s->r->objects[s->r->nobjects - 1].path,
                    &s->r->t[s->r->count - 1], 0, &why);
    return 0;
}

/* A file of the folder. */
struct file {
    const char *name, *path;
    const char *real; /* NULL: there is no such file any more */
};

static int
is_same(void *user, const char *which, struct lunette_error *unused)
{
    const struct file *f = user;
    char *real = NULL;
    int same = strcmp(f->name, which) == 0 || strcmp(f->path, which) == 0;

    (void)unused;
    if (same == 0 && f->real != NULL && strchr(which, '/') != NULL)
        real = realpath(which, NULL);
    if (real != NULL)
        same = strcmp(f->real, real) == 0;
    free(real);
    return same;
}

/* Whether it was shown already, since LUNETTE_TRANSPORTS names it, in whatever way. */
static bool
is_shown(const struct transport_registry *r, char *name, char *path)
{
    char *real = realpath(path, NULL);
    struct file f = {name, path, real};
    bool found = for_each_named(is_same, &f, NULL) > 0;

    for (size_t i = 0; real != NULL && i < r->nobjects && !found; i++)
        found = strcmp(r->objects[i].path, real) == 0;
    free(real);
    return found;
}

/* Looks at a file of the folder in a registry of its own, so that it does not stay loaded. */
static void
survey_installed(const struct survey *s, const char *file)
{
    struct transport_registry look = {.count = 0};
    struct lunette_error why = {.code = 0};
    char path[PATH_MAX], name[NAME_MAX + 1];
    int e;

    (void)snprintf(name, sizeof(name), "%.*s", (int)(strlen(file) - strlen(SUFFIX)), file);
    if (snprintf(path, sizeof(path), "%s/%s", transport_dir(), file) >= (int)sizeof(path) ||
        is_shown(s->r, name, path))
        return;
    e = transport_load(&look, name, &why);
    if (e == 0 && transport_find(s->r, look.t[0].name) != NULL)
        e = lunette_fail(&why, -EEXIST, LUNETTE_DOM_USAGE, 0,
                         "another transport \"%s\" is there already", name);
    survey_tell(s, TRANSPORT_INSTALLED, path, look.count > 0 ? &look.t[0] : NULL, e, &why);
    transport_registry_fini(&look);
}

static int
has_suffix(const struct dirent *d)
{
    size_t n = strlen(d->d_name), k = strlen(SUFFIX);

    return n > k && d->d_name[0] != '.' && strcmp(d->d_name + n - k, SUFFIX) == 0;
}

static int
by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* A folder that is not there has no transports, unless somebody has named it. */
static void
survey_no_folder(const struct survey *s, int errnum)
{
    const char *dir = transport_dir();
    struct lunette_error why = {.code = 0};

    if (errnum == ENOENT && strcmp(dir, LUNETTE_TRANSPORT_DIR) == 0)
        return;
    (void)lunette_fail(&why, -errnum, LUNETTE_DOM_OS, (uint32_t)errnum,
                       "the folder of installed transports cannot be read: %s", errno_text(errnum));
    survey_tell(s, TRANSPORT_INSTALLED, dir, NULL, -errnum, &why);
}

void
transport_survey(struct transport_registry *r,
                 void (*fn)(void *user, const struct transport_found *f), void *user)
{
    struct survey s = {r, fn, user};
    struct lunette_error why = {.code = 0};
    struct dirent **files = NULL;
    int n;

    for (size_t i = 0; i < r->count; i++)
        survey_tell(&s, TRANSPORT_BUILT_IN, NULL, &r->t[i], 0, &why);
    (void)for_each_named(survey_named, &s, NULL);
    n = scandir(transport_dir(), &files, has_suffix, by_bytes);
    if (n < 0)
        survey_no_folder(&s, errno);
    for (int i = 0; i < n; i++) {
        survey_installed(&s, files[i]->d_name);
        free(files[i]);
    }
    free(files);
}
