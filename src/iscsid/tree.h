/* SPDX-License-Identifier: MIT */
/* iscsid/tree.h - a directory tree that programs read while it changes.
 *
 * What is to be there is told in sets: a set has the files and links of one object, such as a
 * session.  A change goes from one state of a set to the next: files appear, change and go whole,
 * by rename(2), and so do directories that hold nothing but what the set brings.  Below class/ and
 * bus/ are links to what is elsewhere; they come last and go first.  Nothing outside the directory
 * is ever written, wherever links in it lead.
 */
#ifndef ISCSID_TREE_H
#define ISCSID_TREE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct tree;

struct tree_entry {
    char *path;                                      /* relative, without a leading slash */
    char *text;                                      /* of the file, or what the link points to */
    enum { TREE_FILE, TREE_SECRET, TREE_LINK } kind; /* TREE_SECRET: only its owner may read it */
    bool done;
};

/* {.n = 0} is an empty one. */
struct tree_set {
    struct tree_entry *entries;
    size_t n, room;
    bool ordered; /* by path; tree_change does it */
    bool failed;  /* memory was short: it is not whole, and tree_change refuses it */
    bool doubted; /* whether all of it is there is not known */
};

/* Adds an entry; text is copied.  The path is printf's, and is no text of a peer's. */
void tree_put(struct tree_set *s, int kind, const char *text, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* What is in it may be secret, and is overwritten. */
void tree_set_fini(struct tree_set *s);

/* Opens the directory, which is made where it is missing, and makes `dirs` in it (ends with NULL;
 * each behind the one that it is in), which stay.  One that holds something is only taken where it
 * is such a tree already; what it holds then stays until it is replaced, or swept.  Returns 0, or
 * -errno with *err. */
int tree_open(const char *path, const char *const *dirs, struct tree **ret,
              struct lunette_error *err);
void tree_close(struct tree **t);

/* From one state of a set to the next; either may be empty.  Returns 0, or -errno with *err, and
 * then what is there lies between the two: old is doubted, so that the next change from it, which
 * the caller makes later, puts everything in its place. */
int tree_change(struct tree *t, struct tree_set *old, struct tree_set *now,
                struct lunette_error *err);

/* Removes what stands in the directories that stay and is not known by its name. */
void tree_sweep(struct tree *t, bool (*known)(void *user, const char *name), void *user);

/* Has somebody written to that file, which had been put with an empty text? */
bool tree_is_written(const struct tree *t, const char *path);
/* Makes it empty again. */
void tree_rewind(struct tree *t, const char *path);

#endif
