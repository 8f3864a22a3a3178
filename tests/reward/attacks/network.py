"""Sockets of every family. A program has none at all."""

import socket

from attacks.common import ATTACKS, attack, opened

_RAW, _DATAGRAM, _STREAM, _SEQUENCE = socket.SOCK_RAW, socket.SOCK_DGRAM, socket.SOCK_STREAM, socket.SOCK_SEQPACKET
_KINDS = {
    "internet_socket": (socket.AF_INET, _STREAM, 0),
    "datagram_socket": (socket.AF_INET, _DATAGRAM, 0),
    "internet_6_socket": (socket.AF_INET6, _STREAM, 0),
    "raw_socket": (socket.AF_INET, _RAW, socket.IPPROTO_ICMP),
    "local_socket": (socket.AF_UNIX, _STREAM, 0),
    "local_datagram_socket": (socket.AF_UNIX, _DATAGRAM, 0),
    "virtual_machine_socket": (socket.AF_VSOCK, _STREAM, 0),
    "packet_socket": (socket.AF_PACKET, _RAW, 0),
    "route_socket": (socket.AF_NETLINK, _RAW, 0),
    "audit_socket": (socket.AF_NETLINK, _RAW, 9),
    "firewall_socket": (socket.AF_NETLINK, _RAW, 12),
    "crypto_socket": (socket.AF_ALG, _SEQUENCE, 0),
}

for _name, _kind in _KINDS.items():
    ATTACKS[_name] = lambda target, kind=_kind: socket.socket(*kind).close()


@attack
def socket_by_number(target):
    opened(41, socket.AF_INET, _STREAM, 0)


@attack
def pair_of_sockets(target):
    for end in socket.socketpair():
        end.close()


@attack
def resolve_a_name(target):
    socket.getaddrinfo("localhost", 80)


@attack
def listen_on_loopback(target):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()


@attack
def listen_on_an_abstract_name(target):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0escaped{target.zygote}")
        listener.listen()
