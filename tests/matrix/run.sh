#!/bin/bash
# Runs every client of docs/clients.md inside a bottle, as an agent would: no proxy, no CA and no credential is named here. $1 is
# the origin's name. Prints `row`, client, version, what was asked and the result, between tabs; what a client that failed said
# goes to standard error.
set -u
origin=https://$1:8443
programs=/clients/programs
python=/clients/python/bin/python
cd "$(mktemp -d)" || exit 1

# client NAME VERSION ASKED EXPECTED COMMAND…: fine when the command succeeds and prints EXPECTED, an extended regular expression.
client() {
    local name=$1 version=$2 asked=$3 expected=$4 result said
    shift 4
    if said=$(timeout 120 "$@" 2>&1 </dev/null) && grep -qE -- "$expected" <<<"$said"; then
        result=works
    else
        result=fails
        printf '%s: %s\n' "$name" "$(tail -n 15 <<<"$said")" >&2
    fi
    printf 'row\t%s\t%s\t%s\t%s\n' "$name" "$version" "$asked" "$result"
}

# number COMMAND…: the first thing in its output that looks like a version.
number() { "$@" 2>&1 | grep -v JAVA_TOOL_OPTIONS | grep -oE '[0-9]+\.[0-9]+(\.[0-9]+)?' | head -n 1; }
library() { "$python" -c 'import importlib.metadata as m, sys; print(m.version(sys.argv[1]))' "$1"; }
fetches() { client "$1" "$2" 'a page' 'credential seen' "${@:3}" "$origin/echo"; }

fetches curl "$(number curl --version)" curl -sS
fetches wget "$(number wget --version)" wget -qO-

client git "$(number git --version)" 'a clone' hello sh -c "git clone -q $origin/git/demo.git cloned && cat cloned/README"

mkdir -p apt/lists/partial apt/archives/partial
echo "deb [trusted=yes] $origin/apt ./" >apt/sources.list
: >apt/status
apt=(-o "Dir::Etc::sourcelist=$PWD/apt/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$PWD/apt/lists"
    -o "Dir::State::status=$PWD/apt/status" -o "Dir::Cache=$PWD/apt" -o APT::Sandbox::User=)
client apt "$(number apt-get --version)" 'an index and a package' 'demo_1\.0_all\.deb' \
    bash -c 'apt-get -q "$@" update && apt-get -q "$@" download demo && ls' bash "${apt[@]}"

client pip "$(library pip)" 'a wheel from an index' 'Successfully installed demo-1.0' \
    "$python" -m pip install --disable-pip-version-check --no-cache-dir --target pip --index-url "$origin/simple/" demo
client uv "$(number uv --version)" 'a wheel from an index' 'demo==1.0' \
    uv pip install --python "$python" --no-cache --target uv --index-url "$origin/simple/" demo

mkdir with-npm with-pnpm
echo '{}' | tee with-npm/package.json >with-pnpm/package.json
client npm "$(number npm --version)" 'a package from a registry' index.js sh -c \
    "cd with-npm && npm install --no-audit --no-fund --no-update-notifier --fetch-retries=0 --registry $origin/npm/ demo && ls node_modules/demo"
client pnpm "$(number pnpm --version)" 'a package from a registry' index.js sh -c \
    "cd with-pnpm && pnpm add --registry $origin/npm/ --config.fetch-retries=0 demo && ls node_modules/demo"
fetches 'Node fetch' "$(number node --version)" node "$programs/fetch.mjs"
fetches 'Deno fetch' "$(number deno --version)" deno run --quiet --no-config --allow-net --allow-env "$programs/fetch.mjs"

mkdir -p crate/src crate/.cargo
: >crate/src/lib.rs
printf '[package]\nname = "user"\nversion = "0.1.0"\nedition = "2021"\n[dependencies]\ndemo = "1"\n' >crate/Cargo.toml
printf '[source.crates-io]\nreplace-with = "origin"\n[source.origin]\nregistry = "sparse+%s/cargo/"\n' "$origin" >crate/.cargo/config.toml
client cargo "$(number cargo --version)" 'a crate from a sparse index' 'Downloaded demo v1\.0\.0' sh -c 'cd crate && cargo fetch'

mkdir module
printf 'module user\n\ngo 1.19\n' >module/go.mod
client 'go mod' "$(number go version)" 'a module from a proxy' 'example.com/demo@v1\.0\.0' \
    env "GOPROXY=$origin/go" GONOSUMDB=example.com GOFLAGS=-mod=mod sh -c 'cd module && go mod download -json example.com/demo@v1.0.0'
fetches 'Go net/http' "$(number go version)" go run "$programs/fetch.go"

fetches 'Java HttpClient' "$(number java -version)" java "$programs/Fetch.java"

fetches 'Ruby net/http' "$(number ruby --version)" ruby -ropen-uri -e 'puts URI.open(ARGV[0]).read'
client gem "$(number gem --version)" 'a gem from a source' 'Downloaded demo-1\.0\.0' \
    gem fetch demo --clear-sources --source "$origin/rubygems/"

fetches 'Python urllib' "$(number "$python" --version)" "$python" -c \
    'import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())'
fetches requests "$(library requests)" "$python" "$programs/with_requests.py"
fetches 'httpx, HTTP/2' "$(library httpx)" "$python" "$programs/with_httpx.py"
fetches aiohttp "$(library aiohttp)" "$python" "$programs/with_aiohttp.py"
client 'gRPC for Python' "$(library grpcio)" 'a call' 'hello: credential seen' "$python" "$programs/with_grpc.py" "$1:8444"
