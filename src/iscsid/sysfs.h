/* SPDX-License-Identifier: MIT */
/* iscsid/sysfs.h - a directory that looks like /sys where it is about iSCSI, for the tools of
 * open-iscsi and others that read sessions there. */
#ifndef ISCSID_SYSFS_H
#define ISCSID_SYSFS_H

#include "iscsid/internal.h"

struct sysfs;

/* Begins; nothing is there before sysfs_ready.  Returns 0 or -errno with *err. */
int sysfs_new(struct iscsid *d, const char *dir, struct sysfs **ret, struct lunette_error *err);
/* Leaves what is there.  *s becomes NULL; NULL is harmless.  The management server is freed before,
 * so that no request is under way. */
void sysfs_free(struct sysfs **s);

/* All sessions are known; or something has happened to the session of ev->node, or to one that is
 * gone.  s may be NULL. */
void sysfs_ready(struct sysfs *s);
void sysfs_event(struct sysfs *s, const struct control_event *ev);

/* Does the directory show what has happened so far?  s may be NULL. */
bool sysfs_is_settled(const struct sysfs *s);

#endif
