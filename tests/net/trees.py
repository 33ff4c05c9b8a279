"""What distributions have at first where their network is configured: installers' files, and those of cloud images.

Of each only what a probe looks at. A program is an empty file, a link is written ``-> where``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.net.live import Running

__all__ = ("TREES", "Tree")

DEBIAN_INTERFACES = """\
# This file describes the network interfaces available on your system
# and how to activate them. For more information, see interfaces(5).

source /etc/network/interfaces.d/*

# The loopback network interface
auto lo
iface lo inet loopback
"""
ALLOW = "\n# The primary network interface\nallow-hotplug eth0\niface eth0 inet dhcp\n"
CLOUD_NETPLAN = """\
# This file is generated from information provided by the datasource.  Changes
# to it will not persist across an instance reboot.
network:
    version: 2
    ethernets:
        eth0:
            dhcp4: true
            match:
                macaddress: bc:76:4e:20:00:40
            set-name: eth0
"""
DEBIAN_NETPLAN = """\
network:
    version: 2
    ethernets:
        all-en:
            match:
                name: en*
            dhcp4: true
            dhcp6: true
            use-domains: true
        all-eth:
            match:
                name: eth*
            dhcp4: true
            dhcp6: true
            use-domains: true
"""
KEYFILE = """\
[connection]
id=cloud-init eth0
uuid=1dd9a779-d327-56e1-8454-c65e2556c12c
autoconnect-priority=120
type=ethernet
interface-name=eth0

[user]
org.freedesktop.NetworkManager.origin=cloud-init

[ipv4]
method=auto
may-fail=false
"""
IFCFG = "BOOTPROTO=dhcp\nDEVICE=eth0\nHWADDR=bc:76:4e:20:00:40\nONBOOT=yes\nTYPE=Ethernet\nUSERCTL=no\n"
ARCH_NETWORK = "[Match]\nName=en*\nName=eth*\n\n[Network]\nDHCP=yes\n\n[DHCPv4]\nRouteMetric=100\n"

IFUPDOWN = {"/sbin/ifup": "", "/sbin/ifdown": "-> ifup", "/sbin/ifquery": "-> ifup"}
NETWORKING = {
    "/etc/systemd/system/multi-user.target.wants/networking.service": "-> /lib/systemd/system/networking.service",
}
SYSTEMD = {"/usr/bin/networkctl": "", "/usr/bin/systemctl": ""}
NETPLAN = {
    **SYSTEMD,
    "/usr/sbin/netplan": "-> ../share/netplan/netplan.script",
    "/usr/share/netplan/netplan.script": "",
}
NM = {
    "/usr/sbin/NetworkManager": "",
    "/usr/bin/nmcli": "",
    "/etc/systemd/system/multi-user.target.wants/NetworkManager.service": "-> /lib/systemd/system/nm.service",
}
NETWORKD = {
    **SYSTEMD,
    "/etc/systemd/system/multi-user.target.wants/systemd-networkd.service":
        "-> /lib/systemd/system/systemd-networkd.service",
}  # fmt: skip
WICKED = {"/usr/sbin/wicked": "", "/etc/systemd/system/network.service": "-> /usr/lib/systemd/system/wicked.service"}
SCRIPTS = {
    "/etc/sysconfig/network-scripts/ifup-eth": "",
    "/etc/rc.d/init.d/network": "",
    "/etc/init.d": "-> rc.d/init.d",
    "/etc/rc.d/rc3.d/S10network": "-> ../init.d/network",
}
SUSE_IFCFG = "BOOTPROTO='dhcp'\nSTARTMODE='auto'\n"
ALPINE_BOOT = {"/etc/runlevels/boot/networking": "-> /etc/init.d/networking"}
ALPINE = "auto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet dhcp\n"


@dataclass(frozen=True)
class Tree:
    """The files of one distribution, and who configures its network."""

    name: str
    owner: str | None
    """None: nobody does."""
    files: dict[str, str] = field(default_factory=dict)
    fresh: str | None = None
    """Who configures a card that nothing names; None: the owner."""
    running: Running | None = None
    """What runs; None: it is the tree of a machine that is off."""
    says: str = ""
    """A pattern that the error fits, where nobody configures it."""


TREES = (
    Tree("Debian 11, 12, 13: installer", "ifupdown",
         {**IFUPDOWN, **SYSTEMD, **NETWORKING, "/etc/network/interfaces": DEBIAN_INTERFACES + ALLOW}),
    Tree("Debian 11: cloud image", "ifupdown",
         {**IFUPDOWN, **SYSTEMD, **NETWORKING, "/etc/network/interfaces": DEBIAN_INTERFACES,
          "/etc/network/interfaces.d/50-cloud-init": ALPINE}),
    Tree("Debian 12, 13: cloud image, before cloud-init", "netplan",
         {**NETPLAN, **NETWORKD, "/etc/netplan/90-default.yaml": DEBIAN_NETPLAN}),
    Tree("Debian 12, 13: cloud image, after cloud-init", "netplan",
         {**NETPLAN, **NETWORKD, "/etc/netplan/90-default.yaml": DEBIAN_NETPLAN,
          "/etc/netplan/50-cloud-init.yaml": CLOUD_NETPLAN}),
    Tree("Debian 11, 12, 13: desktop", "networkmanager",
         {**IFUPDOWN, **SYSTEMD, **NETWORKING, **NM, "/etc/network/interfaces": DEBIAN_INTERFACES}),
    Tree("Ubuntu 20.04, 22.04, 24.04: server", "netplan",
         {**NETPLAN, **NETWORKD,
          "/etc/netplan/00-installer-config.yaml": "network:\n  ethernets:\n    eth0:\n      dhcp4: true\n"}),
    Tree("Ubuntu 20.04, 22.04, 24.04: cloud image", "netplan",
         {**NETPLAN, **NETWORKD, "/etc/netplan/50-cloud-init.yaml": CLOUD_NETPLAN}),
    Tree("Ubuntu 20.04, 22.04, 24.04: desktop", "netplan",
         {**NETPLAN, **NM,
          "/etc/netplan/01-network-manager-all.yaml": "network:\n  version: 2\n  renderer: NetworkManager\n"}),
    Tree("RHEL, Rocky 8: cloud image", "ifcfg",
         {**SYSTEMD, **NM, "/etc/sysconfig/network-scripts/ifcfg-eth0": IFCFG,
          "/usr/lib64/NetworkManager/1.40.16-13.el8/libnm-settings-plugin-ifcfg-rh.so": ""}, fresh="networkmanager"),
    Tree("RHEL, Rocky 10: an ifcfg file that an upgrade left", "networkmanager",
         {**SYSTEMD, **NM, "/etc/sysconfig/network-scripts/ifcfg-eth0": IFCFG}),
    Tree("RHEL, CentOS 7: network scripts", "ifcfg",
         {**SYSTEMD, **SCRIPTS, "/etc/sysconfig/network-scripts/ifcfg-eth0": IFCFG}),
    Tree("RHEL, Rocky 9, 10; Fedora: cloud image", "networkmanager",
         {**SYSTEMD, **NM, "/etc/NetworkManager/system-connections/cloud-init-eth0.nmconnection": KEYFILE}),
    Tree("RHEL, Rocky 9, 10; Fedora: installer", "networkmanager",
         {**SYSTEMD, **NM,
          "/etc/NetworkManager/system-connections/eth0.nmconnection": KEYFILE.replace("cloud-init eth0", "eth0")}),
    Tree("Fedora: no profile yet", "networkmanager", {**SYSTEMD, **NM}),
    Tree("SLES, openSUSE Leap 15", "wicked",
         {**SYSTEMD, **WICKED, "/etc/sysconfig/network/ifcfg-eth0": SUSE_IFCFG}),
    Tree("openSUSE Tumbleweed", "networkmanager", {**SYSTEMD, **NM}),
    Tree("Alpine: setup-alpine, busybox", "busybox",
         {"/bin/busybox": "", "/sbin/ifup": "-> /bin/busybox", "/etc/network/interfaces": ALPINE,
          **ALPINE_BOOT}),
    Tree("Alpine: ifupdown-ng", "ifupdown-ng",
         {"/bin/busybox": "", "/sbin/ifupdown": "", "/sbin/ifup": "-> /sbin/ifupdown",
          "/usr/libexec/ifupdown-ng/static": "", "/etc/network/interfaces": ALPINE, **ALPINE_BOOT}),
    Tree("Arch: cloud image", "networkd", {**NETWORKD, "/etc/systemd/network/20-ethernet.network": ARCH_NETWORK}),
    Tree("Arch: netctl", "netctl",
         {**SYSTEMD, "/usr/bin/netctl": "",
          "/etc/netctl/eth0": "Interface=eth0\nConnection=ethernet\nIP=dhcp\n",
          "/etc/systemd/system/multi-user.target.wants/netctl@eth0.service":
              "-> /usr/lib/systemd/system/netctl@.service"}),
    Tree("Gentoo: netifrc", "netifrc",
         {"/etc/init.d/net.lo": "#!/sbin/openrc-run\n", "/etc/init.d/net.eth0": "-> net.lo",
          "/etc/runlevels/default/net.eth0": "-> /etc/init.d/net.eth0", "/etc/conf.d/net": 'config_eth0="dhcp"\n'}),
    Tree("FreeBSD 13, 14", "freebsd",
         {"/etc/rc.subr": "", "/etc/defaults/rc.conf": "", "/bin/freebsd-version": "", "/etc/rc.d/netif": "",
          "/etc/rc.conf": 'hostname="freebsd"\nifconfig_eth0="DHCP"\nsshd_enable="YES"\n'}),
)  # fmt: skip
