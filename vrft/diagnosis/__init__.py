"""The diagnosis of a run: canaries before its first update, watchdogs and a ledger of prompts."""
