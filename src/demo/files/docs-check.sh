# Every page must begin with a title.
set -eu
for page in *.md; do
    read -r first < "$page"
    case $first in
        "# "*) echo "ok: $page" ;;
        *) echo "$page:1: error: there is no title" >&2; exit 1 ;;
    esac
done
