"""Submissions, ranked: receipts of what was verified, tables with tiers, and their forms."""
