#!/bin/bash
# SPDX-License-Identifier: MIT
# completion.sh FOLDER - what the completions for bash offer; and that those of both shells have every
# option that --help has.  FOLDER is where the build has put them.
dir=$(realpath "$1") top=$(realpath "$(dirname "$0")/../..")
source "$(dirname "$0")/lib.sh"
: > err
: > image.img
mkdir images

compopt() { opened="$*"; } # outside of a completion bash has none
source "$dir/lunette"
source "$dir/lunette-target"
source "$dir/iscsiadm"
source "$dir/iscsid"
source "$dir/iscsi-iod"

# offers LINE WANT: the replies, with what compopt was told before them.  `typed` takes the line apart as
# bash does, at blanks and at what COMP_WORDBREAKS has of = and :.
typed() {
    local i c word='' breaking
    COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDS=()
    for ((i = 0; i < ${#1}; i++)); do
        c=${1:i:1}
        breaking=no
        [[ $c == [=:] && $COMP_WORDBREAKS == *$c* ]] && breaking=yes
        if [[ $c == ' ' || $breaking == yes ]]; then
            [[ -z $word ]] || COMP_WORDS+=("$word")
            word=''
            [[ $c == ' ' ]] || COMP_WORDS+=("$c")
        else
            word+=$c
        fi
    done
    [[ -z $word && $c != ' ' ]] || COMP_WORDS+=("$word")
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    opened=''
    COMPREPLY=()
    local function=_${COMP_WORDS[0]//-/_}
    "$function" "${COMP_WORDS[0]}" "${COMP_WORDS[COMP_CWORD]}"
}
offers() {
    typed "$1"
    is "$2" "$opened${opened:+: }${COMPREPLY[*]}" "'$1' offers"
}

for COMP_WORDBREAKS in $' \t\n"\'><=;|&(:' $' \t\n"\'><;|&('; do
    offers 'lunette ' 'demo discover ls info read write copy bench ping scsi attach top transports help'
    offers 'lunette co' 'copy'
    offers 'lunette -' '--help -h --version -V'
    offers 'lunette help ' 'demo discover ls info read write copy bench ping scsi attach top transports'
    offers 'lunette help be' 'bench'
    offers 'lunette help --' ''
    offers 'lunette nonsense --' ''
    offers 'lunette copy --ver' '--verify --verbose'
    offers 'lunette copy --le' '-o nospace: --length='
    offers 'lunette ls --off' '' # not of this command
    offers 'lunette info --loop ' 'auto epoll uring'
    offers 'lunette info --loop ur' 'uring'
    offers 'lunette bench --rw rand' 'randread randwrite randrw'
    offers 'lunette read --depth ' ''
    offers 'lunette ping -c ' ''
    offers 'lunette ping -c 3 ' '-o nospace: iscsi://'
    offers 'lunette ls ' '-o nospace: iscsi://'
    offers 'lunette ls --json is' '-o nospace: iscsi://'
    offers 'lunette ls http' ''
    offers 'lunette ls -- --l' ''
    offers 'lunette ls iscsi://host/ ' '' # no second one
    offers 'lunette scsi iscsi://host/x ' ''
    offers 'lunette copy im' '-o filenames: images image.img'
    offers 'lunette copy iscsi://h/t/0?header_digest=crc32c im' '-o filenames: images image.img'
    offers 'lunette copy --offset=1k isc' '-o nospace: iscsi://'
    offers 'lunette ls --chap-file im' '-o filenames: images image.img'
    offers 'lunette ls --trace ./im' '-o filenames: ./images ./image.img'
    offers 'lunette ls --trace=./im' '-o filenames: ./images ./image.img'
    offers 'lunette read iscsi://h/t/0 > im' '-o filenames: images image.img'
    offers 'lunette discover --chap-file=x --loop ep' 'epoll'
    offers 'lunette-target --lu' '-o nospace: --lun='
    offers 'lunette-target --lun ' 'ram: file: null:'
    offers 'lunette-target --lun r' '-o nospace: ram:'
    offers 'lunette-target --lun file:im' '-o filenames: images image.img'
    offers 'lunette-target --target x --lun ram:1M --set a=b --loop ' 'auto epoll uring'
    offers 'lunette-target x' ''
    offers 'iscsiadm -m se' 'session'
    offers 'iscsiadm -m node --loginall ' 'all manual automatic onboot'
    offers 'iscsiadm -m node -o upd' 'update'
    offers 'iscsiadm -m node -p ' ''
    offers 'iscsid --lo' '-o nospace: --loop='
    offers 'iscsid --loop ' 'auto epoll uring'
    offers 'iscsid -c im' '-o filenames: images image.img'
    offers 'iscsid --sysfs=im' '-o filenames: images image.img'
    offers 'iscsid x' ''
    offers 'iscsi-iod --loop u' 'uring'
    offers 'iscsi-iod --socket im' '-o filenames: images image.img'
    offers 'iscsiadm --root im' '-o filenames: images image.img'
done
# What bash replaces is what stands behind the last = or : that takes words apart.
COMP_WORDBREAKS=$' \t\n"\'><=;|&(:'
offers 'lunette info --loop=' 'auto epoll uring'
offers 'lunette info --loop=ep' 'epoll'
offers 'lunette copy --progress=' 'text json'
offers 'lunette ls iscsi:' '-o nospace: //'
offers 'lunette ls iscsi:/' '-o nospace: //'
offers 'lunette-target --lun=nu' '-o nospace: null:'
COMP_WORDBREAKS=$' \t\n'
offers 'lunette info --loop=ep' '--loop=epoll'
offers 'lunette ls iscsi:' '-o nospace: iscsi://'
# the cursor in the middle of a line
COMP_WORDBREAKS=$' \t\n"\'><=;|&(:'
COMP_LINE='lunette copy --ver iscsi://h/t/0' COMP_POINT=18 COMP_CWORD=2
COMP_WORDS=(lunette copy --ver iscsi : //h/t/0)
_lunette
is '--verify --verbose' "${COMPREPLY[*]}" "in the middle of a line"

# Every option of --help, letters included, is offered by both, and no other is.
options() { grep -oE '^ +(-[a-zA-Z0-9], )?--[a-z][a-z_-]*(\[?=| |$)|; --[a-z-]+' | grep -oE -- '-[a-zA-Z0-9]\b|--[a-z_-]+' | sort -u; }
zsh_has() { # OPTION, after a pattern for the line of the command
    grep -qE -- "['{,)*]$1[-+=]*[[,}]" zsh.part
}
every() { # WHAT, LINE: --help is in `out`
    local option missing=''
    typed "$2"
    printf '%s\n' "${COMPREPLY[@]}" > replies
    for option in $(options < out); do
        grep -qxE -- "$option=?" replies || missing+=" bash:$option"
        zsh_has "$option" || missing+=" zsh:$option"
    done
    is '' "$missing" "options of $1 without completion"
    is '' "$(sed 's/=$//' replies | grep -vxFf <(options < out))" "what is offered for $1 and is no option"
    is yes "$([[ $(options < out | wc -l) -ge $3 ]] && echo yes)" "options of $1 are found in --help"
}
L --help > out
sed -n '/_arguments -C/,/command->command/p' "$dir/_lunette" > zsh.part
every lunette 'lunette -' 4
for command in $(sed -n 's/^  \([a-z][a-z]*\)  .*/\1/p' out); do
    commands+=("$command")
done
is 12 "${#commands[@]}" "commands"
for command in "${commands[@]}"; do
    L "$command" --help > out
    sed -n "/^        $command)/,/;;/p" "$dir/_lunette" > zsh.part
    every "$command" "lunette $command -" 6
    typed "lunette $command"; is "$command" "${COMPREPLY[*]}" "the command is offered"
done
"$LUNETTE_BIN/lunette-target" --help > out
cp "$dir/_lunette-target" zsh.part
every lunette-target 'lunette-target -' 19
"$LUNETTE_BIN/iscsiadm" --help > out
cp "$dir/_iscsiadm" zsh.part
every iscsiadm 'iscsiadm -' 60
for daemon in iscsid iscsi-iod; do
    "$LUNETTE_BIN/$daemon" --help > out
    cp "$dir/_$daemon" zsh.part
    every $daemon "$daemon -" 14
done

# What nobody has thought of how to complete stops the build.
L --print-options | jq '.commands[0].options[0].argument = "NOVELTY"' > novel.json
for shell in bash zsh; do
    python3 "$top/tools/make-completion" $shell "$top/completion/completion.$shell.in" novel.json > out 2> err
    is 1 $? "make-completion takes a kind of argument that it does not know"
    says 'what completes NOVELTY'
done
finish
