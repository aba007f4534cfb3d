/* SPDX-License-Identifier: MIT */
/* api/url_text.h - how the text of a URL is taken apart, before anything of it is understood.  Any
 * thread. */
#ifndef API_URL_TEXT_H
#define API_URL_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#define URL_SCHEME      "iscsi://"
#define URL_SCHEME_ISER "iser://" /* libiscsi's, for transport=iser */

/* The length of the scheme that text begins with, in whatever case (RFC 3986 3.1); 0: with none. */
size_t url_scheme_len(const char *text);

/* Finds the % between user and secret in [user[%secret]] of len bytes, or NULL.  It is the first
 * one without two hex digits behind it, as libiscsi's URLs have it.  Where there is none, since the
 * secret begins with hex digits, it is the first one whose hex digits stand for a byte that nobody
 * would encode. */
const char *url_secret_sign(const char *user, size_t len);

/* Decodes %XX in place; a % without two hex digits stands for itself.  Writes a NUL behind the
 * text where it has become shorter.  Returns the new length, or -EINVAL for a %00. */
int url_decode(char *text, size_t len);

/* Finds the end of what may be user and secret in a URL, or in what should have been one, without
 * its scheme: the last @ that is not part of an option's value.  A secret that was not encoded may
 * have put it behind a / or a ?.  NULL where there is none. */
const char *url_user_end(const char *text);

/* Is text[0..len) host[:port] and nothing else, so that no secret can be in it? */
bool url_is_portal(const char *text, size_t len);

#endif
