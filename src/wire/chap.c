/* SPDX-License-Identifier: MIT */
#include "wire/chap.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>

#include <openssl/conf.h>
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

/* A context of OpenSSL with the system's configuration, or NULL without memory.  A trial shows that
 * it was made whole: there is no policy without SHA-256. */
static OSSL_LIB_CTX *
new_context(void)
{
    OSSL_LIB_CTX *ctx = OSSL_LIB_CTX_new();

    if (ctx == NULL)
        return NULL;
    (void)CONF_modules_load_file_ex(ctx, NULL, NULL,
                                    CONF_MFLAGS_DEFAULT_SECTION | CONF_MFLAGS_IGNORE_RETURN_CODES |
                                        CONF_MFLAGS_IGNORE_MISSING_FILE);
    EVP_MD *trial = EVP_MD_fetch(ctx, "SHA2-256", NULL);
    if (trial == NULL) {
        OSSL_LIB_CTX_free(ctx);
        ctx = NULL;
    }
    EVP_MD_free(trial);
    return ctx;
}

/* One context for the process, kept until it ends.  Not OpenSSL's default one: where memory fails
 * while that is made, OpenSSL goes on with locks that are not there, and the process dies. */
static OSSL_LIB_CTX *
context(void)
{
    static _Atomic(OSSL_LIB_CTX *) shared;
    OSSL_LIB_CTX *there = atomic_load(&shared);

    if (there != NULL)
        return there;
    OSSL_LIB_CTX *made = new_context();
    if (made == NULL || atomic_compare_exchange_strong(&shared, &there, made))
        return made;
    OSSL_LIB_CTX_free(made); /* another thread was faster */
    return there;
}

/* Finds an algorithm; the caller frees it.  Returns 0, -ENOTSUP or -ENOMEM. */
static int
fetch(unsigned alg, EVP_MD **ret)
{
    OSSL_LIB_CTX *ctx = context();

    *ret = NULL;
    if (ctx == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < ALGS; i++) {
        if (algs[i].alg == alg)
            *ret = EVP_MD_fetch(ctx, algs[i].name, NULL);
    }
    return *ret != NULL ? 0 : -ENOTSUP;
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
    EVP_MD *md;
    EVP_MD_CTX *ctx;
    unsigned len = 0;
    int r = fetch(alg, &md);

    if (r < 0)
        return r;
    r = -ENOTSUP;
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
    EVP_MD *md;
    int r = fetch(alg, &md);

    EVP_MD_free(md);
    return r == 0;
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
