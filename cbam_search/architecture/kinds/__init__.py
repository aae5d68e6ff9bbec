"""One file an attention kind; importing this package registers them all, in the order in which they are listed."""

# isort: off
from cbam_search.architecture.kinds import se, cbam, eca, bam, global_context, coordinate
# isort: on

__all__ = ["bam", "cbam", "coordinate", "eca", "global_context", "se"]
