#!/usr/bin/env bash
# Prints the first of the given versions of Python (such as 3.13 3.12) that is installed, as a path; nothing where none is.
set -euo pipefail

for version in "$@"; do
    for candidate in "python$version" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python python3 python; do
        if [ "$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = "$version" ]; then
            command -v "$candidate"
            exit
        fi
    done
done
