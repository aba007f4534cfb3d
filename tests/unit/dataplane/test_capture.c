/* SPDX-License-Identifier: MIT */
/* Captures of sessions: who may ask for one, who reads it, and every way in which it ends. */
#include "tests/unit/dataplane/dpw.h"

#include <sys/socket.h>
#include <unistd.h>

#define PATH     "/run/capture.sock"
#define STREAMS  32
#define FILE_MAX (1u << 20)

/* Listeners and readers of a loop that has no sockets. */
struct fake_stream {
    struct stream s;
    const struct stream_events *ev;
    void *user;
    bool listens, open;
};

static struct {
    struct fake_stream stream[STREAMS];
    unsigned n;
    uid_t uid;    /* of whoever connects */
    ssize_t room; /* what the reader's socket takes; < 0: it is broken */
    unsigned recvs;
    ssize_t said; /* what the reader sends: -EAGAIN nothing, 0 it has shut down its side */
    uint8_t file[FILE_MAX];
    size_t len;
} net;

static struct fake_stream *
new_stream(struct loop *l, const struct stream_events *ev, void *user, bool listens)
{
    struct fake_stream *s = &net.stream[net.n++];

    assert_true(net.n <= STREAMS);
    *s = (struct fake_stream){
        .s = {.loop = l}, .ev = ev, .user = user, .listens = listens, .open = true};
    return s;
}

static int
net_listen(struct loop *l, const struct sock_addr *at, const struct stream_events *ev, void *user,
           struct stream **ret, struct sock_addr *ret_bound)
{
    (void)ret_bound;
    assert_string_equal(sock_addr_path(at), PATH);
    *ret = &new_stream(l, ev, user, true)->s;
    return 0;
}

static void
net_close(struct stream *s)
{
    struct fake_stream *f = container_of(s, struct fake_stream, s);

    assert_true(f->open);
    f->open = false;
}

static void
net_set_events(struct stream *s, const struct stream_events *ev, void *user)
{
    struct fake_stream *f = container_of(s, struct fake_stream, s);

    f->ev = ev;
    f->user = user;
}

static ssize_t
net_sendv(struct stream *s, const struct iovec *iov, int n, size_t total)
{
    size_t take = net.room < 0 ? 0 : total < (size_t)net.room ? total : (size_t)net.room, done = 0;

    assert_true(container_of(s, struct fake_stream, s)->open);
    if (net.room < 0)
        return -EPIPE;
    for (int i = 0; i < n && done < take; i++) {
        size_t k = take - done < iov[i].iov_len ? take - done : iov[i].iov_len;

        assert_true(net.len + k <= FILE_MAX);
        memcpy(net.file + net.len, iov[i].iov_base, k);
        net.len += k;
        done += k;
    }
    net.room -= (ssize_t)take;
    return take > 0 ? (ssize_t)take : -EAGAIN;
}

static ssize_t
net_recvv(struct stream *s, const struct iovec *iov, int n)
{
    (void)s;
    (void)iov;
    (void)n;
    assert_true(++net.recvs < 1000); /* nobody listens for ever */
    return net.said;
}

static int
net_peer_cred(struct stream *s, uid_t *ret_uid, pid_t *ret_pid)
{
    (void)s;
    (void)ret_pid;
    *ret_uid = net.uid;
    return 0;
}

static struct dpw *
begin(void)
{
    struct dpw *w = dpw_new();

    memset(&net, 0, sizeof(net));
    net.uid = geteuid();
    net.room = FILE_MAX;
    net.said = -EAGAIN;
    dpw_loop_ops.listen = net_listen;
    dpw_loop_ops.close = net_close;
    dpw_loop_ops.set_events = net_set_events;
    dpw_loop_ops.sendv = net_sendv;
    dpw_loop_ops.recvv = net_recvv;
    dpw_loop_ops.peer_cred = net_peer_cred;
    return w;
}

static void
end(struct dpw *w)
{
    dataplane_shutdown(w->dp);
    fake_advance(&w->fl, SEC(4));
    dpw_free(w);
    for (unsigned i = 0; i < net.n; i++)
        assert_false(net.stream[i].open);
}

static int
start(struct dpw *w, uint32_t sid, uint32_t seconds, uint64_t segments)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_START_CAPTURE, .sid = sid};

    ev.u.start_capture.limit_s = seconds;
    ev.u.start_capture.segments_max = segments;
    ev.u.start_capture.path_len = sizeof(PATH) - 1;
    return dpw_ask(w, &ev, PATH, sizeof(PATH) - 1);
}

/* Somebody connects to the newest listener. */
static struct fake_stream *
connect_reader(struct dpw *w)
{
    struct fake_stream *l = &net.stream[net.n - 1], *s = new_stream(&w->fl.l, NULL, NULL, false);

    assert_true(l->listens && l->open);
    l->ev->accepted(l->user, &s->s, NULL);
    fake_turn(&w->fl);
    return s;
}

static bool
file_says(const char *what)
{
    return memmem(net.file, net.len, what, strlen(what)) != NULL;
}

static void
test_refused(void **state)
{
    struct dpw *w = begin();
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_START_CAPTURE};
    uint32_t sid[9];

    (void)state;
    assert_int_equal(start(w, 77, 0, 0), -ENOENT);
    ev.sid = sid[0] = dpw_session(w);
    assert_int_equal(dpw_ask(w, &ev, NULL, 0), -EINVAL); /* no path */
    assert_int_equal(dpw_ask(w, &ev, "capture.sock", 12), -EINVAL);
    assert_int_equal(dpw_ask(w, &ev, "\0capture", 8), -EINVAL);
    assert_int_equal(dpw_ask(w, &ev, "/run/a\0b", 8), -EINVAL);
    assert_int_equal(start(w, sid[0], 0, 0), 0);
    assert_int_equal(start(w, sid[0], 0, 0), -EBUSY);
    for (unsigned i = 1; i < 9; i++) {
        sid[i] = dpw_session(w);
        assert_int_equal(start(w, sid[i], 0, 0), i < 8 ? 0 : -EAGAIN);
    }
    end(w);
}

/* One that nobody reads is given up, and stands in nobody's way; another user is no reader. */
static void
test_reader(void **state)
{
    struct dpw *w = begin();
    uint64_t ep;
    uint32_t sid = dpw_started(w, &ep);
    struct fake_stream *s;

    (void)state;
    assert_int_equal(start(w, sid, 0, 0), 0);
    fake_advance(&w->fl, SEC(9));
    assert_int_equal(start(w, sid, 0, 0), -EBUSY);
    fake_advance(&w->fl, SEC(2));
    assert_int_equal(start(w, sid, 0, 0), 0);
    net.uid = geteuid() + 1;
    {
        struct fake_stream *l = &net.stream[net.n - 1];

        s = connect_reader(w);
        assert_false(s->open);
        assert_true(l->open);
        net.n--; /* the listener is the newest again */
    }
    net.uid = geteuid();
    s = connect_reader(w);
    assert_true(s->open && net.len > 0);
    assert_true(file_says("iSCSI session"));
    fake_advance(&w->fl, SEC(100)); /* it lasts */
    assert_true(s->open);
    net.said = 0;
    s->ev->readable(s->user);
    fake_turn(&w->fl);
    assert_false(s->open);
    assert_true(file_says("ended by its reader"));
    assert_int_equal(start(w, sid, 0, 0), 0); /* the next one */
    s = connect_reader(w);
    net.said = -ECONNRESET;
    s->ev->readable(s->user);
    assert_false(s->open);
    end(w);
}

static void
test_limits(void **state)
{
    struct dpw *w = begin();
    uint64_t ep;
    uint32_t sid = dpw_bound(w, &ep);
    struct fake_stream *s;

    (void)state;
    assert_int_equal(start(w, sid, 5, 0), 0);
    s = connect_reader(w);
    fake_advance(&w->fl, SEC(4));
    assert_true(s->open);
    fake_advance(&w->fl, SEC(2));
    assert_false(s->open);
    assert_true(file_says("after the time"));
    net.len = 0;
    assert_int_equal(start(w, sid, 0, 2),
                     0); /* the capture of a reopen begins with three segments */
    s = connect_reader(w);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_STOP_CONN, sid, 1, 0), 0);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_BIND_CONN, sid, 1, dpw_endpoint(w)), 0);
    fake_turn(&w->fl);
    assert_false(s->open);
    assert_true(file_says("number of packets"));
    end(w);
}

/* It ends with the session, and gets all that waits, though its reader takes it piece by piece. */
static void
test_session_ends(void **state)
{
    struct dpw *w = begin();
    uint64_t ep;
    uint32_t sid = dpw_started(w, &ep);
    struct fake_stream *s;

    (void)state;
    assert_int_equal(start(w, sid, 0, 0), 0);
    net.room = 10;
    s = connect_reader(w);
    assert_int_equal(net.len, 10);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_DESTROY_SESSION, sid, 0, 0), 0);
    fake_turn(&w->fl);
    while (s->open) {
        net.room = 7;
        s->ev->writable(s->user);
        fake_turn(&w->fl);
    }
    assert_true(file_says("ended with the session"));
    assert_memory_equal(net.file, "\x0a\x0d\x0d\x0a", 4);
    end(w);
}

/* A reader that takes nothing at the end is not waited for. */
static void
test_stuck_reader(void **state)
{
    struct dpw *w = begin();
    uint64_t ep;
    uint32_t sid = dpw_started(w, &ep);
    struct fake_stream *s;

    (void)state;
    assert_int_equal(start(w, sid, 0, 0), 0);
    net.room = 0;
    s = connect_reader(w);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_DESTROY_SESSION, sid, 0, 0), 0);
    fake_advance(&w->fl, SEC(2));
    assert_true(s->open);
    fake_advance(&w->fl, SEC(2));
    assert_false(s->open);
    end(w);
}

/* One that has ended does not hold up the next of that session while its reader takes its time, and
 * of those there are few. */
static void
test_one_after_the_other(void **state)
{
    struct dpw *w = begin();
    uint64_t ep;
    uint32_t sid = dpw_started(w, &ep);
    struct fake_stream *s[20];
    unsigned open = 0;

    (void)state;
    net.room = 0;
    for (int i = 0; i < 12; i++) {
        assert_int_equal(start(w, sid, 0, 0), 0);
        assert_int_equal(start(w, sid, 0, 0), -EBUSY); /* it runs */
        s[i] = connect_reader(w);
        net.said = 0;
        s[i]->ev->readable(s[i]->user);
        net.said = -EAGAIN;
    }
    for (int i = 0; i < 12; i++)
        open += s[i]->open;
    assert_true(open >= 4 && open < 8);
    assert_true(s[11]->open);
    net.room = FILE_MAX;
    s[11]->ev->writable(s[11]->user);
    assert_false(s[11]->open);
    assert_true(file_says("ended by its reader"));
    fake_advance(&w->fl, SEC(4));
    for (int i = 0; i < 12; i++)
        assert_false(s[i]->open);
    end(w);
}

/* One that ends before its reader has come leaves its path to the next. */
static void
test_unread(void **state)
{
    struct dpw *w = begin();
    uint64_t ep;
    uint32_t sid = dpw_started(w, &ep);
    struct fake_stream *l;

    (void)state;
    assert_int_equal(start(w, sid, 1, 0), 0);
    l = &net.stream[net.n - 1];
    fake_advance(&w->fl, SEC(2));
    assert_true(l->listens && l->open); /* somebody may still come for it */
    assert_int_equal(start(w, sid, 0, 0), 0);
    assert_false(l->open);
    assert_int_equal(start(w, sid, 0, 0), -EBUSY);
    end(w);
}

/* Whoever takes nothing is dropped when that is asked for. */
static void
test_dropped(void **state)
{
    struct dpw *w = begin();
    uint64_t ep;
    uint32_t sid = dpw_started(w, &ep);
    struct fake_stream *s;

    (void)state;
    assert_int_equal(start(w, sid, 0, 0), 0);
    net.room = 0;
    s = connect_reader(w);
    dataplane_shutdown(w->dp);
    fake_turn(&w->fl);
    assert_true(s->open);
    assert_int_equal(dataplane_busy(w->dp), 1);
    dataplane_drop_captures(w->dp);
    assert_false(s->open);
    assert_int_equal(dataplane_busy(w->dp), 0);
    end(w);
}

/* A reader that talks without end has its turns, and no more. */
static void
test_talking_reader(void **state)
{
    struct dpw *w = begin();
    uint64_t ep;
    uint32_t sid = dpw_started(w, &ep);
    struct fake_stream *s;

    (void)state;
    assert_int_equal(start(w, sid, 0, 0), 0);
    s = connect_reader(w);
    net.said = 4096; /* a whole buffer, each time */
    for (unsigned i = 0; i < 3; i++) {
        net.recvs = 0;
        s->ev->readable(s->user);
        assert_true(s->open && net.recvs > 0 && net.recvs <= 16);
    }
    net.said = 100; /* then it says no more, and the capture goes on */
    s->ev->readable(s->user);
    net.said = -EAGAIN;
    s->ev->readable(s->user);
    assert_true(s->open);
    assert_int_equal(start(w, sid, 0, 0), -EBUSY);
    end(w);
}

/* All sessions of a program, from their beginning. */
static void
test_all(void **state)
{
    struct dpw *w = begin();
    struct lunette_error err;
    uint64_t ep;

    (void)state;
    (void)dpw_bound(w, &ep);
    assert_int_equal(dataplane_capture_all(w->dp, 5, 1, false, &err), -EBUSY);
    end(w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_reader),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_session_ends),
        cmocka_unit_test(test_stuck_reader),
        cmocka_unit_test(test_all),
        cmocka_unit_test(test_one_after_the_other),
        cmocka_unit_test(test_unread),
        cmocka_unit_test(test_dropped),
        cmocka_unit_test(test_talking_reader),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
