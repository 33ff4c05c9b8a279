"""Machines on which one tool has taken over from another whose files are still there; and those that run.

Written as those in ``trees.py``.
"""

from __future__ import annotations

from tests.net.live import Connected, Running
from tests.net.trees import (
    ALLOW,
    ALPINE,
    ALPINE_BOOT,
    ARCH_NETWORK,
    CLOUD_NETPLAN,
    DEBIAN_INTERFACES,
    IFCFG,
    IFUPDOWN,
    KEYFILE,
    NETPLAN,
    NETWORKD,
    NETWORKING,
    NM,
    SCRIPTS,
    SUSE_IFCFG,
    SYSTEMD,
    WICKED,
    Tree,
)

__all__ = ("MIGRATIONS", "RUNNING")

_CONNECTIONS = "/etc/NetworkManager/system-connections"
_KEYFILE = f"{_CONNECTIONS}/eth0.nmconnection"
_IFCFG = "/etc/sysconfig/network-scripts/ifcfg-eth0"
_SUSE = "/etc/sysconfig/network/ifcfg-eth0"
_INTERFACES = DEBIAN_INTERFACES + ALLOW
_STATIC = _INTERFACES.replace("allow-hotplug", "auto")
_UUID = "1dd9a779-d327-56e1-8454-c65e2556c12c"
_PLAIN = KEYFILE.replace("autoconnect-priority=120\n", "")
_KEPT = {_IFCFG: IFCFG, _KEYFILE: _PLAIN}
_OUTSIDE = {_IFCFG: f"{IFCFG}NM_CONTROLLED=no\n"}
_DEBIAN_NM = {**NM, "/etc/NetworkManager/NetworkManager.conf": "[main]\nplugins=ifupdown,keyfile\n\n[ifupdown]\n",
              "/usr/lib/x86_64-linux-gnu/NetworkManager/1.52.1/libnm-settings-plugin-ifupdown.so": ""}  # fmt: skip
_WITHOUT_WICKED = {"/usr/sbin/wicked": "", _SUSE: SUSE_IFCFG}
_SUSE_NM = {**SYSTEMD, **_WITHOUT_WICKED, **NM, _KEYFILE: KEYFILE,
            "/etc/systemd/system/network.service": "-> /usr/lib/systemd/system/NetworkManager.service"}  # fmt: skip
_SYSTEMD_OFF = {**SYSTEMD, "/etc/systemd/system/multi-user.target.wants/cron.service": "-> /lib/cron.service"}
_DEBIAN_OFF = {"/usr/sbin/NetworkManager": "", "/usr/bin/nmcli": ""}
_SYSFS = {"/sys/class/net/eth0/ifindex": "2\n", "/run/systemd/netif/state": "OPER_STATE=routable\n"}


def _red_hat(release: str, **more: str) -> dict[str, str]:
    plugin = f"/usr/lib64/NetworkManager/1.48.10-1.el{release}/libnm-settings-plugin-ifcfg-rh.so"
    return {**SYSTEMD, **NM, plugin: "", "/etc/os-release": f'ID="rocky"\nVERSION_ID="{release}.4"\n', **more}


def _networkd_has(file: str) -> dict[str, str]:
    return {**_SYSFS, "/run/systemd/netif/links/2": f"ADMIN_STATE=configured\nNETWORK_FILE={file}\n"}


def _held(file: str, **more: Connected) -> Running:
    return Running(("NetworkManager",), {"eth0": Connected("connected", _UUID, "System eth0", file), **more})


MIGRATIONS = (
    Tree("RHEL 8 to 9: ifcfg files kept", "ifcfg", _red_hat("9", **{_IFCFG: IFCFG}), fresh="networkmanager"),
    Tree("RHEL 8 to 9: a keyfile beside the ifcfg file", "networkmanager", _red_hat("9", **_KEPT)),
    Tree("RHEL 8: a keyfile beside the ifcfg file", "ifcfg", _red_hat("8", **_KEPT), fresh="networkmanager"),
    Tree("RHEL 9: ifcfg files before keyfiles, says a file", "ifcfg",
         _red_hat("9", **_KEPT, **{"/etc/NetworkManager/conf.d/50-ifcfg.conf": "[main]\nplugins=ifcfg-rh\n"}),
         fresh="networkmanager"),
    Tree("RHEL 8: ifcfg files not read, says the last of the files", "networkmanager",
         _red_hat("8", **{_IFCFG: IFCFG,
                          "/usr/lib/NetworkManager/conf.d/90-a.conf": "[main]\nplugins=ifcfg-rh\n",
                          "/run/NetworkManager/conf.d/10-b.conf": "[main]\nplugins=ifcfg-rh,keyfile\n",
                          "/etc/NetworkManager/NetworkManager.conf": "[main]\nplugins=keyfile,ifcfg-rh\n",
                          "/etc/NetworkManager/conf.d/10-c.conf": "[main]\nplugins-=ifcfg-rh\n",
                          "/etc/NetworkManager/conf.d/99-off.conf":
                              "[.config]\nenable=false\n[main]\nplugins=ifcfg-rh\n"})),
    Tree("RHEL 8: the ifcfg file is not to connect by itself", "networkmanager",
         _red_hat("8", **{_KEYFILE: _PLAIN, _IFCFG: IFCFG.replace("ONBOOT=yes", "ONBOOT=no")})),
    Tree("RHEL 9: the ifcfg file has the higher priority", "ifcfg",
         _red_hat("9", **{_KEYFILE: KEYFILE, _IFCFG: f"{IFCFG}AUTOCONNECT_PRIORITY=200\n"}), fresh="networkmanager"),
    Tree("RHEL 8: kept from NetworkManager, no network scripts", None, _red_hat("8", **_OUTSIDE),
         fresh="networkmanager",
         says=r"ifcfg-eth0 is for it, but it says NM_CONTROLLED=no.*the network scripts are not installed"),
    Tree("RHEL 8: kept from NetworkManager, with network scripts", "ifcfg", _red_hat("8", **_OUTSIDE, **SCRIPTS),
         fresh="networkmanager"),
    Tree("RHEL 8: kept from NetworkManager, network scripts not started", None,
         _red_hat("8", **_OUTSIDE, **{path: text for path, text in SCRIPTS.items() if "rc3.d" not in path}),
         fresh="networkmanager", says=r"the network scripts are not started \(the service network\): use either"),
    Tree("Ubuntu 16.04 to 18.04 and on: still ifupdown", "ifupdown",
         {**NETPLAN, **IFUPDOWN, **NETWORKING, "/etc/network/interfaces": _STATIC}),
    Tree("Ubuntu: ifupdown to netplan", "netplan",
         {**NETPLAN, **NETWORKD, **IFUPDOWN, "/etc/network/interfaces": _STATIC,
          "/etc/netplan/50-cloud-init.yaml": CLOUD_NETPLAN}),
    Tree("Ubuntu: netplan to ifupdown", "ifupdown",
         {**NETPLAN, **IFUPDOWN, **NETWORKING, "/etc/network/interfaces": _STATIC,
          "/etc/netplan/50-cloud-init.yaml": CLOUD_NETPLAN,
          "/etc/systemd/system/systemd-networkd.service": "-> /dev/null"}),
    Tree("Debian: ifupdown to systemd-networkd", "networkd",
         {**NETWORKD, **IFUPDOWN, "/etc/network/interfaces": _INTERFACES,
          "/etc/systemd/network/20-ethernet.network": ARCH_NETWORK}),
    Tree("Debian: ifupdown to systemd-networkd, both masked and enabled", "networkd",
         {**NETWORKD, **IFUPDOWN, **NETWORKING, "/etc/network/interfaces": _INTERFACES,
          "/etc/systemd/network/20-ethernet.network": ARCH_NETWORK.replace("eth*", "eth1"),
          "/etc/systemd/system/networking.service": "-> /dev/null"}),
    Tree("Debian: ifupdown, not started any more", None,
         {**SYSTEMD, **IFUPDOWN, "/etc/network/interfaces": _INTERFACES,
          "/etc/systemd/system/multi-user.target.wants/cron.service": "-> /lib/systemd/system/cron.service"},
         says="/etc/network/interfaces is for it, but the service networking is not started: enable it"),
    Tree("Debian: broken left-overs of ifupdown beside systemd-networkd", "networkd",
         {**NETWORKD, **IFUPDOWN, "/etc/network/interfaces": "iface\n what is this\n",
          "/etc/systemd/network/20-ethernet.network": ARCH_NETWORK}),
    Tree("Debian: systemd-networkd told to keep away", "networkmanager",
         {**NETWORKD, **_DEBIAN_NM,
          "/etc/systemd/network/20-ethernet.network": f"{ARCH_NETWORK}[Link]\nUnmanaged=yes\n"}),
    Tree("Debian: ifupdown, and a profile that NetworkManager does not use", "ifupdown",
         {**SYSTEMD, **_DEBIAN_NM, **IFUPDOWN, **NETWORKING, "/etc/network/interfaces": _INTERFACES,
          _KEYFILE: KEYFILE}, fresh="networkmanager"),
    Tree("Debian: NetworkManager, which takes what ifupdown has", "networkmanager",
         {**SYSTEMD, **_DEBIAN_NM, **IFUPDOWN, **NETWORKING, "/etc/network/interfaces": _INTERFACES,
          _KEYFILE: KEYFILE, "/etc/NetworkManager/conf.d/a.conf": "[ifupdown]\nmanaged=true\n"}),
    Tree("SLES, openSUSE: wicked to NetworkManager", "networkmanager", _SUSE_NM),
    Tree("SLES, openSUSE: wicked to NetworkManager, no profile yet", "networkmanager",
         {path: text for path, text in _SUSE_NM.items() if path != _KEYFILE}),
    Tree("Debian: NetworkManager, not started any more", None, {**_SYSTEMD_OFF, **_DEBIAN_OFF, _KEYFILE: KEYFILE},
         says="eth0.nmconnection is for it, but NetworkManager is not at work"),
    Tree("Arch: systemd-networkd, not started any more", None,
         {**_SYSTEMD_OFF, "/etc/systemd/network/20-ethernet.network": ARCH_NETWORK},
         says="20-ethernet.network fits it, but systemd-networkd is not started: enable it"),
    Tree("SLES, openSUSE: wicked, not started any more", None, {**SYSTEMD, **_WITHOUT_WICKED},
         says="ifcfg-eth0 is for it, but wicked is not at work"),
    Tree("Arch: netctl to systemd-networkd", "networkd",
         {**NETWORKD, "/usr/bin/netctl": "", "/etc/netctl/eth0": "Interface=eth0\nConnection=ethernet\nIP=dhcp\n",
          "/etc/systemd/network/20-wired.network": ARCH_NETWORK.replace("Name=eth*\n", "")}),
    Tree("Arch: start scripts of rc.conf", None,
         {"/etc/rc.conf": 'INTERFACES=(eth0)\neth0="dhcp"\n', "/etc/rc.d/network": "", "/etc/arch-release": "x"},
         says="/etc/rc.d/network is there.*move the guest to netctl or systemd-networkd"),
    Tree("Arch: netcfg", None,
         {"/etc/network.d/eth0": "INTERFACE=eth0\n", "/etc/rc.conf": "NETWORKS=(eth0)\n", "/etc/arch-release": "x"},
         says="/etc/network.d is there.*move the guest to netctl or systemd-networkd"),
    Tree("Arch: netcfg to systemd-networkd", "networkd",
         {**NETWORKD, "/etc/network.d/eth0": "INTERFACE=eth0\n", "/etc/arch-release": "x",
          "/etc/systemd/network/20-ethernet.network": ARCH_NETWORK}),
    Tree("Gentoo: netifrc to NetworkManager", "networkmanager",
         {"/usr/sbin/NetworkManager": "", "/usr/bin/nmcli": "", "/etc/init.d/net.lo": "#!/sbin/openrc-run\n",
          "/etc/init.d/net.eth0": "-> net.lo", "/etc/conf.d/net": 'config_eth0="dhcp"\n',
          "/etc/runlevels/default/NetworkManager": "-> /etc/init.d/NetworkManager"}),
    Tree("Alpine: ifupdown to NetworkManager", "networkmanager",
         {"/bin/busybox": "", "/sbin/ifup": "-> /bin/busybox", "/etc/network/interfaces": ALPINE,
          "/usr/sbin/NetworkManager": "", "/usr/bin/nmcli": "", _KEYFILE: KEYFILE,
          "/etc/runlevels/default/networkmanager": "-> /etc/init.d/networkmanager"}),
)  # fmt: skip

RUNNING = (
    Tree("RHEL 9: by a keyfile, and an ifcfg file is left", "networkmanager", _red_hat("9", **_KEPT),
         running=_held(_KEYFILE)),
    Tree("RHEL 8: by a keyfile, and an ifcfg file is left", "networkmanager", _red_hat("8", **_KEPT),
         running=_held(f"{_CONNECTIONS}/odd:na\\me.nmconnection")),
    Tree("RHEL 9: by an ifcfg file, and a keyfile is left", "ifcfg", _red_hat("9", **_KEPT), fresh="networkmanager",
         running=_held(_IFCFG)),
    Tree("RHEL 9: by an ifcfg file that is for any card", "ifcfg",
         _red_hat("9", **{"/etc/sysconfig/network-scripts/ifcfg-any": "TYPE=Ethernet\n"}), fresh="networkmanager",
         running=_held("/etc/sysconfig/network-scripts/ifcfg-any")),
    Tree("RHEL 8: not connected, and both have a file", "ifcfg", _red_hat("8", **_KEPT), fresh="networkmanager",
         running=Running(("NetworkManager",), {"eth0": Connected("disconnected")})),
    Tree("RHEL 9: not connected, and both have a file", "networkmanager", _red_hat("9", **_KEPT),
         running=Running(("NetworkManager",), {"eth0": Connected("disconnected")})),
    Tree("RHEL 9: configured by hand, and both have a file", "networkmanager", _red_hat("9", **_KEPT),
         running=Running(("NetworkManager",), {"eth0": Connected("connected (externally)", "a", "eth0", "/run/x")})),
    Tree("RHEL 7: a NetworkManager that does not tell files", "ifcfg", _red_hat("7", **{_IFCFG: IFCFG}),
         fresh="networkmanager",
         running=Running(("NetworkManager",), {"eth0": Connected("connected", _UUID, "System eth0")}, False, False)),
    Tree("RHEL 8: kept from NetworkManager, no network scripts", None, _red_hat("8", **_OUTSIDE),
         fresh="networkmanager", running=Running(("NetworkManager",), {"eth0": Connected("unmanaged")}),
         says="NM_CONTROLLED=no, which keeps NetworkManager away, and the network scripts are not installed"),
    Tree("RHEL 8: kept from NetworkManager, network scripts", "ifcfg", _red_hat("8", **_OUTSIDE, **SCRIPTS),
         running=Running(("NetworkManager", "network"), {"eth0": Connected("unmanaged")})),
    Tree("RHEL 8: the network scripts are started by hand", "ifcfg",
         {**SYSTEMD, **{path: text for path, text in SCRIPTS.items() if "rc3.d" not in path}, _IFCFG: IFCFG},
         running=Running(("network",), has_units=False)),
    Tree("RHEL 7: network scripts", "ifcfg", {**SYSTEMD, **SCRIPTS, _IFCFG: IFCFG}, running=Running()),
    Tree("RHEL: systemd-networkd, and an ifcfg file of the scripts is not to be brought up", "networkd",
         {**NETWORKD, **SCRIPTS, _IFCFG: IFCFG.replace("ONBOOT=yes", "ONBOOT=no"),
          "/etc/systemd/network/20-ethernet.network": ARCH_NETWORK,
          **_networkd_has("/etc/systemd/network/20-ethernet.network")}, fresh="networkd",
         running=Running(("systemd-networkd",))),
    Tree("SLES, openSUSE: wicked to NetworkManager", "networkmanager",
         {**_SUSE_NM, "/run/wicked/state.xml": "x"}, running=_held(_KEYFILE)),
    Tree("SLES, openSUSE: wicked", "wicked", {**SYSTEMD, **WICKED, _SUSE: SUSE_IFCFG},
         running=Running(("wicked", "wickedd"))),
    Tree("SLES, openSUSE: wicked, and an old systemd", "wicked", {**SYSTEMD, **WICKED, _SUSE: SUSE_IFCFG},
         running=Running(("wicked", "wickedd"), has_units=False)),
    Tree("SLES, openSUSE: wicked has failed", None, {**SYSTEMD, **WICKED, _SUSE: SUSE_IFCFG}, running=Running(),
         says="ifcfg-eth0 is for it, but wicked is not at work"),
    Tree("Debian: systemd-networkd to NetworkManager", "networkmanager",
         {**_DEBIAN_NM, **SYSTEMD, "/etc/systemd/network/20-ethernet.network": ARCH_NETWORK,
          **_networkd_has("/etc/systemd/network/20-ethernet.network")}, running=_held(_KEYFILE)),
    Tree("Debian: ifupdown to systemd-networkd", "networkd",
         {**NETWORKD, **IFUPDOWN, **NETWORKING, "/etc/network/interfaces": _INTERFACES,
          "/run/network/ifstate": "lo=lo\n", "/etc/systemd/network/20-ethernet.network": ARCH_NETWORK,
          **_networkd_has("/etc/systemd/network/20-ethernet.network")},
         running=Running(("systemd-networkd", "networking"))),
    Tree("Debian: ifupdown, NetworkManager beside it", "ifupdown",
         {**SYSTEMD, **_DEBIAN_NM, **IFUPDOWN, **NETWORKING, "/etc/network/interfaces": _INTERFACES,
          _KEYFILE: KEYFILE, "/run/network/ifstate": "lo=lo\neth0=eth0\n"},
         running=Running(("NetworkManager", "networking"),
                         {"eth0": Connected("unmanaged"), "eth4": Connected("disconnected")})),
    Tree("Debian: NetworkManager, told to leave the card alone", None, {**SYSTEMD, **_DEBIAN_NM, _KEYFILE: KEYFILE},
         fresh="networkmanager", running=Running(("NetworkManager",), {"eth0": Connected("unmanaged")}),
         says="eth0.nmconnection is for it, but NetworkManager has it as unmanaged"),
    Tree("Debian: systemd-networkd and NetworkManager", None,
         {**_DEBIAN_NM, **NETWORKD, "/etc/systemd/network/20-ethernet.network": ARCH_NETWORK,
          **_networkd_has("/etc/systemd/network/20-ethernet.network")}, fresh="networkd",
         running=Running(("systemd-networkd", "NetworkManager"),
                         {"eth0": Connected("connected", _UUID, "eth0", _KEYFILE)}),
         says=r"eth0 is managed by networkd \(.*20-ethernet.network\) and networkmanager \(.*'eth0'\)"),
    Tree("Ubuntu: netplan by systemd-networkd to NetworkManager", "networkmanager",
         {**NETPLAN, **NM, "/etc/netplan/50-cloud-init.yaml": CLOUD_NETPLAN, _KEYFILE: KEYFILE,
          **_networkd_has("/run/systemd/network/10-netplan-eth0.network")},
         running=_held(_KEYFILE)),
    Tree("Ubuntu: netplan, by NetworkManager", "netplan",
         {**NETPLAN, **NM, "/etc/netplan/50-cloud-init.yaml": f"{CLOUD_NETPLAN}    renderer: NetworkManager\n"},
         running=Running(("NetworkManager",), {"eth0": Connected(
             "connected", _UUID, "netplan-eth0", "/run/NetworkManager/system-connections/netplan-eth0.nmconnection"
         )})),
    Tree("Arch: netctl to systemd-networkd", "networkd",
         {**NETWORKD, "/usr/bin/netctl": "", "/etc/netctl/eth0": "Interface=eth0\nConnection=ethernet\nIP=dhcp\n",
          "/etc/systemd/network/20-ethernet.network": ARCH_NETWORK,
          **_networkd_has("/etc/systemd/network/20-ethernet.network")},
         running=Running(("systemd-networkd",))),
    Tree("Arch: netctl", "netctl",
         {**NETWORKD, "/usr/bin/netctl": "", "/etc/netctl/eth0": "Interface=eth0\nConnection=ethernet\nIP=dhcp\n"},
         running=Running(("netctl@eth0",))),
    Tree("Gentoo: netifrc", "netifrc",
         {"/etc/init.d/net.lo": "#!/sbin/openrc-run\n", "/etc/conf.d/net": 'config_eth0="dhcp"\n',
          "/run/openrc/started/net.eth0": "x"}, running=Running()),
    Tree("Alpine: busybox", "busybox",
         {"/bin/busybox": "", "/sbin/ifup": "-> /bin/busybox", "/etc/network/interfaces": ALPINE, **ALPINE_BOOT,
          "/var/run/ifstate": "lo=lo 1\neth0=eth0 1\n"}, running=Running()),
)  # fmt: skip
