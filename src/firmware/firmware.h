/* SPDX-License-Identifier: MIT */
/* firmware/firmware.h - the targets that the firmware of this host knows, as the iSCSI Boot
 * Firmware Table (iBFT) names them.  It is only read.
 *
 * Linux shows the table as a tree, /sys/firmware/ibft with initiator, ethernetN and targetN, where
 * the module iscsi_ibft is loaded.  Where it is not, the table itself is read, which only root may:
 * /sys/firmware/acpi/tables/iBFT.  Neither is trusted: what is malformed is left out.  Any thread.
 */
#ifndef FIRMWARE_FIRMWARE_H
#define FIRMWARE_FIRMWARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"

#define FIRMWARE_ADDRESS_MAX 63  /* bytes of an address as text, without the NUL */
#define FIRMWARE_NAME_MAX    255 /* bytes of a name or a secret of CHAP, without the NUL */
#define FIRMWARE_DEVICE_MAX  15  /* bytes of the name of a network device, without the NUL */
#define FIRMWARE_OBJECTS_MAX 255 /* targets, and network cards */
#define FIRMWARE_TABLE_MAX   65536u

/* A target with what the table says of the way to it.  Texts are "" where it says nothing; none has
 * a control character, and name and initiator can be sent as names. */
struct firmware_target {
    char initiator[ISCSI_NAME_MAX + 1]; /* whose name this host has there */
    char isid[16];
    /* The network card. */
    char mac[18];
    char address[FIRMWARE_ADDRESS_MAX + 1], mask[FIRMWARE_ADDRESS_MAX + 1];
    char gateway[FIRMWARE_ADDRESS_MAX + 1], dns[2][FIRMWARE_ADDRESS_MAX + 1];
    char vlan[16];
    unsigned prefix_len;                  /* 0: not told */
    bool dhcp;                            /* the address was given by DHCP */
    char device[FIRMWARE_DEVICE_MAX + 1]; /* its network device */
    bool device_by_mac; /* the card has a device here, which only its hardware address tells */
    /* The target. */
    char name[ISCSI_NAME_MAX + 1];
    char host[FIRMWARE_ADDRESS_MAX + 1]; /* IPv4 or IPv6 */
    uint16_t port;
    char lun[20];                                                          /* as hex digits */
    char user[FIRMWARE_NAME_MAX + 1], secret[FIRMWARE_NAME_MAX + 1];       /* CHAP */
    char user_in[FIRMWARE_NAME_MAX + 1], secret_in[FIRMWARE_NAME_MAX + 1]; /* CHAP of the target */
};

struct firmware_list {
    struct firmware_target *target; /* by their numbers in the table */
    size_t n;
    size_t left_out;          /* targets that are not used, or make no sense */
    struct lunette_error why; /* of the first of them; code 0: there is none */
};

/* Reads what is below dir, which is /sys/firmware but for tests.  Returns 0 and *ret with at least
 * one target, which the caller ends with firmware_list_fini; or with *err: -ENOENT, there is no
 * target; -ENODEV, there is no such directory; -EPROTO, the table makes no sense; -ENOMEM, or what
 * the system says.  What cannot be read fails it as a whole: no target is told in part. */
int firmware_read(const char *dir, struct firmware_list *ret, struct lunette_error *err);

/* Reads a table of len bytes, with its ACPI header.  As firmware_read, but that *ret may hold no
 * target. */
int firmware_parse(const uint8_t *table, size_t len, struct firmware_list *ret,
                   struct lunette_error *err);

/* Overwrites the secrets and frees what l holds, but not l itself, which is empty afterwards. */
void firmware_list_fini(struct firmware_list *l);

#endif
