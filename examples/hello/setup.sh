#!/bin/sh
# Makes hello.git, a repository as a server would have it, and a clone of it in clone/ to push from. Only here, beside this file.
set -eu
cd "$(dirname "$0")"
if [ -e hello.git ] || [ -e clone ]; then
    echo "hello.git or clone is there already; remove both to begin again" >&2
    exit 1
fi
git init --quiet --bare --initial-branch=main hello.git
git init --quiet --initial-branch=main clone
cp project/Makefile project/greeting.txt clone/
cd clone
git remote add origin ../hello.git
git config user.name >/dev/null || git config user.name "Somebody"
git config user.email >/dev/null || git config user.email "somebody@example.org"
git add --all
git commit --quiet --message "Greet somebody"
git push --quiet --set-upstream origin main
echo "made hello.git and clone/; now: gristmill serve"
