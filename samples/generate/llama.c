/* SPDX-License-Identifier: Apache-2.0 */
#include "llama.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct layer {
	size_t qkv, o, gate_up, down; /* products of the backend; q, k and v share their input, as do gate and up */
	float *norm_attention;
	float *norm_ffn;
	float *keys;   /* [sequence][position][kv head][head_dim] */
	float *values;
};

/* Activations of one call, max_tokens rows each. */
struct rows {
	float *x;      /* hidden: the residual stream */
	float *normed; /* hidden */
	float *q;      /* nheads * head_dim; the attention's output replaces it */
	float *k;      /* nkv_heads * head_dim */
	float *v;
	float *gate;   /* ffn */
	float *up;
	float *scores; /* context, for one head */
};

struct llama {
	struct llama_config config;
	const struct uw_model *model;
	struct backend *backend;
	struct layer *layers;
	size_t head;
	float *norm;
	float *rope; /* [position][head_dim / 2]: cosine, sine */
	struct rows rows;
	uint32_t *ids; /* of the tokens of one call */
	uint32_t nsequences;
	uint32_t max_tokens;
};

/* ---- config.json ---- */

static uint32_t get_size(const json_t *object, const char *key, uint32_t fallback)
{
	const json_t *value = json_object_get(object, key);
	json_int_t n = json_is_integer(value) ? json_integer_value(value) : (json_int_t)fallback;

	return n > 0 && n <= 1 << 24 ? (uint32_t)n : 0;
}

static float get_real(const json_t *object, const char *key, float fallback)
{
	const json_t *value = json_object_get(object, key);

	return json_is_number(value) ? (float)json_number_value(value) : fallback;
}

static const char *interpret(const json_t *object, struct llama_config *c)
{
	const char *type = json_string_value(json_object_get(object, "model_type"));
	const json_t *scaling = json_object_get(object, "rope_scaling");

	if (type == NULL || strcmp(type, "llama") != 0)
		return "config.json: model_type is not llama";
	if (json_is_true(json_object_get(object, "attention_bias")) ||
	    json_is_true(json_object_get(object, "mlp_bias")))
		return "config.json: biases are not supported by this sample";
	if (scaling != NULL && !json_is_null(scaling))
		return "config.json: rope_scaling is not supported by this sample";
	c->nlayers = get_size(object, "num_hidden_layers", 0);
	c->hidden = get_size(object, "hidden_size", 0);
	c->ffn = get_size(object, "intermediate_size", 0);
	c->nheads = get_size(object, "num_attention_heads", 0);
	c->nkv_heads = get_size(object, "num_key_value_heads", c->nheads);
	c->vocab = get_size(object, "vocab_size", 0);
	c->context = get_size(object, "max_position_embeddings", 2048);
	if (c->nlayers == 0 || c->hidden == 0 || c->ffn == 0 || c->nheads == 0 || c->nkv_heads == 0 || c->vocab == 0 ||
	    c->context == 0 || c->nheads % c->nkv_heads != 0)
		return "config.json: sizes are missing or wrong";
	c->head_dim = get_size(object, "head_dim", c->hidden / c->nheads);
	if (c->head_dim == 0 || c->head_dim % 2 != 0)
		return "config.json: head_dim is wrong";
	c->norm_eps = get_real(object, "rms_norm_eps", 1e-6f);
	c->rope_theta = get_real(object, "rope_theta", 10000.0f);
	c->tied = json_is_true(json_object_get(object, "tie_word_embeddings"));
	return NULL;
}

/* ---- the arithmetic between the matrices, in FP32 ---- */

static void rms_norm(float *y, const float *x, const float *weight, uint32_t n, float eps)
{
	float sum = 0;

	for (uint32_t i = 0; i < n; i++)
		sum += x[i] * x[i];
	sum = 1.0f / sqrtf(sum / (float)n + eps);
	for (uint32_t i = 0; i < n; i++)
		y[i] = x[i] * sum * weight[i];
}

/* Hugging Face's convention: element i turns with element i + head_dim / 2. */
static void rotate(float *head, const float *rope, uint32_t head_dim)
{
	uint32_t half = head_dim / 2;

	for (uint32_t i = 0; i < half; i++) {
		float a = head[i], b = head[i + half];

		head[i] = a * rope[2 * i] - b * rope[2 * i + 1];
		head[i + half] = b * rope[2 * i] + a * rope[2 * i + 1];
	}
}

static float dot(const float *a, const float *b, uint32_t n)
{
	float sum = 0;

	for (uint32_t i = 0; i < n; i++)
		sum += a[i] * b[i];
	return sum;
}

static void softmax(float *x, uint32_t n)
{
	float max = x[0], sum = 0;

	for (uint32_t i = 1; i < n; i++)
		max = x[i] > max ? x[i] : max;
	for (uint32_t i = 0; i < n; i++) {
		x[i] = expf(x[i] - max);
		sum += x[i];
	}
	for (uint32_t i = 0; i < n; i++)
		x[i] /= sum;
}

/* One head of one token over the keys and values of its sequence so far; q becomes the output. */
static void attend(float *q, const float *keys, const float *values, size_t stride, uint32_t n, uint32_t head_dim,
		   float *scores)
{
	float scale = 1.0f / sqrtf((float)head_dim);

	for (uint32_t t = 0; t < n; t++)
		scores[t] = dot(q, keys + t * stride, head_dim) * scale;
	softmax(scores, n);
	memset(q, 0, head_dim * sizeof(*q));
	for (uint32_t t = 0; t < n; t++)
		for (uint32_t i = 0; i < head_dim; i++)
			q[i] += scores[t] * values[t * stride + i];
}

static void attention(struct llama *m, struct layer *layer, const struct llama_token *tokens, uint32_t n)
{
	const struct llama_config *c = &m->config;
	size_t kv = (size_t)c->nkv_heads * c->head_dim, width = (size_t)c->nheads * c->head_dim;

	for (uint32_t t = 0; t < n; t++) { /* first all keys and values: tokens of one call see those before them */
		size_t at = ((size_t)tokens[t].sequence * c->context + tokens[t].position) * kv;
		const float *rope = m->rope + (size_t)tokens[t].position * c->head_dim;

		for (uint32_t h = 0; h < c->nkv_heads; h++)
			rotate(m->rows.k + t * kv + h * c->head_dim, rope, c->head_dim);
		for (uint32_t h = 0; h < c->nheads; h++)
			rotate(m->rows.q + t * width + h * c->head_dim, rope, c->head_dim);
		memcpy(layer->keys + at, m->rows.k + t * kv, kv * sizeof(float));
		memcpy(layer->values + at, m->rows.v + t * kv, kv * sizeof(float));
	}
	for (uint32_t t = 0; t < n; t++) {
		size_t first = (size_t)tokens[t].sequence * c->context * kv;

		for (uint32_t h = 0; h < c->nheads; h++) {
			size_t head = first + (size_t)(h / (c->nheads / c->nkv_heads)) * c->head_dim;

			attend(m->rows.q + t * width + h * c->head_dim, layer->keys + head, layer->values + head, kv,
			       tokens[t].position + 1, c->head_dim, m->rows.scores);
		}
	}
}

static void silu_mul(float *gate, const float *up, size_t n)
{
	for (size_t i = 0; i < n; i++)
		gate[i] = gate[i] / (1.0f + expf(-gate[i])) * up[i];
}

/* ---- layers ---- */

static enum uw_status multiply(struct llama *m, size_t product, const float *x, uint32_t n, float *const y[],
			       struct uw_error *err)
{
	return m->backend->ops->multiply(m->backend, product, x, n, y, err);
}

static void add(float *x, const float *y, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] += y[i];
}

static enum uw_status forward_layer(struct llama *m, struct layer *layer, const struct llama_token *tokens, uint32_t n,
				    struct uw_error *err)
{
	const struct llama_config *c = &m->config;
	struct rows *r = &m->rows;
	enum uw_status status;

	for (uint32_t t = 0; t < n; t++)
		rms_norm(r->normed + (size_t)t * c->hidden, r->x + (size_t)t * c->hidden, layer->norm_attention,
			 c->hidden, c->norm_eps);
	status = multiply(m, layer->qkv, r->normed, n, (float *[]){ r->q, r->k, r->v }, err);
	if (status != UW_OK)
		return status;
	attention(m, layer, tokens, n);
	status = multiply(m, layer->o, r->q, n, (float *[]){ r->normed }, err);
	if (status != UW_OK)
		return status;
	add(r->x, r->normed, (size_t)n * c->hidden);

	for (uint32_t t = 0; t < n; t++)
		rms_norm(r->normed + (size_t)t * c->hidden, r->x + (size_t)t * c->hidden, layer->norm_ffn, c->hidden,
			 c->norm_eps);
	status = multiply(m, layer->gate_up, r->normed, n, (float *[]){ r->gate, r->up }, err);
	if (status != UW_OK)
		return status;
	silu_mul(r->gate, r->up, (size_t)n * c->ffn);
	status = multiply(m, layer->down, r->gate, n, (float *[]){ r->normed }, err);
	if (status == UW_OK)
		add(r->x, r->normed, (size_t)n * c->hidden);
	return status;
}

/* ---- tokens in, scores out ---- */

static enum uw_status check_tokens(const struct llama *m, const struct llama_token *tokens, uint32_t n,
				   struct uw_error *err)
{
	if (n == 0 || n > m->max_tokens)
		return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "%u tokens at once", n);
	for (uint32_t t = 0; t < n; t++) {
		if (tokens[t].sequence >= m->nsequences || tokens[t].position >= m->config.context ||
		    tokens[t].id >= m->config.vocab)
			return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "token %u: id %u, position %u", t, tokens[t].id,
				       tokens[t].position);
	}
	return UW_OK;
}

enum uw_status llama_forward(struct llama *m, const struct llama_token *tokens, uint32_t n, float *logits,
			     struct uw_error *err)
{
	const struct llama_config *c = &m->config;
	enum uw_status status = check_tokens(m, tokens, n, err);

	for (uint32_t t = 0; status == UW_OK && t < n; t++)
		m->ids[t] = tokens[t].id;
	if (status == UW_OK)
		status = m->backend->ops->embed(m->backend, m->ids, n, m->rows.x, err);
	for (uint32_t i = 0; status == UW_OK && i < c->nlayers; i++)
		status = forward_layer(m, &m->layers[i], tokens, n, err);
	if (status != UW_OK)
		return status;
	for (uint32_t t = 0; t < n; t++)
		rms_norm(m->rows.normed + (size_t)t * c->hidden, m->rows.x + (size_t)t * c->hidden, m->norm, c->hidden,
			 c->norm_eps);
	return multiply(m, m->head, m->rows.normed, n, (float *[]){ logits }, err);
}

/* ---- opening ---- */

const char *llama_config_read(const struct uw_model *model, struct llama_config *config)
{
	uint64_t nbytes;
	char *text;
	json_t *object;
	const char *wrong;

	if (uw_model_file_nbytes(model, "tokenizer.json", &nbytes, NULL) == UW_OK)
		return "the model has a tokenizer.json: this sample serves models whose tokens are bytes";
	if (uw_model_file_nbytes(model, "config.json", &nbytes, NULL) != UW_OK || nbytes > 1 << 20)
		return "the bundle has no config.json";
	text = malloc((size_t)nbytes + 1);
	if (text == NULL)
		return "out of memory";
	if (uw_model_file_read(model, "config.json", text, (size_t)nbytes, NULL) != UW_OK) {
		free(text);
		return "config.json cannot be read";
	}
	object = json_loadb(text, (size_t)nbytes, 0, NULL);
	free(text);
	wrong = json_is_object(object) ? interpret(object, config) : "config.json is no JSON object";
	json_decref(object);
	return wrong;
}

static enum uw_status fail_nomem(struct uw_error *err)
{
	return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "out of memory");
}

/* Finds "model.layers.I.NAME.weight"; layer < 0: "NAME.weight". */
static enum uw_status find(const struct llama *m, int layer, const char *name, const struct uw_tensor **tensor,
			   struct uw_error *err)
{
	char full[128];

	if (layer >= 0)
		snprintf(full, sizeof(full), "model.layers.%d.%s.weight", layer, name);
	else
		snprintf(full, sizeof(full), "%s.weight", name);
	*tensor = uw_model_find(m->model, full);
	return *tensor != NULL ? UW_OK :
				 uw_fail(err, UW_ERR_NOT_FOUND, UW_NO_OFFSET, "the model has no tensor '%s'", full);
}

/* A norm's weights, `n` of them, in FP32. */
static enum uw_status load_norm(const struct llama *m, int layer, const char *name, float **weights,
				struct uw_error *err)
{
	uint32_t n = m->config.hidden;
	const struct uw_tensor *tensor;
	enum uw_status status = find(m, layer, name, &tensor, err);
	uint16_t *words;

	if (status != UW_OK)
		return status;
	if (tensor->dtype != UW_DTYPE_BF16 || tensor->nbytes != n * sizeof(*words))
		return uw_fail(err, UW_ERR_SHAPE, UW_NO_OFFSET, "'%s' has another shape than config.json says",
			       tensor->name);
	words = malloc(n * sizeof(*words));
	*weights = malloc(n * sizeof(**weights));
	if (words == NULL || *weights == NULL)
		status = fail_nomem(err);
	else
		status = uw_tensor_read(m->model, tensor, NULL, words, n * sizeof(*words), err);
	for (uint32_t i = 0; status == UW_OK && i < n; i++)
		(*weights)[i] = backend_widen(words[i]);
	free(words);
	return status;
}

/* Finds a matrix of nrows x ncols. */
static enum uw_status find_matrix(const struct llama *m, int layer, const char *name, uint64_t nrows, uint64_t ncols,
				  const struct uw_tensor **tensor, struct uw_error *err)
{
	enum uw_status status = find(m, layer, name, tensor, err);

	if (status != UW_OK)
		return status;
	if ((*tensor)->dtype != UW_DTYPE_BF16 || (*tensor)->ndims != 2 || (*tensor)->dims[0] != nrows ||
	    (*tensor)->dims[1] != ncols)
		return uw_fail(err, UW_ERR_SHAPE, UW_NO_OFFSET,
			       "'%s' is no BF16 matrix of the shape that config.json says", (*tensor)->name);
	return UW_OK;
}

/* Matrices with `ncols` columns that are multiplied with the same x. */
static enum uw_status load_product(struct llama *m, int layer, const char *const names[], const uint64_t nrows[],
				   size_t n, uint64_t ncols, size_t *product, struct uw_error *err)
{
	struct uw_linear_part parts[BACKEND_MAX_PARTS] = { { 0 } };

	for (size_t i = 0; i < n; i++) {
		enum uw_status status = find_matrix(m, layer, names[i], nrows[i], ncols, &parts[i].tensor, err);

		if (status != UW_OK)
			return status;
	}
	return m->backend->ops->load(m->backend, parts, n, product, err);
}

static enum uw_status load_layer(struct llama *m, const struct llama_options *options, int i, struct uw_error *err)
{
	static const char *const qkv[] = { "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj" };
	static const char *const gate_up[] = { "mlp.gate_proj", "mlp.up_proj" };
	const struct llama_config *c = &m->config;
	uint64_t width = (uint64_t)c->nheads * c->head_dim, kv = (uint64_t)c->nkv_heads * c->head_dim;
	size_t cache = (size_t)options->nsequences * c->context * (size_t)kv;
	struct layer *layer = &m->layers[i];
	enum uw_status status = load_norm(m, i, "input_layernorm", &layer->norm_attention, err);

	if (status == UW_OK)
		status = load_norm(m, i, "post_attention_layernorm", &layer->norm_ffn, err);
	if (status == UW_OK)
		status = load_product(m, i, qkv, (uint64_t[]){ width, kv, kv }, 3, c->hidden, &layer->qkv, err);
	if (status == UW_OK)
		status = load_product(m, i, (const char *[]){ "self_attn.o_proj" }, (uint64_t[]){ c->hidden }, 1, width,
				      &layer->o, err);
	if (status == UW_OK)
		status = load_product(m, i, gate_up, (uint64_t[]){ c->ffn, c->ffn }, 2, c->hidden, &layer->gate_up,
				      err);
	if (status == UW_OK)
		status = load_product(m, i, (const char *[]){ "mlp.down_proj" }, (uint64_t[]){ c->hidden }, 1, c->ffn,
				      &layer->down, err);
	layer->keys = calloc(cache, sizeof(*layer->keys));
	layer->values = calloc(cache, sizeof(*layer->values));
	if (status == UW_OK && (layer->keys == NULL || layer->values == NULL))
		status = fail_nomem(err);
	return status;
}

static enum uw_status make_rope(struct llama *m, struct uw_error *err)
{
	const struct llama_config *c = &m->config;

	m->rope = malloc((size_t)c->context * c->head_dim * sizeof(*m->rope));
	if (m->rope == NULL)
		return fail_nomem(err);
	for (uint32_t p = 0; p < c->context; p++) {
		for (uint32_t i = 0; i < c->head_dim / 2; i++) {
			double angle = p * pow((double)c->rope_theta, -2.0 * i / c->head_dim);
			float *pair = m->rope + (size_t)p * c->head_dim + 2 * i;

			pair[0] = (float)cos(angle);
			pair[1] = (float)sin(angle);
		}
	}
	return UW_OK;
}

static enum uw_status make_rows(struct llama *m, struct uw_error *err)
{
	const struct llama_config *c = &m->config;
	size_t n = m->max_tokens, width = (size_t)c->nheads * c->head_dim, kv = (size_t)c->nkv_heads * c->head_dim;
	struct rows *r = &m->rows;

	r->x = malloc(n * c->hidden * sizeof(float));
	r->normed = malloc(n * c->hidden * sizeof(float));
	r->q = malloc(n * width * sizeof(float));
	r->k = malloc(n * kv * sizeof(float));
	r->v = malloc(n * kv * sizeof(float));
	r->gate = malloc(n * c->ffn * sizeof(float));
	r->up = malloc(n * c->ffn * sizeof(float));
	r->scores = malloc(c->context * sizeof(float));
	m->ids = malloc(n * sizeof(*m->ids));
	if (r->x == NULL || r->normed == NULL || r->q == NULL || r->k == NULL || r->v == NULL || r->gate == NULL ||
	    r->up == NULL || r->scores == NULL || m->ids == NULL)
		return fail_nomem(err);
	return UW_OK;
}

static enum uw_status load(struct llama *m, const struct llama_options *options, struct uw_error *err)
{
	const struct llama_config *c = &m->config;
	const char *head = c->tied ? "model.embed_tokens" : "lm_head";
	const struct uw_tensor *embedding;
	enum uw_status status = find_matrix(m, -1, "model.embed_tokens", c->vocab, c->hidden, &embedding, err);

	if (status == UW_OK)
		status = m->backend->ops->load_embedding(m->backend, embedding, err);
	if (status == UW_OK)
		status = load_norm(m, -1, "model.norm", &m->norm, err);
	for (uint32_t i = 0; status == UW_OK && i < c->nlayers; i++)
		status = load_layer(m, options, (int)i, err);
	if (status == UW_OK)
		status = load_product(m, -1, &head, (uint64_t[]){ c->vocab }, 1, c->hidden, &m->head, err);
	if (status == UW_OK)
		status = m->backend->ops->ready(m->backend, err);
	if (status == UW_OK)
		status = make_rope(m, err);
	return status == UW_OK ? make_rows(m, err) : status;
}

enum uw_status llama_open(const struct uw_model *model, const struct llama_config *config, struct backend *backend,
			  const struct llama_options *options, struct llama **llama, struct uw_error *err)
{
	struct llama *m = calloc(1, sizeof(*m));
	enum uw_status status;

	*llama = NULL;
	if (m == NULL)
		return fail_nomem(err);
	m->config = *config;
	m->model = model;
	m->backend = backend;
	m->nsequences = options->nsequences;
	m->max_tokens = options->max_tokens;
	m->layers = calloc(config->nlayers, sizeof(*m->layers));
	status = m->layers != NULL ? load(m, options, err) : fail_nomem(err);
	if (status != UW_OK)
		llama_close(m);
	else
		*llama = m;
	return status;
}

void llama_close(struct llama *m)
{
	for (uint32_t i = 0; m->layers != NULL && i < m->config.nlayers; i++) {
		struct layer *layer = &m->layers[i];

		free(layer->norm_attention);
		free(layer->norm_ffn);
		free(layer->keys);
		free(layer->values);
	}
	free(m->layers);
	free(m->norm);
	free(m->rope);
	free(m->rows.x);
	free(m->rows.normed);
	free(m->rows.q);
	free(m->rows.k);
	free(m->rows.v);
	free(m->rows.gate);
	free(m->rows.up);
	free(m->rows.scores);
	free(m->ids);
	free(m);
}
