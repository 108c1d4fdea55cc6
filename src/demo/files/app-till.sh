# The till: counts what is in a basket.
. lib/queue.sh
case $1 in
    small) set -- bread ;;
    large) set -- bread milk eggs tea ;;
esac
for article in "$@"; do
    queue_push "$article"
done
queue_length
