#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, then builds and tests everything: gcc and clang, with ASan and UBSan, and the sample's main job.
# The last line is "N passed, N failed"; the exit status says the same.
#
#   tests/run.sh [--keep]              --keep: leave the build folders (build-test-*) for a look
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
	meson test -C "$dir" --print-errorlogs --no-rebuild "$@" >"$log" 2>&1
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

"$top/.ci/deps" test || { echo "0 passed, 1 failed"; exit 1; }

if build gcc -Dbuildtype=debugoptimized; then # with all CUDA code if nvcc is there
	for level in amx avx2 c; do
		run gcc $level --no-suite memory
	done
	run gcc amx --suite memory
fi
if CC=clang CXX=clang++ build clang -Dbuildtype=release -Dcuda=disabled; then
	run clang amx --no-suite memory
fi
export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
if build sanitizers -Dbuildtype=debugoptimized -Db_sanitize=address,undefined -Db_lundef=false -Dcuda=disabled; then
	run sanitizers amx --no-suite memory
fi
unset ASAN_OPTIONS UBSAN_OPTIONS

echo "== quickstart"
samples/quickstart.sh >build-test-quickstart.log 2>&1
status=$?
[ $status = 0 ] || cat build-test-quickstart.log
verdict "samples/quickstart.sh" $status

[ "${1:-}" = --keep ] || rm -rf build-test-*
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
