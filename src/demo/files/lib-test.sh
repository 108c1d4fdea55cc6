# Tests the queue.
set -eu
. ./queue.sh
for word in one two three; do
    queue_push "$word"
done
length=$(queue_length)
if [ "$length" != 3 ]; then
    echo "queue.sh: error: the queue has $length words, not 3" >&2
    exit 1
fi
echo "ok: three words pushed, three there"
