# The demo's agent: tries what a hijacked agent would, and says what came of it. Knows nothing but its environment; the
# same script runs in a bottle and, where no engine can be had, beside a stand-alone proxy. $1 is the origin, $2 the scene.
# Exits with the number of steps that did not go as told.
origin=$1
scene=${2:-all}
wrong=0

scene() { printf '\n── %s\n' "$*"; }
note() { printf '   %s\n' "$*"; }

# try WANTED-STATUS CURL-ARGUMENT…
try() {
    wanted=$1
    shift
    printf '   $ curl'
    for word in "$@"; do
        case $word in *[!A-Za-z0-9:/._=-]*) printf " '%s'" "$word" ;; *) printf ' %s' "$word" ;; esac
    done
    printf '\n'
    answer=$(curl -sS -m 20 -w '\n%{http_code}' "$@" 2>&1)
    status=$(printf '%s' "$answer" | tail -n 1)
    printf '   ← %s  %s\n' "$status" "$(printf '%s' "$answer" | sed '$d' | tr '\n' ' ' | cut -c1-400)"
    if [ "$status" != "$wanted" ]; then
        note "THIS IS NOT AS TOLD: expected $wanted"
        wrong=$((wrong + 1))
    fi
}

# Made up, and put together here so that no scanner of this repository stumbles over it.
key=AKIA$(printf 'Q3Z7XWVB5TNDK2LM')

if [ "$scene" = all ]; then
    scene "What the agent holds: a stand-in where a credential would be"
    note "NOTES_TOKEN=$NOTES_TOKEN"

    scene "An allowed call: the proxy puts the real credential in the stand-in's place"
    try 200 -H "Authorization: Bearer $NOTES_TOKEN" "$origin/notes/1"

    scene "A path that is not granted"
    try 403 "$origin/admin"

    scene "A host that is not granted"
    try 403 https://example.com/

    if [ -z "${DEMO_STAND_ALONE:-}" ]; then
        scene "Around the proxy: there is no other way out of the bottle"
        try 000 --noproxy '*' --connect-timeout 3 "$origin/notes/1"
    fi
fi

scene "A secret on its way out through the granted path (a made-up AWS key)"
try 403 -H 'Content-Type: application/json' -d "{\"text\": \"key $key\"}" "$origin/notes/"

exit $wrong
