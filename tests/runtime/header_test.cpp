/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled once for each public header, as C and as C++: the header has to stand alone. */
#include UW_HEADER

int main(void)
{
	return 0;
}
