/* SPDX-License-Identifier: MIT */
/* cmd/lunette/outfile.h - a file that a LUN is copied to: it has its name when it is complete.
 *
 * Until then the bytes are in PATH.partial, and behind them stands a record: what is copied, and
 * how far.  So a copy that was interrupted can go on, and PATH is either as it was or complete.
 */
#ifndef CMD_LUNETTE_OUTFILE_H
#define CMD_LUNETTE_OUTFILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define OUTFILE_SOURCE_MAX 640

struct outfile {
    char *path;    /* with links followed */
    char *partial; /* path.partial */
    char *name,
        *partial_name; /* the same for messages: a path may be a URL with a secret, mistyped */
    int fd;            /* of the partial file; -1: not open */
    bool exists;       /* there is a file of that name, whose mode and owner are kept */
    mode_t mode;
    uid_t uid;
    gid_t gid;
    char head[OUTFILE_SOURCE_MAX + 160]; /* the record's part that does not change */
    uint64_t length;                     /* bytes of the complete file: the record is behind them */
    uint64_t next_ns;                    /* when to record again */
};

/* Checks that path can be made or replaced, and changes nothing.  Returns 0, or an exit code after
 * printing the reason; the caller calls outfile_close in both cases. */
int outfile_check(const char *path, struct outfile *ret);

/* Opens the partial file for length bytes of what source names.  With resume it goes on with what
 * is there and sets *ret_done to the bytes that are complete; otherwise it begins anew.  Returns 0,
 * or an exit code after printing the reason. */
int outfile_open(struct outfile *f, const char *source, uint64_t length, bool resume,
                 uint64_t *ret_done);

/* Takes note that all before `done` is there, every few seconds.  Does not wait for the disk: the
 * note counts until the next boot. */
void outfile_mark(struct outfile *f, uint64_t done);

/* The same at once and on stable storage.  Returns 0 or -errno. */
int outfile_mark_stable(struct outfile *f, uint64_t done);

/* Cuts the record off and gives the file its name.  Returns 0, or an exit code after printing the
 * reason, which may be that somebody else removed, replaced or shortened it. */
int outfile_commit(struct outfile *f);

/* Removes the partial file, if it is still the one that has the name. */
void outfile_drop(struct outfile *f);

/* Closes and frees; what is there of the partial file stays.  NULL and zeroes are harmless. */
void outfile_close(struct outfile *f);

/* Checks that `need` bytes fit where f will be, or, where f is NULL, where the open file fd is,
 * which gives its own room back; and that they may be written.  name: for messages.  Returns 0, or
 * an exit code after printing the reason. */
int outfile_room(const struct outfile *f, int fd, const char *name, uint64_t need);

#endif
