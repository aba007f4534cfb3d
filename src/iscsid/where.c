/* SPDX-License-Identifier: MIT */
/* Where the exports of a session are: RUN/nbd/SESSION/LUN.sock.  The path of a session is always
 * the same, so that a client finds it again after all daemons have died. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "iscsid/internal.h"
#include "wire/lun.h"

#define WHERE_SAFE "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:-_"

/* FNV-1a, for names that are too long or have bytes that no path should have. */
static uint64_t
where_hash(const char *text)
{
    uint64_t h = 0xcbf29ce484222325u;

    for (; *text != '\0'; text++)
        h = (h ^ (unsigned char)*text) * 0x100000001b3u;
    return h;
}

/* Writes the name of a session, of which there is one for each target, portal, iface and instance.
 * The iface may be called like a number, and is left out only where no instance follows. */
static void
where_name(const struct control_name *name, char *buf, size_t size)
{
    const char *iface = name->iface[0] != '\0' ? name->iface : "default";
    int n = snprintf(buf, size, "%s,%s,%u", name->target, name->portal.host, name->portal.port);

    if (name->instance > 0)
        (void)snprintf(buf + n, size - (size_t)n, ",%s,%" PRIu32, iface, name->instance);
    else if (strcmp(iface, "default") != 0)
        (void)snprintf(buf + n, size - (size_t)n, ",%s", iface);
}

static bool
where_fits(char *path, const char *run, const char *dir, const char *lun)
{
    int n = snprintf(path, CONTROL_PATH_MAX + 1, "%s/nbd/%s/%s.sock", run, dir, lun);

    return n > 0 && n <= CONTROL_PATH_MAX;
}

/* Finds the path of an export. */
static int
where_path(const char *run, const struct control_name *name, const char *lun, char *path)
{
    char dir[ISCSI_NAME_MAX + HOST_MAX + CONTROL_IFACE_MAX + 64];

    where_name(name, dir, sizeof(dir));
    if (dir[0] != '.' && dir[strspn(dir, WHERE_SAFE ",")] == '\0' &&
        where_fits(path, run, dir, lun))
        return 0;
    (void)snprintf(dir, sizeof(dir), "%016" PRIx64, where_hash(dir));
    return where_fits(path, run, dir, lun) ? 0 : -ENAMETOOLONG;
}

int
where_export(const char *run, const struct control_name *name, const uint8_t lun[8], char *path)
{
    char at[CONTROL_PATH_MAX + 1], text[LUN_TEXT_MAX];
    int r;

    (void)lun_format(lun_load(lun), text);
    r = where_path(run, name, text, path);
    if (r < 0)
        return r;
    (void)mkdir(run, 0700); /* somebody may have removed it */
    (void)snprintf(at, sizeof(at), "%s/nbd", run);
    if (mkdir(at, 0700) < 0 && errno != EEXIST)
        return -errno;
    (void)snprintf(at, sizeof(at), "%.*s", (int)(strrchr(path, '/') - path), path);
    return mkdir(at, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

void
where_forget(const char *run, const struct control_name *name)
{
    char dir[ISCSI_NAME_MAX + HOST_MAX + CONTROL_IFACE_MAX + 64], path[CONTROL_PATH_MAX + 1];

    if (where_path(run, name, "0", path) == 0) {
        *strrchr(path, '/') = '\0';
        (void)rmdir(path);
    }
    /* That of LUNs whose number has more digits may be the other one. */
    where_name(name, dir, sizeof(dir));
    if (snprintf(path, sizeof(path), "%s/nbd/%016" PRIx64, run, where_hash(dir)) <
        (int)sizeof(path))
        (void)rmdir(path);
}
