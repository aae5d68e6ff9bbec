"""One file an attention kind; importing this package registers them all."""

from cbam_search.architecture.kinds import cbam, se

__all__ = ["cbam", "se"]
