#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""open_iscsi_usr.py - reads sessions through libopeniscsiusr.

usage: open_iscsi_usr.py SID TARGET ADDRESS PORT
"""
import ctypes
import sys

try:
    lib = ctypes.CDLL("libopeniscsiusr.so.0.2.0")
except OSError:
    print("libopeniscsiusr is not installed")
    sys.exit(0)

P, U, S = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_char_p


def call(name, result, *args):
    f = getattr(lib, name)
    f.restype = result
    return f(*args)


def check(what, got, want):
    if got != want:
        sys.exit(f"{what}: {got!r} instead of {want!r}")


sid, target, address, port = int(sys.argv[1]), sys.argv[2].encode(), sys.argv[3].encode(), int(sys.argv[4])
ctx = P(call("iscsi_context_new", P))
sessions, count = ctypes.POINTER(P)(), U()
check("iscsi_sessions_get", call("iscsi_sessions_get", ctypes.c_int, ctx, ctypes.byref(sessions),
                                 ctypes.byref(count)), 0)
sids = [call("iscsi_session_sid_get", U, P(sessions[i])) for i in range(count.value)]
if sid not in sids:
    sys.exit(f"{sid} is not among {sids}")
call("iscsi_sessions_free", None, sessions, count)
one = P()
check("iscsi_session_get", call("iscsi_session_get", ctypes.c_int, ctx, U(sid), ctypes.byref(one)), 0)
for name, result, want in (("target_name", S, target), ("address", S, address), ("port", ctypes.c_int32, port),
                           ("persistent_address", S, address), ("persistent_port", ctypes.c_int32, port),
                           ("recovery_tmo", ctypes.c_int32, 120), ("lu_reset_tmo", ctypes.c_int32, 30),
                           ("tgt_reset_tmo", ctypes.c_int32, 30), ("abort_tmo", ctypes.c_int32, 15),
                           ("tpgt", ctypes.c_int32, 1)):
    check(name, call(f"iscsi_session_{name}_get", result, one), want)
iface = P(call("iscsi_session_iface_get", P, one))
check("iface", call("iscsi_iface_iname_get", S, iface), b"iqn.2026-11.example:me")
call("iscsi_session_free", None, one)
check("a session that is not there", call("iscsi_session_get", ctypes.c_int, ctx, U(4000), ctypes.byref(one)), 2)
call("iscsi_context_free", None, ctx)
