/* SPDX-License-Identifier: MIT */
/* A C++ program that uses what the public headers define for it: see headers_alone.sh. */
#include <lunette/lunette.h>

#include <string.h>

struct kept {
    int before;
    struct lunette_error err;
};

static lunette_portal made_early = LUNETTE_INIT(made_early);

int
main()
{
    struct lunette_error err = LUNETTE_INIT(err);
    struct lunette_scsi scsi[2] = {LUNETTE_INIT(scsi[0]), LUNETTE_INIT(scsi[1])};
    const struct lunette_ctx_options opts = LUNETTE_INIT(opts);
    kept k = {1, LUNETTE_INIT(k.err)}, *at = &k;

    memset(&err, 0xff, sizeof(err));
    err = LUNETTE_INIT(err); /* as a program does that uses it again */
    at->err = LUNETTE_INIT(at->err);
    if (err.struct_size != sizeof(err) || err.code != 0 || err.msg[0] != '\0')
        return 1;
    if (scsi[1].struct_size != sizeof(scsi[1]) || scsi[1].cdb_len != 0)
        return 2;
    if (k.before != 1 || k.err.struct_size != sizeof(k.err) || opts.struct_size != sizeof(opts))
        return 3;
    return made_early.struct_size != sizeof(made_early) ? 4 : 0;
}
