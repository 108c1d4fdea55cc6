# A queue of words.
QUEUE=

queue_push() {
    QUEUE="${QUEUE:+$QUEUE }$1"
}

queue_length() {
    set -- $QUEUE
    echo $#
}
