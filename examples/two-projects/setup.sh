#!/bin/sh
# Makes lib.git and app.git, repositories as a server would have them, and clones in clone/ to push from.
set -eu
cd "$(dirname "$0")"
if [ -e lib.git ] || [ -e app.git ] || [ -e clone ]; then
    echo "lib.git, app.git or clone is there already; remove them to begin again" >&2
    exit 1
fi
for name in lib app; do
    git init --quiet --bare --initial-branch=main "$name.git"
    git init --quiet --initial-branch=main "clone/$name"
    cp "$name"/* "clone/$name/"
    (
        cd "clone/$name"
        git remote add origin "../../$name.git"
        git config user.name >/dev/null || git config user.name "Somebody"
        git config user.email >/dev/null || git config user.email "somebody@example.org"
        git add --all
        git commit --quiet --message "Begin"
        git push --quiet --set-upstream origin main
    )
done
echo "made lib.git, app.git and clones of them in clone/; now: gristmill serve"
