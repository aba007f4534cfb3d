/* SPDX-License-Identifier: MIT */
/* iscsiadm -m host -H WHICH -C flashnode: the records of an engine's table of targets. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/iscsiadm/engine_text.h"

/* ---- flashnodes ----------------------------------------------------------------------------- */

/* A line of the list, "INDEX STATE TARGET PORTAL[ WHY]", as an object; NULL: it is none. */
static json_t *
engine_node(char *line)
{
    char *save = NULL, *index = strtok_r(line, " ", &save), *state = strtok_r(NULL, " ", &save);
    char *target = strtok_r(NULL, " ", &save), *portal = strtok_r(NULL, " ", &save);

    if (portal == NULL)
        return NULL;
    return adm_made(
        json_pack("{s:I, s:s, s:s, s:s, s:s}", "index", (json_int_t)strtoll(index, NULL, 10),
                  "state", state, "target", strcmp(target, "-") != 0 ? target : "", "portal",
                  strcmp(portal, "-") != 0 ? portal : "", "why", save != NULL ? save : ""));
}

static int
engine_list_loop(struct adm_engine *e, uint32_t loop, struct adm_engine_answer *answer,
                 json_t *list, struct lunette_error *err)
{
    uint32_t from = 0, last;
    int r;

    do {
        char *at = answer->text, *line;

        last = from;
        r = adm_engine_ask(e, loop, ISCSI_UEVENT_LIST_FLASHNODES, from, "", answer, err);
        while (r == 0 && (line = adm_engine_line(&at)) != NULL) {
            json_t *node = engine_node(line);

            if (node == NULL)
                continue;
            from = (uint32_t)adm_number(node, "index") + 1;
            adm_append(list, node);
        }
    } while (r == 0 && answer->more && from > last);
    return r;
}

static int
engine_node_order(const void *a, const void *b)
{
    int64_t x = adm_number(*(json_t *const *)a, "index"),
            y = adm_number(*(json_t *const *)b, "index");

    return x < y ? -1 : x > y;
}

/* Loops have records of all indices: they are shown in the order of these. */
static json_t *
engine_sorted(json_t *list)
{
    size_t n = json_array_size(list);
    json_t **node = calloc(n + 1, sizeof(json_t *)), *sorted = adm_made(json_array());

    if (node == NULL)
        return list;
    for (size_t i = 0; i < n; i++)
        node[i] = json_array_get(list, i);
    qsort(node, n, sizeof(json_t *), engine_node_order);
    for (size_t i = 0; i < n; i++)
        adm_append(sorted, json_incref(node[i]));
    free(node);
    json_decref(list);
    return sorted;
}

/* What the line of open-iscsi has beside that which a list tells: transport and tag. */
static void
engine_print_node(struct adm_engine *e, const json_t *node, struct adm_engine_answer *answer)
{
    char transport[IPC_NAME_MAX] = ADM_ENGINE_NAME;
    int64_t index = adm_number(node, "index"), tpgt = 0;
    const char *portal = adm_text(node, "portal"), *name, *value;
    struct lunette_error err;
    char *at = answer->text, *line;

    if (adm_engine_ask_owner(e, -ENOENT, ISCSI_UEVENT_GET_FLASHNODE, (uint32_t)index, "", answer,
                             NULL, &err) < 0)
        answer->text[0] = '\0';
    while ((line = adm_engine_line(&at)) != NULL) {
        if (!adm_engine_cut(line, &name, &value))
            continue;
        if (strcmp(name, "flashnode.session.tpgt") == 0)
            tpgt = strtoll(value, NULL, 10);
        if (strcmp(name, "flashnode.conn[0].transport_name") == 0)
            (void)snprintf(transport, sizeof(transport), "%s", value);
    }
    (void)printf("%s: [%" PRId64 "] ", transport, index);
    if (portal[0] != '\0')
        adm_print_portal(portal, tpgt);
    else
        (void)printf("<empty>:<empty>,%" PRId64, tpgt);
    (void)printf(" %s\n", adm_or_empty(adm_text(node, "target")));
}

static void
engine_print_node_head(const json_t *node)
{
    const char *why = adm_text(node, "why");

    (void)printf("Index: %" PRId64 "\n\tState: %s\n\tTarget: %s\n\tPortal: %s\n",
                 adm_number(node, "index"), adm_text(node, "state"),
                 adm_or_empty(adm_text(node, "target")), adm_or_empty(adm_text(node, "portal")));
    if (why[0] != '\0')
        (void)printf("\tWhy: %s\n", why);
}

static int
engine_show_nodes(struct adm *adm, struct adm_engine *e, struct adm_engine_answer *answer)
{
    json_t *list = adm_made(json_array());
    struct lunette_error err;
    int r = 0;

    for (uint32_t i = 0; r == 0 && i < adm_engine_loops(e); i++)
        r = engine_list_loop(e, i, answer, list, &err);
    if (r < 0) {
        json_decref(list);
        return adm_engine_told(&err);
    }
    list = engine_sorted(list);
    if (adm->args.json) {
        json_t *all = adm_made(json_pack("{s:O}", "flashnodes", list));

        r = adm_print_json(all);
        json_decref(all);
    }
    for (size_t i = 0; !adm->args.json && i < json_array_size(list); i++) {
        if (adm->args.level >= 1)
            engine_print_node_head(json_array_get(list, i));
        else
            engine_print_node(e, json_array_get(list, i), answer);
    }
    if (json_array_size(list) == 0) {
        adm_error("No records found");
        r = MANAGE_NOT_FOUND;
    }
    json_decref(list);
    return r;
}

static int
engine_show_node(struct adm *adm, struct adm_engine *e, struct adm_engine_answer *answer)
{
    struct lunette_error err;
    json_t *record;
    int r = adm_engine_ask_owner(e, -ENOENT, ISCSI_UEVENT_GET_FLASHNODE, (uint32_t)adm->args.index,
                                 "", answer, NULL, &err);

    if (r < 0)
        return adm_engine_told(&err);
    record = adm_engine_record(answer->text);
    if (adm->args.json)
        r = adm_print_json(record);
    else
        adm_print_record(record);
    json_decref(record);
    return r;
}

/* An empty record goes to the first loop, one with a target to the target's loop. */
static int
engine_new_node(struct adm *adm, struct adm_engine *e, struct adm_engine_answer *answer)
{
    static char text[ADM_ENGINE_TEXT_MAX];
    struct lunette_error err;
    int r;

    text[0] = '\0';
    r = adm_engine_pairs(&adm->args, text);
    if (r != 0)
        return r;
    r = adm_engine_ask_owner(e, -EXDEV, ISCSI_UEVENT_NEW_FLASHNODE, 0, text, answer, NULL, &err);
    if (r < 0)
        return adm_engine_told(&err);
    (void)printf("New flashnode [%d] added\n", answer->value);
    return 0;
}

/* The target that a record is to have now is another loop's: the record goes there, under another
 * index, since each loop gives its own. */
static int
engine_move_node(struct adm *adm, struct adm_engine *e, uint32_t from,
                 struct adm_engine_answer *answer, struct lunette_error *err)
{
    static char text[ADM_ENGINE_TEXT_MAX];
    uint32_t index = (uint32_t)adm->args.index;
    int r = adm_engine_ask(e, from, ISCSI_UEVENT_GET_FLASHNODE, index, "", answer, err), to;

    if (r < 0)
        return adm_engine_told(err);
    (void)snprintf(text, sizeof(text), "%s", answer->text);
    r = adm_engine_pairs(&adm->args, text);
    if (r != 0)
        return r;
    r = adm_engine_ask_owner(e, -EXDEV, ISCSI_UEVENT_NEW_FLASHNODE, 0, text, answer, NULL, err);
    if (r < 0)
        return adm_engine_told(err);
    to = answer->value;
    r = adm_engine_ask(e, from, ISCSI_UEVENT_DEL_FLASHNODE, index, "", answer, err);
    if (r < 0)
        return adm_engine_told(err);
    (void)printf("Flashnode [%u] is [%d] now\n", index, to);
    return 0;
}

static int
engine_update_node(struct adm *adm, struct adm_engine *e, struct adm_engine_answer *answer)
{
    static char text[ADM_ENGINE_TEXT_MAX];
    struct lunette_error err;
    uint32_t loop;
    int r;

    text[0] = '\0';
    r = adm_check_values(&adm->args, "update");
    if (r == 0)
        r = adm_engine_pairs(&adm->args, text);
    if (r != 0)
        return r;
    r = adm_engine_ask_owner(e, -ENOENT, ISCSI_UEVENT_SET_FLASHNODE, (uint32_t)adm->args.index,
                             text, answer, &loop, &err);
    if (r == -EXDEV)
        return engine_move_node(adm, e, loop, answer, &err);
    return r < 0 ? adm_engine_told(&err) : 0;
}

static int
engine_one(struct adm *adm, struct adm_engine *e, enum iscsi_uevent_type type,
           struct adm_engine_answer *answer)
{
    struct lunette_error err;
    int r =
        adm_engine_ask_owner(e, -ENOENT, type, (uint32_t)adm->args.index, "", answer, NULL, &err);

    return r < 0 ? adm_engine_told(&err) : 0;
}

int
adm_engine_flashnode(struct adm *adm, struct adm_engine *e, struct adm_engine_answer *answer)
{
    const struct adm_args *a = &adm->args;

    if (a->ops == ADM_NEW)
        return a->index >= 0 ? adm_engine_usage("a new record gets its index from the engine")
                             : engine_new_node(adm, e, answer);
    if (a->index < 0 && (a->ops & ~(unsigned)ADM_SHOW) != 0)
        return adm_engine_usage("which record is meant? --index is missing");
    switch (a->ops) {
    case 0:
    case ADM_SHOW:
        return a->index < 0 ? engine_show_nodes(adm, e, answer) : engine_show_node(adm, e, answer);
    case ADM_UPDATE:
        return engine_update_node(adm, e, answer);
    case ADM_DELETE:
        return engine_one(adm, e, ISCSI_UEVENT_DEL_FLASHNODE, answer);
    case ADM_OP_LOGIN:
        return engine_one(adm, e, ISCSI_UEVENT_LOGIN_FLASHNODE, answer);
    case ADM_OP_LOGOUT:
        return engine_one(adm, e, ISCSI_UEVENT_LOGOUT_FLASHNODE, answer);
    default:
        return adm_engine_usage("flashnode has the operations new, show, update, delete, login and "
                                "logout, one at a time");
    }
}
