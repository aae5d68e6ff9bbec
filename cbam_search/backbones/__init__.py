"""The networks in torch: ResNets, MobileNet and the user's own, with attention at the sites of an architecture.

Also reads trained weights and starts networks from them.
"""
