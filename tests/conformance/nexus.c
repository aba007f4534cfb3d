/* SPDX-License-Identifier: MIT */
#include "tests/conformance/nexus.h"

#include <stdio.h>
#include <stdlib.h>

#include "wire/pdu.h"

#define SEGMENT 262144u /* bytes that we take in a PDU at most */

/* ---- what the session tells ------------------------------------------------------------------ */

static void
on_pdu(void *user, void *c, const struct bhs *hdr, const void *data, uint32_t len)
{
    struct conform_nexus *n = user;

    assert_ptr_equal(c, n->c);
    memcpy(&n->answer, hdr, sizeof(n->answer));
    assert_true(len < sizeof(n->text));
    if (len > 0)
        memcpy(n->text, data, len);
    n->text[len] = '\0';
    n->text_len = len;
    n->answers++;
}

static void
on_error(void *user, void *c, const struct dp_conn_loss *loss)
{
    (void)c;
    assert_true(loss->why.code < 0 && loss->why.msg[0] != '\0');
    ((struct conform_nexus *)user)->errors++;
}

static void
on_down(void *user, void *c)
{
    (void)c;
    ((struct conform_nexus *)user)->downs++;
}

static void
on_state(void *user, enum scsi_host_state state, const struct lunette_error *why)
{
    struct conform_nexus *n = user;

    assert_true((state == SCSI_HOST_RUNNING) == (why == NULL));
    n->running += state == SCSI_HOST_RUNNING;
    n->blocked += state == SCSI_HOST_BLOCKED;
    n->gone += state == SCSI_HOST_GONE;
}

static void
on_freed(void *user)
{
    ((struct conform_nexus *)user)->freed++;
}

static void
on_login(void *user, void *c, const struct lunette_error *why)
{
    struct conform_nexus *n = user;

    assert_ptr_equal(c, n->c);
    assert_true(why == NULL || (why->code < 0 && why->msg[0] != '\0'));
    n->logins += why == NULL;
    n->refusals += why != NULL;
}

static const struct dp_session_events session_events = {.recv_pdu = on_pdu,
                                                        .conn_error = on_error,
                                                        .conn_down = on_down,
                                                        .state = on_state,
                                                        .freed = on_freed,
                                                        .login_state = on_login};

static void
host_restart(void *user)
{
    ((struct conform_nexus *)user)->restarts++;
}

static void
host_state(void *user, enum scsi_host_state s, const struct lunette_error *why)
{
    (void)user;
    (void)s;
    (void)why;
}

static void
host_sense(void *user, const uint8_t lun[8], const uint8_t *sense, uint16_t len)
{
    (void)user;
    (void)lun;
    (void)sense;
    (void)len;
}

static void
host_freed(void *user)
{
    ((struct conform_nexus *)user)->host = NULL;
}

static const struct scsi_host_events host_events = {
    .restart = host_restart, .state = host_state, .async_sense = host_sense, .freed = host_freed};

/* ---- life ------------------------------------------------------------------------------------ */

static void
adapter_failed(struct iscsi_host *h, enum iscsi_err err, const char *why)
{
    (void)h;
    (void)err;
    fail_msg("the adapter has failed: %s", why);
}

static const struct iscsi_upcalls adapter_upcalls = {.version = ISCSI_TRANSPORT_VERSION,
                                                     .size = sizeof(struct iscsi_upcalls),
                                                     .host_failure = adapter_failed};

static void
adapter_begin(struct conform_nexus *n)
{
    const struct iscsi_transport *tt = conform_tt;
    struct lunette_error err = LUNETTE_INIT(err);

    if (tt->create_host == NULL)
        return;
    n->adapter = (struct iscsi_host){.tt = tt, .up = &adapter_upcalls, .loop = n->w->loop};
    n->adapter.dd_data = calloc(1, tt->host_size + 1);
    assert_non_null(n->adapter.dd_data);
    CONFORM_OK(tt->create_host(&n->adapter, &err), err);
}

static void
adapter_end(struct conform_nexus *n)
{
    if (n->adapter.tt == NULL)
        return;
    n->adapter.tt->destroy_host(&n->adapter);
    free(n->adapter.dd_data);
    n->adapter.tt = NULL;
}

int
conform_nexus_set(struct conform_nexus *n, enum iscsi_param p, const char *value,
                  struct lunette_error *err)
{
    return n->ops->set_param(n->c, p, value, err);
}

void
conform_nexus_new(struct conform_nexus *n, struct conform_world *w)
{
    struct dp_session_config cfg = {.loop = w->loop,
                                    .tt = conform_tt,
                                    .sid = 1,
                                    .initial_cmdsn = 0xfffffff0,
                                    .cmds_max = 64,
                                    .ev = &session_events,
                                    .user = n};
    struct lunette_error err = LUNETTE_INIT(err);

    memset(n, 0, sizeof(*n));
    n->w = w;
    n->ops = conform_tt->session_ops != NULL ? conform_tt->session_ops : &dp_iscsi_session_ops;
    adapter_begin(n);
    cfg.host = n->adapter.tt != NULL ? &n->adapter : NULL;
    CONFORM_OK(n->ops->create(&cfg, &n->s, &n->host, &err), err);
    n->host->ev = &host_events;
    n->host->ev_user = n;
    CONFORM_OK(n->ops->create_conn(n->s, 1, &n->c, &err), err);
    CONFORM_OK(conform_nexus_set(n, ISCSI_PARAM_RECOVERY_TMO, "60", &err), err);
    CONFORM_OK(conform_nexus_set(n, ISCSI_PARAM_PING_INTERVAL_MS, "0", &err), err);
}

void
conform_nexus_stop(struct conform_nexus *n, enum iscsi_stop how)
{
    if (n->c != NULL)
        n->ops->stop_conn(n->c, how);
}

void
conform_nexus_drop_conn(struct conform_nexus *n)
{
    void *c = n->c;

    n->c = NULL;
    if (c != NULL)
        n->ops->destroy_conn(c);
}

void
conform_nexus_drop(struct conform_nexus *n)
{
    void *s = n->s;

    n->s = n->c = NULL;
    if (s != NULL)
        n->ops->teardown(s);
}

struct waiting {
    int err; /* 1: not known yet */
};

static void
socket_connected(void *user, int err)
{
    ((struct waiting *)user)->err = err;
}

static const struct stream_events socket_events = {.connected = socket_connected};

static int64_t
connected_socket(struct conform_world *w)
{
    struct waiting wait = {1};
    struct stream *s = NULL;

    assert_int_equal(stream_connect(w->loop, &w->portal, NULL, &socket_events, &wait, &s), 0);
    CONFORM_UNTIL(w, wait.err <= 0);
    assert_int_equal(wait.err, 0);
    return stream_release(s);
}

static void
endpoint_event(struct iscsi_endpoint *ep, int err)
{
    container_of(ep, struct conform_nexus, ep)->ep_err = err;
}

static const struct iscsi_upcalls endpoint_upcalls = {.version = ISCSI_TRANSPORT_VERSION,
                                                      .size = sizeof(struct iscsi_upcalls),
                                                      .ep_event = endpoint_event};

void
conform_nexus_disconnect(struct conform_nexus *n)
{
    if (!n->ep_there)
        return;
    n->ep.tt->ep_disconnect(&n->ep);
    free(n->ep.dd_data);
    n->ep_there = false;
}

static void
endpoint_begin(struct conform_nexus *n)
{
    const struct iscsi_transport *tt = conform_tt;
    struct lunette_error err = LUNETTE_INIT(err);
    static uint64_t ids;

    conform_nexus_disconnect(n); /* of the bind before */
    n->ep = (struct iscsi_endpoint){.tt = tt,
                                    .host = n->adapter.tt != NULL ? &n->adapter : NULL,
                                    .loop = n->w->loop,
                                    .id = ++ids,
                                    .options = n->w->row->member->ep_options};
    n->ep.dd_data = calloc(1, tt->ep_size + 1);
    assert_non_null(n->ep.dd_data);
    n->ep_err = 1;
    CONFORM_OK(tt->ep_connect(&n->ep, &n->w->portal, &endpoint_upcalls, &err), err);
    n->ep_there = true;
    CONFORM_UNTIL(n->w, n->ep_err <= 0);
    assert_int_equal(n->ep_err, 0);
    assert_int_equal(tt->ep_poll(&n->ep), 1);
}

int64_t
conform_nexus_connect(struct conform_nexus *n)
{
    if (conform_tt->caps & CAP_BIND_DESCRIPTOR)
        return connected_socket(n->w);
    endpoint_begin(n);
    return (int64_t)n->ep.id;
}

void
conform_nexus_bind(struct conform_nexus *n)
{
    struct lunette_error err = LUNETTE_INIT(err);
    int64_t eph = conform_nexus_connect(n);

    CONFORM_OK(n->ops->bind_conn(n->c, eph, n->ep_there ? &n->ep : NULL, true, &err), err);
    n->binds++;
}

static const char keys[] = "InitiatorName=" CONFORM_NAME "\0"
                           "TargetName=" CONFORM_NODE "\0"
                           "SessionType=Normal\0"
                           "HeaderDigest=None\0"
                           "DataDigest=None\0"
                           "InitialR2T=No\0"
                           "ImmediateData=Yes\0"
                           "MaxBurstLength=262144\0"
                           "FirstBurstLength=262144\0"
                           "MaxOutstandingR2T=1\0"
                           "MaxConnections=1\0"
                           "DefaultTime2Wait=0\0"
                           "DefaultTime2Retain=0\0"
                           "ErrorRecoveryLevel=0";

/* RFC 7145 6.3: RDMAExtensions with the first request, and the lengths of messages. */
static const char rdma_keys[] = "InitiatorName=" CONFORM_NAME "\0"
                                "TargetName=" CONFORM_NODE "\0"
                                "SessionType=Normal\0"
                                "RDMAExtensions=Yes\0"
                                "HeaderDigest=None\0"
                                "DataDigest=None\0"
                                "InitialR2T=Yes\0"
                                "ImmediateData=Yes\0"
                                "MaxBurstLength=262144\0"
                                "FirstBurstLength=262144\0"
                                "MaxOutstandingR2T=1\0"
                                "MaxConnections=1\0"
                                "DefaultTime2Wait=0\0"
                                "DefaultTime2Retain=0\0"
                                "ErrorRecoveryLevel=0\0"
                                "TargetRecvDataSegmentLength=8192";

static bool
is_rdma(void)
{
    return conform_tt->caps & CAP_RDMA;
}

uint32_t
conform_login_text(char *buf, size_t size, uint32_t max_recv_dlength)
{
    const char *text = is_rdma() ? rdma_keys : keys;
    size_t len = is_rdma() ? sizeof(rdma_keys) : sizeof(keys);

    assert_true(size > len);
    memcpy(buf, text, len);
    len +=
        (size_t)snprintf(buf + len, size - len, "%s=%u",
                         is_rdma() ? "InitiatorRecvDataSegmentLength" : "MaxRecvDataSegmentLength",
                         max_recv_dlength) +
        1;
    assert_true(len <= size);
    return (uint32_t)len;
}

/* Takes over what the target has said of that key. */
static void
agree(struct conform_nexus *n, const char *key, enum iscsi_param p)
{
    struct lunette_error err = LUNETTE_INIT(err);
    size_t len = strlen(key);

    for (uint32_t at = 0; at < n->text_len; at += (uint32_t)strlen((char *)n->text + at) + 1) {
        const char *pair = (char *)n->text + at;

        if (strncmp(pair, key, len) == 0 && pair[len] == '=')
            CONFORM_OK(conform_nexus_set(n, p, pair + len + 1, &err), err);
    }
}

/* The exchange of a transport whose logins are ours. */
static void
exchange(struct conform_nexus *n)
{
    struct lunette_error err = LUNETTE_INIT(err);
    unsigned before = n->answers, lost = n->errors;
    char text[sizeof(rdma_keys) + 64];
    uint32_t len;
    union bhs_any h;
    uint32_t most = conform_tt->max_recv_dlength < SEGMENT ? conform_tt->max_recv_dlength : SEGMENT;

    bhs_init(&h, ISCSI_OP_LOGIN_REQ | ISCSI_OP_IMMEDIATE,
             bhs_login_flags(ISCSI_STAGE_OPERATIONAL, ISCSI_STAGE_FFP, ISCSI_LOGIN_TRANSIT));
    memcpy(h.login_req.isid, "\x80\0\0\0\0\1", 6);
    h.login_req.cid = put16(1);
    len = conform_login_text(text, sizeof(text), most);
    CONFORM_OK(n->ops->send_pdu(n->c, &h.h, text, len, &err), err);
    CONFORM_UNTIL(n->w, n->answers > before || n->errors > lost);
    assert_int_equal(n->answers, before + 1);
    assert_int_equal(pdu_opcode(&n->answer.h), ISCSI_OP_LOGIN_RSP);
    assert_int_equal(n->answer.login_rsp.status_class, 0);
    assert_int_equal(n->answer.h.flags & (ISCSI_LOGIN_TRANSIT | ISCSI_LOGIN_NSG_MASK),
                     ISCSI_LOGIN_TRANSIT | ISCSI_STAGE_FFP);
    agree(n, is_rdma() ? "TargetRecvDataSegmentLength" : "MaxRecvDataSegmentLength",
          ISCSI_PARAM_MAX_XMIT_DLENGTH);
    agree(n, "InitialR2T", ISCSI_PARAM_INITIAL_R2T);
    agree(n, "ImmediateData", ISCSI_PARAM_IMM_DATA);
    agree(n, "FirstBurstLength", ISCSI_PARAM_FIRST_BURST);
    agree(n, "MaxBurstLength", ISCSI_PARAM_MAX_BURST);
    agree(n, "MaxOutstandingR2T", ISCSI_PARAM_MAX_R2T);
    (void)snprintf(text, sizeof(text), "%u", most);
    CONFORM_OK(conform_nexus_set(n, ISCSI_PARAM_MAX_RECV_DLENGTH, text, &err), err);
    CONFORM_OK(n->ops->start_conn(n->c, &err), err);
}

/* The adapter is told whom to log in to, and tells when it has. */
static void
have_it_log_in(struct conform_nexus *n)
{
    struct lunette_error err = LUNETTE_INIT(err);
    unsigned before = n->logins, refused = n->refusals;
    char text[64];

    CONFORM_OK(conform_nexus_set(n, ISCSI_PARAM_PORTAL,
                                 sock_addr_format(&n->w->portal, text, sizeof(text)), &err),
               err);
    CONFORM_OK(conform_nexus_set(n, ISCSI_PARAM_INITIATOR_NAME, CONFORM_NAME, &err), err);
    CONFORM_OK(conform_nexus_set(n, ISCSI_PARAM_TARGET_NAME, CONFORM_NODE, &err), err);
    CONFORM_OK(n->ops->start_conn(n->c, &err), err);
    CONFORM_UNTIL(n->w, n->logins > before || n->refusals > refused);
    assert_int_equal(n->refusals, refused);
    CONFORM_UNTIL(n->w, n->host->state == SCSI_HOST_RUNNING);
}

void
conform_nexus_login(struct conform_nexus *n)
{
    struct conform_cmd ready;
    unsigned tries = 0;

    if (conform_tt->caps & CAP_LOGIN_OFFLOAD)
        have_it_log_in(n);
    else
        exchange(n);
    assert_int_equal(n->host->state, SCSI_HOST_RUNNING);
    do { /* unit attentions are told first */
        conform_cmd_init(&ready, false, 0, NULL, 0);
        conform_cmd_send(n, &ready);
        CONFORM_UNTIL(n->w, ready.done > 0);
        assert_int_equal(ready.sc.host_result, DID_OK);
        assert_true(tries++ < 5);
    } while (ready.sc.status != 0);
}

void
conform_nexus_end(struct conform_nexus *n)
{
    conform_nexus_drop(n);
    CONFORM_UNTIL(n->w, n->freed > 0);
    conform_turn(n->w);
    assert_int_equal(n->freed, 1);
    assert_int_equal(n->downs, n->binds);
    conform_nexus_disconnect(n);
    adapter_end(n);
    if ((conform_tt->caps & CAP_LOGIN_OFFLOAD) == 0) /* else the session stays the adapter's */
        CONFORM_UNTIL(n->w, conform_path_links(n->w->path) == 0);
}

/* ---- commands -------------------------------------------------------------------------------- */

static void
command_done(struct scsi_cmd *sc)
{
    struct conform_cmd *c = container_of(sc, struct conform_cmd, sc);

    c->done++;
    if (c->then != NULL)
        c->then(c);
}

void
conform_cmd_init(struct conform_cmd *c, bool write, uint32_t lba, uint8_t *mem, uint32_t len)
{
    uint32_t blocks = len / CONFORM_BLOCK;

    memset(c, 0, sizeof(*c));
    c->mem = mem;
    c->iov = (struct iovec){mem, len};
    c->sc.done = command_done;
    c->sc.attr = ISCSI_ATTR_SIMPLE;
    c->sc.cdb_len = len > 0 ? 10 : 6;
    if (len == 0)
        return;
    c->sc.cdb[0] = write ? 0x2a : 0x28;
    st_be32(c->sc.cdb + 2, lba);
    st_be16(c->sc.cdb + 7, (uint16_t)blocks);
    if (write)
        c->sc.out = sg_from_iov(&c->iov, 1, 0, len);
    else
        c->sc.in = sg_from_iov(&c->iov, 1, 0, len);
}

void
conform_cmd_send(struct conform_nexus *n, struct conform_cmd *c)
{
    while (n->host->ops->queuecommand(n->host, &c->sc) == -EBUSY) {
        unsigned before = n->restarts;

        n->host->ops->commit(n->host);
        CONFORM_UNTIL(n->w, n->restarts > before);
    }
    n->host->ops->commit(n->host);
}

void
conform_cmd_run(struct conform_nexus *n, struct conform_cmd *c)
{
    conform_cmd_send(n, c);
    CONFORM_UNTIL(n->w, c->done > 0);
    assert_int_equal(c->done, 1);
    assert_true(c->sc.not_good == 0);
    assert_true(c->sc.not_moved == 0);
}

void
conform_medium_is_sound(const struct conform_world *w, size_t len)
{
    uint8_t *want = malloc(len);

    assert_non_null(want);
    conform_fill(want, len, 0, 0);
    for (size_t i = 0; i < len; i++)
        assert_true(w->disk[i] == 0 || w->disk[i] == want[i]);
    free(want);
}
