/* SPDX-License-Identifier: MIT */
/* iscsi:// URLs: what each part and option becomes, what is refused with which words, and that no
 * secret ever gets into a message. */
#include "api/url.h"

#include "tests/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define IQN "iqn.2026-11.example:disk"

static void
fails(const char *url, const char *words)
{
    struct lunette_error err = {.code = 0};
    struct api_url u;

    assert_int_equal(url_parse(url, &u, &err), -EINVAL);
    assert_int_equal(err.domain, LUNETTE_DOM_USAGE);
    if (strstr(err.msg, words) == NULL)
        fail_msg("%s: \"%s\" should hold \"%s\"", url, err.msg, words);
    if (strstr(err.msg, "hunter2") != NULL)
        fail_msg("%s: the secret is in \"%s\"", url, err.msg);
}

static void
test_parts(void **state)
{
    struct api_url u;

    (void)state;
    assert_int_equal(
        url_parse("iscsi://alice%hunter2@hunter2-secret@host:3261/IQN.2026-11.Example:Disk"
                  "/0x4105000000000000",
                  &u, NULL),
        0);
    assert_string_equal(u.cfg.chap.name, "alice");
    assert_int_equal(u.cfg.chap.secret_len, strlen("hunter2@hunter2-secret"));
    assert_memory_equal(u.cfg.chap.secret, "hunter2@hunter2-secret", u.cfg.chap.secret_len);
    assert_string_equal(u.cfg.portal.host, "host");
    assert_int_equal(u.cfg.portal.port, 3261);
    assert_string_equal(u.cfg.target_name, "IQN.2026-11.Example:Disk"); /* as typed */
    assert_true(u.has_target && u.has_lun && u.has_secret && !u.has_isid);
    assert_int_equal(u.lun[0], 0x41);
    url_wipe(&u);
    assert_int_equal(u.cfg.chap.secret_len, 0);
    assert_int_equal(u.cfg.chap.secret[0], 0);

    assert_int_equal(url_parse("iscsi://[fe80::1%eth0]/", &u, NULL), 0);
    assert_string_equal(u.cfg.portal.host, "fe80::1%eth0");
    assert_int_equal(u.cfg.portal.port, 3260);
    assert_false(u.has_target || u.has_lun || u.has_secret);
}

/* Users, secrets and names may be percent-encoded; the % of libiscsi's user%secret is one that no
 * two hex digits follow, or that stands for a byte that nobody encodes. */
static void
test_encoded(void **state)
{
    static const struct {
        const char *user, *name, *secret; /* secret NULL: none */
    } rows[] = {
        {"alice", "alice", NULL},
        {"alice%hunter2", "alice", "hunter2"},
        {"alice%", NULL, NULL},
        {"al%40corp%hunter2", "al@corp", "hunter2"},
        {"al%40corp", "al@corp", NULL},
        {"al%3acorp%3Aus%p%40ss%2fword", "al:corp:us", "p@ss/word"},
        {"alice%p%zz%4", "alice", "p%zz%4"},
        {"alice%deadbeefcafe", "alice", "deadbeefcafe"},
        {"al%40corp%deadbeef%40", "al@corp", "deadbeef@"},
        {"alice%%64eadbeef", "alice", "deadbeef"},
        {"j%C3%B6rg", "j\xc3\xb6rg", NULL},
        {"j%C3%B6rg%hunter2", "j\xc3\xb6rg", "hunter2"},
        {"al%00ice%hunter2", NULL, NULL},
        {"alice%hunter%002", NULL, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct lunette_error err = {.code = 0};
        char url[100];
        struct api_url u;

        (void)snprintf(url, sizeof(url), "iscsi://%s@h/" IQN, rows[i].user);
        if (rows[i].name == NULL) {
            assert_int_equal(url_parse(url, &u, &err), -EINVAL);
            assert_null(strstr(err.msg, "hunter"));
            continue;
        }
        assert_int_equal(url_parse(url, &u, NULL), 0);
        assert_string_equal(u.cfg.chap.name, rows[i].name);
        assert_int_equal(u.has_secret, rows[i].secret != NULL);
        if (rows[i].secret != NULL) {
            assert_int_equal(u.cfg.chap.secret_len, strlen(rows[i].secret));
            assert_memory_equal(u.cfg.chap.secret, rows[i].secret, u.cfg.chap.secret_len);
        }
        url_wipe(&u);
    }
}

static void
test_encoded_elsewhere(void **state)
{
    struct api_url u;

    (void)state;
    assert_int_equal(url_parse("iSCSI://h/iqn.2026-11.example%3Adisk%2F%7E%4/1"
                               "?target_user=a%26b&target_password=hunter%262&timeout=%37",
                               &u, NULL),
                     0);
    assert_string_equal(u.cfg.target_name, "iqn.2026-11.example:disk/~%4");
    assert_int_equal(u.lun[1], 1);
    assert_string_equal(u.cfg.mutual.name, "a&b");
    assert_int_equal(u.cfg.mutual.secret_len, 8);
    assert_memory_equal(u.cfg.mutual.secret, "hunter&2", 8);
    assert_int_equal(u.timeout_ms, 7);
    url_wipe(&u);
    fails("iscsi://h/iqn.2026-11.example%00", "NUL");
    fails("iscsi://h/iqn.2026-11.example%20x", "blanks");
    fails("iscsi://h/" IQN "?target_user=%00", "NUL");
}

static void
test_hosts(void **state)
{
    static const char *const scoped[] = {"[fe80::1%eth0]", "[fe80::1%25eth0]", "fe80::1%eth0",
                                         "fe80::1%25eth0", "a%hunter2@fe80::1%eth0"};
    struct api_url u;

    (void)state;
    for (size_t i = 0; i < sizeof(scoped) / sizeof(scoped[0]); i++) {
        char url[100];

        (void)snprintf(url, sizeof(url), "iscsi://%s/" IQN, scoped[i]);
        assert_int_equal(url_parse(url, &u, NULL), 0);
        assert_string_equal(u.cfg.portal.host, "fe80::1%eth0");
        url_wipe(&u);
    }
    fails("iscsi://[fe80::1]/" IQN, "add the interface that leads to it (its scope)");
    fails("iscsi://fe80::1/" IQN, "add the interface that leads to it (its scope)");
    fails("iscsi://[fe80::g]/" IQN, "IPv6 address");
    assert_int_equal(
        url_parse("ISER://al%secret-secret@h:3261/" IQN "/3?max_transfer=256k", &u, NULL), 0);
    assert_string_equal(u.cfg.transport, "iser");
    assert_string_equal(u.cfg.portal.host, "h");
    assert_int_equal(u.cfg.portal.port, 3261);
    assert_string_equal(u.cfg.chap.name, "al");
    assert_int_equal(u.lun[1], 3);
    url_wipe(&u);
    assert_int_equal(url_parse("iser://h/" IQN "?transport=iser", &u, NULL), 0);
    assert_string_equal(u.cfg.transport, "iser");
    url_wipe(&u);
    fails("iser://h/" IQN "?transport=tcp", "for another one, write iscsi://");
    fails("isers://h/" IQN, "want iscsi://");
}

static void
test_options(void **state)
{
    struct api_url u;

    (void)state;
    assert_int_equal(url_parse("iscsi://h/" IQN "/1?header_digest=CRC32C_none&max_transfer=256k"
                               "&max_burst_length=0x10000&initial_r2t=TRUE&isid=80123456789a"
                               "&chap_algs=SHA256,md5&tpgt=7&target_user=bob"
                               "&target_password=hunter2&zero_copy=1&timeout=1500"
                               "&transport=iser",
                               &u, NULL),
                     0);
    assert_string_equal(u.cfg.header_digest, "CRC32C,None");
    assert_int_equal(u.max_transfer, 262144);
    assert_int_equal(u.cfg.offer.max_burst, 65536);
    assert_int_equal(u.cfg.offer.first_burst, 65536); /* lowered to max_burst */
    assert_true(u.cfg.offer.initial_r2t);
    assert_true(u.has_isid);
    assert_memory_equal(u.cfg.isid, "\x80\x12\x34\x56\x78\x9a", 6);
    assert_int_equal(u.cfg.chap_algs[0], CHAP_SHA256);
    assert_int_equal(u.cfg.chap_algs[1], CHAP_MD5);
    assert_int_equal(u.cfg.chap_algs[2], 0);
    assert_int_equal(u.cfg.expected_tpgt, 7);
    assert_string_equal(u.cfg.mutual.name, "bob");
    assert_int_equal(u.cfg.mutual.secret_len, 7);
    assert_true(u.cfg.zero_copy);
    assert_string_equal(u.cfg.transport, "iser");
    assert_int_equal(u.timeout_ms, 1500);
    url_wipe(&u);
}

/* What begins with the name of the transport is for the transport to judge, wherever it stands. */
static void
test_transport_options(void **state)
{
    static const char *const good[] = {
        "?transport=iser&iser_stag=pool&iser_poll_us=50",
        "?iser_stag=pool&transport=iser&timeout=5&iser_poll_us=50",
        "?iser_stag=%70ool&transport=i%73er&iser_poll_us=50",
        "?transport=tcp&transport=other&iser_stag=pool&iser_poll_us=50&transport=iser",
    };
    struct api_url u;
    char url[600];

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct lunette_error err = {.code = 0};

        (void)snprintf(url, sizeof(url), "iscsi://a%%b@h/" IQN "%s", good[i]);
        if (i == 3) { /* it is the last that counts, but each is read in its turn */
            fails(url, "is for transport=iser");
            continue;
        }
        if (url_parse(url, &u, &err) != 0)
            fail_msg("%s: %s", url, err.msg);
        assert_string_equal(u.cfg.transport, "iser");
        assert_string_equal(u.cfg.transport_options, "iser_stag=pool&iser_poll_us=50");
        url_wipe(&u);
    }
    assert_int_equal(url_parse("iser://h/" IQN "?iser_pool=4M", &u, NULL), 0);
    assert_string_equal(u.cfg.transport_options, "iser_pool=4M");
    url_wipe(&u);
    assert_int_equal(url_parse("iscsi://h/" IQN "?transport=mine&mine_x=", &u, NULL), 0);
    assert_string_equal(u.cfg.transport_options, "mine_x=");
    url_wipe(&u);
    assert_int_equal(url_parse("iscsi://h/" IQN "?offload_arena=8M&engine=%2frun/e"
                               "&transport=offload_session&timeout=5",
                               &u, NULL),
                     0);
    assert_string_equal(u.cfg.transport_options, "offload_arena=8M&engine=/run/e");
    url_wipe(&u);
    fails("iscsi://h/" IQN "?engine=/run/e", "option engine is for transport=offload_session");
    fails("iscsi://h/" IQN "?transport=iser&offload_slots=9", "is for transport=offload_session");
    fails("iscsi://h/" IQN "?transport=offload_session&engine=run/e", "begins with a slash");
    fails("iscsi://h/" IQN "?transport=offload_session&offload_slots=7", "want 8..1024");
    fails("iscsi://h/" IQN "?transport=offload_session&offload_arena=4095k", "size of 4M..1G");
    fails("iscsi://h/" IQN "?transport=offload_session&offload_ring=2", "unknown option");
    assert_int_equal(url_parse("iscsi://h/" IQN "?transport=iser", &u, NULL), 0);
    assert_string_equal(u.cfg.transport_options, "");
    url_wipe(&u);
    fails("iscsi://h/" IQN "?iser_stag=pool", "option iser_stag is for transport=iser");
    fails("iscsi://h/" IQN "?transport=tcp&iser_stag=pool", "is for transport=iser");
    fails("iscsi://h/" IQN "?transport=iser&mine_x=1", "unknown option mine_x");
    fails("iscsi://h/" IQN "?transport=iser&iser_stag", "option");
    fails("iscsi://h/" IQN "?transport=iser&iser_=1", "option");
    fails("iscsi://h/" IQN "?transport=iser&iser_Stag=1", "option");
    fails("iscsi://h/" IQN "?transport=tcp&tcp_user_timeot=1", "did you mean tcp_user_timeout?");
    fails("iscsi://h/" IQN "?transport=iser&iser_stag=a%20b", "option iser_stag: a blank");
    fails("iscsi://h/" IQN "?transport=iser&iser_stag=a%26b=c", "option iser_stag: a blank");
    fails("iscsi://h/" IQN "?transport=iser&iser_stag=%ff", "option iser_stag: a blank");
    fails("iscsi://h/" IQN "?target_password=a&iser_x=hunter2", "behind target_password");
    fails("iscsi://h/" IQN "?transport=iser&target_password=a&iser_x=hunter2",
          "behind target_password");
    fails("iscsi://h/" IQN "?transport=iser&iser_stag=pools",
          "URL: iser_stag=pools: window, pool or register is wanted");
    fails("iscsi://h/" IQN "?iser_pool=1&transport=iser&iser_stag=pool",
          "URL: iser_pool=1: a size from 1M to 1G is wanted");
    fails("iscsi://h/" IQN "?transport=iser&iser_polls_us=50", "did you mean iser_poll_us?");
    for (size_t len = 200; len < 300; len++) {
        size_t at = (size_t)snprintf(url, sizeof(url), "iscsi://h/" IQN "?transport=mine&mine_x=");

        memset(url + at, 'x', len);
        url[at + len] = '\0';
        if (len + strlen("mine_x=") > LOGIN_OPTIONS_MAX) {
            fails(url, "the options of transport mine are longer than 255 bytes");
            continue;
        }
        assert_int_equal(url_parse(url, &u, NULL), 0);
        assert_int_equal(strlen(u.cfg.transport_options), len + strlen("mine_x="));
        url_wipe(&u);
    }
}

static void
test_portals(void **state)
{
    struct api_url u;

    (void)state;
    assert_int_equal(url_parse("iscsi://h/" IQN
                               "?nr_connections=4&portals=192.0.2.7,[2001:db8::1]:3"
                               "261,%5Bfe80::1%25eth0%5D",
                               &u, NULL),
                     0);
    assert_int_equal(u.cfg.ngroup, 3);
    assert_string_equal(u.cfg.group[0].host, "192.0.2.7");
    assert_int_equal(u.cfg.group[0].port, 3260);
    assert_string_equal(u.cfg.group[1].host, "2001:db8::1");
    assert_int_equal(u.cfg.group[1].port, 3261);
    assert_string_equal(u.cfg.group[2].host, "fe80::1%eth0");
    assert_int_equal(u.cfg.offer.time2wait, 0);
    url_wipe(&u);
    assert_int_equal(url_parse("iscsi://h/" IQN "?portals=a,b,c,d,e,f,g", &u, NULL), 0);
    assert_int_equal(u.cfg.ngroup, LOGIN_GROUP_MAX);
    url_wipe(&u);
    fails("iscsi://h/" IQN "?portals=a,b,c,d,e,f,g,h", "at most seven");
    fails("iscsi://h/" IQN "?portals=", "option portals: want host[:port]");
    fails("iscsi://h/" IQN "?portals=a,,b", "option portals");
    fails("iscsi://h/" IQN "?portals=a,", "option portals");
    fails("iscsi://h/" IQN "?portals=a:0", "option portals");
    fails("iscsi://h/" IQN "?portals=[fe80::1]", "with its scope");
}

static void
test_sizes(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes; /* 0: refused */
    } rows[] = {
        {"512", 512},   {"1M", 1 << 20}, {"1.5k", 1536}, {"16MiB", 16 << 20},
        {"0x200", 512}, {"511", 0},      {"17M", 0},     {"1 M", 0},
        {"-1", 0},      {"", 0},         {"20000P", 0},  {"99999999999999999999", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char url[100];
        struct api_url u;

        (void)snprintf(url, sizeof(url), "iscsi://h/" IQN "?max_transfer=%s", rows[i].text);
        if (rows[i].bytes == 0) {
            fails(url, "want 512..16777216");
            continue;
        }
        assert_int_equal(url_parse(url, &u, NULL), 0);
        assert_int_equal(u.max_transfer, rows[i].bytes);
    }
}

static void
test_refused(void **state)
{
    (void)state;
    fails("http://h/", "want iscsi://");
    fails("iscsi://h/iqn.2026-11.example:a b", "iSCSI name");
    fails("iscsi://h/" IQN "/x", "the LUN is a number");
    fails("iscsi://h:0/" IQN, "URL");
    fails("iscsi://@h/" IQN, "user name");
    fails("iscsi://h/" IQN "?colour=red", "unknown option");
    fails("iscsi://h/" IQN "?HeaderDigest=CRC32C",
          "1st option is none that there is (did you mean header_digest?");
    fails("iscsi://h/" IQN "?timeout=5&Login-Timeout=5",
          "2nd option is none that there is (did you mean login_timeout?");
    fails("iscsi://h/" IQN "?timeout", "needs a value");
    fails("iscsi://h/" IQN "?timeout=0", "want 1..86400000");
    fails("iscsi://h/" IQN "?timeout=", "want 1..86400000 milliseconds");
    fails("iscsi://h/" IQN "?timeout=s", "want 1..86400000 milliseconds");
    fails("iscsi://h/" IQN "?timeout=ms", "want 1..86400000 milliseconds");
    fails("iscsi://h/" IQN "?timeout=3m", "want 1..86400000 milliseconds");
    fails("iscsi://h/" IQN "?timeout=86401s", "want 1..86400000 milliseconds");
    fails("iscsi://h/" IQN "?timeout=18446744073709551615s", "want 1..86400000 milliseconds");
    fails("iscsi://h/" IQN "?noop_timeout=0", "want 1..86400 seconds");
    fails("iscsi://h/" IQN "?replacement_timeout=-2", "or -1 for no limit");
    fails("iscsi://h/" IQN "?replacement_timeout=500ms", "want 0..31536000 seconds");
    fails("iscsi://h/" IQN "?replacement_timeout=31536001", "want 0..31536000 seconds");
    fails("iscsi://h/" IQN "?reopen_max=-1", "want 0..1000000");
    fails("iscsi://h/" IQN "?initial_r2t=maybe", "yes or no");
    fails("iscsi://h/" IQN "?isid=12", "12 hex digits");
    fails("iscsi://h/" IQN "?data_digest=md5", "crc32c");
    fails("iscsi://h/" IQN "?chap_algs=md4", "sha3-256");
    fails("iscsi://h/" IQN "?transport=", "want text of length 1..31");
    fails("iscsi://h/" IQN "?transport=a-name-of-31-bytes-is-the-longer", "length 1..31");
}

/* Whatever is wrong beside a secret, the message must not show it. */
static void
test_secrets_stay_secret(void **state)
{
    (void)state;
    fails("http://alice%hunter2@h/", "want iscsi://");
    fails("iscsi://alice%hunter2/" IQN, "no host stands behind");
    fails("iscsi://alice%hunter2@h:99999/" IQN, "URL");
    fails("iscsi://alice%@h/" IQN, "1..255 bytes");
    fails("iscsi://alice%hunter2/x@h/" IQN, "behind the host");
    fails("iscsi://alice%hunter2?x@h/" IQN, "behind the host");
    fails("iscsi://alice%a@b/hunter2@h/" IQN, "behind the host");
    fails("iscsi://alice%hunter2@h/" IQN "?nonsense=1", "the 1st option");
    fails("iscsi://h/" IQN "?timeout=1&hunter2", "the 2nd option");
    fails("iscsi://h/" IQN "?chap_secret=hunter2", "unknown option chap_secret");
    fails("iscsi://h/" IQN "?target_password=a&timeout=hunter2", "option timeout: want");
    fails("iscsi://h/" IQN "/hunter2", "the LUN is a number");
    fails("iscsi://h/" IQN "?target_user=bob&target_password=a&hunter2", "behind target_password");
    fails("iscsi://h/" IQN "?target_password=a&hunter2=x", "behind target_password");
}

static void
test_credentials(void **state)
{
    struct lunette_error err;
    struct api_url u;

    (void)state;
    (void)unsetenv("LUNETTE_CHAP_FILE");
    (void)setenv("LUNETTE_CHAP", "alice:hunter2\nbob:other", 1);
    assert_int_equal(url_parse("iscsi://alice@h/" IQN, &u, NULL), 0);
    assert_int_equal(url_credentials(&u, NULL), 0);
    assert_memory_equal(u.cfg.chap.secret, "hunter2", 7);
    assert_string_equal(u.cfg.mutual.name, "bob");
    url_wipe(&u);

    assert_int_equal(url_parse("iscsi://carol@h/" IQN, &u, NULL), 0); /* somebody else's */
    assert_int_equal(url_credentials(&u, &err), -EINVAL);
    assert_null(strstr(err.msg, "hunter2"));
    url_wipe(&u);

    assert_int_equal(url_parse("iscsi://carol%mine@h/" IQN, &u, NULL), 0); /* the URL's own */
    assert_int_equal(url_credentials(&u, NULL), 0);
    assert_memory_equal(u.cfg.chap.secret, "mine", 4);
    url_wipe(&u);

    assert_int_equal(url_parse("iscsi://carol:hunter2@h/" IQN, &u, NULL), 0); /* no form of ours */
    assert_int_equal(url_credentials(&u, &err), -EINVAL);
    assert_null(strstr(err.msg, "hunter2"));
    url_wipe(&u);

    assert_int_equal(url_parse("iscsi://h/" IQN "?chap_file=alice:hunter2", &u, NULL), 0);
    assert_int_equal(url_credentials(&u, &err), -ENOENT);
    assert_null(strstr(err.msg, "hunter2"));
    url_wipe(&u);

    (void)unsetenv("LUNETTE_CHAP");
    assert_int_equal(url_parse("iscsi://carol@h/" IQN, &u, NULL), 0);
    assert_int_equal(url_credentials(&u, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "no secret"));
    url_wipe(&u);
}

/* A file of 600 with that text; the caller unlinks it. */
static void
chap_file(char path[32], const char *text)
{
    int fd;

    (void)strcpy(path, "/tmp/test_url.XXXXXX");
    fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(close(fd), 0);
}

/* Names with colons, fields, and a file that is too long to be read whole. */
static void
test_credential_files(void **state)
{
    char path[32], url[128], big[3000];
    struct lunette_error err;
    struct api_url u;

    (void)state;
    chap_file(path, "name = iqn.2026-11.a:b\nsecret = hunter2\n");
    (void)snprintf(url, sizeof(url), "iscsi://h/" IQN "?chap_file=%s", path);
    assert_int_equal(url_parse(url, &u, NULL), 0);
    assert_int_equal(url_credentials(&u, &err), 0);
    assert_string_equal(u.cfg.chap.name, "iqn.2026-11.a:b");
    assert_int_equal(u.cfg.chap.secret_len, 7);
    url_wipe(&u);
    (void)unlink(path);

    memset(big, '\n', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    chap_file(path, big);
    (void)snprintf(url, sizeof(url), "iscsi://h/" IQN "?chap_file=%s", path);
    assert_int_equal(url_parse(url, &u, NULL), 0);
    assert_int_equal(url_credentials(&u, &err), -EFBIG);
    url_wipe(&u);
    (void)unlink(path);
}

/* What a password manager writes into a pipe comes in pieces. */
static void
test_credential_pipe(void **state)
{
    static const char *const pieces[] = {"name = alice\nsecr", "et = hunter2\n",
                                         "mutual_name = t\n", "mutual_secret = other"};
    struct lunette_error err = {.code = 0};
    char url[128];
    struct api_url u;
    int fds[2];
    pid_t pid;

    (void)state;
    assert_int_equal(pipe(fds), 0);
    pid = fork();
    if (pid == 0) {
        (void)close(fds[0]);
        for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
            (void)!write(fds[1], pieces[i], strlen(pieces[i]));
            (void)usleep(20000);
        }
        _exit(0);
    }
    assert_true(pid > 0);
    (void)close(fds[1]);
    (void)snprintf(url, sizeof(url), "iscsi://h/" IQN "?chap_file=/dev/fd/%d", fds[0]);
    assert_int_equal(url_parse(url, &u, NULL), 0);
    if (url_credentials(&u, &err) < 0)
        fail_msg("%s", err.msg);
    assert_string_equal(u.cfg.chap.name, "alice");
    assert_string_equal(u.cfg.mutual.name, "t");
    assert_int_equal(u.cfg.mutual.secret_len, 5);
    url_wipe(&u);
    (void)close(fds[0]);
    assert_int_equal(waitpid(pid, NULL, 0), pid);

    /* what fails is told as it is */
    assert_int_equal(url_parse("iscsi://h/" IQN "?chap_file=/", &u, NULL), 0);
    assert_int_equal(url_credentials(&u, &err), -EISDIR);
    url_wipe(&u);
}

/* A discovery has credentials of its own, or the session's, or none. */
static void
test_discovery_credentials(void **state)
{
    char path[32], url[160];
    struct lunette_error err;
    struct api_url u;

    (void)state;
    assert_int_equal(url_parse("iscsi://carol%mine@h/", &u, NULL), 0);
    assert_int_equal(url_discovery_credentials(&u, &err), 0);
    assert_string_equal(u.cfg.chap.name, "carol");
    assert_false(u.cfg.auth_required);

    assert_int_equal(url_parse("iscsi://carol%mine@h/?discovery_auth=chap", &u, NULL), 0);
    assert_int_equal(url_discovery_credentials(&u, &err), 0);
    assert_string_equal(u.cfg.chap.name, "carol");
    assert_true(u.cfg.auth_required);

    /* no secret is needed that is not used */
    assert_int_equal(url_parse("iscsi://carol@h/?discovery_auth=none&auth_required=yes", &u, NULL),
                     0);
    assert_int_equal(url_discovery_credentials(&u, &err), 0);
    assert_string_equal(u.cfg.chap.name, "");
    assert_false(u.cfg.auth_required);

    chap_file(path, "dave:hunter2\n");
    (void)snprintf(url, sizeof(url), "iscsi://carol%%mine@h/?discovery_chap_file=%s", path);
    assert_int_equal(url_parse(url, &u, NULL), 0);
    assert_int_equal(url_discovery_credentials(&u, &err), 0);
    assert_string_equal(u.cfg.chap.name, "dave");
    assert_memory_equal(u.cfg.chap.secret, "hunter2", 7);
    assert_int_equal(url_parse(url, &u, NULL), 0); /* the session has its own still */
    assert_int_equal(url_credentials(&u, &err), 0);
    assert_string_equal(u.cfg.chap.name, "carol");
    url_wipe(&u);
    (void)unlink(path);
    fails("iscsi://h/?discovery_auth=yes", "none or chap");
}

/* Times: each key has its own unit, which a value may name. */
static void
test_times(void **state)
{
    struct api_url u;

    (void)state;
    assert_int_equal(url_parse("iscsi://h/" IQN, &u, NULL), 0);
    assert_int_equal(u.cfg.replacement_timeout_s, 120);
    assert_int_equal(u.reopen_max, 8);
    assert_int_equal(url_parse("iscsi://h/" IQN "?replacement_timeout=-1&login_timeout=1500&"
                               "noop_interval=2&noop_timeout=300ms&reopen_max=0&timeout=30s&"
                               "connect_timeout=0x10",
                               &u, NULL),
                     0);
    assert_int_equal(u.cfg.replacement_timeout_s, -1);
    assert_int_equal(u.cfg.login_timeout_ms, 1500);
    assert_int_equal(u.cfg.ping_interval_ms, 2000);
    assert_int_equal(u.cfg.ping_timeout_ms, 300);
    assert_int_equal(u.reopen_max, 0);
    assert_int_equal(u.timeout_ms, 30000);
    assert_int_equal(u.cfg.connect_timeout_ms, 16);
    assert_int_equal(url_parse("iscsi://h/" IQN "?replacement_timeout=0&ping_interval=5s&"
                               "ping_timeout=7&noop_interval=0",
                               &u, NULL),
                     0);
    assert_int_equal(u.cfg.replacement_timeout_s, 0);
    assert_int_equal(u.cfg.ping_interval_ms, 0); /* of two names for one thing the last counts */
    assert_int_equal(u.cfg.ping_timeout_ms, 7);
    assert_int_equal(url_parse("iscsi://h/" IQN "?replacement_timeout=30s", &u, NULL), 0);
    assert_int_equal(u.cfg.replacement_timeout_s, 30);
    assert_int_equal(url_parse("iscsi://h/" IQN "?replacement_timeout=3000ms", &u, NULL), 0);
    assert_int_equal(u.cfg.replacement_timeout_s, 3);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_transport_options),
        cmocka_unit_test(test_portals),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_credentials),
        cmocka_unit_test(test_credential_files),
        cmocka_unit_test(test_credential_pipe),
        cmocka_unit_test(test_discovery_credentials),
        cmocka_unit_test(test_secrets_stay_secret),
        cmocka_unit_test(test_encoded),
        cmocka_unit_test(test_encoded_elsewhere),
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_times),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
