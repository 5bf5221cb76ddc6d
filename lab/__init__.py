"""Throwaway hypervisors on one machine: `make lab`, and what the tests of libvirt run on.

Needs root on Debian 12, no systemd and no KVM: guests run under QEMU's own emulation (TCG).
"""
