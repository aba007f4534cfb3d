/* SPDX-License-Identifier: MIT */
/* tests/conformance/member_offload.c - the transport offload_session, with an engine that is
 * another process of the simulator and has its table in a folder.
 *
 * What a URL says of a login is the engine's to know: each URL that a test makes is a record of its
 * table, and the secrets are in its table of secrets.  The session at the target is the engine's
 * and stays when the last client has closed it: it ends with the engine. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/url.h"
#include "engine/flash.h"
#include "offload/offload.h"
#include "tests/conformance/member_offload.h"
#include "tests/support/engine_process.h"

struct machine {
    struct engine_process *engine; /* NULL: it was killed */
    char state[64];
};

/* ---- the folder ------------------------------------------------------------------------------ */

static void
folder_make(struct machine *m)
{
    (void)snprintf(m->state, sizeof(m->state), "%s/conformance-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(m->state));
}

static void
folder_remove(const char *path, int depth)
{
    DIR *d = opendir(path);
    const struct dirent *e;
    char name[512];

    if (d == NULL)
        return;
    while ((e = readdir(d)) != NULL) {
        if (e->d_name[0] == '.')
            continue;
        (void)snprintf(name, sizeof(name), "%s/%s", path, e->d_name);
        if (unlink(name) < 0 && depth > 0)
            folder_remove(name, depth - 1);
    }
    (void)closedir(d);
    (void)rmdir(path);
}

/* ---- the table ------------------------------------------------------------------------------- */

static void
account(struct engine_flash *f, uint32_t index, const char *name, const char *secret)
{
    struct login_account a = {.secret_len = (uint16_t)strlen(secret)};
    struct lunette_error err = LUNETTE_INIT(err);

    (void)snprintf(a.name, sizeof(a.name), "%s", name);
    memcpy(a.secret, secret, a.secret_len);
    CONFORM_OK(engine_chap_set(f, index, &a, &err), err);
}

/* What the URL says, without what is the client's. */
static void
record_of(const struct api_url *u, bool chap, struct flash_record *ret)
{
    struct login_config was;

    engine_flash_record_init(ret);
    was = ret->login;
    ret->login = u->cfg;
    (void)snprintf(ret->login.initiator_name, sizeof(ret->login.initiator_name), "%s",
                   CONFORM_NAME);
    memcpy(ret->login.transport, was.transport, sizeof(was.transport));
    memcpy(ret->login.transport_options, was.transport_options, sizeof(was.transport_options));
    memcpy(ret->login.isid, was.isid, sizeof(was.isid));
    /* How long a test waits is its own; the table counts in seconds. */
    ret->login.login_timeout_ms = was.login_timeout_ms;
    ret->login.connect_timeout_ms = was.connect_timeout_ms;
    if (chap) {
        ret->chap = 0;
        ret->chap_in = 1;
    }
}

void
conform_offload_record(struct conform_world *w)
{
    struct machine *m = w->machine;
    struct engine_flash *f = engine_node_flash(engine_process_node(m->engine));
    struct lunette_error err = LUNETTE_INIT(err);
    struct flash_record r;
    struct api_url u;
    int at;

    if (w->setup.chap) {
        account(f, 0, "initiator", w->secret[0]);
        account(f, 1, "target", w->secret[1]);
    }
    CONFORM_OK(url_parse(w->url, &u, &err), err);
    record_of(&u, w->setup.chap, &r);
    at = engine_flash_find(f, CONFORM_NODE, &r.login.portal);
    if (at < 0) {
        at = engine_flash_add(f, &r, &err);
    } else {
        memcpy(r.login.isid, engine_flash_get(f, (uint32_t)at)->login.isid, LOGIN_ISID_LEN);
        at = engine_flash_set(f, (uint32_t)at, &r, &err);
    }
    if (at < 0)
        fail_msg("%s", err.msg);
    url_wipe(&u);
}

/* ---- the engine ------------------------------------------------------------------------------ */

static void
offload_revive(struct conform_world *w)
{
    struct machine *m = w->machine;

    m->engine = engine_process_start(conform_simulator(w), CONFORM_OFFLOAD_PATH, m->state);
}

static void
offload_kill(struct conform_world *w)
{
    struct machine *m = w->machine;

    engine_process_kill(m->engine);
    engine_process_free(m->engine);
    m->engine = NULL;
}

static void
engine_end(struct conform_world *w)
{
    struct machine *m = w->machine;

    engine_process_stop(m->engine);
    CONFORM_UNTIL(w, engine_process_over(m->engine));
    engine_process_free(m->engine);
    m->engine = NULL;
}

void
conform_offload_forget(struct conform_world *w)
{
    engine_end(w);
    offload_revive(w);
}

void
conform_offload_begin(struct conform_world *w)
{
    struct machine *m = calloc(1, sizeof(*m));

    assert_non_null(m);
    w->machine = m;
    sim_together(conform_simulator(w), true);
    folder_make(m);
    offload_revive(w);
}

void
conform_offload_end(struct conform_world *w)
{
    struct machine *m = w->machine;

    engine_end(w);
    folder_remove(m->state, 2);
    free(m);
}

const struct conform_member conform_offload_session = {.name = "offload_session",
                                                       .tt = &offload_session_transport,
                                                       .options = CONFORM_OFFLOAD_OPTIONS,
                                                       .ep_options = CONFORM_OFFLOAD_EP_OPTIONS,
                                                       .begin = conform_offload_begin,
                                                       .end = conform_offload_end,
                                                       .check = conform_check_sessions,
                                                       .kill = offload_kill,
                                                       .revive = offload_revive,
                                                       .record = conform_offload_record,
                                                       .forget = conform_offload_forget};
