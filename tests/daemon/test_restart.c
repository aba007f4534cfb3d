/* SPDX-License-Identifier: MIT */
/* A control plane dies by SIGKILL while clients use the disks of its sessions by NBD; another finds
 * everything by asking and goes on.  I/O never stops.  In the end the daemon is stopped under it.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/daemon/nbd_load.h"
#include "tests/daemon/plane.h"
#include "tests/daemon/process.h"

#define LOOPS 2

static const char *const nbd_path[LOOPS] = {"nbd0", "nbd1"};
static uint16_t port;

/* A session on each loop, with its first disk exported; and one that is left half-made. */
static void
first_plane(void *user)
{
    struct plane p;
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_CREATE_SESSION};

    (void)user;
    plane_open(&p, "iod");
    PLANE_CHECK(p.loops == LOOPS);
    for (uint32_t i = 0; i < LOOPS; i++) {
        uint32_t sid = plane_login(&p, i, DAEMON_TARGET, port, (uint8_t)(i + 1));

        plane_note(&p, i, sid, nbd_path[i]);
        PLANE_CHECK(plane_do(&p, i, ISCSI_UEVENT_SCAN_HOST, sid) == 0);
        PLANE_CHECK(p.reply.r.value == 2);
        plane_list(&p, i, sid);
        PLANE_CHECK(p.nluns == 2 && p.lun[0].state == IPC_LUN_UP);
        PLANE_CHECK(plane_export(&p, i, sid, p.lun[0].lun, nbd_path[i]) == 0);
    }
    strcpy(ev.u.create_session.transport, "tcp");
    PLANE_CHECK(plane_ask(&p, 1, &ev, NULL, 0) == 0);
    process_say_ready();
    for (;;)
        (void)pause();
}

/* The sessions of loop i, but for half-made ones; what it finds is checked.  Returns how many. */
static unsigned
find_sessions(struct plane *p, uint32_t i, uint32_t *ret_sid)
{
    uint32_t sid[IPC_SESSIONS_PAGE], n;
    unsigned found = 0;

    PLANE_CHECK(plane_do(p, i, ISCSI_UEVENT_LIST_SESSIONS, 0) == 0);
    n = p->reply.r.sessions.count;
    memcpy(sid, p->reply.r.sessions.sid, sizeof(sid));
    for (uint32_t s = 0; s < n; s++) {
        int r = plane_do(p, i, ISCSI_UEVENT_GET_SESSION, sid[s]);

        PLANE_CHECK(r == 0 || r == -ENOENT); /* the time of a half-made one is up */
        if (r < 0 || p->reply.r.session.state == IPC_SESSION_NEW ||
            p->reply.r.session.state == IPC_SESSION_ENDING)
            continue;
        PLANE_CHECK(p->reply.r.session.state == IPC_SESSION_RUNNING);
        PLANE_CHECK(p->reply.r.session.note_len == 4);
        PLANE_CHECK(memcmp(p->data + p->reply.r.session.values_len, nbd_path[i], 4) == 0);
        *ret_sid = sid[s];
        found++;
    }
    return n * 16 + found;
}

/* The second control plane: all is there; what was half-made goes after the grace. */
static void
second_plane(struct nbd_load load[LOOPS])
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_ADOPT};
    uint32_t sid[LOOPS];
    struct plane p;
    unsigned seen;

    plane_open(&p, "iod");
    PLANE_CHECK(p.loops == LOOPS);
    for (uint32_t i = 0; i < LOOPS; i++) {
        seen = find_sessions(&p, i, &sid[i]);
        PLANE_CHECK(seen == (i == 1 ? 0x21u : 0x11u) || seen == 0x11);
        ev.sid = sid[i];
        PLANE_CHECK(plane_ask(&p, i, &ev, NULL, 0) == 0);
        plane_list(&p, i, sid[i]);
        PLANE_CHECK(p.nluns == 2 && p.lun[0].state == IPC_LUN_UP);
        PLANE_CHECK(strcmp(p.lun[0].export_kind, "nbd") == 0);
        PLANE_CHECK(strcmp(strrchr(p.lun[0].export_path, '/') + 1, nbd_path[i]) == 0);
        PLANE_CHECK(p.lun[0].export_clients == 1 && p.lun[1].export_kind[0] == '\0');
        nbd_load_goes_on(&load[i], 20);
    }
    PLANE_CHECK(sid[0] != sid[1]);
    for (int tries = 0; (seen = find_sessions(&p, 1, &sid[1])) != 0x11; tries++) {
        PLANE_CHECK(tries < 100);
        plane_pass(&p, 50);
    }
    /* One goes in order, under its client; the other session does not notice. */
    atomic_store(&load[0].may_end, true);
    PLANE_CHECK(plane_do(&p, 0, ISCSI_UEVENT_UNBIND_SESSION, sid[0]) == 0);
    plane_logout(&p, 0, sid[0]);
    PLANE_CHECK(access(nbd_path[0], F_OK) < 0 && errno == ENOENT);
    PLANE_CHECK(find_sessions(&p, 0, &sid[0]) == 0);
    nbd_load_goes_on(&load[1], 20);
    plane_close(&p);
}

int
main(void)
{
    static const char *const args[] = {"--threads", "2", "--grace", "1", NULL};
    struct nbd_load load[LOOPS];
    pid_t iod, plane;

    process_begin();
    port = process_target(2);
    iod = process_iod(args);
    plane = process_fork(first_plane, NULL);
    for (int i = 0; i < LOOPS; i++)
        nbd_load_start(&load[i], nbd_path[i]);
    (void)process_end(plane, SIGKILL);
    for (int i = 0; i < LOOPS; i++)
        nbd_load_goes_on(&load[i], 50);
    second_plane(load);
    nbd_load_stop(&load[0]);
    atomic_store(&load[1].may_end, true);
    PLANE_CHECK(process_end(iod, SIGTERM) == 0);
    nbd_load_stop(&load[1]);
    PLANE_CHECK(access("iod", F_OK) < 0 && access("nbd1", F_OK) < 0);
    return 0;
}
