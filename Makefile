# The two commands, and what they are made of. `make demo` and `make test` need git, Rust and a C compiler only;
# what else a test needs, its runner installs.

# rustflags of the environment would replace those of .cargo/config.toml and silently give a dynamic binary.
unexport RUSTFLAGS
unexport CARGO_ENCODED_RUSTFLAGS

TRIPLE := x86_64-unknown-linux-gnu
TARGET := $(or $(CARGO_TARGET_DIR),target)
SPINE := $(abspath $(TARGET))/$(TRIPLE)/release/spine
# Exactly the locked crates, wherever it is built.
CARGO := cargo
LOCKED := --locked

.PHONY: demo docs-test build deb deb-check deb-test ansible-test ansible-check test bench check static unit sim clients cluster tree fuzz testssl watch

## demo: builds and starts a three-node site on this machine; Ctrl-C stops it.  make demo ARGS="--nodes 5"
demo: build
	$(SPINE) demo $(ARGS)

# The same bytes from any folder and any home: no path of this machine enters the binary. The configuration of Cargo cannot
# say that, because it cannot name the folder that it stands in; its rustflags are joined with these.
REMAP := ["--remap-path-prefix=$(CURDIR)=/spine", "--remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)=/cargo"]
build:
	$(CARGO) build --release $(LOCKED) --config 'target.$(TRIPLE).rustflags = $(REMAP)'

## deb: the Debian package, in target/deb, with the release binary inside. Needs debhelper (apt-get install debhelper).
##   make deb SPINE=/path/to/spine takes a binary that was built from this tree; VERSION=0.2.0 another version.
deb: $(if $(filter command,$(firstword $(origin SPINE))),,build)
	bash packaging/build-deb $(SPINE) $(TARGET)/deb $(if $(filter command,$(firstword $(origin VERSION))),$(VERSION))

## deb-test: the package built twice, looked through by lintian, and installed, run, upgraded and purged on a booted Debian.
deb-test: $(if $(filter command,$(firstword $(origin SPINE))),,build)
	bash tests/deb/run $(SPINE)

## deb-check: the part of deb-test that boots nothing: same bytes, lintian, contents.
deb-check: $(if $(filter command,$(firstword $(origin SPINE))),,build)
	bash tests/deb/run $(SPINE) --no-machine

## ansible-test: the playbooks of `ansible` over SSH against three booted Debians, through a site's whole life.
ansible-test: $(if $(filter command,$(firstword $(origin SPINE))),,build)
	bash tests/ansible/run $(SPINE)

## ansible-check: the part of ansible-test that boots nothing: syntax, and ansible-lint in its production profile.
ansible-check:
	@bash tests/ansible/run --check

## test: installs what the tests need and runs all of them. The release build links on one processor for minutes; the
## parsers are fuzzed beside it.
test: check unit sim
	$(MAKE) --no-print-directory -j2 fuzz build
	$(MAKE) --no-print-directory static docs-test clients watch cluster

## check: format, lints, dependency rules. Warnings are errors in CI only.
check: tree
	@bash tests/exposure
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy $(LOCKED) --all-targets $(if $(CI),-- -D warnings)
	@bash tests/advisories
	@if command -v python3 >/dev/null; then python3 tests/watch; else echo "watch: skipped: no python3"; fi
	$(MAKE) --no-print-directory ansible-check

## unit: everything that needs only cargo, but the cluster of real processes and the simulated one (see below).
TESTS := $(filter-out cluster sim,$(sort $(basename $(notdir $(wildcard tests/*.rs))) \
	$(notdir $(patsubst %/main.rs,%,$(wildcard tests/*/main.rs)))))
unit:
	@command -v openssl >/dev/null || apt-get install -y --no-install-recommends openssl
	$(CARGO) test $(LOCKED) --lib --bins $(addprefix --test ,$(TESTS))
	$(CARGO) test $(LOCKED) --doc

## sim: a simulated site under every sort of trouble, and planted faults that it must find.  make sim SEEDS=10000
SEEDS ?= 300
sim:
	CARGO_PROFILE_DEV_OPT_LEVEL=1 SPINE_SIM_SEEDS=1..$$(( $(SEEDS) + 1 )) $(CARGO) test $(LOCKED) --test sim -- --nocapture --test-threads=1

## static: proves that the release binary asks nothing of the host but a kernel.
static: build
	@bash tests/static $(SPINE)

## watch: rules, dashboards and docs/watching.md, against promtool and a demo's metrics pages; `check` does it without the demo.
watch: build
	@if command -v python3 >/dev/null; then python3 tests/watch $(SPINE); else echo "watch: skipped: no python3"; fi

## docs-test: the commands of docs/*.md, by root on machines in namespaces; `make docs-test PAGE=docs/connect.md` one page.
docs-test: build
	@if command -v python3 >/dev/null; then python3 tests/docs/run $(SPINE) $(PAGE); else echo "docs: skipped: no python3"; fi

## clients: real clients from PyPI and npm, not ours, against a running three-node site.
clients: build
	bash tests/clients/run $(SPINE)

## cluster: real processes killed, frozen, cut off, wiped, joined and replaced under load, judged by a history checker.
##   make cluster LONG=1 takes faults that stay for longer; SPINE_OLD_BIN=/path/to/spine adds sites of two releases.
cluster: build
	SPINE_BIN=$(SPINE) LONG=$(LONG) $(CARGO) test $(LOCKED) --test cluster -- --nocapture --test-threads=1

## fuzz: each parser under hostile input, from the corpora of fuzz/corpus; as many at once as there are processors.
##   make fuzz FUZZ_SECONDS=3600 takes an hour for each; FUZZ_KEEP=1 keeps the inputs that reached new code.
FUZZ_SECONDS ?= 60
fuzz:
	bash fuzz/run $(FUZZ_SECONDS)

## testssl: what testssl.sh, a scanner that is not ours, has to say of the suppliers' port. By hand: see tests/testssl/run.
testssl: build
	bash tests/testssl/run $(SPINE)

## tree: what must never enter the build.
tree:
	@bash tests/tree

## bench: the figures of docs/performance.md, on a demo site of its own; then the instructions of the hot parts.
bench: build
	bash benches/figures $(SPINE)
	@command -v valgrind >/dev/null || apt-get install -y --no-install-recommends valgrind || echo "valgrind cannot be installed"
	$(CARGO) bench $(LOCKED) --bench hot
