#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, then builds and tests everything: gcc and clang, with ASan and UBSan, with TSan and MSan, under
# valgrind, for i386 and s390x under qemu, a short run of each fuzzer, and the sample's main job.
# The last line is "N passed, N failed"; the exit status says the same.
#
#   tests/run.sh [--keep]              --keep: leave the build folders (build-test-*) for a look
#   FUZZ_SECONDS=600 tests/run.sh      seconds for each fuzz target; 60 if not given, 0 leaves them out
set -u

top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top" || exit 1
passed=0
failed=0

# One more test by itself: verdict NAME STATUS
verdict()
{
	if [ "$2" = 0 ]; then
		passed=$((passed + 1))
		echo "ok   $1"
	else
		failed=$((failed + 1))
		echo "FAIL $1"
	fi
}

# Builds in build-test-$1 with the rest of the arguments for meson.
build()
{
	name=$1
	dir=build-test-$name
	shift
	echo "== $name: build"
	rm -rf "$dir"
	if ! meson setup "$dir" "$@" >"$dir.log" 2>&1 || ! ninja -C "$dir" >>"$dir.log" 2>&1; then
		tail -n 40 "$dir.log"
		verdict "$name: build" 1
		return 1
	fi
	grep 'warning:' "$dir.log"
	! grep -q 'warning:' "$dir.log"
	verdict "$name: builds without warnings" $?
}

# Runs the suites in build-test-$1 at CPU level $2, the rest being arguments for meson, and adds up meson's account of them.
run()
{
	dir=build-test-$1
	log=$dir-$2.log
	echo "== $1: tests, level $2"
	export UW_CPU_LEVEL="$2"
	shift 2
	$under meson test -C "$dir" --print-errorlogs --no-rebuild "$@" >"$log" 2>&1
	unset UW_CPU_LEVEL
	grep -E '^ *[0-9]+/[0-9]+ ' "$log"
	ok=$(sed -n 's/^Ok: *//p' "$log")
	bad=$(awk '/^(Fail|Unexpected Pass|Timeout): / { n += $NF } END { print n + 0 }' "$log")
	if [ -z "$ok" ]; then
		tail -n 40 "$log"
		bad=1
	elif [ "$bad" != 0 ]; then
		cat "$log"
	fi
	passed=$((passed + ${ok:-0}))
	failed=$((failed + bad))
}

# For a machine of another kind, with Debian's cross compiler and qemu-user: cross ARCH TEST...
cross()
{
	arch=$1
	shift
	sysroot=$top/build-sysroot-$arch # stays: it takes longest
	if ! tests/cross/sysroot.sh "$arch" "$sysroot" >build-test-sysroot.log 2>&1; then
		cat build-test-sysroot.log
		verdict "$arch: sysroot" 1
		return
	fi
	printf "[constants]\nsysroot = '%s'\n" "$sysroot" >"build-test-$arch.ini"
	build "$arch" -Dcuda=disabled --cross-file "build-test-$arch.ini" --cross-file "tests/cross/$arch.ini" || return
	run "$arch" c "$@"
	UW_TOOLS=$top/build-test-$arch/tools UW_WRAPPER="qemu-$arch -L $sysroot" UW_NATIVE_TOOLS=$top/build-test-gcc/tools \
		python3 -B tests/cross/test_same_bytes.py >build-test-same-bytes.log 2>&1
	status=$?
	[ $status = 0 ] || cat build-test-same-bytes.log
	verdict "$arch: writes the same bytes as this machine" $status
}

under=""
"$top/.ci/deps" test || { echo "0 passed, 1 failed"; exit 1; }

if build gcc -Dbuildtype=debugoptimized; then # with all CUDA code if nvcc is there
	run gcc amx --no-suite memory
	for level in avx2 c; do # what knows of no level has run
		run gcc $level --no-suite memory --no-suite cuda --no-suite samples --no-suite man
	done
	run gcc amx --suite memory
	echo "== valgrind" # which knows no AVX-512
	run gcc avx2 -t 5 --wrap "valgrind -q --error-exitcode=9 --leak-check=full" format_extents format_reader format_writer \
		format_base format_shared safetensors json_text huffman coded_hostile based tuning sink_folder sink_archive \
		pack_model model_open model_base ordered cli
fi
if command -v nvcc >/dev/null || [ -x /usr/local/cuda/bin/nvcc ]; then
	echo "== gpu.sh"
	tests/bench/gpu.sh -a sm_90a -o build-test-gpu >build-test-gpu.log 2>&1
	status=$?
	[ $status = 0 ] || [ $status = 77 ] || cat build-test-gpu.log
	[ $status = 0 ] || [ $status = 77 ]
	verdict "gpu.sh: builds, and comes to the first call of a device" $?
fi
if CC=clang CXX=clang++ build clang -Dbuildtype=release -Dcuda=disabled; then
	run clang amx --no-suite memory --no-suite samples
fi
export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
if build sanitizers -Dbuildtype=debugoptimized -Db_sanitize=address,undefined -Db_lundef=false -Dcuda=disabled; then
	run sanitizers amx --no-suite memory
fi
unset ASAN_OPTIONS UBSAN_OPTIONS
if CC=clang CXX=clang++ build threads -Db_sanitize=thread -Db_lundef=false -Dcuda=disabled; then
	under="setarch $(uname -m) -R" # TSan wants its own addresses
	run threads avx512 golden cli-roundtrip model_threads
	under=""
fi

# MSan wants every library built with it: what needs no library but xxHash, which is a header too, and no loops of AVX-512,
# whose instructions this MSan does not follow.
if CC=clang CXX=clang++ build memory -Db_sanitize=memory -Db_lundef=false -Dcuda=disabled -Dc_args=-DXXH_INLINE_ALL; then
	run memory avx2 huffman cpu_ops codec coded_hostile format_extents format_writer format_reader format_base
fi

echo "== coverage of format/ and libcodec/"
UW_COVERAGE_BUILD=build-test-coverage tests/coverage.sh 95 >build-test-coverage.log 2>&1
status=$?
tail -n 1 build-test-coverage.log
[ $status = 0 ] || cat build-test-coverage.log
verdict "coverage: 95 % of the branches" $status

short="safetensors format_extents format_writer format_reader format_base based huffman cpu_ops codec coded_hostile source_folder source_archive sink_folder sink_archive cli golden reference"
cross i386 $short
cross s390x $short checkkernels

if [ "${FUZZ_SECONDS:=60}" != 0 ]; then
	echo "== fuzz: $FUZZ_SECONDS seconds a target"
	UW_FUZZ_BUILD=build-test-fuzz tests/fuzz/run.sh "$FUZZ_SECONDS"
	verdict "fuzz: no finding" $?
fi

echo "== quickstart"
samples/quickstart.sh >build-test-quickstart.log 2>&1
status=$?
[ $status = 0 ] || cat build-test-quickstart.log
verdict "samples/quickstart.sh" $status

[ "${1:-}" = --keep ] || rm -rf build-test-*
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
