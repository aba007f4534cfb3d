/* SPDX-License-Identifier: MIT */
#include "wire/key_table.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "wire/iscsi_params.h"

#define KEY_USE_0 0u
#define LATER     KEY_FLAG_LATER
#define ZERO      KEY_FLAG_ZERO
#define REPEAT    KEY_FLAG_REPEAT
#define F(f)      ((int)offsetof(struct iscsi_params, f))
#define NOFIELD   (-1)

/* clang-format off */
#define KEY(id_, name_, type_, min_, max_, def_, values_, result_, i_, t_, scope_, stage_, irr_,    \
            flags_, field_, section_)                                                               \
    [KEY_##id_] = {.id = KEY_##id_, .name = (name_), .type = KEY_TYPE_##type_,                        \
                   .result = KEY_RESULT_##result_, .min = (min_), .max = (max_), .def = (def_),           \
                   .values = (values_), .use_initiator = KEY_USE_##i_, .use_target = KEY_USE_##t_,    \
                   .stage = KEY_STAGE_##stage_, .flags = (flags_), .scope = KEY_SCOPE_##scope_,       \
                   .irrelevant = KEY_IRR_##irr_, .field = (field_), .section = (section_)},
/* clang-format on */
static const struct key key_table[KEY_COUNT] = {
#include "wire/keys.def"
};
static_assert(KEY_COUNT <= 64, "struct key_set has 64 bits");

const struct key *
key_get(enum key_id id)
{
    assert((unsigned)id < KEY_COUNT);
    return &key_table[id];
}

const struct key *
key_find(const char *name, size_t len)
{
    for (size_t i = 0; i < KEY_COUNT; i++)
        if (strlen(key_table[i].name) == len && memcmp(key_table[i].name, name, len) == 0)
            return &key_table[i];
    return NULL;
}

size_t
key_value_max(const char *name, size_t len)
{
    const struct key *k = key_find(name, len);

    if (k == NULL || k->type != KEY_TYPE_BINARY)
        return KEY_VALUE_MAX;
    return 2 + 2 * (size_t)k->max; /* "0x" and two digits for each byte */
}
