/* SPDX-License-Identifier: MIT */
/* seam/rdma.h for a target under test, and the other end of it in the hands of a test.
 *
 * What the target posts is carried out between two turns of its loop, in order; what the test says
 * goes into the receives that are posted.  The fake checks what the seam demands of an owner: that
 * memory of requests is registered, that queues keep to their depth, that nothing is used after
 * rnic_close. */
#ifndef TESTS_UNIT_TARGET_FAKE_RNIC_H
#define TESTS_UNIT_TARGET_FAKE_RNIC_H

#include "seam/rdma.h"

#define FAKE_KEYS     8
#define FAKE_MESSAGES 1024

enum fake_state {
    FAKE_ASKED,   /* the target has been asked, and has not answered */
    FAKE_UP,      /* it has accepted */
    FAKE_REFUSED, /* it has closed without that */
    FAKE_GONE,    /* it has closed */
    FAKE_BROKEN,  /* something was refused, so that the queues are in error; the target knows */
};

/* Memory of the test that the target may use. */
struct fake_key {
    uint32_t rkey;
    uint8_t *addr;
    size_t len;
    unsigned access; /* enum rnic_access */
    bool window;     /* a Send may invalidate it */
    bool open;
};

struct fake_message {
    uint8_t *bytes; /* owned */
    uint32_t len;
    uint32_t invalidate;
};

struct fake_ep;

struct fake_rnic {
    struct loop *loop;
    struct fake_ep *listener;
    bool no_device;
    uint64_t memlock; /* bytes that may be registered; 0: any */
    uint64_t locked;  /* bytes that are */
    unsigned eps;     /* that are not closed, listeners too */
};

/* What the fake itself allocates with; malloc, unless a test that makes that fail says otherwise.
 */
extern void *(*fake_alloc)(size_t size);

/* Gives l this device. */
void fake_rnic_init(struct fake_rnic *r, struct loop *l);

/* A connection of the test.  The target hears of it in the next turn. */
struct fake_ep *fake_connect(struct fake_rnic *r, const void *private_data, size_t len);
void fake_free(struct fake_ep *ep);

enum fake_state fake_state(const struct fake_ep *ep);
/* The first byte of what the target has answered with. */
uint8_t fake_private(const struct fake_ep *ep);

/* Sends a message to the target. */
void fake_say(struct fake_ep *ep, const void *bytes, uint32_t len);
/* Messages that wait, since the target has no receive posted. */
unsigned fake_unheard(const struct fake_ep *ep);
/* Receives that the target has posted. */
unsigned fake_receives(const struct fake_ep *ep);
/* The next message of the target, which the test frees with fake_message_free; false: none. */
bool fake_hear(struct fake_ep *ep, struct fake_message *ret);
void fake_message_free(struct fake_message *m);

/* Opens memory to the target. */
void fake_open(struct fake_ep *ep, struct fake_key key);
/* Whether it is still open. */
bool fake_is_open(const struct fake_ep *ep, uint32_t rkey);
void fake_shut(struct fake_ep *ep, uint32_t rkey);

/* While on, nothing of what the target posts is carried out. */
void fake_hold(struct fake_ep *ep, bool on);
/* Carries out n requests all the same. */
void fake_step(struct fake_ep *ep, unsigned n);
/* Requests that are posted and not carried out; of RDMA Reads alone. */
unsigned fake_posted(const struct fake_ep *ep);
unsigned fake_reads_posted(const struct fake_ep *ep);
/* The most RDMA Reads that ever were posted at a time. */
unsigned fake_reads_most(const struct fake_ep *ep);

/* The next request fails so. */
void fake_fail(struct fake_ep *ep, enum rnic_status status);
/* The test leaves; told: the target hears of it by `ended`. */
void fake_leave(struct fake_ep *ep, bool told);
/* The device is gone from the listener. */
void fake_unplug(struct fake_rnic *r);

#endif
