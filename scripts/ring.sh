#!/usr/bin/env bash
# Runs a ring of peers on this machine; see usage below.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: scripts/ring.sh [--interval S] [--base-port P] [--fresh] [--windows] [PEER…]

Runs a ring on this machine: seven peers spread evenly over 0..=255, or the PEERs named. The last one
has its prompt here (or reads commands from a pipe); the others write logs. All stop when this stops.
Run again, the same ring comes back with its files.

  --interval S     seconds between pings [default: 1]
  --base-port P    peer n listens on UDP port P + n [default: 12000]
  --fresh          forget the ring of before, its files and its certificates
  --windows        one tmux pane per peer, each with its prompt

QUOIT_BIN         the quoit to run [default: builds target/release/quoit]
QUOIT_RING_ROOT   where data/ and certs/ are [default: the checkout]
TEXT
}

main() {
    ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 404)) || fail 'this script needs bash 4.4 or later'
    read_arguments "$@"
    prepare
    trap stop_all EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'exit 129' HUP
    if [[ $windows == yes ]]; then
        run_in_windows
    else
        run_here
    fi
}

read_arguments() {
    interval=1 base_port=12000 fresh=no windows=no peers=()
    while (($# > 0)); do
        case $1 in
            --interval | --base-port)
                (($# > 1)) || misuse "$1 needs a value"
                if [[ $1 == --interval ]]; then interval=$2; else base_port=$2; fi
                shift
                ;;
            --interval=*) interval=${1#*=} ;;
            --base-port=*) base_port=${1#*=} ;;
            --fresh) fresh=yes ;;
            --windows) windows=yes ;;
            -h | --help)
                usage
                exit 0
                ;;
            -*) misuse "no option $1" ;;
            *) peers+=("$1") ;;
        esac
        shift
    done
    check_arguments
}

check_arguments() {
    [[ $interval =~ ^[0-9]*\.?[0-9]+$ ]] || misuse "--interval $interval: seconds, such as 0.5"
    awk -v s="$interval" 'BEGIN { exit !(s >= 0.05 && s <= 3600) }' ||
        misuse "--interval $interval: from 0.05 to 3600 seconds"
    [[ $base_port =~ ^[0-9]{1,5}$ ]] || misuse "--base-port $base_port: a number"
    base_port=$((10#$base_port))
    ((base_port >= 1)) || misuse "--base-port $base_port: at least 1"
    if ((${#peers[@]} == 0)); then
        local i
        for i in 1 2 3 4 5 6 7; do
            peers+=($(((2 * i * 255 + 7) / 14)))
        done
    fi
    local i peer seen=' '
    for i in "${!peers[@]}"; do
        peer=${peers[i]}
        [[ $peer =~ ^[0-9]{1,3}$ ]] || misuse "PEER $peer: a number from 0 to 255"
        peer=$((10#$peer))
        ((peer <= 255)) || misuse "PEER $peer: a number from 0 to 255"
        ((base_port + peer <= 65535)) || misuse "PEER $peer: port $((base_port + peer)) is beyond 65535"
        [[ $seen != *" $peer "* ]] || misuse "PEER $peer is there twice"
        seen+="$peer "
        peers[i]=$peer
    done
    # The ring's order, so that the two peers after each are its successors.
    mapfile -t peers < <(printf '%s\n' "${peers[@]}" | sort -n)
    last=${peers[-1]}
}

# The binary, the folders, and the certainty that nobody else runs this ring.
prepare() {
    checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
    root=${QUOIT_RING_ROOT:-$checkout}
    mkdir -p "$root/data" "$root/certs"
    root=$(cd "$root" && pwd)
    pids=() started=() tmux_server='' notices=''
    # Every peer inherits the lock, so it also tells of peers that a killed script left behind.
    lock=$root/data/.ring.lock
    if command -v flock >/dev/null; then
        exec 9>>"$lock"
        flock -n 9 || fail "a ring with its data in $root/data runs already; end it first:
$(sed 's/^/  /' "$lock")"
    fi
    : >"$lock"
    if [[ $fresh == yes ]]; then
        forget
    fi
    if [[ -n ${QUOIT_BIN:-} ]]; then
        bin=$(command -v -- "$QUOIT_BIN") || fail "QUOIT_BIN=$QUOIT_BIN cannot be run"
        [[ $bin == /* ]] || bin=$PWD/$bin
    else
        command -v cargo >/dev/null || fail 'cargo is not there to build quoit; see https://rustup.rs'
        bin=$(target_directory)/release/quoit
        # A first build takes minutes and shows its progress; one that finds nothing to do is silent.
        local quiet=()
        [[ ! -x $bin ]] || quiet=(--quiet)
        # Standard input is the prompt's, not the compiler's.
        (cd "$checkout" && cargo build --release --locked "${quiet[@]}" </dev/null) || fail 'quoit does not build'
        [[ -x $bin ]] || fail "the build left no $bin"
    fi
    notices=$(mktemp -d "${TMPDIR:-/tmp}/quoit-ring.XXXXXX")
}

target_directory() {
    local metadata
    metadata=$(cd "$checkout" && cargo metadata --format-version 1 --no-deps --locked </dev/null)
    metadata=${metadata##*\"target_directory\":\"}
    printf '%s\n' "${metadata%%\"*}"
}

forget() {
    local path
    for path in "$root"/data/*; do
        [[ ${path##*/} =~ ^[0-9]{1,3}(\.log(\.before)?)?$ ]] || continue
        # Files of the store are read-only, their folders are not.
        rm -rf -- "$path"
    done
    rm -rf -- "$root/certs/ca" "$root/certs/peers"
}

# The last peer here, the others behind it.
run_here() {
    local peer
    printf 'The ring %s: data in %s, logs beside it\n' "${peers[*]}" "$root/data"
    for peer in "${peers[@]}"; do
        [[ $peer != "$last" ]] || continue
        start_behind "$peer"
        printf 'peer %-3s  pid %-7s  127.0.0.1:%s\n' "$peer" "${pids[-1]}" "$((base_port + peer))"
        if ((${#peers[@]} == 2)); then
            await_log "$peer"
        fi
    done
    start_in_front
    await_all_active
    local code=0
    wait "$front" || code=$?
    exit "$code"
}

start_behind() {
    local peer=$1 log=$root/data/$1.log
    [[ ! -e $log ]] || mv -f -- "$log" "$log.before"
    peer_command "$peer"
    "${command[@]}" </dev/null >"$log" 2>&1 &
    note_started "$peer" $!
    # So that bash has nothing to say when somebody kills it.
    disown $!
}

# In the background of this shell, so that it can be waited for with a limit; its input is ours.
start_in_front() {
    peer_command "$last"
    (
        printf 'peer %-3s  pid %-7s  127.0.0.1:%s  (this one; %s)\n' \
            "$last" "$BASHPID" "$((base_port + last))" 'Help lists its commands'
        printf 'Try first:  Store README.md\n'
        exec "${command[@]}"
    ) <&0 &
    front=$!
    note_started "$last" "$front"
}

note_started() {
    started+=("$1")
    pids+=("$2")
    printf 'peer %s, pid %s\n' "$1" "$2" >>"$lock"
}

# Sets `command` to what starts this peer: its two successors in the list are the contacts.
peer_command() {
    local peer=$1 n=${#peers[@]} at
    for at in "${!peers[@]}"; do
        [[ ${peers[at]} != "$peer" ]] || break
    done
    if ((n >= 3)); then
        command=("$bin" init "$peer" "${peers[(at + 1) % n]}" "${peers[(at + 2) % n]}" "$interval")
    elif ((at == 1)); then
        command=("$bin" join "$peer" "${peers[0]}" "$interval")
    else
        command=("$bin" init "$peer" --interval "$interval")
    fi
    command+=(--base-port "$base_port" --data-dir "$root/data/$peer" --certs-dir "$root/certs")
    command+=(--ready-file "$notices/$peer")
}

# The second of two joins through the first, so the first has to be there: active, or waiting for it.
await_log() {
    local peer=$1 deadline=$((SECONDS + ready_max))
    until [[ -e $notices/$peer ]] || grep -Eq 'Waiting for|Not active yet' "$root/data/$peer.log"; do
        check_running
        ((SECONDS < deadline)) || not_active "$peer"
        sleep 0.05
    done
}

await_all_active() {
    local peer deadline=$((SECONDS + ready_max))
    for peer in "${peers[@]}"; do
        until [[ -e $notices/$peer ]]; do
            # The one in front may be told to quit before the last of the others is active.
            running "$front" || [[ ! -e $notices/$last ]] || return 0
            check_running
            ((SECONDS < deadline)) || not_active "$peer"
            sleep 0.1
        done
    done
}

check_running() {
    local i
    for i in "${!pids[@]}"; do
        running "${pids[i]}" || did_not_come_up "${started[i]}"
    done
}

running() {
    kill -0 "$1" 2>/dev/null
}

did_not_come_up() {
    # An end that was asked for at the prompt, by Quit or Ctrl+C, is no failure.
    local code=0
    if [[ $1 == "$last" ]]; then
        wait "${pids[-1]}" || code=$?
        ((code != 0 && code < 128)) || exit "$code"
    fi
    show_log "$1"
    fail "peer $1 did not come up; nothing is left running"
}

not_active() {
    show_log "$1"
    fail "peer $1 is not active after $ready_max s; nothing is left running"
}

show_log() {
    local log=$root/data/$1.log
    if [[ $1 != "$last" && -s $log ]]; then
        printf '%s ends with:\n' "$log" >&2
        tail -n 5 -- "$log" | sed 's/^/  /' >&2
    fi
}

# One tmux server of our own, so that no session of the user's is touched.
run_in_windows() {
    command -v tmux >/dev/null || fail '--windows needs tmux, which is not installed'
    [[ -t 0 && -t 1 ]] || fail '--windows needs a terminal'
    tmux_server=quoit-ring-$$
    local peer line
    for peer in "${peers[@]}"; do
        peer_command "$peer"
        printf -v line '%q ' exec "${command[@]}"
        if [[ $peer == "${peers[0]}" ]]; then
            ring_tmux new-session -d -s ring -x "$(tput cols)" -y "$(tput lines)" -c "$PWD" "$line"
            ring_tmux set-option -g remain-on-exit on
            ring_tmux set-option -g mouse on
            ring_tmux set-option -g pane-border-status top
            ring_tmux set-option -g pane-border-format ' #{pane_title}, pid #{pane_pid} '
            ring_tmux set-option -g status-left ''
            ring_tmux set-option -g status-right-length 100
            ring_tmux set-option -g status-right \
                'Ctrl+C kills the peer of a pane - Ctrl+b arrow: next pane - Ctrl+b d ends the ring'
        else
            ring_tmux split-window -t ring -c "$PWD" "$line"
        fi
        ring_tmux select-pane -T "peer $peer, 127.0.0.1:$((base_port + peer))"
        ring_tmux select-layout -t ring tiled >/dev/null
        if ((${#peers[@]} == 2)) && [[ $peer != "$last" ]]; then
            await_founder "$peer"
        fi
    done
    await_windows
    env -u TMUX tmux -L "$tmux_server" attach-session -t ring
    printf 'The ring is ended; its files are in %s\n' "$root/data"
}

# A founder is active at once; one that comes back may wait for the other, which is fine as well.
await_founder() {
    local i
    for ((i = 0; i < 30; i++)); do
        [[ ! -e $notices/$1 ]] || return 0
        sleep 0.1
    done
}

await_windows() {
    local i deadline=$((SECONDS + ready_max))
    for i in "${!peers[@]}"; do
        until [[ -e $notices/${peers[i]} ]]; do
            if ring_tmux list-panes -t ring -F '#{pane_dead}' | grep -q 1 || ((SECONDS >= deadline)); then
                show_panes
                fail 'not every peer came up; nothing is left running'
            fi
            sleep 0.1
        done
    done
}

show_panes() {
    local pane
    for pane in $(ring_tmux list-panes -t ring -F '#{pane_id}'); do
        ring_tmux display-message -p -t "$pane" '#{pane_title} ends with:' >&2
        ring_tmux capture-pane -p -t "$pane" | sed '/^$/d' | tail -n 3 | sed 's/^/  /' >&2
    done
}

# Without the lock: a tmux server may live a moment longer than we do.
ring_tmux() {
    env -u TMUX tmux -L "$tmux_server" "$@" 9>&-
}

# Ends what was started here, and only that: asks first, waits, then insists.
stop_all() {
    trap '' INT TERM HUP
    local pid deadline
    if [[ -n $tmux_server ]]; then
        mapfile -t pids < <(ring_tmux list-panes -s -t ring -F '#{?pane_dead,,#{pane_pid}}' 2>/dev/null | sed '/^$/d')
    fi
    for pid in "${pids[@]}"; do
        kill -TERM "$pid" 2>/dev/null || true
    done
    deadline=$((SECONDS + stop_max))
    for pid in "${pids[@]}"; do
        while running "$pid" && ((SECONDS < deadline)); do
            sleep 0.05
        done
        kill -KILL "$pid" 2>/dev/null || true
    done
    if [[ -n $tmux_server ]]; then
        ring_tmux kill-server 2>/dev/null || true
    else
        wait
    fi
    [[ -z $notices ]] || rm -rf -- "$notices"
}

misuse() {
    printf 'error: %s\n' "$1" >&2
    usage >&2
    exit 2
}

fail() {
    printf 'error: %s\n' "$1" >&2
    exit 2
}

# Seconds for all peers to be active, and to stop when asked.
ready_max=30
stop_max=12

main "$@"
