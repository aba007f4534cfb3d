/* SPDX-License-Identifier: MIT */
/* replay.c - runs a fuzz target over files and directories of inputs, and over every prefix of
 * each: parsers meet most of their ends there. */
#include <dirent.h>
#include <sys/stat.h>

#include "fuzz.h"

#define INPUT_MAX    (1u << 20)
#define PREFIXES_MAX 600 /* of longer inputs, only these last */

static unsigned inputs;

static void
replay_bytes(const uint8_t *data, size_t len)
{
    size_t first = len > PREFIXES_MAX ? len - PREFIXES_MAX : 0;

    for (size_t n = first; n <= len; n++) {
        uint8_t *copy = fuzz_copy(data, n);

        fuzz_one(copy, n);
        free(copy);
    }
    inputs++;
}

static void
replay_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    uint8_t *buf = malloc(INPUT_MAX);
    size_t len;

    CHECK(f != NULL && buf != NULL);
    len = fread(buf, 1, INPUT_MAX, f);
    fclose(f);
    replay_bytes(buf, len);
    free(buf);
}

static void
replay(const char *path)
{
    struct stat st;
    struct dirent *e;
    DIR *d;

    CHECK(stat(path, &st) == 0);
    if (!S_ISDIR(st.st_mode)) {
        replay_file(path);
        return;
    }
    d = opendir(path);
    CHECK(d != NULL);
    while ((e = readdir(d)) != NULL) {
        char name[4096];

        if (e->d_name[0] == '.')
            continue;
        CHECK(snprintf(name, sizeof(name), "%s/%s", path, e->d_name) < (int)sizeof(name));
        replay_file(name);
    }
    closedir(d);
}

int
main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        replay(argv[i]);
    printf("%u inputs\n", inputs);
    return inputs > 0 ? 0 : 1;
}
