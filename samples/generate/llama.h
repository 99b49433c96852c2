/* SPDX-License-Identifier: Apache-2.0 */
/* A Llama forward pass over weights that stay compressed. Public headers of libunweight only. */
#ifndef LLAMA_H
#define LLAMA_H

#include <stddef.h>
#include <stdint.h>

#include <unweight/unweight.h>

#include "backend.h"

/* What config.json says, as far as a forward pass needs it. */
struct llama_config {
	uint32_t nlayers;
	uint32_t hidden;
	uint32_t ffn;      /* intermediate_size */
	uint32_t nheads;
	uint32_t nkv_heads;
	uint32_t head_dim;
	uint32_t vocab;
	uint32_t context;  /* max_position_embeddings */
	float norm_eps;
	float rope_theta;
	int tied;          /* the head is the embedding */
};

/* One new token: which sequence it belongs to, and where. */
struct llama_token {
	uint32_t sequence;
	uint32_t position;
	uint32_t id;
};

struct llama;

struct llama_options {
	uint32_t nsequences; /* that have a cache */
	uint32_t max_tokens; /* of one call of llama_forward; at most the backend's max_batch */
};

/* Reads config.json of the bundle. NULL, or what is wrong with it. */
const char *llama_config_read(const struct uw_model *model, struct llama_config *config);

/* Prepares all weights of `model` on a backend that is new. Both outlive the result. */
enum uw_status llama_open(const struct uw_model *model, const struct llama_config *config, struct backend *backend,
			  const struct llama_options *options, struct llama **llama, struct uw_error *err);
void llama_close(struct llama *llama);

/*
 * Takes n tokens; those of one sequence ascend by position, without gap from what the sequence has. logits[i] are the
 * vocab scores of what follows token i.
 */
enum uw_status llama_forward(struct llama *llama, const struct llama_token *tokens, uint32_t n, float *logits,
			     struct uw_error *err);

#endif
