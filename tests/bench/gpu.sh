#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# For a machine with an NVIDIA GPU: builds the kernels and their drivers, checks results on the device against those
# of the host, and measures. Needs nvcc (with its host compiler), make and a POSIX shell; nothing of the project's other
# dependencies. Tables are printed last; OUT receives micro.csv, decode.csv, gemm.csv, stack.csv and the logs.
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

# wgmma is for sm_90a alone; mma runs there as well, from the PTX of compute_90
gencode= hopper= others=
for arch in $archs; do
	one="-gencode arch=compute_${arch#sm_},code=$arch"
	gencode="$gencode $one"
	if [ "$arch" = sm_90a ]; then
		hopper=$one
		others="$others -gencode arch=compute_90,code=compute_90"
	else
		others="$others $one"
	fi
done
: "${hopper:=-gencode arch=compute_90a,code=sm_90a}"

objects=$(cd "$top" && ls libcodec/*.c libcodec/base/*.c kernels/cuda/*.c | sed 's|.*/||; s|c$|o|' | tr '\n' ' ')
kernels=$(cd "$top/kernels/cuda" && ls decode.cu gemm*.cu | sed 's|$|.o|' | tr '\n' ' ')
cat >"$out/build/Makefile" <<MAKE
TOP = $top
NVCC = $nvcc
CC = ${CC:-cc}
INCLUDE = -I\$(TOP)/kernels/include -I\$(TOP)/kernels/cuda -I\$(TOP)/libcodec/include -I\$(TOP)/libcodec/base/include
CFLAGS = -std=c11 -O2 -DNDEBUG -I\$(TOP)/libcodec \$(INCLUDE)
CUFLAGS = -std=c++17 -O3 \$(INCLUDE) -I\$(TOP)/tests/bench/gpu
VPATH = \$(TOP)/libcodec:\$(TOP)/libcodec/base:\$(TOP)/kernels/cuda:\$(TOP)/tests/bench/gpu
OBJECTS = $objects $kernels

all: bench_micro bench_decode bench_gemm bench_stack
bench_%: \$(OBJECTS) bench_%.cu.o
	\$(NVCC) \$^ -lpthread -ldl -o \$@
gemm_wgmma_%.cu.o: gemm_wgmma_%.cu
	\$(NVCC) \$(CUFLAGS) $hopper -Xptxas -v -c \$< -o \$@
gemm_mma_%.cu.o: gemm_mma_%.cu
	\$(NVCC) \$(CUFLAGS) $others -Xptxas -v -c \$< -o \$@
%.o: %.c
	\$(CC) \$(CFLAGS) -c \$< -o \$@
%.cu.o: %.cu
	\$(NVCC) \$(CUFLAGS) $gencode -Xptxas -v -c \$< -o \$@
MAKE

echo "== build ($archs)"
if ! make -rB -C "$out/build" -j"$(nproc)" >"$out/build.log" 2>&1; then
	cat "$out/build.log"
	exit 1
fi
sed -n "s/^ptxas info *: Compiling entry function '\([^']*\)' for '\([^']*\)'.*/\1 \2:/p
	s/^ptxas info *: Used \([0-9]*\) registers.*/\1 registers/p" "$out/build.log" | paste -d ' ' - -
$build_only && exit 0

# Each driver prints its table last.
run() {
	echo "== $1"
	"$out/build/bench_$1" --csv "$out/$1.csv" >"$out/$1.log" 2>&1
	status=$?
	cat "$out/$1.log"
	[ $status = 0 ] || worst=$status
}
worst=0
run micro
[ $worst = 77 ] && exit 77
run decode
if command -v compute-sanitizer >/dev/null; then
	for check in memcheck racecheck synccheck; do
		echo "== compute-sanitizer $check"
		compute-sanitizer --tool $check --error-exitcode 1 "$out/build/bench_gemm" --check >"$out/$check.log" 2>&1 ||
			{ tail -20 "$out/$check.log"; worst=1; }
	done
fi
run gemm
run stack
for table in micro decode gemm stack; do # once more, together: the last paragraph of each
	awk -v RS= '{ last = $0 } END { print "\n" last }' "$out/$table.log"
done
exit $worst
