/* SPDX-License-Identifier: Apache-2.0 */
/* A fuzz target without libFuzzer: runs it on every file of the folders, and on some beginnings of each. */
#include <dirent.h>

#include "fuzz.h"

#define NCUTS 16u /* lengths at which each file is cut as well */

static uint8_t *load(const char *path, size_t *nbytes)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data = NULL;
	long n;

	FUZZ_ASSERT(f != NULL && fseek(f, 0, SEEK_END) == 0);
	n = ftell(f);
	FUZZ_ASSERT(n >= 0 && fseek(f, 0, SEEK_SET) == 0);
	data = fuzz_alloc((size_t)n);
	*nbytes = (size_t)n;
	FUZZ_ASSERT(n == 0 || fread(data, *nbytes, 1, f) == 1);
	fclose(f);
	return data;
}

static void run_one(const uint8_t *data, size_t nbytes)
{
	uint8_t *copy = fuzz_alloc(nbytes);

	memcpy(copy, data, nbytes);
	LLVMFuzzerTestOneInput(copy, nbytes);
	free(copy);
}

/* Number of files run. */
static unsigned run_folder(const char *folder)
{
	struct dirent *entry;
	DIR *dir = opendir(folder);
	unsigned n = 0;

	FUZZ_ASSERT(dir != NULL);
	while ((entry = readdir(dir)) != NULL) {
		char path[4096];
		uint8_t *data;
		size_t nbytes;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		fprintf(stderr, "%s\n", path);
		data = load(path, &nbytes);
		run_one(data, nbytes);
		for (size_t cut = 0; cut < nbytes; cut += nbytes / NCUTS + 1)
			run_one(data, cut);
		free(data);
		n++;
	}
	closedir(dir);
	return n;
}

int main(int argc, char **argv)
{
	unsigned n = 0;

	for (int i = 1; i < argc; i++)
		n += run_folder(argv[i]);
	fprintf(stderr, "%u files\n", n);
	return n == 0;
}
