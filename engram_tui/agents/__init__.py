"""What differs between agent CLIs, one adapter a file behind one contract (`base.Adapter`)."""
