"""Read the routing sets, and measure routers on them."""
