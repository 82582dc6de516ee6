"""All that trusts neither disk nor network; no lesson opens it."""
