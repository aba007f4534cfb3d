/* SPDX-License-Identifier: MIT */
/* scsi/ident.c - whether the unit that answers at a LUN is the one that was found there.
 *
 * It is asked as a scan asks, so that equal units give equal answers.  What it told of itself then
 * it must tell now, and nothing else: a unit that had a name and has none now is another one, and
 * the reverse.  Going on would write to a stranger.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "scsi/scan.h"

/* What a unit tells of itself, and how a sentence names it. */
static const struct {
    const char *what;
    size_t at; /* of struct scsi_device */
} ident_texts[] = {
    {"vendor", offsetof(struct scsi_device, vendor)},
    {"product", offsetof(struct scsi_device, product)},
    {"name", offsetof(struct scsi_device, name)},
    {"serial number", offsetof(struct scsi_device, serial)},
};
#define IDENT_ALWAYS 2 /* the first ones are of the standard INQUIRY data */

bool
ident_same(const struct scsi_sdev *was, const struct scsi_sdev *is, char *text, size_t size)
{
    size_t n = sizeof(ident_texts) / sizeof(ident_texts[0]);

    text[0] = '\0';
    if (was->vague || is->vague)
        n = IDENT_ALWAYS;
    if (was->dev.type != is->dev.type) {
        (void)snprintf(text, size, "its type was %u, and is %u", was->dev.type, is->dev.type);
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        const char *a = (const char *)&was->dev + ident_texts[i].at;
        const char *b = (const char *)&is->dev + ident_texts[i].at;

        if (strcmp(a, b) == 0)
            continue;
        (void)snprintf(text, size, "its %s was '%.90s', and is '%.90s'", ident_texts[i].what, a, b);
        return false;
    }
    return true;
}

/* A unit being asked. */
struct scsi_ident {
    struct scsi_scan_op op; /* on no list */
    struct scsi_sdev *s;
    void (*done)(void *user, enum ident_result r, const struct lunette_error *why);
    void *user;
};

static void
ident_end(struct scsi_ident *id, enum ident_result r)
{
    void (*done)(void *user, enum ident_result, const struct lunette_error *) = id->done;
    struct lunette_error why = id->op.why;
    void *user = id->user;

    sdev_free(id->op.cur);
    free(id->op.buf);
    free(id);
    done(user, r, r != IDENT_SAME ? &why : NULL);
}

static void
ident_probed(struct scsi_scan_op *op, enum probe_result r)
{
    struct scsi_ident *id = container_of(op, struct scsi_ident, op);
    const struct scsi_device *was = &id->s->dev;
    char text[220];

    if (r == PROBE_TRANSPORT || r == PROBE_FAILED) {
        ident_end(id, IDENT_UNKNOWN);
    } else if (!id->s->known) { /* nothing is known that it could be compared with */
        ident_end(id, IDENT_SAME);
    } else if (r == PROBE_ABSENT) {
        ident_end(id, IDENT_ABSENT);
    } else if (op->cur->vague) {
        (void)lunette_fail(&op->why, -EIO, LUNETTE_DOM_SCSI, 0,
                           "INQUIRY does not tell whether it is the same unit");
        ident_end(id, IDENT_UNKNOWN);
    } else if (was->qualifier == 0 && op->cur->dev.qualifier != 0) {
        (void)lunette_fail(&op->why, -ENXIO, LUNETTE_DOM_NOTFOUND, 0,
                           "the target says that the unit cannot be reached (qualifier %u)",
                           op->cur->dev.qualifier);
        ident_end(id, IDENT_ABSENT);
    } else if (!ident_same(id->s, op->cur, text, sizeof(text))) {
        (void)lunette_fail(&op->why, -ENXIO, LUNETTE_DOM_NOTFOUND, 0, "%s", text);
        ident_end(id, IDENT_OTHER);
    } else {
        ident_end(id, IDENT_SAME);
    }
}

/* Everything that a probe needs, or NULL. */
static struct scsi_ident *
ident_new(struct scsi_sdev *s)
{
    struct scsi_ident *id = calloc(1, sizeof(*id));

    if (id == NULL)
        return NULL;
    id->op.buf = malloc(SCSI_BUF_SIZE);
    if (id->op.buf == NULL || sdev_new(s->dev.target, s->dev.lun, &id->op.cur) < 0) {
        free(id->op.buf);
        free(id);
        return NULL;
    }
    id->op.buf_size = SCSI_BUF_SIZE;
    id->op.t = s->dev.target;
    list_init(&id->op.node);
    list_init(&id->op.x.node);
    id->s = s;
    return id;
}

void
ident_start(struct scsi_sdev *s,
            void (*done)(void *user, enum ident_result r, const struct lunette_error *why),
            void *user)
{
    struct scsi_ident *id = ident_new(s);
    struct lunette_error why;

    if (id == NULL) {
        (void)lunette_fail(&why, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "out of memory");
        done(user, IDENT_UNKNOWN, &why);
        return;
    }
    id->done = done;
    id->user = user;
    probe_start(&id->op, ident_probed);
}
