/* SPDX-License-Identifier: MIT */
/* api/url.h - iscsi:// URLs into what to log in to.  See lunette-url(7). */
#ifndef API_URL_H
#define API_URL_H

#include "login/config.h"

/* What a discovery offers: discovery_auth= of the URL. */
enum url_discovery {
    URL_DISCOVERY_USUAL, /* not given: credentials where there are any, and none when those are
                            refused and are not a discovery's own */
    URL_DISCOVERY_NONE,  /* none */
    URL_DISCOVERY_CHAP,  /* credentials, and the target has to take them */
};

struct api_url {
    struct login_config cfg; /* it holds secrets: see url_wipe */
    bool has_target, has_lun, has_isid, has_secret;
    uint8_t lun[8];        /* as on the wire */
    uint32_t reopen_max;   /* 0: no limit */
    uint32_t timeout_ms;   /* for each command, 0: the default */
    uint32_t queue_depth;  /* 0: the host's */
    uint64_t max_transfer; /* bytes, 0: default */
    char chap_file[256];   /* "": none given */
    enum url_discovery discovery_auth;
    char discovery_chap_file[256]; /* "": a discovery has no credentials of its own */
};

/* What the value of an option may be shown as. */
enum url_option_kind {
    URL_OPTION_UNKNOWN, /* there is no such option */
    URL_OPTION_PLAIN,   /* it is no secret */
    URL_OPTION_SECRET,
};
enum url_option_kind url_option_kind(const char *text, size_t len);

#define URL_ISER "iser" /* the transport that iser:// names */

/* Parses "iscsi://..." or "iser://..." into *ret; options whose name begins with that of the
 * transport and an underscore go to cfg.transport_options as they are.  cfg.transport is "" where
 * the URL names none, and what the transport can do is the caller's to fill in.  -EINVAL with what
 * is wrong, which quotes nothing of the URL but the key of an option; *ret is then wiped. */
int url_parse(const char *url, struct api_url *ret, struct lunette_error *err);

/* Takes credentials from the file named in the URL, LUNETTE_CHAP, or LUNETTE_CHAP_FILE where the
 * URL has none.  wire/credentials.h says what such a text holds; others must not be able to read
 * the file. */
int url_credentials(struct api_url *u, struct lunette_error *err);

/* The same for a discovery: those of discovery_chap_file where it is given, none where
 * discovery_auth is none, and else the same as for a session. */
int url_discovery_credentials(struct api_url *u, struct lunette_error *err);

void url_wipe(struct api_url *u);

#endif
