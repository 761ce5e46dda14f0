#!/bin/sh
# Builds echo.wasm, or the file given as first argument.
#
# With wasi-sdk: set WASI_SDK_PATH to where it was unpacked.
# With Debian:   apt-get install clang-19 lld-19 wasi-libc libclang-rt-19-dev-wasm32
set -eu
cd "$(dirname "$0")"
out=${1:-echo.wasm}

if [ -n "${WASI_SDK_PATH:-}" ]; then
    exec "$WASI_SDK_PATH/bin/clang" --target=wasm32-wasip1 -Os -s -Wall -o "$out" echo.c
fi
if command -v clang-19 >/dev/null 2>&1 && [ -e /usr/include/wasm32-wasi/stdio.h ]; then
    exec clang-19 --target=wasm32-wasi --sysroot=/usr -Os -s -Wall -o "$out" echo.c
fi
echo "no C compiler for WASI: set WASI_SDK_PATH to a wasi-sdk, or on Debian 12" \
    "'apt-get install clang-19 lld-19 wasi-libc libclang-rt-19-dev-wasm32'" >&2
exit 1
