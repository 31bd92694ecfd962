#!/usr/bin/env bash
# Runs ansible-test on a copy of the tree, for it insists on a path .../ansible_collections/stowage/engine that is a real
# folder and no link. Its virtual environments stay in build/ansible-test/home between runs.
#   tests/ansible-test.sh sanity|integration [arguments of ansible-test]
set -euo pipefail
cd "$(dirname "$0")/.."
work=$PWD/build/ansible-test
copy=$work/ansible_collections/stowage/engine
venv=$PWD/build/venv/bin

# Files that git would track, as they are now: no build products, no caches, edits included.
rm -rf "$copy"
mkdir -p "$copy" "$work/home"
git ls-files -z --cached --others --exclude-standard |
    while IFS= read -r -d '' file; do [ ! -e "$file" ] || printf '%s\0' "$file"; done |
    tar --create --null --files-from=- | tar --extract --directory="$copy"
git init -q "$copy" && git -C "$copy" add --all # ansible-test asks git which files there are

# ansible-test wants pip's bootstrap script from the network; Python's own ensurepip does the same without.
pip_version=$(sed -n "s/^ *pip='\(.*\)',$/\1/p" "$("$venv/python" -c '
import ansible_test._internal.python_requirements as module; print(module.__file__)')" | tail -1)
mkdir -p "$work/home/.ansible/test/cache"
echo 'import ensurepip; ensurepip.bootstrap(upgrade=True, default_pip=True)' \
    >"$work/home/.ansible/test/cache/get_pip_${pip_version//./_}.py"
for folder in .config .cache; do # pip's settings and downloads remain the user's
    [ ! -e "$HOME/$folder" ] || ln -sfn "$HOME/$folder" "$work/home/$folder"
done

cd "$copy"
command=$1
shift
python=$("$venv/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
HOME=$work/home PATH=$venv:/usr/sbin:/usr/bin:/sbin:/bin ANSIBLE_COLLECTIONS_PATH=$work \
    exec ansible-test "$command" --python "$python" "$@"
