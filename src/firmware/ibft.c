/* SPDX-License-Identifier: MIT */
/* firmware/ibft.c - reads the iSCSI Boot Firmware Table itself ("iSCSI Boot Firmware Table (iBFT)
 * as Defined in ACPI 3.0b Specification", version 1.02).
 *
 * It is little-endian.  Behind the header of an ACPI table stands the control structure, with the
 * offsets of all others; an offset counts from the start of the table.  Texts are on a heap, each
 * told by its length and its offset.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "firmware/internal.h"

#define ACPI_LENGTH   4
#define ACPI_REVISION 8
#define HEADER_LEN    48 /* ACPI's, and 12 reserved bytes */

/* Each structure begins with id, version, length (2), index, flags. */
#define STRUCT_ID     0
#define STRUCT_LENGTH 2
#define STRUCT_INDEX  4
#define STRUCT_FLAGS  5
#define STRUCT_HEAD   6

#define CONTROL_LEN     18
#define CONTROL_OFFSETS 8 /* initiator, card 0, target 0, card 1, target 1, and maybe more */

#define INITIATOR_LEN  74
#define INITIATOR_NAME 70

#define CARD_LEN     102
#define CARD_ADDRESS 6
#define CARD_PREFIX  22
#define CARD_ORIGIN  23
#define CARD_GATEWAY 24
#define CARD_DNS     40
#define CARD_DHCP    72
#define CARD_VLAN    88
#define CARD_MAC     90

#define TARGET_LEN       54
#define TARGET_ADDRESS   6
#define TARGET_PORT      22
#define TARGET_LUN       24
#define TARGET_CARD      33
#define TARGET_NAME      34
#define TARGET_USER      38
#define TARGET_SECRET    42
#define TARGET_USER_IN   46
#define TARGET_SECRET_IN 50

#define ADDRESS_LEN 16

enum ibft_id { IBFT_CONTROL = 1, IBFT_INITIATOR = 2, IBFT_CARD = 3, IBFT_TARGET = 4 };

struct ibft {
    const uint8_t *at;
    size_t len;
};

static unsigned
ibft_u16(const uint8_t *p)
{
    return (unsigned)p[0] | (unsigned)p[1] << 8;
}

static int
ibft_fault(struct lunette_error *err, const char *what)
{
    return lunette_fail(err, -EPROTO, LUNETTE_DOM_PROTO, 0,
                        "the firmware's table (iBFT) makes no sense: %s", what);
}

/* A text, whose length and offset are at p. */
static void
ibft_text(const struct ibft *b, const uint8_t *p, char *ret, size_t size, const char **bad)
{
    size_t len = ibft_u16(p), off = ibft_u16(p + 2);

    if (len == 0)
        return;
    if (off > b->len || len > b->len - off) {
        if (*bad == NULL)
            *bad = "has a text that is not inside the table";
        return;
    }
    firmware_text((const char *)b->at + off, len, ret, size, bad);
}

/* Writes an address as Linux does, IPv6 in full.  One of zeros is none. */
static void
ibft_address(const uint8_t p[ADDRESS_LEN], char ret[FIRMWARE_ADDRESS_MAX + 1])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff}, none[ADDRESS_LEN];
    bool v4 = memcmp(p, mapped, sizeof(mapped)) == 0;

    if (memcmp(p, none, sizeof(none)) == 0 || (v4 && memcmp(p + 12, none, 4) == 0))
        return;
    if (v4)
        (void)snprintf(ret, FIRMWARE_ADDRESS_MAX + 1, "%u.%u.%u.%u", p[12], p[13], p[14], p[15]);
    else
        for (size_t i = 0; i < ADDRESS_LEN; i += 2)
            (void)snprintf(ret + i / 2 * 5, 6, "%02x%02x%s", p[i], p[i + 1],
                           i + 2 < ADDRESS_LEN ? ":" : "");
}

static void
ibft_mask(unsigned prefix_len, char ret[FIRMWARE_ADDRESS_MAX + 1])
{
    uint32_t mask;

    if (prefix_len == 0 || prefix_len > 32)
        return;
    mask = UINT32_MAX << (32 - prefix_len);
    (void)snprintf(ret, FIRMWARE_ADDRESS_MAX + 1, "%u.%u.%u.%u", mask >> 24, mask >> 16 & 0xff,
                   mask >> 8 & 0xff, mask & 0xff);
}

static void
ibft_initiator(const struct ibft *b, const uint8_t *p, struct firmware_objects *o)
{
    const char *bad = NULL;
    char name[ISCSI_NAME_MAX + 1] = "";

    ibft_text(b, p + INITIATOR_NAME, name, sizeof(name), &bad);
    if (bad == NULL && iscsi_name_take(name, strlen(name), name, NULL) == 0)
        memcpy(o->initiator, name, sizeof(name));
}

static struct firmware_object *
ibft_object(struct firmware_object *list, size_t *n, const uint8_t *p)
{
    struct firmware_object *o = &list[*n];

    if (*n == FIRMWARE_OBJECTS_MAX)
        return NULL;
    (*n)++;
    o->number = p[STRUCT_INDEX];
    o->flags = p[STRUCT_FLAGS];
    return o;
}

static void
ibft_card(const uint8_t *p, struct firmware_objects *o)
{
    struct firmware_object *c = ibft_object(o->cards, &o->ncards, p);
    char dhcp[FIRMWARE_ADDRESS_MAX + 1] = "";
    const uint8_t *m = p + CARD_MAC;

    if (c == NULL)
        return;
    ibft_address(p + CARD_ADDRESS, c->t.address);
    ibft_address(p + CARD_GATEWAY, c->t.gateway);
    ibft_address(p + CARD_DNS, c->t.dns[0]);
    ibft_address(p + CARD_DNS + ADDRESS_LEN, c->t.dns[1]);
    ibft_address(p + CARD_DHCP, dhcp);
    c->t.prefix_len = p[CARD_PREFIX];
    ibft_mask(c->t.prefix_len, c->t.mask);
    c->t.dhcp = p[CARD_ORIGIN] == FIRMWARE_ORIGIN_DHCP || dhcp[0] != '\0';
    (void)snprintf(c->t.vlan, sizeof(c->t.vlan), "%u", ibft_u16(p + CARD_VLAN));
    (void)snprintf(c->t.mac, sizeof(c->t.mac), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2],
                   m[3], m[4], m[5]);
}

static void
ibft_target(const struct ibft *b, const uint8_t *p, struct firmware_objects *o)
{
    struct firmware_object *t = ibft_object(o->targets, &o->ntargets, p);

    if (t == NULL)
        return;
    t->card = p[TARGET_CARD];
    ibft_address(p + TARGET_ADDRESS, t->t.host);
    t->t.port = (uint16_t)ibft_u16(p + TARGET_PORT);
    for (size_t i = 0; i < 8; i++)
        (void)snprintf(t->t.lun + strlen(t->t.lun), 3, "%x", p[TARGET_LUN + i]);
    ibft_text(b, p + TARGET_NAME, t->t.name, sizeof(t->t.name), &t->bad);
    ibft_text(b, p + TARGET_USER, t->t.user, sizeof(t->t.user), &t->bad);
    ibft_text(b, p + TARGET_SECRET, t->t.secret, sizeof(t->t.secret), &t->bad);
    ibft_text(b, p + TARGET_USER_IN, t->t.user_in, sizeof(t->t.user_in), &t->bad);
    ibft_text(b, p + TARGET_SECRET_IN, t->t.secret_in, sizeof(t->t.secret_in), &t->bad);
    if (t->bad == NULL && t->t.name[0] != '\0' &&
        iscsi_name_take(t->t.name, strlen(t->t.name), t->t.name, NULL) < 0)
        t->bad = "has a name that cannot be sent";
}

/* A structure that the control structure tells of.  What is of another length, or not inside the
 * table, is left out, as Linux does it. */
static void
ibft_structure(const struct ibft *b, size_t off, struct firmware_objects *o)
{
    const uint8_t *p = b->at + off;
    size_t room;

    if (off < HEADER_LEN + CONTROL_LEN || off > b->len - STRUCT_HEAD)
        return;
    room = b->len - off;
    if (ibft_u16(p + STRUCT_LENGTH) > room)
        return;
    if (p[STRUCT_ID] == IBFT_INITIATOR && ibft_u16(p + STRUCT_LENGTH) == INITIATOR_LEN)
        ibft_initiator(b, p, o);
    else if (p[STRUCT_ID] == IBFT_CARD && ibft_u16(p + STRUCT_LENGTH) == CARD_LEN)
        ibft_card(p, o);
    else if (p[STRUCT_ID] == IBFT_TARGET && ibft_u16(p + STRUCT_LENGTH) == TARGET_LEN)
        ibft_target(b, p, o);
}

/* Checks what stands before all structures, and finds how long the table is by its own word. */
static int
ibft_check(struct ibft *b, struct lunette_error *err)
{
    const uint8_t *control = b->at + HEADER_LEN;
    uint8_t sum = 0;
    size_t len;

    if (b->len < HEADER_LEN + CONTROL_LEN)
        return ibft_fault(err, "it is too short");
    len = ibft_u16(b->at + ACPI_LENGTH) | (size_t)ibft_u16(b->at + ACPI_LENGTH + 2) << 16;
    if (memcmp(b->at, "iBFT", 4) != 0 && memcmp(b->at, "IBFT", 4) != 0 &&
        memcmp(b->at, "BIFT", 4) != 0)
        return ibft_fault(err, "it has another signature");
    if (len > b->len || len < HEADER_LEN + CONTROL_LEN)
        return ibft_fault(err, "its length is not that of the file");
    b->len = len;
    if (b->at[ACPI_REVISION] != 1)
        return ibft_fault(err, "it is of another revision than 1");
    for (size_t i = 0; i < len; i++)
        sum = (uint8_t)(sum + b->at[i]);
    if (sum != 0)
        return ibft_fault(err, "its checksum is wrong");
    if (control[STRUCT_ID] != IBFT_CONTROL || ibft_u16(control + STRUCT_LENGTH) < CONTROL_LEN ||
        ibft_u16(control + STRUCT_LENGTH) > len - HEADER_LEN)
        return ibft_fault(err, "its control structure is malformed");
    return 0;
}

int
firmware_parse(const uint8_t *table, size_t len, struct firmware_list *ret,
               struct lunette_error *err)
{
    struct ibft b = {.at = table, .len = len};
    struct firmware_objects o;
    const uint8_t *control;
    int r = ibft_check(&b, err);

    if (r == 0)
        r = firmware_objects_init(&o, err);
    if (r < 0)
        return r;
    control = table + HEADER_LEN;
    for (size_t i = CONTROL_OFFSETS; i + 2 <= ibft_u16(control + STRUCT_LENGTH); i += 2)
        ibft_structure(&b, ibft_u16(control + i), &o);
    r = firmware_join(&o, ret, err);
    firmware_objects_fini(&o);
    return r;
}
