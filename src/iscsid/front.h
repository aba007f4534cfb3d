/* SPDX-License-Identifier: MIT */
/* iscsid/front.h - callers of open-iscsi's management socket, served by the methods of the API. */
#ifndef ISCSID_FRONT_H
#define ISCSID_FRONT_H

#include "iscsid/internal.h"

struct front;

int front_new(struct iscsid *d, struct front **ret, struct lunette_error *err);
/* Listens at the socket.  Returns 0 or -errno with *err. */
int front_listen(struct front *f, struct lunette_error *err);
/* After the management server was freed.  *f becomes NULL; NULL is harmless. */
void front_free(struct front **f);

#endif
