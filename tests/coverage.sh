#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Which branches of format/ and libcodec/ the tests take: builds with gcc --coverage in build-coverage, runs the suites that
# concern them at each CPU level, and prints branches taken and not, by file. Ends with 1 if fewer than PERCENT in all.
#
#   tests/coverage.sh [PERCENT]           95 if not given; -v in front lists the lines with branches never taken
set -eu

cd "$(dirname "$0")/.."
verbose=0
[ "${1:-}" != -v ] || { verbose=1; shift; }
want=${1:-95}
out=${UW_COVERAGE_BUILD:-build-coverage}
tests="status format_extents format_writer format_reader format_shared format_base format_memory huffman cpu_ops codec coded_hostile fuzz-index fuzz-container fuzz-huffman \
	fuzz-coded fuzz-patches fuzz-codec fuzz-roundtrip"

# -O0 and no inlining of ours: a branch of the source is a branch of the program, once
[ -d "$out" ] || CC=gcc meson setup "$out" -Dcuda=disabled -Dbuildtype=plain -Db_coverage=true -Dc_args=-O0 >/dev/null
find "$out" -name '*.gcda' -delete
for level in amx avx512 avx2 c; do
	# shellcheck disable=SC2086
	UW_CPU_LEVEL=$level meson test -C "$out" $tests >"$out/$level.log" 2>&1 || { cat "$out/$level.log"; exit 1; }
done

# gcov's own account: a .gcov file for each source of ours, "branch  N taken 0" and "branch  N never executed".
cd "$out" # sources are named from here
rm -rf gcov
mkdir gcov
find format libcodec -name '*.gcda' | while read -r data; do
	gcov --branch-counts --branch-probabilities --preserve-paths --object-directory "$(dirname "$data")" "$data" >/dev/null 2>&1
done
mv ./*.gcov gcov
awk -v want="$want" -v verbose="$verbose" '
	function source(name) { sub(/\.gcov$/, "", name); sub(/.*\^#/, "", name); gsub(/#/, "/", name); return name }
	FNR == 1 { file = FILENAME; keep = file ~ /#(format|libcodec|libcodec#base)#[^#]*\.c\.gcov$/ }
	!keep { next }
	/^ *[#=0-9-]+\**: *[0-9]+:/ { split($0, part, ":"); line = part[2] + 0; text = $0 }
	/^branch/ {
		total[file]++
		if ($0 ~ /never executed/ || $0 ~ /taken 0/) {
			missed[file]++
			if (verbose) print source(file) ":" line ": " text
		}
	}
	END {
		for (f in total) {
			printf "%6.2f %% %5d of %5d branches  %s\n", 100 * (1 - missed[f] / total[f]), total[f] - missed[f], total[f], source(f) | "sort -k6"
			n += total[f]
			m += missed[f]
		}
		close("sort -k6")
		if (n == 0) { print "no branches found"; exit 1 }
		printf "%6.2f %% %5d of %5d branches  in all\n", 100 * (1 - m / n), n - m, n
		exit 100 * (1 - m / n) < want
	}' gcov/*.gcov
