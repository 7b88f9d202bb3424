# Then, when its neighbours have their addresses: reads lines for /etc/hosts up to an empty one, and reaches the proxy as the agent
# will: by its name, over TLS, with the system's trust and by a client that the image has. What the proxy answers does not matter,
# and it may not listen at once. Prints `reached` at the end.
while IFS= read -r line && [ -n "$line" ]; do
    printf '%s\n' "$line" >>/etc/hosts
done
url=https://_egress-proxy.local/allowlist
reach() {
    if command -v curl >/dev/null; then
        said=$(curl -sS -o /dev/null -m 10 $url 2>&1)
    elif command -v openssl >/dev/null; then
        said=$(openssl s_client -brief -verify_return_error -proxy egress-proxy:9099 -connect _egress-proxy.local:443 </dev/null 2>&1)
    fi
}
tries=0
until reach; do
    tries=$((tries + 1))
    case $tries-$said in
        25-* | *timed\ out* | *certificate*)
            printf '%s\n' "$said" >&2
            exit 1
            ;;
    esac
    # Not every system's takes less than a second.
    sleep 0.1 2>/dev/null || sleep 1
done
echo reached
