/* SPDX-License-Identifier: MIT */
/* api/credentials.c - secrets that need not stand in a process list. */
#include <lunette/lunette.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/url.h"
#include "base/secret_file.h"

#define FILE_MAX 2048

/* Takes "user:secret".  Where the URL names a user, only that user's secret is taken. */
static int
credentials_take_pair(struct login_account *a, const char *text, size_t len, const char *from,
                      struct lunette_error *err)
{
    const char *colon = memchr(text, ':', len);
    size_t name_len = colon != NULL ? (size_t)(colon - text) : 0;
    size_t secret_len = colon != NULL ? len - name_len - 1 : 0;

    if (name_len == 0 || name_len > CHAP_NAME_MAX || secret_len == 0 ||
        secret_len > CHAP_SECRET_MAX)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "%s: want user:secret", from);
    if (a->name[0] != '\0' && (strlen(a->name) != name_len || memcmp(a->name, text, name_len) != 0))
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "%s has credentials of another user than the URL's", from);
    memcpy(a->name, text, name_len);
    a->name[name_len] = '\0';
    memcpy(a->secret, colon + 1, secret_len);
    a->secret_len = (uint16_t)secret_len;
    return 0;
}

/* The first line is for us, the second for the target. */
static int
take_lines(struct api_url *u, const char *text, size_t len, const char *from,
           struct lunette_error *err)
{
    struct login_account *who[] = {&u->cfg.chap, &u->cfg.mutual};
    int r = 0;

    for (size_t i = 0; i < 2 && len > 0 && r == 0; i++) {
        const char *nl = memchr(text, '\n', len);
        size_t n = nl != NULL ? (size_t)(nl - text) : len, cut = n;

        if (cut > 0 && text[cut - 1] == '\r')
            cut--;
        if (cut > 0)
            r = credentials_take_pair(who[i], text, cut, from, err);
        text += nl != NULL ? n + 1 : n;
        len -= nl != NULL ? n + 1 : n;
    }
    return r;
}

static int
take_file(struct api_url *u, const char *file, struct lunette_error *err)
{
    char buf[FILE_MAX], path[256];
    struct stat st;
    ssize_t n;
    int r = 0, fd;

    /* for messages: somebody may have put the secret in the place of its file */
    (void)lunette_url_mask(file, path, sizeof(path));
    fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);

    if (fd < 0 || fstat(fd, &st) < 0) {
        r = lunette_fail(err, -errno, LUNETTE_DOM_OS, (uint32_t)errno, "CHAP file %s: %s", path,
                         errno_text(errno));
        if (fd >= 0)
            (void)close(fd);
        return r;
    }
    if (!secret_file_is_private(&st))
        r = lunette_fail(err, -EACCES, LUNETTE_DOM_USAGE, 0,
                         "CHAP file %s can be read or changed by others: chmod 600 %s", path, path);
    n = r == 0 ? read(fd, buf, sizeof(buf)) : 0;
    (void)close(fd);
    if (n < 0)
        r = lunette_fail(err, -errno, LUNETTE_DOM_OS, (uint32_t)errno, "CHAP file %s: %s", path,
                         errno_text(errno));
    if (r == 0)
        r = take_lines(u, buf, (size_t)n, path, err);
    chap_wipe(buf, sizeof(buf));
    return r;
}

int
url_credentials(struct api_url *u, struct lunette_error *err)
{
    const char *env;

    if (u->chap_file[0] != '\0')
        return take_file(u, u->chap_file, err);
    if (u->has_secret)
        return 0;
    env = getenv("LUNETTE_CHAP");
    if (env != NULL && env[0] != '\0')
        return take_lines(u, env, strlen(env), "LUNETTE_CHAP", err);
    env = getenv("LUNETTE_CHAP_FILE");
    if (env != NULL && env[0] != '\0')
        return take_file(u, env, err);
    if (u->cfg.chap.name[0] != '\0')
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "the URL names a CHAP user but no secret: give it as user%%secret@, in "
                            "LUNETTE_CHAP or in a file (?chap_file=)");
    return 0;
}
