/* SPDX-License-Identifier: MIT */
/* A host with a modelled target behind it: answers INQUIRY, VPD, capacity, mode pages and data
 * commands from a description, unless a script says otherwise. */
#ifndef TESTS_FAKE_HOST_H
#define TESTS_FAKE_HOST_H

#include "tests/unit/fake_loop.h"

#include <errno.h>
#include <stdlib.h>

#include "block/block.h"
#include "scsi/scsi.h"
#include "wire/be.h"
#include "wire/capacity.h"
#include "wire/inquiry.h"
#include "wire/mode.h"
#include "wire/scsi.h"
#include "wire/sense.h"

#define FH_MAX    65536
#define FH_OUT    512
#define FH_SCRIPT 64
#define FH_LUNS   8
#define FH_WAITS  (FH_OUT + FH_LUNS) /* an abort of each command, and a reset of each unit */
#define ANY_OP    (-1)
#define EVER      100000000u

/* How a command that matches is answered instead of by the model. */
struct answer {
    int op;  /* opcode, ANY_OP */
    int sub; /* byte 1 & 1Fh for service actions, or VPD page for op SCSI_INQUIRY; ANY_OP */
    int lun; /* ANY_OP */
    unsigned times;
    enum scsi_host_result host;
    uint8_t status;
    uint8_t key, asc, ascq; /* with CHECK CONDITION; key FFh: no sense data */
    bool deferred;
    bool never;       /* not answered at all */
    const void *data; /* instead of the model's */
    uint32_t len;
    bool is_short; /* model's answer, but only len bytes move */
    uint16_t qualifier;
};

struct flun {
    bool there;
    uint8_t lun[8];
    struct scsi_inquiry inq;
    struct scsi_capacity cap;
    const char *name;   /* NAA bytes as text of 16; NULL: no page 83h */
    const char *serial; /* NULL: no page 80h */
    struct vpd_block_limits b0;
    struct vpd_provisioning b2;
    bool no_vpd, no_rc16, wp, wce, fua, ws16, ws10, ms6_refused;
    /* ALUA: inq.tpgs says whether there is any */
    uint8_t alua, alua_s; /* state; implicit transition time */
    uint16_t group;       /* target port group, relative port too; 0: page 83h does not tell it */
    bool rtpg_no_ext;     /* the extended header is refused */
    unsigned rtpgs;
};

struct fhost {
    struct fake_loop loop;
    struct scsi_host h;
    struct scsi_target *t;
    struct flun luns[FH_LUNS];
    struct answer script[FH_SCRIPT];
    unsigned nscript;
    struct loop_work work;
    struct scsi_cmd *out[FH_OUT]; /* with the host */
    bool stuck[FH_OUT];           /* never answered */
    unsigned nout, max_out;
    uint8_t op[FH_MAX], lun[FH_MAX], byte1[FH_MAX], byte2[FH_MAX];
    uint64_t at[FH_MAX];
    unsigned n, commits, refuse, window;
    bool hold;          /* answer nothing */
    unsigned hold_from; /* nothing from the n-th command on; 0: never */
    bool no_report_luns;
    bool one_more; /* REPORT LUNS always tells of one LUN more than was asked for */
    /* task management */
    enum scsi_eh_result abort_result, lu_result, target_result, session_result;
    enum scsi_eh_result aca_result;
    unsigned aborts, lu_resets, target_resets, session_resets, acas;
    bool aca; /* each command but task management is answered with ACA ACTIVE */
    char order[64];
    bool more_time;
    struct scsi_eh_wait *waits[FH_WAITS];
    enum scsi_eh_result wait_results[FH_WAITS];
    unsigned nwaits;
    bool hold_waits;
    char hold_at; /* no wait ends while this is the last letter of order */
    struct loop_work wait_work;
    /* what the midlayer told */
    unsigned events[SCSI_NEVENTS];
    uint8_t last_out[64];
    uint32_t last_out_len;
};

static inline struct flun *
fh_find(struct fhost *f, const uint8_t lun[8])
{
    for (int i = 0; i < FH_LUNS; i++) {
        if (f->luns[i].there && memcmp(f->luns[i].lun, lun, 8) == 0)
            return &f->luns[i];
    }
    return NULL;
}

static inline void
fh_check(struct scsi_cmd *sc, uint8_t key, uint8_t asc, uint8_t ascq)
{
    sc->status = SCSI_CHECK_CONDITION;
    sc->sense_len = (uint16_t)sense_build(sc->sense, key, asc, ascq);
    sc->resid_in = sc->in.len;
    sc->resid_out = sc->out.len;
}

static inline void
fh_data(struct scsi_cmd *sc, const void *data, uint32_t len)
{
    struct sg_cursor c;
    uint32_t n = len < sc->in.len ? len : sc->in.len;

    if (sc->in.len > 0) {
        sg_cursor_init(&c, &sc->in);
        sg_copy_to(&c, &sc->in, data, n);
    }
    sc->resid_in = sc->in.len - n;
    sc->overflow = len > sc->in.len;
}

static inline uint32_t
fh_vpd(struct flun *l, uint8_t page, uint8_t *buf, size_t size)
{
    uint8_t pages[6] = {0};
    unsigned npages = 1;
    struct vpd_block_char b1 = {.rotation = 7200};
    uint8_t port[4] = {0, 0, (uint8_t)(l->group >> 8), (uint8_t)l->group};
    struct vpd_id ids[] = {
        {.code_set = 1, .type = VPD_ID_NAA, .len = 16, .data = (const uint8_t *)l->name},
        {.code_set = 1, .assoc = VPD_ASSOC_PORT, .type = VPD_ID_PORT_GROUP, .len = 4, .data = port},
        {.code_set = 1, .assoc = VPD_ASSOC_PORT, .type = VPD_ID_REL_PORT, .len = 4, .data = port},
    };
    int n = -1;

    if (l->serial != NULL)
        pages[npages++] = 0x80;
    if (l->name != NULL)
        pages[npages++] = 0x83;
    for (uint8_t p = 0xb0; p <= 0xb2; p++)
        pages[npages++] = p;
    if (memchr(pages, page, npages) == NULL)
        return 0;
    switch (page) {
    case 0:
        n = vpd_supported_build(buf, size, l->inq.type, pages, npages);
        break;
    case 0x80:
        n = vpd_serial_build(buf, size, l->inq.type, l->serial);
        break;
    case 0x83:
        n = vpd_device_id_build(buf, size, l->inq.type, ids, l->group != 0 ? 3 : 1);
        break;
    case 0xb0:
        n = vpd_block_limits_build(buf, size, l->inq.type, &l->b0);
        break;
    case 0xb1:
        n = vpd_block_char_build(buf, size, l->inq.type, &b1);
        break;
    case 0xb2:
        n = vpd_provisioning_build(buf, size, l->inq.type, &l->b2);
        break;
    default:
        break;
    }
    return n > 0 ? (uint32_t)n : 0;
}

static inline void
fh_inquiry(struct flun *l, struct scsi_cmd *sc)
{
    uint8_t buf[512];
    uint32_t n;
    struct scsi_inquiry none = {.qualifier = 3, .type = SCSI_TYPE_NONE, .version = 6};

    if ((sc->cdb[1] & 1) == 0) {
        n = (uint32_t)inquiry_build(buf, sizeof(buf), l != NULL ? &l->inq : &none);
        fh_data(sc, buf, n < ld_be16(sc->cdb + 3) ? n : ld_be16(sc->cdb + 3));
        return;
    }
    n = l != NULL && !l->no_vpd ? fh_vpd(l, sc->cdb[2], buf, sizeof(buf)) : 0;
    if (n == 0)
        fh_check(sc, SENSE_ILLEGAL_REQUEST, 0x24, 0);
    else
        fh_data(sc, buf, n < ld_be16(sc->cdb + 3) ? n : ld_be16(sc->cdb + 3));
}

static inline void
fh_mode_sense(struct flun *l, struct scsi_cmd *sc)
{
    enum mode_form form = sc->cdb[0] == SCSI_MODE_SENSE_6 ? MODE_6 : MODE_10;
    struct mode_caching c = {.wce = l->wce};
    uint8_t buf[128], page = sc->cdb[2] & 0x3f;
    int h, n = 0;

    if (form == MODE_6 && l->ms6_refused) {
        fh_check(sc, SENSE_ILLEGAL_REQUEST, 0x20, 0);
        return;
    }
    h = form == MODE_6 ? 4 : 8;
    if (page == MODE_PAGE_CACHING || page == MODE_PAGE_ALL)
        n = mode_caching_build(buf + h, sizeof(buf) - 8, &c);
    (void)mode_header_build(buf, sizeof(buf), form,
                            (uint8_t)((l->wp ? MODE_DEV_WP : 0) | (l->fua ? MODE_DEV_DPOFUA : 0)),
                            0, (size_t)n);
    fh_data(sc, buf, (uint32_t)(h + n));
}

static inline void
fh_report_luns(struct fhost *f, struct scsi_cmd *sc)
{
    struct lun list[FH_LUNS];
    uint8_t buf[8 + 8 * FH_LUNS];
    unsigned n = 0;

    if (f->no_report_luns) {
        fh_check(sc, SENSE_ILLEGAL_REQUEST, 0x20, 0);
        return;
    }
    for (int i = 0; i < FH_LUNS; i++) {
        if (f->luns[i].there && f->luns[i].lun[0] != 0xc1)
            list[n++] = lun_load(f->luns[i].lun);
    }
    n = (unsigned)report_luns_build(buf, sizeof(buf), list, n);
    if (f->one_more)
        st_be32(buf, ld_be32(sc->cdb + 6));
    fh_data(sc, buf, n);
}

static inline void
fh_capacity(struct flun *l, struct scsi_cmd *sc)
{
    uint8_t buf[CAPACITY16_LEN];

    if (sc->cdb[0] == SCSI_READ_CAPACITY_10)
        fh_data(sc, buf, (uint32_t)capacity10_build(buf, sizeof(buf), &l->cap));
    else if (l->no_rc16)
        fh_check(sc, SENSE_ILLEGAL_REQUEST, 0x20, 0);
    else
        fh_data(sc, buf, (uint32_t)capacity16_build(buf, sizeof(buf), &l->cap));
}

static inline void
fh_opcodes(struct flun *l, struct scsi_cmd *sc)
{
    uint8_t buf[20] = {0};

    buf[1] = (sc->cdb[3] == SCSI_WRITE_SAME_16 && l->ws16) ||
                     (sc->cdb[3] == SCSI_WRITE_SAME_10 && l->ws10)
                 ? 3
                 : 1;
    fh_data(sc, buf, sizeof(buf));
}

static inline void
fh_rtpg(struct flun *l, struct scsi_cmd *sc)
{
    struct alua_group g = {.state = l->alua, .supported = 0xdf, .group = l->group};
    bool ext = (sc->cdb[1] & 0xe0) != 0;
    uint8_t buf[64];
    uint16_t port = l->group;

    l->rtpgs++;
    if (l->inq.tpgs == 0 || (ext && l->rtpg_no_ext))
        fh_check(sc, SENSE_ILLEGAL_REQUEST, 0x24, 0);
    else
        fh_data(sc, buf, (uint32_t)alua_build(buf, sizeof(buf), ext, l->alua_s, &g, &port, 1));
}

/* Refuses what the ALUA state does not allow, as SPC has it. */
static inline bool
fh_no_access(const struct flun *l, const struct scsi_cmd *sc)
{
    const uint8_t *cdb = scsi_cmd_cdb(sc);

    if (l->alua == ALUA_OPTIMIZED || l->alua == ALUA_NON_OPTIMIZED ||
        l->alua == ALUA_LBA_DEPENDENT || (cdb[0] == SCSI_MAINTENANCE_IN && (cdb[1] & 0x1f) == 0x0a))
        return false;
    return l->alua != ALUA_STANDBY || (cdb[0] != SCSI_MODE_SENSE_6 && cdb[0] != SCSI_MODE_SENSE_10);
}

static inline void
fh_model(struct fhost *f, struct scsi_cmd *sc)
{
    struct flun *l = fh_find(f, sc->lun);
    uint8_t op = scsi_cmd_cdb(sc)[0];

    sc->host_result = DID_OK;
    sc->status = SCSI_GOOD;
    if (op == SCSI_INQUIRY) {
        fh_inquiry(l, sc);
    } else if (op == SCSI_REPORT_LUNS) {
        fh_report_luns(f, sc);
    } else if (l == NULL) {
        fh_check(sc, SENSE_ILLEGAL_REQUEST, 0x25, 0);
    } else if (fh_no_access(l, sc)) {
        fh_check(sc, SENSE_NOT_READY, 0x04,
                 l->alua == ALUA_STANDBY       ? 0x0b
                 : l->alua == ALUA_UNAVAILABLE ? 0x0c
                 : l->alua == ALUA_OFFLINE     ? 0x12
                                               : 0x0a);
    } else if (op == SCSI_MAINTENANCE_IN && (scsi_cmd_cdb(sc)[1] & 0x1f) == 0x0a) {
        fh_rtpg(l, sc);
    } else if (op == SCSI_READ_CAPACITY_10 || op == SCSI_SERVICE_ACTION_IN_16) {
        fh_capacity(l, sc);
    } else if (op == SCSI_MODE_SENSE_6 || op == SCSI_MODE_SENSE_10) {
        fh_mode_sense(l, sc);
    } else if (op == SCSI_MAINTENANCE_IN) {
        fh_opcodes(l, sc);
    } else if (sc->out.len > 0) {
        struct sg_cursor c;

        f->last_out_len = sc->out.len;
        sg_cursor_init(&c, &sc->out);
        sg_copy_from(&c, &sc->out, f->last_out, sc->out.len < 64 ? sc->out.len : 64);
    }
}

static inline struct answer *
fh_match(struct fhost *f, const struct scsi_cmd *sc)
{
    const uint8_t *cdb = scsi_cmd_cdb(sc);

    for (unsigned i = 0; i < f->nscript; i++) {
        struct answer *a = &f->script[i];
        int sub = cdb[0] == SCSI_INQUIRY ? ((cdb[1] & 1) != 0 ? cdb[2] : -2) : (cdb[1] & 0x1f);

        if (a->times > 0 && (a->op == ANY_OP || a->op == cdb[0]) &&
            (a->sub == ANY_OP || a->sub == sub) && (a->lun == ANY_OP || a->lun == sc->lun[1])) {
            a->times--;
            return a;
        }
    }
    return NULL;
}

static inline void
fh_answer(struct fhost *f, struct scsi_cmd *sc, const struct answer *a)
{
    if (f->h.state != SCSI_HOST_RUNNING) {
        sc->host_result = f->h.state == SCSI_HOST_GONE ? DID_NO_CONNECT : DID_IMM_RETRY;
        return;
    }
    fh_model(f, sc);
    if (a == NULL)
        return;
    sc->host_result = (uint8_t)a->host;
    sc->status_qualifier = a->qualifier;
    if (a->is_short) {
        sc->resid_in = sc->in.len > 0 ? sc->in.len - a->len : 0;
        sc->resid_out = sc->out.len > 0 ? sc->out.len - a->len : 0;
        return;
    }
    if (a->data != NULL) {
        sc->status = SCSI_GOOD;
        sc->sense_len = 0;
        fh_data(sc, a->data, a->len);
        return;
    }
    sc->status = a->status;
    sc->resid_in = sc->in.len;
    sc->resid_out = sc->out.len;
    sc->sense_len = 0;
    if (a->status == SCSI_CHECK_CONDITION && a->key != 0xff) {
        sc->sense_len = (uint16_t)sense_build(sc->sense, a->key, a->asc, a->ascq);
        if (a->deferred)
            sc->sense[0] = 0x71;
    }
}

static inline void
fh_give_back(struct fhost *f, unsigned i)
{
    struct scsi_cmd *sc = f->out[i];

    f->nout--;
    memmove(&f->out[i], &f->out[i + 1], (f->nout - i) * sizeof(f->out[0]));
    memmove(&f->stuck[i], &f->stuck[i + 1], (f->nout - i) * sizeof(f->stuck[0]));
    sc->done(sc);
}

/* Answers all that is not to be left alone. */
static inline void
fh_work(struct loop_work *w)
{
    struct fhost *f = container_of(w, struct fhost, work);

    if (f->t != NULL)
        scsi_check_fast(f->t);
    for (unsigned i = 0; i < f->nout && !f->hold && (f->hold_from == 0 || f->n < f->hold_from);) {
        struct answer *a = f->stuck[i] ? NULL : fh_match(f, f->out[i]);

        if (f->stuck[i] || (a != NULL && a->never)) {
            f->stuck[i++] = true;
            continue;
        }
        fh_answer(f, f->out[i], a);
        if (f->aca && f->h.state == SCSI_HOST_RUNNING) {
            f->out[i]->status = SCSI_ACA_ACTIVE;
            f->out[i]->sense_len = 0;
        }
        fh_give_back(f, i);
    }
    if (f->window > 0 && f->nout < f->window && f->h.ev != NULL)
        f->h.ev->restart(f->h.ev_user);
    if (f->t != NULL)
        scsi_check_fast(f->t);
}

static inline int
fh_queuecommand(struct scsi_host *h, struct scsi_cmd *sc)
{
    struct fhost *f = container_of(h, struct fhost, h);

    if (f->refuse > 0) {
        f->refuse--;
        return -EBUSY;
    }
    if (f->window > 0 && f->nout >= f->window)
        return -EBUSY;
    assert_true(f->n < FH_MAX && f->nout < FH_OUT);
    assert_true(sc->cdb_len >= 6);
    f->op[f->n] = scsi_cmd_cdb(sc)[0];
    f->byte1[f->n] = scsi_cmd_cdb(sc)[1];
    f->byte2[f->n] = scsi_cmd_cdb(sc)[2];
    f->at[f->n] = f->loop.l.now_ns;
    f->lun[f->n++] = sc->lun[1];
    f->stuck[f->nout] = false;
    f->out[f->nout++] = sc;
    if (f->nout > f->max_out)
        f->max_out = f->nout;
    loop_defer(&f->loop.l, &f->work);
    return 0;
}

static inline void
fh_commit(struct scsi_host *h)
{
    container_of(h, struct fhost, h)->commits++;
}

static inline enum scsi_timeout_action
fh_timed_out(struct scsi_host *h, struct scsi_cmd *sc)
{
    (void)sc;
    return container_of(h, struct fhost, h)->more_time ? SCSI_TIMEOUT_RESET_TIMER
                                                       : SCSI_TIMEOUT_ABORT;
}

/* The last step of the ladder, or '-'. */
static inline char
fh_last(const struct fhost *f)
{
    size_t n = strlen(f->order);

    return n > 0 ? f->order[n - 1] : '-';
}

static inline void
fh_wait_work(struct loop_work *w)
{
    struct fhost *f = container_of(w, struct fhost, wait_work);

    while (f->nwaits > 0 && !f->hold_waits && fh_last(f) != f->hold_at) {
        struct scsi_eh_wait *wait = f->waits[0];
        enum scsi_eh_result r = f->wait_results[0];

        f->nwaits--;
        memmove(f->waits, f->waits + 1, f->nwaits * sizeof(f->waits[0]));
        memmove(f->wait_results, f->wait_results + 1, f->nwaits * sizeof(f->wait_results[0]));
        wait->done(wait, r);
    }
}

static inline void
fh_later(struct fhost *f, struct scsi_eh_wait *w, enum scsi_eh_result r)
{
    assert_true(f->nwaits < FH_WAITS);
    f->waits[f->nwaits] = w;
    f->wait_results[f->nwaits++] = r;
    loop_defer(&f->loop.l, &f->wait_work);
}

/* Gives back everything of a LUN (NULL: of all), as a reset does. */
static inline void
fh_sweep(struct fhost *f, const uint8_t *lun, enum scsi_host_result r)
{
    for (unsigned i = 0; i < f->nout;) {
        if (lun != NULL && memcmp(f->out[i]->lun, lun, 8) != 0) {
            i++;
            continue;
        }
        f->out[i]->host_result = (uint8_t)r;
        fh_give_back(f, i);
    }
}

static inline void
fh_note(struct fhost *f, char c)
{
    size_t n = strlen(f->order);

    if (n + 1 < sizeof(f->order))
        f->order[n] = c;
}

static inline void
fh_abort(struct scsi_host *h, struct scsi_cmd *sc, struct scsi_eh_wait *w)
{
    struct fhost *f = container_of(h, struct fhost, h);

    f->aborts++;
    fh_note(f, 'a');
    if (f->abort_result == SCSI_EH_SUCCESS) {
        for (unsigned i = 0; i < f->nout; i++) {
            if (f->out[i] == sc) {
                sc->host_result = DID_ABORT;
                fh_give_back(f, i);
                break;
            }
        }
    }
    fh_later(f, w, f->abort_result);
}

static inline void
fh_device_reset(struct scsi_host *h, const uint8_t lun[8], struct scsi_eh_wait *w)
{
    struct fhost *f = container_of(h, struct fhost, h);

    f->lu_resets++;
    fh_note(f, 'l');
    if (f->lu_result == SCSI_EH_SUCCESS)
        fh_sweep(f, lun, DID_RESET);
    fh_later(f, w, f->lu_result);
}

static inline void
fh_clear_aca(struct scsi_host *h, const uint8_t lun[8], struct scsi_eh_wait *w)
{
    struct fhost *f = container_of(h, struct fhost, h);

    assert_non_null(fh_find(f, lun));
    f->acas++;
    f->aca &= f->aca_result != SCSI_EH_SUCCESS;
    fh_later(f, w, f->aca_result);
}

static inline void
fh_target_reset(struct scsi_host *h, struct scsi_eh_wait *w)
{
    struct fhost *f = container_of(h, struct fhost, h);

    f->target_resets++;
    fh_note(f, 't');
    if (f->target_result == SCSI_EH_SUCCESS)
        fh_sweep(f, NULL, DID_RESET);
    fh_later(f, w, f->target_result);
}

static inline void
fh_session_reset(struct scsi_host *h, struct scsi_eh_wait *w)
{
    struct fhost *f = container_of(h, struct fhost, h);

    f->session_resets++;
    fh_note(f, 's');
    if (f->session_result == SCSI_EH_SUCCESS)
        fh_sweep(f, NULL, DID_TRANSPORT_DISRUPTED);
    fh_later(f, w, f->session_result);
}

static const struct scsi_host_ops fh_ops = {
    .queuecommand = fh_queuecommand,
    .commit = fh_commit,
    .eh_timed_out = fh_timed_out,
    .eh_abort = fh_abort,
    .eh_device_reset = fh_device_reset,
    .eh_clear_aca = fh_clear_aca,
    .eh_target_reset = fh_target_reset,
    .eh_session_reset = fh_session_reset,
};

static inline void
fh_event(void *user, struct scsi_device *dev, enum scsi_event ev)
{
    assert_non_null(dev);
    ((struct fhost *)user)->events[ev]++;
}

static const struct scsi_events fh_events = {.event = fh_event};

/* A disk of 2^20 blocks at LUN n. */
static inline struct flun *
fh_add(struct fhost *f, int slot, uint64_t lun)
{
    static const char names[FH_LUNS][17] = {
        "\x60xxxxxxxxxxxxxx0", "\x60xxxxxxxxxxxxxx1", "\x60xxxxxxxxxxxxxx2", "\x60xxxxxxxxxxxxxx3",
        "\x60xxxxxxxxxxxxxx4", "\x60xxxxxxxxxxxxxx5", "\x60xxxxxxxxxxxxxx6", "\x60xxxxxxxxxxxxxx7",
    };
    struct flun *l = &f->luns[slot];

    memset(l, 0, sizeof(*l));
    l->there = true;
    lun_store(l->lun, lun_from_number(lun));
    l->inq = (struct scsi_inquiry){.version = 6, .cmdque = true, .response_format = 2};
    memcpy(l->inq.vendor, "LUNETTE", 8);
    memcpy(l->inq.product, "MODEL", 6);
    memcpy(l->inq.revision, "1", 2);
    l->cap = (struct scsi_capacity){.blocks = 1 << 20, .block_len = 512, .physical_exponent = 3};
    l->name = names[slot];
    l->serial = "SERIAL1";
    l->b0 = (struct vpd_block_limits){.has_unmap = true, .max_caw = 8};
    l->wce = l->fua = true;
    return l;
}

/* The host without a midlayer. */
static inline void
fh_init(struct fhost *f)
{
    memset(f, 0, sizeof(*f));
    fake_loop_init(&f->loop, 7);
    loop_work_init(&f->work, fh_work);
    loop_work_init(&f->wait_work, fh_wait_work);
    f->h = (struct scsi_host){.ops = &fh_ops,
                              .loop = &f->loop.l,
                              .name = "host0",
                              .can_queue = 128,
                              .max_cdb_len = 260,
                              .max_sg = 256,
                              .max_transfer = 16 << 20,
                              .state = SCSI_HOST_RUNNING};
}

static inline void
fh_open(struct fhost *f)
{
    fh_init(f);
    assert_int_equal(scsi_attach(&f->h, NULL, &fh_events, f, &f->t), 0);
}

static inline void
fh_script(struct fhost *f, struct answer a)
{
    assert_true(f->nscript < FH_SCRIPT);
    f->script[f->nscript++] = a;
}

#define ANSWER(op_, times_, ...)                                                                   \
    ((struct answer){.op = (op_), .sub = ANY_OP, .lun = ANY_OP, .times = (times_), __VA_ARGS__})
#define SENSE(k, a, q) .status = SCSI_CHECK_CONDITION, .key = (k), .asc = (a), .ascq = (q)

static inline unsigned
fh_count(const struct fhost *f, uint8_t op)
{
    unsigned c = 0;

    for (unsigned i = 0; i < f->n; i++)
        c += f->op[i] == op;
    return c;
}

/* Lets the waits end that were held. */
static inline void
fh_release_waits(struct fhost *f)
{
    f->hold_waits = false;
    f->hold_at = '\0';
    if (f->nwaits > 0)
        loop_defer(&f->loop.l, &f->wait_work);
    fake_turn(&f->loop);
}

/* The state of the session changes, because of why. */
static inline void
fh_state_why(struct fhost *f, enum scsi_host_state s, const struct lunette_error *why)
{
    f->h.state = s;
    f->h.ev->state(f->h.ev_user, s, why);
}

static inline void
fh_state(struct fhost *f, enum scsi_host_state s)
{
    fh_state_why(f, s, NULL);
}

/* The connection is lost: commands that are with the host may have been executed. */
static inline void
fh_lose(struct fhost *f)
{
    fh_state(f, SCSI_HOST_BLOCKED);
    fh_sweep(f, NULL, DID_TRANSPORT_DISRUPTED);
}

/* Ends the session as a transport does. */
static inline void
fh_end(struct fhost *f)
{
    fh_state(f, SCSI_HOST_GONE);
    fh_sweep(f, NULL, DID_NO_CONNECT);
    f->nwaits = 0;
    f->window = 0; /* nobody is left to be told that it opens */
    f->h.ev->freed(f->h.ev_user);
    loop_defer_cancel(&f->work);       /* of a command that came before the end */
    memset(&f->h, 0xa5, sizeof(f->h)); /* as if it were freed */
}

/* The session, then the midlayer. */
static inline void
fh_close(struct fhost *f)
{
    fh_end(f);
    scsi_detach(&f->t);
    assert_null(f->t);
    assert_int_equal(f->nout, 0);
    fake_advance(&f->loop, SEC(1000));
}

/* ---- scanning ---- */

struct scanned {
    int done, err;
    struct scsi_device *dev;
    struct lunette_error why;
};

static void
scan_done(void *user, int err, const struct lunette_error *why)
{
    struct scanned *s = user;

    s->done++;
    s->err = err;
    assert_true((err != 0) == (why != NULL));
    if (why != NULL)
        s->why = *why;
}

static void
scan_lun_done(void *user, struct scsi_device *dev, const struct lunette_error *why)
{
    struct scanned *s = user;

    s->done++;
    s->dev = dev;
    assert_true((dev == NULL) == (why != NULL));
    if (why != NULL) {
        s->why = *why;
        s->err = why->code;
    }
}

static inline struct scsi_device *
fh_scan_lun(struct fhost *f, uint64_t lun)
{
    struct scanned s = {0};

    assert_int_equal(scsi_scan_lun(f->t, lun_from_number(lun).b, scan_lun_done, &s), 0);
    assert_int_equal(s.done, 0);
    fake_advance(&f->loop, SEC(1));
    assert_int_equal(s.done, 1);
    return s.dev;
}

static inline unsigned
fh_ndevices(struct fhost *f)
{
    unsigned n = 0;

    for (struct scsi_device *d = scsi_first_device(f->t); d != NULL; d = scsi_next_device(d))
        n++;
    return n;
}

/* ---- a disk with block/ above ---- */

struct fdisk {
    struct fhost f;
    struct scsi_device *dev;
    struct bdev *b;
    struct bdev_queue *q;
    struct scanned up;
};

/* After fh_open and fh_add(…, 0). */
static inline void
fd_up(struct fdisk *d)
{
    d->dev = fh_scan_lun(&d->f, 0);
    assert_non_null(d->dev);
    assert_int_equal(scsi_disk_start(d->dev, scan_done, &d->up), 0);
    fake_advance(&d->f.loop, SEC(200));
    assert_int_equal(d->up.done, 1);
    if (d->up.err != 0)
        return;
    assert_int_equal(blk_dev_new(&scsi_disk_ops, d->dev, scsi_disk_limits(d->dev), &d->b), 0);
    assert_int_equal(bdev_queue_new(d->b, &d->f.loop.l, 64, &d->q), 0);
    scsi_disk_plug(d->dev, &blk_upcalls, d->b);
    d->f.n = 0;
    d->f.nscript = 0;
}

static inline void
fd_open(struct fdisk *d)
{
    memset(d, 0, sizeof(*d));
    fh_open(&d->f);
    (void)fh_add(&d->f, 0, 0);
    fd_up(d);
}

static inline void
fd_close(struct fdisk *d)
{
    fh_close(&d->f);
    blk_dev_free(&d->b);
    fake_advance(&d->f.loop, SEC(1));
}

struct io {
    struct bdev_req r;
    struct iovec iov;
    int done;
    uint8_t sense[SCSI_SENSE_MAX];
};

static char io_mem[8 << 20];

static void
io_done(struct bdev_req *r)
{
    container_of(r, struct io, r)->done++;
}

static inline void
io_init(struct io *io, enum bdev_op op, uint64_t offset, uint64_t len, uint32_t flags)
{
    memset(io, 0, sizeof(*io));
    io->iov = (struct iovec){io_mem, sizeof(io_mem)};
    io->r = (struct bdev_req){.op = op,
                              .offset = offset,
                              .len = len,
                              .flags = flags,
                              .iov = &io->iov,
                              .iovcnt = 1,
                              .sense = io->sense,
                              .done = io_done};
}

static inline void
io_submit(struct fdisk *d, struct io *io, enum bdev_op op, uint64_t offset, uint64_t len,
          uint32_t flags)
{
    io_init(io, op, offset, len, flags);
    assert_int_equal(bdev_submit(d->q, &io->r), 0);
}

/* Submits and waits for long enough. */
static inline int
io_run(struct fdisk *d, enum bdev_op op, uint64_t offset, uint64_t len, uint32_t flags)
{
    struct io io;

    io_submit(d, &io, op, offset, len, flags);
    for (int i = 0; i < 1000 && io.done == 0; i++)
        fake_advance(&d->f.loop, SEC(1));
    assert_int_equal(io.done, 1);
    return io.r.result.err;
}

#endif
