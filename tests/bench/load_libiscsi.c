/* SPDX-License-Identifier: MIT */
/* tests/bench/load_libiscsi.c - the benchmark's load on libiscsi, used as its users use it: poll,
 * iscsi_service, and the next request from the callback.
 *
 * The clock is read once for each call of iscsi_service that completes something, as in the other
 * loads.  Debian's 1.19 has the header digest only.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>

#include "tests/bench/load.h"

#define INITIATOR "iqn.2026-11.example:bench"

struct session {
    struct iscsi_context *iscsi;
    struct load_io *ios;
    int lun;
    uint32_t inflight;
};

struct request {
    struct session *session;
    struct scsi_task *task;
};

static struct load *load;
static struct session sessions[LOAD_SESSIONS_MAX];
static struct request *requests; /* depth of each session; load_io.user points there */
static uint32_t block_size;
static bool stamped; /* the clock was read in this call of iscsi_service */

static void submit(struct session *s, struct load_io *io);

static void
completed(struct iscsi_context *iscsi, int status, void *data, void *user)
{
    struct load_io *io = user;
    struct request *r = io->user;

    (void)data;
    if (status != SCSI_STATUS_GOOD)
        load_die("a request failed with %d: %s", status, iscsi_get_error(iscsi));
    if (!stamped)
        load_stamp(load);
    stamped = true;
    load_end(load, io);
    scsi_free_scsi_task(r->task);
    r->session->inflight--;
    if (load_more(load))
        submit(r->session, io);
}

static void
submit(struct session *s, struct load_io *io)
{
    struct request *r = io->user;
    uint32_t len = (uint32_t)load->bs;
    void *buf = io->buf;

    load_place(load, io);
    load_begin(load, io);
    uint64_t lba = io->offset / block_size;
    if (load->write) {
        r->task = scsi_cdb_write16(lba, len, (int)block_size, 0, 0, 0, 0, 0);
        (void)scsi_task_add_data_out_buffer(r->task, (int)len, buf);
    } else {
        r->task = scsi_cdb_read16(lba, len, (int)block_size, 0, 0, 0, 0, 0);
        (void)scsi_task_add_data_in_buffer(r->task, (int)len, buf);
    }
    if (iscsi_scsi_command_async(s->iscsi, s->lun, r->task, completed, NULL, io) != 0)
        load_die("a request is refused: %s", iscsi_get_error(s->iscsi));
    s->inflight++;
}

static uint32_t
inflight(const struct load *l)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < l->sessions; i++)
        n += sessions[i].inflight;
    return n;
}

static void
loop(struct load *l)
{
    struct pollfd fds[LOAD_SESSIONS_MAX];

    for (uint32_t i = 0; i < l->sessions; i++) {
        for (uint32_t d = 0; d < l->depth && load_more(l); d++)
            submit(&sessions[i], &sessions[i].ios[d]);
    }
    while (inflight(l) > 0) {
        for (uint32_t i = 0; i < l->sessions; i++) {
            struct iscsi_context *iscsi = sessions[i].iscsi;

            fds[i] = (struct pollfd){iscsi_get_fd(iscsi), (short)iscsi_which_events(iscsi), 0};
        }
        if (poll(fds, l->sessions, -1) < 0 && errno != EINTR)
            load_die("poll: %s", strerror(errno));
        for (uint32_t i = 0; i < l->sessions; i++) {
            stamped = false;
            if (fds[i].revents != 0 && iscsi_service(sessions[i].iscsi, fds[i].revents) < 0)
                load_die("iscsi_service: %s", iscsi_get_error(sessions[i].iscsi));
        }
    }
}

static void
open_session(struct load *l, uint32_t i)
{
    struct session *s = &sessions[i];
    struct iscsi_context *iscsi = iscsi_create_context(INITIATOR);

    if (iscsi == NULL)
        load_die("no memory");
    struct iscsi_url *url = iscsi_parse_full_url(iscsi, l->url);
    if (url == NULL)
        load_die("%s", iscsi_get_error(iscsi));
    (void)iscsi_set_targetname(iscsi, url->target);
    (void)iscsi_set_session_type(iscsi, ISCSI_SESSION_NORMAL);
    (void)iscsi_set_isid_random(iscsi, i + 1, 0);
    if (iscsi_full_connect_sync(iscsi, url->portal, url->lun) != 0)
        load_die("%s", iscsi_get_error(iscsi));
    s->iscsi = iscsi;
    s->lun = url->lun;
    s->ios = load_ios_new(l, l->depth);
    for (uint32_t d = 0; d < l->depth; d++) {
        struct request *r = &requests[i * l->depth + d];

        r->session = s;
        s->ios[d].user = r;
    }
    iscsi_destroy_url(url);
}

static void
read_capacity(struct load *l)
{
    struct session *s = &sessions[0];
    struct scsi_task *task = iscsi_readcapacity16_sync(s->iscsi, s->lun);
    struct scsi_readcapacity16 *rc = NULL;

    if (task != NULL && task->status == SCSI_STATUS_GOOD)
        rc = scsi_datain_unmarshall(task);
    if (rc == NULL)
        load_die("READ CAPACITY: %s", iscsi_get_error(s->iscsi));
    block_size = rc->block_length;
    load_target_size(l, (rc->returned_lba + 1) * rc->block_length, rc->block_length);
    scsi_free_scsi_task(task);
}

int
main(int argc, char **argv)
{
    struct load l;

    load_options(&l, "libiscsi", argc, argv);
    if (l.url == NULL)
        load_die("--url is missing");
    if (strstr(l.url, "data_digest=crc32c") != NULL)
        load_die("this libiscsi has no data digest");
    l.engine = "poll";
    load = &l;
    requests = calloc((size_t)l.sessions * l.depth, sizeof(*requests));
    if (requests == NULL)
        load_die("no memory");
    for (uint32_t i = 0; i < l.sessions; i++)
        open_session(&l, i);
    read_capacity(&l);
    load_run(&l, loop);
    load_print(&l);
    for (uint32_t i = 0; i < l.sessions; i++) {
        (void)iscsi_logout_sync(sessions[i].iscsi);
        (void)iscsi_destroy_context(sessions[i].iscsi);
        load_ios_free(sessions[i].ios, l.depth);
    }
    free(requests);
    return 0;
}
