"""What the command lines of user, provider and arbiter share: exit codes and what to do about an error."""
