"""VMs on real hypervisors, over libvirt's own protocol. Needs the extra `libvirt`."""
