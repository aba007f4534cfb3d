/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "firmware/internal.h"

static int
firmware_no_memory(struct lunette_error *err)
{
    return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory for the firmware's table");
}

int
firmware_objects_init(struct firmware_objects *o, struct lunette_error *err)
{
    memset(o, 0, sizeof(*o));
    o->cards = calloc(FIRMWARE_OBJECTS_MAX, sizeof(o->cards[0]));
    o->targets = calloc(FIRMWARE_OBJECTS_MAX, sizeof(o->targets[0]));
    if (o->cards != NULL && o->targets != NULL)
        return 0;
    firmware_objects_fini(o);
    return firmware_no_memory(err);
}

void
firmware_objects_fini(struct firmware_objects *o)
{
    if (o->targets != NULL)
        explicit_bzero(o->targets, o->ntargets * sizeof(o->targets[0]));
    free(o->targets);
    free(o->cards);
    memset(o, 0, sizeof(*o));
}

void
firmware_list_fini(struct firmware_list *l)
{
    if (l->target != NULL)
        explicit_bzero(l->target, l->n * sizeof(l->target[0]));
    free(l->target);
    *l = (struct firmware_list){.n = 0};
}

void
firmware_text(const char *text, size_t len, char *ret, size_t size, const char **bad)
{
    size_t n = strnlen(text, len);
    const char *why = n < size ? NULL : "has a text that is too long";

    for (size_t i = 0; why == NULL && i < n; i++) {
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            why = "has a text with a control character";
    }
    ret[0] = '\0';
    if (why == NULL) {
        memcpy(ret, text, n);
        ret[n] = '\0';
    } else if (*bad == NULL) {
        *bad = why;
    }
}

static bool
firmware_is_address(const char *text)
{
    uint8_t bytes[16];

    return inet_pton(AF_INET, text, bytes) == 1 || inet_pton(AF_INET6, text, bytes) == 1;
}

/* Returns what is wrong with a target, or NULL. */
static const char *
firmware_target_fault(const struct firmware_object *t)
{
    if (t->bad != NULL)
        return t->bad;
    if ((t->flags & FIRMWARE_FLAGS_USED) == 0)
        return "is not marked as used";
    if (t->t.name[0] == '\0')
        return "has no name";
    if (!firmware_is_address(t->t.host))
        return "has no address";
    return NULL;
}

static const struct firmware_object *
firmware_card_of(const struct firmware_objects *o, const struct firmware_object *t)
{
    for (size_t i = 0; i < o->ncards; i++) {
        if (o->cards[i].number == t->card)
            return &o->cards[i];
    }
    return NULL;
}

static const char *
firmware_card_fault(const struct firmware_object *c)
{
    if (c == NULL)
        return "is reached by a network card that the table does not have";
    if (c->bad != NULL)
        return c->bad;
    if ((c->flags & FIRMWARE_FLAGS_USED) == 0)
        return "is reached by a network card that is not marked as used";
    return c->t.mac[0] == '\0' ? "is reached by a network card without a hardware address" : NULL;
}

static void
firmware_leave_out(struct firmware_list *l, const struct firmware_object *t, const char *why)
{
    if (l->left_out++ == 0)
        (void)lunette_fail(&l->why, -EPROTO, LUNETTE_DOM_PROTO, 0,
                           "target %u of the firmware's table %s", t->number, why);
}

/* What belongs to the card is the card's, and the rest the target's. */
static void
firmware_combine(const struct firmware_objects *o, const struct firmware_target *card,
                 const struct firmware_target *target, struct firmware_target *ret)
{
    *ret = *card;
    memcpy(ret->initiator, o->initiator, sizeof(ret->initiator));
    memcpy(ret->isid, o->isid, sizeof(ret->isid));
    memcpy(ret->name, target->name, sizeof(ret->name));
    memcpy(ret->host, target->host, sizeof(ret->host));
    ret->port = target->port;
    memcpy(ret->lun, target->lun, sizeof(ret->lun));
    memcpy(ret->user, target->user, sizeof(ret->user));
    memcpy(ret->secret, target->secret, sizeof(ret->secret));
    memcpy(ret->user_in, target->user_in, sizeof(ret->user_in));
    memcpy(ret->secret_in, target->secret_in, sizeof(ret->secret_in));
}

int
firmware_join(const struct firmware_objects *o, struct firmware_list *ret,
              struct lunette_error *err)
{
    struct firmware_list l = {.n = 0};
    const struct firmware_object *card;
    const char *why;

    if (o->ntargets > 0) {
        l.target = calloc(o->ntargets, sizeof(l.target[0]));
        if (l.target == NULL)
            return firmware_no_memory(err);
    }
    for (size_t i = 0; i < o->ntargets; i++) {
        const struct firmware_object *t = &o->targets[i];

        card = firmware_card_of(o, t);
        why = firmware_target_fault(t);
        if (why == NULL)
            why = firmware_card_fault(card);
        if (why != NULL)
            firmware_leave_out(&l, t, why);
        else
            firmware_combine(o, &card->t, &t->t, &l.target[l.n++]);
    }
    *ret = l;
    return 0;
}
