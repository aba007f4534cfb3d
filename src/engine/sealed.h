/* SPDX-License-Identifier: MIT */
/* engine/sealed.h - texts in files that tell by themselves whether they are whole: the first line
 * says what they are and of which version, the last one the CRC32C of all before it.  Any thread.
 */
#ifndef ENGINE_SEALED_H
#define ENGINE_SEALED_H

#include <stddef.h>

#include "base/err.h"
#include "base/whole_file.h"

#define SEALED_VERSION  1
#define SEALED_LINE_MAX 64 /* bytes of the first or the last line */

/* Gives dir/name the text, of the kind `kind`, by whole_file_replace.  0 or -errno. */
int sealed_write(const struct whole_fileops *ops, int temp_dir, int dir, const char *name,
                 const char *kind, const char *text, size_t len);

/* Reads it.  Returns 0, *ret as whole_file_read has it, which the caller frees, and where in it the
 * text between the first and the last line is; or -errno with *err: -EBADMSG: it is torn, or was
 * changed by hand; -EPROTONOSUPPORT: a newer version has written it; or as whole_file_read. */
int sealed_read(int dir, const char *name, const char *kind, char **ret, const char **ret_text,
                size_t *ret_len, struct lunette_error *err);

#endif
