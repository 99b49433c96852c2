#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Fuzzes: builds the targets with clang, ASan and UBSan in build-fuzz and runs them, one on each processor at a time, on a
# corpus that grows in build-fuzz/corpus, beginning with the committed seeds. A finding is left in build-fuzz/found; the
# exit status tells.
#
#   tests/fuzz/run.sh [SECONDS [TARGET]...]        60 seconds a target and all targets if not given
set -eu

cd "$(dirname "$0")/../.."
out=${UW_FUZZ_BUILD:-build-fuzz}

# one SECONDS TARGET
one()
{
	case $2 in
	safetensors | roundtrip) dict=safetensors ;;
	manifest | archive | parts | tuning) dict=$2 ;;
	*) dict=container ;;
	esac
	mkdir -p "$out/corpus/$2"
	log=$out/$2.log
	if "$out/tests/fuzz/fuzz_$2" -max_total_time="$1" -max_len=12288 -timeout=25 -rss_limit_mb=2048 \
		-dict="tests/fuzz/dict/$dict.dict" -artifact_prefix="$out/found/$2-" -print_final_stats=1 \
		"$out/corpus/$2" "tests/fuzz/corpus/$2" >"$log" 2>&1; then
		echo "$2: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") executions," \
			"$(sed -n 's/^#.*DONE *cov: \([0-9]*\).*/\1/p' "$log") edges"
	else
		tail -n 60 "$log"
		echo "$2: FAILED"
		return 1
	fi
}

if [ "${1:-}" = --one ]; then
	one "$2" "$3"
	exit
fi
seconds=${1:-60}
[ $# = 0 ] || shift
targets=${*:-safetensors index container huffman coded patches codec roundtrip archive manifest parts bundle tuning}

[ -d "$out" ] || CC=clang CXX=clang++ meson setup "$out" -Dfuzz=true -Dcuda=disabled -Dbuildtype=debugoptimized \
	-Db_sanitize=address,undefined -Db_lundef=false >/dev/null
programs=""
for target in $targets; do
	programs="$programs tests/fuzz/fuzz_$target"
done
ninja -C "$out" $programs >"$out/build.log" || { cat "$out/build.log"; exit 1; }

export ASAN_OPTIONS=allocator_may_return_null=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
mkdir -p "$out/found"
printf '%s\n' $targets | xargs -n 1 -P "$(nproc)" sh tests/fuzz/run.sh --one "$seconds"
