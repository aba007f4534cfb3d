/* SPDX-License-Identifier: MIT */
/* How long the requests of LUNs took, as text. */
#include <stdio.h>

#include "cmd/iscsiadm/adm.h"

static double
latency_us(json_int_t ns)
{
    return (double)ns / 1e3;
}

static double
latency_mean_us(const json_t *h)
{
    int64_t count = adm_number(h, "count");

    return count > 0 ? latency_us(adm_number(h, "sum_ns")) / (double)count : 0;
}

static void
print_latency_of(int64_t lun, const char *op, const json_t *times)
{
    static const char *const stages[] = {"queue", "window", "send", "target", "receive"};
    const json_t *total = json_object_get(times, "total"), *buckets = adm_list(total, "buckets");

    if (total == NULL)
        return;
    (void)printf("Latency of LUN %lld, %s: about %lld requests, %.1f us\n", (long long)lun, op,
                 (long long)adm_number(total, "count"), latency_mean_us(total));
    for (size_t i = 0; i < sizeof(stages) / sizeof(stages[0]); i++)
        (void)printf("\t%s: %.1f us\n", stages[i],
                     latency_mean_us(json_object_get(times, stages[i])));
    for (size_t i = 0; i < json_array_size(buckets); i++) {
        const json_t *pair = json_array_get(buckets, i), *below = json_array_get(pair, 0);
        long long n = (long long)json_integer_value(json_array_get(pair, 1));

        if (json_is_integer(below))
            (void)printf("\tbelow %.3f us: %lld\n", latency_us(json_integer_value(below)), n);
        else
            (void)printf("\tabove: %lld\n", n);
    }
}

void
adm_print_latency(const json_t *session)
{
    static const char *const ops[] = {"read", "write", "other"};
    const json_t *luns = adm_list(session, "luns");

    for (size_t i = 0; i < json_array_size(luns); i++) {
        const json_t *lun = json_array_get(luns, i), *latency = json_object_get(lun, "latency");

        for (size_t k = 0; k < sizeof(ops) / sizeof(ops[0]); k++)
            print_latency_of(adm_number(lun, "lun"), ops[k], json_object_get(latency, ops[k]));
    }
}
