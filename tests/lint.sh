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

all=(ruff mypy yamllint changelog docs ansible sanity)
failed=()
for name in "${@:-${all[@]}}"; do
    printf '\033[1m==> %s\033[0m\n' "$name"
    started=$SECONDS
    "lint_$name" || failed+=("$name")
    echo "    $name took $((SECONDS - started)) s"
done
[ "${#failed[@]}" -eq 0 ] || { echo "lint failed: ${failed[*]}" >&2; exit 1; }
echo "lint passed"
