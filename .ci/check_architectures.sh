#!/usr/bin/env bash
# Fails unless a library holds machine code for all architectures of a list, and PTX where the list says so.
#
# Usage: check_architectures.sh CUOBJDUMP LIBRARY "8.0;9.0+PTX"
set -euo pipefail

# cuobjdump lists machine code as NAME.sm_90.cubin and PTX as NAME.sm_90.ptx.
listing=$("$1" --list-elf --list-ptx "$2")
expect() {
    if ! grep -q "$1" <<<"$listing"; then
        printf 'check_architectures.sh: the library has no %s; build it again with TORCH_CUDA_ARCH_LIST. It has:\n%s\n' "$1" "$listing" >&2
        exit 1
    fi
}
for architecture in ${3//;/ }; do
    number=${architecture%+PTX}
    expect "sm_${number/./}.cubin"
    if [ "$architecture" != "$number" ]; then expect "sm_${number/./}.ptx"; fi
done
