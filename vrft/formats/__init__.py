"""Formats of rows, whoever wrote them: recognised, read as questions with answers, and written."""
