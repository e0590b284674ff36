"""Whole screens: session, recovery card, session browser, and the small ones that open over them."""
