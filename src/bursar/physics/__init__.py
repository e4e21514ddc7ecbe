"""Say what a token must cost: chips, models, step time, energy, money, and which dial moves it most."""
