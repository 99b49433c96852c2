/* SPDX-License-Identifier: Apache-2.0 */
#include "share.h"

#include <stdlib.h>
#include <string.h>

#include "unweight/bytes.h"

#define PIECE_NBYTES ((uint64_t)1 << 20)

struct uw_share {
	uint64_t hash; /* of the stored bytes */
	uint64_t stored_nbytes;
	uint64_t src_off, src_nbytes, nrows, ncols;
	uint64_t g;
	uint8_t order, coding;
	bool used;
};

void uw_shares_free(struct uw_shares *shares)
{
	free(shares->slots);
	free(shares->buffer);
	*shares = (struct uw_shares){ 0 };
}

static bool alike(const struct uw_share *a, const struct uw_share *b)
{
	return a->hash == b->hash && a->stored_nbytes == b->stored_nbytes && a->src_nbytes == b->src_nbytes &&
	       a->nrows == b->nrows && a->ncols == b->ncols && a->order == b->order && a->coding == b->coding;
}

/* Where an entry like this one stands, or the empty slot for it. There always is one. */
static struct uw_share *place_of(const struct uw_shares *shares, const struct uw_share *share)
{
	uint64_t i = share->hash & (shares->nslots - 1);

	while (shares->slots[i].used && !alike(&shares->slots[i], share))
		i = (i + 1) & (shares->nslots - 1);
	return &shares->slots[i];
}

/* Keeps at least half of the slots empty. */
static enum uw_status make_room(struct uw_shares *shares, struct uw_error *err)
{
	struct uw_shares larger = { .nslots = shares->nslots != 0 ? 2 * shares->nslots : 64, .n = shares->n };

	if (2 * (shares->n + 1) <= shares->nslots)
		return UW_OK;
	larger.buffer = shares->buffer != NULL ? shares->buffer : malloc(PIECE_NBYTES);
	shares->buffer = larger.buffer;
	if (larger.nslots <= SIZE_MAX / sizeof(*larger.slots))
		larger.slots = calloc((size_t)larger.nslots, sizeof(*larger.slots));
	if (larger.buffer == NULL || larger.slots == NULL) {
		free(larger.slots);
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "packing");
	}
	for (uint64_t i = 0; i < shares->nslots; i++)
		if (shares->slots[i].used)
			*place_of(&larger, &shares->slots[i]) = shares->slots[i];
	free(shares->slots);
	*shares = larger;
	return UW_OK;
}

static enum uw_status compare_source(const struct uw_shares *shares, const struct uw_blob *blob, uint64_t off,
				     uint64_t nbytes, const uint8_t *src, bool *equal, struct uw_error *err)
{
	*equal = true;
	for (uint64_t done = 0, n; done < nbytes && *equal; done += n) {
		enum uw_status status;

		n = nbytes - done < PIECE_NBYTES ? nbytes - done : PIECE_NBYTES;
		status = uw_blob_read(blob, shares->buffer, (size_t)n, off + done, err);
		if (status != UW_OK)
			return status;
		*equal = memcmp(shares->buffer, src + done, (size_t)n) == 0;
	}
	return UW_OK;
}

enum uw_status uw_shares_find(struct uw_shares *shares, const struct uw_blob *blob, uint64_t g, uint8_t order,
			      uint64_t extent_off, const struct uw_slice *slice, const struct uw_group *group,
			      const uint8_t *src, uint64_t *same, struct uw_error *err)
{
	struct uw_share share = {
		.hash = uw_load_le64(group->xxh64),
		.stored_nbytes = group->nbytes,
		.src_off = extent_off + slice->src_off,
		.src_nbytes = slice->src_nbytes,
		.nrows = slice->nrows,
		.ncols = slice->ncols,
		.g = g,
		.order = order,
		.coding = group->coding,
		.used = true,
	};
	enum uw_status status = make_room(shares, err);
	struct uw_share *place;
	bool equal;

	*same = UINT64_MAX;
	if (status != UW_OK)
		return status;
	place = place_of(shares, &share);
	if (!place->used) {
		*place = share;
		shares->n++;
		return UW_OK;
	}
	/* a hash that collides only costs the space that it could have saved */
	status = compare_source(shares, blob, place->src_off, place->src_nbytes, src, &equal, err);
	if (status == UW_OK && equal)
		*same = place->g;
	return status;
}
