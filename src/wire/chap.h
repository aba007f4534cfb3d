/* SPDX-License-Identifier: MIT */
/* wire/chap.h - the arithmetic of CHAP (RFC 7143 12.1.3, RFC 1994 4.1), for both sides.
 *
 * The functions may be called on any thread; what the process keeps between them is a
 * context of the crypto library.  The caller draws
 * challenges with loop_secure_random, and codes keys and values with wire/text.h.
 */
#ifndef WIRE_CHAP_H
#define WIRE_CHAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The numbers of CHAP_A: 5 is from RFC 1994, the others from IANA's "PPP Authentication
 * Algorithms". */
enum chap_alg {
    CHAP_MD5 = 5,
    CHAP_SHA1 = 6,
    CHAP_SHA256 = 7,
    CHAP_SHA3_256 = 8,
};

#define CHAP_RESPONSE_MAX  32   /* bytes of the longest response */
#define CHAP_CHALLENGE_MAX 1024 /* bytes that a peer may send, RFC 7143 12.1.3 */
#define CHAP_CHALLENGE_LEN                                                                         \
    32                      /* bytes of a challenge that we send: not shorter than any response    \
                               (RFC 1994 2.3) */
#define CHAP_SECRET_MIN 12  /* bytes; with less, RFC 7143 9.2.1 requires IPsec */
#define CHAP_SECRET_MAX 255 /* bytes of the longest secret that we accept in a configuration */
#define CHAP_NAME_MAX   255 /* CHAP_N, bytes without the NUL */

/* Returns the bytes of a response with alg, or 0 when alg is none of enum chap_alg. */
size_t chap_response_len(unsigned alg);

/* Computes H(id, secret, challenge) into ret[chap_response_len(alg)].  Returns 0, -ENOMEM, or
 * -ENOTSUP for an algorithm that is unknown or barred by the crypto library's policy (MD5 under
 * FIPS), and without success leaves ret as it was. */
int chap_response(unsigned alg, uint8_t id, const void *secret, size_t secret_len,
                  const void *challenge, size_t challenge_len, uint8_t *ret);

/* Tells whether the system's crypto library computes alg.  Without memory it does not. */
bool chap_alg_usable(unsigned alg);

/* Compares in a time that depends on the lengths only, so that a peer learns nothing from it. */
bool chap_equal(const void *a, size_t a_len, const void *b, size_t b_len);

/* Overwrites a secret with zeroes in a way that the compiler does not leave out. */
void chap_wipe(void *p, size_t len);

#endif
