#!/usr/bin/env bash
# How much of the sources the tests run through; see usage below.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: scripts/coverage.sh [--all] [FILTER…]

Builds everything with counters, runs the tests, processes that they start included, and prints for each
module the lines, those that ran, and the share; then the largest places that nothing ran. Tests in the
sources do not count as sources. Also those processes count that were killed.

  --all      with what `scripts/test.sh --all` adds
  FILTER…    only these tests, as cargo-nextest takes them, such as -E 'test(names)'

Needs cargo and python3, cargo-llvm-cov (installed where it is missing), and llvm-cov: rustup's component
llvm-tools, or a Debian package (llvm-19), or what LLVM_COV and LLVM_PROFDATA name.
TEXT
}

main() {
    case ${1:-} in
        -h | --help)
            usage
            exit 0
            ;;
        --all)
            export QUOIT_TEST_ALL=1
            shift
            ;;
    esac
    cd "$(dirname "${BASH_SOURCE[0]}")/.."
    prepare
    # Counters live in a mapped file (%c), so that a process that is killed has written them too.
    export RUSTFLAGS="${RUSTFLAGS:-} -C llvm-args=-runtime-counter-relocation"
    export LLVM_PROFILE_FILE_NAME='quoit-%p-%m%c.profraw'
    cargo llvm-cov clean --profraw-only
    local failed=no
    run_tests "$@" || failed=yes
    cargo llvm-cov report --lcov --output-path target/coverage.lcov --ignore-filename-regex '/tests(\.rs|/)'
    cargo llvm-cov clean --profraw-only
    table
    if [[ $failed == yes ]]; then
        printf '\nNot all tests passed; the table counts what they ran all the same.\n' >&2
        exit 1
    fi
}

prepare() {
    cargo llvm-cov --version >/dev/null 2>&1 || cargo install --locked --quiet cargo-llvm-cov
    if [[ -n ${LLVM_COV:-} && -n ${LLVM_PROFDATA:-} ]] || has_component || rustup component add llvm-tools 2>/dev/null; then
        return
    fi
    local version
    for version in {25..19}; do
        if command -v "llvm-cov-$version" >/dev/null && command -v "llvm-profdata-$version" >/dev/null; then
            export LLVM_COV=llvm-cov-$version LLVM_PROFDATA=llvm-profdata-$version
            return
        fi
    done
    printf 'error: no llvm-cov; try: rustup component add llvm-tools, or: apt-get install llvm-19\n' >&2
    exit 2
}

has_component() {
    [[ -x $(rustc --print target-libdir)/../bin/llvm-cov ]]
}

run_tests() {
    local options
    mapfile -t options < <(scripts/skipped.sh)
    options+=(--include-ignored)
    if cargo nextest --version >/dev/null 2>&1; then
        cargo llvm-cov nextest --no-report --locked --no-fail-fast "$@" -- "${options[@]}"
    else
        cargo llvm-cov test --no-report --locked --no-fail-fast "$@" -- "${options[@]}"
    fi
}

table() {
    python3 - target/coverage.lcov "$PWD/src/" "$places_shown" <<'PYTHON'
import collections
import pathlib
import re
import sys

lcov, root, shown = sys.argv[1], sys.argv[2], int(sys.argv[3])


def sources():
    """Each file below src, and how often each of its lines ran."""
    path, lines = None, {}
    for entry in pathlib.Path(lcov).read_text().splitlines():
        if entry.startswith("SF:"):
            path, lines = entry[3:], {}
        elif entry.startswith("DA:"):
            line, count = entry[3:].split(",")[:2]
            lines[int(line)] = max(lines.get(int(line), 0), int(count))
        elif entry == "end_of_record" and path.startswith(root):
            text = pathlib.Path(path).read_text().splitlines()
            end = tests_begin(text)
            yield path[len(root):], text, {line: count for line, count in lines.items() if line < end}


def tests_begin(text):
    for number, line in enumerate(text, 1):
        if line.strip() == "#[cfg(test)]" and re.match(r"\s*(pub(\(\w+\))? )?mod \w+ \{", text[number]):
            return number
    return len(text) + 1


def gaps(text, lines):
    """Stretches of lines of which none ran, and in which function they begin."""
    stretch = []
    for line in sorted(lines):
        if lines[line] == 0:
            stretch.append(line)
        elif stretch:
            yield stretch
            stretch = []
    if stretch:
        yield stretch


def function_at(text, line):
    for number in range(line, 0, -1):
        if found := re.match(r"\s*(?:pub(?:\([\w: ]+\))? )?(?:const )?(?:async )?fn (\w+)", text[number - 1]):
            return found[1]
    return "-"


modules, places = collections.defaultdict(lambda: [0, 0]), []
for name, text, lines in sources():
    module = name.split("/")[0].removesuffix(".rs")
    modules[module][0] += len(lines)
    modules[module][1] += sum(count > 0 for count in lines.values())
    for stretch in gaps(text, lines):
        places.append((len(stretch), name, stretch[0], stretch[-1], function_at(text, stretch[0])))
if not modules:
    sys.exit("error: no coverage was recorded")
total = [sum(numbers) for numbers in zip(*modules.values())]
print(f"\n{'module':<14} {'lines':>7} {'covered':>8} {'percent':>8}")
for module, (lines, covered) in [*sorted(modules.items()), ("all", total)]:
    print(f"{module:<14} {lines:>7} {covered:>8} {100 * covered / max(lines, 1):>7.1f}%")
print(f"\n{'not covered':<44} {'lines':>5}")
for size, name, first, last, function in sorted(places, key=lambda place: (-place[0], place[1]))[:shown]:
    print(f"{f'src/{name}:{first}-{last}':<44} {size:>5}  {function}")
PYTHON
}

# How many of the largest places that nothing ran are told.
places_shown=25

main "$@"
