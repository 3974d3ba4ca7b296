#!/usr/bin/env python3
"""Start Chromium with this command's arguments, blind to changes of this machine's networks.

Chromium cancels what it is connecting to when a network comes or goes (ERR_NETWORK_CHANGED), and other tests create
Docker networks all the time. The kernel reports changes through netlink sockets, which this process cannot open.
"""

from __future__ import annotations

import errno
import os
import socket
import sys

import pyseccomp

CHROMIUM = "/usr/bin/chromium"  # Debian's

rules = pyseccomp.SyscallFilter(defaction=pyseccomp.ALLOW)
rules.add_rule(pyseccomp.ERRNO(errno.EAFNOSUPPORT), "socket", pyseccomp.Arg(0, pyseccomp.EQ, socket.AF_NETLINK))
rules.load()
os.execv(CHROMIUM, [CHROMIUM, *sys.argv[1:]])
