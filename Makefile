# edgesync: `make` lists what there is. The two that a newcomer wants: `make demo` and `make test`.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# No clock is right that shows a time before this.
BUILT   ?= $(shell git log -1 --format=%ct 2>/dev/null)
# grpcnotrace leaves out golang.org/x/net/trace, and with it html/template: 2.4 MB on MIPS.
TAGS     = grpcnotrace,nethttpomithttp2
LDFLAGS  = -s -w -X main.version=$(VERSION) -X main.built=$(BUILT)
# Only what runs for every event is compiled with inlining: without it the rest is 1 MB smaller on
# MIPS, and no slower that anyone sees.
HOT      = encoding/binary runtime internal/runtime/maps internal/runtime/math internal/runtime/sys internal/runtime/gc/... internal/bytealg sync sync/atomic \
           bytes unicode/utf8 hash/crc32 compress/flate crypto/internal/fips140/aes/... crypto/internal/fips140/sha256 \
           google.golang.org/protobuf/encoding/protowire github.com/tidwall/wal edgesync/wal edgesync/proto edgesync/sync edgesync/sync/clock \
           edgesync/sync/device edgesync/sync/device/payload edgesync/sync/device/mqtt edgesync/sync/device/plainpost
# Open-coded defers and buffers on the stack for what make and append return are code, too: the
# rest is 40 kB smaller without them.
COLD     = -l -d=noopendefer=1,variablemakethreshold=0
# The lines of instructions, and of other people's packages what never runs here, are left out:
# 1.6 MB less (scripts/trim).
TRIM     = $(CURDIR)/build/trim
GCFLAGS  = -toolexec $(TRIM) -gcflags="all=$(COLD)" $(patsubst %,-gcflags=%=,$(HOT))
GOBUILD  = CGO_ENABLED=0 go build -tags $(TAGS) -trimpath -ldflags "$(LDFLAGS)" $(GCFLAGS)

# The tools of `make lint` and `make proto`, at these versions and no others, go to build/tools.
STATICCHECK        = honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOFUMPT            = mvdan.cc/gofumpt@v0.12.0
PROTOC_GEN_GO      = google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
PROTOC_GEN_GO_GRPC = google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2
TOOLS              = $(CURDIR)/build/tools

# Names of build/ as edgesync-linux-<arch>; what each means is in scripts/ci/cross.
CROSS = mips mipsle armv6 armv7 arm64 386 amd64 riscv64
# The bounds on the stripped mipsle binary, in bytes: packed, as flash with squashfs holds it, and
# as the file is.
MAX_MIPSLE_XZ = 3000000
MAX_MIPSLE    = 13400000
# Packages whose unit tests also run on the emulated 32-bit processors, the longest first. The tests
# of the loop, ./sync, take minutes, and what they find of 32 bits MIPS finds: they run there only.
QEMU_PACKAGES = ./wal/... ./sync/device/... ./proto ./sync/clock ./sync/config ./sync/link ./sync/calls ./sync/complaint ./sync/backup ./sync/rules ./sync/ruling
# Of the rest these tests run on MIPS only, too: they are many rounds of the same, and half of its time.
MIPS_DOES = Budget.*ForADay|FullMediumThatNever.*|DeadLetterKinds.*|FloorDropsOldest|FullAtEveryStep|CountsAfterDamage|PowerCutRandom|DiskFilledByQueue|(HTTP|MQTT)SlotsRunShort|MQTTThousandConnections|Slow.*|.*Backfill.*|RefusedMessagesLeaveNoTrace|UndoOfManyRows.*
# Runs go test with a line for each package, what was skipped, and what runs while minutes pass.
GOTEST = $(CURDIR)/build/gotest

.PHONY: help
help: ## list the targets
	@echo 'make TARGET, where TARGET is one of'
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 18

# Where `make build` puts the binary. The demo and the benchmarks have their own built so: what they
# run is what ships.
OUT ?= edgesync

.PHONY: build
build: $(TRIM) ## build ./edgesync for this machine
	$(GOBUILD) -o $(OUT) .

# For this machine, whatever it is that is built for.
.PHONY: $(TRIM)
$(TRIM):
	@GOOS= GOARCH= GOFLAGS= go build -trimpath -o $@ ./scripts/trim
	@GOOS= GOARCH= GOFLAGS= $@ -linker $@-link

.PHONY: demo
demo: build/demo ## the main job on real data: link cut, kill -9, nothing lost; 30 s
	@build/demo

.PHONY: demo-forever
demo-forever: build/demo ## the same, round after round with faults at random moments, until Ctrl-C
	@build/demo --forever

.PHONY: demo-rules
demo-rules: build/demo ## a rule chain makes one event of many: kill -9 in a window, every number right; 20 s
	@build/demo --rules

# Compiles what the demo compiles again, so that it does so at once: with empty caches this takes
# minutes.
.PHONY: build/demo
build/demo: export STEPS_BEGAN := $(shell date +%s)
build/demo:
	@mkdir -p build
	@scripts/ci/step 'download modules' scripts/ci/prepare modules
	@scripts/ci/step 'build edgesync' $(MAKE) build OUT=build/edgesync
	@scripts/ci/step 'build the cloud in a box and the demo' go build -o build/ ./scripts/cloud ./scripts/demo

# How long attacks begin, the seed that decides them (0: a new one), and how long 99 of 100 honest
# posts may take (0: it is only printed, for a machine that has other work).
FOR     ?= 20m
SEED    ?= 0
LATENCY ?= 1s
# A memory cgroup for the agent, such as 32MiB; nothing: none.
MEMORY  ?=

.PHONY: soak
soak: export STEPS_BEGAN := $(shell date +%s)
soak: ## honest devices for FOR (20m) while one attack after the other goes on; nothing lost, nothing grown
	@mkdir -p build
	@scripts/ci/step 'build edgesync' $(MAKE) build OUT=build/edgesync
	@scripts/ci/step 'build the soak' go build -o build/ ./scripts/soak
	@scripts/ci/step 'soak for $(FOR)' build/soak -for $(FOR) -seed $(SEED) -latency $(LATENCY) -memory "$(MEMORY)"

# The memory cgroups of soak-memory. 386 is the build of 32 bits that runs here at full speed: pointers
# and int are those of a MIPS router.
MEMORIES ?= 20MiB 32MiB

.PHONY: soak-memory
soak-memory: export STEPS_BEGAN := $(shell date +%s)
soak-memory: ## each attack of the soak once in MEMORIES, on the 386 build, as root; 6 min for each of them
	@mkdir -p build
	@scripts/ci/step 'build edgesync for 386' $(MAKE) soak-agent
	@scripts/ci/step 'build the soak' go build -o build/ ./scripts/soak
	@for m in $(MEMORIES); do scripts/ci/step "each attack within $$m" build/soak -each -agent build/edgesync-386 -memory "$$m" || exit 1; done

.PHONY: soak-agent
soak-agent: export GOARCH = 386
soak-agent: $(TRIM)
	@$(MAKE) build OUT=build/edgesync-386

# How many agents use one cloud.
AGENTS ?= 200

.PHONY: fleet
fleet: export STEPS_BEGAN := $(shell date +%s)
fleet: ## AGENTS (200) agents on one cloud: an outage, kill -9 for all; nobody locked out, nothing lost; 5 min
	@mkdir -p build
	@scripts/ci/step 'build edgesync' $(MAKE) build OUT=build/edgesync
	@scripts/ci/step 'build the cloud in a box and the run' go build -o build/ ./scripts/cloud ./scripts/fleetrun
	@scripts/ci/step '$(AGENTS) agents' build/fleetrun -agents $(AGENTS)

# How many events devices send to the emulated router, and how often its power is cut meanwhile.
EVENTS ?= 10000
CUTS   ?= 20

.PHONY: router-vm
router-vm: ## an emulated MIPS router whose power is cut CUTS (20) times on JFFS2, UBIFS, F2FS; 20 minutes
	@mkdir -p build/router
	@scripts/ci/step 'build edgesync for mipsle' $(MAKE) router-vm-agent
	@scripts/ci/step 'prepare the router' scripts/router/prepare build/router/edgesync build/router
	@scripts/ci/step 'build what cuts its power' go build -o build/router-vm ./scripts/router
	@scripts/ci/step '$(CUTS) cuts' timeout 90m build/router-vm -events $(EVENTS) -cuts $(CUTS)

.PHONY: router-vm-agent
router-vm-agent: export GOOS = linux
router-vm-agent: export GOARCH = mipsle
router-vm-agent: export GOMIPS = softfloat
router-vm-agent:
	@$(MAKE) build OUT=build/router/edgesync

.PHONY: test
test: export STEPS_BEGAN := $(shell date +%s)
test: export STEPS_LIST := $(CURDIR)/build/steps
test: ## everything that must hold: lint, tests with the race detector, all platforms, emulated 32-bit
	@mkdir -p build && : >$(STEPS_LIST)
	@scripts/ci/step prepare scripts/ci/prepare cgo protoc qemu disks xz openwrt debian clients python modules
	@scripts/ci/step tools $(MAKE) $(TOOLS)/.installed nfpm
	@scripts/ci/step lint $(MAKE) lint
	@scripts/ci/step proto-check $(MAKE) proto-check
	@scripts/ci/step race $(MAKE) race
	@scripts/ci/step memory $(MAKE) memory
	@scripts/ci/step cross $(MAKE) cross CROSS='$(filter-out armv7 riscv64,$(CROSS))'
	@scripts/ci/step release-twice $(MAKE) release-twice
	@scripts/ci/step qemu $(MAKE) qemu
	@cat $(STEPS_LIST)
	@echo "make test: all passed in $$((($$(date +%s) - STEPS_BEGAN) / 60)) min"

.PHONY: page
page: ## pack the page after a change of sync/status/page
	PACK_PAGE=1 go test -count=1 -run TestPageIsPacked ./sync/status

# In Chromium, which is large: not among the tests of `make test`.
.PHONY: page-test page-shots
page-test: ## each button, filter and state of the page in Chromium, and its accessibility
	@scripts/ci/prepare chromium axe
	go vet -tags page ./sync/status/browser
	AXE=$(CURDIR)/build/tools/axe-core-4.10.2/axe.min.js go test -count=1 -tags page ./sync/status/browser
page-shots: ## what the page looks like, as build/page-shots/*.png
	@scripts/ci/prepare chromium axe
	SHOTS=$(CURDIR)/build/page-shots go test -count=1 -tags page ./sync/status/browser
	@ls build/page-shots

.PHONY: unit
unit: ## the tests alone, without the race detector
	go test ./...

.PHONY: $(GOTEST)
$(GOTEST):
	@go build -o $@ ./scripts/ci/gotest

.PHONY: race
race: $(GOTEST) ## the tests with the race detector
# The longest packages first, and more of them than two cores: most of them wait for half of the time.
# Without vet, which `make lint` runs on the same files.
	CGO_ENABLED=1 $(GOTEST) -- -race -vet=off -p 3 -timeout 15m ./sync/cli ./sync ./wal ./sync/registry ./...

.PHONY: memory
memory: $(GOTEST) ## what the agent takes at most: processes as they are shipped, without the race detector
	$(GOTEST) -- -vet=off -timeout 15m -run '^TestMemory' ./sync/cli

$(TOOLS)/.installed: Makefile
	@mkdir -p $(TOOLS)
	GOBIN=$(TOOLS) scripts/ci/twice go install $(STATICCHECK)
	GOBIN=$(TOOLS) scripts/ci/twice go install $(GOFUMPT)
	GOBIN=$(TOOLS) scripts/ci/twice go install $(PROTOC_GEN_GO)
	GOBIN=$(TOOLS) scripts/ci/twice go install $(PROTOC_GEN_GO_GRPC)
	@touch $@

.PHONY: lint
lint: $(TOOLS)/.installed ## go vet, staticcheck, gofumpt, go.mod, and the rules of the house
	go vet ./...
	$(TOOLS)/staticcheck ./...
	@out=$$($(TOOLS)/gofumpt -l .); [ -z "$$out" ] || { echo "not formatted by gofumpt:"; echo "$$out"; exit 1; }
	go mod tidy -diff
	@scripts/ci/rules
	@scripts/ci/sqlite vet
	@scripts/ci/mochi vet

.PHONY: proto
proto: $(TOOLS)/.installed ## regenerate the Go code of the messages from proto/*.proto
	@scripts/ci/prepare protoc
	cd proto && PATH=$(TOOLS):$$PATH protoc --go_out=. --go_opt=paths=source_relative \
	  --go-grpc_out=. --go-grpc_opt=paths=source_relative edge.proto telemetry.proto

.PHONY: proto-check
proto-check: $(TOOLS)/.installed ## fail when the committed generated code is not what proto/*.proto gives
	@scripts/ci/prepare protoc
	@PATH=$(TOOLS):$$PATH scripts/ci/proto-check

.PHONY: cross
cross: $(TRIM) ## build for every platform into build/, check size and dependencies
	@scripts/ci/prepare xz
	@VERSION='$(VERSION)' TAGS='$(TAGS)' LDFLAGS='$(LDFLAGS)' GCFLAGS='$(GCFLAGS)' MAX_MIPSLE=$(MAX_MIPSLE) MAX_MIPSLE_XZ=$(MAX_MIPSLE_XZ) scripts/ci/cross $(CROSS)

# The packages' tools, at these versions and no others.
NFPM           = github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2
CYCLONEDX      = github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0
RELEASE_TOOLS ?= $(CURDIR)/build/release-tools
# What a release is called is the last tag and the commits since; without a tag, commits alone.
DESCRIBE      ?= $(shell git describe --tags --match 'v[0-9]*' --dirty 2>/dev/null || \
                   echo v0.0.0-$$(git rev-list --count HEAD)-g$$(git rev-parse --short HEAD)$$(git diff --quiet HEAD || echo -dirty))
# Binaries of a release: all of `make cross`, and 386 again for OpenWrt's i386_pentium4.
RELEASE       ?= $(CROSS) armv5 386-sse2
# Where the release goes; a file with a private RSA key, to sign it; and whom the packages name.
DIST          ?= dist
SIGN_KEY      ?=
MAINTAINER    ?= $(shell git log -1 --format='%an <%ae>')
HOMEPAGE      ?= https://thingsboard.io/docs/edge/
comma         := ,
empty         :=
space         := $(empty) $(empty)

# Each tool has a file that says which version of it is there.
$(RELEASE_TOOLS)/nfpm-$(lastword $(subst @, ,$(NFPM))):
	@mkdir -p $(RELEASE_TOOLS)
	GOBIN=$(RELEASE_TOOLS) scripts/ci/twice go install $(NFPM)
	@touch $@

$(RELEASE_TOOLS)/cyclonedx-$(lastword $(subst @, ,$(CYCLONEDX))):
	@mkdir -p $(RELEASE_TOOLS)
	GOBIN=$(RELEASE_TOOLS) scripts/ci/twice go install $(CYCLONEDX)
	@touch $@

.PHONY: nfpm
nfpm: $(RELEASE_TOOLS)/nfpm-$(lastword $(subst @, ,$(NFPM)))

# The binaries bear the release's name, and nothing of the working copy they were built in. SBOM=no
# leaves out the parts list, which takes half a minute.
SBOM ?= yes
.PHONY: release
release: nfpm $(if $(filter yes,$(SBOM)),$(RELEASE_TOOLS)/cyclonedx-$(lastword $(subst @, ,$(CYCLONEDX)))) ## dist/: binaries, packages for OpenWrt and Debian, image, checksums (scripts/release)
	@mkdir -p build/release
	go build -o build/release/release ./scripts/release
	@version=$$(build/release/release -version '$(DESCRIBE)' -say-version); \
	  GOFLAGS='$(GOFLAGS) -buildvcs=false' OUT_DIR=build/release $(MAKE) cross VERSION="$$version" CROSS='$(RELEASE)'
	$(if $(filter yes,$(SBOM)),RELEASE_TOOLS=$(RELEASE_TOOLS) TAGS=$(TAGS) scripts/release/sbom build/release/sbom.json)
	build/release/release -version '$(DESCRIBE)' -time '$(BUILT)' -bin build/release -out '$(DIST)' \
	  -nfpm $(RELEASE_TOOLS)/nfpm -key '$(SIGN_KEY)' -maintainer '$(MAINTAINER)' -homepage '$(HOMEPAGE)' \
	  $(if $(filter yes,$(SBOM)),-sbom build/release/sbom.json) -only '$(subst $(space),$(comma),$(strip $(RELEASE)))'

.PHONY: release-twice
release-twice: nfpm ## make a release in two directories, of TWICE (amd64), and compare every byte
	@RELEASE_TOOLS=$(RELEASE_TOOLS) DESCRIBE='$(DESCRIBE)' BUILT='$(BUILT)' MAINTAINER='$(MAINTAINER)' scripts/release/twice $(or $(TWICE),amd64)

.PHONY: debian-trial
debian-trial: nfpm ## the .deb in a Debian of its own that systemd boots: 100 MB once, then a minute; as root
	@RELEASE_TOOLS=$(RELEASE_TOOLS) scripts/debian/trial

# The loop takes as long as nearly all the rest, so it begins at once, and the rest goes on beside
# it, a package at a time for each processor. With GOGC the emulated collector of garbage, which
# takes a fifth of the time otherwise, runs less often.
EMULATED = CGO_ENABLED=0 GOGC=400 $(GOTEST) -emulated -- -p 1 -vet=off -toolexec $(TRIM) -short -timeout 25m

.PHONY: qemu
qemu: $(GOTEST) $(TRIM) ## the unit tests of wal, proto, sync and the doors as mipsle and arm, under qemu-user
	@scripts/ci/prepare qemu
	@scripts/ci/beside \
	  'mipsle, the loop' 'GOARCH=mipsle GOMIPS=softfloat $(EMULATED) -exec qemu-mipsel-static ./sync' \
	  'arm' 'GOARCH=arm GOARM=6 $(EMULATED) -exec qemu-arm-static -skip "^Test($(MIPS_DOES))$$" $(QEMU_PACKAGES)' \
	  'mipsle' 'GOARCH=mipsle GOMIPS=softfloat $(EMULATED) -exec qemu-mipsel-static $(QEMU_PACKAGES)'

.PHONY: fuzz-smoke
fuzz-smoke: ## each fuzz target for FUZZTIME (5s)
	@FUZZTIME=$${FUZZTIME:-5s} scripts/ci/fuzz-smoke

.PHONY: powercut
powercut: ## power cuts on a real ext4 while 16 writers append, CUTS (50) of each kind; as root
	go test ./wal -count 1 -run '^TestRealPowerCut$$' -v -cuts $${CUTS:-50}

.PHONY: bench
bench: ## the numbers of scripts/bench/README.md, each beside its yardstick and its bound (Linux)
	@echo 'building the benchmarks …' >&2
	@mkdir -p build && go build -o build/bench ./scripts/bench
	@build/bench
	@$(MAKE) bench-sqlite

# The tests of PACKAGE, built with the flags of the releases: where nothing is inlined, other things
# are allocated.
.PHONY: shipped-test
shipped-test: $(TRIM)
	CGO_ENABLED=0 go test -c -vet=off -tags $(TAGS) -trimpath $(GCFLAGS) -o $(OUT) $(PACKAGE)

.PHONY: bench-sqlite
bench-sqlite: ## the queue against an outbox table in SQLite (needs a C compiler; 1 min)
	@scripts/ci/sqlite bench

.PHONY: clean
clean: ## remove what was built
	rm -rf build dist edgesync
