/* SPDX-License-Identifier: MIT */
/* LUNs on files that fail: somebody has shortened them, or there is no space.  The initiator is
 * told, the target and its other LUNs live on. */
#include "tests/unit/target/puppet.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "wire/be.h"

#define FILE_SIZE   (2u << 20)
#define BLOCKS      (FILE_SIZE / 512)
#define KEPT        (768u << 10) /* what is left of the file, once it was shortened */
#define READ_ERROR  0x031100
#define WRITE_ERROR 0x030c00
#define NO_SPACE    0x072707

static char path[] = "/tmp/lunette-file-XXXXXX";
static uint8_t bytes[FILE_SIZE];

static int
setup(void **state)
{
    static struct world w;
    static struct lu_config luns[2];
    struct target_node_config node = {.name = IQN, .luns = luns, .luns_count = 2};
    FILE *f;

    (void)strcpy(path + sizeof(path) - 7, "XXXXXX");
    f = fdopen(mkstemp(path), "w");
    for (size_t i = 0; i < FILE_SIZE; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 512);
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, FILE_SIZE, f), FILE_SIZE);
    assert_int_equal(fclose(f), 0);
    luns[0] = (struct lu_config){.kind = LU_FILE, .lun = 0, .wce = -1};
    (void)snprintf(luns[0].path, sizeof(luns[0].path), "%s", path);
    luns[1] = (struct lu_config){.kind = LU_RAM, .size = 1 << 20, .lun = 1, .wce = -1};
    world_new(&w, &node, 1);
    *state = &w;
    return 0;
}

static int
teardown(void **state)
{
    world_free(*state);
    return unlink(path);
}

/* Key and code of what a command answers, 0 for GOOD. */
static uint32_t
code(struct puppet *p, const uint8_t *cdb, uint8_t flags, uint32_t edtl, const void *data,
     uint32_t len)
{
    struct scsi_sense s = {0};
    uint8_t status;

    (void)puppet_cmd(p, 0, flags, cdb, edtl, data, len);
    status = puppet_status(p, NULL, NULL, &s);
    return status == SCSI_GOOD ? 0 : (uint32_t)s.key << 16 | sense_code(&s);
}

static void
other_lun_lives(struct puppet *p)
{
    uint8_t cdb[CDB_MAX];

    (void)cdb_write10(cdb, 0, 1, 0);
    (void)puppet_cmd(p, 1, WR, cdb, 512, bytes, 512);
    assert_int_equal(puppet_status(p, NULL, NULL, NULL), SCSI_GOOD);
}

/* Both with digests, which are computed from what is sent, and without. */
static struct puppet *
login(struct world *w, bool digests)
{
    struct puppet *p = puppet_new(w, 1);

    if (digests)
        assert_int_equal(
            puppet_login(p, KEYS("DataDigest=CRC32C\0HeaderDigest=CRC32C\0InitialR2T=No")), 0);
    else
        assert_int_equal(puppet_login(p, KEYS("InitialR2T=No")), 0);
    p->header_digest = p->data_digest = digests;
    puppet_clear_ua(p);
    return p;
}

/* What was written is read again, and lies in the file. */
static void
works(void **state)
{
    static uint8_t buf[FILE_SIZE];

    for (int digests = 0; digests < 2; digests++) {
        struct puppet *p = login(*state, digests);
        uint8_t cdb[CDB_MAX];
        uint32_t got = 0;
        FILE *f;

        (void)cdb_read10(cdb, 1, BLOCKS - 1, 0);
        (void)puppet_cmd(p, 0, RD, cdb, FILE_SIZE - 512, NULL, 0);
        assert_int_equal(puppet_status(p, buf, &got, NULL), SCSI_GOOD);
        assert_int_equal(got, FILE_SIZE - 512);
        assert_memory_equal(buf, bytes + 512, FILE_SIZE - 512);
        memset(bytes + 1024, 0x77 + digests, 4096);
        (void)cdb_write10(cdb, 2, 8, SCSI_FUA);
        assert_int_equal(code(p, cdb, WR, 4096, bytes + 1024, 4096), 0);
        (void)cdb_verify10(cdb, 2, 8, SCSI_BYTCHK);
        assert_int_equal(code(p, cdb, WR, 4096, bytes + 1024, 4096), 0);
        assert_int_equal(code(p, cdb, WR, 4096, bytes + 1536, 4096), 0x0e1d00);
        memset(bytes + FILE_SIZE / 2, 0x33, 20480);
        (void)cdb_write_same10(cdb, BLOCKS / 2, 40, 0);
        assert_int_equal(code(p, cdb, WR, 512, bytes + FILE_SIZE / 2, 512), 0);
        memset(bytes + 512 * 100, 0, 512 * 30);
        (void)cdb_write_same16(cdb, 100, 30, SCSI_WS_NDOB | SCSI_WS_UNMAP);
        assert_int_equal(code(p, cdb, ISCSI_FLAG_FINAL, 0, NULL, 0), 0);
        f = fopen(path, "r");
        assert_non_null(f);
        assert_int_equal(fread(buf, 1, FILE_SIZE, f), FILE_SIZE);
        assert_int_equal(fclose(f), 0);
        assert_memory_equal(buf, bytes, FILE_SIZE);
        puppet_free(p);
    }
}

/* Each way to read and to write blocks that are gone; none may make the file longer again. */
static void
shortened(void **state)
{
    for (int digests = 0; digests < 2; digests++) {
        struct puppet *p = login(*state, digests);
        uint8_t cdb[CDB_MAX], list[24] = {0};
        uint32_t lba = BLOCKS - 8;

        assert_int_equal(truncate(path, KEPT), 0);
        (void)cdb_read10(cdb, lba, 8, 0);
        assert_int_equal(code(p, cdb, RD, 4096, NULL, 0), READ_ERROR);
        (void)cdb_verify10(cdb, lba, 8, 0);
        assert_int_equal(code(p, cdb, ISCSI_FLAG_FINAL, 0, NULL, 0), READ_ERROR);
        (void)cdb_verify10(cdb, lba, 8, SCSI_BYTCHK);
        assert_int_equal(code(p, cdb, WR, 4096, bytes, 4096), READ_ERROR);
        (void)cdb_compare_and_write(cdb, lba, 1, 0);
        assert_int_equal(code(p, cdb, WR, 1024, bytes, 1024), READ_ERROR);
        (void)cdb_write10(cdb, lba, 1, 0);
        assert_int_equal(code(p, cdb, WR, 512, bytes, 512), WRITE_ERROR);
        (void)cdb_write10(cdb, lba, 8, SCSI_FUA);
        assert_int_equal(code(p, cdb, WR, 4096, bytes, 4096), WRITE_ERROR);
        (void)cdb_write_same10(cdb, lba, 8, 0);
        assert_int_equal(code(p, cdb, WR, 512, bytes + 1, 512), WRITE_ERROR);
        (void)cdb_write_same16(cdb, lba, 8, SCSI_WS_NDOB);
        assert_int_equal(code(p, cdb, ISCSI_FLAG_FINAL, 0, NULL, 0), WRITE_ERROR);
        st_be16(list, sizeof(list) - 2);
        st_be16(list + 2, 16);
        st_be32(list + 12, lba);
        st_be32(list + 16, 8);
        (void)cdb_unmap(cdb, sizeof(list), 0);
        assert_int_equal(code(p, cdb, WR, sizeof(list), list, sizeof(list)), WRITE_ERROR);
        (void)cdb_read10(cdb, 0, 8, 0);
        assert_int_equal(code(p, cdb, RD, 4096, NULL, 0), 0);
        other_lun_lives(p);
        puppet_free(p);
    }
}

/* The data before the error is sent, and ends a sequence; the residual counts the rest (RFC 7143
 * 11.4.5). */
static void
read_fails_midway(void **state)
{
    struct puppet *p = login(*state, false);
    struct scsi_sense s = {0};
    uint8_t cdb[CDB_MAX];
    uint32_t got = 0;
    bool final = true;

    assert_int_equal(truncate(path, KEPT), 0);
    (void)cdb_read10(cdb, 0, BLOCKS, 0);
    (void)puppet_cmd(p, 0, RD, cdb, FILE_SIZE, NULL, 0);
    for (;;) {
        assert_int_equal(puppet_recv(p), GOT_PDU);
        if (pdu_opcode(&p->rx.h.h) != ISCSI_OP_DATA_IN)
            break;
        assert_int_equal(p->rx.h.h.flags & ISCSI_DATA_IN_STATUS, 0);
        assert_memory_equal(p->rx.data, bytes + got, p->rx.len);
        got += p->rx.len;
        final = p->rx.h.h.flags & ISCSI_FLAG_FINAL;
    }
    assert_int_equal(pdu_opcode(&p->rx.h.h), ISCSI_OP_SCSI_RSP);
    assert_int_equal(p->rx.h.scsi_rsp.status, SCSI_CHECK_CONDITION);
    assert_true(sense_parse(p->rx.data + 2, p->rx.len - 2, &s));
    assert_int_equal(s.key << 16 | sense_code(&s), READ_ERROR);
    assert_true(got > 0 && got <= KEPT && final);
    assert_int_equal(p->rx.h.h.flags & 0x06, ISCSI_RSP_UNDERFLOW);
    assert_int_equal(get32(p->rx.h.scsi_rsp.residual), FILE_SIZE - got);
    other_lun_lives(p);
    puppet_free(p);
}

/* A write that fails while more of its data are under way: no R2T asks for the rest. */
static void
write_fails_midway(void **state)
{
    struct puppet *p = login(*state, false);
    struct scsi_sense s = {0};
    uint8_t cdb[CDB_MAX];

    assert_int_equal(truncate(path, KEPT), 0);
    (void)cdb_write10(cdb, BLOCKS - 512, 512, 0);
    (void)puppet_cmd(p, 0, WR, cdb, 262144, bytes, 8192);
    assert_int_equal(puppet_status(p, NULL, NULL, &s), SCSI_CHECK_CONDITION);
    assert_int_equal(s.key << 16 | sense_code(&s), WRITE_ERROR);
    other_lun_lives(p);
    puppet_free(p);
}

/* The limit of the size of files stands for a file system that is full: EFBIG, where that says
 * ENOSPC. */
static void
no_space(void **state)
{
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct puppet *p = login(*state, false);
    struct rlimit before, small;
    uint8_t cdb[CDB_MAX];

    assert_int_equal(sigaction(SIGXFSZ, &ignore, NULL), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 65536;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    (void)cdb_write10(cdb, 0, 8, 0);
    assert_int_equal(code(p, cdb, WR, 4096, bytes, 4096), 0);
    (void)cdb_write10(cdb, 200, 8, 0);
    assert_int_equal(code(p, cdb, WR, 4096, bytes, 4096), NO_SPACE);
    (void)cdb_write_same10(cdb, 100, 200, 0);
    assert_int_equal(code(p, cdb, WR, 512, bytes, 512), NO_SPACE);
    (void)cdb_read10(cdb, 200, 8, 0);
    assert_int_equal(code(p, cdb, RD, 4096, NULL, 0), 0);
    other_lun_lives(p);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    puppet_free(p);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(works, setup, teardown),
        cmocka_unit_test_setup_teardown(shortened, setup, teardown),
        cmocka_unit_test_setup_teardown(read_fails_midway, setup, teardown),
        cmocka_unit_test_setup_teardown(write_fails_midway, setup, teardown),
        cmocka_unit_test_setup_teardown(no_space, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
