/* SPDX-License-Identifier: MIT */
/* base/suggest.h - which word was meant, where a known one is near to what was typed.  Any thread.
 */
#ifndef BASE_SUGGEST_H
#define BASE_SUGGEST_H

#include <stddef.h>

/* The search for the word that is nearest to `typed`.  Begin with {.typed = ...}. */
struct suggest {
    const char *typed;
    const char *best; /* the nearest so far, NULL: none is near */
    unsigned distance;
};

/* Looks at one more known word, which must stay until best has been used.  A word is near when at
 * most a third of its letters, and three, have to be changed, added, left out or swapped with their
 * neighbour, in either case; or when it begins with what was typed, of three letters or more. */
void suggest_try(struct suggest *s, const char *known);

#endif
