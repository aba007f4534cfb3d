/* SPDX-License-Identifier: MIT */
/* login/packed.h - a configuration in a few hundred bytes, for sessions by the thousand that keep
 * theirs for another login.
 *
 * A struct login_config is some 2.4 KB, nearly all of it room in texts that are short, so that it
 * may be copied.  It is packed as the pieces of it that are not zero.
 */
#ifndef LOGIN_PACKED_H
#define LOGIN_PACKED_H

#include "login/config.h"

struct login_packed;

/* Packs *cfg into *ret, which the caller ends with login_packed_free.  Returns 0 or -ENOMEM. */
int login_pack(const struct login_config *cfg, struct login_packed **ret);

/* Fills in *ret, which holds secrets then: login_config_wipe. */
void login_unpack(const struct login_packed *p, struct login_config *ret);

/* Overwrites the secrets, frees *p and sets it to NULL; *p may be NULL. */
void login_packed_free(struct login_packed **p);

#endif
