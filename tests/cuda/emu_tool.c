/* SPDX-License-Identifier: Apache-2.0 */
/* The emulated device in the place of CUDA's, for a tool that is linked with --wrap=uw_gpu_ops_cuda. */
#include "emu_device.h"

const struct uw_gpu_ops *__wrap_uw_gpu_ops_cuda(void);

/* Products from palette codes, in default cuts, are the fastest. */
static uint64_t launch_ns(const struct emu_launch *launch)
{
	if (launch->kernel == EMU_GEMM && launch->source == UW_LINEAR_P4)
		return launch->config.parts == 0 ? 4000 : 4500;
	return 5000 + 100 * launch->nx;
}

const struct uw_gpu_ops *__wrap_uw_gpu_ops_cuda(void)
{
	emu_device_reset(3);
	emu_device.kernel_ns = launch_ns;
	return emu_device_ops();
}
