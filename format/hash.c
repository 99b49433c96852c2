/* SPDX-License-Identifier: Apache-2.0 */
/* XXH3 with seed 0 and the default secret, in canonical (big-endian) form. */
#include <stdlib.h>
#include <string.h>

#ifdef UW_XXH_DISPATCH
#include <xxh_x86dispatch.h> /* puts faster functions behind the names below */
#else
#include <xxhash.h>
#endif

#include "unweight/format.h"

struct uw_hash128 {
	XXH3_state_t *xxh;
};

void uw_hash64(const void *data, size_t nbytes, uint8_t out[8])
{
	XXH64_canonical_t canonical;

	XXH64_canonicalFromHash(&canonical, XXH3_64bits(data, nbytes));
	memcpy(out, canonical.digest, 8);
}

struct uw_hash128 *uw_hash128_new(void)
{
	struct uw_hash128 *h = malloc(sizeof(*h));

	if (h == NULL)
		return NULL;
	h->xxh = XXH3_createState();
	if (h->xxh == NULL) {
		free(h);
		return NULL;
	}
	uw_hash128_reset(h);
	return h;
}

void uw_hash128_reset(struct uw_hash128 *h)
{
	XXH3_128bits_reset(h->xxh);
}

void uw_hash128_update(struct uw_hash128 *h, const void *data, size_t nbytes)
{
	if (nbytes > 0)
		XXH3_128bits_update(h->xxh, data, nbytes);
}

void uw_hash128_final(const struct uw_hash128 *h, uint8_t out[16])
{
	XXH128_canonical_t canonical;

	XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(h->xxh));
	memcpy(out, canonical.digest, 16);
}

void uw_hash128_final64(const struct uw_hash128 *h, uint8_t out[8])
{
	XXH64_canonical_t canonical;

	XXH64_canonicalFromHash(&canonical, XXH3_64bits_digest(h->xxh));
	memcpy(out, canonical.digest, 8);
}

void uw_hash128_free(struct uw_hash128 *h)
{
	if (h == NULL)
		return;
	XXH3_freeState(h->xxh);
	free(h);
}
