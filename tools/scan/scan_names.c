/* SPDX-License-Identifier: Apache-2.0 */
/* Role and layer of a tensor from its name. For display only: what gets compressed does not depend on it. */
#include <string.h>

#include "scan_view.h"

static const char *const role_names[UW_NROLES] = {
	[UW_ROLE_Q] = "q",       [UW_ROLE_K] = "k",       [UW_ROLE_V] = "v",     [UW_ROLE_KV] = "kv",
	[UW_ROLE_QKV] = "qkv",   [UW_ROLE_O] = "o",       [UW_ROLE_GATE] = "gate", [UW_ROLE_UP] = "up",
	[UW_ROLE_GATE_UP] = "gate_up", [UW_ROLE_DOWN] = "down", [UW_ROLE_SCALE] = "scale", [UW_ROLE_OTHER] = "other",
};

const char *uw_scan_role_name(enum uw_scan_role role)
{
	return role_names[role];
}

/* Block the projection has to be part of. w1 and c_proj mean something only inside their block, and some
 * attention blocks have a gate_proj of their own. */
enum block {
	BLOCK_NONE = 0,
	BLOCK_ATTENTION = 1,
	BLOCK_MLP = 2,
	BLOCK_TOWER = 4, /* of another modality: its layers are counted for themselves */
};

static const struct {
	const char *component;
	enum block block;
} blocks[] = {
	{"self_attn", BLOCK_ATTENTION},   {"self_attention", BLOCK_ATTENTION}, {"attention", BLOCK_ATTENTION},
	{"attn", BLOCK_ATTENTION},        {"linear_attn", BLOCK_ATTENTION},    {"mlp", BLOCK_MLP},
	{"feed_forward", BLOCK_MLP},      {"block_sparse_moe", BLOCK_MLP},     {"experts", BLOCK_MLP},
	{"shared_experts", BLOCK_MLP},    {"shared_expert", BLOCK_MLP},        {"visual", BLOCK_TOWER},
	{"vision_tower", BLOCK_TOWER},    {"vision_model", BLOCK_TOWER},       {"audio_tower", BLOCK_TOWER},
	{"vision_encoder", BLOCK_TOWER},  {"audio_encoder", BLOCK_TOWER},
};

static const struct {
	const char *component;
	enum block block;
	enum uw_scan_role role;
} projections[] = {
	{"q_proj", BLOCK_ATTENTION, UW_ROLE_Q},
	{"q_a_proj", BLOCK_ATTENTION, UW_ROLE_Q},
	{"q_b_proj", BLOCK_ATTENTION, UW_ROLE_Q},
	{"wq", BLOCK_ATTENTION, UW_ROLE_Q},
	{"k_proj", BLOCK_ATTENTION, UW_ROLE_K},
	{"wk", BLOCK_ATTENTION, UW_ROLE_K},
	{"v_proj", BLOCK_ATTENTION, UW_ROLE_V},
	{"wv", BLOCK_ATTENTION, UW_ROLE_V},
	{"kv_a_proj_with_mqa", BLOCK_ATTENTION, UW_ROLE_KV},
	{"kv_b_proj", BLOCK_ATTENTION, UW_ROLE_KV},
	{"qkv_proj", BLOCK_ATTENTION, UW_ROLE_QKV},
	{"in_proj_qkv", BLOCK_ATTENTION, UW_ROLE_QKV},
	{"query_key_value", BLOCK_ATTENTION, UW_ROLE_QKV},
	{"c_attn", BLOCK_ATTENTION, UW_ROLE_QKV},
	{"o_proj", BLOCK_ATTENTION, UW_ROLE_O},
	{"out_proj", BLOCK_ATTENTION, UW_ROLE_O},
	{"wo", BLOCK_ATTENTION, UW_ROLE_O},
	{"dense", BLOCK_ATTENTION, UW_ROLE_O},
	{"c_proj", BLOCK_ATTENTION, UW_ROLE_O},
	{"gate_proj", BLOCK_MLP, UW_ROLE_GATE},
	{"w1", BLOCK_MLP, UW_ROLE_GATE},
	{"up_proj", BLOCK_MLP, UW_ROLE_UP},
	{"w3", BLOCK_MLP, UW_ROLE_UP},
	{"c_fc", BLOCK_MLP, UW_ROLE_UP},
	{"dense_h_to_4h", BLOCK_MLP, UW_ROLE_UP},
	{"gate_up_proj", BLOCK_MLP, UW_ROLE_GATE_UP},
	{"down_proj", BLOCK_MLP, UW_ROLE_DOWN},
	{"w2", BLOCK_MLP, UW_ROLE_DOWN},
	{"c_proj", BLOCK_MLP, UW_ROLE_DOWN},
	{"dense_4h_to_h", BLOCK_MLP, UW_ROLE_DOWN},
};

/* A walk over the components of a name. */
struct walk {
	const char *p, *end;
	const char *part;
	size_t n;
};

static bool next_part(struct walk *w)
{
	const char *dot;

	if (w->p == NULL)
		return false;
	dot = memchr(w->p, '.', (size_t)(w->end - w->p));
	w->part = w->p;
	w->n = (size_t)((dot != NULL ? dot : w->end) - w->p);
	w->p = dot != NULL ? dot + 1 : NULL;
	return true;
}

static struct walk walk_of(const struct uw_extent *extent)
{
	struct walk w = {.p = extent->name_nbytes != 0 ? extent->name : NULL};

	if (w.p != NULL)
		w.end = w.p + extent->name_nbytes;
	return w;
}

static bool is(const struct walk *w, const char *text)
{
	return w->n == strlen(text) && memcmp(w->part, text, w->n) == 0;
}

/* Only "PROJECTION.weight" and a PROJECTION that ends the name (fused experts) are projections. */
enum uw_scan_role uw_scan_role_of(const struct uw_extent *extent)
{
	struct walk w = walk_of(extent), last = {0}, before = {0};
	unsigned inside = BLOCK_NONE;

	while (next_part(&w)) {
		before = last;
		last = w;
		for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++) {
			if (is(&w, blocks[i].component))
				inside |= blocks[i].block;
		}
	}
	if (last.part == NULL)
		return UW_ROLE_OTHER;
	if (is(&last, "weight_scale") || is(&last, "weight_scale_inv") || is(&last, "scales"))
		return UW_ROLE_SCALE;
	if (is(&last, "weight"))
		last = before;
	if (last.part == NULL || inside & BLOCK_TOWER)
		return UW_ROLE_OTHER;
	for (size_t i = 0; i < sizeof(projections) / sizeof(projections[0]); i++) {
		if (is(&last, projections[i].component) && inside == projections[i].block)
			return projections[i].role;
	}
	return UW_ROLE_OTHER;
}

/* Decimal number of up to 6 digits, or -1. */
static int number(const struct walk *w)
{
	int value = 0;

	if (w->n == 0 || w->n > 6)
		return -1;
	for (size_t i = 0; i < w->n; i++) {
		if (w->part[i] < '0' || w->part[i] > '9')
			return -1;
		value = value * 10 + (w->part[i] - '0');
	}
	return value;
}

int uw_scan_layer_of(const struct uw_extent *extent)
{
	struct walk w = walk_of(extent);

	while (next_part(&w)) {
		if (!is(&w, "layers") && !is(&w, "h") && !is(&w, "blocks") && !is(&w, "layer") && !is(&w, "block"))
			continue;
		if (!next_part(&w))
			break;
		if (number(&w) >= 0)
			return number(&w);
	}
	return -1;
}
