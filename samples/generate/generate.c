/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text from a bundle: a language model that runs from compressed weights.
 *
 *   generate BUNDLE [options] [PROMPT ...]
 *
 * Greedy: each step takes the most likely next byte. Only the texts go to standard output. Tokens are bytes, as in the
 * sample model of this folder's neighbour; models with a tokenizer are refused.
 */
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "llama.h"

static const char usage[] =
	"usage: generate BUNDLE [--device cpu|cuda[:N]] [--weights compressed|raw] [--pipeline NAME] [--level NAME]\n"
	"                [--batch-invariant] [--batch N] [--threads N] [--bytes N] [--logits FILE]\n"
	"                [--perplexity FILE] [PROMPT ...]\n"
	"\n"
	"  --device NAME      what multiplies: cpu, or CUDA device N (default cpu; cuda is cuda:0)\n"
	"  --weights raw      multiply by BF16 weights, decoded beforehand, instead of compressed ones\n"
	"  --pipeline NAME    raw, decode, exponent, transcode, palette (default: what suits)\n"
	"  --level NAME       use no CPU features beyond c, avx2, avx512, avx512bf16, amx\n"
	"  --batch-invariant  a text does not depend, in any bit of its scores, on what is generated beside it\n"
	"  --batch N          so many sequences at once; the prompts in turn (default: one for each prompt)\n"
	"  --threads N        threads that multiply, of the processor (default 1)\n"
	"  --bytes N          bytes to generate (default 120)\n"
	"  --logits FILE      write the scores of every step, raw FP32\n"
	"  --perplexity FILE  instead of generating, score the bytes of FILE: prints nats per byte\n"
	"\n"
	"Exit codes: 0 good, 2 bad command line, 8 no usable CUDA device or a library without CUDA, 1 all else.\n";

#define EXIT_NO_DEVICE 8 /* as unweight's tools have it */

struct options {
	const char *bundle;
	const char *level;
	const char *logits;
	const char *perplexity;
	enum uw_pipeline pipeline;
	bool cuda, batch_invariant;
	unsigned long device; /* CUDA's number */
	unsigned long batch, threads, bytes;
	char **prompts;
	int nprompts;
};

static int fail(const char *what)
{
	fprintf(stderr, "generate: %s\n", what);
	return 1;
}

static int fail_error(const struct uw_error *err)
{
	fprintf(stderr, "generate: %s: %s%s%s\n", err->what, uw_status_text(err->status),
		err->os_errno != 0 ? ": " : "", err->os_errno != 0 ? strerror(err->os_errno) : "");
	return err->status == UW_ERR_NO_DEVICE ? EXIT_NO_DEVICE : 1;
}

/* ---- the command line ---- */

static int parse_number(const char *text, unsigned long min, unsigned long max, unsigned long *value)
{
	char *end;

	errno = 0;
	*value = strtoul(text, &end, 10);
	return errno == 0 && *text >= '0' && *text <= '9' && *end == '\0' && *value >= min && *value <= max;
}

static int parse_device(const char *text, struct options *o)
{
	o->device = 0;
	o->cuda = strncmp(text, "cuda", 4) == 0;
	if (o->cuda && text[4] == ':')
		return parse_number(text + 5, 0, 1023, &o->device);
	return strcmp(text, o->cuda ? "cuda" : "cpu") == 0;
}

static int take_option(int option, const char *arg, struct options *o)
{
	switch (option) {
	case 'd':
		return parse_device(arg, o);
	case 'w':
		o->pipeline = strcmp(arg, "raw") == 0 ? UW_PIPELINE_RAW : UW_PIPELINE_AUTO;
		return strcmp(arg, "raw") == 0 || strcmp(arg, "compressed") == 0;
	case 'p':
		return uw_pipeline_of_name(arg, &o->pipeline);
	case 'l':
		o->level = arg;
		return 1;
	case 'b':
		return parse_number(arg, 1, 1024, &o->batch);
	case 'i':
		o->batch_invariant = true;
		return 1;
	case 't':
		return parse_number(arg, 1, 1024, &o->threads);
	case 'n':
		return parse_number(arg, 1, 1000000, &o->bytes);
	case 'o':
		o->logits = arg;
		return 1;
	case 'x':
		o->perplexity = arg;
		return 1;
	}
	return 0;
}

static int parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "device", required_argument, NULL, 'd' },     { "weights", required_argument, NULL, 'w' },
		{ "pipeline", required_argument, NULL, 'p' },   { "level", required_argument, NULL, 'l' },
		{ "batch", required_argument, NULL, 'b' },      { "batch-invariant", no_argument, NULL, 'i' },
		{ "threads", required_argument, NULL, 't' },    { "bytes", required_argument, NULL, 'n' },
		{ "logits", required_argument, NULL, 'o' },     { "perplexity", required_argument, NULL, 'x' },
		{ "help", no_argument, NULL, 'h' },             { NULL, 0, NULL, 0 },
	};
	static char romeo[] = "ROMEO:\n";
	static char *standard[] = { romeo };
	int option;

	*o = (struct options){ .threads = 1, .bytes = 120 };
	while ((option = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (option == 'h') {
			fputs(usage, stdout);
			exit(0);
		}
		if (!take_option(option, optarg, o))
			return 0;
	}
	if (optind == argc)
		return 0;
	o->bundle = argv[optind];
	o->prompts = argv + optind + 1;
	o->nprompts = argc - optind - 1;
	if (o->nprompts == 0) {
		o->prompts = standard;
		o->nprompts = 1;
	}
	if (o->batch == 0)
		o->batch = (unsigned long)o->nprompts;
	return 1;
}

/* ---- generating ---- */

struct sequence {
	uint8_t *text; /* context bytes */
	uint32_t n;    /* bytes there are */
	uint32_t done; /* of which the model has seen */
	uint32_t end;  /* bytes there will be */
};

static uint32_t most_likely(const float *logits, uint32_t n)
{
	uint32_t best = 0;

	for (uint32_t i = 1; i < n; i++)
		best = logits[i] > logits[best] ? i : best;
	return best;
}

/* What a run needs. */
struct run {
	const struct options *o;
	struct llama_config config;
	struct backend *backend;
	struct llama *llama;
	struct sequence *sequences;
	struct llama_token *tokens; /* max_tokens */
	float *logits;              /* max_tokens x vocab */
	FILE *logits_file;
	uint32_t max_tokens;
};

static enum uw_status forward(const struct run *r, uint32_t ntokens, struct uw_error *err)
{
	enum uw_status status = llama_forward(r->llama, r->tokens, ntokens, r->logits, err);

	if (status == UW_OK && r->logits_file != NULL &&
	    fwrite(r->logits, sizeof(float) * r->config.vocab, ntokens, r->logits_file) != ntokens)
		return uw_fail_errno(err, errno, "writing logits");
	return status;
}

/* All sequences one step further: takes bytes that the model has not seen, as many as there is room for, and appends
 * the next one where it has seen all. *any: something was left to do. */
static enum uw_status step(const struct run *r, int *any, struct uw_error *err)
{
	uint32_t n = (uint32_t)r->o->batch, room = r->max_tokens / n, ntokens = 0;
	enum uw_status status;

	for (uint32_t s = 0; s < n; s++) {
		const struct sequence *q = &r->sequences[s];

		for (uint32_t p = q->done; p < q->n && p < q->done + room; p++)
			r->tokens[ntokens++] = (struct llama_token){ s, p, q->text[p] };
	}
	*any = ntokens != 0;
	status = *any ? forward(r, ntokens, err) : UW_OK;
	for (uint32_t t = 0; status == UW_OK && t < ntokens; t++) {
		struct sequence *q = &r->sequences[r->tokens[t].sequence];

		q->done = r->tokens[t].position + 1;
		if (q->done == q->n && q->n < q->end)
			q->text[q->n++] =
				(uint8_t)most_likely(r->logits + (size_t)t * r->config.vocab, r->config.vocab);
	}
	return status;
}

static enum uw_status generate(const struct run *r, struct uw_error *err)
{
	enum uw_status status;
	int any;

	while ((status = step(r, &any, err)) == UW_OK && any)
		;
	for (unsigned long s = 0; status == UW_OK && s < r->o->batch; s++) {
		fwrite(r->sequences[s].text, 1, r->sequences[s].n, stdout);
		putchar('\n');
	}
	return status;
}

/* ---- scoring ---- */

static double nats(const float *logits, uint32_t n, uint32_t id)
{
	double max = (double)logits[most_likely(logits, n)], sum = 0;

	for (uint32_t i = 0; i < n; i++)
		sum += exp((double)logits[i] - max);
	return log(sum) + max - (double)logits[id];
}

/* Each window of `context` bytes by itself: its bytes in, the bytes one further predicted. */
static enum uw_status score(const struct run *r, const uint8_t *text, size_t n, struct uw_error *err)
{
	uint32_t context = r->config.context, vocab = r->config.vocab;
	size_t nwindows = (n - 1) / context;
	double sum = 0;

	for (size_t w = 0; w < nwindows; w++) {
		const uint8_t *window = text + w * context;
		enum uw_status status;

		for (uint32_t p = 0; p < context; p++)
			r->tokens[p] = (struct llama_token){ 0, p, window[p] };
		status = forward(r, context, err);
		if (status != UW_OK)
			return status;
		for (uint32_t p = 0; p < context; p++)
			sum += nats(r->logits + (size_t)p * vocab, vocab, window[p + 1]);
	}
	printf("%.5f nats per byte over %zu windows of %u bytes\n", sum / (double)(nwindows * context), nwindows,
	       context);
	return UW_OK;
}

/* ---- main ---- */

static uint8_t *read_file(const char *path, size_t *n)
{
	FILE *f = fopen(path, "rb");
	uint8_t *bytes = malloc(1 << 24);

	*n = f != NULL && bytes != NULL ? fread(bytes, 1, 1 << 24, f) : 0;
	if (f != NULL)
		fclose(f);
	return bytes;
}

static int make_sequences(struct run *r)
{
	const struct options *o = r->o;
	uint32_t context = r->config.context;

	r->sequences = calloc(o->batch, sizeof(*r->sequences));
	for (unsigned long s = 0; r->sequences != NULL && s < o->batch; s++) {
		const char *prompt = o->prompts[s % (unsigned long)o->nprompts];
		struct sequence *q = &r->sequences[s];
		size_t n = strlen(prompt);

		if (n == 0 || n >= context)
			return fail("a prompt is empty or longer than the model's context");
		q->text = malloc(context);
		if (q->text == NULL)
			return fail("out of memory");
		memcpy(q->text, prompt, n);
		q->n = (uint32_t)n;
		q->end = o->bytes < context - n ? (uint32_t)(n + o->bytes) : context;
	}
	return r->sequences != NULL ? 0 : fail("out of memory");
}

static int make_memory(struct run *r, uint32_t nsequences)
{
	r->max_tokens = nsequences * r->config.context;
	if (r->max_tokens > UW_LINEAR_MAX_BATCH)
		r->max_tokens = UW_LINEAR_MAX_BATCH;
	r->tokens = calloc(r->max_tokens, sizeof(*r->tokens));
	r->logits = calloc((size_t)r->max_tokens * r->config.vocab, sizeof(*r->logits));
	if (r->tokens == NULL || r->logits == NULL)
		return fail("out of memory");
	if (r->o->logits != NULL && (r->logits_file = fopen(r->o->logits, "wb")) == NULL)
		return fail("the file for logits cannot be made");
	return 0;
}

static enum uw_status open_llama(struct run *r, const struct uw_model *model, uint32_t nsequences,
				 struct uw_error *err)
{
	const struct options *o = r->o;
	const struct backend_options options = {
		.model = model,
		.pipeline = o->pipeline,
		.batch_invariant = o->batch_invariant,
		.max_batch = r->max_tokens,
		.nthreads = (unsigned)o->threads,
		.number = (int)o->device,
	};
	const struct llama_options llama_options = { .nsequences = nsequences, .max_tokens = r->max_tokens };
	enum uw_status status = (o->cuda ? backend_open_cuda : backend_open_cpu)(&options, &r->backend, err);

	return status == UW_OK ? llama_open(model, &r->config, r->backend, &llama_options, &r->llama, err) : status;
}

static int run_model(struct run *r, const struct uw_model *model)
{
	const struct options *o = r->o;
	uint32_t nsequences = o->perplexity != NULL ? 1 : (uint32_t)o->batch;
	struct uw_error err = { .what = "" };
	uint8_t *text = NULL;
	size_t n = 0;
	int failed = make_memory(r, nsequences);

	if (!failed && o->perplexity == NULL)
		failed = make_sequences(r);
	if (!failed && o->perplexity != NULL) {
		text = read_file(o->perplexity, &n);
		if (n <= r->config.context)
			failed = fail("the text to score cannot be read, or is shorter than the context");
	}
	if (!failed && open_llama(r, model, nsequences, &err) != UW_OK)
		failed = fail_error(&err);
	if (!failed && (text != NULL ? score(r, text, n, &err) : generate(r, &err)) != UW_OK)
		failed = fail_error(&err);
	free(text);
	return failed;
}

static int run(const struct options *o, const struct uw_model *model)
{
	struct run r = { .o = o };
	const char *wrong = llama_config_read(model, &r.config);
	int failed;

	if (wrong == NULL && r.config.vocab != 256)
		wrong = "the vocabulary is not that of bytes";
	if (wrong != NULL)
		return fail(wrong);
	failed = run_model(&r, model);
	if (r.logits_file != NULL && fclose(r.logits_file) != 0)
		failed = fail("writing logits");
	if (r.llama != NULL)
		llama_close(r.llama);
	if (r.backend != NULL)
		r.backend->ops->close(r.backend);
	for (unsigned long s = 0; r.sequences != NULL && s < o->batch; s++)
		free(r.sequences[s].text);
	free(r.sequences);
	free(r.tokens);
	free(r.logits);
	return failed;
}

int main(int argc, char **argv)
{
	struct uw_model_options model_options = { 0 };
	struct uw_model *model;
	struct options o;
	struct uw_error err;
	int failed;

	if (!parse(argc, argv, &o)) {
		fputs(usage, stderr);
		return 2;
	}
	model_options.cpu_level = o.level;
	if (uw_model_open(o.bundle, &model_options, &model, &err) != UW_OK)
		return fail_error(&err);
	failed = run(&o, model);
	uw_model_close(&model);
	if (fflush(stdout) != 0 && !failed)
		failed = fail("writing the texts");
	return failed;
}
