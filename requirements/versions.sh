#!/bin/sh
# Replays the golden session and the examples under every Python from 3.11 to 3.13 that is here, each under another
# hash seed, and demands the same logs. Says which Pythons were not found.
set -eu
runs=$(mktemp -d)
trap 'rm -rf "$runs"' EXIT
digests=
for version in 3.11 3.12 3.13; do
    python=
    for candidate in "python$version" "$HOME"/.pyenv/versions/"$version".*/bin/python3; do
        if "$candidate" -c '' 2>/dev/null; then python=$candidate; break; fi
    done
    if [ -z "$python" ]; then
        echo "versions: SKIPPED Python $version: not found" >&2
        continue
    fi
    PYTHON=$python sh requirements/setup.sh ".venv-$version" requirements/runtime.lock
    digest=
    for book in tests/golden/session/book.yaml examples/btc.yaml examples/pair.yaml; do
        out="$runs/$version/$book"
        PYTHONHASHSEED=$(date +%S) ".venv-$version/bin/quorum" replay "$book" --out "$out" --no-report >/dev/null 2>&1
        digest="$digest $(sha256sum "$out/log/SHA256SUMS" | cut -c1-16)"
    done
    echo "versions: Python $version:$digest"
    case "$digests" in
        "" | "$digest") digests=$digest ;;
        *) echo "versions: the logs differ between Pythons" >&2; exit 1 ;;
    esac
done
