"""Pictures and interactive pages: the front as PNG and HTML, and a plan as PNG or SVG."""
