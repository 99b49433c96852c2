# SPDX-License-Identifier: Apache-2.0
"""A Slurm cluster of two nodes made up on this host: munged, slurmctld and two slurmd on ports of 127.0.0.1, all of it in one
folder. Needs no service, no configuration of the host and no root."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time

SBIN = "/usr/sbin:/sbin:"
DAEMONS = "munged", "slurmctld", "slurmd"

CONF = """\
ClusterName=unweight
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={dir}/munge.sock,cred_expire=5
CryptoType=crypto/munge
StateSaveLocation={dir}/state
SlurmdSpoolDir={dir}/spool-%n
SlurmctldPidFile={dir}/ctld.pid
SlurmdPidFile={dir}/slurmd-%n.pid
SlurmctldLogFile={dir}/ctld.log
SlurmdLogFile={dir}/slurmd-%n.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,batch_sched_delay=0,sched_min_interval=100000
SlurmdParameters=config_overrides
ReturnToService=2
MinJobAge=300
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=1
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=1
PartitionName=all Nodes=n1,n2 Default=YES State=UP
"""


def find(name):
    return shutil.which(name, path=SBIN + os.environ["PATH"])


def available():
    return all(find(name) for name in (*DAEMONS, "sbatch", "scontrol", "sinfo"))


def free_ports(n):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Cluster:
    def __init__(self, folder):
        self.dir = folder
        self.running = []
        self.env = {"SLURM_CONF": os.path.join(folder, "slurm.conf")}

    def file(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, data):
        fd = os.open(self.file(name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "wb") as f:
            f.write(data)

    def daemon(self, name, *args):
        """In the foreground, as children of ours: they end with us."""
        with open(self.file("daemons.log"), "ab") as log:
            self.running.append(subprocess.Popen([find(name), *args], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                                 env={**os.environ, **self.env}))

    def start(self):
        """Somebody may take a port between our finding it free and the daemon's asking for it: other ports then."""
        self.write("munge.key", os.urandom(128))
        for left in reversed(range(3)):
            try:
                self.start_daemons()
                break
            except RuntimeError:
                self.stop()
                if left == 0:
                    raise

    def start_daemons(self):
        for name in "state", "spool-n1", "spool-n2":
            shutil.rmtree(self.file(name), ignore_errors=True)
            os.mkdir(self.file(name))
        host = socket.gethostname().split(".")[0]
        self.write("slurm.conf", CONF.format(dir=self.dir, host=host, ports=free_ports(3),
                                             user=pwd.getpwuid(os.geteuid()).pw_name).encode())
        self.daemon("munged", "--foreground", "--force", "--key-file=" + self.file("munge.key"), "--socket=" + self.file("munge.sock"),
                    "--pid-file=" + self.file("munge.pid"), "--log-file=" + self.file("munge.log"),
                    "--seed-file=" + self.file("munge.seed"), "--num-threads=2")
        self.wait("munge", lambda: os.path.exists(self.file("munge.sock")))
        self.daemon("slurmctld", "-D", "-f", self.env["SLURM_CONF"])
        for node in "n1", "n2":
            self.daemon("slurmd", "-D", "-N", node, "-f", self.env["SLURM_CONF"])
        self.wait("two idle nodes", lambda: self.run("sinfo", "-h", "-t", "idle", "-o", "%D", check=False).stdout.strip() == "2")

    def wait(self, what, is_so, seconds=120):
        end = time.monotonic() + seconds
        while not is_so():
            if time.monotonic() > end or any(p.poll() is not None for p in self.running):
                raise RuntimeError("waited for %s\n%s" % (what, self.logs()))
            time.sleep(0.1)

    def run(self, name, *args, check=True, **more):
        more["env"] = {**os.environ, **self.env, **more.get("env", {})}
        return subprocess.run([find(name) or name, *args], check=check, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=60, **more)

    def jobs(self):
        """Records of all jobs and tasks as `scontrol show job` has them."""
        text = self.run("scontrol", "-o", "show", "job", check=False).stdout
        return [dict(f.split("=", 1) for f in line.split() if "=" in f) for line in text.splitlines() if line.startswith("JobId")]

    def logs(self):
        text = ""
        for name in sorted(os.listdir(self.dir)):
            if name.endswith(".log"):
                with open(self.file(name), encoding="utf-8", errors="replace") as f:
                    text += "---- %s\n%s" % (name, "".join(f.readlines()[-30:]))
        return text

    def stop(self):
        for p in reversed(self.running):
            p.send_signal(signal.SIGTERM)
        for p in reversed(self.running):
            try:
                p.wait(20)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
        self.running = []
