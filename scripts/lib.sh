# Sourced by the scripts beside it: paths, and the programs that the machine must have.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
[[ $target == /* ]] || target=$PWD/$target

fail() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

as_root() {
    if ((EUID == 0)); then "$@"; else sudo -n "$@"; fi
}

# may_install PACKAGE…: if only a person can install the packages, names them and ends the script.
may_install() {
    if ! type -P apt-get >/dev/null || ! as_root true 2>/dev/null; then
        fail "something is missing. On Debian and Ubuntu: apt-get install $*"
    fi
}

apt_install() {
    may_install "$@"
    printf 'Installing %s\n' "$*" >&2
    as_root apt-get -qq update >&2
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq install --yes --no-install-recommends "$@" >&2 </dev/null
}

# need COMMAND PACKAGE…: installs the packages if the command is missing.
need() {
    type -P "$1" >/dev/null || apt_install "${@:2}"
}

# PgBouncer's package also starts a server for the machine, now and at every start of the machine. That is not
# wanted.
need_pgbouncer() {
    export PATH=$PATH:/usr/sbin
    type -P pgbouncer >/dev/null || install_pgbouncer
}

install_pgbouncer() (
    may_install pgbouncer
    policy=/usr/sbin/policy-rc.d # may packages start their servers? 101 means no
    saved=$policy.before-sessile
    trap 'as_root rm -f "$policy"; [[ ! -e $saved ]] || as_root mv "$saved" "$policy"' EXIT
    [[ ! -e $policy ]] || as_root mv "$policy" "$saved"
    as_root tee "$policy" >/dev/null <<<$'#!/bin/sh\nexit 101'
    as_root chmod 755 "$policy"
    apt_install pgbouncer
    if type -P systemctl >/dev/null; then
        as_root systemctl disable --quiet pgbouncer 2>/dev/null || true
    fi
)

# A browser for tests/browser: the one that SESSILE_CHROMIUM names, or one on the PATH.
need_chromium() {
    local name
    [[ -z ${SESSILE_CHROMIUM:-} ]] || return 0
    for name in chromium chromium-browser google-chrome; do
        if type -P "$name" >/dev/null; then return 0; fi
    done
    apt_install chromium
}

# need_tool CRATE VERSION [FLAG…]: installs a program of cargo's in a folder of this project, unless this version is
# there already. The crate's own lock file has the versions of its dependencies.
need_tool() {
    export PATH="$target/tools/bin:$PATH"
    cargo install --list --root "$target/tools" | grep -xF "$1 v$2:" >/dev/null ||
        cargo install "$1" --version "$2" --locked --debug --root "$target/tools" "${@:3}"
}

need_sqlx_cli() {
    need_tool sqlx-cli 0.9.0 --no-default-features --features postgres,sqlite,sqlx-toml
}

# The previous release, which runs beside the present one while an application's nodes are replaced.
earlier_release=7f2f9f0109b414c8d60dd20c2332e3d24cf83b7c

# Builds that release's example shop, unless it is there. The tests find its path in SESSILE_EARLIER_SHOP.
need_earlier_shop() {
    local folder=$target/earlier/$earlier_release
    export SESSILE_EARLIER_SHOP=$folder/target/debug/examples/shop
    [[ ! -x $SESSILE_EARLIER_SHOP ]] || return 0
    if [[ -e $(git -C "$root" rev-parse --git-path shallow) ]]; then
        git -C "$root" fetch --quiet --unshallow || true
    fi
    git -C "$root" cat-file -e "$earlier_release^{commit}" ||
        fail "the tests build the release before, and this clone has no commit $earlier_release. Run: git fetch --unshallow"
    printf 'Building the shop of the release before\n' >&2
    mkdir -p "$folder"
    git -C "$root" archive "$earlier_release" | tar -x -C "$folder"
    # That release is not edited when a newer compiler warns about it.
    sed -i '1i #![allow(warnings)]' "$folder/src/lib.rs" "$folder/examples/shop/main.rs"
    # A separate program, beside the dependencies of this build, because most of them are the same.
    (
        unset DATABASE_URL SESSILE_DATABASE_URL
        cd "$folder"
        CARGO_TARGET_DIR=$folder/target CARGO_BUILD_BUILD_DIR=$target \
            cargo build --locked --all-features --example shop
    )
}

# under_postgres [ARG…]: runs the calling script again inside scripts/postgres, unless it already is.
under_postgres() {
    [[ -n ${TEST_POSTGRES_URL:-} ]] && return
    POSTGRES_FOLDER=$(postgres_folder) exec "$root/scripts/postgres" "$root/scripts/${0##*/}" "$@"
}

# The folder for the files of a server for tests: in memory, if there is plenty. Tests make and drop a thousand databases
# of 300 files each, and on a disk over a third of the server's time goes into that.
postgres_folder() {
    local free available
    free=$(df --output=avail -k /dev/shm 2>/dev/null | tail -n 1) || free=0
    available=$(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo)
    if [[ -w /dev/shm ]] && ((free > 2 << 20 && available > 6 << 20)); then
        echo /dev/shm
    else
        echo /tmp
    fi
}

# database NAME: the URL of that database on the test server.
database() {
    [[ $TEST_POSTGRES_URL =~ ^([^:]+://[^/?]*)(/[^?]*)?(.*)$ ]]
    printf '%s/%s%s' "${BASH_REMATCH[1]}" "$1" "${BASH_REMATCH[3]}"
}

# The folder of the server's programs: from PATH, otherwise the newest of Debian's packages.
find_postgres() {
    local program found=
    while read -r program; do
        program=$(readlink -f "$program") # all of them are in one folder there
        [[ -x ${program%/*}/initdb && -x ${program%/*}/pg_ctl ]] && found=${program%/*}
    done < <(printf '%s\n' /usr/lib/postgresql/*/bin/postgres | sort -V; type -P postgres)
    [[ -n $found ]] && printf '%s' "$found"
}

# Debian's package also creates and starts a server for the machine, which is not wanted here.
install_postgres() (
    may_install postgresql
    drop_in=/etc/postgresql-common/createcluster.d/no-main-cluster.conf
    trap 'as_root rm -f "$drop_in"; as_root rmdir --ignore-fail-on-non-empty "${drop_in%/*}"' EXIT
    as_root mkdir -p "${drop_in%/*}"
    as_root tee "$drop_in" >/dev/null <<<'create_main_cluster = false'
    apt_install postgresql
)

# Finds Postgres, or installs it. Sets `programs`, the folder of the server's programs, and `owner`, the user that runs
# them: Postgres refuses to run as root. Empty: this user.
need_postgres() {
    programs=${POSTGRES_PROGRAMS:-$(find_postgres)} || {
        install_postgres
        programs=$(find_postgres) || fail 'postgresql is installed, but initdb and pg_ctl are not to be found'
    }
    owner=
    if ((EUID == 0)); then
        # shellcheck disable=SC2034  # for the script that sources this one
        owner=$(id -un postgres 2>/dev/null || echo nobody)
    fi
}
