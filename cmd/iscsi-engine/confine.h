/* SPDX-License-Identifier: MIT */
/* cmd/iscsi-engine/confine.h - gives up system calls that an engine has no need of.
 *
 * An engine takes bytes of its clients and of targets.  If one of them found a hole in it, it
 * should not be able to start programs, to look into other processes, or to change the system.
 */
#ifndef CMD_ISCSI_ENGINE_CONFINE_H
#define CMD_ISCSI_ENGINE_CONFINE_H

/* All threads of the process give them up, for good; they fail with EPERM from then on.  Returns 0;
 * -EOPNOTSUPP: it is not done on this kind of machine, or with this kernel; or another -errno. */
int engine_confine(void);

#endif
