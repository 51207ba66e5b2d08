#!/usr/bin/env bash
# Reads the comments of the project, and the documents. Needs Python 3.
#
#   scripts/comments.sh sample [--seed N] [--count N]
#       prints so many comments (40 by default), drawn at random from the Rust sources, each with file:line. A run of
#       consecutive lines of one kind (//, /// or //!) is one comment. Of one tree, a seed always draws the same ones.
#   scripts/comments.sh check
#       lists docstrings of one word, sentences of comments and documents that begin with Who, What, Those, Whose or
#       Whom and are no questions, and the phrases "that is none" and "that are none". Fails if it finds any.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

main() {
    local command=${1:-} seed=1 count=40
    [[ $# -eq 0 ]] || shift
    while [[ $# -gt 0 ]]; do
        [[ $command == sample && ${2:-} =~ ^[0-9]+$ ]] || misuse
        case $1 in
            --seed) seed=$2 ;;
            --count) count=$2 ;;
            *) misuse ;;
        esac
        shift 2
    done
    case $command in
        sample | check) read_comments "$command" "$seed" "$count" ;;
        *) misuse ;;
    esac
}

read_comments() {
    python3 - "$@" <<'PYTHON'
import itertools
import pathlib
import random
import re
import sys

RUST = ["src", "tests", "benches", "examples", "fuzz/targets"]
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/*.md"]
HASHED = ["scripts/*.sh", "fuzz/*.sh", ".ci/run", ".config/*.toml", "*.toml"]
PYTHON = ["scripts/*.py", "fuzz/*.py", "tests/attacker/*.py"]

# A comment, or a literal that may hold what looks like one. A quote that opens no character is a lifetime's.
TOKEN = re.compile(
    r"""
      (?P<comment>//[^\n]*)
    | /\*.*?\*/
    | \bb?r(?P<hashes>\#*)".*?"(?P=hashes)
    | "(?:\\.|[^"\\])*"
    | '(?:\\[^\n]+?|[^\\'\n])'
    """,
    re.DOTALL | re.VERBOSE,
)
KIND = re.compile(r"//[/!]?(?!/)|//+")
# A label such as "Goal:" is followed by a sentence of its own.
BANNED = re.compile(r"(?:Who|What|Those|Whose|Whom)\b|(?:Goal|Method|Control|Reported): (?i:who|what|those|whose|whom)\b")
NONE = re.compile(r"(?<![\"`])\bthat (?:is|are) none\b", re.IGNORECASE)
SENTENCE_END = re.compile(r"[.?!][\"')\]*_`”’]*(?=\s|$)")


def rust_comments(path):
    """Yields (line, kind, lines of text) for each comment of a file."""
    text = path.read_text()
    found = []
    for token in TOKEN.finditer(text):
        comment = token["comment"]
        if comment is None:
            continue
        kind = KIND.match(comment)[0]
        line = text.count("\n", 0, token.start()) + 1
        begin = text.rfind("\n", 0, token.start()) + 1
        alone = not text[begin : token.start()].strip()
        said = comment[len(kind) :].removeprefix(" ").rstrip()
        before = found[-1] if found else None
        if alone and before and before["alone"] and before["kind"] == kind and before["next"] == line:
            before["lines"].append(said)
            before["next"] += 1
        else:
            found.append({"line": line, "next": line + 1, "kind": kind, "alone": alone, "lines": [said]})
    return [(each["line"], each["kind"], each["lines"]) for each in found]


def hashed_comments(path):
    """Yields the same for the whole-line comments of a shell, Python or TOML file."""
    lines = list(enumerate(path.read_text().splitlines(), 1))
    for is_comment, run in itertools.groupby(lines, lambda each: bool(re.match(r"\s*#(?!!)", each[1]))):
        if is_comment:
            run = list(run)
            yield run[0][0], "#", [re.sub(r"^\s*# ?", "", said) for _, said in run]


def docstrings(path):
    """Yields the same for the docstrings of a Python file."""
    text = path.read_text()
    for found in re.finditer(r'^[ ]*"""(.*?)"""', text, re.DOTALL | re.MULTILINE):
        yield text.count("\n", 0, found.start()) + 1, '"""', found[1].splitlines()


def paragraphs(line, lines):
    """Yields (line, text) for each stretch of text in which a sentence may span lines; code is left out."""
    begun, text, fenced = line, [], False
    for at, said in enumerate(lines, line):
        stripped = said.strip()
        fence = stripped.startswith(("```", "~~~"))
        opens = re.match(r"([-*+]|\d+[.)])\s+|#+\s", stripped)
        row = stripped.startswith("|")
        if fence or fenced or row or opens or not stripped:
            if text:
                yield begun, " ".join(text)
            text = []
        if fence:
            fenced = not fenced
        elif row and not fenced:
            for cell in re.split(r"(?<!\\)\|", stripped):
                yield at, cell.strip()
        elif stripped and not fenced:
            if not text:
                begun = at
            text.append(stripped[opens.end() :] if opens else stripped)
            if opens and opens[0].startswith("#"):
                yield at, text.pop()
    if text:
        yield begun, " ".join(text)


def sentences(text):
    start = 0
    for end in SENTENCE_END.finditer(text):
        yield text[start : end.end()].strip()
        start = end.end()
    if text[start:].strip():
        yield text[start:].strip()


def faults(line, kind, lines):
    for at, text in paragraphs(line, lines):
        for sentence in sentences(text):
            bare = sentence.lstrip("*_\"'([“‘")
            if BANNED.match(bare) and "?" not in sentence[-3:]:
                yield at, f"begins with {BANNED.match(bare)[0]!r} and is no question", sentence
            if NONE.search(sentence):
                yield at, "that is none", sentence
    words = " ".join(lines).split()
    if kind in ("///", "//!", '"""') and len(words) == 1:
        yield line, "a docstring of one word", words[0]


def files(patterns):
    return sorted(path for pattern in patterns for path in pathlib.Path().glob(pattern))


def rust_files():
    return files(f"{root}/**/*.rs" for root in RUST)


def check():
    comments = [(path, each) for path in rust_files() for each in rust_comments(path)]
    comments += [(path, each) for path in files(HASHED + PYTHON) for each in hashed_comments(path)]
    comments += [(path, each) for path in files(PYTHON) for each in docstrings(path)]
    comments += [(path, (1, "document", path.read_text().splitlines())) for path in files(DOCUMENTS)]
    found = [(path, *fault) for path, comment in comments for fault in faults(*comment)]
    for path, line, fault, sentence in found:
        print(f"{path}:{line}: {fault}: {sentence}")
    print(f"{len(found)} sentences to rewrite, in {len(comments)} comments and documents")
    return 1 if found else 0


def sample(seed, count):
    comments = [(path, each) for path in rust_files() for each in rust_comments(path)]
    drawn = random.Random(seed).sample(comments, min(count, len(comments)))
    for path, (line, kind, lines) in drawn:
        print(f"{path}:{line}")
        for said in lines:
            print(f"    {kind} {said}".rstrip())
        print()
    print(f"{len(drawn)} of {len(comments)} comments, seed {seed}")
    return 0


command, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
sys.exit(check() if command == "check" else sample(seed, count))
PYTHON
}

misuse() {
    sed -n '4,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
}

main "$@"
