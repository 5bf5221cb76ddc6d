"""Builders of libvirt's XML, one file for each family of elements. Pure: they reach no node and decide no policy.

The formats: https://libvirt.org/format.html
"""
