# What the scripts need of this machine. Sourced, from the repository's root.
#
#   need TOOL...    Makes sure that the tools are installed: cargo, cargo-fmt, cargo-clippy, cc, java, mvn, curl, setsid, ...
#                   As root with apt they are installed; otherwise the script ends with 4 and says what is missing and
#                   how to get it. KAFKA_CRON_INSTALL=no: nothing is installed.
#   want TOOL...    The same for tools that are useful but not needed: the script says what is missing and goes on.
# shellcheck shell=bash

# Where rustup puts cargo; a shell that was started before does not know it yet.
[[ ! -d ${HOME:-/nowhere}/.cargo/bin ]] || PATH=$PATH:$HOME/.cargo/bin

# The toolchain that rust-toolchain.toml names.
toolchain() { sed -n 's/^channel = "\(.*\)"$/\1/p' rust-toolchain.toml; }

# Whether a tool is installed and new enough.
has() {
    case $1 in
        cargo) at_least "$(toolchain)" "$(rustc --version 2>/dev/null | cut -d ' ' -f 2)" && cargo --version >/dev/null 2>&1 ;;
        cargo-fmt) cargo fmt --version >/dev/null 2>&1 ;;
        cargo-clippy) cargo clippy --version >/dev/null 2>&1 ;;
        java) at_least 17 "$(java -version 2>&1 | sed -n '1s/.*"\(.*\)".*/\1/p')" ;;
        # A library, where Debian puts it.
        libfaketime) compgen -G '/usr/lib/*/faketime/libfaketime.so.1' >/dev/null ;;
        *) command -v "$1" >/dev/null ;;
    esac
}
# at_least LOWEST VERSION
at_least() { [[ -n $2 && $(printf '%s\n' "$1" "$2" | sort -V | head -n 1) == "$1" ]]; }

# The Debian packages that contain a tool; empty if apt has none.
packages_of() {
    case $1 in
        cargo) apt_has rustup && echo rustup ;;
        cargo-fmt | cargo-clippy) ;;
        cc) echo gcc libc6-dev ;;
        # 17 is in Debian 12, 21 in Debian 13; the client's and broker's jars run on both.
        java) if apt_has openjdk-17-jre-headless; then echo openjdk-17-jre-headless; else echo default-jre-headless; fi ;;
        mvn) echo maven ;;
        setsid | flock | setpriv) echo util-linux ;;
        # With kill(1), which tests send signals with.
        ps) echo procps ;;
        promtool) echo prometheus ;;
        *) echo "$1" ;;
    esac
}
apt_has() { apt-cache show "$1" 2>/dev/null | grep -q '^Package:'; }

how_to_get() {
    local packages=''
    ! command -v apt-get >/dev/null || packages=$(packages_of "$1")
    case ${packages:-$1} in
        cargo) echo "Rust $(toolchain); https://rustup.rs says how, in one command" ;;
        cargo-fmt | cargo-clippy) echo "rustup component add rustfmt clippy" ;;
        "$packages") echo "apt-get install $packages" ;;
        java) echo "Java 17 or newer" ;;
        *) echo "the package that holds it" ;;
    esac
}

missing() {
    local tool
    for tool in "$@"; do has "$tool" || echo "$tool"; done
}

need() {
    local tool wanting packages
    mapfile -t wanting < <(missing "$@")
    [[ ${#wanting[@]} -gt 0 ]] || return 0
    if [[ ${KAFKA_CRON_INSTALL:-yes} != no && $(id -u) -eq 0 ]] && command -v apt-get >/dev/null; then
        echo "missing here: ${wanting[*]}; installing" >&2
        # A fresh container has no lists.
        apt_has maven || apt-get -qq update >&2 || true
        # shellcheck disable=SC2207 # package names hold no spaces
        packages=($(for tool in "${wanting[@]}"; do packages_of "$tool"; done))
        [[ ${#packages[@]} -eq 0 ]] ||
            DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${packages[@]}" >&2 || true
        # rustup comes without a toolchain; the components are those of rust-toolchain.toml.
        if command -v rustup >/dev/null && ! has cargo; then
            rustup toolchain install "$(toolchain)" --profile minimal -c rustfmt -c clippy >&2 || true
        fi
        mapfile -t wanting < <(missing "$@")
        [[ ${#wanting[@]} -gt 0 ]] || return 0
    fi
    echo "missing here:" >&2
    for tool in "${wanting[@]}"; do echo "  $tool: $(how_to_get "$tool")" >&2; done
    exit 4
}

# In a subshell, so that only the subshell ends if something is missing.
want() { (need "$@") || echo "going on without" >&2; }
