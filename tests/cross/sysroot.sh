#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Puts Debian's headers and libraries of another architecture under DIR, as a sysroot to link against and to run in under
# qemu-user. Installs nothing, needs no root, and leaves the system's own package lists alone.
#
#   tests/cross/sysroot.sh ARCH DIR        ARCH as Debian spells it: i386, s390x
set -eu

arch=$1
mkdir -p "$2"
dir=$(cd "$2" && pwd)
[ -e "$dir/complete" ] && exit 0

apt=$dir/apt
mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
: >"$apt/status"
own()
{
	apt-get -qq -o APT::Architecture="$arch" -o APT::Architectures="$arch" -o Dir::State::status="$apt/status" \
		-o Dir::State::lists="$apt/lists" -o Dir::Cache="$apt/cache" -o Debug::NoLocking=1 -o APT::Sandbox::User= \
		-o Acquire::Languages=none "$@"
}

for try in 1 2 3; do # mirrors are renewed under our feet
	own update && break
	sleep 5
done
own install --download-only --no-install-recommends -y \
	libc-bin libc6-dev libxxhash-dev libarchive-dev libssl-dev libzstd-dev libjansson-dev libcmocka-dev >/dev/null
for deb in "$apt"/cache/archives/*.deb; do
	dpkg-deb -x "$deb" "$dir"
done
rm -rf "$apt"
: >"$dir/complete"
