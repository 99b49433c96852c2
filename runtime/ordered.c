/* SPDX-License-Identifier: Apache-2.0 */
#include "ordered.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

enum { WORK = -1 }; /* stands for a stage's number in a task */

struct task {
	int stage;
	uint64_t item;
};

struct run {
	const struct uw_ordered *job;
	uw_ordered_fn stage[UW_ORDERED_NSTAGES]; /* the job's, without those that do nothing: even they would hold slots */
	int nstages;                             /* at least 1: the last one frees the slot */
	unsigned nslots;
	pthread_mutex_t lock;
	pthread_cond_t moved;  /* something below changed */
	uint64_t end;          /* items from here on are not wanted: nitems, or the lowest one that failed */
	uint64_t taken;        /* first item whose work nobody has taken */
	bool *worked;          /* of each slot: the work is done, stage 0 has not begun */
	uint64_t done[UW_ORDERED_NSTAGES]; /* first item that is not through the stage */
	bool busy[UW_ORDERED_NSTAGES];
	struct uw_error *err;
	enum uw_status status;
};

static unsigned slot_of(const struct run *run, uint64_t item)
{
	return (unsigned)(item % run->nslots);
}

/* Can the next item enter the stage? With the lock held, as all up to finish(). */
static bool ready(const struct run *run, int stage)
{
	uint64_t item = run->done[stage];

	if (run->busy[stage] || item >= run->end)
		return false;
	return stage == 0 ? run->worked[slot_of(run, item)] : item < run->done[stage - 1];
}

static bool try_take(struct run *run, struct task *task)
{
	for (int stage = 0; stage < run->nstages; stage++) {
		if (!ready(run, stage))
			continue;
		*task = (struct task){ stage, run->done[stage] };
		run->busy[stage] = true;
		if (stage == 0)
			run->worked[slot_of(run, task->item)] = false;
		return true;
	}
	if (run->taken >= run->end || run->taken - run->done[run->nstages - 1] == run->nslots)
		return false;
	*task = (struct task){ WORK, run->taken++ };
	return true;
}

/* Waits for something to do; false if there will be nothing any more. */
static bool take(struct run *run, struct task *task)
{
	while (!try_take(run, task)) {
		if (run->done[run->nstages - 1] >= run->end)
			return false;
		pthread_cond_wait(&run->moved, &run->lock);
	}
	return true;
}

static void finish(struct run *run, const struct task *task, enum uw_status status, const struct uw_error *error)
{
	if (task->stage != WORK)
		run->busy[task->stage] = false;
	if (status == UW_OK) {
		if (task->stage == WORK)
			run->worked[slot_of(run, task->item)] = true;
		else
			run->done[task->stage]++;
	} else if (task->item < run->end) {
		run->end = task->item;
		run->status = status;
		if (run->err != NULL)
			*run->err = *error;
	}
	pthread_cond_broadcast(&run->moved);
}

static void *work_loop(void *arg)
{
	struct run *run = arg;
	const struct uw_ordered *job = run->job;
	struct task task;

	pthread_mutex_lock(&run->lock);
	while (take(run, &task)) {
		struct uw_error error = { .file_off = UW_NO_OFFSET };
		uw_ordered_fn fn = task.stage == WORK ? job->work : run->stage[task.stage];
		enum uw_status status;

		pthread_mutex_unlock(&run->lock);
		status = fn != NULL ? fn(job->ctx, slot_of(run, task.item), task.item, &error) : UW_OK;
		pthread_mutex_lock(&run->lock);
		finish(run, &task, status, &error);
	}
	pthread_mutex_unlock(&run->lock);
	return NULL;
}

enum uw_status uw_ordered_run(const struct uw_ordered *job, struct uw_error *err)
{
	struct run run = { .job = job, .nslots = uw_ordered_nslots(job->nworkers), .end = job->nitems, .err = err };
	pthread_t *threads = calloc(job->nworkers, sizeof(*threads));
	unsigned started = 1; /* the first one is the caller */

	for (int i = 0; i < UW_ORDERED_NSTAGES; i++) {
		if (job->stage[i] != NULL)
			run.stage[run.nstages++] = job->stage[i];
	}
	if (run.nstages == 0)
		run.nstages = 1;
	run.worked = calloc(run.nslots, sizeof(*run.worked));
	if (threads == NULL || run.worked == NULL) {
		free(threads);
		free(run.worked);
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "workers");
	}
	pthread_mutex_init(&run.lock, NULL);
	pthread_cond_init(&run.moved, NULL);
	/* fewer threads than asked for is slower, not wrong */
	while (started < job->nworkers && pthread_create(&threads[started], NULL, work_loop, &run) == 0)
		started++;
	work_loop(&run);
	for (unsigned i = 1; i < started; i++)
		pthread_join(threads[i], NULL);
	pthread_cond_destroy(&run.moved);
	pthread_mutex_destroy(&run.lock);
	free(threads);
	free(run.worked);
	return run.status;
}
