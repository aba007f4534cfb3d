/* SPDX-License-Identifier: MIT */
/* export/nbd/nbd.h - an export (seam/export.h) to NBD clients, over a local socket.
 *
 * `where` is the path of the socket, which is made with mode 0600: whoever may open it may use the
 * device.  A stop removes it. */
#ifndef EXPORT_NBD_NBD_H
#define EXPORT_NBD_NBD_H

#include "seam/export.h"

extern const struct export_ops nbd_export;

#endif
