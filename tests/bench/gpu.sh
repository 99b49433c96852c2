#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# For a machine with an NVIDIA GPU: builds the kernels and their drivers, checks results on the device against those
# of the host, and measures. Needs nvcc (with its host compiler), python3 and a POSIX shell; nothing of the project's other
# dependencies. Tables are printed last; OUT receives micro.csv, gemm.csv, decode.csv, stack.csv, each line as soon as
# it is known, and a log of each step.
#
#   tests/bench/gpu.sh [-o OUT] [-a ARCHS] [-t SECONDS] [-b | -n] [-T TOOLS]
#       -o: default ./gpu-bench; -a: sm_80, sm_89, sm_90a (default: all three); -t: for all of it (default 540)
#       -b: build only; -n: run what -b has put into OUT/bin, here or on a machine like this, if it starts
#       -T: a folder with unweight-compress and unweight-tune, and in lib/ what they need that the machine lacks: tunes too,
#           for a layer of an 8B Llama
#
# What comes first matters most. Each step has a limit, and those behind it run whatever becomes of it: a kernel that hangs
# or is wrong costs its own figures. Exit status: 0 good, 1 wrong results or an error, 77 no device.
set -u

top=$(cd "$(dirname "$0")/../.." && pwd)
out=gpu-bench
archs="sm_80 sm_89 sm_90a"
seconds=540
mode=all
tools=
while getopts o:a:t:bnT: option; do
	case $option in
	o) out=$OPTARG ;;
	a) archs=$OPTARG ;;
	t) seconds=$OPTARG ;;
	b) mode=build ;;
	n) mode=run ;;
	T) tools=$(cd "$OPTARG" && pwd) || exit 1 ;;
	*) exit 1 ;;
	esac
done
begun=$(date +%s)
mkdir -p "$out/build" "$out/bin" || exit 1
out=$(cd "$out" && pwd)
nvcc=$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)

# cuBLASLt stands beside nvcc or is a Python package
toolkit=$(dirname "$(dirname "$(readlink -f "$nvcc")")")
packages=$(python3 -c 'import glob, sys
print(":".join(d for p in sys.path for d in glob.glob(p + "/nvidia/*") if glob.glob(d + "/lib/libcublasLt.so.*")))' 2>/dev/null)
include=
for dir in "$toolkit" $(echo "$packages" | tr : ' '); do
	LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$dir/lib64:$dir/lib
	[ -n "$include" ] || [ ! -e "$dir/include/cublasLt.h" ] || include=-I$dir/include
done
export LD_LIBRARY_PATH

# ---- building: one source after the other, on all processors; no make is needed ----

write_compiler() {
	# wgmma is for sm_90a alone; mma runs there as well
	gencode= hopper= others=
	for arch in $archs; do
		one="-gencode arch=compute_${arch#sm_},code=$arch"
		gencode="$gencode $one"
		if [ "$arch" = sm_90a ]; then
			hopper=$one
			others="$others -gencode arch=compute_90,code=sm_90"
		else
			others="$others $one"
		fi
	done
	: "${hopper:=-gencode arch=compute_90a,code=sm_90a}"
	cat >"$out/build/compile" <<SH
object=$out/build/\$(basename "\$1").o
include="-I$top/kernels/include -I$top/kernels/cuda -I$top/libcodec/include -I$top/libcodec/base/include"
case \$1 in
*.c) set -- ${CC:-cc} -std=c11 -O2 -DNDEBUG -I$top/libcodec \$include "\$1" ;;
*/gemm_wgmma_*) set -- $hopper "\$1" ;;
*/gemm_mma_*) set -- $others "\$1" ;;
*) set -- $gencode "\$1" ;;
esac
case \$object in
*.cu.o) set -- $nvcc -std=c++17 -O3 \$include -I$top/tests/bench/gpu $include -Xptxas -v "\$@" ;;
esac
"\$@" -c -o "\$object" >"\$object.log" 2>&1 || { cat "\$object.log" >&2; exit 1; }
SH
}

compile_and_link() {
	sources=$(ls "$top"/tests/bench/gpu/*.cu "$top"/kernels/cuda/gemm*.cu "$top/kernels/cuda/decode.cu" "$top"/libcodec/*.c \
		"$top"/libcodec/base/*.c "$top"/kernels/cuda/*.c | grep -v gpu_none.c)
	echo "$sources" | xargs -P "$(nproc)" -n 1 timeout -k 5 "$seconds" sh "$out/build/compile" || return
	rest=$(for source in $sources; do
		echo "$out/build/${source##*/}.o"
	done | grep -v /bench_)
	for name in micro decode gemm stack; do
		"$nvcc" $rest "$out/build/bench_$name.cu.o" -Xcompiler -static-libstdc++,-static-libgcc -lpthread -ldl \
			-o "$out/bin/bench_$name" || return
	done
}

build() {
	echo "== build ($archs)"
	[ -x "$nvcc" ] || { echo "gpu.sh: no nvcc" >&2; exit 1; }
	rm -f "$out"/build/*.o "$out"/bin/bench_*
	write_compiler
	compile_and_link || exit 1
	cat "$out"/build/*.cu.o.log >"$out/build.log"
	sed -n "s/^ptxas info *: Compiling entry function '\([^']*\)' for '\([^']*\)'.*/\1 \2:/p
		s/^ptxas info *: Used \([0-9]*\) registers.*/\1 registers/p" "$out/build.log" | paste -d ' ' - -
	echo "== $(($(date +%s) - begun)) s since the beginning"
}

starts() {
	"$out/bin/bench_gemm" --help >/dev/null 2>&1
	[ $? = 1 ] # the usage
}

[ $mode = run ] && starts || build
[ $mode = build ] && exit 0

# ---- steps ----

worst=0
tables=

# Seconds that a step may take, of `most`; none: there is no time left.
limit() {
	left=$((begun + seconds - $(date +%s)))
	[ "$left" -lt "$1" ] || left=$1
	[ "$left" -lt 5 ] || echo "$left"
}

# step NAME SECONDS COMMAND..: its output into NAME.log.
step() {
	name=$1
	most=$(limit "$2")
	shift 2
	if [ -z "$most" ]; then
		echo "== $name: no time left"
		worst=1
		return 1
	fi
	timeout -k 5 "$most" "$@" >"$out/$name.log" 2>&1
	status=$?
	echo "== $name: status $status, $(($(date +%s) - begun)) s since the beginning"
	[ $status = 0 ] || { tail -15 "$out/$name.log"; worst=1; }
	return $status
}

# Steps at once, their names in order: those of correctness, where time does not matter.
finish() {
	wait
	for name in "$@"; do
		status=$(cat "$out/$name.status" 2>/dev/null || echo 124)
		rm -f "$out/$name.status"
		[ "$status" = 77 ] && continue
		echo "== $name: status $status"
		[ "$status" = 0 ] && continue
		grep -E 'WRONG|TIMEOUT|ERROR|Error|error|  by' "$out/$name.log" | head -12
		tail -3 "$out/$name.log"
		worst=1
	done
	echo "== $(($(date +%s) - begun)) s since the beginning"
}

beside() {
	name=$1
	most=$(limit "$2")
	shift 2
	{
		timeout -k 5 "${most:-1}" "$@" >"$out/$name.log" 2>&1
		echo $? >"$out/$name.status"
	} &
}

rm -f "$out"/*.csv "$out"/*.status
step micro 60 "$out/bin/bench_micro" --csv "$out/micro.csv"
[ $status = 77 ] && { cat "$out/micro.log"; exit 77; }
tables=micro

ways="wgmma-8 wgmma-16 wgmma-32 wgmma-64 wgmma-128 wgmma-256 mma-8 mma-16 mma-32 mma-64 mma-128"
names= without=
for way in $ways; do
	beside check-$way 90 "$out/bin/bench_gemm" --check --kernel ${way%-*} --tile ${way#*-}
	names="$names check-$way"
done
finish $names
for way in $ways; do # by itself, if it did not come to an end: a device may admit one program at a time
	grep -qE '^right|^done|^no such|^TIMEOUT' "$out/check-$way.log" ||
		step check-$way 40 "$out/bin/bench_gemm" --check --kernel ${way%-*} --tile ${way#*-}
done
for tile in 8 16 32 64 128 256; do # a kernel that hangs or fails would take the others' time with it; a wrong one does not
	grep -qE '^right|^done|^no such' "$out/check-wgmma-$tile.log" || without="$without --without $tile"
done
[ -z "$without" ] || echo "not timed:$without"

late=
for matrix in 0 1 2 3 4; do
	step gemm-$matrix 75 "$out/bin/bench_gemm" --csv "$out/gemm.csv" --matrix $matrix $without $late || {
		[ -n "$late" ] || ! [ $status = 1 ] || ! [ $matrix = 0 ] || {
			late=--late # perhaps a graph does not take launches that begin early
			step gemm-$matrix 75 "$out/bin/bench_gemm" --csv "$out/gemm.csv" --matrix $matrix $without $late
		}
	}
	tables="$tables gemm-$matrix"
done
step decode 60 "$out/bin/bench_decode" --csv "$out/decode.csv"
step stack 90 "$out/bin/bench_stack" --csv "$out/stack.csv" $without $late
tables="$tables decode stack"

if [ -n "$tools" ]; then
	step tune 110 sh -ec '
		tools=$1 out=$2
		python3 "$3/tests/bench/gpu/make_layer.py" "$out/build/layer.safetensors"
		export LD_LIBRARY_PATH="$tools/lib:$LD_LIBRARY_PATH"
		for profile in inference distribution; do
			"$tools/unweight-compress" "$out/build/layer.safetensors" -f --no-check -p $profile -o "$out/build/$profile"
			rm -f "$out/tuning-$profile.txt"
			"$tools/unweight-tune" "$out/build/$profile" --device cuda --budget 25 --buckets 1,4,16,64,256,1024,4096 \
				-o "$out/tuning-$profile.txt"
		done' tune "$tools" "$out" "$top"
	cat "$out/tune.log"
fi

if command -v compute-sanitizer >/dev/null && [ -n "$(limit 30)" ]; then
	names=
	export UW_BENCH_PATIENCE=10
	for check in memcheck racecheck synccheck; do
		sanitize="compute-sanitizer --tool $check --error-exitcode 1"
		for way in wgmma-8 wgmma-256 mma-16; do
			beside $check-$way 120 $sanitize "$out/bin/bench_gemm" --check --small --kernel ${way%-*} --tile ${way#*-}
			names="$names $check-$way"
		done
		beside $check-decode 120 $sanitize "$out/bin/bench_decode" --check
		names="$names $check-decode"
	done
	finish $names
fi

for table in $tables; do # together: the last paragraph of each
	[ -s "$out/$table.log" ] && awk -v RS= '{ last = $0 } END { print "\n" last }' "$out/$table.log"
done
exit $worst
