/* SPDX-License-Identifier: Apache-2.0 */
/* In which order the rows of a group are best stored. */
#ifndef UW_ROW_ORDER_H
#define UW_ROW_ORDER_H

#include "unweight/codec.h"

/*
 * The order that brings rows of like exponents together: stored row i is to be row order[i]. False: it would not pay,
 * or the group cannot have one; order is then undefined. `work` holds 2 x nrows values, `order` nrows. Looks at the
 * weights alone, integers only.
 */
bool uw_row_order_choose(const struct uw_shape *shape, const uint16_t *weights, uint32_t *work, uint16_t *order);

#endif
