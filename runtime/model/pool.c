/* SPDX-License-Identifier: Apache-2.0 */
#include "pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#define MAX_THREADS 1024u
/* Looks at a counter before a thread goes to sleep: some 20 microseconds, longer than the gap between two
 * multiplications of a layer, shorter than anyone would mind. */
#define NSPINS 2000

struct worker {
	struct uw_pool *pool;
	unsigned number;
	pthread_t thread;
};

struct uw_pool {
	unsigned nthreads;
	struct worker *workers; /* of nthreads; the first one is the caller */
	pthread_mutex_t lock;
	pthread_cond_t wake;    /* `round` or `stop` changed */
	pthread_cond_t finished; /* `nbusy` became 0 */
	atomic_uint round;      /* number of the work that is to be done */
	atomic_uint nbusy;      /* workers that have not finished it */
	atomic_bool stop;
	void (*work)(void *ctx, unsigned thread);
	void *ctx;
};

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#endif
}

/* Waits until `round` is another one than `seen`; false: the pool ends. */
static bool wait_for_round(struct uw_pool *pool, unsigned seen)
{
	for (unsigned i = 0; i < NSPINS; i++) {
		if (atomic_load_explicit(&pool->round, memory_order_acquire) != seen)
			return true;
		relax();
	}
	pthread_mutex_lock(&pool->lock);
	while (atomic_load_explicit(&pool->round, memory_order_acquire) == seen && !pool->stop)
		pthread_cond_wait(&pool->wake, &pool->lock);
	pthread_mutex_unlock(&pool->lock);
	return !pool->stop;
}

static void *worker_loop(void *arg)
{
	struct worker *worker = arg;
	struct uw_pool *pool = worker->pool;

	for (unsigned seen = 0; wait_for_round(pool, seen); seen++) {
		pool->work(pool->ctx, worker->number);
		if (atomic_fetch_sub_explicit(&pool->nbusy, 1, memory_order_acq_rel) == 1) {
			pthread_mutex_lock(&pool->lock);
			pthread_cond_signal(&pool->finished);
			pthread_mutex_unlock(&pool->lock);
		}
	}
	return NULL;
}

static void wait_until_finished(struct uw_pool *pool)
{
	for (unsigned i = 0; i < NSPINS; i++) {
		if (atomic_load_explicit(&pool->nbusy, memory_order_acquire) == 0)
			return;
		relax();
	}
	pthread_mutex_lock(&pool->lock);
	while (atomic_load_explicit(&pool->nbusy, memory_order_acquire) != 0)
		pthread_cond_wait(&pool->finished, &pool->lock);
	pthread_mutex_unlock(&pool->lock);
}

void uw_pool_run(struct uw_pool *pool, void (*work)(void *ctx, unsigned thread), void *ctx)
{
	if (pool->nthreads > 1) {
		pthread_mutex_lock(&pool->lock);
		pool->work = work;
		pool->ctx = ctx;
		atomic_store_explicit(&pool->nbusy, pool->nthreads - 1, memory_order_relaxed);
		atomic_fetch_add_explicit(&pool->round, 1, memory_order_release);
		pthread_cond_broadcast(&pool->wake);
		pthread_mutex_unlock(&pool->lock);
	}
	work(ctx, 0);
	if (pool->nthreads > 1)
		wait_until_finished(pool);
}

unsigned uw_pool_nthreads(const struct uw_pool *pool)
{
	return pool->nthreads;
}

enum uw_status uw_pool_create(unsigned nthreads, struct uw_pool **pool, struct uw_error *err)
{
	struct uw_pool *p;

	if (nthreads == 0 || nthreads > MAX_THREADS)
		return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "%u threads", nthreads);
	p = calloc(1, sizeof(*p));
	if (p == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "threads");
	p->workers = calloc(nthreads, sizeof(*p->workers));
	if (p->workers == NULL) {
		free(p);
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "threads");
	}
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->wake, NULL);
	pthread_cond_init(&p->finished, NULL);
	for (p->nthreads = 1; p->nthreads < nthreads; p->nthreads++) {
		unsigned number = p->nthreads;
		struct worker *worker = &p->workers[number];
		int e;

		*worker = (struct worker){ .pool = p, .number = number };
		e = pthread_create(&worker->thread, NULL, worker_loop, worker);
		if (e != 0) {
			uw_pool_free(&p);
			return uw_fail_errno(err, e, "thread %u", number);
		}
	}
	*pool = p;
	return UW_OK;
}

void uw_pool_free(struct uw_pool **pool)
{
	struct uw_pool *p = *pool;

	*pool = NULL;
	if (p == NULL)
		return;
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_cond_broadcast(&p->wake);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 1; i < p->nthreads; i++)
		pthread_join(p->workers[i].thread, NULL);
	pthread_cond_destroy(&p->finished);
	pthread_cond_destroy(&p->wake);
	pthread_mutex_destroy(&p->lock);
	free(p->workers);
	free(p);
}
