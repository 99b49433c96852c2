/* SPDX-License-Identifier: Apache-2.0 */
/* Types of tensor elements (SPEC.md 2.3). */
#ifndef UNWEIGHT_DTYPE_H
#define UNWEIGHT_DTYPE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

enum uw_dtype {
	UW_DTYPE_NONE = 0,
	UW_DTYPE_BOOL = 1,
	UW_DTYPE_U8 = 2,
	UW_DTYPE_I8 = 3,
	UW_DTYPE_F8_E5M2 = 4,
	UW_DTYPE_F8_E4M3 = 5,
	UW_DTYPE_F8_E4M3FNUZ = 6,
	UW_DTYPE_I16 = 7,
	UW_DTYPE_U16 = 8,
	UW_DTYPE_F16 = 9,
	UW_DTYPE_BF16 = 10,
	UW_DTYPE_I32 = 11,
	UW_DTYPE_U32 = 12,
	UW_DTYPE_F32 = 13,
	UW_DTYPE_F64 = 14,
	UW_DTYPE_C64 = 15,
	UW_DTYPE_I64 = 16,
	UW_DTYPE_U64 = 17,
	UW_DTYPE_F4 = 18,
	UW_DTYPE_F6_E2M3 = 19,
	UW_DTYPE_F6_E3M2 = 20,
	UW_DTYPE_F8_E8M0 = 21,
	UW_DTYPE_F8_E5M2FNUZ = 22,
	UW_DTYPE_OTHER = 255,
};

/* Name as safetensors spells it ("OTHER" for UW_DTYPE_OTHER, "NONE", or NULL if `dtype` is no value of the table). */
const char *uw_dtype_name(uint8_t dtype);
/* Bits per element; 0 for NONE, OTHER and unknown values. */
uint32_t uw_dtype_nbits(uint8_t dtype);
/* Code of a safetensors dtype string of `n` bytes; UW_DTYPE_OTHER if the table has no such name. */
uint8_t uw_dtype_code(const char *name, size_t n);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif
#endif
