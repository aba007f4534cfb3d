#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Each fault that is planted in the fake adapter, or in the code of iser, is found by the groups that are
there to find it.

usage: planted.py BUILD-DIR [FAULT...]
"""
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import planting

PROGRAM = "tests/conformance/conformance"

# In the fake adapter, which has them in itself: the groups.
FAULTS = {
    "up_though_refused": ["connect"],
    "empty_text": ["login"],
    "short_copy": ["sizes"],
    "window_ignored": ["window"],
    "no_abort": ["abort"],
    "loses_an_answer": ["reset"],
    "lies_at_loss": ["cut", "kill"],
    "goes_on_when_stopped": ["order"],
    "sends_when_stopped": ["unbind"],
    "uncounted": ["stats"],
}

# In a source file of iser: the row, the groups, the file, and pairs of what stands there and what is planted.
ISER = {
    "completion_read_twice": ("iser/sim", ["sizes"], "src/transport/iser/rx.c", [(
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
    "back_before_the_fence": ("iser_register/sim", ["order", "unbind"], "src/transport/iser/end.c", [(
        "    iser_close(e);\n    ic->ep = NULL;\n", "    ic->ep = NULL;\n"), (
        "    return e->unsure || (e->posted == 0 && e->done == e->next);\n", "    return e != NULL;\n")]),
    "ends_before_the_stag_is_closed": ("iser/sim", ["sizes"], "src/transport/iser/post.c", [(
        "    it->closed_at = iser_post(e, &(struct rnic_wr)", "    (void)iser_post(e, &(struct rnic_wr)")]),
    "base_behind_what_went_at_once": ("iser_pool/sim", ["sizes"], "src/transport/iser/task.c", [(
        ".base = (uintptr_t)d->at};", ".base = (uintptr_t)d->at + (d->len > 8192 ? 512 : 0)};")]),
    "bounds_in_32_bits": ("iser/sim", ["sizes"], "src/transport/iser/mem.c", [(
        "    return (uintptr_t)addr >= (uintptr_t)m->addr &&\n", "    return (uint32_t)(uintptr_t)addr >= (uint32_t)(uintptr_t)m->addr &&\n"), (
        "                   len <= m->len - ((uintptr_t)addr - (uintptr_t)m->addr)\n",
        "                   len <= m->len - (uint32_t)((uintptr_t)addr - (uintptr_t)m->addr)\n")]),
    "part_of_a_write_at_once": ("iser/sim", ["sizes"], "src/transport/iser/iser.c", [(
        "    c->all_or_none = true;\n", "    c->all_or_none = false;\n")]),
    "counts_what_was_asked_for": ("iser/sim", ["sizes"], "src/transport/iser/rx.c", [(
        "    return get32(residual) < len ? len - get32(residual) : 0;\n", "    return len;\n")]),
}


def exit_code(program, row, group, fault=""):
    env = dict(os.environ, CONFORMANCE_PLANT=fault)
    return subprocess.run([program, row, group], env=env, check=False, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, timeout=100).returncode


def unseen(build_dir, name, tmp):
    """The groups that do not find it."""
    if name in FAULTS:
        program = build_dir / PROGRAM
        return [g for g in FAULTS[name] if exit_code(program, "fake/sim", g, name) == 0]
    row, groups, path, changes = ISER[name]
    program = planting.build(build_dir, PROGRAM, name, path, changes, tmp)
    return [g for g in groups if exit_code(program, row, g) == 0]


def main():
    build_dir = pathlib.Path(sys.argv[1]).resolve()
    missed = 0
    with tempfile.TemporaryDirectory() as tmp:
        for name in sys.argv[2:] or [*FAULTS, *ISER]:
            for group in unseen(build_dir, name, pathlib.Path(tmp)):
                print(f"planted.py: not found: {name} by {group}")
                missed += 1
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
