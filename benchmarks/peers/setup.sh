#!/bin/sh
# Builds the peers' environment VENV from the hashed list LOCK: `setup.sh VENV LOCK`.
# PEERS_PYTHON names the interpreter; without it the first 3.12 or 3.13 on the PATH or under pyenv serves.
set -eu
venv=$1
lock=$2

python=
for candidate in ${PEERS_PYTHON:-python3.12 python3.13 "${HOME:-}"/.pyenv/versions/3.1[23].*/bin/python}; do
    if "$candidate" -c 'import ensurepip, sys; sys.exit(sys.version_info[:2] not in ((3, 12), (3, 13)))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "peers: they need Python 3.12 or 3.13 with venv, and none was found; install one, or name it: make bench PEERS_PYTHON=/path/to/python3.12" >&2
    exit 1
fi

# The copy of the list is written last: what was broken off is built anew, what is whole is left alone.
if ! [ -x "$venv/bin/python" ] || ! cmp -s "$lock" "$venv/built.lock"; then
    echo "peers: building $venv with $("$python" -V) from $lock; this takes a minute, once" >&2
    "$python" -m venv --clear "$venv"
    if ! "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
        --require-hashes --only-binary :all: -r "$lock"; then
        echo "peers: could not install the packages of $lock; pip says why above. Mend that and run make again" >&2
        exit 1
    fi
    cp "$lock" "$venv/built.lock"
fi
