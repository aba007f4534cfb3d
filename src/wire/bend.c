/* SPDX-License-Identifier: MIT */
#include "wire/bend.h"

#include <stddef.h>

const char *
bend_text(unsigned bend)
{
    static const char *const texts[BEND_COUNT] = {
#define BEND(name, text) text,
#include "wire/bend.def"
#undef BEND
    };

    return bend < BEND_COUNT ? texts[bend] : NULL;
}
