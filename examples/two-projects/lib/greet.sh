# Greets somebody, loudly or quietly.
greet() {
    case ${VOICE:-quiet} in
        loud) echo "HELLO $1" ;;
        *) echo "hello $1" ;;
    esac
}
