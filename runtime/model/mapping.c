/* SPDX-License-Identifier: Apache-2.0 */
#include "mapping.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

bool uw_is_remote(int fd)
{
	/* linux/magic.h has most of these, under names that changed over time */
	static const uint32_t magics[] = {
		0x6969,     /* NFS */
		0xFF534D42, /* CIFS */
		0xFE534D42, /* SMB2 */
		0x517B,     /* SMB */
		0x01021997, /* 9p */
		0x65735546, /* FUSE */
		0x00C36400, /* Ceph */
		0x0BD00BD0, /* Lustre */
		0x47504653, /* GPFS */
		0x5346414F, /* AFS */
		0x19830326, /* FhGFS */
		0x013111A8, /* IBRIX */
		0xAAD7AAEA, /* PanFS */
	};
	struct statfs fs;

	if (fstatfs(fd, &fs) != 0)
		return true;
	for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++) {
		if ((uint32_t)fs.f_type == magics[i])
			return true;
	}
	return false;
}

enum uw_status uw_map(int fd, uint64_t off, uint64_t nbytes, struct uw_model_part *part, struct uw_error *err)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), skip = off % page;
	struct stat st;
	void *base;

	if (fstat(fd, &st) != 0)
		return uw_fail_errno(err, errno, "'%s'", part->path);
	if ((uint64_t)st.st_size < off || (uint64_t)st.st_size - off < nbytes)
		return uw_fail(err, UW_ERR_TRUNCATED, (uint64_t)st.st_size, "'%s' became shorter", part->path);
	if (nbytes > SIZE_MAX - page)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "'%s' is too large for this address space", part->path);
	base = mmap(NULL, (size_t)(skip + nbytes), PROT_READ, MAP_SHARED, fd, (off_t)(off - skip));
	if (base == MAP_FAILED)
		return uw_fail_errno(err, errno, "mapping '%s'", part->path);
	part->map_base = base;
	part->map_nbytes = (size_t)(skip + nbytes);
	part->map = (const uint8_t *)base + skip;
	return UW_OK;
}
