#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Plants faults in rings, slots and checks of the offload family, one at a time, and demands that the
worlds of offload_ring_seeds find each of them within 1,000 seeds.

usage: offload_planted.py BUILD-DIR [NAME...]
"""
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import planting

SEEDS = 1000
PROGRAM = "tests/sim/offload_ring_seeds"

# An entry that is looked at in the ring once more behind its check.
AGAIN = """    memcpy(ret, {c}->entries + (size_t)(({c}->consumed - 1) & ({c}->count - 1)) * {c}->entry_size,
           sizeof(*ret));
"""

# name: file, then pairs of what stands there and what is planted
MUTANTS = {
    "generation-not-checked": ("src/offload/slots.c", [(
        "    if (one->live && generation == one->generation)\n", "    if (one->live)\n")]),
    "generation-not-checked-by-the-engine": ("src/offload/slots.c", [(
        "    if (one->live || (one->generation != 0 && ahead(generation, one->generation) <= 0))\n",
        "    if (generation == 0)\n")]),
    "bounds-in-32-bits": ("src/offload/check.c", [(
        "    return off <= lim->arena && len <= lim->arena - off ?",
        "    return (uint32_t)off + len <= (uint32_t)lim->arena ?")]),
    "doorbell-without-a-second-look": ("src/offload/ring.c", [(
        "    if (__atomic_load_n(&c->sh->produced, __ATOMIC_SEQ_CST) == c->consumed)\n        return true;\n    ring_awake(c);\n    return false;\n",
        "    return true;\n")]),
    "bell-for-nobody": ("src/offload/ring.c", [(
        "    return __atomic_load_n(&p->sh->asleep, __ATOMIC_SEQ_CST) != 0;\n",
        "    return p->published % 16 != 0 && __atomic_load_n(&p->sh->asleep, __ATOMIC_SEQ_CST) != 0;\n")]),
    "completion-read-twice": ("src/offload/take.c", [
        ('#include "offload/take.h"\n', '#include "offload/take.h"\n#include <string.h>\n'),
        ("    *ret_why = offload_check_cqe(ret, lim);\n",
         "    *ret_why = offload_check_cqe(ret, lim);\n" + AGAIN.format(c="cq"))]),
    "submission-read-twice": ("src/offload/take.c", [
        ('#include "offload/take.h"\n', '#include "offload/take.h"\n#include <string.h>\n'),
        ("    *ret_why = offload_check_sqe(ret, lim);\n",
         "    *ret_why = offload_check_sqe(ret, lim);\n" + AGAIN.format(c="sq"))]),
    "buffer-back-before-the-fence": ("src/offload/slots.c", [(
        "    if (t->held)\n        return false;\n", "")]),
    "completions-of-the-dead": ("src/offload/take.c", [(
        "    if (t->held)\n        return OFFLOAD_NONE;\n", "")]),
}


def main():
    build_dir = pathlib.Path(sys.argv[1]).resolve()
    missed = 0
    with tempfile.TemporaryDirectory() as tmp:
        for name in sys.argv[2:] or MUTANTS:
            program = planting.build(build_dir, PROGRAM, name, *MUTANTS[name], pathlib.Path(tmp))
            done = subprocess.run([program, "--seeds", str(SEEDS)], check=False, capture_output=True, text=True,
                                  timeout=120)
            found = done.returncode != 0 and done.stderr.startswith("seed ")
            print(f"{name}: {done.stderr.splitlines()[0] if found else 'not found'}")
            missed += not found
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
