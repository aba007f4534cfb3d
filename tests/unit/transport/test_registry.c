/* SPDX-License-Identifier: MIT */
/* Tables of other versions and sizes. */
#include "tests/test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "seam/session.h"
#include "transport/transport.h"

static struct transport_registry r;
static struct lunette_error err;

static int
bind_conn(struct iscsi_conn *c, int64_t eph, struct iscsi_endpoint *ep, bool leading,
          struct lunette_error *e)
{
    (void)c;
    (void)eph;
    (void)ep;
    (void)leading;
    (void)e;
    return 0;
}

static int
stop_conn(struct iscsi_conn *c, enum iscsi_stop how)
{
    (void)c;
    (void)how;
    return 0;
}

static int
of_task(struct iscsi_task *t)
{
    (void)t;
    return 0;
}

static int
of_conn(struct iscsi_conn *c)
{
    (void)c;
    return 0;
}

static int
ep_connect(struct iscsi_endpoint *ep, const struct sock_addr *to, const struct iscsi_upcalls *up,
           struct lunette_error *e)
{
    (void)ep;
    (void)to;
    (void)up;
    (void)e;
    return 0;
}

static int
create_host(struct iscsi_host *h, struct lunette_error *e)
{
    (void)h;
    (void)e;
    return 0;
}

/* Operations of sessions, which are never called. */

static int
s_create(const struct dp_session_config *cfg, void **ret_session, struct scsi_host **ret_host,
         struct lunette_error *e)
{
    (void)cfg;
    (void)ret_session;
    (void)ret_host;
    return lunette_fail(e, -ENOSYS, LUNETTE_DOM_USAGE, 0, "not here");
}

static void
s_teardown(void *session)
{
    (void)session;
}

static int
s_create_conn(void *session, uint16_t cid, void **ret_conn, struct lunette_error *e)
{
    (void)session;
    (void)cid;
    (void)ret_conn;
    return lunette_fail(e, -ENOSYS, LUNETTE_DOM_USAGE, 0, "not here");
}

static int
s_bind(void *conn, int64_t eph, struct iscsi_endpoint *ep, bool leading, struct lunette_error *e)
{
    (void)conn;
    (void)eph;
    (void)ep;
    (void)leading;
    return lunette_fail(e, -ENOSYS, LUNETTE_DOM_USAGE, 0, "not here");
}

static int
s_start(void *conn, struct lunette_error *e)
{
    (void)conn;
    return lunette_fail(e, -ENOSYS, LUNETTE_DOM_USAGE, 0, "not here");
}

static void
s_stop(void *conn, enum iscsi_stop how)
{
    (void)conn;
    (void)how;
}

static int
s_param(void *conn, enum iscsi_param p, const char *value, struct lunette_error *e)
{
    (void)conn;
    (void)p;
    (void)value;
    return lunette_fail(e, -ENOSYS, LUNETTE_DOM_USAGE, 0, "not here");
}

static int
s_pdu(void *conn, const struct bhs *hdr, const void *data, uint32_t len, struct lunette_error *e)
{
    (void)conn;
    (void)hdr;
    (void)data;
    (void)len;
    return lunette_fail(e, -ENOSYS, LUNETTE_DOM_USAGE, 0, "not here");
}

static void
s_stats(void *conn, struct iscsi_stats *ret)
{
    (void)conn;
    (void)ret;
}

static int
mem_add(struct iscsi_session *s, void *addr, size_t len, struct lunette_error *e)
{
    (void)s;
    (void)addr;
    (void)len;
    return lunette_fail(e, -ENOMEM, LUNETTE_DOM_USAGE, 0, "not here");
}

static void
mem_remove(struct iscsi_session *s, void *addr, size_t len)
{
    (void)s;
    (void)addr;
    (void)len;
}

/* A table as a newer library might know it. */
struct larger {
    struct iscsi_transport t;
    void (*added)(void);
    uint64_t number;
};

static struct larger
table(void)
{
    return (struct larger){.t = {.version = ISCSI_TRANSPORT_VERSION,
                                 .size = sizeof(struct iscsi_transport),
                                 .name = "test",
                                 .caps = CAP_BIND_DESCRIPTOR,
                                 .task_size = 24,
                                 .bind_conn = bind_conn,
                                 .stop_conn = stop_conn,
                                 .xmit_task = of_task,
                                 .cleanup_task = of_task}};
}

static int
add(const struct larger *l)
{
    memset(&r, 0, sizeof(r));
    memset(&err, 0, sizeof(err));
    return transport_register(&r, &l->t, &err);
}

static void
refused(const struct larger *l, const char *why)
{
    assert_int_equal(add(l), -EINVAL);
    assert_non_null(strstr(err.msg, why));
    assert_int_equal(r.count, 0);
    assert_null(transport_find(&r, "test"));
}

static void
sizes(void **state)
{
    struct larger l = table();
    const struct iscsi_transport *t;

    (void)state;
    assert_int_equal(add(&l), 0);
    t = transport_find(&r, "test");
    assert_non_null(t);
    assert_memory_equal(t, &l.t, sizeof(l.t));
    assert_int_equal(transport_register(&r, &l.t, &err), -EEXIST);

    /* older: it ends behind what is required, and whatever lies behind it is not looked at */
    l.t.size = offsetof(struct iscsi_transport, ep_connect);
    memset((char *)&l + l.t.size, 0xa5, sizeof(l) - l.t.size);
    assert_int_equal(add(&l), 0);
    t = transport_find(&r, "test");
    assert_int_equal(t->size, sizeof(*t));
    assert_ptr_equal(t->cleanup_task, of_task);
    assert_int_equal(t->task_size, 24);
    assert_null(t->ep_connect);
    assert_null(t->xmit_flush);
    assert_null(t->get_stats);
    assert_false(ISCSI_HAS(&l.t, xmit_flush)); /* in the table as it was given */
    assert_true(ISCSI_HAS(&l.t, cleanup_task));

    /* too old: what is required is not there */
    l.t.size = offsetof(struct iscsi_transport, cleanup_task);
    refused(&l, "lacks bind_conn");
    l = table();
    l.t.caps = 0;
    l.t.size = offsetof(struct iscsi_transport, ep_connect);
    refused(&l, "lacks ep_connect");
    for (size_t n = 0; n < sizeof(l.t); n += 3) { /* no size at all */
        l.t.size = n;
        assert_int_equal(add(&l), -EINVAL);
    }

    /* newer: what is not known here must not be needed */
    l = table();
    l.t.size = sizeof(l);
    assert_int_equal(add(&l), 0);
    assert_int_equal(transport_find(&r, "test")->size, sizeof(struct iscsi_transport));
    l.number = 1ull << 63;
    refused(&l, "newer library");
    l = table();
    l.t.size = sizeof(l);
    l.added = (void (*)(void))abort;
    refused(&l, "newer library");
}

static void
versions(void **state)
{
    struct larger l = table();

    (void)state;
    l.t.name = (const char *)1; /* of another version only the head is looked at */
    for (uint32_t v = 0; v < 100; v++) {
        l.t.version = v;
        if (v != ISCSI_TRANSPORT_VERSION)
            refused(&l, "build it again");
    }
}

static void
operations_that_are_missing(void **state)
{
    struct larger l = table();

    (void)state;
    l.t.name = "";
    refused(&l, "no name");
    l.t.name = "a-name-of-31-bytes-is-the-longer"; /* it has 32 */
    refused(&l, "too long");
    l.t.name++;
    assert_int_equal(add(&l), 0);
    l = table();
    l.t.stop_conn = NULL;
    refused(&l, "lacks bind_conn, xmit_task, cleanup_task or stop_conn");
    l = table();
    l.t.gather_room = of_conn;
    refused(&l, "only one of gather_room and xmit_fast");
    l.t.xmit_fast = of_task;
    assert_int_equal(add(&l), 0);
    l.t.ep_connect = ep_connect; /* and nothing that ends what it begins */
    refused(&l, "takes descriptors but has ep_connect");
    l = table();
    l.t.caps |= CAP_DATADGST | CAP_PADDING_OFFLOAD;
    refused(&l, "takes padding away but leaves data digests");
    l.t.caps |= CAP_DIGEST_OFFLOAD;
    assert_int_equal(add(&l), 0);
    l.t.create_host = create_host;
    refused(&l, "only one of create_host and destroy_host");
    l = table();
    l.t.mem_add = mem_add;
    refused(&l, "only one of mem_add and mem_remove");
    l.t.mem_remove = mem_remove;
    assert_int_equal(add(&l), 0);
    l.t.max_transfer = 65535;
    refused(&l, "shorter than the blocks of some disks");
    l.t.max_transfer = 65536;
    assert_int_equal(add(&l), 0);
    l.t.caps |= CAP_RDMA;
    assert_int_equal(add(&l), 0);
    l.t.caps |= CAP_HDRDGST;
    refused(&l, "says rdma, and digests");
    l = table();
    l.t.caps |= CAP_LOGIN_OFFLOAD;
    refused(&l, "logs in by itself but lacks session_ops");
}

/* Of a transport that owns its sessions they are asked for, and nothing that works on connections
 * of others. */
static void
sessions_of_its_own(void **state)
{
    struct dp_session_ops ops = {.size = sizeof(ops),
                                 .create = s_create,
                                 .teardown = s_teardown,
                                 .create_conn = s_create_conn,
                                 .destroy_conn = s_teardown,
                                 .bind_conn = s_bind,
                                 .start_conn = s_start,
                                 .stop_conn = s_stop,
                                 .set_param = s_param,
                                 .send_pdu = s_pdu,
                                 .get_stats = s_stats};
    struct larger l = table();

    (void)state;
    l.t.caps |= CAP_LOGIN_OFFLOAD;
    l.t.bind_conn = NULL;
    l.t.stop_conn = NULL;
    l.t.xmit_task = l.t.cleanup_task = NULL;
    l.t.session_ops = &ops;
    assert_int_equal(add(&l), 0);
    ops.size--;
    refused(&l, "session_ops of another size");
    ops.size++;
    ops.send_pdu = NULL;
    refused(&l, "or that lack an operation");
}

static void
too_many(void **state)
{
    static char names[TRANSPORT_MAX + 1][8];
    char there[12];
    struct larger l = table();

    (void)state;
    memset(&r, 0, sizeof(r));
    for (int i = 0; i <= TRANSPORT_MAX; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "t%d", i);
        l.t.name = names[i];
        assert_int_equal(transport_register(&r, &l.t, &err), i < TRANSPORT_MAX ? 0 : -ENOSPC);
    }
    assert_string_equal(transport_find(&r, "t7")->name, "t7");
    assert_ptr_equal(transport_names(&r, there, sizeof(there)), there);
    assert_string_equal(there, "t0, t1, t2,"); /* cut */
    transport_registry_fini(&r);
    assert_null(transport_find(&r, "t7"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes),
        cmocka_unit_test(versions),
        cmocka_unit_test(operations_that_are_missing),
        cmocka_unit_test(sessions_of_its_own),
        cmocka_unit_test(too_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
