#!/usr/bin/env bash
# The one door: './build.sh help' lists the verbs. CI calls './build.sh check' and nothing else.
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "${BASH_SOURCE[0]}")"

VENV=.venv
PYTEST=("$VENV/bin/python" -m pytest --durations 10 --durations-min 1)
MODELS=(tests/compress tests/e2e/test_resume.py)  # tests that make models: no server, nothing that is timed
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-2}" PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

python_311() {
    local candidate
    for candidate in "${PYTHON:-}" python3.11 python3; do
        if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "Python 3.11 was not found. Nothing was installed. Install python3.11 and python3.11-venv (Debian 12:" \
        "apt-get install python3 python3-venv), or name one with PYTHON=/path/to/python3.11. [SETUP-001]" >&2
    exit 1
}

# install VENV LOCK: an environment with exactly the locked wheels and this project in place; nothing if unchanged
install() {
    local venv=$1 lock=$2 python stamp
    stamp=$(cat "$lock" pyproject.toml | sha256sum | cut -d' ' -f1)
    if [ "$(cat "$venv/.stamp" 2>/dev/null)" = "$stamp" ]; then
        return
    fi
    python=$(python_311)
    echo "Installing $lock into $venv (the first time takes a minute or two)" >&2
    [ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
    # --no-deps: the lock is complete, and leaves out on purpose what requirements/overrides.txt names
    "$venv/bin/python" -m pip install --no-deps --require-hashes --requirement "$lock" >&2
    "$venv/bin/python" -m pip install --quiet --no-deps --no-build-isolation --editable . >&2
    echo "$stamp" > "$venv/.stamp"
}

setup() { install "$VENV" requirements/dev.lock; }

# own NAME: the interpreter of an environment with requirements/NAME.lock alone, for what .venv does not hold
own() {
    local venv=build/$1-venv lock=requirements/$1.lock stamp
    stamp=$(sha256sum "$lock" | cut -d' ' -f1)
    if [ "$(cat "$venv/.stamp" 2>/dev/null)" != "$stamp" ]; then
        echo "Installing $lock into $venv" >&2
        "$(python_311)" -m venv --clear "$venv"
        "$venv/bin/python" -m pip install --quiet --no-deps --require-hashes --requirement "$lock" >&2
        echo "$stamp" > "$venv/.stamp"
    fi
    echo "$venv/bin/python"
}

# need_demo: the demo's bundle, which some verbs use
need_demo() {
    if [ ! -f demo-out/bundle/manifest.json ]; then
        echo "There is no demo bundle yet. Nothing was started. Run './build.sh demo' first. [SETUP-002]" >&2
        exit 1
    fi
}

demo() {
    SECONDS=0
    setup
    "$VENV/bin/python" -m examples.demo --setup-seconds "$SECONDS" "$@"
}

# test [PYTEST ARGUMENTS]
test_() {
    setup
    if [ $# = 0 ]; then all_tests; else "${PYTEST[@]}" "$@"; fi
}

# all_tests [PYTEST OPTIONS]: to make models is to compute, the other tests mostly wait: it goes beside them, and gives way
all_tests() {
    local models status=0
    nice "${PYTEST[@]}" "$@" "${MODELS[@]}" > >(sed -u 's/^/making models: /') 2>&1 &
    models=$!
    trap "kill $models 2> /dev/null || true" EXIT  # an interrupt reaches only what is in front
    "${PYTEST[@]}" "$@" "${MODELS[@]/#/--ignore=}" || status=$?
    wait "$models" || status=$?
    return "$status"
}

lint() {
    setup
    "$VENV/bin/ruff" format --check .
    "$VENV/bin/ruff" check .
    "$VENV/bin/mypy"
}

# missing_packages: those of requirements/system.txt that are not installed
missing_packages() {
    local package
    while read -r package _; do
        case "$package" in '' | '#'*) continue ;; esac
        dpkg-query --show --showformat='${Status}' "$package" 2> /dev/null | grep -q 'ok installed' || echo "$package"
    done < requirements/system.txt
}

# system: Debian packages that some tests need (requirements/system.txt); only root can, and only what is missing
system() {
    local missing=()
    command -v dpkg-query > /dev/null || return 0
    mapfile -t missing < <(missing_packages)
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" != 0 ]; then
        echo "Tests that need these Debian packages will skip; root can install them: ${missing[*]}" >&2
        return 0
    fi
    echo "Installing Debian packages: ${missing[*]}" >&2
    export DEBIAN_FRONTEND=noninteractive
    # RUNLEVEL=1: no service is started, in particular no SSH server
    if ! { apt-get update -qq && RUNLEVEL=1 apt-get install -y -qq -o DPkg::Lock::Timeout=120 \
        --no-install-recommends "${missing[@]}"; } >&2; then
        echo "They could not be installed. Tests that need them will skip." >&2
    fi
}

check() {
    local complete=()
    system
    lint
    if [ -f "${EDGEKIT_ADVISORIES:-}" ]; then
        audit
    else
        echo "Known weaknesses were not looked for: EDGEKIT_ADVISORIES names no file ('./build.sh help')." >&2
    fi
    # where nothing is missing, a test that skips is a defect
    if [ "$(id -u)" = 0 ] && command -v dpkg-query > /dev/null && [ -z "$(missing_packages)" ] \
        && unshare --mount --net --pid --fork true 2> /dev/null; then
        complete=(--complete)
    fi
    # a machine on which nothing works has said so after forty
    all_tests --maxfail 40 "${complete[@]}"
}

serve() {
    setup
    need_demo
    exec "$VENV/bin/edgekit" serve --bundle demo-out/bundle "$@"
}

# bench [NAME ...]
bench() {
    setup
    "$VENV/bin/python" -m benchmarks "$@"
}

# docs: the generated pages, then the site in build/site
docs() {
    local python
    setup
    "$VENV/bin/python" -m docs.generate
    python=$(own docs)
    NO_MKDOCS_2_WARNING=1 "$python" -m mkdocs build --strict --quiet
    echo "The site is build/site/index.html" >&2
}

# sbom: requirements/serve.cdx.json from serve.lock
sbom() {
    local python
    setup
    python=$(own audit)
    "$python" requirements/sbom.py "$("$VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
}

# audit [FILE.zip [PIP-AUDIT ARGUMENTS]]
audit() {
    local file=${1:-${EDGEKIT_ADVISORIES:-}} python
    [ $# -eq 0 ] || shift
    if [ ! -f "$file" ]; then
        echo "There is no file of advisories${file:+ at $file}. Nothing was audited. Bring in OSV's export of PyPI" \
            "(all.zip) and name it: './build.sh audit FILE.zip', or EDGEKIT_ADVISORIES. [SETUP-003]" >&2
        exit 3
    fi
    python=$(own audit)
    "$python" requirements/advisories.py "$file" --require-hashes --disable-pip --requirement requirements/serve.lock "$@"
}

# versions [lowest|newest ...]: the kit's wheel with the oldest and with the newest packages that serve.in allows
versions() {
    local name python pythons=()
    setup
    need_demo
    [ $# -gt 0 ] || set -- lowest newest
    for name in "$@"; do
        python=$(own "serve-$name")
        pythons+=("$python")
    done
    "$VENV/bin/python" -m tests.project.installed "${pythons[@]}"
}

lock() { bash requirements/lock.sh; }

help() {
    cat <<'TEXT'
./build.sh VERB [ARGUMENTS]: everything that is done with this checkout. Each verb installs what it needs first.

To see it work
  setup       locked dependencies into .venv; a second run takes no time
  demo        compress, bundle, serve, score the sample application; the receipt and pictures are in demo-out/
  serve       the runtime on loopback with the demo's bundle; arguments go to 'edgekit serve' (--port N)
  bench       benchmarks, all or those named (runtime, offline/kills): tables, benchmarks/results/, docs/benchmarks.md

To change it
  test        all tests, and which took longest; arguments go to pytest (tests/edge -k lease), those alone run then
  lint        format, lint, types
  docs        reference pages from the code, and the documents as a site in build/site
  check       system, lint, test and, where there are advisories, audit: what CI runs
  system      Debian packages that some tests need, when run as root; tests skip without them

To release it
  lock        write the lock files anew from requirements/*.in (needs uv); then run sbom and versions
  sbom        the bill of materials of a device's packages: requirements/serve.cdx.json
  audit       known weaknesses of a device's packages, without a network: audit ADVISORIES.zip, or EDGEKIT_ADVISORIES
  versions    the kit's wheel with the oldest and the newest packages that requirements/serve.in allows, or one of the
              two (versions lowest); a few minutes

  help        this page
TEXT
}

verb=${1:-help}
[ $# -gt 0 ] && shift
case "$verb" in
    setup | demo | lint | system | check | serve | bench | docs | sbom | audit | versions | lock | help) "$verb" "$@" ;;
    test) test_ "$@" ;;
    *)
        echo "There is no verb '$verb'." >&2
        help >&2
        exit 2
        ;;
esac
