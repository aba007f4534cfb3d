/* SPDX-License-Identifier: MIT */
/* nodedb/conf.h - iscsid.conf, and the name of the initiator.  Any thread.
 */
#ifndef NODEDB_CONF_H
#define NODEDB_CONF_H

#include "base/addr.h"
#include "base/err.h"
#include "base/whole_file.h"
#include "nodedb/record.h"

#define NODEDB_ALIAS_MAX 255 /* bytes of an alias, RFC 7143 13.6 */

/* Reads iscsid.conf into r, of kind NODEDB_CONF, which is not initialized before and which the
 * caller ends with nodedb_record_fini: its keys are the defaults of new records, and settings of
 * the daemon.  What is wrong with a line does not end the reading: note (may be NULL) gets one
 * sentence for each line that is malformed, or has a key that is unknown or not used here, with
 * file, line and key; `why->code` is -EINVAL for a malformed one, which is ignored, and -ENOTSUP
 * else.  A file that is not there is an empty one.  Returns 0, or -errno with *err where it cannot
 * be read. */
int nodedb_conf_read(const char *path, struct nodedb_record *r,
                     void (*note)(void *user, const struct lunette_error *why), void *user,
                     struct lunette_error *err);

struct nodedb_initiator {
    char name[ISCSI_NAME_MAX + 1];
    char alias[NODEDB_ALIAS_MAX + 1]; /* "": none */
};

#define NODEDB_INITIATOR_RANDOM 6 /* bytes of which a name is made */

/* Reads InitiatorName and InitiatorAlias; of several lines the first counts.  Where the file is not
 * there, or is empty, a name is made of `random` and written, atomically; NULL: -ENOENT instead.
 * A name that another has made at the same time is taken.  Returns 0 and *ret, or -errno with *err:
 * -EINVAL for a file with no name in it, or one that cannot be sent. */
int nodedb_initiator_read(const char *path, const uint8_t random[NODEDB_INITIATOR_RANDOM],
                          const struct whole_fileops *ops, struct nodedb_initiator *ret,
                          struct lunette_error *err);

#endif
