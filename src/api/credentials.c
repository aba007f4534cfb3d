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
#include "wire/credentials.h"

#define FILE_MAX 2048

/* Stores what was read.  A field that was not given stays as it was. */
static void
store_account(struct login_account *a, const struct credentials_text *name,
              const struct credentials_text *secret)
{
    if (name->text != NULL && name->text != a->name) {
        memcpy(a->name, name->text, name->len);
        a->name[name->len] = '\0';
    }
    if (secret->text != NULL) {
        memcpy(a->secret, secret->text, secret->len);
        a->secret_len = (uint16_t)secret->len;
    }
}

/* Takes a text as wire/credentials.h has it.  Names that the URL has are known. */
static int
take_text(struct api_url *u, const char *text, size_t len, const char *from,
          struct lunette_error *err)
{
    struct login_account *ours = &u->cfg.chap, *theirs = &u->cfg.mutual;
    struct credentials c = {.field = {{NULL, 0}}};
    int r;

    if (ours->name[0] != '\0')
        c.field[CREDENTIALS_NAME] = (struct credentials_text){ours->name, strlen(ours->name)};
    if (theirs->name[0] != '\0')
        c.field[CREDENTIALS_MUTUAL_NAME] =
            (struct credentials_text){theirs->name, strlen(theirs->name)};
    r = credentials_read(&c, text, len, from, err);
    if (r < 0)
        return r;
    store_account(ours, &c.field[CREDENTIALS_NAME], &c.field[CREDENTIALS_SECRET]);
    store_account(theirs, &c.field[CREDENTIALS_MUTUAL_NAME], &c.field[CREDENTIALS_MUTUAL_SECRET]);
    return 0;
}

/* Reads until the end or until buf is full: what comes through a pipe may come in pieces.  Returns
 * the length or -errno. */
static ssize_t
read_all(int fd, char buf[FILE_MAX])
{
    size_t len = 0;
    ssize_t n = 1;

    while (n > 0 && len < FILE_MAX) {
        n = read(fd, buf + len, FILE_MAX - len);
        if (n < 0 && errno == EINTR)
            n = 1;
        else if (n > 0)
            len += (size_t)n;
    }
    return n < 0 ? -errno : (ssize_t)len;
}

/* A file that is not there, or not for us, is a wrong input; what else fails is not. */
static int
file_error(const char *path, int errnum, struct lunette_error *err)
{
    bool input = errnum == ENOENT || errnum == ENOTDIR || errnum == EISDIR || errnum == EACCES ||
                 errnum == EPERM || errnum == ELOOP || errnum == ENAMETOOLONG;

    return lunette_fail(err, -errnum, input ? LUNETTE_DOM_USAGE : LUNETTE_DOM_OS,
                        input ? 0 : (uint32_t)errnum, "CHAP file %s: %s", path, errno_text(errnum));
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
        r = file_error(path, errno, err);
        if (fd >= 0)
            (void)close(fd);
        return r;
    }
    if (!secret_file_is_private(&st))
        r = lunette_fail(err, -EACCES, LUNETTE_DOM_USAGE, 0,
                         "CHAP file %s can be read or changed by others: chmod 600 %s", path, path);
    n = r == 0 ? read_all(fd, buf) : 0;
    (void)close(fd);
    if (n < 0)
        r = file_error(path, (int)-n, err);
    if (r == 0 && n == (ssize_t)sizeof(buf))
        r = lunette_fail(err, -EFBIG, LUNETTE_DOM_USAGE, 0, "CHAP file %s: more than %d bytes",
                         path, FILE_MAX - 1);
    if (r == 0)
        r = take_text(u, buf, (size_t)n, path, err);
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
        return take_text(u, env, strlen(env), "LUNETTE_CHAP", err);
    env = getenv("LUNETTE_CHAP_FILE");
    if (env != NULL && env[0] != '\0')
        return take_file(u, env, err);
    if (u->cfg.chap.name[0] != '\0')
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "the URL names a CHAP user but no secret: give it as user%%secret@, in "
                            "LUNETTE_CHAP or in a file (?chap_file=)");
    return 0;
}

/* A discovery may have an account of its own, and the user of the URL is not meant then. */
int
url_discovery_credentials(struct api_url *u, struct lunette_error *err)
{
    if (u->discovery_auth == URL_DISCOVERY_NONE || u->discovery_chap_file[0] != '\0') {
        login_config_wipe(&u->cfg);
        u->cfg.chap.name[0] = u->cfg.mutual.name[0] = '\0';
    }
    if (u->discovery_auth == URL_DISCOVERY_NONE) {
        u->cfg.auth_required = false;
        return 0;
    }
    u->cfg.auth_required |= u->discovery_auth == URL_DISCOVERY_CHAP;
    return u->discovery_chap_file[0] != '\0' ? take_file(u, u->discovery_chap_file, err)
                                             : url_credentials(u, err);
}
