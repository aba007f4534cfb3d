/* SPDX-License-Identifier: MIT */
/* nodedb/lines.h - the lines of records, of iscsid.conf and of initiatorname.iscsi.  Any thread.
 */
#ifndef NODEDB_LINES_H
#define NODEDB_LINES_H

#include <stdbool.h>
#include <stddef.h>

#define NODEDB_LINE_MAX 2047 /* bytes of a line, as in open-iscsi */

/* What a key of ours stands behind in a record: a comment to everybody else, since the library of
 * open-iscsi lists no record at all when one of them has a key that it does not know. */
#define NODEDB_OURS_PREFIX "# lunette:"

enum nodedb_line_kind {
    NODEDB_LINE_PAIR,
    NODEDB_LINE_BEGIN, /* "# BEGIN RECORD" */
    NODEDB_LINE_END,   /* "# END RECORD" */
    NODEDB_LINE_BAD,   /* `why` says what is wrong with it */
};

struct nodedb_line {
    enum nodedb_line_kind kind;
    unsigned number;                /* of the line, from 1 */
    bool ended;                     /* a newline is behind it; else it may be torn */
    const char *name, *value, *why; /* of a PAIR; they point into the text */
    size_t name_len, value_len;
};

struct nodedb_lines {
    const char *p, *end;
    unsigned number;
};

/* Begins to read text[0..len), which is borrowed. */
void nodedb_lines_init(struct nodedb_lines *l, const char *text, size_t len);

/* Gets the next line that is neither empty nor a comment.  Returns false at the end. */
bool nodedb_lines_next(struct nodedb_lines *l, struct nodedb_line *ret);

#endif
