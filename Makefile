# What there is to run. Each of these does its own set-up, shows what it does, and is quick the second time.

.PHONY: demo test interop conformance build profile bench bench-quick bench-compare bench-instructions bench-path bench-scan
.PHONY: fuzz hardening lint setup clean-images clients-matrix test-gvisor test-podman launch-failures

# A short story on this machine: an origin, a bottle, and what the bottle's agent can and cannot do.
demo:
	@scripts/demo

# Every test.
test:
	@scripts/test

# The tests that speak to pipelock, against the real one (PIPELOCK_BIN, or its image).
interop:
	@scripts/interop

# h2spec, Autobahn and gRPC interop through an intercepted tunnel; docs/conformance.md has the results.
conformance:
	@scripts/conformance

# Static `bottle`, `egress-proxy` and `supervise` in target/dist.
build:
	@scripts/build

# The profile by which `make build` optimises, made anew: after changes on the path of a request, or for another compiler.
profile:
	@scripts/profile

# What the proxy costs beside others, in interleaved rounds; figures and charts go to benches/results, the chief ones into
# docs/performance.md. PIPELOCK_BIN adds pipelock.
bench:
	@scripts/bench --results benches/results --page docs/performance.md

# The same beside the floor alone, in under three minutes, printed only.
bench-quick:
	@scripts/bench --quick

# Beside an older revision of the proxy: make bench-compare REV=main~10
bench-compare:
	@scripts/bench-compare "$(REV)"

# Instructions per request, by callgrind: repeatable on a busy machine.
bench-instructions:
	@scripts/bench-instructions

# Steps of the request path alone, by criterion.
bench-path:
	cargo bench --locked -p benches --bench path

# The tests of bottles on Podman; as root.
test-podman:
	@scripts/test-podman

# docs/clients.md: the clients of tests/matrix in a bottle, each against an origin of its own.
clients-matrix:
	@scripts/clients-matrix

# `bottle` killed at each step of a launch, and engines that die or run out of room; as root.
launch-failures:
	@scripts/launch-failures

# The tests of bottles with the agent in gVisor (`runsc`); as root.
test-gvisor:
	@scripts/test-gvisor

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

# A container engine and the test agent's image.
setup:
	@scripts/engine
	@scripts/base-image --git-host >/dev/null

# The images that bottles were built on; they are built again when needed.
clean-images:
	docker image ls -q --filter label=claude-bottle.role | sort -u | xargs -r docker image rm -f

# The built-in scan against gitleaks (`go install github.com/zricethezav/gitleaks/v8@latest`), over the same material.
bench-scan:
	@scripts/bench-scan --write benches/results/$$(date -u +%F)-scan.md

# Every parser of client bytes against changed inputs, for FUZZ_SECONDS (20) each.
fuzz:
	@scripts/fuzz

# The proxy under load and in want: 1 GiB each way, 1,000 clients, slowloris, reload, rotation, a dying origin, SIGTERM.
hardening:
	@scripts/hardening
