#!/usr/bin/env bash
# Writes the three lock files anew from the .in files. Needs uv; run it through './build.sh lock'.
set -euo pipefail
cd "$(dirname "$0")"
lock() {  # SET [CONSTRAINT ...]: later sets keep the versions that earlier ones chose
    local set=$1; shift
    uv pip compile "$set.in" --override overrides.txt "$@" --python-version 3.11 \
        --python-platform x86_64-manylinux_2_28 --generate-hashes --no-header --no-annotate --quiet -o "$set.lock"
}
lock serve
lock compress -c serve.lock
lock dev -c compress.lock
