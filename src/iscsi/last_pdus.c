/* SPDX-License-Identifier: MIT */
/* iscsi/last_pdus.c - the flight recorder of a connection.
 *
 * The last PDUs are kept of a connection that logs in or that has had commands.  Of one that only
 * waits, of which there may be thousands, few are.  Where there is no memory nothing is recorded.
 */
#include <stdlib.h>

#include "iscsi/internal.h"

void
iscsi_flight_digests(struct conn *c)
{
    if (c->pub.flight != NULL)
        flight_digests(c->pub.flight, c->pub.hdrdgst_en, c->pub.datadgst_en);
}

void
iscsi_flight_need(struct conn *c)
{
    if (c->pub.flight == NULL) {
        c->pub.flight = calloc(1, sizeof(*c->pub.flight));
        if (c->pub.flight != NULL && c->few != NULL) {
            flight_from_few(c->pub.flight, c->few);
            free(c->few);
            c->few = NULL;
        }
    }
    iscsi_flight_digests(c);
}

void
iscsi_flight_rest(struct conn *c)
{
    struct flight *f = c->pub.flight;

    if (f == NULL || !c->flight_of_login)
        return;
    c->few = malloc(sizeof(*c->few));
    if (c->few != NULL)
        flight_few_from(c->few, f);
    c->pub.flight = NULL;
    free(f);
}

void
iscsi_flight_free(struct conn *c)
{
    free(c->pub.flight);
    free(c->few);
}

void
iscsi_flight_add(struct conn *c, bool tx, const struct bhs *h)
{
    if (c->few != NULL)
        flight_few_add(c->few, c->pub.loop->now_ns, tx, h);
}

unsigned
iscsi_conn_flight(struct iscsi_conn *pub, struct flight_pdu *ret, unsigned max)
{
    const struct conn *c = to_conn(pub);

    if (pub->flight != NULL)
        return flight_read(pub->flight, ret, max);
    return c->few != NULL ? flight_few_read(c->few, ret, max) : 0;
}
