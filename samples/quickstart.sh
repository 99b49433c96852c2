#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The main job on a real model: install what is missing, build, scan, compress to both profiles, verify,
# restore, compare, show the sizes; and for the sample model, text generated from the compressed weights.
#
#   samples/quickstart.sh [MODEL]      MODEL: any model folder; default: the sample model
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
model=${1:-$top/samples/shakespeare-llama}
build=$top/build
work=$top/build/quickstart

step() { printf '\n== %s\n' "$*"; }

step "install and build"
"$top/.ci/deps" build
[ -f "$build/build.ninja" ] || meson setup "$build" "$top" -Dbuildtype=release -Dtests=false >"$top/build.log" 2>&1 ||
	{ cat "$top/build.log" >&2; exit 1; }
rm -f "$top/build.log"
ninja -C "$build" --quiet
tools=$build/tools
rm -rf "$work"
mkdir -p "$work"

step "scan: how well does it compress?"
"$tools/unweight-scan" "$model" --html "$work/scan.html" --json "$work/scan.json"
"$tools/unweight-scan" "$model" | tail -n 10

for profile in distribution inference; do
	step "$profile bundle: compress, verify, restore, compare"
	"$tools/unweight-compress" "$model" -o "$work/$profile" --profile $profile -v 2>&1 | tail -n 1
	"$tools/unweight-verify" "$work/$profile" --against "$model" -v 2>&1 | tail -n 1
	"$tools/unweight-decompress" "$work/$profile" -o "$work/restored-$profile"
	diff -r "$model" "$work/restored-$profile"
	echo "restored byte for byte"
done

# bytes of the files below $1 whose names end in $2
sum() { find -L "$1" -type f -name "*$2" -exec cat {} + | wc -c; }
# everything in a bundle that stands for the safetensors files: containers and the manifest
coded() { echo $(($(sum "$1" .uw) + $(sum "$1" unweight.json))); }

step "sizes (containers and manifest, everything counted)"
source_bytes=$(sum "$model" .safetensors)
printf '%-14s %12s %9s\n' "" bytes "of source"
printf '%-14s %12d %9s\n' safetensors "$source_bytes" 1.0000
for profile in distribution inference; do
	bytes=$(coded "$work/$profile")
	awk -v n=$profile -v b="$bytes" -v s="$source_bytes" 'BEGIN { printf "%-14s %12d %9.4f\n", n, b, b / s }'
done
if [ -z "${1:-}" ]; then
	for profile in distribution inference; do
		step "text from the $profile bundle, its weights compressed"
		"$build/samples/generate" "$work/$profile" "ROMEO:
" | tee "$work/text-$profile"
	done
	cmp "$work/text-distribution" "$work/text-inference"
fi
echo
echo "The bundles are in $work, the report for people is $work/scan.html"
