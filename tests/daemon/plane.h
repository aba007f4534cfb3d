/* SPDX-License-Identifier: MIT */
/* tests/daemon/plane.h - a small control plane for tests of iscsi-iod, in one thread: it asks and
 * waits.  Everything that goes wrong and is not asked for ends the program with a line. */
#ifndef TESTS_DAEMON_PLANE_H
#define TESTS_DAEMON_PLANE_H

#include "ctl/ctl.h"
#include "ipc/socket.h"
#include "login/login.h"
#include "loop/loop.h"
#include "seam/ipc_lun.h"

#define PLANE_LOOPS_MAX 8
#define PLANE_LUNS_MAX  64
#define PLANE_WAIT_MS   20000

struct plane;

/* The connection to one loop of the daemon. */
struct plane_link {
    struct plane *p;
    struct stream *stream; /* while it connects */
    struct ipc_socket *socket;
    struct ipc_encoded_client *end;
    struct ctl *ctl;
    int connected; /* 1, 0 not yet, or -errno */
    bool gone;     /* the daemon has closed it */
};

struct plane {
    struct loop *loop;
    struct plane_link link[PLANE_LOOPS_MAX];
    uint32_t loops;
    bool done;
    struct iscsi_reply reply; /* the last one */
    uint8_t data[IPC_LUNS_DATA_MAX];
    struct ipc_lun_info lun[PLANE_LUNS_MAX];
    uint32_t nluns;
    struct login_result res;
    struct lunette_error err;
};

/* Says where and why, and ends the program. */
#define PLANE_FAIL(...) plane_fail(__FILE__, __LINE__, __VA_ARGS__)
_Noreturn void plane_fail(const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
#define PLANE_CHECK(x)                                                                             \
    do {                                                                                           \
        if (!(x))                                                                                  \
            PLANE_FAIL("%s", #x);                                                                  \
    } while (0)

/* Attaches to each loop of the daemon at path, which may still be on its way up; takes the events.
 */
void plane_open(struct plane *p, const char *path);
void plane_close(struct plane *p);

/* Connects to one loop and says HELLO.  0, or -errno: that of the connection or of the answer;
 * -EPIPE: the daemon has closed it. */
int plane_link_open(struct plane *p, uint32_t index, const char *path, uint32_t loop);
void plane_link_close(struct plane_link *k);

/* Asks loop i and waits: the err of the reply, which is in p->reply; -EPIPE where the daemon has
 * closed the connection. */
int plane_ask(struct plane *p, uint32_t i, struct iscsi_uevent *ev, const void *data, uint32_t len);
int plane_do(struct plane *p, uint32_t i, enum iscsi_uevent_type type, uint32_t sid);
/* All pages of LIST_LUNS: p->lun. */
void plane_list(struct plane *p, uint32_t i, uint32_t sid);
int plane_export(struct plane *p, uint32_t i, uint32_t sid, const uint8_t lun[8], const char *path);
void plane_note(struct plane *p, uint32_t i, uint32_t sid, const char *note);

/* Logs in to a target on 127.0.0.1; the last byte of the ISID is given.  Returns the session. */
uint32_t plane_login(struct plane *p, uint32_t i, const char *target, uint16_t port, uint8_t isid);
void plane_logout(struct plane *p, uint32_t i, uint32_t sid);

/* Turns until done(user), for PLANE_WAIT_MS at most. */
void plane_wait(struct plane *p, bool (*done)(void *user), void *user);
/* Turns for a while. */
void plane_pass(struct plane *p, unsigned ms);

#endif
