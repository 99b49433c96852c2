# SPDX-License-Identifier: Apache-2.0
"""unweight-scan --sample: what it forecasts is what becomes of the model, and it says how sure it is."""

import json
import os

from common import PROFILES, Case, safetensors, small_model, weights, write

MIB = 1 << 20


class Forecast(Case):
    def scan(self, *args):
        return json.loads(self.run_tool("scan", *args, "--json", "-").stdout)

    def test_small(self):
        """All of a small model is looked at."""
        os.mkdir(self.path("model"))
        write(self.path("model/config.json"), b"{}")
        tensors = [("w%d" % i, "BF16", (1024, 1024), weights(MIB, i)) for i in range(3)]
        write(self.path("model/m.safetensors"), safetensors([*tensors, ("f", "F32", (5,), bytes(20))]))
        forecast, whole = self.scan("model", "--sample", "1"), self.scan("model")
        self.assertEqual(forecast["looked_at_bytes"], os.stat(self.path("model/m.safetensors")).st_size)
        self.assertEqual((forecast["large_groups"], forecast["large_groups_looked_at"], forecast["files"]), (3, 3, 2))
        for profile in PROFILES:
            self.assertEqual(forecast[profile]["plus_minus"], 0)
            real = whole["totals"][profile + "_bytes"]
            self.assertLess(abs(forecast[profile]["bytes"] - real), 4096 + 64)  # how the groups' sizes fall
            self.assertAlmostEqual(forecast[profile]["ratio"], forecast[profile]["bytes"] / forecast["bytes"])
        text = self.run_tool("scan", "model", "--sample", "1%").stdout
        self.assertIn("3 of 3 large groups", text)
        self.assertIn("%.2f %% +- 0.00" % (100 * forecast["inference"]["ratio"]), text)

    def test_large(self):
        """128 groups, half of them trained weights, half zeros, of which some 64 are looked at."""
        os.mkdir(self.path("model"))
        nbytes = 12 * MIB
        write(self.path("trained.safetensors"), safetensors([("w", "BF16", (1536, 4096), weights(nbytes // 2))]))
        zeros = '{"w":{"dtype":"BF16","shape":[1536,4096],"data_offsets":[0,%d]}}' % nbytes
        write(self.path("zeros.safetensors"), safetensors([], text=zeros))
        os.truncate(self.path("zeros.safetensors"), os.stat(self.path("zeros.safetensors")).st_size + nbytes)
        for i in range(64):
            for name in "trained", "zeros":
                os.symlink("../%s.safetensors" % name, self.path("model/%s%02d.safetensors" % (name, i)))
        forecast = self.scan("model", "--sample", "0.5")
        self.assertEqual(forecast, self.scan("model", "--sample", "20", "-T1"))     # less than what is enough, too
        self.assertEqual(forecast["large_groups"], 128)
        self.assertTrue(48 <= forecast["large_groups_looked_at"] <= 80, forecast)
        for profile in PROFILES:
            real = 64 * sum(self.scan(name + ".safetensors")["totals"][profile + "_bytes"] for name in ("trained", "zeros"))
            wrong, spread = abs(forecast[profile]["bytes"] - real), forecast[profile]["plus_minus"]
            self.assertLess(wrong, spread + 128 * 4096)
            self.assertLess(spread, 0.25 * real)
        self.assertGreater(forecast["distribution"]["plus_minus"], 0.02 * forecast["distribution"]["bytes"])

    def test_refused(self):
        write(self.path("m.safetensors"), small_model())
        self.run_tool("scan", "m.safetensors", "--sample", "10", "--html", "x.html", expect=2)
        self.run_tool("scan", "m.safetensors", "--sample", "101", expect=2)
        self.run_tool("scan", "m.safetensors", "--sample", "0", expect=2)
        self.run_tool("scan", "missing", "--sample", "10", expect=3)
        os.mkdir(self.path("empty"))
        self.run_tool("scan", "empty", "--sample", "10", expect=3)
