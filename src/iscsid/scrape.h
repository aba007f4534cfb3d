/* SPDX-License-Identifier: MIT */
/* iscsid/scrape.h - metrics.sock: whoever connects is sent the text of iscsid/metrics.h.
 *
 * One that begins with a request of HTTP gets an answer of HTTP; one that says nothing for a
 * moment, or ends its sending half, gets the text alone.  Sessions are asked about one after the
 * other, and text is made as callers take it, so that the loop is never held up for long.  A data
 * plane that hangs holds a scrape up for a second at most: what it has not told is left out.
 */
#ifndef ISCSID_SCRAPE_H
#define ISCSID_SCRAPE_H

#include "iscsid/internal.h"

struct scrape;

int scrape_new(struct iscsid *d, struct scrape **ret, struct lunette_error *err);
/* The server of the API, which it asks, has been freed.  Sets *s to NULL; NULL is harmless. */
void scrape_free(struct scrape **s);
/* Listens at metrics.sock of the run directory, once it can; where it cannot, that is logged, and
 * the daemon does without. */
void scrape_listen(struct scrape *s);

#endif
