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

# Builds in build-test-$1 with the rest of the arguments for meson and runs all suites there, or those in $suites.
suites=""
configuration()
{
	name=$1
	shift
	dir=build-test-$name
	echo "== $name"
	rm -rf "$dir"
	if ! meson setup "$dir" "$@" >"$dir.log" 2>&1 || ! ninja -C "$dir" >>"$dir.log" 2>&1; then
		tail -n 40 "$dir.log"
		verdict "$name: build" 1
		return
	fi
	! grep -q 'warning:' "$dir.log"
	verdict "$name: builds without warnings" $?
	# shellcheck disable=SC2086
	meson test -C "$dir" --print-errorlogs --no-rebuild $suites >"$dir.log" 2>&1
	sed -n '/^ *[0-9]*\/[0-9]* /p' "$dir.log"
	count "$dir"
}

# Adds up meson's own account of the tests.
count()
{
	ok=$(sed -n 's/^Ok: *//p' "$1.log")
	bad=$(awk '/^(Fail|Unexpected Pass|Timeout): / { n += $NF } END { print n + 0 }' "$1.log")
	if [ -z "$ok" ]; then
		tail -n 40 "$1.log"
		bad=1
	elif [ "$bad" != 0 ]; then
		cat "$1.log"
	fi
	passed=$((passed + ${ok:-0}))
	failed=$((failed + bad))
}

"$top/.ci/deps" test || { echo "0 passed, 1 failed"; exit 1; }

configuration gcc -Dbuildtype=debugoptimized
CC=clang configuration clang -Dbuildtype=release
export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
configuration sanitizers -Dbuildtype=debugoptimized -Db_sanitize=address,undefined -Db_lundef=false

echo "== quickstart"
samples/quickstart.sh >build-test-quickstart.log 2>&1
status=$?
[ $status = 0 ] || cat build-test-quickstart.log
verdict "samples/quickstart.sh" $status

[ "${1:-}" = --keep ] || rm -rf build-test-*
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
