/* SPDX-License-Identifier: MIT */
/* api/sized.h - structures that the caller allocates, and that begin with their size
 * (docs/design/abi.md).  Any thread. */
#ifndef API_SIZED_H
#define API_SIZED_H

#include <lunette/lunette.h>

/* No structure will ever have more bytes: a larger size is memory that was not initialized. */
#define API_SIZED_MAX 4096

/* Bytes of a structure in its first version, which had that member last.  A structure that grows
 * keeps it. */
#define API_FIRST(type, last) (offsetof(type, last) + sizeof(((type *)0)->last))

#define API_FIRST_OPTIONS    API_FIRST(struct lunette_ctx_options, time_every)
#define API_FIRST_STATS      API_FIRST(struct lunette_ctx_stats, bytes_received)
#define API_FIRST_PORTAL     API_FIRST(struct lunette_portal, tpgt)
#define API_FIRST_TARGET     API_FIRST(struct lunette_target, nportals)
#define API_FIRST_INFO       API_FIRST(struct lunette_info, error)
#define API_FIRST_SESSION    API_FIRST(struct lunette_session_info, bends)
#define API_FIRST_EVENT      API_FIRST(struct lunette_event, why)
#define API_FIRST_CONN       API_FIRST(struct lunette_conn_info, portal)
#define API_FIRST_TIMEOUTS   API_FIRST(struct lunette_timeouts, reopen_max)
#define API_FIRST_SCSI       API_FIRST(struct lunette_scsi, sense)
#define API_FIRST_COMPLETION API_FIRST(struct lunette_completion, sense)
#define API_FIRST_PR_HELD    API_FIRST(struct lunette_pr_reservation, type)
#define API_FIRST_PR_ONE     API_FIRST(struct lunette_pr_registrant, port)
#define API_FIRST_EXPORT     API_FIRST(struct lunette_export_stats, clients)
#define API_FIRST_TIMES      API_FIRST(struct lunette_times, bucket)
#define API_FIRST_TRANSPORT  API_FIRST(struct lunette_transport_info, why)
#define API_FIRST_ERROR      API_FIRST(struct lunette_error, msg)

/* True when a structure may say that it has so many bytes; `first` is one of the above. */
static inline bool
api_size_possible(size_t size, size_t first)
{
    return size == 0 || (size >= first && size <= API_SIZED_MAX);
}

/* Copies the caller's structure into *to, which has `ours` bytes, as one of that size: what the
 * caller's lacks becomes zero.  -EINVAL: the size is that of no version; -E2BIG: something is set
 * there that this library does not know. */
int api_sized_in(void *to, size_t ours, const void *from, size_t first);

/* Fills in the caller's structure from *from, which has `ours` bytes, as far as the caller has
 * room; its struct_size stays and what it has beyond ours becomes zero.  -EINVAL: the size is that
 * of no version. */
int api_sized_out(void *to, size_t first, const void *from, size_t ours);

/* Every call that takes an error begins with this.  0; or -EINVAL, with a sentence: the size is
 * that of no version.  err may be NULL. */
int api_error_check(struct lunette_error *err);

#endif
