/* SPDX-License-Identifier: MIT */
/* target/state/text.h - the structures of target/text.h, which says what they are for. */
#ifndef TARGET_STATE_TEXT_H
#define TARGET_STATE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/bhs.h"
#include "wire/text.h"

struct tgt_conn;

struct tgt_text {
    bool active;
    uint32_t ttt;
    struct text_buf request, answer; /* their memory is owned */
    size_t answer_sent;
    uint32_t new_xmit_max; /* takes effect when the sequence is over; 0: none */
};

#endif
