"""What a provider could do to find the canaries in a data set, and how well it does (`veritune redteam`)."""
