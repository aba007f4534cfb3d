/* SPDX-License-Identifier: MIT */
/* fuzz_url.c - iscsi:// URLs, as people and other programs put them together.
 *
 * Each input is also put behind and before a secret, in every form that a URL or a word in its
 * place may have: whatever becomes of it, the secret must be in nothing that is shown.
 */
#include <lunette/lunette.h>

#include "api/url.h"
#include "fuzz.h"

#define SECRET "S3CRet"

static const char *const forms[][2] = {
    {"", ""},
    {"iscsi://user%" SECRET, ""},
    {"iscsi://us%40er%" SECRET, ""},
    {"iscsi://user:" SECRET, ""},
    {"ISCSI:/user%" SECRET, ""},
    {"iser://user%" SECRET, ""},
    {"http://user:" SECRET, ""},
    {"user%" SECRET, ""},
    {"user:" SECRET, ""},
    {"iscsi://h/iqn.2026-11.x:y/0?target_password=" SECRET, ""},
    {"iscsi://h/iqn.2026-11.x:y/0?target_password=a", "&" SECRET},
    {"iscsi://h/iqn.2026-11.x:y/0?secret=" SECRET, ""},
    {"iscsi://h/iqn.2026-11.x:y/0?chap_file=user:" SECRET, ""},
    {"iscsi://h/iqn.2026-11.x:y/0?chap_file=iqn.2026-11.x:y:" SECRET, ""},
    {"iscsi://h/iqn.2026-11.x:y/0?discovery_chap_file=user%" SECRET, ""},
    {"iscsi://h/iqn.2026-11.x:y/0?target_user=t:" SECRET, ""},
    {"iscsi://h/iqn.2026-11.x:y/0?target_user=t%" SECRET, ""},
    {"iqn.2026-11.x:y:" SECRET, ""},
    {"iscsi://iqn.2026-11.x:" SECRET, ""},
    {"iscsi://", "%" SECRET "@h/iqn.2026-11.x:y"},
    {"iscsi://user%a", SECRET "@h/iqn.2026-11.x:y"},
    {"iscsi://user%", "@" SECRET "@h"},
};

static void
check_shown(const char *text, size_t size, bool secret)
{
    fuzz_check_text(text, size);
    CHECK(!secret || strstr(text, SECRET) == NULL);
}

/* What would be said of a URL that was understood, by a login and where its files are not there. */
static void
check_login(struct api_url *u, bool secret)
{
    struct lunette_error err = {.code = 0};
    char path[sizeof(u->chap_file)];

    check_shown(lunette_url_mask(u->chap_file, path, sizeof(path)), sizeof(path), secret);
    check_shown(lunette_url_mask(u->discovery_chap_file, path, sizeof(path)), sizeof(path), secret);
    if (u->cfg.initiator_name[0] == '\0')
        (void)strcpy(u->cfg.initiator_name, "iqn.2026-11.x:y");
    if (login_config_check(&u->cfg, &err) < 0)
        check_shown(err.msg, sizeof(err.msg), secret);
    CHECK(!secret || strstr(u->cfg.portal.host, SECRET) == NULL);
    CHECK(!secret || strstr(u->cfg.target_name, SECRET) == NULL);
}

static void
fuzz_form(const char *const form[2], const uint8_t *data, size_t len)
{
    size_t before = strlen(form[0]), behind = strlen(form[1]);
    char *url = malloc(before + len + behind + 1);
    size_t size = 3 * (before + len + behind) + 1; /* each byte may become %XX */
    char *shown = malloc(size + 8);
    struct api_url *u = malloc(sizeof(*u));
    struct lunette_error err = {.code = 0};
    bool secret = before + behind > 0;

    CHECK(u != NULL && url != NULL && shown != NULL);
    memcpy(url, form[0], before);
    memcpy(url + before, data, len);
    memcpy(url + before + len, form[1], behind + 1);
    check_shown(lunette_url_mask(url, shown, size + 8), size + 8, secret);
    (void)lunette_url_mask(url, shown, len % 40 + 1); /* cut anywhere */
    check_shown(shown, len % 40 + 1, secret);
    if (url_parse(url, u, &err) < 0) {
        check_shown(err.msg, sizeof(err.msg), secret);
    } else {
        check_login(u, secret);
        url_wipe(u);
    }
    free(u);
    free(shown);
    free(url);
}

void
fuzz_one(const uint8_t *data, size_t len)
{
    char *text = malloc(len + 1);
    bool has_secret;

    CHECK(text != NULL);
    memcpy(text, data, len);
    text[len] = '\0';
    has_secret = strstr(text, SECRET) != NULL; /* it would be found without being shown */
    len = strlen(text);
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (i == 0 || !has_secret)
            fuzz_form(forms[i], (const uint8_t *)text, len);
    }
    free(text);
}
