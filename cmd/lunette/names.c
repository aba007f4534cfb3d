/* SPDX-License-Identifier: MIT */
/* cmd/lunette/names.c - names and addresses as targets tell them, which need not be as RFC 7143
 * wants them: printed so that no terminal obeys them and that they can be used in a URL. */
#include "cmd/lunette/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"

char *
name_encoded(const char *name)
{
    char *ret = xmalloc(3 * strlen(name) + 1), *to = ret;

    for (; *name != '\0'; name++) {
        unsigned char c = (unsigned char)*name;

        if (c <= 0x20 || c > 0x7e || strchr("%/?#@", c) != NULL)
            to += snprintf(to, 4, "%%%02X", c);
        else
            *to++ = (char)c;
    }
    *to = '\0';
    return ret;
}

const char *
address_fault(const char *address)
{
    struct portal p;

    return portal_read(address, strlen(address), &p);
}

json_t *
json_of_name(const char *name)
{
    json_t *j = json_string(name); /* refuses what is no UTF-8 */

    if (j == NULL) {
        char *encoded = name_encoded(name);
        j = json_string(encoded);
        free(encoded);
    }
    return j;
}

void
json_add_note(json_t *j, const char *note)
{
    if (note != NULL)
        json_object_set_new(j, "note", json_string(note));
}

void
name_print_note(const char *name, const char *note)
{
    if (note == NULL)
        return;
    char *encoded = name_encoded(name);
    fflush(stdout);
    fprintf(stderr, "lunette: ! %s: %s\n", encoded, note);
    free(encoded);
}
