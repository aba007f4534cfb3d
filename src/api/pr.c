/* SPDX-License-Identifier: MIT */
/* api/pr.c - persistent reservations: one command, waited for. */
#include "wire/pr.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/exec.h"
#include "api/sized.h"
#include "wire/scsi.h"
#include "wire/sense.h"

#define PR_UA_TRIES   8u    /* unit attentions in a row, which tell of something else */
#define PR_FIRST_READ 4096u /* bytes asked for at first: enough for most */
#define PR_READ_TRIES 4     /* since there may be more each time */

struct lunette_pr_registrants {
    uint32_t generation;
    size_t count;
    struct lunette_pr_registrant of[];
};

static int
pr_sense_errno(const struct scsi_sense *s)
{
    if (s->key == SENSE_RECOVERED && !s->deferred)
        return 0;
    if (s->key != SENSE_ILLEGAL_REQUEST || s->deferred)
        return -EIO;
    if (s->asc == 0x20) /* invalid operation code */
        return -EOPNOTSUPP;
    return s->asc == 0x25 /* no such LUN */ ? -ENXIO : -EREMOTEIO;
}

static int
pr_errno(const struct scsi_exec *x)
{
    struct scsi_sense s;

    if (x->result.err != 0)
        return x->result.err;
    switch ((enum scsi_status)x->result.scsi_status) {
    case SCSI_GOOD:
    case SCSI_CONDITION_MET:
        return 0;
    case SCSI_RESERVATION_CONFLICT:
        return -EBADE;
    case SCSI_BUSY:
    case SCSI_TASK_SET_FULL:
        return -EBUSY;
    case SCSI_TASK_ABORTED:
        return -ECANCELED;
    case SCSI_CHECK_CONDITION:
        return sense_parse(x->io.sc.sense, x->result.sense_len, &s) ? pr_sense_errno(&s) : -EIO;
    case SCSI_INTERMEDIATE:
    case SCSI_INTERMEDIATE_CONDITION_MET:
    case SCSI_COMMAND_TERMINATED:
    case SCSI_ACA_ACTIVE:
    default:
        return -EIO;
    }
}

/* Sends x, whose CDB and data are set.  0, or what the caller of the public function gets. */
static int
pr_run(struct lunette_lun *lun, struct scsi_exec *x, const char *what, struct lunette_error *err)
{
    int r;

    x->ua_retries = PR_UA_TRIES;
    r = api_exec_run(lun, x, err);
    if (r < 0)
        x->result = (struct bdev_result){.err = r};
    else
        x->result.err = pr_errno(x);
    return api_result(lun, &x->result, x->io.sc.sense, what, err);
}

static int
pr_out(struct lunette_lun *lun, enum scsi_pr_out sa, enum lunette_pr_type type,
       const struct pr_list *list, const char *what, struct lunette_error *err)
{
    uint8_t cdb[CDB_MAX], buf[PR_LIST_LEN];
    struct iovec iov = {buf, sizeof(buf)};
    struct scsi_exec x = {.cdb = cdb, .out = sg_from_iov(&iov, 1, 0, sizeof(buf))};
    int r = api_refuse_write(lun, 0, what, err);

    if (r < 0)
        return r;
    if (lun->dev == NULL)
        return api_no_unit(what, err);
    pr_list_build(buf, list);
    x.cdb_len = (uint16_t)cdb_pr_out(cdb, sa, (uint8_t)type, sizeof(buf));
    return pr_run(lun, &x, what, err);
}

static int
pr_bad_flags(uint32_t unknown, const char *what, struct lunette_error *err)
{
    int r = api_error_check(err);

    if (r < 0 || unknown == 0)
        return r;
    return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "%s: unknown flags 0x%x", what,
                        unknown);
}

static int
pr_bad_type(enum lunette_pr_type type, const char *what, struct lunette_error *err)
{
    int r = api_error_check(err);

    if (r < 0 || pr_type_known((unsigned)type))
        return r;
    return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                        "%s: there is no reservation of type %u", what, (unsigned)type);
}

int
lunette_pr_register(struct lunette_lun *lun, uint64_t key, uint64_t new_key, uint32_t flags,
                    struct lunette_error *err)
{
    bool ignore = (flags & LUNETTE_PR_IGNORE_KEY) != 0;
    struct pr_list list = {.key = ignore ? 0 : key,
                           .service_key = new_key,
                           .flags = (flags & LUNETTE_PR_APTPL) != 0 ? PR_APTPL : 0};
    int r = pr_bad_flags(flags & ~(LUNETTE_PR_APTPL | LUNETTE_PR_IGNORE_KEY), "register", err);

    if (r < 0)
        return r;
    return pr_out(lun, ignore ? SCSI_PROUT_REGISTER_AND_IGNORE : SCSI_PROUT_REGISTER,
                  LUNETTE_PR_NONE, &list, "register", err);
}

int
lunette_pr_reserve(struct lunette_lun *lun, uint64_t key, enum lunette_pr_type type,
                   struct lunette_error *err)
{
    struct pr_list list = {.key = key};
    int r = pr_bad_type(type, "reserve", err);

    return r < 0 ? r : pr_out(lun, SCSI_PROUT_RESERVE, type, &list, "reserve", err);
}

int
lunette_pr_release(struct lunette_lun *lun, uint64_t key, enum lunette_pr_type type,
                   struct lunette_error *err)
{
    struct pr_list list = {.key = key};
    int r = pr_bad_type(type, "release", err);

    return r < 0 ? r : pr_out(lun, SCSI_PROUT_RELEASE, type, &list, "release", err);
}

int
lunette_pr_clear(struct lunette_lun *lun, uint64_t key, struct lunette_error *err)
{
    struct pr_list list = {.key = key};

    return pr_out(lun, SCSI_PROUT_CLEAR, LUNETTE_PR_NONE, &list, "clear", err);
}

int
lunette_pr_preempt(struct lunette_lun *lun, uint64_t key, uint64_t victim,
                   enum lunette_pr_type type, uint32_t flags, struct lunette_error *err)
{
    struct pr_list list = {.key = key, .service_key = victim};
    bool abort = (flags & LUNETTE_PR_ABORT) != 0;
    int r = pr_bad_flags(flags & ~LUNETTE_PR_ABORT, "preempt", err);

    if (r == 0)
        r = pr_bad_type(type, "preempt", err);
    if (r < 0)
        return r;
    return pr_out(lun, abort ? SCSI_PROUT_PREEMPT_AND_ABORT : SCSI_PROUT_PREEMPT, type, &list,
                  "preempt", err);
}

/* ---- asking --------------------------------------------------------------------------------- */

/* Reads up to `size` bytes; *ret_len of them came. */
static int
pr_in(struct lunette_lun *lun, enum scsi_pr_in sa, uint8_t *buf, size_t size, size_t *ret_len,
      const char *what, struct lunette_error *err)
{
    uint8_t cdb[CDB_MAX];
    struct iovec iov = {buf, size};
    struct scsi_exec x = {.cdb = cdb, .in = sg_from_iov(&iov, 1, 0, (uint32_t)size)};
    int r = api_error_check(err);

    if (r < 0)
        return r;
    if (lun->dev == NULL)
        return api_no_unit(what, err);
    x.cdb_len = (uint16_t)cdb_pr_in(cdb, sa, (uint16_t)size);
    r = pr_run(lun, &x, what, err);
    *ret_len = x.in_len;
    return r;
}

static int
pr_nonsense(const char *what, struct lunette_error *err)
{
    return lunette_fail(err, -EPROTO, LUNETTE_DOM_PROTO, 0,
                        "%s: the answer is shorter than what it announces", what);
}

int
lunette_pr_read_reservation(struct lunette_lun *lun, struct lunette_pr_reservation *ret,
                            struct lunette_error *err)
{
    static const char what[] = "read reservation";
    struct lunette_pr_reservation held = {0};
    struct pr_reservation told;
    uint8_t buf[64];
    size_t len;
    int r = pr_in(lun, SCSI_PRIN_READ_RESERVATION, buf, sizeof(buf), &len, what, err);

    if (r < 0)
        return r;
    if (pr_reservation_parse(buf, len, &told) < 0)
        return pr_nonsense(what, err);
    held.key = told.key;
    held.generation = told.generation;
    held.type = (enum lunette_pr_type)told.type;
    r = api_sized_out(ret, API_FIRST_PR_HELD, &held, sizeof(held));
    return r == 0 ? 0
                  : lunette_fail(err, r, LUNETTE_DOM_USAGE, 0,
                                 "%s: the structure's size is that of no version", what);
}

/* All of an answer that may be long.  *ret is to be freed. */
static int
pr_in_all(struct lunette_lun *lun, enum scsi_pr_in sa, uint8_t **ret, size_t *ret_len,
          const char *what, struct lunette_error *err)
{
    size_t size = PR_FIRST_READ;
    struct pr_head h;

    for (int i = 0; i < PR_READ_TRIES; i++) {
        uint8_t *buf = malloc(size);
        int r;

        if (buf == NULL)
            return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "%s: out of memory", what);
        r = pr_in(lun, sa, buf, size, ret_len, what, err);
        if (r == 0 &&
            (pr_status_head(buf, *ret_len, &h) < 0 || (h.total <= size && *ret_len < h.total)))
            r = pr_nonsense(what, err);
        if (r == 0 && h.total <= size) {
            *ret = buf;
            return 0;
        }
        free(buf);
        if (r < 0)
            return r;
        size = h.total < PR_IN_MAX ? (size_t)h.total : PR_IN_MAX;
        if (h.total > PR_IN_MAX)
            break;
    }
    return lunette_fail(err, -EOVERFLOW, LUNETTE_DOM_SCSI, 0,
                        "%s: there are more registrations than a command can tell", what);
}

static struct lunette_pr_registrants *
pr_registrants_new(size_t n)
{
    struct lunette_pr_registrants *regs = calloc(1, sizeof(*regs) + n * sizeof(regs->of[0]));

    if (regs != NULL)
        regs->count = n;
    return regs;
}

static struct lunette_pr_registrants *
pr_of_keys(const uint8_t *buf, size_t len)
{
    struct pr_head h;
    int n = pr_keys_count(buf, len, &h);
    struct lunette_pr_registrants *regs = pr_registrants_new((size_t)n);

    if (regs == NULL)
        return NULL;
    regs->generation = h.generation;
    for (int i = 0; i < n; i++)
        regs->of[i].key = pr_keys_get(buf, (unsigned)i);
    return regs;
}

static struct lunette_pr_registrants *
pr_of_status(const uint8_t *buf, size_t len)
{
    struct lunette_pr_registrants *regs;
    struct pr_registrant r;
    struct pr_head h;
    size_t n = 0, i = 0;

    (void)pr_status_head(buf, len, &h);
    for (size_t at = 8; pr_status_next(buf, len, &at, &r);)
        n++;
    regs = pr_registrants_new(n);
    if (regs == NULL)
        return NULL;
    regs->generation = h.generation;
    for (size_t at = 8; pr_status_next(buf, len, &at, &r); i++) {
        struct lunette_pr_registrant *to = &regs->of[i];

        _Static_assert(sizeof(to->port) == sizeof(r.port), "a port's name fits");
        *to = (struct lunette_pr_registrant){.key = r.key,
                                             .type = (enum lunette_pr_type)r.type,
                                             .target_port = r.target_port,
                                             .holder = r.holder,
                                             .all_target_ports = r.all_ports};
        memcpy(to->port, r.port, sizeof(to->port));
    }
    return regs;
}

static int
pr_read(struct lunette_lun *lun, enum scsi_pr_in sa,
        struct lunette_pr_registrants *(*parse)(const uint8_t *buf, size_t len),
        struct lunette_pr_registrants **ret, const char *what, struct lunette_error *err)
{
    struct lunette_pr_registrants *regs;
    uint8_t *buf = NULL;
    size_t len;
    int r = pr_in_all(lun, sa, &buf, &len, what, err);

    if (r < 0)
        return r;
    regs = parse(buf, len);
    free(buf);
    if (regs == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "%s: out of memory", what);
    *ret = regs;
    return 0;
}

int
lunette_pr_read_keys(struct lunette_lun *lun, struct lunette_pr_registrants **ret,
                     struct lunette_error *err)
{
    return pr_read(lun, SCSI_PRIN_READ_KEYS, pr_of_keys, ret, "read keys", err);
}

int
lunette_pr_read_full_status(struct lunette_lun *lun, struct lunette_pr_registrants **ret,
                            struct lunette_error *err)
{
    return pr_read(lun, SCSI_PRIN_READ_FULL_STATUS, pr_of_status, ret, "read full status", err);
}

size_t
lunette_pr_registrants_count(const struct lunette_pr_registrants *regs)
{
    return regs->count;
}

uint32_t
lunette_pr_registrants_generation(const struct lunette_pr_registrants *regs)
{
    return regs->generation;
}

int
lunette_pr_registrants_get(const struct lunette_pr_registrants *regs, size_t i,
                           struct lunette_pr_registrant *ret)
{
    if (i >= regs->count)
        return -ENOENT;
    return api_sized_out(ret, API_FIRST_PR_ONE, &regs->of[i], sizeof(regs->of[i]));
}

void
lunette_pr_registrants_free(struct lunette_pr_registrants *regs)
{
    free(regs);
}
