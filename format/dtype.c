/* SPDX-License-Identifier: Apache-2.0 */
/* The table of dtypes (SPEC.md section 2.3), names as safetensors spells them. */
#include <string.h>

#include "unweight/format.h"

struct dtype {
	const char *name;
	uint32_t nbits;
};

static const struct dtype dtypes[] = {
	[UW_DTYPE_NONE] = {"NONE", 0},
	[UW_DTYPE_BOOL] = {"BOOL", 8},
	[UW_DTYPE_U8] = {"U8", 8},
	[UW_DTYPE_I8] = {"I8", 8},
	[UW_DTYPE_F8_E5M2] = {"F8_E5M2", 8},
	[UW_DTYPE_F8_E4M3] = {"F8_E4M3", 8},
	[UW_DTYPE_F8_E4M3FNUZ] = {"F8_E4M3FNUZ", 8},
	[UW_DTYPE_I16] = {"I16", 16},
	[UW_DTYPE_U16] = {"U16", 16},
	[UW_DTYPE_F16] = {"F16", 16},
	[UW_DTYPE_BF16] = {"BF16", 16},
	[UW_DTYPE_I32] = {"I32", 32},
	[UW_DTYPE_U32] = {"U32", 32},
	[UW_DTYPE_F32] = {"F32", 32},
	[UW_DTYPE_F64] = {"F64", 64},
	[UW_DTYPE_C64] = {"C64", 64},
	[UW_DTYPE_I64] = {"I64", 64},
	[UW_DTYPE_U64] = {"U64", 64},
	[UW_DTYPE_F4] = {"F4", 4},
	[UW_DTYPE_F6_E2M3] = {"F6_E2M3", 6},
	[UW_DTYPE_F6_E3M2] = {"F6_E3M2", 6},
	[UW_DTYPE_F8_E8M0] = {"F8_E8M0", 8},
	[UW_DTYPE_F8_E5M2FNUZ] = {"F8_E5M2FNUZ", 8},
};

#define NDTYPES (sizeof(dtypes) / sizeof(dtypes[0]))

const char *uw_dtype_name(uint8_t dtype)
{
	if (dtype == UW_DTYPE_OTHER)
		return "OTHER";
	return dtype < NDTYPES ? dtypes[dtype].name : NULL;
}

uint32_t uw_dtype_nbits(uint8_t dtype)
{
	return dtype < NDTYPES ? dtypes[dtype].nbits : 0;
}

uint8_t uw_dtype_code(const char *name, size_t n)
{
	/* From 1: "NONE" is our word for no dtype at all, not one of safetensors. */
	for (uint8_t i = 1; i < NDTYPES; i++)
		if (strlen(dtypes[i].name) == n && memcmp(dtypes[i].name, name, n) == 0)
			return i;
	return UW_DTYPE_OTHER;
}
