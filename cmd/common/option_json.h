/* SPDX-License-Identifier: MIT */
/* cmd/common/option_json.h - options of a command line as JSON, of which completions are made. */
#ifndef CMD_COMMON_OPTION_JSON_H
#define CMD_COMMON_OPTION_JSON_H

#include <stdbool.h>
#include <stdio.h>

/* An option; no text of it has anything that JSON would want escaped. */
struct option_json {
    const char *name, *help;
    const char
        *argument; /* a word for the value, or all values with bars between them; NULL: none */
    char letter;   /* 0: none */
    bool repeats;  /* may be given several times */
};

/* Begins the list of a program's options, adds one, and ends the list. */
void option_json_begin(FILE *to, const char *program);
void option_json_add(FILE *to, bool first, const struct option_json *o);
void option_json_end(FILE *to);

#endif
