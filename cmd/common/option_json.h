/* SPDX-License-Identifier: MIT */
/* cmd/common/option_json.h - options of a command line as JSON, of which completions are made. */
#ifndef CMD_COMMON_OPTION_JSON_H
#define CMD_COMMON_OPTION_JSON_H

#include <stdbool.h>
#include <stdio.h>

struct option_row;

/* Begins the list of a program's options, adds one, and ends the list. */
void option_json_begin(FILE *to, const char *program);
void option_json_add(FILE *to, bool first, const struct option_row *o);
void option_json_end(FILE *to);

#endif
