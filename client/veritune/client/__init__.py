"""The user's side: canaries, commitment, session, challenge, statistics, report, audit."""
