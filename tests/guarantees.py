"""The promises of Engram, by id. A test says which it proves with `@pytest.mark.guarantee("G1")`."""

PROMISES = {
    "G1": "Nothing acknowledged is lost.",
    "G2": "Kill anything, any time: within a second a checkpoint is durable.",
    "G3": "The next agent starts from there, and only in a session that is about that work.",
    "G4": "What is shown was observed; claims and sights are kept apart.",
    "G5": "The agent does not notice; the user's configuration is never opened for writing.",
    "G6": "Local: no network but loopback.",
    "G7": "Private: redacted, 0600, token, Host and Origin; text of agents drives nothing.",
    "G8": "Derived data is disposable.",
    "G9": "Never silently empty: damage is detected, reads go on, the agent still starts.",
    "G10": "Many at once, without lock errors or starvation.",
    "G11": "Everything works headless and as JSON.",
    "G12": "Bounded: buffers, recordings, events and idle cost have budgets.",
}
