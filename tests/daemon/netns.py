#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""iscsid in a network namespace, with two links to a target in another one: what ifaces are bound to,
addresses of IPv6 that are link-local; and questions to iSNS servers, and discoveries that are repeated."""
import json
import os
import shutil
import subprocess
import sys
import time

from world import BIN, IQN, Load, Target, World, run, sessions, wait_for

LUNS = ("--lun", "ram:16M")
ANY = "10.9.9.9:3260"  # an address of the target that either link leads to; the routes prefer a0


def ip(*args, netns=None):
    enter = ["nsenter", f"--net=/proc/{netns}/ns/net"] if netns else []
    return subprocess.run([*enter, "ip", *args], check=True, timeout=10, stdout=subprocess.PIPE, text=True).stdout


class Far(Target):
    """A target in the namespace on the other side."""

    def __init__(self, world, netns, listen, *options):
        self.netns, self.listen = netns, listen
        super().__init__(world, *options)

    def up(self, port):
        with open(self.log, "w", encoding="utf-8") as log:
            self.p = self.world.start(["nsenter", f"--net=/proc/{self.netns}/ns/net", BIN / "lunette-target", "-v",
                                       "--listen", self.listen, *self.options], stdout=log, stderr=log)
        wait_for("the target listens", 10, lambda: "listening on" in self.text())


def links(w):
    """Links N of a0 and a1 here, to b0 and b1 there: 10.9.N.1 to 10.9.N.2, fe80::N:1 to fe80::N:2."""
    far = w.start(["unshare", "--net", "sleep", "300"]).pid
    # The links of an earlier case go with its namespace, some time after its last process.
    wait_for("the links of before are gone", 20, lambda: "veth" not in ip("-d", "link"))
    here = os.readlink("/proc/self/ns/net")
    wait_for("the other namespace", 10, lambda: os.readlink(f"/proc/{far}/ns/net") != here)
    for n in (0, 1):
        ip("link", "add", f"a{n}", "type", "veth", "peer", "name", f"b{n}", "netns", str(far))
        for dev, host, netns in ((f"a{n}", 1, None), (f"b{n}", 2, far)):
            ip("addr", "add", f"10.9.{n}.{host}/24", "dev", dev, netns=netns)
            ip("link", "set", dev, "addrgenmode", "none", netns=netns)
            ip("link", "set", dev, "up", netns=netns)
            ip("addr", "add", f"fe80::{n}:{host}/64", "dev", dev, "nodad", netns=netns)
        ip("route", "add", "10.9.9.9/32", "via", f"10.9.{n}.2", "dev", f"a{n}", "metric", str(10 + n))
    for where in (None, far):
        ip("link", "set", "lo", "up", netns=where)
    ip("addr", "add", "10.9.9.9/32", "dev", "lo", netns=far)
    return far


def sent(dev):
    return json.loads(ip("-j", "-s", "link", "show", dev))[0]["stats64"]["tx"]["packets"]


def iface(w, name, **values):
    w.adm("-m", "iface", "-I", name, "-o", "new")
    for key, value in values.items():
        w.adm("-m", "iface", "-I", name, "-o", "update", "-n", f"iface.{key}", "-v", value)


def by_iface(api):
    return {s["iface"]["name"]: s for s in api.ask("session.list", detail=3)["sessions"]}


def two_ifaces():
    """Two ifaces, two sessions to one portal: the traffic of each leaves by its own device."""
    with World() as w:
        far = links(w)
        t = Far(w, far, "0.0.0.0:3260", "--target", IQN, *LUNS)
        api = w.up()
        iface(w, "by0", net_ifacename="a0")
        iface(w, "by1", net_ifacename="a1", initiatorname="iqn.2026-11.example:by1")
        # Where no iface is named, all that somebody has made are used.
        found = w.adm("-m", "discovery", "-t", "st", "-p", ANY).splitlines()
        assert len(found) == 2, found
        w.adm("-m", "node", "-l")
        s = by_iface(api)
        assert sorted(s) == ["by0", "by1"], s
        assert s["by1"]["iface"]["initiatorname"] == "iqn.2026-11.example:by1", s["by1"]["iface"]
        assert s["by0"]["iface"]["initiatorname"] != "iqn.2026-11.example:by1", s["by0"]["iface"]
        assert (s["by0"]["iface"]["netdev"], s["by1"]["iface"]["netdev"]) == ("a0", "a1"), s
        hosts = {h["netdev"]: h for h in api.ask("host.list")["hosts"]}
        assert hosts["a1"]["initiatorname"] == "iqn.2026-11.example:by1" and "a0" in hosts, hosts
        for name, dev, other in (("by0", "a0", "a1"), ("by1", "a1", "a0")):
            lines = w.adm("-m", "session", "-r", s[name]["sid"], "--export", "nbd").splitlines()
            at = sent(dev), sent(other)
            load = Load(lines[0].split()[1])
            load.goes_on(ios=100)
            load.stop()
            used, unused = sent(dev) - at[0], sent(other) - at[1]
            assert used > 100 > 20 > unused, (name, used, unused)
        # The connection of a session that is made again is bound as well.
        ip("link", "set", "b1", "down", netns=far)
        ip("link", "set", "a1", "down")
        wait_for("it is lost", 60, lambda: by_iface(api)["by1"]["state"] != "LOGGED_IN")
        assert by_iface(api)["by0"]["state"] == "LOGGED_IN"
        ip("link", "set", "a1", "up")
        ip("link", "set", "b1", "up", netns=far)
        ip("route", "add", "10.9.9.9/32", "via", "10.9.1.2", "dev", "a1", "metric", "11")
        wait_for("it is back", 60, lambda: by_iface(api)["by1"]["state"] == "LOGGED_IN")
        w.adm("-m", "node", "-u")


def addresses():
    """A source address, a hardware address, and what cannot be bound to."""
    with World() as w:
        far = links(w)
        t = Far(w, far, "0.0.0.0:3260", "--target", IQN, *LUNS)
        api = w.up()
        mac = json.loads(ip("-j", "link", "show", "a1"))[0]["address"]
        ip("addr", "add", "10.9.0.77/24", "dev", "a0")
        for name, value in (("src", {"ipaddress": "10.9.0.77"}), ("hw", {"hwaddress": mac}),
                            ("gone", {"net_ifacename": "eth77"}), ("alien", {"ipaddress": "10.9.0.78"}),
                            ("nohw", {"hwaddress": "02:00:00:00:00:99"})):
            iface(w, name, **value)
        w.adm("-m", "discovery", "-t", "st", "-p", ANY, "-I", "src", "-l")
        assert t.text().count("10.9.0.77:") >= 2, t.text()
        at = sent("a1")
        w.adm("-m", "discovery", "-t", "st", "-p", ANY, "-I", "hw", "-l")
        assert sent("a1") - at > 10
        assert sorted(by_iface(api)) == ["hw", "src"]
        for name, why in (("gone", "no network device eth77, to which"), ("alien", "does not have the address"),
                          ("nohw", "no network device has the hardware address")):
            p = subprocess.run([str(BIN / "iscsiadm"), "--root", str(w.root), "--no-start", "-m", "discovery", "-t", "st",
                                "-p", ANY, "-I", name], capture_output=True, text=True, timeout=60, check=False)
            assert p.returncode != 0 and why in p.stderr, (name, p)
        # One iface by which nothing is reached does not keep the others from it.
        found = w.adm("-m", "discovery", "-t", "st", "-p", ANY).splitlines()
        assert len(found) == 2, found


def link_local():
    """fe80::N:2%aN: discovery, records, login, and what another process of the daemon makes of them."""
    with World() as w:
        far = links(w)
        t = Far(w, far, "[::]:3260", "--target", IQN, *LUNS)
        api = w.up()
        w.adm("-m", "discovery", "-t", "st", "-p", "[fe80::1:2%a1]:3260")
        nodes = [n["portal"] for n in api.ask("node.list")["nodes"]]
        assert "[fe80::1:2%a1]:3260" in nodes, nodes
        assert not any("fe80" in n and "%" not in n for n in nodes), nodes
        w.adm("-m", "node", "-T", IQN, "-p", "[fe80::1:2%a1]:3260", "-l")
        assert sessions(api)[IQN]["portal"] == "[fe80::1:2%a1]:3260", sessions(api)
        assert list(w.root.rglob("fe80::1:2%a1,3260,1")), "there is no record of that name"
        w.kill()
        api = w.up()
        assert sessions(api)[IQN]["portal"] == "[fe80::1:2%a1]:3260", sessions(api)
        assert t.logins() == 1, t.text()
        w.adm("-m", "node", "-T", IQN, "-u")
        # Where the iface says which link it is, the address needs no scope.
        iface(w, "by0", net_ifacename="a0")
        w.adm("-m", "node", "-o", "delete")
        w.adm("-m", "discovery", "-t", "st", "-p", "[fe80::0:2]:3260", "-I", "by0", "-l")
        s = by_iface(api)
        assert s["by0"]["portal"].startswith("[fe80::2]"), s
        # And without either, it is said what is missing.
        w.adm("-m", "discovery", "-t", "st", "-p", "[fe80::0:2]:3260", "-I", "default", rc=4)


class Isns:
    """Debian's server, and isnsadm, which registers targets with it as their owner would."""

    def __init__(self, w):
        self.w = w
        self.conf = w.tmp / "isnsd.conf"
        self.conf.write_text(f"SourceName = iqn.2026-11.example:isnsd\nDatabase = {w.tmp}/isns\nPIDFile = {w.tmp}/pid\n"
                             f"ControlSocket = {w.tmp}/isnsctl\nSecurity = 0\nDefaultDiscoveryDomain = 1\n"
                             "RegistrationPeriod = 10m\nSLPRegister = 0\nSCNTimeout = 5\n")
        self.up()

    def up(self):
        with open(self.w.tmp / "isnsd.log", "a", encoding="utf-8") as log:
            self.p = self.w.start(["isnsd", "-f", "-c", self.conf], stdout=log, stderr=log)
        wait_for("isnsd answers", 10, lambda: self.adm("iqn.2026-11.example:isnsd", "--list", "nodes", check=False)
                 .returncode == 0)

    def adm(self, source, *args, check=True):
        conf = self.w.tmp / "isnsadm.conf"
        conf.write_text(f"SourceName = {source}\nServerAddress = 127.0.0.1\nSecurity = 0\n"
                        f"ControlSocket = {self.w.tmp}/isnsctl\n")
        return subprocess.run(["isnsadm", "-c", str(conf), *args], check=check, timeout=20, capture_output=True,
                              text=True)

    def register(self, target, portal="127.0.0.1:3260"):
        self.adm(target, "--register", f"entity=of-{target[-5:]}", f"target={target}", f"portal={portal}")

    def deregister(self, target):
        self.adm(target, "--deregister", f"eid=of-{target[-5:]}")

    def nodes(self):
        return self.adm("iqn.2026-11.example:isnsd", "--list", "nodes").stdout


def isns():
    """A question to isnsd, and what it refuses."""
    with World() as w:
        ip("link", "set", "lo", "up")
        Target(w, "--target", IQN, *LUNS, port=3260)
        api = w.up()
        w.adm("-m", "discovery", "-t", "isns", "-p", "127.0.0.1", rc=4)
        server = Isns(w)
        w.adm("-m", "discovery", "-t", "isns", "-p", "127.0.0.1", rc=21)
        server.register(IQN)
        found = w.adm("-m", "discovery", "-t", "isns", "-p", "127.0.0.1", "-l")
        assert found.startswith(f"127.0.0.1:3260,1 {IQN}\n"), found
        assert sessions(api)[IQN]["state"] == "LOGGED_IN"
        assert list(w.root.rglob("isns/127.0.0.1,3205/isns_config")), "the discovery has no record"
        assert "Initiator" not in server.nodes()
        tree = w.adm("-m", "discovery", "-P", "1")
        assert "iSNS:" in tree and IQN in tree.split("iSNS:")[1], tree


def isns_signed():
    """An isnsd that takes signed messages only says nothing to us: it is told what that may be."""
    with World() as w:
        ip("link", "set", "lo", "up")
        key, params = w.tmp / "key", w.tmp / "params"
        for args in (["dsaparam", "-out", params, "1024"], ["gendsa", "-out", key, params],
                     ["dsa", "-in", key, "-pubout", "-out", w.tmp / "key.pub"]):
            subprocess.run(["openssl", *map(str, args)], check=True, timeout=60, capture_output=True)
        (w.tmp / "clients").mkdir()
        conf = w.tmp / "isnsd.conf"
        conf.write_text(f"SourceName = iqn.2026-11.example:isnsd\nDatabase = {w.tmp}/isns\nPIDFile = {w.tmp}/pid\n"
                        f"ControlSocket = {w.tmp}/isnsctl\nSecurity = 1\nAuthKeyFile = {key}\nDSAParams = {params}\n"
                        f"ClientKeyStore = {w.tmp}/clients\nSLPRegister = 0\n")
        with open(w.tmp / "isnsd.log", "w", encoding="utf-8") as log:
            w.start(["isnsd", "-f", "-c", conf], stdout=log, stderr=log)
        api = w.up()
        def ask():
            try:
                return str(api.ask("discovery.isns", portal="127.0.0.1:3205"))
            except AssertionError as e:
                return str(e)
        said = wait_for("isnsd listens", 20, lambda: next((s for s in [ask()] if "refused" not in s), None))
        assert "signed messages only" in said and "'exit': 8" in said, said


def isns_changes():
    """Registered with isnsd, which tells of a new target: it is logged in to, and nothing else is undone."""
    with World() as w:
        ip("link", "set", "lo", "up")
        Target(w, "--target", IQN, *LUNS, "--target", IQN + "2", *LUNS, "--target", IQN + "3", *LUNS, "--listen",
               "127.0.0.2:3260", "--listen", "127.0.0.3:3260", port=3260)
        server = Isns(w)
        server.register(IQN)
        api = w.up()
        disc = ("-m", "discoverydb", "-t", "isns", "-p", "127.0.0.1")
        w.adm(*disc, "-o", "new")
        w.adm(*disc, "-o", "update", "-n", "discovery.isns.use_discoveryd", "-v", "Yes")
        wait_for("what was there is logged in to", 20, lambda: IQN in sessions(api))
        wait_for("isnsd knows the initiator", 10, lambda: "Initiator" in server.nodes())
        w.adm("-m", "node", "-T", IQN, "-u")
        w.adm("-m", "node", "-T", IQN, "-o", "update", "-n", "node.session.cmds_max", "-v", "64")
        server.register(IQN + "2", "127.0.0.2:3260")  # with isnsd, a portal is of one entity
        wait_for("what has come is logged in to", 20, lambda: IQN + "2" in sessions(api))
        assert IQN not in sessions(api), "somebody has logged out of it"
        values = dict(api.ask("node.show", target=IQN)["nodes"][0]["values"])
        assert values["node.session.cmds_max"] == "64", values
        # What goes stays as it is, and is logged.
        server.deregister(IQN + "2")
        log = w.tmp / "iscsid.log"
        wait_for("it is missed", 20, lambda: f"does not tell of {IQN}2" in log.read_text())
        assert IQN + "2" in sessions(api)
        # Another process of the daemon logs in to nothing that was known.
        w.kill()
        api = w.up()
        server.register(IQN + "3", "127.0.0.3:3260")
        wait_for("a third one", 20, lambda: IQN + "3" in sessions(api))
        assert sorted(sessions(api)) == [IQN + "2", IQN + "3"], sessions(api)
        w.daemon.terminate()
        assert w.daemon.wait(20) == 0
        assert "Initiator" not in server.nodes(), "it has not deregistered"


def periodic():
    """SendTargets that is repeated: new targets are logged in to, in a poll interval."""
    with World() as w:
        ip("link", "set", "lo", "up")
        t = Target(w, "--target", IQN, *LUNS, port=3260)
        api = w.up()
        disc = ("-m", "discoverydb", "-t", "st", "-p", t.portal)
        w.adm(*disc, "-o", "new")
        w.adm(*disc, "-o", "update", "-n", "discovery.sendtargets.discoveryd_poll_inval", "-v", "1")
        w.adm(*disc, "-o", "update", "-n", "discovery.sendtargets.use_discoveryd", "-v", "Yes")
        wait_for("the first one", 20, lambda: IQN in sessions(api))
        w.adm("-m", "node", "-T", IQN, "-u")
        t.p.kill()
        t.p.wait()
        log = w.tmp / "iscsid.log"
        wait_for("a failure is logged", 20, lambda: "the repeated discovery at" in log.read_text())
        t.options = ("--target", IQN, *LUNS, "--target", IQN + "2", *LUNS)
        t.up(3260)
        wait_for("the second one", 20, lambda: IQN + "2" in sessions(api))
        assert IQN not in sessions(api), "somebody has logged out of it"
        w.adm(*disc, "-o", "update", "-n", "discovery.sendtargets.use_discoveryd", "-v", "No")
        asked = t.text().count("logged in for discovery")
        time.sleep(2.5)
        assert t.text().count("logged in for discovery") <= asked + 1, "it goes on"


CASES = (two_ifaces, addresses, link_local, isns, isns_signed, isns_changes, periodic)

if __name__ == "__main__":
    if os.environ.get("IN_NETNS") != "yes":
        new = ["unshare", "--net", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--net",
                                                                         "--mount"]
        probe = subprocess.run([*new, "sh", "-c", "mount -t sysfs none /sys && ip link add a0 type veth peer name b0"],
                               check=False, capture_output=True)
        if probe.returncode != 0:
            print("no network namespaces here")
            sys.exit(77)
        os.execvpe("unshare", [*new, "sh", "-c", 'mount -t sysfs none /sys && exec "$@"', "sh", sys.executable,
                               os.path.abspath(__file__), *sys.argv[1:]], {**os.environ, "IN_NETNS": "yes"})
    if not shutil.which("isnsd") or not shutil.which("isnsadm"):
        print("no open-isns here: isns and isns_changes are left out")
        CASES = [case for case in CASES if not case.__name__.startswith("isns")]
    run(CASES)
