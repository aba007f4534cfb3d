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
#include <sys/syscall.h>
#include <sys/sysmacros.h>
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

/* ---- who may have made the link of open-iscsi's --------------------------------------------- */

/* Reads the beginning of PROC/PID/name into ret, which ends with a NUL.  Returns 0 or -errno. */
static int
proc_read(const struct nodedb_lock *l, long pid, const char *name, char *ret, size_t size)
{
    char path[512];
    ssize_t n;
    int fd, r;

    ret[0] = '\0';
    (void)snprintf(path, sizeof(path), "%.200s/%ld/%.20s", l->proc, pid, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    n = read(fd, ret, size - 1);
    r = n < 0 ? -errno : 0;
    ret[n > 0 ? n : 0] = '\0';
    close(fd);
    return r;
}

/* Reads the state of a process and when it was started. */
static int
proc_stat(const struct nodedb_lock *l, long pid, char *ret_state, unsigned long long *ret_started)
{
    char text[1024], *p;
    int r = proc_read(l, pid, "stat", text, sizeof(text));

    if (r < 0)
        return r;
    p = strrchr(text, ')'); /* the name before it may hold anything */
    if (p == NULL || sscanf(p + 1,
                            " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d "
                            "%*d %*d %*d %llu",
                            ret_state, ret_started) != 2)
        return -EINVAL;
    return 0;
}

static void
proc_name(const struct nodedb_lock *l, long pid, char ret[16])
{
    char text[32];

    (void)proc_read(l, pid, "comm", text, sizeof(text));
    text[strcspn(text, "\n")] = '\0';
    (void)snprintf(ret, 16, "%.15s", text);
}

/* Are there processes that we do not see?  There are in a container, and where /proc is missing. */
static bool
proc_is_part(const struct nodedb_lock *l)
{
    static const char first[] =
        "pid:[4026531836]"; /* the namespace of the machine, by its number */
    char path[512], of[64];
    ssize_t n;

    (void)snprintf(path, sizeof(path), "%.200s/self/ns/pid", l->proc);
    n = readlink(path, of, sizeof(of) - 1);
    of[n > 0 ? n : 0] = '\0';
    return strcmp(of, first) != 0;
}

/* Programs of open-iscsi that write records.  Our own have the same names, and are told from them
 * by what they do. */
static bool
is_suspect(const char *name)
{
    return strcmp(name, "iscsiadm") == 0 || strcmp(name, "iscsid") == 0 ||
           strcmp(name, "iscsistart") == 0;
}

static void
find_suspects(struct nodedb_lock *l)
{
    DIR *d = opendir(l->proc);
    struct dirent *e;

    l->looked = true;
    l->unseen = d == NULL || proc_is_part(l);
    l->nsuspects = 0;
    while (d != NULL && (e = readdir(d)) != NULL) {
        struct nodedb_lock_suspect s = {.pid = strtol(e->d_name, NULL, 10)};
        char state;

        if (!isdigit((unsigned char)e->d_name[0]) || s.pid == (long)getpid())
            continue;
        proc_name(l, s.pid, s.name);
        if (!is_suspect(s.name) || proc_stat(l, s.pid, &state, &s.started) < 0)
            continue;
        if (l->nsuspects < NODEDB_LOCK_SUSPECTS)
            l->suspects[l->nsuspects++] = s;
        else
            l->unseen = true;
    }
    if (d != NULL)
        closedir(d);
}

/* Calls in which a program waits for others, or for time.  None of open-iscsi's makes them while it
 * writes records; who waits for the lock itself sleeps, too. */
static bool
is_waiting_call(long nr)
{
    static const long calls[] = {
        SYS_ppoll,      SYS_pselect6,        SYS_epoll_pwait, SYS_io_uring_enter,  SYS_nanosleep,
        SYS_recvfrom,   SYS_clock_nanosleep, SYS_recvmsg,     SYS_accept,          SYS_accept4,
        SYS_wait4,      SYS_waitid,          SYS_futex,       SYS_rt_sigtimedwait,
#ifdef SYS_poll
        SYS_poll,
#endif
#ifdef SYS_select
        SYS_select,
#endif
#ifdef SYS_epoll_wait
        SYS_epoll_wait,
#endif
#ifdef SYS_pause
        SYS_pause,
#endif
    };

    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        if (calls[i] == nr)
            return true;
    }
    return false;
}

enum suspicion { SUSPECT_NOT, SUSPECT_MAYBE, SUSPECT_WORKS };

/* May the program be the one that has made the link?  One that runs, waits for a disk, or was
 * stopped may be in the middle of a record. */
static enum suspicion
suspect_now(const struct nodedb_lock *l, const struct nodedb_lock_suspect *s)
{
    unsigned long long started;
    char state, text[256], *end;
    long nr;

    if (proc_stat(l, s->pid, &state, &started) < 0 || started != s->started || state == 'Z' ||
        state == 'X')
        return SUSPECT_NOT;
    if (state != 'S')
        return SUSPECT_WORKS;
    if (proc_read(l, s->pid, "syscall", text, sizeof(text)) < 0)
        return SUSPECT_MAYBE; /* it may be seen by few */
    nr = strtol(text, &end, 10);
    return end != text && is_waiting_call(nr) ? SUSPECT_NOT : SUSPECT_WORKS;
}

/* Forgets those that have ended. */
static enum suspicion
suspects_now(struct nodedb_lock *l)
{
    enum suspicion most = l->unseen ? SUSPECT_MAYBE : SUSPECT_NOT;
    unsigned n = 0;

    for (unsigned i = 0; i < l->nsuspects; i++) {
        enum suspicion is = suspect_now(l, &l->suspects[i]);

        if (is > most)
            most = is;
        if (is != SUSPECT_NOT)
            l->suspects[n++] = l->suspects[i];
    }
    l->nsuspects = n;
    return most;
}

/* ---- taking it ------------------------------------------------------------------------------ */

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
    enum suspicion is;

    if (!l->any || !same_link(link, &l->seen)) {
        l->any = true;
        l->looked = false;
        l->seen = *link;
        l->same_since_ms = now;
        l->look_again_ms = now + NODEDB_LOCK_STALE_MS;
    }
    if (now < l->look_again_ms)
        return false;
    l->look_again_ms = now + NODEDB_LOCK_LOOK_MS;
    if (!l->looked)
        find_suspects(l);
    is = suspects_now(l);
    age = now - l->same_since_ms;
    return is == SUSPECT_NOT || (is == SUSPECT_MAYBE && age >= NODEDB_LOCK_UNSEEN_STALE_MS);
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

/* Finds the process that has the flock of our file.  Returns 0 where it cannot be seen. */
static long
flock_owner(const struct nodedb_lock *l, const struct stat *file)
{
    char path[512], line[256];
    unsigned long long ino;
    unsigned major, minor;
    long pid, found = 0;
    FILE *f;

    (void)snprintf(path, sizeof(path), "%.200s/locks", l->proc);
    f = fopen(path, "re");
    while (f != NULL && found == 0 && fgets(line, sizeof(line), f) != NULL) {
        if (sscanf(line, "%*d: FLOCK %*s %*s %ld %x:%x:%llu", &pid, &major, &minor, &ino) == 4 &&
            ino == file->st_ino && makedev(major, minor) == file->st_dev && pid > 0)
            found = pid;
    }
    if (f != NULL)
        fclose(f);
    return found;
}

/* Says who has the lock. */
static void
lock_say_holder(const struct nodedb_lock *l, char *ret, size_t size)
{
    struct stat ours, link;
    char name[16];
    long pid;

    if (fstatat(l->dir, LOCK_OURS, &ours, AT_SYMLINK_NOFOLLOW) == 0 &&
        (fstatat(l->dir, LOCK_LINK, &link, AT_SYMLINK_NOFOLLOW) < 0 ||
         (link.st_ino == ours.st_ino && link.st_dev == ours.st_dev))) {
        pid = flock_owner(l, &ours);
        if (pid > 0)
            proc_name(l, pid, name);
        if (pid > 0)
            (void)snprintf(ret, size, "%s, process %ld, has their lock",
                           name[0] != '\0' ? name : "a program", pid);
        else
            (void)snprintf(ret, size, "an iscsid that is not seen here has their lock");
    } else if (l->looked && l->nsuspects > 0) {
        (void)snprintf(ret, size, "%s, process %ld, seems to have their lock", l->suspects[0].name,
                       l->suspects[0].pid);
    } else {
        (void)snprintf(ret, size,
                       "a program of open-iscsi has their lock, or has left it when it was killed");
    }
}

int
nodedb_lock_tell(const struct nodedb_lock *l, uint32_t waited_ms, struct lunette_error *err)
{
    char holder[128], self[64], dir[256];
    ssize_t n;

    lock_say_holder(l, holder, sizeof(holder));
    (void)snprintf(self, sizeof(self), "/proc/self/fd/%d", l->dir);
    n = readlink(self, dir, sizeof(dir) - 1);
    dir[n > 0 ? n : 0] = '\0';
    return lunette_fail(err, -EBUSY, LUNETTE_DOM_TIMEOUT, waited_ms,
                        "another program is changing the records: %s, %.120s/" LOCK_LINK
                        "; try again",
                        holder, dir);
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
    if (r == -EBUSY && wait_ms > 0)
        return nodedb_lock_tell(l, wait_ms, err);
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
    struct stat ours, link;

    assert(l->depth > 0);
    if (--l->depth > 0)
        return;
    /* The link goes first: without it the flock says nothing.  Where somebody has removed ours by
     * hand, another program may have made its own. */
    if (fstat(l->fd, &ours) == 0 && fstatat(l->dir, LOCK_LINK, &link, AT_SYMLINK_NOFOLLOW) == 0 &&
        link.st_ino == ours.st_ino && link.st_dev == ours.st_dev)
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
