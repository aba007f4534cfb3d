/* SPDX-License-Identifier: MIT */
/* What the files about engines share: engine_text.c, flashnode.c and mode_engine.c.  Functions that
 * return int return exit codes and have said what went wrong. */
#ifndef CMD_ISCSIADM_ENGINE_TEXT_H
#define CMD_ISCSIADM_ENGINE_TEXT_H

#include "cmd/iscsiadm/adm.h"
#include "cmd/iscsiadm/engine.h"

#define ADM_ENGINE_NAME     "engine" /* what stands in lists where others have a transport */
#define ADM_ENGINE_TEXT_MAX 16384    /* bytes of a request's text */

/* Says what went wrong. */
int adm_engine_told(const struct lunette_error *err);
/* Says what is wrong with the command line: MANAGE_INVALID. */
int adm_engine_usage(const char *text);

/* Takes the next line off *at, without its newline; NULL at the end. */
char *adm_engine_line(char **at);
/* Cuts "NAME = VALUE"; false: it is no such line. */
bool adm_engine_cut(char *line, const char **ret_name, const char **ret_value);
/* A record as the daemon's are, {"values": [[name, value], ...]}, of a text, which is cut to
 * pieces; the caller owns it. */
json_t *adm_engine_record(char *text);
/* Puts the pairs of -n and -v as lines behind the text in buf[ADM_ENGINE_TEXT_MAX]. */
int adm_engine_pairs(const struct adm_args *a, char *buf);

int adm_engine_flashnode(struct adm *adm, struct adm_engine *e, struct adm_engine_answer *answer);

#endif
