# The habits of CONTRIBUTING.md, one recipe each: `just` lists them. Each line can be run by hand as well.

# List the recipes.
default:
    @just --list

# Format all sources.
format:
    cargo fmt

# What must pass before a change is proposed.
test:
    scripts/test.sh

# What the build runs: also what needs root, namespaces, a terminal or large files.
test-all:
    scripts/test.sh --all

# Imports: downward only, and without circles.
layering:
    cargo test --locked --profile ci --test layering

# The scenarios whose names contain FILTER, over so many seeds.
seeds count filter="":
    QUOIT_SEEDS={{count}} cargo test --release --test scenarios {{filter}}

# Hashes of the event logs of so many seeds: what a restructuring must not change.
logs count="200":
    QUOIT_LOGS={{count}} cargo test --locked --profile ci --test scenarios event_logs -- --include-ignored --nocapture

# Licences, sources, doubled versions and known vulnerabilities of the dependencies.
deny:
    scripts/deny.sh

# Fuzz each target for so many seconds.
fuzz seconds="60":
    scripts/fuzz.sh --seconds {{seconds}}

# Lines that the tests run through.
coverage:
    scripts/coverage.sh

# Figures of rings of real processes.
measure *arguments:
    cargo build --release --locked
    scripts/measure.py {{arguments}}

# The program as one installs it.
dist:
    cargo build --locked --profile dist
