/* SPDX-License-Identifier: Apache-2.0 */
#include "ordered.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

struct run {
	const struct uw_ordered *job;
	pthread_mutex_t lock;
	pthread_cond_t turn;     /* `committed` or `failed` changed */
	uint64_t next;           /* first item nobody has taken */
	uint64_t committed;      /* items before this one are done */
	bool failed;
	struct uw_error *err;
	enum uw_status status;
};

struct worker {
	struct run *run;
	unsigned number;
	pthread_t thread;
};

/* Waits for the item's turn; false if an earlier item failed. Called and left with the lock held. */
static bool wait_turn(struct run *run, uint64_t item)
{
	while (!run->failed && run->committed != item)
		pthread_cond_wait(&run->turn, &run->lock);
	return !run->failed;
}

static void finish_item(struct run *run, unsigned number, uint64_t item, enum uw_status status,
			const struct uw_error *error)
{
	struct uw_error own = *error;

	pthread_mutex_lock(&run->lock);
	if (wait_turn(run, item)) {
		if (status == UW_OK) {
			/* the turn is ours until `committed` moves on: no need to hold the lock */
			pthread_mutex_unlock(&run->lock);
			status = run->job->commit(run->job->ctx, number, item, &own);
			pthread_mutex_lock(&run->lock);
		}
		if (status != UW_OK) {
			run->failed = true;
			run->status = status;
			if (run->err != NULL)
				*run->err = own;
		}
		run->committed = item + 1;
		pthread_cond_broadcast(&run->turn);
	}
	pthread_mutex_unlock(&run->lock);
}

static void *work_loop(void *arg)
{
	struct worker *worker = arg;
	struct run *run = worker->run;

	for (;;) {
		struct uw_error error = { .file_off = UW_NO_OFFSET };
		enum uw_status status;
		uint64_t item;

		pthread_mutex_lock(&run->lock);
		item = run->next;
		if (run->failed || item == run->job->nitems) {
			pthread_mutex_unlock(&run->lock);
			return NULL;
		}
		run->next++;
		pthread_mutex_unlock(&run->lock);
		status = run->job->work(run->job->ctx, worker->number, item, &error);
		finish_item(run, worker->number, item, status, &error);
	}
}

enum uw_status uw_ordered_run(const struct uw_ordered *job, struct uw_error *err)
{
	struct run run = { .job = job, .err = err, .status = UW_OK };
	unsigned started = 1;
	struct worker *workers = calloc(job->nworkers, sizeof(*workers));

	if (workers == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "workers");
	pthread_mutex_init(&run.lock, NULL);
	pthread_cond_init(&run.turn, NULL);
	workers[0] = (struct worker){ .run = &run };
	/* fewer threads than asked for is slower, not wrong */
	for (; started < job->nworkers && started < job->nitems; started++) {
		workers[started] = (struct worker){ .run = &run, .number = started };
		if (pthread_create(&workers[started].thread, NULL, work_loop, &workers[started]) != 0)
			break;
	}
	work_loop(&workers[0]);
	for (unsigned i = 1; i < started; i++)
		pthread_join(workers[i].thread, NULL);
	pthread_cond_destroy(&run.turn);
	pthread_mutex_destroy(&run.lock);
	free(workers);
	return run.status;
}
