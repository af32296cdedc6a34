"""`postq predictions`: what was predicted, and what a person should read first."""
