#!/usr/bin/env bash
# Installs missing tools on Debian, Ubuntu (apt-get) or macOS (Homebrew).
# `setup.sh demo`: compilers, OpenSSL headers, Redis. `setup.sh test`: also the tools of
# tests/tools.txt, into target/; Java and Maven for Apache Kafka (without them tests use the broker
# embedded in librdkafka); Node.js and Chromium for the browser client; Prometheus for its rules
# (without them the tests that need them are skipped). `setup.sh bench`: Java, Maven and Valgrind.
set -euo pipefail

cd "$(dirname "$0")/.."
purpose=${1:-test}
missing=() # Debian package names

has() { command -v "$1" >/dev/null 2>&1; }
# Whether the C compiler finds a header; librdkafka needs it.
has_header() { echo "#include <$1>" | cc ${CPPFLAGS:-} -E - >/dev/null 2>&1; }

find_missing() {
    missing=()
    has cc || missing+=(gcc libc6-dev)
    has c++ || missing+=(g++) # librdkafka's build asks for it
    has make || missing+=(make)
    has cmake || missing+=(cmake)
    has pkg-config || missing+=(pkg-config)
    has redis-server || missing+=(redis-server)
    has_header openssl/ssl.h || missing+=(libssl-dev)
    has_header zlib.h || missing+=(zlib1g-dev)
}

java_version() {
    java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1
}

find_missing_for_kafka() {
    missing=()
    local version
    version=$(has java && java_version || true)
    [ "${version:-0}" -ge 17 ] || missing+=(java)
    has mvn || missing+=(maven)
}

find_missing_for_tools() {
    missing=()
    python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-pip)
}

# The workflow linter, built from its Go module; go.sum pins all sources.
install_actionlint() {
    local tools=target/tools
    if cmp -s tests/actionlint/go.sum "$tools/actionlint.sum"; then return 0; fi
    has go || return 1
    GOBIN=$PWD/$tools/bin \
        go install -C tests/actionlint github.com/rhysd/actionlint/cmd/actionlint || return 1
    cp tests/actionlint/go.sum "$tools/actionlint.sum"
}

# Into target/, without changing the system.
install_tools() {
    local tools=target/tools
    cmp -s tests/tools.txt "$tools/tools.txt" && return
    rm -rf "$tools"
    python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --no-deps \
        --require-hashes --only-binary :all: --target "$tools" --requirement tests/tools.txt
    cp tests/tools.txt "$tools/"
}

node_is_new_enough() {
    has npm && has node && node --eval '
        const [major, minor] = process.versions.node.split(".").map(Number);
        process.exit(major > 20 || (major === 20 && minor >= 19) ? 0 : 1)'
}

has_chromium() {
    has chromium || has chromium-browser || has google-chrome-stable || has google-chrome
}

# The packages of the browser client; reinstalled when the lock file changes.
install_client_packages() {
    node_is_new_enough || return 1
    local client=ws-gateway/client mark
    mark=$client/node_modules/.installed
    if cmp -s "$client/package-lock.json" "$mark"; then return 0; fi
    echo "setup: installing the packages of the browser client"
    (cd "$client" && npm ci --loglevel error </dev/null >/dev/null) || return 1
    cp "$client/package-lock.json" "$mark"
}

# The types of the custom resources in the manifests, by which they are validated.
install_crd_types() {
    node_is_new_enough || return 1
    local folder=target/tools/crds
    if cmp -s tests/crds/package-lock.json "$folder/.installed"; then return 0; fi
    rm -rf "$folder"
    mkdir -p "$folder"
    cp tests/crds/.npmrc tests/crds/package.json tests/crds/package-lock.json "$folder/"
    (cd "$folder" && npm ci --ignore-scripts --loglevel error </dev/null >/dev/null) || return 1
    cp "$folder/package-lock.json" "$folder/.installed"
}

install_for_browser() {
    missing=()
    has npm || missing+=(nodejs npm)
    { install_missing && install_client_packages; } ||
        echo "setup: without Node.js 20.19 and its packages the browser client is not checked"
    install_crd_types ||
        echo "setup: without Node.js the custom resources of the manifests are not validated"
    missing=()
    has_chromium || missing+=(chromium fonts-dejavu-core)
    install_missing || echo "setup: without Chromium no scenario runs in a browser"
}

install_prometheus() {
    missing=()
    { has prometheus && has promtool; } || missing+=(prometheus)
    install_missing || echo "setup: without Prometheus its rules are not run"
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; elif has sudo; then sudo "$@"; else
        echo "setup: run as root, or install yourself: ${missing[*]}" >&2
        return 1
    fi
}

# The newest Java that the distribution has and the tests work with.
java_package() {
    local package
    for package in openjdk-21-jre-headless openjdk-17-jre-headless; do
        if apt-cache show "$package" >/dev/null 2>&1; then break; fi
    done
    echo "$package"
}

with_apt() {
    as_root apt-get update -qq </dev/null
    local number
    for number in "${!missing[@]}"; do
        [ "${missing[number]}" != java ] || missing[number]=$(java_package)
    done
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null >/dev/null
}

with_brew() {
    local package
    for package in "${missing[@]}"; do
        case $package in
            gcc | libc6-dev | g++ | make) has cc || xcode-select --install ;;
            libssl-dev) brew install openssl@3 ;;
            zlib1g-dev) brew install zlib ;;
            redis-server) brew install redis ;;
            java) brew install openjdk ;;
            nodejs) brew install node ;;
            npm) ;; # part of node
            python3-pip) brew install python ;;
            *) brew install "$package" ;;
        esac
    done
}

install_missing() {
    [ ${#missing[@]} -gt 0 ] || return 0
    echo "setup: installing ${missing[*]}"
    if has apt-get; then with_apt; elif has brew; then with_brew; else
        echo "setup: no apt-get and no brew; install yourself: ${missing[*]}" >&2
        return 1
    fi
}

if ! has cargo; then
    echo "setup: Rust is missing; see https://rustup.rs" >&2
    exit 1
fi
find_missing
install_missing
if [ "$purpose" != demo ] && [ -z "${KAFKA_BOOTSTRAP_SERVERS:-}" ]; then
    find_missing_for_kafka
    install_missing || echo "setup: without Java 17 and Maven the tests use the embedded broker"
fi
if [ "$purpose" = bench ] && ! has valgrind; then
    missing=(valgrind)
    install_missing || echo "setup: without Valgrind no instructions are counted"
fi
if [ "$purpose" = test ]; then
    find_missing_for_tools
    install_missing
    install_tools
    install_actionlint || echo "setup: without Go 1.25 the workflows are not linted"
fi
if [ "$purpose" = test ]; then
    install_for_browser
    install_prometheus
fi
