#!/bin/sh
# Builds wordcount.wasm, or the file given as first argument.
#
# With rustup:   rustup target add wasm32-wasip1
# With Debian:   apt-get install rustc libstd-rust-dev-wasm32 lld-14
set -eu
cd "$(dirname "$0")"
out=${1:-wordcount.wasm}
common="--edition 2021 --crate-name wordcount -C opt-level=s -C lto=fat -C codegen-units=1 -C panic=abort -C strip=symbols"

has_std() { # compiler, target
    command -v "$1" >/dev/null 2>&1 && ls "$("$1" --print sysroot)/lib/rustlib/$2/lib"/libstd-*.rlib >/dev/null 2>&1
}

if has_std rustc wasm32-wasip1; then
    # shellcheck disable=SC2086
    exec rustc --target wasm32-wasip1 $common -o "$out" wordcount.rs
fi
# Debian's compiler is asked by its full path: another one, such as rustup's, may come first in PATH. It is old enough
# to call the target by its former name, and its standard library has no bitcode for LTO.
for linker in wasm-ld wasm-ld-14 wasm-ld-19 /usr/lib/llvm-14/bin/wasm-ld; do
    if has_std /usr/bin/rustc wasm32-wasi && command -v "$linker" >/dev/null 2>&1; then
        # shellcheck disable=SC2086
        exec /usr/bin/rustc --target wasm32-wasi -C linker="$(command -v "$linker")" -C linker-flavor=wasm-ld \
            $common -C lto=off -o "$out" wordcount.rs
    fi
done
echo "no Rust compiler for WASI: run 'rustup target add wasm32-wasip1', or on Debian 12" \
    "'apt-get install rustc libstd-rust-dev-wasm32 lld-14'" >&2
exit 1
