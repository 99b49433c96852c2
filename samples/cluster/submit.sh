#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Compresses a model with a Slurm job array, and merges it when the array is done:
#	submit.sh MODEL BUNDLE PARTS [options for sbatch, such as --partition=io --cpus-per-task=8 --mem=4G]
# MODEL and BUNDLE are on a file system that all nodes see. Prints the ids of both jobs. Run again with the same
# arguments, it does what is missing.
set -eu

[ $# -ge 3 ] || { sed -n '4,6s/^#\t*//p' "$0" >&2; exit 2; }
model=$1 bundle=$2 parts=$3
shift 3
here=$(cd "$(dirname "$0")" && pwd)

array=$(sbatch --parsable --array="1-$parts" "$@" "$here/compress.sbatch" "$model" "$bundle")
# --kill-on-invalid-dep: a part that failed for good cancels the merge instead of leaving it to wait for ever
merge=$(sbatch --parsable --dependency="afterok:$array" --kill-on-invalid-dep=yes "$@" "$here/merge.sbatch" "$bundle")
echo "$array $merge"
