/* SPDX-License-Identifier: MIT */
/* wire/chap.h - the arithmetic of CHAP (RFC 7143 12.1.3, RFC 1994 4.1), for both sides.
 *
 * Pure functions: challenges come from loop_secure_random, texts are the
 * business of wire/text.h and of whoever drives a login.
 */
#ifndef WIRE_CHAP_H
#define WIRE_CHAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* CHAP_A: 5 is RFC 1994's, the others IANA's "PPP Authentication Algorithms". */
enum chap_alg {
    CHAP_MD5 = 5,
    CHAP_SHA1 = 6,
    CHAP_SHA256 = 7,
    CHAP_SHA3_256 = 8,
};

#define CHAP_RESPONSE_MAX  32   /* bytes of the longest response */
#define CHAP_CHALLENGE_MAX 1024 /* bytes that a peer may send, RFC 7143 12.1.3 */
#define CHAP_CHALLENGE_LEN 32   /* bytes of ours: not shorter than any response (RFC 1994 2.3) */
#define CHAP_SECRET_MIN    12   /* bytes below which RFC 7143 9.2.1 wants IPsec underneath */
#define CHAP_SECRET_MAX    255  /* bytes that a secret of ours may have */
#define CHAP_NAME_MAX      255  /* CHAP_N, bytes without the NUL */

/* Bytes of a response: 16, 20, 32, 32; 0 for an unknown algorithm. */
size_t chap_response_len(unsigned alg);

/* H(id, secret, challenge) into ret[chap_response_len(alg)].  0; -ENOTSUP for an algorithm that is
 * unknown or barred by the crypto library's policy (MD5 under FIPS), ret untouched then. */
int chap_response(unsigned alg, uint8_t id, const void *secret, size_t secret_len,
                  const void *challenge, size_t challenge_len, uint8_t *ret);

/* The system's library computes alg. */
bool chap_alg_usable(unsigned alg);

/* Compares in a time that depends on the lengths only. */
bool chap_equal(const void *a, size_t a_len, const void *b, size_t b_len);

/* Overwrites a secret; not optimised away. */
void chap_wipe(void *p, size_t len);

#endif
