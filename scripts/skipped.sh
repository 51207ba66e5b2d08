#!/usr/bin/env bash
# Prints the options, a word a line, that leave out the tests which cannot run here, and on standard error why. A test
# names its needs, as #[ignore = "needs --all, tmux"]; `--all` is there where QUOIT_TEST_ALL is 1, and a variable where
# it is set.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

main() {
    local needs name need lacking there=' ' missing=' '
    while IFS=$'\t' read -r needs name; do
        lacking=
        for need in ${needs//,/ }; do
            if [[ $there != *" $need "* && $missing != *" $need "* ]]; then
                if has "$need"; then there+="$need "; else missing+="$need "; fi
            fi
            if [[ $missing == *" $need "* ]]; then
                lacking=$need
                break
            fi
        done
        [[ -n $lacking ]] || continue
        # The name of a binary of several files is no part of the names of its tests.
        if [[ -e tests/${name%%::*}/main.rs ]]; then
            name=${name#*::}
        fi
        printf 'SKIPPED: %s needs %s\n' "$name" "$lacking" >&2
        printf '%s\n' --skip "$name"
    done < <(find src tests -name '*.rs' -exec awk '
        FNR == 1 {
            needs = ""
            module = FILENAME
            sub(/^(src|tests)\//, "", module)
            sub(/(\/mod|\/main)?\.rs$/, "", module)
            gsub(/\//, "::", module)
        }
        /^ *#\[ignore = "needs / {
            needs = $0
            sub(/^ *#\[ignore = "needs /, "", needs)
            sub(/"\]$/, "", needs)
        }
        needs != "" && match($0, /fn [a-z_0-9]+/) {
            print needs "\t" module "::" substr($0, RSTART + 3, RLENGTH - 3)
            needs = ""
        }' {} + | sort)
}

# Whether what a test needs is here.
has() {
    local at
    case $1 in
        --all) [[ ${QUOIT_TEST_ALL:-} == 1 ]] ;;
        # Tests that run by command only: a variable asks for them.
        QUOIT_*) [[ -n ${!1:-} ]] ;;
        IPv6) [[ $(uname) != Linux ]] || grep -qs '^0\{31\}1 ' /proc/net/if_inet6 ;;
        aioquic)
            for at in "${QUOIT_ATTACKER_PYTHON:-}" target/attacker/bin/python3 python3; do
                if [[ -n $at ]] && "$at" -c 'import aioquic, cryptography' 2>/dev/null; then return 0; fi
            done
            return 1
            ;;
        faketime) compgen -G '/usr/lib/*/faketime/libfaketime.so.1' >/dev/null ;;
        mount) [[ $(id -u) == 0 ]] && can_mount ;;
        namespaces) [[ $(id -u) == 0 ]] && can_make_namespaces ;;
        perl | tmux) command -v "$1" >/dev/null ;;
        *)
            printf 'error: a test needs "%s", and nobody knows what that is\n' "$1" >&2
            return 1
            ;;
    esac
}

# A file system in memory, and an ext4 in a file.
can_mount() {
    local dir can=no
    dir=$(mktemp -d)
    mkdir "$dir/at"
    truncate -s 16M "$dir/image"
    if mount -t tmpfs -o size=1m tmpfs "$dir/at" && umount "$dir/at" &&
        mkfs.ext4 -q "$dir/image" && mount -o loop "$dir/image" "$dir/at" && umount "$dir/at"; then
        can=yes
    fi >/dev/null 2>&1
    rm -rf -- "$dir"
    [[ $can == yes ]]
}

can_make_namespaces() {
    local name=quoit-probe-$$
    iptables -V >/dev/null 2>&1 && ip netns add "$name" 2>/dev/null && ip netns delete "$name"
}

main "$@"
