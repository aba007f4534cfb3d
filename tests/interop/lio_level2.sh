#!/bin/bash
# SPDX-License-Identifier: MIT
# lio_level2.sh - the kernel's target, LIO, at error recovery level 2, in a machine of its own: eight
# connections are cut one after the other under I/O.  That takes TASK REASSIGN, after which kernels up to
# 6.12 die sooner or later: that is told, and no failure.  connections.sh has lunette-target survive it.
# shellcheck disable=SC2154
. "$(dirname "$0")/../recovery/lib.sh"
. "$here/vm_lib.sh"
requires lunette jq
vm_start level2
lio_relay
lio add two --lun ram:32 --erl 2 --conns 8 --digests CRC32C,None --param DefaultTime2Wait=0

say "eight connections at level 2, cut under I/O"
! lio_cut two "error_recovery_level=2" "$(long 100 10)" || same_session
