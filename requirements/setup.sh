#!/bin/sh
# Builds the virtual environment VENV from the hashed LOCK: `setup.sh VENV LOCK`.
# PYTHON names the interpreter to use; without it the first of 3.11 to 3.13 that can be found serves.
set -eu
venv=$1
lock=$2

fits() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

if [ -n "${PYTHON:-}" ]; then
    set -- "$PYTHON"
else
    set -- python3 python3.13 python3.12 python3.11 python
fi
python=
for candidate in "$@"; do
    if fits "$candidate"; then python=$candidate; break; fi
done
if [ -z "$python" ]; then
    echo "setup: Quorum needs Python 3.11, 3.12 or 3.13, and none was found (looked for: $*); install one, or name it: make setup PYTHON=/path/to/python3" >&2
    exit 1
fi

export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
unset PYTHONHOME PYTHONPATH PIP_USER PIP_REQUIRE_VIRTUALENV PIP_TARGET PIP_PREFIX

# Debian packs ensurepip apart from Python; there, the pip that came with Python does the work.
if "$python" -c 'import ensurepip' 2>/dev/null; then
    without_pip=
    pip="$venv/bin/python -m pip"
elif "$python" -m pip --version >/dev/null 2>&1; then
    without_pip=--without-pip
    pip="$python -m pip --python $venv/bin/python"
else
    echo "setup: $("$python" -V) has neither ensurepip nor pip; install python3-venv (Debian, Ubuntu) and run make again" >&2
    exit 1
fi

# The copy of the lock is written last: what was broken off is built anew, what is whole is left alone.
if ! [ -x "$venv/bin/python" ] || ! cmp -s "$lock" "$venv/built.lock"; then
    echo "setup: building $venv with $("$python" -V) from $lock; this takes a minute, once" >&2
    "$python" -m venv --clear $without_pip "$venv"
    if ! $pip install --quiet --require-hashes --only-binary :all: -r "$lock"; then
        echo "setup: could not install the packages of $lock; pip says why above. Mend that and run make again" >&2
        exit 1
    fi
    cp "$lock" "$venv/built.lock"
fi

# The lock holds setuptools, so the project itself needs nothing from outside.
$pip install --quiet --no-index --no-build-isolation --no-deps --editable .
