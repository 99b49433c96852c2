/* SPDX-License-Identifier: Apache-2.0 */
#ifndef UW_PREFETCH_H
#define UW_PREFETCH_H

/* Memory that is read or written soon; only a hint, so any address will do. */
static inline void uw_prefetch(const void *p)
{
#if defined(__GNUC__)
	__builtin_prefetch(p);
#endif
}

#endif
