/* SPDX-License-Identifier: MIT */
/* firmware/tree.c - reads the tree in which Linux shows the table
 * (Documentation/ABI/testing/sysfs-ibft), one value in each file. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "firmware/internal.h"

#define VALUE_MAX 1024 /* bytes of a file that are read */

/* A directory of the tree.  What is there but cannot be read just now, since descriptors are short
 * or the module is on its way out, must not look like what is not there: *fault is the first such
 * -errno. */
struct tree_dir {
    int fd;
    int *fault;
};

/* Opens what is below it.  Returns a descriptor, or -1. */
static int
tree_open_at(const struct tree_dir *d, const char *name, int flags)
{
    int fd = openat(d->fd, name, O_RDONLY | O_CLOEXEC | flags);

    if (fd < 0 && errno != ENOENT && errno != ENOTDIR && errno != ELOOP && errno != EACCES &&
        *d->fault == 0)
        *d->fault = -errno;
    return fd;
}

/* Reads a file of one value.  It is "" where there is none; a malformed one sets *bad. */
static void
tree_text(const struct tree_dir *d, const char *name, char *ret, size_t size, const char **bad)
{
    int fd = tree_open_at(d, name, O_NOFOLLOW | O_NONBLOCK);
    char text[VALUE_MAX];
    struct stat st;
    ssize_t n = 0;

    ret[0] = '\0';
    if (fd < 0)
        return;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        n = read(fd, text, sizeof(text));
    if (n < 0 && *d->fault == 0)
        *d->fault = -errno;
    (void)close(fd);
    if (n > 0 && text[n - 1] == '\n')
        n--;
    if (n > 0)
        firmware_text(text, (size_t)n, ret, size, bad);
    explicit_bzero(text, sizeof(text));
    if (strcmp(ret, "(null)") == 0 || strcmp(ret, "<NULL>") == 0) /* as old kernels print nothing */
        ret[0] = '\0';
}

/* Returns whether there is a number. */
static bool
tree_number(const struct tree_dir *d, const char *name, unsigned max, unsigned *ret,
            const char **bad)
{
    char text[24], *end;
    unsigned long v;

    tree_text(d, name, text, sizeof(text), bad);
    if (text[0] == '\0')
        return false;
    errno = 0;
    v = strtoul(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || *end != '\0' || errno != 0 || v > max) {
        if (*bad == NULL)
            *bad = "has a number that is none";
        return false;
    }
    *ret = (unsigned)v;
    return true;
}

/* The network device of a card: the first one that its device has, as there is one for a port. */
static void
tree_device(const struct tree_dir *d, struct firmware_target *t)
{
    struct tree_dir device = {.fd = tree_open_at(d, "device", O_DIRECTORY), .fault = d->fault};
    struct dirent *e;
    DIR *list;
    int net;

    if (device.fd < 0)
        return;
    t->device_by_mac = true;
    net = tree_open_at(&device, "net", O_DIRECTORY);
    (void)close(device.fd);
    list = net >= 0 ? fdopendir(net) : NULL;
    if (list == NULL && net >= 0)
        (void)close(net);
    while (list != NULL && t->device_by_mac && (e = readdir(list)) != NULL) {
        const char *bad = NULL;

        if (e->d_name[0] == '.')
            continue;
        firmware_text(e->d_name, strlen(e->d_name), t->device, sizeof(t->device), &bad);
        t->device_by_mac = bad != NULL;
    }
    if (list != NULL)
        (void)closedir(list);
}

static void
tree_card(const struct tree_dir *d, struct firmware_object *c)
{
    char dhcp[FIRMWARE_ADDRESS_MAX + 1];
    struct firmware_target *t = &c->t;
    unsigned origin = 0;

    if (!tree_number(d, "index", UINT16_MAX, &c->number, &c->bad))
        c->number = UINT32_MAX; /* which no target names */
    (void)tree_number(d, "flags", UINT16_MAX, &c->flags, &c->bad);
    tree_text(d, "mac", t->mac, sizeof(t->mac), &c->bad);
    tree_text(d, "ip-addr", t->address, sizeof(t->address), &c->bad);
    tree_text(d, "vlan", t->vlan, sizeof(t->vlan), &c->bad);
    tree_text(d, "subnet-mask", t->mask, sizeof(t->mask), &c->bad);
    (void)tree_number(d, "prefix-len", 128, &t->prefix_len, &c->bad);
    tree_text(d, "gateway", t->gateway, sizeof(t->gateway), &c->bad);
    tree_text(d, "primary-dns", t->dns[0], sizeof(t->dns[0]), &c->bad);
    tree_text(d, "secondary-dns", t->dns[1], sizeof(t->dns[1]), &c->bad);
    tree_text(d, "dhcp", dhcp, sizeof(dhcp), &c->bad);
    (void)tree_number(d, "origin", UINT16_MAX, &origin, &c->bad);
    /* There are firmwares that name 0.0.0.0 as the server where there was none. */
    t->dhcp = origin == FIRMWARE_ORIGIN_DHCP || (dhcp[0] != '\0' && strcmp(dhcp, "0.0.0.0") != 0);
    tree_device(d, t);
}

static void
tree_target(const struct tree_dir *d, struct firmware_object *o)
{
    struct firmware_target *t = &o->t;
    unsigned port = ISCSI_PORT;

    (void)tree_number(d, "flags", UINT16_MAX, &o->flags, &o->bad);
    if (!tree_number(d, "nic-assoc", UINT16_MAX, &o->card, &o->bad) && o->bad == NULL)
        o->bad = "names no network card";
    tree_text(d, "target-name", t->name, sizeof(t->name), &o->bad);
    tree_text(d, "ip-addr", t->host, sizeof(t->host), &o->bad);
    (void)tree_number(d, "port", UINT16_MAX, &port, &o->bad);
    t->port = (uint16_t)port;
    tree_text(d, "lun", t->lun, sizeof(t->lun), &o->bad);
    tree_text(d, "chap-name", t->user, sizeof(t->user), &o->bad);
    tree_text(d, "chap-secret", t->secret, sizeof(t->secret), &o->bad);
    tree_text(d, "rev-chap-name", t->user_in, sizeof(t->user_in), &o->bad);
    tree_text(d, "rev-chap-name-secret", t->secret_in, sizeof(t->secret_in), &o->bad);
    if (o->bad == NULL && t->name[0] != '\0' &&
        iscsi_name_take(t->name, strlen(t->name), t->name, NULL) < 0)
        o->bad = "has a name that cannot be sent";
}

static void
tree_initiator(const struct tree_dir *d, struct firmware_objects *o)
{
    const char *bad = NULL;
    char name[ISCSI_NAME_MAX + 1];

    tree_text(d, "initiator-name", name, sizeof(name), &bad);
    if (bad == NULL && iscsi_name_take(name, strlen(name), name, NULL) == 0)
        memcpy(o->initiator, name, sizeof(name));
    tree_text(d, "isid", o->isid, sizeof(o->isid), &bad);
}

/* Is the name `word` with a number behind it? */
static bool
tree_is_object(const char *name, const char *word, unsigned *ret)
{
    size_t n = strlen(word);

    if (strncmp(name, word, n) != 0 || name[n] == '\0' || strlen(name + n) > 4 ||
        strspn(name + n, "0123456789") != strlen(name + n))
        return false;
    *ret = (unsigned)strtoul(name + n, NULL, 10);
    return true;
}

static void
tree_object(const struct tree_dir *root, const char *name, struct firmware_objects *o)
{
    struct tree_dir d = {.fd = -1, .fault = root->fault};
    struct firmware_object *to = NULL;
    unsigned number;
    bool target = tree_is_object(name, "target", &number);

    if (!target && !tree_is_object(name, "ethernet", &number))
        return;
    d.fd = tree_open_at(root, name, O_DIRECTORY | O_NOFOLLOW);
    if (d.fd < 0)
        return;
    if (target && o->ntargets < FIRMWARE_OBJECTS_MAX) {
        to = &o->targets[o->ntargets++];
        to->number = number;
        tree_target(&d, to);
    } else if (!target && o->ncards < FIRMWARE_OBJECTS_MAX) {
        tree_card(&d, &o->cards[o->ncards++]);
    }
    (void)close(d.fd);
}

static int
tree_order(const void *a, const void *b)
{
    const struct firmware_object *x = a, *y = b;

    return (x->number > y->number) - (x->number < y->number);
}

static int
tree_fault(struct lunette_error *err, int code)
{
    return lunette_fail(err, code, LUNETTE_DOM_OS, (uint32_t)-code,
                        "cannot read the firmware's targets: %s", errno_text(code));
}

/* Takes fd.  Returns 0 and *ret, or -errno with *err. */
static int
tree_read(int fd, struct firmware_list *ret, struct lunette_error *err)
{
    int fault = 0, r;
    struct tree_dir root = {.fd = fd, .fault = &fault}, initiator = root;
    struct firmware_objects o;
    struct dirent *e = NULL;
    DIR *list;

    initiator.fd = tree_open_at(&root, "initiator", O_DIRECTORY | O_NOFOLLOW);
    list = fdopendir(fd);
    r = list == NULL ? tree_fault(err, -errno) : firmware_objects_init(&o, err);
    if (r == 0) {
        if (initiator.fd >= 0)
            tree_initiator(&initiator, &o);
        /* Without it there is no table, as open-iscsi sees it. */
        while (initiator.fd >= 0 && (errno = 0, e = readdir(list)) != NULL)
            tree_object(&root, e->d_name, &o);
        if (initiator.fd >= 0 && errno != 0 && fault == 0)
            fault = -errno;
        if (o.ntargets > 1)
            qsort(o.targets, o.ntargets, sizeof(o.targets[0]), tree_order);
        r = fault < 0 ? tree_fault(err, fault) : firmware_join(&o, ret, err);
        firmware_objects_fini(&o);
    }
    if (initiator.fd >= 0)
        (void)close(initiator.fd);
    if (list != NULL)
        (void)closedir(list);
    else
        (void)close(fd);
    return r;
}

/* Reads the table itself. */
static int
tree_read_table(int fd, struct firmware_list *ret, struct lunette_error *err)
{
    uint8_t *table = malloc(FIRMWARE_TABLE_MAX);
    size_t len = 0;
    ssize_t n = 1;
    int r;

    if (table == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM,
                            "no memory for the firmware's table");
    while (n > 0 && len < FIRMWARE_TABLE_MAX) {
        n = read(fd, table + len, FIRMWARE_TABLE_MAX - len);
        len += n > 0 ? (size_t)n : 0;
    }
    if (n < 0)
        r = lunette_fail(err, -errno, LUNETTE_DOM_OS, (uint32_t)errno,
                         "cannot read the firmware's table: %s", errno_text(errno));
    else
        r = firmware_parse(table, len, ret, err);
    explicit_bzero(table, len);
    free(table);
    return r;
}

/* Returns 1 where there is a table or a tree, and *ret; 0 where there is neither; or -errno. */
static int
tree_find(int dir, struct firmware_list *ret, struct lunette_error *err)
{
    static const char *const tables[] = {"acpi/tables/iBFT", "acpi/tables/IBFT",
                                         "acpi/tables/BIFT"};
    int fault = 0, r = 0;
    const struct tree_dir root = {.fd = dir, .fault = &fault};
    int fd = tree_open_at(&root, "ibft", O_DIRECTORY);

    if (fd >= 0) {
        r = tree_read(fd, ret, err);
        return r < 0 ? r : 1;
    }
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]) && r == 0 && fault == 0; i++) {
        fd = tree_open_at(&root, tables[i], O_NONBLOCK);
        if (fd < 0 && errno == EACCES)
            r = lunette_fail(err, -EACCES, LUNETTE_DOM_OS, EACCES,
                             "the firmware's table may be read by root only: load the module "
                             "iscsi_ibft, which shows it to everybody");
        if (fd < 0)
            continue;
        r = tree_read_table(fd, ret, err);
        (void)close(fd);
        r = r < 0 ? r : 1;
    }
    return fault < 0 ? tree_fault(err, fault) : r;
}

int
firmware_read(const char *path, struct firmware_list *ret, struct lunette_error *err)
{
    int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;
    struct firmware_list l = {.n = 0};

    if (dir < 0 && errno != ENOENT && errno != ENOTDIR)
        return tree_fault(err, -errno);
    if (dir < 0)
        return lunette_fail(err, -ENODEV, LUNETTE_DOM_OS, (uint32_t)errno,
                            "there is no %.100s to read the firmware's tables from", path);
    r = tree_find(dir, &l, err);
    (void)close(dir);
    if (r < 0)
        return r;
    if (l.n > 0) {
        *ret = l;
        return 0;
    }
    if (l.left_out > 0)
        r = lunette_fail(err, -ENOENT, LUNETTE_DOM_NOTFOUND, 0, "%s", l.why.msg);
    else if (r > 0)
        r = lunette_fail(err, -ENOENT, LUNETTE_DOM_NOTFOUND, 0,
                         "the firmware's table names no target");
    else
        r = lunette_fail(err, -ENOENT, LUNETTE_DOM_NOTFOUND, 0,
                         "the firmware has no table of iSCSI targets (iBFT) in %.100s, or the "
                         "module iscsi_ibft is not loaded",
                         path);
    firmware_list_fini(&l);
    return r;
}
