/* SPDX-License-Identifier: MIT */
/* tests/conformance/world.c - a unit of a target, a path to it, and a context. */
#include <assert.h>
#include <stdio.h>
#include <sys/mman.h>

#include "tests/conformance/conformance.h"

#define KEYS_MAX 8

const struct conform_row *conform_row;
const struct iscsi_transport *conform_tt;
uint64_t conform_seed = 1;

/* ---- the medium: it outlives the target ------------------------------------------------------ */

static void
medium_close(struct lu_store *s)
{
    (void)s;
}

static const struct lu_store_ops medium_ops = {.product = "conformance", .close = medium_close};

static void
medium_open(struct conform_world *w)
{
    w->disk = mmap(NULL, CONFORM_DISK, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(w->disk, MAP_FAILED);
    w->store = (struct lu_store){.ops = &medium_ops, .mem = w->disk, .size = CONFORM_DISK};
}

bool
conform_by_itself(void)
{
    return conform_tt->caps & CAP_LOGIN_OFFLOAD;
}

/* ---- the target ------------------------------------------------------------------------------ */

int
conform_target_new(struct conform_world *w, struct lunette_error *err)
{
    /* A fabric need not tell that the peer is gone; and where an initiator does not ping when a
     * test wants it to, the target does, which opens its window. */
    const bool pings = w->row->net->rdma || conform_by_itself();
    struct target_key_value set[KEYS_MAX + 2];
    struct lu_config lun = {.store = &w->store, .block = CONFORM_BLOCK, .serial = "conformance-1"};
    struct target_node_config node = {.name = CONFORM_NODE,
                                      .luns = &lun,
                                      .luns_count = 1,
                                      .set = set,
                                      .set_count = w->setup.set_count + 1 + pings};
    struct target_config tc = {.nodes = &node, .nodes_count = 1};
    int r;

    assert(w->setup.set_count <= KEYS_MAX);
    for (uint32_t i = 0; i < w->setup.set_count; i++)
        set[i] = w->setup.set[i];
    set[w->setup.set_count] = (struct target_key_value){"DefaultTime2Wait", "0"};
    set[w->setup.set_count + 1] = (struct target_key_value){"NopInterval", "10"};
    if (w->setup.chap) {
        node.chap_user = "initiator";
        node.chap_secret = "a-secret-of-ours";
        node.mutual_user = "target";
        node.mutual_secret = "another-secret-1";
    }
    r = target_new(w->loop, &tc, &w->target, err);
    return r == 0 ? conform_target_listen(w, &w->target_at, err) : r;
}

int
conform_target_listen(struct conform_world *w, struct sock_addr *at, struct lunette_error *err)
{
    return w->row->net->rdma ? target_listen_rdma(w->target, at, at, err)
                             : target_listen(w->target, at, at, err);
}

static bool
is_a_process(const struct conform_world *w)
{
    return w->setup.apart && w->row->net->revive != NULL;
}

void
conform_target_start(struct conform_world *w)
{
    struct lunette_error err = LUNETTE_INIT(err);

    if (is_a_process(w))
        w->row->net->revive(w);
    else
        CONFORM_OK(conform_target_new(w, &err), err);
}

void
conform_target_kill(struct conform_world *w)
{
    if (is_a_process(w))
        w->row->net->kill(w);
    target_free(w->target);
    w->target = NULL;
}

/* ---- the world ------------------------------------------------------------------------------- */

/* Credentials of a URL; an adapter that logs in by itself has them, and takes none from a login. */
static void
credentials(const struct conform_world *w, char *own, char *other, size_t size)
{
    own[0] = other[0] = '\0';
    if (!w->setup.chap || conform_by_itself())
        return;
    (void)snprintf(own, size, "initiator%%%s@", w->secret[0]);
    (void)snprintf(other, size, "target_user=target&target_password=%s", w->secret[1]);
}

const char *
conform_url(struct conform_world *w, const struct sock_addr *portal, const char *more)
{
    const struct conform_setup *s = &w->setup;
    char text[128], own[128], other[128];
    const char *parts[] = {w->row->member->options,
                           s->options != NULL ? s->options : "",
                           other,
                           s->digests ? "header_digest=crc32c&data_digest=crc32c" : "",
                           "default_time2wait=0",
                           more};
    size_t n;

    credentials(w, own, other, sizeof(own));
    n = (size_t)snprintf(w->url, sizeof(w->url), "iscsi://%s%s/" CONFORM_NODE "/0", own,
                         sock_addr_format(portal, text, sizeof(text)));
    for (size_t i = 0, k = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (parts[i][0] != '\0')
            n += (size_t)snprintf(w->url + n, sizeof(w->url) - n, "%c%s", k++ == 0 ? '?' : '&',
                                  parts[i]);
        assert_true(n < sizeof(w->url));
    }
    if (conform_by_itself())
        w->row->member->record(w);
    return w->url;
}

void
conform_ping(struct lunette_lun *lun, size_t len)
{
    struct lunette_error err = LUNETTE_INIT(err);

    if (!conform_by_itself()) {
        CONFORM_OK(lunette_ping(lun, len, NULL, &err), err);
        return;
    }
    assert_int_equal(lunette_ping(lun, len, NULL, &err), -EOPNOTSUPP);
    assert_true(strlen(err.msg) > 10);
}

void
conform_forget(struct conform_world *w)
{
    if (conform_by_itself())
        w->row->member->forget(w);
}

void
conform_open(struct conform_world *w, const struct conform_setup *setup)
{
    struct lunette_ctx_options opts = {.struct_size = sizeof(opts), .initiator_name = CONFORM_NAME};
    struct lunette_error err = LUNETTE_INIT(err);
    struct api_hooks hooks = {0};

    memset(w, 0, sizeof(*w));
    w->row = conform_row;
    w->seed = conform_seed;
    w->secret[0] = "a-secret-of-ours";
    w->secret[1] = "another-secret-1";
    if (setup != NULL)
        w->setup = *setup;
    medium_open(w);
    assert_int_equal(w->row->net->open(w), 0);
    w->row->net->address(w, &w->target_at);
    conform_target_start(w);
    w->row->net->address(w, &w->portal);
    assert_int_equal(conform_path_new(w->row->net->path, w->loop, &w->portal, -1, &w->target_at,
                                      &w->path, &w->portal),
                     0);
    conform_path_digests(w->path, w->setup.digests, w->setup.digests);
    hooks.loop = w->loop;
    CONFORM_OK(api_ctx_new(&opts, &hooks, &w->ctx, &err), err);
    if (w->row->member->begin != NULL)
        w->row->member->begin(w);
    (void)conform_url(w, &w->portal, "");
}

static bool
nobody_is_there(struct conform_world *w)
{
    struct target_stats st = {0};

    if (w->target != NULL)
        target_stats(w->target, &st);
    return conform_path_links(w->path) == 0 && st.conns == 0;
}

void
conform_close(struct conform_world *w)
{
    conform_path_hold(w->path, CONFORM_TO_TARGET, false);
    conform_path_hold(w->path, CONFORM_TO_INITIATOR, false);
    CONFORM_UNTIL(w, dataplane_busy(w->ctx->dp) == 0);
    if (!conform_by_itself()) /* else the sessions end with the adapter */
        CONFORM_UNTIL(w, nobody_is_there(w));
    if (w->row->member->end != NULL)
        w->row->member->end(w);
    CONFORM_UNTIL(w, nobody_is_there(w));
    lunette_ctx_free(w->ctx);
    conform_path_free(w->path);
    conform_target_kill(w);
    w->row->net->close(w);
    (void)munmap(w->disk, CONFORM_DISK);
}

struct lunette_lun *
conform_lun(struct conform_world *w)
{
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_lun *lun = NULL;

    CONFORM_OK(lunette_open(w->ctx, w->url, 0, &lun, &err), err);
    return lun;
}

uint64_t
conform_random(struct conform_world *w, uint64_t below)
{
    w->seed = w->seed * 6364136223846793005u + 1442695040888963407u;
    return (w->seed >> 33) % below;
}

void
conform_fill(uint8_t *p, size_t len, uint64_t offset, unsigned salt)
{
    for (size_t i = 0; i < len; i++) {
        uint64_t at = offset + i;

        p[i] = (uint8_t)(at * 7 + at / 509 + salt * 31u);
    }
}

void
conform_turn(struct conform_world *w)
{
    assert_true(loop_run(w->loop, (int64_t)CONFORM_MS) >= 0);
    if (w->row->member->check != NULL)
        w->row->member->check(w);
}

void
conform_wait_ms(struct conform_world *w, uint64_t ms)
{
    uint64_t end = w->loop->now_ns + ms * CONFORM_MS;

    while (w->loop->now_ns < end)
        conform_turn(w);
}
