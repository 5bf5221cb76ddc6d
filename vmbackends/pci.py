"""PCI addresses as operators, sysfs and nvidia-smi write them: https://docs.kernel.org/PCI/sysfs-pci.html"""

import re
from dataclasses import dataclass

# As sysfs names it, and as nvidia-smi does, with a domain of eight digits.
_WRITTEN = re.compile(r"(?:(?:0{4})?([0-9a-f]{4}):)?([0-9a-f]{2}):([01][0-9a-f])\.([0-7])", re.IGNORECASE)


@dataclass(frozen=True)
class PciAddress:
    """Hexadecimal digits, in lower case."""

    domain: str
    bus: str
    slot: str
    function: str

    @property
    def board(self) -> str:
        """What all functions of one device have in common, as a GPU and the sound that is on it."""
        return f"{self.domain}:{self.bus}:{self.slot}"


def pci_address(text: str) -> PciAddress | None:
    """None for what is none of the kind 0000:3b:00.0."""
    match = _WRITTEN.fullmatch(text)
    return PciAddress(*(part.lower() for part in match.groups(default="0000"))) if match else None
