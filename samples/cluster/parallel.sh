#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Compresses a model with GNU parallel: here, or on the hosts of an --sshloginfile that see the same folders.
#	parallel.sh MODEL BUNDLE PARTS [options for parallel]
# Again after a failure, it does what is missing.
set -eu

[ $# -ge 3 ] || { sed -n '4,5s/^#\t*//p' "$0" >&2; exit 2; }
model=$1 bundle=$2 parts=$3
shift 3
unweight-compress --print-commands --parts "$parts" -T 1 "$model" -o "$bundle" | parallel --halt now,fail=1 --retries 3 "$@"
unweight-compress --merge -o "$bundle"
