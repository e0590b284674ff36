"""What is true now, projected from the journal; any file here can be deleted and comes back the same."""
