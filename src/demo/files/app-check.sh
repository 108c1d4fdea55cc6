# Checks the till with a basket.
set -eu
case $1 in
    small) want=1 ;;
    large) want=4 ;;
esac
echo "counting a $1 basket"
got=$(sh app/till.sh "$1") || true
if [ "$got" != "$want" ]; then
    echo "app/till.sh:8: error: the till should count $want in the $1 basket, and counts $got" >&2
    exit 1
fi
echo "ok: $got"
