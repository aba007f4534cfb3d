/* SPDX-License-Identifier: MIT */
#include "nodedb/names.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Says why a name cannot be that of a file, or NULL. */
static const char *
file_name_fault(const char *name, size_t max)
{
    size_t len = strnlen(name, max + 1);

    if (len == 0)
        return "it is empty";
    if (len > max)
        return "it is too long";
    if (name[0] == '.')
        return "it begins with a dot";
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)name[i] <= 0x20 || name[i] == 0x7f)
            return "it holds a blank or a control character";
        if (name[i] == '/')
            return "it holds a slash";
    }
    return NULL;
}

static int
name_fault_is(const char *what, const char *name, const char *why, struct lunette_error *err)
{
    return why == NULL
               ? 0
               : lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                              "the %s \"%.100s\" cannot name a record: %s", what, name, why);
}

int
nodedb_check_target(const char *name, struct lunette_error *err)
{
    return name_fault_is("target name", name, file_name_fault(name, ISCSI_NAME_MAX), err);
}

int
nodedb_check_host(const char *host, struct lunette_error *err)
{
    const char *why = file_name_fault(host, HOST_MAX);

    for (size_t i = 0; why == NULL && host[i] != '\0'; i++) {
        if (!isalnum((unsigned char)host[i]) && strchr("-._:%@", host[i]) == NULL)
            why = "it holds a character that no address has";
    }
    return name_fault_is("address", host, why, err);
}

int
nodedb_check_iface(const char *name, struct lunette_error *err)
{
    const char *why = file_name_fault(name, NODEDB_IFACE_NAME_MAX);

    if (why == NULL && strchr(name, ',') != NULL)
        why = "it holds a comma";
    return name_fault_is("interface", name, why, err);
}

int
nodedb_check_id(const struct nodedb_id *id, struct lunette_error *err)
{
    int r = nodedb_check_target(id->target, err);

    if (r == 0)
        r = nodedb_check_host(id->portal.host, err);
    if (r == 0 && id->portal.port == 0)
        r = lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "the portal has no port");
    if (r == 0 && (id->portal.tpgt < -1 || id->portal.tpgt > 65535))
        r = lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                         "the portal group tag is not in 0 to 65535");
    return r < 0 ? r : nodedb_check_iface(id->iface, err);
}

int
nodedb_portal_file(const struct portal *p, bool with_tpgt, char ret[NODEDB_FILE_NAME_MAX + 1])
{
    int n = with_tpgt
                ? snprintf(ret, NODEDB_FILE_NAME_MAX + 1, "%s,%u,%d", p->host, p->port, p->tpgt)
                : snprintf(ret, NODEDB_FILE_NAME_MAX + 1, "%s,%u", p->host, p->port);

    return n > NODEDB_FILE_NAME_MAX ? -ENAMETOOLONG : 0;
}

int
nodedb_link_file(const struct nodedb_id *id, char ret[NODEDB_FILE_NAME_MAX + 1])
{
    int n = snprintf(ret, NODEDB_FILE_NAME_MAX + 1, "%s,%s,%u,%d,%s", id->target, id->portal.host,
                     id->portal.port, id->portal.tpgt, id->iface);

    return n > NODEDB_FILE_NAME_MAX ? -ENAMETOOLONG : 0;
}

/* Reads a whole number that fills the text, in the form in which it is written. */
static bool
file_number(const char *text, long min, long max, long *ret)
{
    char *end, again[24];

    errno = 0;
    *ret = strtol(text, &end, 10);
    (void)snprintf(again, sizeof(again), "%ld", *ret);
    return errno == 0 && end != text && strcmp(text, again) == 0 && *ret >= min && *ret <= max;
}

int
nodedb_portal_of_file(const char *name, struct portal *ret, bool *ret_tpgt)
{
    char text[NODEDB_FILE_NAME_MAX + 1];
    char *comma, *second;
    struct portal p = {.tpgt = -1};
    long port, tpgt = -1;

    if (strlen(name) >= sizeof(text))
        return -EINVAL;
    (void)strcpy(text, name);
    comma = strchr(text, ',');
    if (comma == NULL)
        return -EINVAL;
    *comma++ = '\0';
    second = strchr(comma, ',');
    if (second != NULL)
        *second++ = '\0';
    if (nodedb_check_host(text, NULL) < 0 || !file_number(comma, 1, 65535, &port) ||
        (second != NULL && !file_number(second, -1, 65535, &tpgt)))
        return -EINVAL;
    (void)strcpy(p.host, text);
    p.port = (uint16_t)port;
    p.tpgt = (int32_t)tpgt;
    *ret = p;
    *ret_tpgt = second != NULL;
    return 0;
}

int
nodedb_id_of_link(const char *name, struct nodedb_id *ret)
{
    struct nodedb_id id = {.portal = {.tpgt = -1}};
    char text[NODEDB_FILE_NAME_MAX + 1];
    char *at[4];
    bool tagged;

    if (strlen(name) >= sizeof(text))
        return -EINVAL;
    (void)strcpy(text, name);
    /* From the end, since only the target's name may hold commas. */
    for (int i = 3; i >= 0; i--) {
        at[i] = strrchr(text, ',');
        if (at[i] == NULL)
            return -EINVAL;
        *at[i] = '\0';
    }
    *at[1] = *at[2] = ','; /* "host,port,tpgt" */
    if (strlen(at[3] + 1) > NODEDB_IFACE_NAME_MAX || strlen(text) > ISCSI_NAME_MAX ||
        nodedb_portal_of_file(at[0] + 1, &id.portal, &tagged) < 0)
        return -EINVAL;
    (void)strcpy(id.iface, at[3] + 1);
    (void)strcpy(id.target, text);
    if (!tagged || nodedb_check_id(&id, NULL) < 0)
        return -EINVAL;
    *ret = id;
    return 0;
}

int
nodedb_id_order(const struct nodedb_id *a, const struct nodedb_id *b)
{
    int r = strcmp(a->target, b->target);

    if (r == 0)
        r = strcmp(a->portal.host, b->portal.host);
    if (r == 0)
        r = (int)a->portal.port - (int)b->portal.port;
    if (r == 0)
        r = a->portal.tpgt - b->portal.tpgt;
    return r != 0 ? r : strcmp(a->iface, b->iface);
}

bool
nodedb_id_same(const struct nodedb_id *a, const struct nodedb_id *b)
{
    return nodedb_id_order(a, b) == 0;
}
