#!/bin/sh
# Replays the golden session and the examples under every Python from 3.11 to 3.13 that is here, each under another
# hash seed, and demands the same logs. Says which Pythons were not found. Needs .venv, and uses it for its own Python;
# the others get a .venv-3.x each, all at the same time.
set -eu
runs=$(mktemp -d)
trap 'rm -rf "$runs"' EXIT
own=$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')

find_python() {
    for candidate in "python$1" "$HOME"/.pyenv/versions/"$1".*/bin/python3; do
        if "$candidate" -c 'import ensurepip' 2>/dev/null || "$candidate" -m pip --version >/dev/null 2>&1; then echo "$candidate"; return; fi
    done
}

# Prints the digests of the logs that Python $1, by name or path $2, writes.
digests() {
    venv=.venv
    if [ "$1" != "$own" ]; then
        venv=.venv-$1
        PYTHON=$2 sh requirements/setup.sh "$venv" requirements/dev.lock || return 1
    fi
    for book in tests/golden/session/book.yaml examples/btc.yaml examples/pair.yaml; do
        out=$runs/$1/$book
        PYTHONHASHSEED=${1#3.} "$venv/bin/quorum" replay "$book" --out "$out" --no-report >/dev/null || return 1
        sha256sum "$out/log/SHA256SUMS" | cut -c1-16
    done
}

found=
for version in 3.11 3.12 3.13; do
    if [ "$version" = "$own" ]; then python=.venv/bin/python; else python=$(find_python "$version"); fi
    if [ -z "$python" ]; then
        echo "versions: SKIPPED Python $version: not found, or found without pip" >&2
        continue
    fi
    found="$found $version"
    (digests "$version" "$python" >"$runs/$version.logs" && touch "$runs/$version.done") &
done
wait

first=
for version in $found; do
    if ! [ -e "$runs/$version.done" ]; then
        echo "versions: Python $version could not be set up, or could not replay; it says why above" >&2
        exit 1
    fi
    echo "versions: Python $version:" $(cat "$runs/$version.logs")
    if [ -z "$first" ]; then first=$version; fi
    if ! cmp -s "$runs/$first.logs" "$runs/$version.logs"; then
        echo "versions: the logs of Python $first and $version differ" >&2
        exit 1
    fi
done
