#!/bin/sh
# Sets up an environment, unless it is there as pyproject.toml and constraints.txt want it:
#   tools/venv.sh          .venv, for the lessons and the tests, in the tested versions
#   tools/venv.sh NAME     .venv, and the extra NAME of pyproject.toml in it
#   tools/venv.sh oldest   build/oldest, in the lowest versions that pyproject.toml allows
#   tools/venv.sh newest   build/newest, in the highest ones
# PYTHON names the only Python to try.
set -eu
CDPATH= cd "$(dirname "$0")/.."
export PIP_DISABLE_PIP_VERSION_CHECK=1

venv=.venv extra= versions="--constraint constraints.txt"
pythons="python3 python3.13 python3.12 python3.11 python3.10 python"
case ${1:-} in
oldest)
    venv=build/oldest versions="--constraint build/oldest.txt" pythons="python3.10 python3.11"
    mkdir -p build
    # Every bound as a version; what pyproject.toml does not name is as new as these allow.
    sed -nE 's/^ *"([A-Za-z0-9_.-]+)>=([0-9.]+).*/\1==\2/p' pyproject.toml >build/oldest.txt
    ;;
newest) venv=build/newest versions=--upgrade pythons="python3.13 python3.12 python3 python3.11" ;;
*) extra=${1:-} ;;
esac
inside=$venv/bin/python stamp=$venv/.installed

stop() {
    echo "$*" >&2
    exit 1
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then set -- "$PYTHON"; else set -- $pythons; fi
    fits='import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))'
    for python; do
        if "$python" -c "$fits" 2>/dev/null; then
            "$python" -c 'import venv, ensurepip' 2>/dev/null || stop "$python cannot make a" \
                "virtual environment with pip in it: install its venv package (on Debian and" \
                "Ubuntu: sudo apt install python3-venv), then run make again."
            return
        fi
    done
    stop "Python 3.10 to 3.13 is needed, and none was found under the names: $*. Install one," \
        "or name it behind make's target: PYTHON=/path/to/python3.12"
}

# The stamp holds the folder it was made for: an editable install breaks when the checkout moves.
is_up_to_date() {
    [ -f "$stamp" ] && ! [ pyproject.toml -nt "$stamp" ] && ! [ constraints.txt -nt "$stamp" ] &&
        [ "$(cat "$stamp")" = "$(pwd -P)" ] && "$inside" -c '' 2>/dev/null
}

install() {
    "$inside" -m pip install -qq "$@"
}

set_up() {
    "$python" -m venv "$@" "$venv" &&
        echo "  1/2 pip" && install "pip>=23" &&
        echo "  2/2 TensorFlow, pymatgen, JupyterLab and the xrdclass package" &&
        install $versions --editable ".[lessons,test]" && pwd -P >"$stamp"
}

if ! is_up_to_date; then
    find_python
    echo "Setting up $venv with $("$python" -V): a few minutes the first time, about 3 GB"
    rm -f "$stamp"
    set --
    if [ -e "$inside" ] && [ "$("$inside" -V)" != "$("$python" -V)" ]; then set -- --clear; fi
    set_up "$@" || stop "The set-up did not finish: the lines above say why. Run make again to go" \
        "on where it stopped."
    echo "  $venv is ready"
fi

# Not "newer than the stamp": two files made one after the other may bear the same time.
if [ -n "$extra" ] && { ! [ -f "$venv/.extra-$extra" ] || [ "$stamp" -nt "$venv/.extra-$extra" ]; }
then
    [ "$extra" = browser ] || [ "$extra" = app ] || "$inside" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        stop "The extra '$extra' needs Python 3.11 or newer; .venv has $("$inside" -V). Remove" \
            ".venv, and name another behind make's target: PYTHON=python3.12"
    echo "Installing what the extra '$extra' of pyproject.toml names"
    install $versions --editable ".[$extra]"
    touch "$venv/.extra-$extra"
fi
