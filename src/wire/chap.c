/* SPDX-License-Identifier: MIT */
#include "wire/chap.h"

#include <assert.h>
#include <errno.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

static const struct {
    enum chap_alg alg;
    size_t len;
    const char *name; /* as OpenSSL fetches it */
} algs[] = {
    {CHAP_MD5, 16, "MD5"},
    {CHAP_SHA1, 20, "SHA1"},
    {CHAP_SHA256, 32, "SHA2-256"},
    {CHAP_SHA3_256, 32, "SHA3-256"},
};

#define ALGS (sizeof(algs) / sizeof(algs[0]))

static EVP_MD *
fetch(unsigned alg)
{
    for (size_t i = 0; i < ALGS; i++) {
        if (algs[i].alg == alg)
            return EVP_MD_fetch(NULL, algs[i].name, NULL);
    }
    return NULL;
}

size_t
chap_response_len(unsigned alg)
{
    for (size_t i = 0; i < ALGS; i++) {
        if (algs[i].alg == alg)
            return algs[i].len;
    }
    return 0;
}

int
chap_response(unsigned alg, uint8_t id, const void *secret, size_t secret_len,
              const void *challenge, size_t challenge_len, uint8_t *ret)
{
    EVP_MD *md = fetch(alg);
    EVP_MD_CTX *ctx;
    unsigned len = 0;
    int r = -ENOTSUP;

    if (md == NULL)
        return -ENOTSUP;
    assert((size_t)EVP_MD_get_size(md) == chap_response_len(alg));
    ctx = EVP_MD_CTX_new();
    if (ctx == NULL) {
        r = -ENOMEM;
    } else if (EVP_DigestInit_ex2(ctx, md, NULL) == 1 && EVP_DigestUpdate(ctx, &id, 1) == 1 &&
               EVP_DigestUpdate(ctx, secret, secret_len) == 1 &&
               EVP_DigestUpdate(ctx, challenge, challenge_len) == 1 &&
               EVP_DigestFinal_ex(ctx, ret, &len) == 1) {
        r = 0;
    }
    EVP_MD_CTX_free(ctx);
    EVP_MD_free(md);
    return r;
}

bool
chap_alg_usable(unsigned alg)
{
    EVP_MD *md = fetch(alg);

    EVP_MD_free(md);
    return md != NULL;
}

bool
chap_equal(const void *a, size_t a_len, const void *b, size_t b_len)
{
    return a_len == b_len && CRYPTO_memcmp(a, b, a_len) == 0;
}

void
chap_wipe(void *p, size_t len)
{
    if (len > 0)
        OPENSSL_cleanse(p, len);
}
