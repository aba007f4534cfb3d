/* SPDX-License-Identifier: MIT */
/* Text of metrics; tests/daemon/metrics.py holds the whole of it against the grammar. */
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "iscsid/metrics.h"

#define TEXT_MAX (1u << 20)

static json_t *
session(int sid, const char *target, const char *luns)
{
    json_t *o, *l = json_loads(luns, 0, NULL);

    assert_non_null(l);
    o = json_pack("{s:i,s:s,s:s,s:s,s:b,s:i,s:i,s:{s:I,s:i},s:o}", "sid", sid, "target", target,
                  "portal", "192.0.2.1:3260", "state", "LOGGED_IN", "wanted", 1, "down_ms", 1500,
                  "reopens", 3, "iscsi_stats", "txdata_octets", (json_int_t)5000000000,
                  "scsicmd_pdus", 7, "luns", l);
    assert_non_null(o);
    return o;
}

/* All of the text, made in pieces of so many bytes. */
static char *
text_of(const struct metrics *m, size_t piece)
{
    char *all = calloc(1, TEXT_MAX), *buf = malloc(piece);
    struct metrics_at at = {0};
    size_t len = 0, n;

    assert_true(all != NULL && buf != NULL);
    while ((n = metrics_text(m, &at, buf, piece)) > 0) {
        assert_true(n < piece && len + n < TEXT_MAX);
        assert_int_equal(buf[n - 1], '\n');
        memcpy(all + len, buf, n);
        len += n;
    }
    assert_int_equal(metrics_text(m, &at, buf, piece), 0);
    free(buf);
    return all;
}

static void
has(const char *text, const char *line)
{
    char want[2048];
    size_t n = (size_t)snprintf(want, sizeof(want), "\n%s\n", line);

    assert_true(n < sizeof(want));
    if (strstr(text, want) == NULL)
        fail_msg("there is no line %s in:\n%s", line, text);
}

static void
add(struct metrics *m, json_t *s)
{
    assert_int_equal(metrics_add(m, s), 0);
    json_decref(s);
}

static void
test_values(void **state)
{
    struct metrics *m = metrics_new("1.2");
    char *text;

    (void)state;
    metrics_set_plane_up(m, true);
    add(m, session(1, "iqn.a",
                   "[{\"lun\":2,\"state\":\"UP\",\"size\":4096,\"reads\":10,"
                   "\"driver_ns\":1500000001,\"exports\":[{\"clients\":2},{\"clients\":1}]}]"));
    text = text_of(m, TEXT_MAX / 2);
    has(text, "lunette_build_info{version=\"1.2\"} 1");
    has(text, "lunette_data_plane_up 1");
    has(text, "lunette_sessions 1");
    has(text, "# TYPE lunette_session_down_seconds gauge");
    has(text, "# UNIT lunette_session_down_seconds seconds");
#define S "sid=\"1\",portal=\"192.0.2.1:3260\",target=\"iqn.a\""
#define L "sid=\"1\",lun=\"2\",portal=\"192.0.2.1:3260\",target=\"iqn.a\""
    has(text, "lunette_session_up{" S "} 1");
    has(text, "lunette_session_down_seconds{" S "} 1.500000000");
    has(text, "lunette_session_reopens_total{" S "} 3");
    has(text, "lunette_session_data_bytes_total{" S ",direction=\"sent\"} 5000000000");
    has(text, "lunette_session_pdus_total{" S ",pdu=\"scsi_command\"} 7");
    has(text, "lunette_lun_up{" L "} 1");
    has(text, "lunette_lun_size_bytes{" L "} 4096");
    has(text, "lunette_lun_export_clients{" L "} 3");
    has(text, "lunette_lun_requests_total{" L ",op=\"read\"} 10");
    has(text, "lunette_lun_piece_seconds_total{" L "} 1.500000001");
    assert_null(strstr(text, "_bucket"));       /* nothing was timed */
    assert_null(strstr(text, "op=\"write\"}")); /* what was not told is left out */
    assert_string_equal(text + strlen(text) - 7, "\n# EOF\n");
    free(text);
    metrics_unref(m);
}

static void
test_histograms(void **state)
{
    static const char lun[] =
        "[{\"lun\":0,\"latency\":{\"timed\":2,"
        "\"read\":{\"total\":{\"count\":5,\"sum_ns\":2000000000,\"buckets\":[[1024,1],[1048576,3],["
        "null,1]]},"
        "\"target\":{\"count\":5,\"sum_ns\":7,\"buckets\":[[1024,5]]}},"
        "\"write\":{\"target\":{\"count\":1,\"sum_ns\":8,\"buckets\":[[1024,1]]}}}}]";
    struct metrics *m = metrics_new("1");
    char *text;

    (void)state;
    add(m, session(1, "t", lun));
    text = text_of(m, TEXT_MAX / 2);
#undef L
#define L "sid=\"1\",lun=\"0\",portal=\"192.0.2.1:3260\",target=\"t\""
    has(text, "# TYPE lunette_lun_request_seconds histogram");
    has(text, "lunette_lun_request_seconds_bucket{" L ",op=\"read\",le=\"2.048e-06\"} 1");
    has(text, "lunette_lun_request_seconds_bucket{" L ",op=\"read\",le=\"0.000524288\"} 1");
    has(text, "lunette_lun_request_seconds_bucket{" L ",op=\"read\",le=\"0.001048576\"} 4");
    has(text, "lunette_lun_request_seconds_bucket{" L ",op=\"read\",le=\"+Inf\"} 5");
    has(text, "lunette_lun_request_seconds_count{" L ",op=\"read\"} 5");
    has(text, "lunette_lun_request_seconds_sum{" L ",op=\"read\"} 2.000000000");
    has(text, "lunette_lun_stage_seconds_count{" L ",stage=\"target\"} 6");
    has(text, "lunette_lun_stage_seconds_sum{" L ",stage=\"target\"} 0.000000015");
    has(text, "lunette_data_plane_up 0");
    free(text);
    metrics_unref(m);
}

/* What a target calls itself may hold anything that JSON can. */
static void
test_escapes(void **state)
{
    char name[3000], *text;
    struct metrics *m = metrics_new("1");

    (void)state;
    add(m, session(1, "a\"b\\c\nd", "[]"));
    memset(name, '"', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    add(m, session(2, name, "[{\"lun\":0}]"));
    text = text_of(m, METRICS_PIECE_MIN);
    has(text,
        "lunette_session_up{sid=\"1\",portal=\"192.0.2.1:3260\",target=\"a\\\"b\\\\c\\nd\"} 1");
    for (const char *p = text; *p != '\0';
         p = strchr(p, '\n') + 1) /* each line ends as it should */
        assert_true(*p == '#' || strncmp(p, "lunette_", 8) == 0);
    free(text);
    metrics_unref(m);
}

/* The longest names that there are, of which each byte is escaped, are told to their end: two that
 * differ in the last byte alone are two. */
static void
test_long_names(void **state)
{
    struct metrics *m = metrics_new("1");
    char target[ISCSI_NAME_MAX + 1], portal[PORTAL_TEXT_MAX], *text;
    json_t *o = session(1, "", "[{\"lun\":4611686018427387903,\"state\":\"UP\"}]");

    (void)state;
    memset(target, '"', sizeof(target) - 1);
    target[sizeof(target) - 1] = '\0';
    memset(portal, '\\', sizeof(portal) - 1);
    portal[sizeof(portal) - 1] = '\0';
    assert_int_equal(json_object_set_new(o, "sid", json_integer(UINT32_MAX)), 0);
    assert_int_equal(json_object_set_new(o, "target", json_string(target)), 0);
    assert_int_equal(json_object_set_new(o, "portal", json_string(portal)), 0);
    assert_int_equal(metrics_add(m, o), 0);
    target[sizeof(target) - 2] = 'x';
    assert_int_equal(json_object_set_new(o, "target", json_string(target)), 0);
    add(m, o);
    text = text_of(m, METRICS_PIECE_MIN);
    assert_non_null(strstr(text, "\\\"\"} 1\n"));
    assert_non_null(strstr(text, "\\\"x\"} 1\n"));
    assert_non_null(strstr(strstr(text, "lunette_lun_up{"), "\\\"x\"} 1\n"));
    free(text);
    metrics_unref(m);
}

/* Text is the same in small pieces and in one. */
static void
test_pieces(void **state)
{
    struct metrics *m = metrics_new("1"), *again = metrics_ref(m);
    char *small, *large;

    (void)state;
    for (int i = 1; i <= 40; i++)
        add(m, session(i, "iqn.2026-11.example:x",
                       "[{\"lun\":0,\"reads\":1},{\"lun\":1,\"reads\":2}]"));
    small = text_of(m, METRICS_PIECE_MIN + 1);
    metrics_unref(m);
    large = text_of(again, TEXT_MAX);
    assert_string_equal(small, large);
    free(small);
    free(large);
    metrics_unref(again);
}

/* An answer that lacks everything: no number is made up. */
static void
test_nothing(void **state)
{
    struct metrics *m = metrics_new("1");
    json_t *o = json_object();
    char *text;

    (void)state;
    assert_int_equal(metrics_add(m, o), 0);
    json_decref(o);
    text = text_of(m, METRICS_PIECE_MIN);
    has(text, "lunette_sessions 1");
    assert_null(strchr(strstr(text, "lunette_sessions 1"), '{'));
    free(text);
    metrics_unref(m);
    metrics_unref(NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),  cmocka_unit_test(test_histograms),
        cmocka_unit_test(test_escapes), cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_nothing), cmocka_unit_test(test_long_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
