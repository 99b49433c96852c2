#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# For a machine with an NVIDIA GPU: builds the decode kernels and their driver, checks results on the device against those
# of the host, and measures. Needs nvcc (with its host compiler), make and a POSIX shell; nothing of the project's other
# dependencies. The last thing printed is a table; OUT receives decode.csv and the logs.
#
#   tests/bench/gpu.sh [-o OUT] [-a ARCH] [-b]
#       -o: default ./gpu-bench; -a: sm_80, sm_89, sm_90a (default: all three); -b: build only
#
# Exit status: 0 good, 1 wrong results, 77 no device.
set -u

top=$(cd "$(dirname "$0")/../.." && pwd)
out=gpu-bench
archs="sm_80 sm_89 sm_90a"
build_only=false
while getopts o:a:b option; do
	case $option in
	o) out=$OPTARG ;;
	a) archs=$OPTARG ;;
	b) build_only=true ;;
	*) exit 1 ;;
	esac
done

nvcc=$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)
[ -x "$nvcc" ] || { echo "gpu.sh: no nvcc" >&2; exit 1; }
mkdir -p "$out/build" || exit 1
out=$(cd "$out" && pwd)

gencode=
for arch in $archs; do
	gencode="$gencode -gencode arch=compute_${arch#sm_},code=$arch"
done

objects=$(cd "$top" && ls libcodec/*.c libcodec/base/*.c kernels/cuda/*.c | sed 's|.*/||; s|c$|o|' | tr '\n' ' ')
cat >"$out/build/Makefile" <<MAKE
TOP = $top
NVCC = $nvcc
CC = ${CC:-cc}
INCLUDE = -I\$(TOP)/kernels/include -I\$(TOP)/kernels/cuda -I\$(TOP)/libcodec/include -I\$(TOP)/libcodec/base/include
CFLAGS = -std=c11 -O2 -DNDEBUG -I\$(TOP)/libcodec \$(INCLUDE)
CUFLAGS = -std=c++17 -O3 $gencode \$(INCLUDE)
VPATH = \$(TOP)/libcodec:\$(TOP)/libcodec/base:\$(TOP)/kernels/cuda:\$(TOP)/tests/bench/gpu
OBJECTS = $objects decode.cu.o bench_decode.cu.o

bench_decode: \$(OBJECTS)
	\$(NVCC) \$(OBJECTS) -lpthread -o \$@
%.o: %.c
	\$(CC) \$(CFLAGS) -c \$< -o \$@
%.cu.o: %.cu
	\$(NVCC) \$(CUFLAGS) -Xptxas -v -c \$< -o \$@
MAKE

echo "== build ($archs)"
if ! make -rB -C "$out/build" -j"$(nproc)" >"$out/build.log" 2>&1; then
	cat "$out/build.log"
	exit 1
fi
sed -n "s/^ptxas info *: Compiling entry function '\([^']*\)' for '\([^']*\)'.*/\1 \2:/p
	s/^ptxas info *: Used \([0-9]*\) registers.*/\1 registers/p" "$out/build.log" | paste -d ' ' - -
$build_only && exit 0

echo "== run"
"$out/build/bench_decode" --csv "$out/decode.csv" >"$out/decode.log" 2>&1
status=$?
cat "$out/decode.log"
exit $status
