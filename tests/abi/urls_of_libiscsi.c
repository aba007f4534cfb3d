/* SPDX-License-Identifier: MIT */
/* urls_of_libiscsi.c - URLs that libiscsi's own parser takes mean the same here. */
#include <stdio.h>
#include <string.h>

#include "api/url.h"
#include "tests/abi/their_urls.h"
#include "wire/lun.h"

static const char *const urls[] = {
    "iscsi://192.0.2.1/iqn.2026-11.example:d/0",
    "iscsi://192.0.2.1:3261/iqn.2026-11.example:d/7",
    "iscsi://h/iqn.2026-11.example%3Ad/1",
    "iscsi://h/iqn.2026-11.example%3ad/1",
    "iscsi://alice%secret-of-12-bytes@h/iqn.2026-11.example:d/0",
    "iscsi://alice%deadbeef0123@h/iqn.2026-11.example:d/0", /* hex digits behind the % */
    "iscsi://alice%61secret@h/iqn.2026-11.example:d/0",
    ("iscsi://alice%secret-of-alice@h/iqn.2026-11.example:d/"
     "0?target_user=bob&target_password=secret-of-bob"), /* one, on two lines */
    "iscsi://h/iqn.2026-11.example:My_Disk/0",
    "iscsi://h/iqn.2026-11.example:d/0?header_digest=crc32c",
    "iser://192.0.2.1:3261/iqn.2026-11.example:d/2",
};

static int
differs(const char *url, const char *what, const char *ours, const char *theirs)
{
    if (strcmp(ours, theirs) == 0)
        return 0;
    printf("%s: %s is \"%s\" here and \"%s\" there\n", url, what, ours, theirs);
    return 1;
}

static int
compare_url(const char *url)
{
    struct their_url theirs;
    struct lunette_error err = {.code = 0};
    struct api_url ours;
    char portal[PORTAL_TEXT_MAX], secret[CHAP_SECRET_MAX + 1] = "";
    char mutual[CHAP_SECRET_MAX + 1] = "";
    int bad = 0;

    if (their_url(url, &theirs) < 0 || url_parse(url, &ours, &err) < 0) {
        printf("%s: is refused %s\n", url, err.msg);
        return 1;
    }
    (void)portal_format(&ours.cfg.portal, portal, sizeof(portal));
    if (strchr(theirs.portal, ':') == NULL)
        *strchr(portal, ':') = '\0';
    memcpy(secret, ours.cfg.chap.secret, ours.cfg.chap.secret_len);
    memcpy(mutual, ours.cfg.mutual.secret, ours.cfg.mutual.secret_len);
    bad += differs(url, "the portal", portal, theirs.portal);
    bad += differs(url, "the target", ours.cfg.target_name, theirs.target);
    bad += differs(url, "the user", ours.cfg.chap.name, theirs.user);
    bad += differs(url, "the secret", secret, theirs.secret);
    bad += differs(url, "target_user", ours.cfg.mutual.name, theirs.target_user);
    bad += differs(url, "target_password", mutual, theirs.target_secret);
    if (ours.lun[1] != theirs.lun) {
        printf("%s: the LUN is %u here and %d there\n", url, ours.lun[1], theirs.lun);
        bad++;
    }
    url_wipe(&ours);
    return bad;
}

int
main(void)
{
    int bad = 0;

    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++)
        bad += compare_url(urls[i]);
    return bad > 0;
}
