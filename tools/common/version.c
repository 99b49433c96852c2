/* SPDX-License-Identifier: Apache-2.0 */
/* What a program is made of, for other programs. */
#include <archive.h>
#include <jansson.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <xxhash.h>
#include <zstd.h>

#include "cli.h"
#include "manifest.h"
#include "unweight/format.h"
#include "unweight/kernels.h"

/* Of a number that has `scale` for each of its three parts. */
static json_t *version_of(unsigned number, unsigned scale)
{
	char text[40];

	snprintf(text, sizeof(text), "%u.%u.%u", number / (scale * scale), number / scale % scale, number % scale);
	return json_string(text);
}

static json_t *features(void)
{
	return json_pack("{s:s, s:b}", "cpu", uw_cpu_level_name(uw_cpu_flags()), "cuda", UW_WITH_CUDA);
}

/* As they are loaded, not as they were when this was compiled. */
static json_t *libraries(void)
{
	return json_pack("{s:s, s:o, s:s, s:s, s:o}", "jansson", jansson_version_str(), "libarchive",
			 version_of((unsigned)archive_version_number(), 1000), "libcrypto",
			 OpenSSL_version(OPENSSL_VERSION_STRING), "libzstd", ZSTD_versionString(), "xxhash",
			 version_of(XXH_versionNumber(), 100));
}

bool uw_version_write_json(const char *tool, FILE *f)
{
	json_t *top = json_pack("{s:s, s:s, s:s, s:{s:i, s:[i, i]}, s:o, s:o}", "schema", "unweight-version-1", "tool", tool,
				"version", UW_VERSION, "formats", "container", (int)UW_CONTAINER_VERSION, "manifest",
				UW_MANIFEST_VERSION, UW_MANIFEST_VERSION_BASED, "features", features(), "libraries",
				libraries());
	bool good = top != NULL && json_dumpf(top, f, JSON_SORT_KEYS | JSON_INDENT(2)) == 0;

	json_decref(top);
	return good && fputc('\n', f) != EOF;
}
