#!/usr/bin/env bash
# Writes the lock files anew from the .in files. Needs uv; run it through './build.sh lock'.
set -euo pipefail
cd "$(dirname "$0")"
lock() {  # SET.lock IN_FILE ...: each set holds the one before it, at the same versions
    local out=$1; shift
    uv pip compile "$@" --override overrides.txt --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
        --generate-hashes --no-header --no-annotate --quiet --output-file "$out"
}
lock serve.lock serve.in
lock install.lock install.in
lock compress.lock serve.in compress.in --constraint serve.lock
lock dev.lock serve.in compress.in repo.in dev.in --constraint compress.lock
lock bench.lock bench.in --constraint compress.lock
# peers keep their own versions, but the kit's model runs in LitServe with the kit's
lock bench-inc.lock bench-inc.in
lock bench-rapidocr.lock bench-rapidocr.in
lock bench-rapidocr1.lock bench-rapidocr1.in
lock bench-litserve.lock bench-litserve.in --constraint compress.lock
lock bench-paddle.lock bench-paddle.in --constraint compress.lock
lock bench-scikit.lock bench-scikit.in
lock docs.lock docs.in
lock audit.lock audit.in
# the oldest and the newest that serve.in allows: './build.sh versions' tries the kit with both
lock serve-lowest.lock serve.in --resolution lowest-direct
lock serve-newest.lock serve.in --upgrade
