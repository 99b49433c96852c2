/* SPDX-License-Identifier: Apache-2.0 */
#include "buffer.h"

#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>

#define ALIGN 64
#define HUGE_PAGE_NBYTES (UINT64_C(2) << 20)

/* The same for a size and for what it is rounded up to. */
static bool is_big(uint64_t nbytes)
{
	return nbytes > HUGE_PAGE_NBYTES - ALIGN;
}

uint64_t uw_buffer_nbytes(uint64_t nbytes)
{
	uint64_t align = is_big(nbytes) ? HUGE_PAGE_NBYTES : ALIGN;

	return (nbytes + align - 1) & ~(align - 1);
}

/* Whole huge pages, or NULL. Mapped here and not by malloc, which keeps for each thread what was given back to it: what
 * a job takes would depend on which thread freed what. */
static uint8_t *map_big(size_t nbytes)
{
	size_t room = nbytes + HUGE_PAGE_NBYTES, before, behind;
	uint8_t *map;

	if (room < nbytes)
		return NULL;
	map = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED)
		return NULL;
	before = (size_t)(-(uintptr_t)map & (HUGE_PAGE_NBYTES - 1));
	behind = room - nbytes - before;
	if (before != 0)
		(void)munmap(map, before);
	if (behind != 0)
		(void)munmap(map + before + nbytes, behind);
	/* a fault for 2 MiB, not for each 4 KiB; as good as unsaid where there are none */
	(void)madvise(map + before, nbytes, MADV_HUGEPAGE);
	return map + before;
}

enum uw_status uw_buffer_reserve(struct uw_buffer *buffer, uint64_t nbytes, struct uw_error *err)
{
	uint64_t rounded = uw_buffer_nbytes(nbytes);

	if (nbytes <= buffer->nbytes)
		return UW_OK;
	uw_buffer_free(buffer);
	if (rounded >= nbytes && rounded <= SIZE_MAX)
		buffer->data = is_big(nbytes) ? map_big((size_t)rounded) : aligned_alloc(ALIGN, (size_t)rounded);
	if (buffer->data == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "buffer of %llu bytes", (unsigned long long)nbytes);
	buffer->nbytes = (size_t)rounded;
	return UW_OK;
}

void uw_buffer_free(struct uw_buffer *buffer)
{
	if (is_big(buffer->nbytes))
		(void)munmap(buffer->data, buffer->nbytes);
	else
		free(buffer->data);
	*buffer = (struct uw_buffer){ 0 };
}
