/* SPDX-License-Identifier: MIT */
/* tree.h - a directory of records for a test, and helpers that fail the test by themselves. */
#ifndef TESTS_NODEDB_TREE_H
#define TESTS_NODEDB_TREE_H

#include "tests/test.h"

#include "nodedb/db.h"

struct tree {
    char dir[64];   /* the directory of the test */
    char root[80];  /* dir/iscsi */
    char locks[80]; /* dir/locks */
    struct nodedb *db;
};

/* For cmocka: *state becomes a struct tree with an open database; and removes all of it.  Nothing
 * is synced: no power fails here, and a disk that others use would take minutes. */
int tree_setup(void **state);
int tree_teardown(void **state);

/* Write and read dir/path below the tree's root. */
void tree_put(const struct tree *t, const char *path, const char *text);
void tree_put_bytes(const struct tree *t, const char *path, const void *text, size_t len);
/* Returns the text, to be freed, or NULL where there is no such file. */
char *tree_get(const struct tree *t, const char *path);
bool tree_has(const struct tree *t, const char *path);
/* The number of names in a directory, those with a dot included; 0 where it is not there. */
unsigned tree_count(const struct tree *t, const char *path);

struct nodedb_id tree_id(const char *target, const char *host, int port, int tpgt,
                         const char *iface);

/* Adds a node with built-in defaults, as a person does. */
void tree_add(const struct tree *t, const struct nodedb_id *id);

/* Makes an interface with built-in defaults where there is none, and changes one key of it, unless
 * that is NULL.  Returns 0 or -errno. */
int tree_iface(struct nodedb *db, const char *name, const char *key, const char *value,
               struct lunette_error *err);

#endif
