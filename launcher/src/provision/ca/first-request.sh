# Reaches the proxy as the agent will: by its name, over TLS, with the system's trust. What the proxy answers does not matter.
url=https://_egress-proxy.local/allowlist
tries=0
while :; do
    if command -v curl >/dev/null; then
        said=$(curl -sS -o /dev/null -m 10 $url 2>&1) && exit 0
    elif command -v openssl >/dev/null; then
        said=$(openssl s_client -brief -verify_return_error -proxy egress-proxy:9099 -connect _egress-proxy.local:443 </dev/null 2>&1) && exit 0
    else
        exit 0
    fi
    tries=$((tries + 1))
    case $tries-$said in
        5-* | *timed\ out* | *certificate*) break ;;
    esac
    sleep 1
done
printf '%s\n' "$said" >&2
exit 1
