/* SPDX-License-Identifier: Apache-2.0 */
/* cuBLASLt, loaded at run time: where it is missing, its columns stay empty. */
#ifndef UW_BENCH_CUBLAS_H
#define UW_BENCH_CUBLAS_H

#include <dlfcn.h>

#include "bench_common.h"

#if defined(__has_include) && !defined(UW_CUDA_EMU)
#if __has_include(<cublasLt.h>)
#define UW_CUBLAS
#include <cublasLt.h>
#endif
#endif

#ifdef UW_CUBLAS

#define UW_TEXT_OF(x) #x
#define UW_TEXT(x) UW_TEXT_OF(x)
#define CUBLAS_WORKSPACE (64u << 20)
#define CUBLAS_MAX_ALGORITHMS 8

struct cublas {
	void *library;
	cublasLtHandle_t handle;
	void *workspace;
	decltype(&cublasLtCreate) create;
	decltype(&cublasLtMatmulDescCreate) desc_create;
	decltype(&cublasLtMatmulDescSetAttribute) desc_set;
	decltype(&cublasLtMatrixLayoutCreate) layout_create;
	decltype(&cublasLtMatmulPreferenceCreate) preference_create;
	decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set;
	decltype(&cublasLtMatmulAlgoGetHeuristic) heuristic;
	decltype(&cublasLtMatmul) matmul;

	template <class F> void find(F *f, const char *name)
	{
		*f = (F)dlsym(library, name);
		need(*f != NULL, name);
	}

	bool open(void)
	{
		/* of the version whose headers these are */
		library = dlopen("libcublasLt.so." UW_TEXT(CUBLAS_VER_MAJOR), RTLD_NOW | RTLD_LOCAL);
		if (library == NULL)
			return false;
		find(&create, "cublasLtCreate");
		find(&desc_create, "cublasLtMatmulDescCreate");
		find(&desc_set, "cublasLtMatmulDescSetAttribute");
		find(&layout_create, "cublasLtMatrixLayoutCreate");
		find(&preference_create, "cublasLtMatmulPreferenceCreate");
		find(&preference_set, "cublasLtMatmulPreferenceSetAttribute");
		find(&heuristic, "cublasLtMatmulAlgoGetHeuristic");
		find(&matmul, "cublasLtMatmul");
		cuda(cudaMalloc(&workspace, CUBLAS_WORKSPACE), "cudaMalloc");
		return create(&handle) == CUBLAS_STATUS_SUCCESS;
	}
};

/*
 * y[n][m] = sum W[m][k] x[n][k], all row-major, BF16 in and out: to cuBLAS, which counts columns, y = W' x. W and y stand
 * without gaps, rows of x are x_ld apart. All algorithms that the heuristic names and that work on `weights`.
 */
struct cublas_product {
	struct cublas *cublas;
	const void *x;
	void *y;
	cublasLtMatmulDesc_t desc;
	cublasLtMatrixLayout_t w_layout, x_layout, y_layout;
	cublasLtMatmulHeuristicResult_t found[CUBLAS_MAX_ALGORITHMS];
	int nfound;

	static void good(cublasStatus_t status)
	{
		need(status == CUBLAS_STATUS_SUCCESS, "cuBLASLt");
	}

	cublas_product(struct cublas *lib, const void *weights, uint64_t nrows, uint64_t ncols, uint64_t n,
		       const void *x_dev, uint64_t x_ld, void *y_dev)
	    : cublas(lib), x(x_dev), y(y_dev), nfound(0)
	{
		int nnamed = 0;
		cublasOperation_t transposed = CUBLAS_OP_T;
		cublasLtMatmulPreference_t preference;
		size_t nbytes = CUBLAS_WORKSPACE;

		good(lib->desc_create(&desc, CUBLAS_COMPUTE_32F, CUDA_R_32F));
		good(lib->desc_set(desc, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof(transposed)));
		good(lib->layout_create(&w_layout, CUDA_R_16BF, ncols, nrows, (int64_t)ncols));
		good(lib->layout_create(&x_layout, CUDA_R_16BF, ncols, n, (int64_t)x_ld));
		good(lib->layout_create(&y_layout, CUDA_R_16BF, nrows, n, (int64_t)nrows));
		good(lib->preference_create(&preference));
		good(lib->preference_set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &nbytes, sizeof(nbytes)));
		if (lib->heuristic(lib->handle, desc, w_layout, x_layout, y_layout, y_layout, preference,
				   CUBLAS_MAX_ALGORITHMS, found, &nnamed) != CUBLAS_STATUS_SUCCESS)
			nnamed = 0;
		for (int i = 0; i < nnamed; i++) { /* those that work */
			found[nfound] = found[i];
			nfound += found[i].state == CUBLAS_STATUS_SUCCESS && works((size_t)nfound, weights, 0);
		}
	}

	size_t nalgorithms(void) const
	{
		return (size_t)nfound;
	}

	bool works(size_t algorithm, const void *weights, cudaStream_t stream) const
	{
		float one = 1, zero = 0;

		return cublas->matmul(cublas->handle, desc, &one, weights, w_layout, x, x_layout, &zero, y, y_layout, y,
				      y_layout, &found[algorithm].algo, cublas->workspace, CUBLAS_WORKSPACE,
				      stream) == CUBLAS_STATUS_SUCCESS;
	}

	void run(size_t algorithm, const void *weights, cudaStream_t stream) const
	{
		need(works(algorithm, weights, stream), "cublasLtMatmul");
	}
};

#else

struct cublas {
	bool open(void)
	{
		return false;
	}
};

struct cublas_product {
	cublas_product(struct cublas *, const void *, uint64_t, uint64_t, uint64_t, const void *, uint64_t, void *)
	{
	}

	size_t nalgorithms(void) const
	{
		return 0;
	}

	void run(size_t, const void *, cudaStream_t) const
	{
	}
};
#endif
#endif
