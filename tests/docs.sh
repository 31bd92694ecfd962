#!/usr/bin/env bash
# Checks the documentation of all plugins and roles, and renders it as HTML to build/docs. Needs no network.
set -euo pipefail
cd "$(dirname "$0")/.."
source=build/docs-source

antsibull-docs lint-collection-docs --plugin-docs .
python -m pytest -q tests/unit/test_docs.py

rm -rf "$source" build/docs
mkdir -p "$source"
antsibull-docs collection --use-current --squash-hierarchy --fail-on-error --dest-dir "$source" stowage.engine
cat >"$source/conf.py" <<'CONF'
project = "stowage.engine"
extensions = ["sphinx_antsibull_ext"]
html_theme = "alabaster"
suppress_warnings = ["ref.ref"]  # links into Ansible's own manual, which is not at hand
CONF
sphinx-build -q -b html "$source" build/docs
echo "rendered: build/docs/index.html"
