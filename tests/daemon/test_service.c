/* SPDX-License-Identifier: MIT */
/* What the system sees of iscsi-iod: a second instance, bad command lines, a socket that is handed
 * over and the word that it is ready, and its end with a target that does not answer any more. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/daemon/nbd_load.h"
#include "tests/daemon/plane.h"
#include "tests/daemon/process.h"
#include "tests/daemon/raw.h"

static int
exit_of(const char *const *args)
{
    int status = process_end(process_iod(args), 0);

    PLANE_CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void
test_second_instance(void)
{
    static const char *const none[] = {NULL};
    pid_t iod = process_iod(none);
    struct plane p;

    plane_open(&p, "iod");
    PLANE_CHECK(exit_of(none) == 1);
    PLANE_CHECK(plane_do(&p, 0, ISCSI_UEVENT_LIST_SESSIONS, 0) == 0); /* the first is as it was */
    plane_close(&p);
    (void)process_end(iod, SIGKILL);
    PLANE_CHECK(access("iod", F_OK) == 0);
    iod = process_iod(none); /* what a dead one has left is no obstacle */
    plane_open(&p, "iod");
    PLANE_CHECK(process_end(iod, SIGINT) == 0);
    PLANE_CHECK(plane_do(&p, 0, ISCSI_UEVENT_LIST_SESSIONS, 0) == -EPIPE);
    plane_close(&p);
}

static void
test_command_lines(void)
{
    static const char *const bad[][3] = {
        {"--threads", "0", NULL}, {"--threads", "65", NULL},
        {"--threads", "x", NULL}, {"--grace", "", NULL},
        {"--grace", "-1", NULL},  {"--loop", "kqueue", NULL},
        {"--socket", "", NULL},   {"--stop-timeout", "0x1", NULL},
        {"word", NULL, NULL},     {"--no-such-option", NULL, NULL}};
    static const char *const help[] = {"--help", NULL}, *const version[] = {"--version", NULL};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        PLANE_CHECK(exit_of(bad[i]) == 2);
    PLANE_CHECK(exit_of(help) == 0 && exit_of(version) == 0);
    PLANE_CHECK(access("iod", F_OK) < 0);
}

/* ---- a service manager ----------------------------------------------------------------------- */

static int
local_socket(const char *path, int type)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int s = socket(AF_UNIX, type, 0);

    (void)snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
    PLANE_CHECK(s >= 0 && bind(s, (struct sockaddr *)&at, sizeof(at)) == 0);
    PLANE_CHECK(type == SOCK_DGRAM || listen(s, 4) == 0);
    return s;
}

static void
wait_for_word(int s, const char *word)
{
    char got[256] = "";
    struct pollfd wait = {.fd = s, .events = POLLIN};

    while (strstr(got, word) == NULL) {
        PLANE_CHECK(poll(&wait, 1, 10000) == 1);
        PLANE_CHECK(recv(s, got, sizeof(got) - 1, 0) > 0);
    }
}

struct handed_over {
    int type; /* of the socket that is handed over */
    unsigned count;
};

static pid_t
start_as_service(const struct handed_over *h)
{
    pid_t pid = fork();

    if (pid == 0) {
        const char *bin = getenv("LUNETTE_BIN");
        char path[4096], text[16];
        int s = local_socket("act", h->type);

        PLANE_CHECK(dup2(s, 3) == 3 && dup2(s, 4) == 4);
        (void)snprintf(text, sizeof(text), "%d", (int)getpid());
        (void)setenv("LISTEN_PID", text, 1);
        (void)setenv("LISTEN_FDS", h->count == 1 ? "1" : "2", 1);
        PLANE_CHECK(getcwd(path, sizeof(path) - 8) != NULL);
        (void)setenv("NOTIFY_SOCKET", strcat(path, "/notify"), 1); /* wants an absolute path */
        (void)snprintf(path, sizeof(path), "%s/iscsi-iod", bin != NULL ? bin : ".");
        (void)execl(path, "iscsi-iod", "--threads", "2", (char *)NULL);
        _exit(127);
    }
    PLANE_CHECK(pid > 0);
    return pid;
}

static void
test_as_a_service(void)
{
    static const struct handed_over bad[] = {{SOCK_STREAM, 1}, {SOCK_SEQPACKET, 2}};
    static const struct handed_over good = {SOCK_SEQPACKET, 1};
    int notify;
    struct plane p;
    pid_t pid;

    if (!HAVE_SYSTEMD)
        return;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        int status = process_end(start_as_service(&bad[i]), 0);

        PLANE_CHECK(WIFEXITED(status) && WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != 127);
        (void)unlink("act");
    }
    notify = local_socket("notify", SOCK_DGRAM);
    pid = start_as_service(&good);
    wait_for_word(notify, "READY=1");
    plane_open(&p, "act");
    PLANE_CHECK(p.loops == 2);
    plane_close(&p);
    PLANE_CHECK(kill(pid, SIGTERM) == 0);
    wait_for_word(notify, "STOPPING=1");
    PLANE_CHECK(process_end(pid, 0) == 0);
    PLANE_CHECK(access("act", F_OK) == 0); /* it is the service manager's */
    (void)unlink("act");
    (void)close(notify);
    (void)unlink("notify");
}

/* ---- a target that does not answer ----------------------------------------------------------- */

static double
seconds(void)
{
    struct timespec t;

    PLANE_CHECK(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* It waits for its disks as long as it was told, and not longer. */
static void
test_stop_with_a_dead_target(void)
{
    static const char *const args[] = {"--stop-timeout", "1", NULL};
    uint16_t port = process_target(1);
    pid_t iod = process_iod(args), target = process_last_target();
    struct nbd_load load;
    struct plane p;
    uint32_t sid;
    double begin;

    plane_open(&p, "iod");
    sid = plane_login(&p, 0, DAEMON_TARGET, port, 1);
    PLANE_CHECK(plane_do(&p, 0, ISCSI_UEVENT_SCAN_HOST, sid) == 0);
    plane_list(&p, 0, sid);
    PLANE_CHECK(plane_export(&p, 0, sid, p.lun[0].lun, "nbd0") == 0);
    nbd_load_start(&load, "nbd0");
    atomic_store(&load.may_end, true);
    PLANE_CHECK(kill(target, SIGSTOP) == 0);
    begin = seconds();
    PLANE_CHECK(process_end(iod, SIGTERM) == 0);
    PLANE_CHECK(seconds() - begin >= 0.9 && seconds() - begin < 15);
    nbd_load_stop(&load);
    plane_close(&p);
    PLANE_CHECK(access("nbd0", F_OK) < 0 && access("iod", F_OK) < 0);
}

int
main(void)
{
    process_begin();
    test_second_instance();
    test_command_lines();
    test_as_a_service();
    test_stop_with_a_dead_target();
    return 0;
}
