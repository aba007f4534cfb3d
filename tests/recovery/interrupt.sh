#!/bin/bash
# SPDX-License-Identifier: MIT
# interrupt.sh - Ctrl-C at any moment of an outage ends a command at once.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"
requires lunette lunette-target
isolate "$@"

limit=5 # seconds: a busy machine may add some
RANDOM=1
prepare_target --lun null:1T --set DefaultTime2Wait=2
target_up
relay_to "$portal"
url="iscsi://$relay/$iqn/0?ping_interval=300&ping_timeout=300"
truncate -s 8G "$tmp/image"

run() { # COMMAND, as it is
    case $1 in
    copy) set -- lunette copy "$tmp/image" "$url" --no-sparse --verify ;;
    copy-to-file) set -- lunette copy "$url" "$tmp/back" --no-sparse --no-space-check --length 64G ;;
    read) set -- lunette read "$url" ;;
    write) set -- lunette write "$url" ;;
    bench) set -- lunette bench "$url" --time 60 ;;
    ping) set -- lunette ping "$url" -i 0.05 ;;
    scsi) set -- lunette scsi "$url" 12 00 00 00 60 00 ;;
    info) set -- lunette info "$url" ;;
    esac
    # a shell without job control has its children ignore SIGINT
    env --default-signal=INT "$LUNETTE_BIN/$1" "${@:2}" < /dev/zero > /dev/null 2> "$tmp/command.log" &
    job=$!
}

outage() { # KIND
    case $1 in
    refused) tell refuse; tell cut ;;
    hole) tell hole on ;;
    stall) tell stall ;;
    killed) tell target 127.0.0.1:1; tell cut ;;
    esac
}

later() { # MILLISECONDS at most
    local ms=$((RANDOM % ($1 + 1)))
    sleep "$((ms / 1000)).$(printf %03d $((ms % 1000)))"
}

# A command that finds nobody when it begins ends by itself, and what it does once it has a session
# is to be seen.
carried() {
    tell stats | jq '.to_target + .to_initiator'
}

has_carried() { # BYTES
    (($(carried) >= $1))
}

# What it does is under way: it has moved more than a login and a scan do.
begun() { # COMMAND BYTES before it began
    local bytes=65536
    [[ $1 != ping ]] || bytes=4096
    wait_until 60 has_carried $(($2 + bytes)) || fail "$1 does not begin"
}

interrupted() { # COMMAND KIND BEFORE
    local before
    before=$(carried)
    [[ $3 == after ]] || outage "$2"
    run "$1"
    [[ $3 == before ]] || begun "$1" "$before"
    later 300
    [[ $3 == before ]] || outage "$2"
    later 2500
    if kill -INT $job 2> /dev/null; then
        gone_within "$limit" $job || fail "$1 does not end (outage: $2, $3 it began)"
    elif [[ $3 == after && $1 != info && $1 != scsi ]]; then
        fail "$1 had ended by itself (outage: $2)" "$tmp/command.log"
    fi
    wait $job || true
    checks=$((checks + 1))
    tell calm
    tell go
    tell target "$portal"
    rm -f "$tmp/back"*
}

for ((i = 0; i < $(long 10 1); i++)); do
    for command in copy copy-to-file read write bench ping; do
        for kind in refused hole $(long "stall killed" ''); do
            say "$command, $kind"
            interrupted $command "$kind" after
        done
    done
    for command in copy info scsi; do
        for kind in refused hole stall; do
            interrupted $command $kind before
        done
    done
done
