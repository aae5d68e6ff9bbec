"""What a network costs: GFLOPs and parameters, counted exactly before training, and latency, measured on a device.

Also what attention adds at each site, and the figures that the CBAM paper publishes.
"""
