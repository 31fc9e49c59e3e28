"""The long version of what CI runs a little of, and the page of its figures: `make prove`."""
