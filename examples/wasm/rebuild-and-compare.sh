#!/bin/sh
# Builds the example modules from source, and checks that the committed ones do the same: same result, same log, same
# exit for each input. Compilers differ, so the bytes may. Where a toolchain is missing, it is installed if this runs as
# root on a Debian system.
#
# RUN_MODULE may name the example program `run_module`; else cargo builds and runs it.
set -eu
cd "$(dirname "$0")"
here=$PWD
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

build() { # directory, Debian packages
    directory=$1
    shift
    if ! "$directory/build.sh" "$scratch/$directory.wasm"; then
        if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
            echo "cannot build $directory: no toolchain, and no right to install one" >&2
            exit 1
        fi
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -qqy --no-install-recommends "$@" >/dev/null
        "$directory/build.sh" "$scratch/$directory.wasm"
    fi
}

run() { # module, input, where to leave what happened
    code=0
    # shellcheck disable=SC2086
    if [ -n "${RUN_MODULE:-}" ]; then
        "$RUN_MODULE" "$1" <"$2" >"$3.out" 2>"$3.log" || code=$?
    else
        cargo run -q $example -- "$1" <"$2" >"$3.out" 2>"$3.log" || code=$?
    fi
    echo "$code" >"$3.code"
}

compare() { # directory, committed module, exit code, inputs
    directory=$1
    committed=$2
    expected=$3
    shift 3
    for input in "$@"; do
        run "$here/$directory/$committed" "$input" "$scratch/committed"
        run "$scratch/$directory.wasm" "$input" "$scratch/rebuilt"
        for what in out log code; do
            if ! cmp -s "$scratch/committed.$what" "$scratch/rebuilt.$what"; then
                echo "$directory: the committed module and its source differ on $input ($what):" >&2
                diff "$scratch/committed.$what" "$scratch/rebuilt.$what" >&2 || true
                exit 1
            fi
        done
        if [ "$(cat "$scratch/committed.code")" != "$expected" ]; then
            echo "$directory: expected exit code $expected on $input, got:" >&2
            cat "$scratch/committed.code" "$scratch/committed.log" >&2
            exit 1
        fi
        echo "$directory: same on $(basename "$input")"
    done
}

# Built beforehand, so that a compiler's error is not taken for what a module does.
example="--manifest-path $here/../../Cargo.toml -p jobraft-executors --example run_module"
# shellcheck disable=SC2086
[ -n "${RUN_MODULE:-}" ] || cargo build -q $example

printf '' >"$scratch/empty"
printf '\377\376 not text' >"$scratch/binary"
printf '# One\n\nzw\303\266lf Boxk\303\244mpfer\n```\n# no heading\n```\n## Two\n' >"$scratch/umlauts"

build wordcount rustc libstd-rust-dev-wasm32 lld-14
compare wordcount wordcount.wasm 1 "$scratch/binary"
compare wordcount wordcount.wasm 0 "$scratch/empty" "$scratch/umlauts" "$here/../README.md"
build echo-c clang-19 lld-19 wasi-libc libclang-rt-19-dev-wasm32
compare echo-c echo.wasm 0 "$scratch/empty" "$scratch/binary" "$here/wordcount/wordcount.wasm"
