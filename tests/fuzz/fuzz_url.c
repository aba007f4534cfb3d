/* SPDX-License-Identifier: MIT */
/* fuzz_url.c - iscsi:// URLs, as people and other programs put them together. */
#include "api/url.h"
#include "fuzz.h"

void
fuzz_one(const uint8_t *data, size_t len)
{
    struct lunette_error err = {0};
    struct api_url *u = malloc(sizeof(*u));
    char *url = malloc(len + 1);

    CHECK(u != NULL && url != NULL);
    memcpy(url, data, len);
    url[len] = '\0';
    if (url_parse(url, u, &err) < 0)
        fuzz_check_text(err.msg, sizeof(err.msg));
    else
        url_wipe(u);
    free(url);
    free(u);
}
