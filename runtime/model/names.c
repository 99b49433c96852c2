/* SPDX-License-Identifier: Apache-2.0 */
/* Role, layer and expert of a tensor from its name: the spellings of the model families. */
#include <string.h>

#include "unweight/unweight.h"

static const char *const role_names[UW_NROLES] = {
	[UW_ROLE_Q] = "q",
	[UW_ROLE_K] = "k",
	[UW_ROLE_V] = "v",
	[UW_ROLE_KV] = "kv",
	[UW_ROLE_QKV] = "qkv",
	[UW_ROLE_O] = "o",
	[UW_ROLE_GATE] = "gate",
	[UW_ROLE_UP] = "up",
	[UW_ROLE_GATE_UP] = "gate_up",
	[UW_ROLE_DOWN] = "down",
	[UW_ROLE_SCALE] = "scale",
	[UW_ROLE_OTHER] = "other",
	[UW_ROLE_EMBEDDING] = "embedding",
	[UW_ROLE_HEAD] = "head",
	[UW_ROLE_NORM] = "norm",
	[UW_ROLE_ROUTER] = "router",
};

const char *uw_role_name(enum uw_role role)
{
	return (unsigned)role < UW_NROLES ? role_names[role] : NULL;
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
	{ "self_attn", BLOCK_ATTENTION },   { "self_attention", BLOCK_ATTENTION }, { "attention", BLOCK_ATTENTION },
	{ "attn", BLOCK_ATTENTION },        { "linear_attn", BLOCK_ATTENTION },    { "mlp", BLOCK_MLP },
	{ "feed_forward", BLOCK_MLP },      { "block_sparse_moe", BLOCK_MLP },     { "experts", BLOCK_MLP },
	{ "shared_experts", BLOCK_MLP },    { "shared_expert", BLOCK_MLP },        { "visual", BLOCK_TOWER },
	{ "vision_tower", BLOCK_TOWER },    { "vision_model", BLOCK_TOWER },       { "audio_tower", BLOCK_TOWER },
	{ "vision_encoder", BLOCK_TOWER },  { "audio_encoder", BLOCK_TOWER },
};

static const struct {
	const char *component;
	enum block block;
	enum uw_role role;
} projections[] = {
	{ "q_proj", BLOCK_ATTENTION, UW_ROLE_Q },
	{ "q_a_proj", BLOCK_ATTENTION, UW_ROLE_Q },
	{ "q_b_proj", BLOCK_ATTENTION, UW_ROLE_Q },
	{ "wq", BLOCK_ATTENTION, UW_ROLE_Q },
	{ "k_proj", BLOCK_ATTENTION, UW_ROLE_K },
	{ "wk", BLOCK_ATTENTION, UW_ROLE_K },
	{ "v_proj", BLOCK_ATTENTION, UW_ROLE_V },
	{ "wv", BLOCK_ATTENTION, UW_ROLE_V },
	{ "kv_a_proj_with_mqa", BLOCK_ATTENTION, UW_ROLE_KV },
	{ "kv_b_proj", BLOCK_ATTENTION, UW_ROLE_KV },
	{ "qkv_proj", BLOCK_ATTENTION, UW_ROLE_QKV },
	{ "in_proj_qkv", BLOCK_ATTENTION, UW_ROLE_QKV },
	{ "query_key_value", BLOCK_ATTENTION, UW_ROLE_QKV },
	{ "c_attn", BLOCK_ATTENTION, UW_ROLE_QKV },
	{ "o_proj", BLOCK_ATTENTION, UW_ROLE_O },
	{ "out_proj", BLOCK_ATTENTION, UW_ROLE_O },
	{ "wo", BLOCK_ATTENTION, UW_ROLE_O },
	{ "dense", BLOCK_ATTENTION, UW_ROLE_O },
	{ "c_proj", BLOCK_ATTENTION, UW_ROLE_O },
	{ "gate_proj", BLOCK_MLP, UW_ROLE_GATE },
	{ "w1", BLOCK_MLP, UW_ROLE_GATE },
	{ "up_proj", BLOCK_MLP, UW_ROLE_UP },
	{ "w3", BLOCK_MLP, UW_ROLE_UP },
	{ "c_fc", BLOCK_MLP, UW_ROLE_UP },
	{ "dense_h_to_4h", BLOCK_MLP, UW_ROLE_UP },
	{ "gate_up_proj", BLOCK_MLP, UW_ROLE_GATE_UP },
	{ "down_proj", BLOCK_MLP, UW_ROLE_DOWN },
	{ "w2", BLOCK_MLP, UW_ROLE_DOWN },
	{ "c_proj", BLOCK_MLP, UW_ROLE_DOWN },
	{ "dense_4h_to_h", BLOCK_MLP, UW_ROLE_DOWN },
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

static bool is(const struct walk *w, const char *text)
{
	return w->part != NULL && w->n == strlen(text) && memcmp(w->part, text, w->n) == 0;
}

static bool is_any(const struct walk *w, const char *const *texts)
{
	while (*texts != NULL && !is(w, *texts))
		texts++;
	return *texts != NULL;
}

static bool ends_with(const struct walk *w, const char *text)
{
	size_t n = strlen(text);

	return w->part != NULL && w->n >= n && memcmp(w->part + w->n - n, text, n) == 0;
}

/* Decimal number of up to 6 digits, or -1. */
static int32_t number(const struct walk *w)
{
	int32_t value = 0;

	if (w->n == 0 || w->n > 6)
		return -1;
	for (size_t i = 0; i < w->n; i++) {
		if (w->part[i] < '0' || w->part[i] > '9')
			return -1;
		value = value * 10 + (w->part[i] - '0');
	}
	return value;
}

static unsigned blocks_of(const struct walk *w)
{
	for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++) {
		if (is(w, blocks[i].component))
			return blocks[i].block;
	}
	return BLOCK_NONE;
}

/* What is neither part of attention nor a projection of an MLP. */
static enum uw_role other_role(const struct walk *last, unsigned inside)
{
	static const char *const embeddings[] = { "embed_tokens", "tok_embeddings", "wte", "word_embeddings", NULL };
	static const char *const heads[] = { "lm_head", "output", "embed_out", NULL };

	if (is_any(last, embeddings))
		return UW_ROLE_EMBEDDING;
	if (inside == BLOCK_NONE && is_any(last, heads))
		return UW_ROLE_HEAD;
	if (inside == BLOCK_MLP && (is(last, "gate") || is(last, "router")))
		return UW_ROLE_ROUTER;
	if (ends_with(last, "norm") || ends_with(last, "layernorm") || is(last, "ln_f"))
		return UW_ROLE_NORM;
	return UW_ROLE_OTHER;
}

/* `last`, `before`: the last components. Only "PROJECTION.weight" and a PROJECTION that ends the name (fused experts)
 * are projections. */
static enum uw_role role_of(struct walk last, const struct walk *before, unsigned inside)
{
	static const char *const scales[] = { "weight_scale", "weight_scale_inv", "scales", NULL };

	if (is_any(&last, scales))
		return UW_ROLE_SCALE;
	if (is(&last, "weight"))
		last = *before;
	if (last.part == NULL || inside & BLOCK_TOWER)
		return UW_ROLE_OTHER;
	for (size_t i = 0; i < sizeof(projections) / sizeof(projections[0]); i++) {
		if (is(&last, projections[i].component) && inside == projections[i].block)
			return projections[i].role;
	}
	return other_role(&last, inside);
}

struct uw_name_meaning uw_name_meaning(const char *name, size_t nbytes)
{
	static const char *const layers[] = { "layers", "h", "blocks", "layer", "block", NULL };
	struct walk w = { .p = nbytes != 0 ? name : NULL, .end = nbytes != 0 ? name + nbytes : NULL };
	struct walk last = { 0 }, before = { 0 };
	struct uw_name_meaning meaning = { .layer = -1, .expert = -1 };
	unsigned inside = BLOCK_NONE;

	while (next_part(&w)) {
		before = last;
		last = w;
		inside |= blocks_of(&w);
		if (meaning.layer < 0 && is_any(&before, layers))
			meaning.layer = number(&w);
		if (meaning.expert < 0 && is(&before, "experts"))
			meaning.expert = number(&w);
	}
	meaning.role = role_of(last, &before, inside);
	return meaning;
}
