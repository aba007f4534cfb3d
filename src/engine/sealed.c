/* SPDX-License-Identifier: MIT */
#include "engine/sealed.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"

#define SEAL_FORM "# crc32c %08x\n"

static uint32_t
seal_of(const char *text, size_t len)
{
    return crc32c_final(crc32c_update(CRC32C_INIT, text, len));
}

int
sealed_write(const struct whole_fileops *ops, int temp_dir, int dir, const char *name,
             const char *kind, const char *text, size_t len)
{
    size_t room = len + 2 * SEALED_LINE_MAX;
    char *all = malloc(room);
    int n, r;

    if (all == NULL)
        return -ENOMEM;
    n = snprintf(all, room, "# lunette %.32s version %d\n", kind, SEALED_VERSION);
    memcpy(all + n, text, len);
    n += (int)len;
    n += snprintf(all + n, room - (size_t)n, SEAL_FORM, seal_of(all, (size_t)n));
    r = whole_file_replace(ops, temp_dir, dir, name, all, (size_t)n);
    explicit_bzero(all, room);
    free(all);
    return r;
}

static int
sealed_torn(const char *name, const char *what, struct lunette_error *err)
{
    return lunette_fail(err, -EBADMSG, LUNETTE_DOM_OS, EBADMSG, "%s is not whole: %s", name, what);
}

/* Finds the text between the first and the last line of all[0..len). */
static int
sealed_check(const char *name, const char *kind, const char *all, size_t len, const char **ret_text,
             size_t *ret_len, struct lunette_error *err)
{
    char form[SEALED_LINE_MAX], seal[SEALED_LINE_MAX];
    size_t seal_len = (size_t)snprintf(seal, sizeof(seal), SEAL_FORM, 0u);
    const char *first_end = memchr(all, '\n', len);
    unsigned version = 0;
    int head;

    (void)snprintf(form, sizeof(form), "# lunette %.32s version ", kind);
    head = (int)strlen(form);
    if (first_end == NULL || strncmp(all, form, (size_t)head) != 0 ||
        sscanf(all + head, "%u\n", &version) != 1 || version == 0)
        return sealed_torn(name, "its first line does not say what it is", err);
    if (version > SEALED_VERSION)
        return lunette_fail(err, -EPROTONOSUPPORT, LUNETTE_DOM_USAGE, version,
                            "%s was written by a newer version of this program (%u, this one knows "
                            "%d)",
                            name, version, SEALED_VERSION);
    first_end++;
    if (len < (size_t)(first_end - all) + seal_len)
        return sealed_torn(name, "its last line is missing", err);
    (void)snprintf(seal, sizeof(seal), SEAL_FORM, seal_of(all, len - seal_len));
    if (memcmp(all + len - seal_len, seal, seal_len) != 0)
        return sealed_torn(name, "its last line is not the checksum of the others", err);
    *ret_text = first_end;
    *ret_len = len - seal_len - (size_t)(first_end - all);
    return 0;
}

int
sealed_read(int dir, const char *name, const char *kind, char **ret, const char **ret_text,
            size_t *ret_len, struct lunette_error *err)
{
    char *all = NULL;
    size_t len = 0;
    int r = whole_file_read(dir, name, &all, &len);

    if (r < 0)
        return lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r, "cannot read %s: %s", name,
                            errno_text(r));
    r = sealed_check(name, kind, all, len, ret_text, ret_len, err);
    if (r < 0) {
        explicit_bzero(all, len);
        free(all);
        return r;
    }
    *ret = all;
    return 0;
}
