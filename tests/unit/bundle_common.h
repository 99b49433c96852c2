/* SPDX-License-Identifier: Apache-2.0 */
/* Bundles on disk, for tests and benchmarks of the runtime. Whatever fails here ends the program. */
#ifndef BUNDLE_COMMON_H
#define BUNDLE_COMMON_H

#include <stddef.h>
#include <stdint.h>

#include "unweight/container.h"

/* A new folder in $TMPDIR or else the working directory, which becomes the working directory. remove_folder takes it
 * away, with all that is in it. */
void enter_new_folder(char path[4096]);
void remove_folder(const char *path);

void put_file(const char *path, const void *data, size_t nbytes);
uint8_t *get_file(const char *path, size_t *nbytes); /* aligned to 64; the caller frees */

/* Packs folder `model` into a bundle, a folder, and a bundle into a tar. */
void make_bundle(const char *model, enum uw_profile profile, const char *bundle);
/* The same in the profile distribution, with the bundle `base` as its base. */
void make_bundle_on(const char *base, const char *model, const char *bundle);
void make_tar(const char *bundle, const char *tar);

/* A model folder of nfiles safetensors files of ntensors tensors each, BF16, 32 x 64. Tensor i of file f has the name
 * "model.layers.F.mlp.experts.I.up_proj.weight". */
void make_many_tensors(const char *model, unsigned nfiles, unsigned ntensors);

#endif
