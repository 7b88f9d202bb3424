# Makes a container trust the bottle's CA and ask no resolver, and says who its agent is. Runs as root inside it; $1 is the image's
# USER, $2 the certificate. Prints `jvm` where a Java trust store was made, then `account UID GID HOME`.
set -eu
folder=/usr/local/share/claude-bottle
ca=$folder/ca.crt
mkdir -p $folder
printf '%s' "$2" >$ca
chmod 755 $folder
chmod 444 $ca
bundle=/etc/ssl/certs/ca-certificates.crt

if [ -d /etc/pki/ca-trust/source/anchors ]; then
    cp $ca /etc/pki/ca-trust/source/anchors/claude-bottle.crt
    update-ca-trust extract
    bundle=/etc/pki/tls/certs/ca-bundle.crt
else
    mkdir -p /usr/local/share/ca-certificates /etc/ssl/certs
    cp $ca /usr/local/share/ca-certificates/claude-bottle.crt
    if [ -f /etc/debian_version ] && [ -s "$bundle" ] && command -v openssl >/dev/null; then
        # What update-ca-certificates does for one anchor more, without its second of hashing all the others again.
        ln -sf /usr/local/share/ca-certificates/claude-bottle.crt /etc/ssl/certs/claude-bottle.pem
        ln -sf claude-bottle.pem "/etc/ssl/certs/$(openssl x509 -in $ca -noout -subject_hash).0"
        cat $ca >>"$bundle"
    elif command -v update-ca-certificates >/dev/null; then
        update-ca-certificates >/dev/null
    fi
fi
if [ -s "$bundle" ]; then cp "$bundle" $folder/ca-bundle.crt; else cp $ca $folder/ca-bundle.crt; fi
chmod 444 $folder/ca-bundle.crt

# A JVM trusts its own store alone: a copy of it with our CA.
java=${JAVA_HOME:+$JAVA_HOME/bin/java}
[ -x "${java:-}" ] || java=$(command -v java || true)
if [ -n "$java" ]; then
    home=$(dirname "$(dirname "$(readlink -f "$java")")")
    for store in "$home/lib/security/cacerts" "$home/jre/lib/security/cacerts"; do
        if [ -f "$store" ] && [ -x "$home/bin/keytool" ]; then
            cp -L "$store" $folder/cacerts
            chmod 644 $folder/cacerts
            "$home/bin/keytool" -importcert -noprompt -trustcacerts -alias claude-bottle -file $ca \
                -keystore $folder/cacerts -storepass changeit >/dev/null 2>&1
            echo jvm
            break
        fi
    done
fi

# The engine's resolver has nobody to ask and lets a question wait for seconds; where nobody listens, the answer is at once.
printf 'nameserver 127.0.0.1\n' 2>/dev/null >/etc/resolv.conf || true

name=${1%%:*}
account=
while IFS=: read -r user _ uid gid _ home _; do
    if [ "$user" = "$name" ] || [ "$uid" = "$name" ]; then
        account="$uid $gid $home"
        break
    fi
done </etc/passwd
if [ -z "$account" ]; then
    echo "user $name is not in /etc/passwd" >&2
    exit 1
fi
echo "account $account"
