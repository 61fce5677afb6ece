# What developers and CI call. Wants the .NET SDK of global.json; the scripts install what else is missing (Debian, as root or with sudo).
VERSION := $(shell sed -n 's:.*<Version>\(.*\)</Version>.*:\1:p' Directory.Build.props)
# All times in packages: that of the commit, so that two builds of it are the same bytes.
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 1767225600)
export SOURCE_DATE_EPOCH
export DOTNET_CLI_TELEMETRY_OPTOUT := 1
export DOTNET_NOLOGO := 1

.DEFAULT_GOAL := build
.PHONY: build test package format e2e demo bench render

build: ## artifacts/bin/nodeagent: one self-contained file for linux-x64
	dotnet publish src/NodeAgent --configuration Release --output artifacts/publish
	install -D -m 0755 artifacts/publish/nodeagent artifacts/bin/nodeagent

test: ## all unit tests; TEST_ARGUMENTS goes to dotnet test
	@build/need openssl:openssl dpkg-deb:dpkg nft:nftables
	@build/test $(TEST_ARGUMENTS)

package: build ## artifacts/packages/*.deb
	dotnet run --project src/Packaging --configuration Release -- deb --binary artifacts/bin/nodeagent --version $(VERSION) --output artifacts/packages

format: ## formats, then checks what formatting cannot mend
	@build/need shellcheck:shellcheck
	dotnet format NodeAgent.sln
	dotnet format NodeAgent.sln --no-restore --verify-no-changes
	shellcheck --external-sources --source-path=SCRIPTDIR build/need build/test .ci/run bench/run bench/issuer/run bench/service-proxy examples/render tests/Lab/build/*.sh

e2e: package ## the scenarios; SCENARIO=name for one, TIER=ci for those of CI
	@dotnet run --project tests/Lab -- e2e $(if $(TIER),--tier $(TIER)) $(SCENARIO)

demo: package ## a machine becomes a node before your eyes
	@dotnet run --project tests/Lab -- demo

bench: build ## figures of speed and memory, with their method
	@bench/run

render: build ## examples/rendered: every node of examples/nodes as files, for a pull request to show what changes on each
	rm -rf examples/rendered
	examples/render artifacts/bin/nodeagent examples/rendered
