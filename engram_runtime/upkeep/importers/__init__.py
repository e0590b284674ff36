"""Taking over what other programs remember: read only there, once only here."""
