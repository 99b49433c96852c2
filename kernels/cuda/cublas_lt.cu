/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cuBLASLt is half a gigabyte that not everyone has: it is looked for when it is first wanted, in the version whose
 * headers this was compiled with, as those fix the layout of its descriptors.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "cublas_lt.cuh"

#if defined(__has_include)
#if __has_include(<cublasLt.h>)
#include <cublasLt.h>
#define HAVE_CUBLAS_LT
#endif
#endif

#ifdef HAVE_CUBLAS_LT

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)
#define LIBRARY "libcublasLt.so." TEXT(CUBLAS_VER_MAJOR)

struct cublas_lt {
	void *library;
	cublasLtHandle_t handle;
	decltype(&cublasLtCreate) create;
	decltype(&cublasLtDestroy) destroy;
	decltype(&cublasLtMatmulDescCreate) desc_create;
	decltype(&cublasLtMatmulDescDestroy) desc_destroy;
	decltype(&cublasLtMatmulDescSetAttribute) desc_set;
	decltype(&cublasLtMatrixLayoutCreate) layout_create;
	decltype(&cublasLtMatrixLayoutDestroy) layout_destroy;
	decltype(&cublasLtMatmulPreferenceCreate) preference_create;
	decltype(&cublasLtMatmulPreferenceDestroy) preference_destroy;
	decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set;
	decltype(&cublasLtMatmulAlgoGetHeuristic) heuristic;
	decltype(&cublasLtMatmul) matmul;
};

template <class F> static bool find(void *library, F *f, const char *name)
{
	*f = (F)dlsym(library, name);
	return *f != NULL;
}

static bool find_all(struct cublas_lt *lt)
{
	void *in = lt->library;

	return find(in, &lt->create, "cublasLtCreate") && find(in, &lt->destroy, "cublasLtDestroy") &&
	       find(in, &lt->desc_create, "cublasLtMatmulDescCreate") &&
	       find(in, &lt->desc_destroy, "cublasLtMatmulDescDestroy") &&
	       find(in, &lt->desc_set, "cublasLtMatmulDescSetAttribute") &&
	       find(in, &lt->layout_create, "cublasLtMatrixLayoutCreate") &&
	       find(in, &lt->layout_destroy, "cublasLtMatrixLayoutDestroy") &&
	       find(in, &lt->preference_create, "cublasLtMatmulPreferenceCreate") &&
	       find(in, &lt->preference_destroy, "cublasLtMatmulPreferenceDestroy") &&
	       find(in, &lt->preference_set, "cublasLtMatmulPreferenceSetAttribute") &&
	       find(in, &lt->heuristic, "cublasLtMatmulAlgoGetHeuristic") && find(in, &lt->matmul, "cublasLtMatmul");
}

enum uw_status uw_cublas_lt_open(void **library)
{
	struct cublas_lt *lt = (struct cublas_lt *)calloc(1, sizeof(*lt));

	if (lt == NULL)
		return UW_ERR_NOMEM;
	lt->library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	if (lt->library != NULL && find_all(lt) && lt->create(&lt->handle) == CUBLAS_STATUS_SUCCESS) {
		*library = lt;
		return UW_OK;
	}
	if (lt->library != NULL)
		(void)dlclose(lt->library);
	free(lt);
	return UW_ERR_UNSUPPORTED;
}

void uw_cublas_lt_close(void *library)
{
	struct cublas_lt *lt = (struct cublas_lt *)library;

	(void)lt->destroy(lt->handle);
	(void)dlclose(lt->library);
	free(lt);
}

/* What one product is described by. To cuBLAS, which counts columns, y = W' x. */
struct description {
	cublasLtMatmulDesc_t desc;
	cublasLtMatrixLayout_t w, x, y;
	cublasLtMatmulPreference_t preference;
};

static void forget(const struct cublas_lt *lt, const struct description *d)
{
	if (d->desc != NULL)
		(void)lt->desc_destroy(d->desc);
	if (d->w != NULL)
		(void)lt->layout_destroy(d->w);
	if (d->x != NULL)
		(void)lt->layout_destroy(d->x);
	if (d->y != NULL)
		(void)lt->layout_destroy(d->y);
	if (d->preference != NULL)
		(void)lt->preference_destroy(d->preference);
}

static bool describe(const struct cublas_lt *lt, const struct uw_gpu_dense_key *key, struct description *d)
{
	const cublasOperation_t transposed = CUBLAS_OP_T;
	const cudaDataType_t y_type = key->y_type == UW_LINEAR_F32 ? CUDA_R_32F : CUDA_R_16BF;

	return lt->desc_create(&d->desc, CUBLAS_COMPUTE_32F, CUDA_R_32F) == CUBLAS_STATUS_SUCCESS &&
	       lt->desc_set(d->desc, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof(transposed)) ==
		       CUBLAS_STATUS_SUCCESS &&
	       lt->layout_create(&d->w, CUDA_R_16BF, key->ncols, key->nrows, (int64_t)key->weights_ld) ==
		       CUBLAS_STATUS_SUCCESS &&
	       lt->layout_create(&d->x, CUDA_R_16BF, key->ncols, key->nx, (int64_t)key->x_ld) ==
		       CUBLAS_STATUS_SUCCESS &&
	       lt->layout_create(&d->y, y_type, key->nrows, key->nx, (int64_t)key->y_ld) == CUBLAS_STATUS_SUCCESS;
}

static bool describe_preference(const struct cublas_lt *lt, const struct uw_gpu_dense_key *key, struct description *d)
{
	const size_t room = key->workspace_nbytes;
	const struct {
		cublasLtMatmulPreferenceAttributes_t what;
		uint32_t nbytes;
	} aligned[] = {
		{ CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, 16 },
		{ CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, key->x_align },
		{ CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, key->y_align },
		{ CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, key->y_align },
	};

	if (lt->preference_create(&d->preference) != CUBLAS_STATUS_SUCCESS ||
	    lt->preference_set(d->preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &room, sizeof(room)) !=
		    CUBLAS_STATUS_SUCCESS)
		return false;
	for (const auto &a : aligned) {
		if (lt->preference_set(d->preference, a.what, &a.nbytes, sizeof(a.nbytes)) != CUBLAS_STATUS_SUCCESS)
			return false;
	}
	return true;
}

static enum uw_status first_of_heuristic(const struct cublas_lt *lt, const struct description *d,
					 cublasLtMatmulAlgo_t *algo)
{
	cublasLtMatmulHeuristicResult_t found;
	int nfound = 0;

	if (lt->heuristic(lt->handle, d->desc, d->w, d->x, d->y, d->y, d->preference, 1, &found, &nfound) !=
		    CUBLAS_STATUS_SUCCESS ||
	    nfound == 0)
		return UW_ERR_UNSUPPORTED;
	*algo = found.algo;
	return UW_OK;
}

enum uw_status uw_cublas_lt_choose(void *library, const struct uw_gpu_dense_key *key, struct uw_gpu_dense_algo *algo)
{
	const struct cublas_lt *lt = (const struct cublas_lt *)library;
	struct description d = {};
	cublasLtMatmulAlgo_t first;
	enum uw_status status = UW_ERR_DEVICE;

	static_assert(sizeof(first) == sizeof(*algo), "room for an algorithm");
	if (describe(lt, key, &d) && describe_preference(lt, key, &d))
		status = first_of_heuristic(lt, &d, &first);
	if (status == UW_OK)
		memcpy(algo, &first, sizeof(first));
	forget(lt, &d);
	return status;
}

enum uw_status uw_cublas_lt_multiply(void *library, const struct uw_gpu_dense *dense,
				     const struct uw_gpu_dense_algo *algo, struct CUstream_st *stream)
{
	const struct cublas_lt *lt = (const struct cublas_lt *)library;
	const struct uw_gpu_dense_key key = uw_gpu_dense_key(dense);
	const float one = 1, zero = 0;
	struct description d = {};
	cublasLtMatmulAlgo_t how;
	enum uw_status status = UW_ERR_DEVICE;

	memcpy(&how, algo, sizeof(how));
	if (describe(lt, &key, &d) &&
	    lt->matmul(lt->handle, d.desc, &one, dense->weights_dev, d.w, dense->x_dev, d.x, &zero, dense->y_dev, d.y,
		       dense->y_dev, d.y, &how, dense->workspace_dev, dense->workspace_nbytes,
		       stream) == CUBLAS_STATUS_SUCCESS)
		status = UW_OK;
	forget(lt, &d);
	return status;
}

#else

enum uw_status uw_cublas_lt_open(void **)
{
	return UW_ERR_UNSUPPORTED;
}

void uw_cublas_lt_close(void *)
{
}

enum uw_status uw_cublas_lt_choose(void *, const struct uw_gpu_dense_key *, struct uw_gpu_dense_algo *)
{
	return UW_ERR_UNSUPPORTED;
}

enum uw_status uw_cublas_lt_multiply(void *, const struct uw_gpu_dense *, const struct uw_gpu_dense_algo *,
				     struct CUstream_st *)
{
	return UW_ERR_UNSUPPORTED;
}
#endif
