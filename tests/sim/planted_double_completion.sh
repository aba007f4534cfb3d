#!/bin/sh
# SPDX-License-Identifier: MIT
# A command that completes twice must not go unnoticed: the simulator has to die of it.
"$1" --plant >/dev/null 2>&1
status=$?
if [ "$status" -eq 134 ]; then # SIGABRT: an assertion, not a crash
    echo "the planted double completion was caught"
    exit 0
fi
echo "the planted double completion was not caught (exit status $status)"
exit 1
