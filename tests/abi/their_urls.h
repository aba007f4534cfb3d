/* SPDX-License-Identifier: MIT */
/* their_urls.h - what libiscsi's parser makes of a URL, without its headers, whose folder has the
 * name of one of ours. */
#ifndef TESTS_ABI_THEIR_URLS_H
#define TESTS_ABI_THEIR_URLS_H

struct their_url {
    char portal[256], target[256], user[256], secret[256], target_user[256], target_secret[256];
    int lun;
};

/* Returns 0, or -1 where libiscsi does not take url. */
int their_url(const char *url, struct their_url *ret);

#endif
