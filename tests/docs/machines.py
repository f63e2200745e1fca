"""Machines on one machine: namespaces of network, mounts and processes, a bridge between them, and the daemon as its unit starts it.

A machine sees this host's programs and libraries; /etc, /var/lib, /run, /srv and /root are its own (overlays, so that nothing is
written to the host), and so are its addresses: 10.78.0.N. `systemctl` and `journalctl` there are the scripts in `bin`, which
do for `spine` what the unit says; the real ones are tried in `make deb-test`.
"""
import os
import pathlib
import shutil
import signal
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
OWN = ["etc", "var/lib", "run", "srv", "root"]
UID = 971
# As in `bin/systemctl`.
AS_SPINE = "setpriv --clear-groups --inh-caps=-all,+net_bind_service --ambient-caps=-all,+net_bind_service"
HOME = "/root"


def unable():
    """Why machines cannot be made here, if they cannot."""
    if os.geteuid() != 0:
        return "only root can make network and mount namespaces"
    for tool in ["ip", "unshare", "nsenter", "setpriv", "curl", "openssl"]:
        if not shutil.which(tool):
            return f"{tool} is not there"
    probe = ("mount -t tmpfs none /mnt && mkdir /mnt/u /mnt/w && mount -t overlay -o lowerdir=/etc,upperdir=/mnt/u,workdir=/mnt/w none /srv"
             " && mount --bind /mnt /run && ip link add v0 type veth peer name v1 && ip link add v2 type bridge && ip link set v1 master v2"
             f" && {AS_SPINE} --reuid={UID} --regid={UID} true")
    namespaces = ["unshare", "--mount", "--net", "--pid", "--mount-proc", "--kill-child", "--fork"]
    tried = subprocess.run([*namespaces, "sh", "-c", probe], capture_output=True, text=True)
    return "" if tried.returncode == 0 else "namespaces cannot be made here: " + tried.stderr.strip()


class Machines:
    def __init__(self, place, spine, count):
        self.place, self.spine, self.count = place, spine, count
        self.holders = {}

    def __enter__(self):
        self.place.mkdir(parents=True)
        self.bin = self.place / "bin"
        shutil.copytree(HERE / "bin", self.bin)
        shutil.copy2(self.spine, self.bin / "spine")
        try:
            self.holders[0] = self.hold(["--net", "--pid"], "ip link set lo up && ip link add name site type bridge && ip link set site up")
            for number in range(1, self.count + 1):
                self.boot(number)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        # The first process of a namespace of processes takes all others with it.
        for holder in self.holders.values():
            holder.kill()
            holder.wait()

    def hold(self, namespaces, setup):
        """A process that keeps namespaces, once `setup` has been done in them; a shell, since the first process buries the orphans."""
        command = f"{setup} && echo up && while :; do sleep 1000 & wait; done"
        holder = subprocess.Popen(["unshare", *namespaces, "--kill-child", "--fork", "bash", "-euc", command],
                                  stdout=subprocess.PIPE, text=True, start_new_session=True)
        if holder.stdout.readline() != "up\n":
            raise RuntimeError(f"a machine does not come up: {setup}")
        return holder

    def address(self, number):
        return f"10.78.0.{number}"

    def boot(self, number):
        own = self.place / str(number)
        (own / "data").mkdir(parents=True)
        (own / "tmp").mkdir()
        mounts = [f"mount -t tmpfs none {own}/tmp"]
        for folder in OWN:
            over = own / "tmp" / folder.replace("/", "-")
            mounts += [f"mkdir {over} {over}.work"]
            if folder in ["run", "srv", "root"]:
                mounts += [f"mount --bind {over} /{folder}"]
            else:
                mounts += [f"mount -t overlay -o lowerdir=/{folder},upperdir={over},workdir={over}.work none /{folder}"]
        mounts += [
            # What the package brings.
            f"echo spine:x:{UID}:{UID}::/var/lib/spine:/usr/sbin/nologin >>/etc/passwd",
            f"echo spine:x:{UID}: >>/etc/group",
            f"rm -rf /etc/spine && mkdir -p /etc/spine/conf.d /etc/spine/tls /etc/spine/credentials /var/lib/spine && cp {ROOT}/packaging/spine.toml /etc/spine/",
            f"mount --bind {own}/data /var/lib/spine && chown {UID}:{UID} /var/lib/spine && chmod 0700 /var/lib/spine",
            "chgrp -R spine /etc/spine && chmod 2750 /etc/spine/tls /etc/spine/credentials",
            "install -d -o spine -g spine -m 0700 /var/lib/spine-backup",
            "ip link set lo up",
        ]
        holder = self.hold(["--mount", "--net", "--pid", "--mount-proc"], " && ".join(mounts))
        self.holders[number] = holder
        inner = self.inner(holder)
        hub = self.inner(self.holders[0])
        for command in [
            ["nsenter", f"--net=/proc/{hub}/ns/net", "ip", "link", "add", f"m{number}", "type", "veth", "peer", "name", "eth0", "netns", str(inner)],
            ["nsenter", f"--net=/proc/{hub}/ns/net", "ip", "link", "set", f"m{number}", "master", "site", "up"],
            [*self.into(number), "ip", "addr", "add", self.address(number) + "/24", "dev", "eth0"],
            [*self.into(number), "ip", "link", "set", "eth0", "up"],
        ]:
            subprocess.run(command, check=True)

    def inner(self, holder):
        """The process inside: `unshare --fork` waits outside of it."""
        children = pathlib.Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()
        return int(children[0])

    def into(self, number):
        return ["nsenter", "--target", str(self.inner(self.holders[number])), "--mount", "--net", "--pid"]

    def run(self, number, script, told=None, longest=120):
        """Root runs a script at home: how it ended, and what it said."""
        told = {"PATH": f"{self.bin}:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": HOME, "LANG": "C.UTF-8"} | (told or {})
        command = [*self.into(number), "env", "-i", *[f"{k}={v}" for k, v in told.items()], "bash", "-euo", "pipefail", "-c", f"cd\n{script}"]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
        try:
            out, _ = process.communicate(timeout=longest)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, _ = process.communicate()
            return 124, f"{out}\n(no end after {longest} s)"
        return process.returncode, out

    def must(self, number, script, told=None):
        code, out = self.run(number, script, told)
        if code != 0:
            raise RuntimeError(f"on machine {number} this ended with {code}:\n{script}\n---\n{out}")
        return out

    def until(self, number, script, seconds):
        deadline = time.monotonic() + seconds
        while True:
            code, out = self.run(number, script)
            if code == 0:
                return
            if time.monotonic() > deadline:
                raise RuntimeError(f"on machine {number}, for {seconds} s, `{script}`: {code}\n{out}\n{self.run(number, 'journalctl')[1][-3000:]}")
            time.sleep(0.3)

    def carry(self, source, folder, target):
        """What lies in a folder of root's on one machine, to another: the admin's USB stick."""
        packed = subprocess.run([*self.into(source), "tar", "-C", f"{HOME}/{folder}", "-cf", "-", "."], check=True, capture_output=True).stdout
        subprocess.run([*self.into(target), "tar", "-C", HOME, "-xf", "-"], input=packed, check=True)
