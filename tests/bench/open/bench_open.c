/* SPDX-License-Identifier: Apache-2.0 */
/* How long it takes to open a bundle of 10,000 tensors: in one container, in 16, and in a tar of 16; from memory, and
 * with its files dropped from it. Milliseconds, median of the rounds. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../../unit/bundle_common.h"
#include "unweight/clock.h"
#include "unweight/unweight.h"

#define ROUNDS 15u
#define NTENSORS 10000u

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void drop(const char *path)
{
	int fd = open(path, O_RDONLY);

	if (fd < 0)
		return;
	(void)fsync(fd);
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	close(fd);
}

static void drop_all(const char *bundle, unsigned nfiles)
{
	char path[256];

	drop(bundle);
	snprintf(path, sizeof(path), "%s/unweight.json", bundle);
	drop(path);
	for (unsigned i = 0; i < nfiles; i++) {
		snprintf(path, sizeof(path), "%s/model-%05u.safetensors.uw", bundle, i);
		drop(path);
	}
}

static int measure(const char *bundle, unsigned nfiles, bool cold)
{
	double ms[ROUNDS];

	for (unsigned i = 0; i < ROUNDS; i++) {
		struct uw_model *model;
		struct uw_error err;
		uint64_t begin;

		if (cold)
			drop_all(bundle, nfiles);
		begin = uw_clock_ns();
		if (uw_model_open(bundle, NULL, &model, &err) != UW_OK) {
			fprintf(stderr, "%s: %s\n", bundle, err.what);
			return 1;
		}
		ms[i] = (double)(uw_clock_ns() - begin) / 1e6;
		uw_model_close(&model);
	}
	qsort(ms, ROUNDS, sizeof(ms[0]), compare);
	printf("%-12s %-7s %8.2f ms   (%.2f .. %.2f)\n", bundle, cold ? "dropped" : "cached", ms[ROUNDS / 2], ms[0],
	       ms[ROUNDS - 1]);
	return 0;
}

int main(void)
{
	static const unsigned nfiles[] = { 1, 16 };
	char root[4096], model[32], bundle[32];
	int failed = 0;

	enter_new_folder(root);
	for (unsigned i = 0; i < 2; i++) {
		snprintf(model, sizeof(model), "model%u", nfiles[i]);
		snprintf(bundle, sizeof(bundle), "%u files", nfiles[i]);
		make_many_tensors(model, nfiles[i], NTENSORS / nfiles[i]);
		make_bundle(model, UW_PROFILE_INFERENCE, bundle);
		failed |= measure(bundle, nfiles[i], false) | measure(bundle, nfiles[i], true);
	}
	make_tar("16 files", "16 in a tar");
	failed |= measure("16 in a tar", 0, false) | measure("16 in a tar", 0, true);
	remove_folder(root);
	return failed;
}
