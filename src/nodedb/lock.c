/* SPDX-License-Identifier: MIT */
#include "nodedb/lock.h"

#include <assert.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOCK_LINK "lock.write"
#define LOCK_OURS "lock.lunette"
#define MS_PER_S  1000
#define NS_PER_MS 1000000

static uint64_t
lock_now_ms(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts); /* the wall clock may jump */
    return (uint64_t)ts.tv_sec * MS_PER_S + (uint64_t)ts.tv_nsec / NS_PER_MS;
}

static int
lock_fault(struct lunette_error *err, int code, const char *what, const char *name)
{
    return lunette_fail(err, code, LUNETTE_DOM_OS, (uint32_t)-code,
                        "the lock of the records cannot be taken: %s %s: %s", what, name,
                        errno_text(code));
}

int
nodedb_lock_open(struct nodedb_lock *l, const char *path, struct lunette_error *err)
{
    char part[4096];
    struct stat st;

    *l = (struct nodedb_lock){.dir = -1, .fd = -1, .proc = "/proc"};
    if (strlen(path) >= sizeof(part))
        return lock_fault(err, -ENAMETOOLONG, "directory", path);
    (void)strcpy(part, path);
    /* /run/lock is missing in small containers. */
    for (char *slash = strchr(part + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(part, 0755);
        *slash = '/';
    }
    (void)mkdir(part, 0770);
    /* /run/lock may be written by everybody: what somebody else has put there is not used. */
    l->dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (l->dir < 0)
        return lock_fault(err, -errno, "directory", path);
    if (fstat(l->dir, &st) < 0)
        st.st_uid = (uid_t)-1;
    if (st.st_uid == 0 || st.st_uid == geteuid())
        return 0;
    nodedb_lock_close(l);
    return lunette_fail(err, -EPERM, LUNETTE_DOM_OS, EPERM,
                        "the directory of the lock, %.150s, belongs to user %u: remove it", path,
                        (unsigned)st.st_uid);
}

/* Does a program of open-iscsi run that writes records?  Where that cannot be seen, it may. */
static bool
foreign_runs(const char *proc)
{
    DIR *d = opendir(proc);
    bool found = d == NULL;
    struct dirent *e;

    while (!found && (e = readdir(d)) != NULL) {
        char path[512], comm[32] = "";
        FILE *f;

        /* our own daemon is called iscsid, too */
        if (!isdigit((unsigned char)e->d_name[0]) || atol(e->d_name) == (long)getpid())
            continue;
        (void)snprintf(path, sizeof(path), "%.200s/%.20s/comm", proc, e->d_name);
        f = fopen(path, "re");
        if (f == NULL)
            continue;
        if (fgets(comm, sizeof(comm), f) != NULL) {
            comm[strcspn(comm, "\n")] = '\0';
            found = strcmp(comm, "iscsiadm") == 0 || strcmp(comm, "iscsid") == 0 ||
                    strcmp(comm, "iscsistart") == 0;
        }
        fclose(f);
    }
    if (d != NULL)
        closedir(d);
    return found;
}

static bool
same_link(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_nlink == b->st_nlink &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* Was the link that stands in the way left by somebody who is dead?  Each link that is made or
 * removed changes the file's change time, by which we see that it is always the same one. */
static bool
is_left_over(struct nodedb_lock *l, const struct stat *link)
{
    uint64_t now = lock_now_ms(), age;

    if (!l->any || !same_link(link, &l->seen)) {
        l->any = true;
        l->seen = *link;
        l->same_since_ms = now;
    }
    age = now - l->same_since_ms;
    return age >= NODEDB_LOCK_FOREIGN_STALE_MS ||
           (age >= NODEDB_LOCK_STALE_MS && !foreign_runs(l->proc));
}

/* Tries once, with the flock taken.  Returns 0, -EBUSY, or another -errno. */
static int
lock_try_link(struct nodedb_lock *l)
{
    struct stat ours, link, again;

    if (linkat(l->dir, LOCK_OURS, l->dir, LOCK_LINK, 0) == 0)
        return 0;
    if (errno != EEXIST)
        return -errno;
    if (fstat(l->fd, &ours) < 0)
        return -errno;
    if (fstatat(l->dir, LOCK_LINK, &link, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? -EBUSY : -errno; /* it has just been removed: try again */
    /* It is one of ours, and we have the flock: its owner is dead.  The link serves us. */
    if (link.st_ino == ours.st_ino && link.st_dev == ours.st_dev)
        return 0;
    if (!is_left_over(l, &link))
        return -EBUSY;
    if (fstatat(l->dir, LOCK_LINK, &again, AT_SYMLINK_NOFOLLOW) == 0 && same_link(&link, &again))
        (void)unlinkat(l->dir, LOCK_LINK, 0);
    l->any = false;
    return linkat(l->dir, LOCK_OURS, l->dir, LOCK_LINK, 0) == 0 ? 0 : -EBUSY;
}

/* Opens our file and takes its flock.  The file must still be the one that the name says. */
static int
lock_try(struct nodedb_lock *l)
{
    struct stat st, named;
    int r;

    l->fd = openat(l->dir, LOCK_OURS, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (l->fd < 0)
        return -errno;
    if (flock(l->fd, LOCK_EX | LOCK_NB) < 0)
        r = errno == EWOULDBLOCK || errno == EINTR ? -EBUSY : -errno;
    else if (fstat(l->fd, &st) < 0 || fstatat(l->dir, LOCK_OURS, &named, AT_SYMLINK_NOFOLLOW) < 0 ||
             st.st_ino != named.st_ino)
        r = -EBUSY;
    else
        r = lock_try_link(l);
    if (r < 0) {
        close(l->fd);
        l->fd = -1;
    }
    return r;
}

int
nodedb_lock_take(struct nodedb_lock *l, uint32_t wait_ms, struct lunette_error *err)
{
    uint64_t began_ms = lock_now_ms();
    int r;

    assert(l->dir >= 0);
    if (l->depth > 0) {
        l->depth++;
        return 0;
    }
    while ((r = lock_try(l)) == -EBUSY && lock_now_ms() - began_ms < wait_ms) {
        struct timespec step = {.tv_nsec = NODEDB_LOCK_POLL_MS * NS_PER_MS};

        (void)nanosleep(&step, NULL);
    }
    if (r == -EBUSY)
        return lunette_fail(err, r, LUNETTE_DOM_TIMEOUT, wait_ms,
                            "another program is changing the records: its lock is %s; try again",
                            LOCK_LINK);
    if (r < 0)
        return lock_fault(err, r, "file", LOCK_OURS);
    l->depth = 1;
    return 0;
}

void
nodedb_lock_drop(struct nodedb_lock *l)
{
    assert(l->depth > 0);
    if (--l->depth > 0)
        return;
    /* The link goes first: without it the flock says nothing. */
    (void)unlinkat(l->dir, LOCK_LINK, 0);
    close(l->fd);
    l->fd = -1;
}

void
nodedb_lock_close(struct nodedb_lock *l)
{
    if (l->depth > 0) {
        l->depth = 1;
        nodedb_lock_drop(l);
    }
    if (l->dir >= 0)
        close(l->dir);
    l->dir = -1;
}
