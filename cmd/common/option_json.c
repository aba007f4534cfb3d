/* SPDX-License-Identifier: MIT */
#include "cmd/common/option_json.h"

#include <string.h>

#include "cmd/common/option_rows.h"

static void
option_json_choices(FILE *to, const char *choices)
{
    (void)fputs(", \"choices\": [", to);
    for (size_t n; *choices != '\0'; choices += n) {
        n = strcspn(choices, "|");
        (void)fprintf(to, "\"%.*s\"%s", (int)n, choices, choices[n] == '|' ? ", " : "]");
        n += choices[n] == '|' ? 1 : 0;
    }
}

void
option_json_begin(FILE *to, const char *program)
{
    (void)fprintf(to, "{\"program\": \"%s\", \"options\": [", program);
}

void
option_json_add(FILE *to, bool first, const struct option_row *o)
{
    (void)fprintf(to, "%s\n  {\"name\": \"%s\", \"value\": \"%s\", \"help\": \"%s\"",
                  first ? "" : ",", o->name, o->argument != NULL ? "required" : "no", o->help);
    if (o->opt < 256)
        (void)fprintf(to, ", \"letter\": \"%c\"", o->opt);
    if (o->repeats)
        (void)fputs(", \"repeats\": true", to);
    if (o->argument != NULL && strchr(o->argument, '|') != NULL)
        option_json_choices(to, o->argument);
    else if (o->argument != NULL)
        (void)fprintf(to, ", \"argument\": \"%s\"", o->argument);
    (void)fputc('}', to);
}

void
option_json_end(FILE *to)
{
    (void)fputs("]}\n", to);
}
