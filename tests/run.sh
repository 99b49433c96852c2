#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, then builds and tests everything: gcc and clang, with ASan and UBSan, with TSan and MSan, under
# valgrind, for i386 and s390x under qemu, a short run of each fuzzer, and the sample's main job. As many of these lanes
# run side by side as there are processors; what one prints comes when it is done.
# The last line is "N passed, N failed"; the exit status says the same.
#
#   tests/run.sh [--keep]              --keep: leave the build folders (build-test-*) for a look
#   FUZZ_SECONDS=600 tests/run.sh      seconds for each fuzz target; 60 if not given, 0 leaves them out
#   LANES="gcc valgrind" tests/run.sh  these lanes; those that use what another builds want that lane too
set -u

top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top" || exit 1
# In this order: those first that others wait for, and that take longest.
export LANES="${LANES:-gcc sanitizers fuzz levels clang i386 s390x gpu coverage valgrind threads memory quickstart}"
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

# Builds in build-test-$1 with the rest of the arguments for meson: all of it, or $targets.
build()
{
	name=$1
	dir=build-test-$name
	shift
	echo "== $name: build"
	# shellcheck disable=SC2086
	if ! meson setup "$dir" "$@" >"$dir.log" 2>&1 || ! ninja -C "$dir" ${targets:-} >>"$dir.log" 2>&1; then
		tail -n 40 "$dir.log"
		verdict "$name: build" 1
		return 1
	fi
	grep 'warning:' "$dir.log"
	! grep -q 'warning:' "$dir.log"
	verdict "$name: builds without warnings" $?
}

# Waits until the build of another lane is there, and tells whether it is good.
built()
{
	case " $LANES " in
	*" $1 "*) ;;
	*) verdict "without lane $1" 1; return 1 ;;
	esac
	until [ -e "build-test-$1.built" ]; do
		sleep 1
	done
	[ "$(cat "build-test-$1.built")" = 0 ]
}

# The programs of tests
programs()
{
	for test in "$@"; do
		echo "tests/unit/test_$test"
	done
}

tools=""
for tool in compress decompress verify inspect scan tune bench; do
	tools="$tools tools/unweight-$tool"
done

# Runs the suites in build-test-$1 at CPU level $2, the rest being arguments for meson, and adds up meson's account of them.
run()
{
	dir=build-test-$1
	log=$dir-$2-$$.log
	echo "== $1: tests, level $2"
	level=$2
	shift 2
	# -t: a machine may be slow, or have much else to do
	UW_CPU_LEVEL=$level $under meson test -C "$dir" --logbase "$level-$$" -t 4 --print-errorlogs --no-rebuild "$@" >"$log" 2>&1
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

# For a machine of another kind, with Debian's cross compiler and qemu-user: cross ARCH [checkkernels].
cross()
{
	arch=$1
	shift
	sysroot=$top/build-sysroot-$arch # stays: it takes longest
	if ! tests/cross/sysroot.sh "$arch" "$sysroot" >"build-test-sysroot-$arch.log" 2>&1; then
		cat "build-test-sysroot-$arch.log"
		verdict "$arch: sysroot" 1
		return
	fi
	tests="safetensors format_extents format_writer format_reader format_base based huffman cpu_ops codec coded_hostile"
	tests="$tests source_folder source_archive sink_folder sink_archive cli"
	# shellcheck disable=SC2086
	targets="$tools $(programs $tests) ${1:+tests/checkkernels/checkkernels} runtime/model/libunweight.so.0.1.0 samples/generate"
	printf "[constants]\nsysroot = '%s'\n" "$sysroot" >"build-test-$arch.ini"
	build "$arch" -Dcuda=disabled --cross-file "build-test-$arch.ini" --cross-file "tests/cross/$arch.ini" || return
	# shellcheck disable=SC2086
	run "$arch" c $tests golden reference "$@"
	built gcc || return
	UW_TOOLS=$top/build-test-$arch/tools UW_WRAPPER="qemu-$arch -L $sysroot" UW_NATIVE_TOOLS=$top/build-test-gcc/tools \
		python3 -B tests/cross/test_same_bytes.py >"build-test-same-bytes-$arch.log" 2>&1
	status=$?
	[ $status = 0 ] || cat "build-test-same-bytes-$arch.log"
	verdict "$arch: writes the same bytes as this machine" $status
}

lane_gcc()
{
	build gcc -Dbuildtype=debugoptimized # with all CUDA code if nvcc is there
	status=$?
	echo $status >build-test-gcc.built
	[ $status = 0 ] || return
	run gcc amx --no-suite memory
	run gcc amx --suite memory
}

# The suites at the other CPU levels, but for what knows of none.
lane_levels()
{
	built gcc || return
	for level in avx2 c; do
		run gcc $level --no-suite memory --no-suite cuda --no-suite samples --no-suite man --no-suite system
	done
}

lane_valgrind()
{
	built gcc || return
	echo "== valgrind" # which knows no AVX-512
	run gcc avx2 -t 20 --wrap "valgrind -q --error-exitcode=9 --leak-check=full" format_extents format_reader format_writer \
		format_base format_shared safetensors json_text huffman coded_hostile based tuning sink_folder sink_archive \
		pack_model model_open model_base ordered cli
}

lane_gpu()
{
	command -v nvcc >/dev/null || [ -x /usr/local/cuda/bin/nvcc ] || return
	echo "== gpu.sh"
	tests/bench/gpu.sh -a sm_90a -o build-test-gpu >build-test-gpu.log 2>&1
	status=$?
	[ $status = 0 ] || [ $status = 77 ] || cat build-test-gpu.log
	[ $status = 0 ] || [ $status = 77 ]
	verdict "gpu.sh: builds, and comes to the first call of a device" $?
}

# As it is installed: release, without assertions.
lane_clang()
{
	export CC=clang CXX=clang++
	build clang -Dbuildtype=release -Dcuda=disabled || return
	run clang amx --no-suite memory --no-suite cuda --no-suite samples --no-suite man --no-suite once
}

# One build serves these tests and the fuzzers.
lane_sanitizers()
{
	export CC=clang CXX=clang++
	export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
	build sanitizers -Dfuzz=true -Dbuildtype=debugoptimized -Db_sanitize=address,undefined -Db_lundef=false \
		-Dcuda=disabled
	status=$?
	echo $status >build-test-sanitizers.built
	[ $status = 0 ] || return
	run sanitizers amx --no-suite memory --no-suite samples --no-suite man --no-suite python
}

lane_fuzz()
{
	[ "$FUZZ_SECONDS" != 0 ] || return
	built sanitizers || return
	echo "== fuzz: $FUZZ_SECONDS seconds a target"
	UW_FUZZ_BUILD=build-test-sanitizers tests/fuzz/run.sh "$FUZZ_SECONDS"
	verdict "fuzz: no finding" $?
}

lane_threads()
{
	export CC=clang CXX=clang++
	targets="$tools $(programs model_threads)"
	build threads -Db_sanitize=thread -Db_lundef=false -Dcuda=disabled || return
	under="setarch $(uname -m) -R" # TSan wants its own addresses; not all containers allow to ask for them
	$under true 2>/dev/null || under=""
	run threads avx512 golden cli-roundtrip model_threads
}

# MSan wants every library built with it: what needs no library but xxHash, which is a header too, and no loops of AVX-512,
# whose instructions this MSan does not follow.
lane_memory()
{
	tests="huffman cpu_ops codec coded_hostile format_extents format_writer format_reader format_base"
	export CC=clang CXX=clang++
	# shellcheck disable=SC2086
	targets=$(programs $tests)
	build memory -Db_sanitize=memory -Db_lundef=false -Dcuda=disabled -Dc_args=-DXXH_INLINE_ALL || return
	# shellcheck disable=SC2086
	run memory avx2 $tests
}

lane_coverage()
{
	echo "== coverage of format/ and libcodec/"
	UW_COVERAGE_BUILD=build-test-coverage tests/coverage.sh 95 >build-test-coverage.log 2>&1
	status=$?
	tail -n 1 build-test-coverage.log
	[ $status = 0 ] || cat build-test-coverage.log
	verdict "coverage: 95 % of the branches" $status
}

lane_i386()
{
	cross i386
}

lane_s390x()
{
	cross s390x checkkernels
}

lane_quickstart()
{
	echo "== quickstart"
	samples/quickstart.sh >build-test-quickstart.log 2>&1
	status=$?
	[ $status = 0 ] || cat build-test-quickstart.log
	verdict "samples/quickstart.sh" $status
}

under=""
targets=""
if [ "${1:-}" = --lane ]; then
	since=$(date +%s)
	echo "-- $2"
	trap '[ -e "build-test-$2.built" ] || echo 1 >"build-test-$2.built"' EXIT # nobody is to wait for ever
	{
		"lane_$2"
		echo "== $2: $(($(date +%s) - since)) s"
	} >"build-test-$2.out" 2>&1
	flock build-test-lock cat "build-test-$2.out"
	echo "$passed $failed" >"build-test-$2.tally"
	exit 0
fi

"$top/.ci/deps" test || { echo "0 passed, 1 failed"; exit 1; }
rm -rf build-test-*
export FUZZ_SECONDS="${FUZZ_SECONDS:-60}"
# shellcheck disable=SC2086
printf '%s\n' $LANES | xargs -n 1 -P "$(nproc)" sh tests/run.sh --lane
for lane in $LANES; do
	read -r ok bad <"build-test-$lane.tally" || bad=1
	passed=$((passed + ${ok:-0}))
	failed=$((failed + bad))
	ok=0
done

[ "${1:-}" = --keep ] || rm -rf build-test-*
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
