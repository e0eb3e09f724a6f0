"""Traffic of the project's own making: requests as gateways see them, one after the other."""
