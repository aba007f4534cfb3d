/* SPDX-License-Identifier: MIT */
/* cmd/common/option_rows.h - the options of a program, written down once: for getopt_long, for
 * --help, for generators of completions, and for whoever mistypes one. */
#ifndef CMD_COMMON_OPTION_ROWS_H
#define CMD_COMMON_OPTION_ROWS_H

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define OPTION_ROWS_MAX 32

struct option_row {
    int opt; /* a letter, or from 256 on what getopt_long answers */
    const char *name;
    const char *argument; /* a word for the value, or all values with bars; NULL: none */
    const char *help;     /* no text has anything that JSON would want escaped */
    bool repeats;         /* may be given several times */
};

struct option_program {
    const char *name, *usage, *about; /* usage: what follows "usage: " */
    const char *end;                  /* what --help says behind the options */
    const struct option_row *rows;
    size_t count; /* at most OPTION_ROWS_MAX */
};

/* What getopt_long wants; longs has room for OPTION_ROWS_MAX + 1, letters for 2 bytes of each and
 * two more.  letters begin with a colon: getopt_long is silent, and option_rows_refuse speaks. */
void option_rows_getopt(const struct option_program *p, struct option *longs, char *letters);
void option_rows_help(const struct option_program *p, FILE *to);
/* In the form of `lunette --print-options`. */
void option_rows_json(const struct option_program *p, FILE *to);
/* After getopt_long has answered c, '?' or ':', with `opt` in optopt, for word, argv[optind - 1]:
 * says on standard error what is wrong with it, and which option may have been meant. */
void option_rows_refuse(const struct option_program *p, int c, int opt, const char *word);

/* A number from min to max, in digits: 0 and *ret, or -EINVAL. */
int option_number(const char *text, unsigned long min, unsigned long max, unsigned long *ret);
/* Which of the words with bars between them it is, from 0 on, or -EINVAL. */
int option_word(const char *words, const char *text);

/* Says which of the options may have been meant by a word, if one is near, unless it is the word.
 */
void option_meant(const struct option *longs, const char *word);

#endif
