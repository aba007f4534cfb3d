/* SPDX-License-Identifier: MIT */
/* cmd/common/instance.h - where an instance of the daemons keeps what it has.
 *
 * Many instances live beside each other on a host.  Each is named by a folder (--root) or by a name
 * (--instance), and all of its paths follow from that.  Without either there is one of the system
 * for root, and one of its own for each other user.
 */
#ifndef CMD_COMMON_INSTANCE_H
#define CMD_COMMON_INSTANCE_H

#include "base/err.h"

#define INSTANCE_PATH_MAX 1024 /* bytes with the NUL */

/* `which` are the arguments that lead another program to the same instance: an option and its
 * value, or nothing.
 *
 *                    conf                       records                    run
 *   --root DIR       DIR                        DIR                        DIR/run
 *   root             /etc/iscsi                 /var/lib/iscsi or conf     /run/lunette
 *   root, NAME       /etc/lunette/NAME          /var/lib/lunette/NAME      /run/lunette/NAME
 *   others, NAME     $XDG_CONFIG_HOME/lunette/  $XDG_STATE_HOME/lunette/ $XDG_RUNTIME_DIR/lunette/
 *
 * NAME of the last row is "default" where none is given; a variable that is not set is ~/.config,
 * ~/.local/state, and run/ of the records.  /var/lib/iscsi is taken where it has a folder nodes. */
struct instance {
    char conf[INSTANCE_PATH_MAX];    /* iscsid.conf, initiatorname.iscsi */
    char records[INSTANCE_PATH_MAX]; /* nodes, send_targets, ifaces, ... */
    char run[INSTANCE_PATH_MAX];     /* sockets */
    const char *which[2];
};

/* root and name are borrowed as long as *ret; NULL: not given, and then the environment's
 * LUNETTE_ROOT or LUNETTE_INSTANCE is taken.  Only one may be given.  No file is made.  Returns 0,
 * or -EINVAL or -ENAMETOOLONG with the reason. */
int instance_find(const char *root, const char *name, struct instance *ret,
                  struct lunette_error *err);

#define INSTANCE_OPTIONS_MAX (4 * INSTANCE_PATH_MAX + 32)
/* Writes these arguments as a shell takes them behind the name of a program, with a blank before
 * each: " --root '/my folder'", or "".  Returns buf[INSTANCE_OPTIONS_MAX]. */
const char *instance_options(const struct instance *at, char *buf);

#endif
