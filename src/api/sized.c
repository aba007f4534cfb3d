/* SPDX-License-Identifier: MIT */
#include "api/sized.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"

static size_t
sized_read(const void *s)
{
    size_t size;

    memcpy(&size, s, sizeof(size));
    return size;
}

int
api_sized_in(void *to, size_t ours, const void *from, size_t first)
{
    size_t size = sized_read(from);

    if (!api_size_possible(size, first))
        return -EINVAL;
    if (size == 0)
        size = first;
    for (size_t i = ours; i < size; i++) {
        if (((const char *)from)[i] != 0)
            return -E2BIG;
    }
    memset(to, 0, ours);
    memcpy(to, from, size < ours ? size : ours);
    memcpy(to, &ours, sizeof(ours));
    return 0;
}

int
api_sized_out(void *to, size_t first, const void *from, size_t ours)
{
    size_t size = sized_read(to), n;

    if (!api_size_possible(size, first))
        return -EINVAL;
    if (size == 0)
        size = first;
    n = size < ours ? size : ours;
    memcpy((char *)to + sizeof(size), (const char *)from + sizeof(size), n - sizeof(size));
    if (size > n)
        memset((char *)to + n, 0, size - n);
    return 0;
}

int
api_error_check(struct lunette_error *err)
{
    if (err == NULL)
        return 0;
    if (!api_size_possible(err->struct_size, API_FIRST_ERROR)) /* it has what the first one had */
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "lunette_error.struct_size is no size of a version: initialize the "
                            "structure with LUNETTE_INIT");
    if (err->struct_size > sizeof(*err))
        memset(err + 1, 0, err->struct_size - sizeof(*err));
    return 0;
}
