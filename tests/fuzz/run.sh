#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Fuzzes: builds the targets with clang, ASan and UBSan in build-fuzz and runs one after the other on a corpus that grows
# in build-fuzz/corpus, beginning with the committed seeds. A finding is left in build-fuzz/found; the exit status tells.
#
#   tests/fuzz/run.sh [SECONDS [TARGET]...]        60 seconds a target and all targets if not given
set -eu

cd "$(dirname "$0")/../.."
seconds=${1:-60}
[ $# = 0 ] || shift
targets=${*:-safetensors index container huffman coded patches codec roundtrip archive manifest parts bundle tuning}
out=${UW_FUZZ_BUILD:-build-fuzz}

[ -d "$out" ] || CC=clang CXX=clang++ meson setup "$out" -Dfuzz=true -Dcuda=disabled -Dbuildtype=debugoptimized \
	-Db_sanitize=address,undefined -Db_lundef=false >/dev/null
programs=""
for target in $targets; do
	programs="$programs tests/fuzz/fuzz_$target"
done
ninja -C "$out" $programs >"$out/build.log" || { cat "$out/build.log"; exit 1; }

export ASAN_OPTIONS=allocator_may_return_null=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
failed=0
mkdir -p "$out/found"
for target in $targets; do
	case $target in
	safetensors | roundtrip) dict=safetensors ;;
	manifest | archive | parts | tuning) dict=$target ;;
	*) dict=container ;;
	esac
	mkdir -p "$out/corpus/$target"
	log=$out/$target.log
	if "$out/tests/fuzz/fuzz_$target" -max_total_time="$seconds" -max_len=12288 -timeout=25 -rss_limit_mb=2048 \
		-dict="tests/fuzz/dict/$dict.dict" -artifact_prefix="$out/found/$target-" -print_final_stats=1 \
		"$out/corpus/$target" "tests/fuzz/corpus/$target" >"$log" 2>&1; then
		echo "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") executions," \
			"$(sed -n 's/^#.*DONE *cov: \([0-9]*\).*/\1/p' "$log") edges"
	else
		failed=1
		tail -n 60 "$log"
		echo "$target: FAILED"
	fi
done
exit $failed
