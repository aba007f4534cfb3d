/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "target/face.h"
#include "target/instance.h"
#include "target/serve.h"
#include "target/tcp/pace.h"
#include "target/tcp/ring.h"
#include "target/tcp/rx.h"
#include "target/tcp/tcp.h"
#include "target/tcp/tx.h"

static const struct stream_events tcp_events = {.readable = tgt_rx_readable,
                                                .writable = tgt_tx_writable};
static const struct stream_events tcp_deaf_events = {.writable = tgt_tx_writable};

static int
tcp_prepare(struct tgt_conn *c, uint32_t commands, struct lunette_error *err)
{
    (void)c;
    (void)commands;
    (void)err;
    return 0; /* the socket's memory is the system's */
}

/* Data-Out that comes for it finds no command with its tag, and is dropped. */
static void
tcp_forget(struct tgt_cmd *cmd)
{
    (void)cmd;
}

static void
tcp_receive(struct tgt_conn *c)
{
    tgt_rx_readable(tgt_tcp(c));
}

static void
tcp_pause(struct tgt_conn *c, bool on)
{
    stream_set_events(tgt_tcp(c)->stream, on ? &tcp_deaf_events : &tcp_events, tgt_tcp(c));
}

static void
tcp_release(struct tgt_conn *c, void *buf)
{
    tgt_ring_release(tgt_tcp(c), buf);
}

static void
tcp_close(struct tgt_conn *c)
{
    struct tgt_tcp *f = tgt_tcp(c);

    tgt_pace_stop(f);
    stream_close(f->stream);
    f->stream = NULL;
    tgt_ring_drop(f);
}

static void
tcp_free(struct tgt_conn *c)
{
    struct tgt_tcp *f = tgt_tcp(c);

    free(f->buf);
    free(f->rest);
    free(f);
}

static const struct tgt_face tcp_face = {
    .name = "TCP",
    .prepare = tcp_prepare,
    .receive = tcp_receive,
    .flush = tgt_tx_flush,
    .pause = tcp_pause,
    .release = tcp_release,
    .forget = tcp_forget,
    .close = tcp_close,
    .free = tcp_free,
};

void
tgt_tcp_serve(struct target *t, struct stream *s, const struct sock_addr *peer)
{
    static const struct stream_opts opts = {.nodelay = true, .keepalive = true};
    struct tgt_tcp *f = tgt_serve_room(t) ? calloc(1, sizeof(*f)) : NULL;

    if (f == NULL) {
        log_line(t->loop->log, LOG_LEVEL_WARN, "a connection was refused: too many, or stopping");
        stream_close(s);
        return;
    }
    f->stream = s;
    f->h_need = ISCSI_BHS_LEN;
    f->lowat = 1;
    if (peer != NULL)
        f->c.peer = *peer;
    (void)stream_names(s, &f->c.local, NULL);
    (void)stream_set_opts(s, &opts);
    tgt_pace_init(f);
    tgt_serve(t, &f->c, &tcp_face);
    stream_set_events(s, &tcp_events, f);
}
