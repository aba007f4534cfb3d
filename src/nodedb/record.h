/* SPDX-License-Identifier: MIT */
/* nodedb/record.h - one record in memory: the values of its keys.  Any thread, one at a time.
 */
#ifndef NODEDB_RECORD_H
#define NODEDB_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "nodedb/keys.h"

/* The version of open-iscsi whose form records have; programs look for it in what iscsiadm shows.
 */
#define NODEDB_FORMAT_VERSION "2.1.8"

/* A key that is not known here, as it came. */
struct nodedb_extra {
    char *name, *value;
};

/* What a record holds.  Begin with nodedb_record_init, end with nodedb_record_fini. */
struct nodedb_record {
    enum nodedb_kind kind;
    char *origin; /* the file that it was read from, for errors; NULL: none */
    /* Of each key the text that it was set to, or NULL: the built-in default.  What a file has is
     * kept as it is, also where it is malformed; nodedb_record_get gives what is used of it. */
    char *value[NODEDB_KEY_COUNT];
    uint16_t line[NODEDB_KEY_COUNT];      /* in the file; 0: not read from one */
    const char *former[NODEDB_KEY_COUNT]; /* the former name under which a file has the key */
    struct nodedb_extra *extra;
    size_t nextra;
    bool torn;     /* the file ended before its time, or held nothing: what it had is used */
    unsigned nbad; /* lines that were malformed */
    struct lunette_error bad; /* the first of them: file, line, key and what is wrong */
    /* Set before nodedb_record_parse by whoever wants to hear of each; may be NULL. */
    void (*note)(void *user, const struct lunette_error *why);
    void *note_user;
};

/* Makes an empty record, in which each key has its built-in default.  Cannot fail. */
void nodedb_record_init(struct nodedb_record *r, enum nodedb_kind kind);

/* Overwrites the secrets and frees what r holds, but not r itself.  r is as after init. */
void nodedb_record_fini(struct nodedb_record *r);

/* Copies all keys that are set in `from` and that r's kind has, such as the defaults of
 * iscsid.conf.  Returns 0 or -ENOMEM. */
int nodedb_record_take(struct nodedb_record *r, const struct nodedb_record *from);

/* Reads text[0..len) into r.  What is malformed is counted in r->nbad and told in r->bad, and the
 * rest is taken; for an end before "# END RECORD" r->torn is set, and a last line without a newline
 * is left out.  origin names the file, NULL: none.  Returns 0 or -ENOMEM. */
int nodedb_record_parse(struct nodedb_record *r, const char *text, size_t len, const char *origin);

/* Returns what is used as the value of a key: never NULL.  Out of range it is the nearest value,
 * and *ret_bad (may be NULL) tells what is wrong, with code 0 where nothing is.  Where the text is
 * malformed it is the built-in default, and ret_bad->code -EINVAL; out of range it is -ERANGE.
 * The text is in buf, or is never freed. */
const char *nodedb_record_get(const struct nodedb_record *r, enum nodedb_key_id id,
                              char buf[NODEDB_VALUE_MAX + 1], struct lunette_error *ret_bad);
int64_t nodedb_record_num(const struct nodedb_record *r, enum nodedb_key_id id);
/* Returns the index of the word among the key's words. */
int nodedb_record_word(const struct nodedb_record *r, enum nodedb_key_id id);
/* The text itself, borrowed until it is changed: for keys of type TEXT. */
const char *nodedb_record_text(const struct nodedb_record *r, enum nodedb_key_id id);

/* Sets a key to a value that is known to be good, NULL: to its built-in default.  Returns 0 or
 * -ENOMEM. */
int nodedb_record_set(struct nodedb_record *r, enum nodedb_key_id id, const char *value);
int nodedb_record_set_num(struct nodedb_record *r, enum nodedb_key_id id, int64_t value);

/* Sets a key as a person asks for it (`-o update -n name -v value`): only a key that may be
 * changed, and only to a value in its range.  Returns 0; -EINVAL with *err; -ENOMEM. */
int nodedb_record_update(struct nodedb_record *r, const char *name, const char *value,
                         struct lunette_error *err);

enum nodedb_form {
    NODEDB_FORM_FILE,   /* as it is kept */
    NODEDB_FORM_SHOW,   /* as it is shown, with secrets as asterisks */
    NODEDB_FORM_UNMASK, /* as it is shown, with its secrets */
};

/* Writes r as a record.  Returns 0 and *ret with a NUL behind *ret_len bytes, which the caller ends
 * with nodedb_text_free; or -ENOMEM. */
int nodedb_record_format(const struct nodedb_record *r, enum nodedb_form form, char **ret,
                         size_t *ret_len);

/* Overwrites and frees a text that may hold secrets; *text may be NULL, and is so afterwards. */
void nodedb_text_free(char **text);

#endif
