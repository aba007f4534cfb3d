/* SPDX-License-Identifier: MIT */
#include "lu/sidecar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The folder without links, and the name as it is: where a file is made that has a suffix. */
static bool
sidecar_path(const char *path, char ret[PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    char folder[PATH_MAX], real[PATH_MAX];

    if (slash == NULL)
        (void)strcpy(folder, ".");
    else if (slash == path)
        (void)strcpy(folder, "/");
    else
        (void)snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path), path);
    if (realpath(folder, real) == NULL)
        return false;
    return snprintf(ret, PATH_MAX, "%s/%s", strcmp(real, "/") == 0 ? "" : real,
                    slash == NULL ? path : slash + 1) < PATH_MAX;
}

static bool
sidecar_cut(char *path, const char *suffix)
{
    size_t len = strlen(path), n = strlen(suffix);

    if (len <= n || strcmp(path + len - n, suffix) != 0)
        return false;
    path[len - n] = '\0';
    return true;
}

bool
lu_sidecar_base(const struct lu_config *cfg, char base[PATH_MAX])
{
    if (cfg->kind != LU_FILE || cfg->store != NULL)
        return false;
    if (realpath(cfg->path, base) == NULL && !sidecar_path(cfg->path, base))
        return false;
    return sidecar_cut(base, LU_SIDECAR_SUFFIX) || sidecar_cut(base, LU_SIDECAR_NEW_SUFFIX);
}

bool
lu_sidecar_is_of(const struct lu_config *cfg, const char base[PATH_MAX])
{
    char path[PATH_MAX];

    return cfg->kind == LU_FILE && cfg->store == NULL && sidecar_path(cfg->path, path) &&
           strcmp(path, base) == 0;
}
