/* SPDX-License-Identifier: Apache-2.0 */
#include "sha256.h"

#include <openssl/evp.h>

/* SHA-256 is in every provider: what remains is memory. */
static enum uw_status fail(struct uw_error *err)
{
	return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "libcrypto: SHA-256 failed");
}

enum uw_status uw_sha256_init(struct uw_sha256 *h, struct uw_error *err)
{
	EVP_MD_CTX *evp = EVP_MD_CTX_new();

	*h = (struct uw_sha256){ .evp = evp };
	if (evp == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "SHA-256");
	if (EVP_DigestInit_ex(evp, EVP_sha256(), NULL) != 1) {
		uw_sha256_free(h);
		return fail(err);
	}
	return UW_OK;
}

void uw_sha256_update(struct uw_sha256 *h, const void *data, size_t nbytes)
{
	if (EVP_DigestUpdate(h->evp, data, nbytes) != 1)
		h->failed = true;
}

enum uw_status uw_sha256_final(struct uw_sha256 *h, uint8_t digest[UW_SHA256_NBYTES], struct uw_error *err)
{
	bool good = !h->failed && EVP_DigestFinal_ex(h->evp, digest, NULL) == 1;

	uw_sha256_free(h);
	return good ? UW_OK : fail(err);
}

void uw_sha256_free(struct uw_sha256 *h)
{
	EVP_MD_CTX_free(h->evp);
	h->evp = NULL;
}

void uw_hex(const uint8_t *bytes, size_t n, char *hex)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		*hex++ = digits[bytes[i] >> 4];
		*hex++ = digits[bytes[i] & 15];
	}
	*hex = '\0';
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool uw_unhex(const char *hex, size_t nhex, uint8_t *bytes, size_t n)
{
	if (nhex != 2 * n)
		return false;
	for (size_t i = 0; i < n; i++) {
		int high = digit(hex[2 * i]), low = digit(hex[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		bytes[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}
