#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Plants faults in the code, one at a time, and demands that the simulator finds each of them.

A mutant that lunette-sim does not find within 1,000 seeds is a hole in the simulator; one whose lines
are not in the source any more has to follow the source.  Those of iser are looked for in worlds over
RDMA, those of engines and their clients in worlds with an engine, all others in worlds over TCP.

usage: mutants.py BUILD-DIR [NAME...]
"""
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import offload_planted
import planting

SEEDS = 1000
RDMA_FIRST = 10 ** 12  # LS_RDMA_FIRST of lunette_sim.h
ENGINE_FIRST = 2 * 10 ** 12  # LS_ENGINE_FIRST
PROGRAM = "bin/lunette-sim"

# name: file, then pairs of what stands there and what is planted
MUTANTS = {
    "complete-twice": ("src/api/queue.c", [(
        "queue_add_finished(container_of(b, struct api_req, req));\n",
        """static unsigned n;

    queue_add_finished(container_of(b, struct api_req, req));
    if (++n % 40 == 0)
        queue_add_finished(container_of(b, struct api_req, req));
""")]),
    "replay-compare-and-write": ("src/scsi/disk_done.c", [(
        "return rq->op != BDEV_COMPARE_WRITE && rq->op != BDEV_SCSI;\n", "return rq->op != BDEV_SCSI;\n")]),
    "replay-a-raw-command": ("src/scsi/exec.c", [(
        "bool ours = x->internal && x != &s->eh_tur", "bool ours = x != &s->eh_tur")]),
    "say-that-nothing-was-done": ("src/scsi/disk_done.c", [(
        "    if (v->maybe_done && disk_changes(io->rq))\n        io->maybe_done = true;\n", "")]),
    "stale-write-overtakes": ("src/login/login.c", [(
        # another port than before: the target does not end what the old session still does
        "    l->cfg = *cfg;\n",
        """    l->cfg = *cfg;
    if (cfg->kind == LOGIN_REOPEN)
        l->cfg.isid[5] ^= (uint8_t)loop_random(ctl_loop(ctl));
""")]),
    "come-back-as-a-stranger": ("src/login/login.c", [(
        "    l->cfg = *cfg;\n",
        """    l->cfg = *cfg;
    if (cfg->kind == LOGIN_REOPEN)
        l->cfg.isid[5] ^= 1;
""")]),
    "skip-a-cmdsn": ("src/iscsi/xmit.c", [(
        "        t->pub.cmd_sn = s->win.cmdsn++;\n",
        """        static unsigned n;
        t->pub.cmd_sn = s->win.cmdsn;
        s->win.cmdsn += ++n % 50 == 0 ? 2 : 1;
""")]),
    "use-a-buffer-after-completion": ("src/api/queue.c", [(
        "queue_add_finished(container_of(b, struct api_req, req));\n",
        """static uint8_t *last;
    static unsigned n;

    if (last != NULL && ++n % 40 == 0)
        *last ^= 1;
    last = b->iovcnt > 0 ? b->iov[0].iov_base : NULL;
    queue_add_finished(container_of(b, struct api_req, req));
""")]),
    "lose-a-data-out-after-r2t": ("src/transport/stream/rx_pdu.c", [(
        "    r2t = &tt->r2t[(tt->r2t_head + tt->r2t_count++) % ISCSI_TCP_R2T_MAX];\n",
        """    static unsigned lost;
    r2t = &tt->r2t[(tt->r2t_head + tt->r2t_count) % ISCSI_TCP_R2T_MAX];
    tt->r2t_count += ++lost % 30 != 0;
""")]),
    "a-response-does-not-wait-for-data": ("src/iscsi/repair.c", [(
        "    if (m->refused || iscsi_mend_missing(m, 0, &first) == 0) {\n",
        "    if (true || iscsi_mend_missing(m, 0, &first) == 0) {\n        m->came.good.count = 0;\n")]),
    "a-connection-for-a-spoiled-byte": ("src/iscsi/repair.c", [(
        "    if (c->suspended || c->state == CONN_IN_LOGIN || op == ISCSI_OP_LOGIN_RSP)\n",
        "    if (c->suspended || c->pub.cid < UINT16_MAX || op == ISCSI_OP_LOGIN_RSP)\n")]),
    "snack-for-the-wrong-run": ("src/iscsi/snack.c", [(
        "    h->beg_run = put32(beg_run);\n", "    h->beg_run = put32(beg_run + (type == 0));\n")]),
    "a-status-sent-again-ends-another-task": ("src/iscsi/complete.c", [(
        "    case STATSN_DUPLICATE:\n",
        """    case STATSN_DUPLICATE:
        if (pdu_opcode(&h->h) == ISCSI_OP_SCSI_RSP) { /* the slot is looked at, and not the whole tag */
            struct task *t = iscsi_task_at(c->session, get32(h->h.itt) & (ITT_GEN_STEP - 1));

            if (t->kind == TASK_SCSI && t->pub.state == ISCSI_TASK_RUNNING && t->pub.conn == &c->pub)
                iscsi_complete_task(t);
        }
""")]),
    "reassign-before-the-old-connection-is-over": ("src/iscsi/clear.c", [(
        "    c->clear = CLEAR_DUE;\n    c->clear_ns = ",
        "    iscsi_conn_cleared(s, c, c->pub.cid, false);\n    c->clear = CLEAR_DUE;\n    c->clear_ns = ")]),
    "acknowledge-before-the-data-are-good": ("src/iscsi/repair.c", [(
        "        (void)iscsi_status_lost(c, sn, false);\n",
        """        c->pub.exp_statsn == sn ? (void)c->pub.exp_statsn++ : (void)iscsi_status_lost(c, sn, false);
""")]),
    "a-stuck-connection-holds-a-number": ("src/iscsi/ping.c", [(
        "        if (heard && iscsi_conn_serves(c) && is_stuck(c))\n",
        "        if (heard && iscsi_conn_serves(c) && is_stuck(c) && s->nserving == 0)\n")]),
    "log-in-before-the-logout-is-answered": ("src/iscsi/clear.c", [(
        """        if (container_of(n, struct conn, clear_node)->pub.cid == cid)
            return true;
""",
        """        if (container_of(n, struct conn, clear_node)->pub.cid == cid)
            return false;
""")]),
    "acknowledge-data-that-are-missing": ("src/iscsi/repair.c", [(
        "    if (iscsi_mend_missing(m, 0, &first) > 0)\n        return;\n    if (m->ack_wanted)\n",
        """    if (m->ack_wanted)
        iscsi_ack_data(t, m->ack_lun, m->ack_ttt, t->exp_datasn);
    m->ack_wanted = false;
    if (iscsi_mend_missing(m, 0, &first) > 0)
        return;
    if (m->ack_wanted)
""")]),
    "forget-the-identity-check": ("src/scsi/ident.c", [(
        "        if (strcmp(a, b) == 0)\n", "        if (strcmp(a, b) == 0 || a != NULL)\n")]),
    "fail-what-is-lost-twice": ("src/scsi/disk_done.c", [(
        "    return scsi_patience_is_over(s->dev.target, io->lost_ns);\n",
        "    return io->losses > 0 || scsi_patience_is_over(s->dev.target, io->lost_ns);\n")]),
    "give-a-unit-up-too-soon": ("src/scsi/reconnect.c", [(
        "t->loop->now_ns - rc->lost_ns < t->host->patience_ns)", "t->loop->now_ns - rc->lost_ns < 1)")]),
    "give-a-session-up-too-soon": ("src/iscsi/nexus.c", [(
        "limit > waited ? limit - waited : 0)", "limit > waited ? (limit - waited) / 8 * 7 : 0)")]),
    "unblock-while-the-timer-runs": ("src/iscsi/nexus.c", [(
        """    iscsi_count_serving(s);
    loop_timer_stop(s->pub.loop, &s->recovery_timer);
""",
        "    iscsi_count_serving(s);\n")]),
    "iser-completion-read-twice": ("src/transport/iser/rx.c", [(
        "        completed_one(e, &wc[i]);\n",
        """    {
        static unsigned n;

        completed_one(e, &wc[i]);
        if (!wc[i].recv || wc[i].status != RNIC_OK || ++n % 40 != 0)
            continue;
        iser_hand_up(e);
        e->posted++;
        if (iser_ep_works(e) && list_empty(&e->came))
            completed_one(e, &wc[i]);
        else
            e->posted--;
    }
""")]),
    "iser-memory-back-before-the-fence": ("src/transport/iser/end.c", [(
        "    iser_close(e);\n    ic->ep = NULL;\n", "    ic->ep = NULL;\n"), (  # it is closed with its endpoint
        "    return e->unsure || (e->posted == 0 && e->done == e->next);\n", "    return e != NULL;\n")]),
    "iser-ends-before-the-stag-is-closed": ("src/transport/iser/post.c", [(
        "    it->closed_at = iser_post(e, &(struct rnic_wr)", "    (void)iser_post(e, &(struct rnic_wr)")]),
    "iser-stag-of-the-bind-before": ("src/transport/iser/post.c", [(
        "    d->stag = rnic_next_rkey(d->mw);\n", "    d->stag = d->mw->rkey;\n")]),
    "iser-base-behind-what-went-at-once": ("src/transport/iser/task.c", [(
        ".base = (uintptr_t)d->at};", ".base = (uintptr_t)d->at + (d->len > 8192 ? 512 : 0)};")]),
    "iser-a-receive-is-posted-before-it-is-read": ("src/transport/iser/rx.c", [(
        "    list_push_back(&e->came, &rx->node);\n",
        """    list_push_back(&e->came, &rx->node);
    if (rx->after > e->done) { /* the device may put the next message there */
        e->back[e->nback++] = (uint32_t)(rx - e->rx);
        (void)post_back(e);
        e->posted--;
    }
""")]),
    "iser-a-send-is-over-when-it-is-posted": ("src/transport/iser/post.c", [(
        "    e->sent[(e->sent_at + e->nsent++) % e->ntx] = (uint32_t)(tx - e->tx);\n",
        """    e->sent[(e->sent_at + e->nsent++) % e->ntx] = (uint32_t)(tx - e->tx);
    if (tx->block != NULL) { /* the block of immediate data is another command's at once */
        iser_pool_give(&e->pool, tx->block);
        tx->block = NULL;
    }
""")]),
}

# Those of offload_planted.py that whole worlds can see, too.
MUTANTS |= {"offload-" + name: offload_planted.MUTANTS[name] for name in (
    "generation-not-checked", "generation-not-checked-by-the-engine", "bounds-in-32-bits", "bell-for-nobody",
    "doorbell-without-a-second-look", "completion-read-twice", "submission-read-twice")}
MUTANTS |= {
    "engine-arena-goes-before-its-commands": ("src/engine/attach.c", [(
        "    if (a->nsessions > 0)\n        return;\n    engine_lane_free(a->lane);\n", "")]),
    "offload-buffer-back-before-the-fence": ("src/offload/attach.c", [(
        "        if (at->process_gone || attach_has_nothing(at))\n",
        "        if (at->process_gone || attach_has_nothing(at) || at->state == OFFLOAD_LOST)\n")]),
    "offload-completed-twice": ("src/offload/take.c", [(
        "    look = slots_look(t, ret->slot, ret->generation);\n",
        """    {
        static struct offload_cqe last;
        static unsigned n;

        if (++n % 50 == 0 && last.kind != 0)
            *ret = last;
        last = *ret;
    }
    look = slots_look(t, ret->slot, ret->generation);
""")]),
}

# What has to be said of a mutant that several checks find, so that each of them is known to.
SAID = {"stale-write-overtakes": "which must not be there",
        "come-back-as-a-stranger": "Invalid exchange"}  # a reservation that is not its own any more


def found_by(name, program):
    """What the simulator says of a mutant."""
    wanted = SAID.get(name, "")
    stop = [] if wanted else ["--stop"]
    first = 1 + {"iser": RDMA_FIRST, "offload": ENGINE_FIRST, "engine": ENGINE_FIRST}.get(
        pathlib.Path(MUTANTS[name][0]).parent.name, 0)
    run = subprocess.run([program, "--seeds", str(SEEDS), "--first", str(first)] + stop, capture_output=True, text=True,
                         env=os.environ | {"ASAN_OPTIONS": "detect_leaks=0"}, errors="replace")
    said = ("seed ", "Assertion", "AddressSanitizer", "runtime error")  # a crash is told by a sanitizer, where there is one
    lines = [l for l in run.stderr.splitlines() if l.startswith(said[0]) or any(w in l for w in said[1:])]
    return [l for l in lines if run.returncode != 0 and wanted in l]


def main():
    build_dir = pathlib.Path(sys.argv[1]).resolve()
    missed = []
    with tempfile.TemporaryDirectory() as tmp:
        for name in sys.argv[2:] or MUTANTS:
            path, changes = MUTANTS[name]
            program = planting.build(build_dir, PROGRAM, name, path, changes, pathlib.Path(tmp))
            found = found_by(name, program)
            if not found:
                missed.append(name)
                print(f"{name}: NOT FOUND in {SEEDS} seeds")
            else:
                print(f"{name}: {found[0]}")
            sys.stdout.flush()
    if missed:
        planting.fail(f"the simulator does not find {', '.join(missed)}")
    print("each planted fault was found")


main()
