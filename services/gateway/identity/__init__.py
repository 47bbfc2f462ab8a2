"""Who is speaking: tokens and what they say."""
