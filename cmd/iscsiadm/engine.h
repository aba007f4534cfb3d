/* SPDX-License-Identifier: MIT */
/* Engines (iscsi-engine(8)): found by the path or the number of their sockets, and asked about
 * their tables by the messages of seam/ipc.h, without the daemon.  Blocking.
 *
 * Each loop of an engine has a part of the tables; a connection goes to each. */
#ifndef CMD_ISCSIADM_ENGINE_H
#define CMD_ISCSIADM_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "seam/ipc.h"

#define ADM_ENGINES_MAX      256 /* sockets in the folder that are looked at */
#define ADM_ENGINE_LOOPS_MAX 64

struct adm_engine;
struct instance;
struct loop;

/* The sockets in RUN/engine, in the order of their names. */
struct adm_engines {
    char *path[ADM_ENGINES_MAX]; /* owned */
    unsigned n;
};
void adm_engines_find(const struct instance *at, struct adm_engines *ret);
void adm_engines_free(struct adm_engines *e);

/* Connects to all loops of an engine.  0, or -errno with *err. */
int adm_engine_open(struct loop *l, const char *path, struct adm_engine **ret,
                    struct lunette_error *err);
/* NULL is harmless. */
void adm_engine_close(struct adm_engine *e);
uint32_t adm_engine_loops(const struct adm_engine *e);

struct adm_engine_answer {
    int value;
    bool more;
    char text[IPC_REPLY_DATA_MAX + 1];
};

/* Asks one loop and waits for the answer.  text is borrowed.  0, or the engine's -errno with *err;
 * -EPIPE: the engine is gone. */
int adm_engine_ask(struct adm_engine *e, uint32_t loop, enum iscsi_uevent_type type, uint32_t index,
                   const char *text, struct adm_engine_answer *ret, struct lunette_error *err);

/* Asks one loop after the other until one answers with something else than `not_mine`.  *ret_loop
 * (may be NULL) gets whose answer it is. */
int adm_engine_ask_owner(struct adm_engine *e, int not_mine, enum iscsi_uevent_type type,
                         uint32_t index, const char *text, struct adm_engine_answer *ret,
                         uint32_t *ret_loop, struct lunette_error *err);

#endif
