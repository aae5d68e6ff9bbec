"""What may vary in a search, and how it is written in the YAML.

Turns choices into flat parameters for a sampler and into architectures; counts and enumerates them.
"""
