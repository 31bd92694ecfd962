#!/usr/bin/env bash
# Runs every linter, even when one fails, and tells at the end which ones did. Arguments name the ones to run.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

lint_ruff() { ruff check . && ruff format --check .; }
lint_mypy() { (cd plugins/module_utils && mypy --config-file ../../pyproject.toml -p _engine); }
lint_yamllint() { yamllint --strict .; }
lint_ansible() { ansible-lint; }
lint_changelog() { antsibull-changelog lint; }
lint_docs() { antsibull-docs lint-collection-docs --plugin-docs .; }
lint_sanity() { tests/ansible-test.sh sanity --color no; }

all=(sanity ruff mypy yamllint changelog docs ansible)

# One linter, with how long it took; its status is its own.
lint() {
    local started=$SECONDS status=0
    printf '\033[1m==> %s\033[0m\n' "$1"
    "lint_$1" || status=$?
    echo "    $1 took $((SECONDS - started)) s"
    return "$status"
}

# Sanity takes longer than all others together: it runs beside them, and is heard when they are through.
failed=()
aside=
for name in "${@:-${all[@]}}"; do
    if [ "$name" = sanity ]; then
        heard=$(mktemp)
        lint sanity >"$heard" 2>&1 &
        aside=$!
    else
        lint "$name" || failed+=("$name")
    fi
done
if [ -n "$aside" ]; then
    wait "$aside" || failed+=(sanity)
    cat "$heard"
    rm -f "$heard"
fi
[ "${#failed[@]}" -eq 0 ] || { echo "lint failed: ${failed[*]}" >&2; exit 1; }
echo "lint passed"
