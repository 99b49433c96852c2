/* SPDX-License-Identifier: Apache-2.0 */
/* What asks us to stop: signals, remembered and raised again once main has removed its temporary files; and the clock. */
#include <signal.h>
#include <stddef.h>

#include "cli.h"
#include "unweight/clock.h"

static volatile sig_atomic_t caught; /* the first signal, 0 if none */
static _Atomic uint64_t stop_ns = UINT64_MAX;

static void remember(int sig)
{
	if (caught == 0)
		caught = sig;
}

void uw_signals_install(void)
{
	static const int stops[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
	/* SA_RESTART: libraries below us need not expect EINTR; the flag is asked between chunks. */
	struct sigaction action = {.sa_handler = remember, .sa_flags = SA_RESTART};

	sigemptyset(&action.sa_mask);
	for (size_t i = 0; i < sizeof(stops) / sizeof(stops[0]); i++) {
		struct sigaction old;

		/* nohup and shells start jobs with signals ignored: that is not ours to undo. */
		if (sigaction(stops[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
			sigaction(stops[i], &action, NULL);
	}
	/* Over the limit of file sizes, write then fails with EFBIG and we can clean up. */
	signal(SIGXFSZ, SIG_IGN);
}

bool uw_interrupted(void)
{
	return caught != 0;
}

void uw_stop_at(uint64_t ns)
{
	stop_ns = ns;
}

bool uw_stopped(void)
{
	uint64_t ns = stop_ns;

	return uw_interrupted() || (ns != UINT64_MAX && uw_clock_ns() >= ns);
}

void uw_signals_reraise(void)
{
	int sig = caught;

	if (sig == 0)
		return;
	signal(sig, SIG_DFL);
	raise(sig);
}
