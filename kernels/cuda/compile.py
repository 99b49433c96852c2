#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""compile.py COMMAND...: runs nvcc and fails as well where ptxas says that it serialized wgmma (C7510 to C7519) or did not
use setmaxnreg (C7508): that is only an advice to it, and the kernel would be right, but slow."""
import re
import subprocess
import sys

result = subprocess.run(sys.argv[1:], stderr=subprocess.PIPE, text=True)
sys.stderr.write(result.stderr)
sys.exit(result.returncode or (1 if re.search(r'\(C75[01]\d\)', result.stderr) else 0))
